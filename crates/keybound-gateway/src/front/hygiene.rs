//! What must be true of a request before anybody looks at it. The HTTP library refuses doubled lengths, folded fields and
//! most of what is malformed; this is the rest.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

use super::head::Framing;
use crate::answer::Problem;
use crate::config::is_authority;

/// Refuses what is ambiguous and brings the target into origin form.
pub(crate) fn clean<B>(request: &mut Request<B>, framing: Framing) -> Result<(), Problem> {
    if framing == Framing::Both {
        return Err(Problem::FramingAmbiguous);
    }
    if !is_framed_plainly(request.headers()) {
        return Err(Problem::FramingAmbiguous);
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Problem::MethodRefused);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::HostInvalid);
    };
    let host = host.to_str().ok().filter(|host| is_authority(host)).ok_or(Problem::HostInvalid)?;
    if let Some(authority) = request.uri().authority() {
        // R-URI-10. With user information it disagrees with every Host that is well formed.
        if !authority.as_str().eq_ignore_ascii_case(host) {
            return Err(Problem::HostInvalid);
        }
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(Problem::TargetInvalid);
        }
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(with_path(target)?);
    }
    let path = request.uri().path();
    if path.starts_with('/') || (path == "*" && *request.method() == Method::OPTIONS) {
        Ok(())
    } else {
        Err(Problem::TargetInvalid)
    }
}

/// An absolute URI, or a `:path`, may begin with its query; the origin form does not.
fn with_path(target: PathAndQuery) -> Result<PathAndQuery, Problem> {
    if !target.as_str().starts_with('?') {
        return Ok(target);
    }
    PathAndQuery::try_from(["/", target.as_str()].concat()).map_err(|_| Problem::TargetInvalid)
}

/// `Transfer-Encoding` is absent, or `chunked` once: the library takes other codings for the body's own, and passes on what is
/// left of them (RFC 9112 sections 6.1 and 7).
fn is_framed_plainly(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// The same for HTTP/2, brought into the form in which HTTP/1.1 would have had it: `:authority` is `Host`. The library
/// resets requests with fields of a connection, or names or pseudo-fields that are wrong (RFC 9113 section 8.2).
pub(crate) fn clean_multiplexed<B>(
    request: &mut Request<B>,
    most_octets: usize,
    most_fields: usize,
) -> Result<(), Problem> {
    let octets = list_size(request);
    let lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    if lengths.count() > 1 {
        return Err(Problem::FramingAmbiguous);
    }
    if let Some(authority) = request.uri().authority()
        && !request.headers().contains_key(HOST)
    {
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Problem::HostInvalid)?;
        request.headers_mut().insert(HOST, host);
    }
    if request.headers().len() > most_fields {
        return Err(Problem::HeaderCrowded);
    }
    if octets > most_octets {
        return Err(Problem::HeaderOversized);
    }
    join_cookies(request.headers_mut());
    clean(request, Framing::Plain)
}

/// As RFC 9113 section 6.5.2 counts it: the octets of names and values, and 32 for each field.
fn list_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let pseudo = [
        (":method", request.method().as_str()),
        (":scheme", uri.scheme_str().unwrap_or_default()),
        (":authority", uri.authority().map_or("", |authority| authority.as_str())),
        (":path", uri.path_and_query().map_or("", |target| target.as_str())),
    ];
    let size = |name: usize, value: usize| name + value + 32;
    let fields = request.headers().iter().map(|(name, value)| size(name.as_str().len(), value.len()));
    pseudo.iter().map(|(name, value)| size(name.len(), value.len())).chain(fields).sum()
}

/// HTTP/2 may cut this field into several, which before it must be one (RFC 9113 section 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let all = [first, second].into_iter().chain(crumbs).map(HeaderValue::as_bytes);
        let joined = HeaderValue::from_bytes(&all.collect::<Vec<_>>().join(&b"; "[..]));
        if let Ok(mut joined) = joined {
            joined.set_sensitive(true);
            fields.insert(COOKIE, joined);
        }
    }
}
