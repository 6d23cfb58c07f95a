//! Browsers: which pages may read the answers, and preflight requests, which carry no credentials (Fetch standard, 3.3).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// What a client must be able to read: the challenge and the nonce.
const EXPOSED: [&str; 2] = ["WWW-Authenticate", "DPoP-Nonce"];

/// The asterisk stands for every field but `Authorization`; the others are for browsers that do not know it.
const ALLOWED: &str = "Authorization, DPoP, Content-Type, *";

/// The longest time that browsers remember a preflight.
const MAX_AGE: &str = "7200";

/// Which pages may use this resource from a browser, and who answers their preflight requests.
///
/// Tokens and proofs are put into requests by script, never by the browser, so that every page may ask: it gets nothing
/// without them. `Access-Control-Allow-Credentials` is never sent: it is for cookies.
///
/// ```
/// use keybound_tower::Cors;
///
/// let cors = Cors::origins(["https://app.example.com"]);
/// # let _ = cors;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pages: Pages,
    preflight: Preflight,
}

/// Who answers preflight requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preflight {
    /// The layer: any method, and the fields `Authorization` and `DPoP`.
    Here,
    /// The service behind, which sees these requests, and only these, without credentials.
    Inner,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pages {
    Any,
    Of(Vec<Box<str>>),
}

impl Cors {
    /// Pages of any origin; preflight requests are answered here.
    pub const fn any() -> Self {
        Self {
            pages: Pages::Any,
            preflight: Preflight::Here,
        }
    }

    /// Pages of these origins, as browsers write them: scheme, host and port without a slash.
    pub fn origins<O: Into<Box<str>>>(origins: impl IntoIterator<Item = O>) -> Self {
        Self {
            pages: Pages::Of(origins.into_iter().map(Into::into).collect()),
            preflight: Preflight::Here,
        }
    }

    /// Who answers preflight requests; [`Preflight::Here`] unless set.
    #[must_use]
    pub const fn preflight(mut self, by: Preflight) -> Self {
        self.preflight = by;
        self
    }

    /// Who answers, if this is a preflight request: `OPTIONS` with an origin, the method to come, and no credentials.
    pub fn asks(&self, parts: &Parts) -> Option<Preflight> {
        let preflight = parts.method == Method::OPTIONS
            && parts.headers.contains_key(ORIGIN)
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && !parts.headers.contains_key(AUTHORIZATION);
        preflight.then_some(self.preflight)
    }

    /// The answer to a preflight request (R-RS-28).
    pub fn answer_preflight(&self, parts: &Parts) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if let Some(method) = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)
            && Method::from_bytes(method.as_bytes()).is_ok()
        {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        }
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        headers.insert(VARY, HeaderValue::from_static("Access-Control-Request-Method"));
        self.expose(headers, parts.headers.get(ORIGIN));
        response
    }

    /// Lets the page at `origin` read an answer, the challenge and the nonce included, besides what the service behind has
    /// allowed (R-RS-28).
    pub fn expose(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let missing = |name: &&str| !lists(headers, name);
        let missing: Vec<_> = EXPOSED.into_iter().filter(missing).collect();
        if let Ok(value) = HeaderValue::try_from(missing.join(", "))
            && !missing.is_empty()
        {
            headers.append(ACCESS_CONTROL_EXPOSE_HEADERS, value);
        }
        match &self.pages {
            _ if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) => {}
            Pages::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Pages::Of(pages) => {
                headers.append(VARY, HeaderValue::from_static("Origin"));
                if let Some(origin) = origin.filter(|origin| pages.iter().any(|page| **origin == **page)) {
                    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                }
            }
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self::any()
    }
}

/// Whether this field is exposed by name already. An asterisk would do for pages, but it is no name.
fn lists(headers: &HeaderMap, name: &str) -> bool {
    let lines = headers.get_all(ACCESS_CONTROL_EXPOSE_HEADERS).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(method: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn lines<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect()
    }

    // R-RS-28
    #[test]
    fn what_a_preflight_is() {
        let origin = ("origin", "https://app.example");
        let method = ("access-control-request-method", "GET");
        for (verb, fields, expected) in [
            ("OPTIONS", &[origin, method][..], true),
            ("OPTIONS", &[origin], false),
            ("OPTIONS", &[method], false),
            ("OPTIONS", &[origin, method, ("authorization", "DPoP x")], false),
            ("GET", &[origin, method], false),
        ] {
            let asks = Cors::any().asks(&parts(verb, fields));
            assert_eq!(asks, expected.then_some(Preflight::Here), "{verb} {fields:?}");
        }
    }

    #[test]
    fn a_preflight_allows_token_and_proof() {
        let asked = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "PATCH"),
        ];
        let response = Cors::any().answer_preflight(&parts("OPTIONS", &asked));
        assert_eq!(response.status(), 204);
        let headers = response.headers();
        assert_eq!(lines(headers, "access-control-allow-origin"), ["*"]);
        assert_eq!(lines(headers, "access-control-allow-methods"), ["PATCH"]);
        assert_eq!(lines(headers, "access-control-allow-headers"), [ALLOWED]);
        assert!(!headers.contains_key("access-control-allow-credentials"));

        let odd = [asked[0], ("access-control-request-method", "a b")];
        let response = Cors::any().answer_preflight(&parts("OPTIONS", &odd));
        assert!(!response.headers().contains_key("access-control-allow-methods"));
    }

    #[test]
    fn pages_by_name() {
        let cors = Cors::origins(["https://app.example"]);
        for (origin, expected) in [
            (Some("https://app.example"), &["https://app.example"][..]),
            (Some("https://app.example.evil"), &[]),
            (Some("null"), &[]),
            (None, &[]),
        ] {
            let mut headers = HeaderMap::new();
            cors.expose(&mut headers, origin.map(HeaderValue::from_static).as_ref());
            assert_eq!(lines(&headers, "access-control-allow-origin"), expected, "{origin:?}");
            assert_eq!(lines(&headers, "vary"), ["Origin"], "{origin:?}");
        }
    }

    #[test]
    fn what_the_inner_service_exposes_stays() {
        for (inner, expected) in [
            (&[][..], &["WWW-Authenticate, DPoP-Nonce"][..]),
            (&["X-Total"], &["X-Total", "WWW-Authenticate, DPoP-Nonce"]),
            (&["X-Total, dpop-nonce"], &["X-Total, dpop-nonce", "WWW-Authenticate"]),
            (&["DPoP-Nonce,WWW-Authenticate"], &["DPoP-Nonce,WWW-Authenticate"]),
            (&["*"], &["*", "WWW-Authenticate, DPoP-Nonce"]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                "access-control-allow-origin",
                HeaderValue::from_static("https://own.example"),
            );
            for line in inner {
                headers.append("access-control-expose-headers", HeaderValue::from_static(line));
            }
            Cors::any().expose(&mut headers, None);
            assert_eq!(lines(&headers, "access-control-expose-headers"), expected);
            assert_eq!(lines(&headers, "access-control-allow-origin"), ["https://own.example"]);
        }
    }
}
