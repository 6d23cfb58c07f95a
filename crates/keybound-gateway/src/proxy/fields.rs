//! Which fields go through, and which do not: those of one hop, those that only we may set, and those that a trusted proxy
//! alone may send.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use http_body::Body as _;

use crate::body::RequestBody;
use crate::config::{ProofHandling, UpstreamAuthorization};

use super::Terms;

const DPOP: HeaderName = HeaderName::from_static("dpop");
const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the client asked the connection to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Http,
    WebSocket,
}

/// Whether this is the opening of a WebSocket (RFC 6455 section 4.1). No other upgrade goes through: what flows after it
/// would pass every check, and an upgrade to HTTP/2 is made for just that.
pub(crate) fn wish(head: &Parts, body: &RequestBody) -> Wish {
    let fields = &head.headers;
    let websocket = head.method == Method::GET
        && head.version == Version::HTTP_11
        && fields.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && options(fields).any(|option| option.eq_ignore_ascii_case("upgrade"))
        && body.is_end_stream();
    if websocket { Wish::WebSocket } else { Wish::Http }
}

/// Removes from a request what the upstream must not see, then sets what it must.
pub(crate) fn onward(fields: &mut HeaderMap, wish: Wish, terms: &Terms<'_>, from: &super::From<'_>) {
    let earlier = if from.trusted { Earlier::read(fields) } else { Earlier::default() };
    let unwanted =
        names(fields, |name| is_of_one_hop(name) || is_ours(name) || is_about_forwarding(name) || name == "expect");
    let welcomes = |te: &HeaderValue| te.as_bytes().eq_ignore_ascii_case(b"trailers");
    let trailers_welcome = unwanted.contains(&TE) && fields.get_all(TE).iter().any(welcomes);
    remove(fields, unwanted);
    match terms.authorization {
        UpstreamAuthorization::Pass => {}
        UpstreamAuthorization::Strip => {
            fields.remove(AUTHORIZATION);
        }
        UpstreamAuthorization::Bearer => as_bearer(fields),
    }
    if terms.proof != ProofHandling::Check {
        fields.remove(DPOP);
    }
    if wish == Wish::WebSocket {
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if trailers_welcome {
        fields.insert(CONNECTION, HeaderValue::from_static("te"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
    fields.insert(X_FORWARDED_FOR, behind(earlier.x_forwarded_for, from.address));
    fields.insert(FORWARDED, behind(earlier.forwarded, &from.forwarded));
    fields.insert(X_FORWARDED_HOST, terms.origin.host.clone());
    fields.insert(X_FORWARDED_PROTO, terms.origin.scheme.clone());
    if let Some(identity) = terms.identity {
        identity.set(fields);
    }
}

/// Removes from a response what was meant for us. With `Transfer-Encoding`, a `Content-Length` means nothing, and must not
/// reach a client that would believe it (RFC 9112 section 6.3).
pub(crate) fn back(fields: &mut HeaderMap) {
    if fields.contains_key(TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH);
    }
    let unwanted = names(fields, is_of_one_hop);
    remove(fields, unwanted);
}

/// Removes from trailers what only a header may say, or only we may say.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let unwanted = names(trailers, |name| {
        is_of_one_hop(name)
            || is_ours(name)
            || is_about_forwarding(name)
            || matches!(
                name,
                "authorization"
                    | "cache-control"
                    | "content-encoding"
                    | "content-length"
                    | "content-range"
                    | "content-type"
                    | "cookie"
                    | "dpop"
                    | "host"
                    | "max-forwards"
                    | "set-cookie"
                    | "trailer"
            )
    });
    remove(trailers, unwanted);
}

/// Every field that `unwanted` says.
fn names(fields: &HeaderMap, unwanted: impl Fn(&str) -> bool) -> Vec<HeaderName> {
    fields.keys().filter(|name| unwanted(name.as_str())).cloned().collect()
}

/// Removes these fields, and every one that `Connection` lists, if that is among them: the message was not to have them on the
/// next hop (RFC 9110 section 7.6.1). The fields that frame and address the message stay whatever is listed.
fn remove(fields: &mut HeaderMap, mut names: Vec<HeaderName>) {
    if names.contains(&CONNECTION) {
        // The most common option is of a field that goes in any case.
        let listed = options(fields).filter(|option| !option.eq_ignore_ascii_case("keep-alive"));
        let listed = listed.filter_map(|option| HeaderName::try_from(option).ok());
        names.extend(listed.filter(|name| *name != HOST && *name != CONTENT_LENGTH));
    }
    for name in names {
        fields.remove(name);
    }
}

/// The options in every `Connection` field.
fn options(fields: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = fields.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|option| !option.is_empty())
}

fn is_of_one_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
    )
}

/// Whether a name begins `keybound-` for somebody who takes `_` for `-`, as CGI and its descendants do. Names are in small
/// letters here.
pub(crate) fn is_ours(name: &str) -> bool {
    begins(name, "keybound-")
}

fn is_about_forwarding(name: &str) -> bool {
    name == "forwarded" || begins(name, "x-forwarded-") || (name.len() == 9 && begins(name, "x-real-ip"))
}

fn begins(name: &str, prefix: &str) -> bool {
    let alike = |(own, wanted): (u8, u8)| own == wanted || (own == b'_' && wanted == b'-');
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(alike)
}

/// `Authorization: DPoP t` becomes `Authorization: Bearer t`, for an upstream that knows no other scheme.
pub(crate) fn as_bearer(fields: &mut HeaderMap) {
    let Some(credentials) = fields.remove(AUTHORIZATION) else {
        return;
    };
    let token =
        credentials.to_str().ok().and_then(|credentials| credentials.split_once(' ')).map(|(_, token)| token.trim());
    let Some(token) = token else { return };
    if let Ok(mut bearer) = HeaderValue::try_from(["Bearer ", token].concat()) {
        bearer.set_sensitive(true);
        fields.insert(AUTHORIZATION, bearer);
    }
}

/// What proxies before us said, if they are believed.
#[derive(Default)]
struct Earlier {
    x_forwarded_for: Option<String>,
    forwarded: Option<String>,
}

impl Earlier {
    fn read(fields: &HeaderMap) -> Self {
        let joined = |name: HeaderName| {
            let values: Vec<&str> = fields.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| values.join(", "))
        };
        Self { x_forwarded_for: joined(X_FORWARDED_FOR), forwarded: joined(FORWARDED) }
    }
}

fn behind(earlier: Option<String>, own: &HeaderValue) -> HeaderValue {
    let Some(earlier) = earlier else { return own.clone() };
    let own_text = own.to_str().unwrap_or_default();
    HeaderValue::try_from([&earlier, ", ", own_text].concat()).unwrap_or_else(|_| own.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_names_in_every_spelling() {
        for (name, expected) in [
            ("keybound-subject", true),
            ("keybound_subject", true),
            ("keybound-", true),
            ("keybound_x_y", true),
            ("keyboundsubject", false),
            ("x-keybound-subject", false),
            ("keybound", false),
        ] {
            assert_eq!(is_ours(name), expected, "{name}");
        }
        for (name, expected) in [
            ("x_forwarded_for", true),
            ("x-real-ip", true),
            ("x_real_ip", true),
            ("x-real-ipv", false),
            ("x-for", false),
        ] {
            assert_eq!(is_about_forwarding(name), expected, "{name}");
        }
    }
}
