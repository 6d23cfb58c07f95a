//! Whether a form comes from a page that this server showed in this very browser.

use http::header::{ORIGIN, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use keybound::jws::encode_base64url;
use keybound::refusal::Reason;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::State;
use crate::form::Form;

/// Where this server's own forms hold their token.
pub(super) const FIELD: &str = "csrf";

/// The token of a page: of the browser, and of everything that the page is about. Whoever knows neither the browser's cookie
/// nor its session has none that is good here, and a page of another moment has none that is good now.
pub(super) fn token(browser: &str, about: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in [browser].iter().chain(about) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    encode_base64url(&digest.finalize())
}

/// Whether the form holds this token, in constant time.
pub(super) fn check(form: &Form, token: &str) -> Result<(), Reason> {
    let sent = form.get(FIELD).unwrap_or_default();
    if bool::from(sent.as_bytes().ct_eq(token.as_bytes())) { Ok(()) } else { Err(Reason::LoginForged) }
}

/// Whether the browser says that one of our own pages sent this. A page without referrer has no origin to name, then
/// `Sec-Fetch-Site` alone tells; a browser that says neither has the token.
pub(super) fn comes_from_here(state: &State, parts: &Parts) -> Result<(), Reason> {
    let one = |name: &str| {
        let mut fields = parts.headers.get_all(name).iter();
        (fields.next(), fields.next().is_some())
    };
    let is =
        |value: Option<&HeaderValue>, expected: &str| value.is_none_or(|value| value.as_bytes() == expected.as_bytes());
    let (site, sites) = one("sec-fetch-site");
    let (origin, origins) = one(ORIGIN.as_str());
    let is_ours = is(site, "same-origin") && (is(origin, state.endpoints.sign_in.origin()) || is(origin, "null"));
    if is_ours && !sites && !origins { Ok(()) } else { Err(Reason::LoginForged) }
}

/// Whether a browser asks which a page of somebody else may have led here: by a link, an image or a redirect. A browser knows
/// better only where a page of this origin asked. That somebody typed the address (`none`) is no answer: it says the same of
/// whoever went elsewhere, and was redirected. No page can take `User-Agent` out of what its browser sends.
pub(crate) fn may_be_led(state: &State, parts: &Parts) -> bool {
    let headers = &parts.headers;
    let site = HeaderName::from_static("sec-fetch-site");
    let agent = headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    let is_browser = agent || [&site, &ORIGIN, &REFERER].iter().any(|name| headers.contains_key(*name));
    // Browsers that do not say `Sec-Fetch-Site` may name the page, as ours asks them to.
    let is_page_of_ours = |page: &HeaderValue| {
        let ours = state.endpoints.device.origin().as_bytes();
        page.as_bytes().strip_prefix(ours).is_some_and(|rest| rest.starts_with(b"/"))
    };
    let is_said = headers.contains_key(&site) || headers.get(REFERER).is_some_and(is_page_of_ours);
    is_browser && !(is_said && comes_from_here(state, parts).is_ok())
}
