//! What must be true of a request before anybody looks at it. The HTTP library refuses doubled lengths, folded fields and
//! most of what is malformed; this is the rest.

use http::header::HOST;
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
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Problem::MethodRefused);
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::HostInvalid);
    };
    let host = host
        .to_str()
        .ok()
        .filter(|host| is_authority(host))
        .ok_or(Problem::HostInvalid)?;
    if let Some(authority) = request.uri().authority() {
        // R-URI-10. With user information it disagrees with every Host that is well formed.
        if !authority.as_str().eq_ignore_ascii_case(host) {
            return Err(Problem::HostInvalid);
        }
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(Problem::TargetInvalid);
        }
        let target = request
            .uri()
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(target);
    }
    let path = request.uri().path();
    if path.starts_with('/') || (path == "*" && *request.method() == Method::OPTIONS) {
        Ok(())
    } else {
        Err(Problem::TargetInvalid)
    }
}
