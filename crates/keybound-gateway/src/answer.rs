//! The gateway's own answers to what never reached a check or an upstream: a status and a small JSON object with the reason.

use core::fmt;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE,
    RETRY_AFTER,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::body::Body;

/// The code of a refusal, for a proxy that passes on fields and no body.
pub(crate) const REASON: HeaderName = HeaderName::from_static("keybound-reason");

/// Whom an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    Client,
    /// Another proxy, about a client's request.
    Proxy,
}

macro_rules! problems {
    ($($variant:ident = $status:ident, $code:literal $(, limit $limit:literal)?, $meaning:literal, $advice:literal;)+) => {
        /// Why the gateway itself answered. Reasons that have to do with tokens and proofs are
        /// [`Reason`](keybound::refusal::Reason)s instead.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Problem {
            $(#[doc = concat!("`", $code, "`: ", $meaning, ".")] $variant,)+
        }

        impl Problem {
            /// Every problem, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The public code, `subject.fault`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// What was found, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What the client or the operator can do.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }

            /// The body of the answer.
            pub(crate) const fn json(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("{\"reason\":\"", $code, "\"" $(, ",\"limit\":\"", $limit, "\"")?, "}\n"),)+
                }
            }
        }
    };
}

problems! {
    // The connection and the header.
    Overload = SERVICE_UNAVAILABLE, "overload", limit "limits.connections",
        "there are as many connections as there may be",
        "come back in a moment; operator: see who holds them, or raise limits.connections";
    // R-SEC-01.
    TlsRequired = BAD_REQUEST, "tls.required",
        "the request came without TLS, from elsewhere than loopback or a trusted peer",
        "use https; operator: set [listen.tls], or name the proxy that ends TLS in listen.trusted_peers";
    RequestMalformed = BAD_REQUEST, "request.malformed",
        "what came is not a request of HTTP",
        "send HTTP/1.1 or HTTP/2, without TLS if this listener has none";
    HeaderOversized = REQUEST_HEADER_FIELDS_TOO_LARGE, "header.oversized", limit "limits.header_bytes",
        "the header is longer than this gateway reads",
        "send fewer or shorter fields; operator: raise limits.header_bytes";
    HeaderCrowded = REQUEST_HEADER_FIELDS_TOO_LARGE, "header.crowded", limit "limits.header_fields",
        "the header has more fields than this gateway reads",
        "send fewer fields; operator: raise limits.header_fields";
    // R-URI-10.
    HostInvalid = BAD_REQUEST, "host.invalid",
        "Host is missing, doubled, malformed, or disagrees with the request target",
        "send exactly one Host field, equal to the authority of the target";
    TargetInvalid = BAD_REQUEST, "target.invalid",
        "the request target is neither a path nor an absolute http or https URI",
        "send a path that begins with a slash";
    FramingAmbiguous = BAD_REQUEST, "framing.ambiguous",
        "Content-Length came with Transfer-Encoding, or more than once",
        "say the length of the body in one way, once; a proxy that adds the other is at fault";
    MethodRefused = METHOD_NOT_ALLOWED, "method.refused",
        "CONNECT would make a tunnel past every check, and TRACE would show what only the upstream should see",
        "use another method";
    MethodUnlisted = METHOD_NOT_ALLOWED, "method.unlisted",
        "the route does not serve this method",
        "use one that Allow names; operator: add it to route.methods";
    RouteUnknown = NOT_FOUND, "route.unknown",
        "no route covers the path, or the one that does has no upstream",
        "see that the path is right; operator: add a [[route]] for it, with upstream";
    AttestationFailed = SERVICE_UNAVAILABLE, "attestation.failed",
        "the statement for the upstream could not be signed",
        "operator: see the log; proof = \"consume\" does without a statement";
    // A proxy that asks for decisions.
    DecisionPeer = INTERNAL_SERVER_ERROR, "decision.peer",
        "somebody who is not one of listen.decision_peers asked for a decision",
        "operator: name the proxy in listen.decision_peers";
    DecisionFields = INTERNAL_SERVER_ERROR, "decision.fields",
        "a decision was asked for without the fields that tell of the request, each once",
        "operator: see in the log which, and set up the proxy as in docs/proxies.md";
    // The body.
    BodyMalformed = BAD_REQUEST, "body.malformed",
        "the body is not what its framing says",
        "send as many octets as were announced, or chunks that are well formed";
    BodyOversized = PAYLOAD_TOO_LARGE, "body.oversized", limit "limits.body_bytes",
        "the body is longer than this gateway passes on",
        "send less; operator: raise limits.body_bytes";
    BodyStalled = REQUEST_TIMEOUT, "body.stalled", limit "limits.client_timeout",
        "nothing more of the body came for too long",
        "send the body without a pause; operator: raise limits.client_timeout";
    BodySlow = REQUEST_TIMEOUT, "body.slow", limit "limits.request_timeout",
        "the body kept coming, but was not whole in time",
        "send faster, or less at once; operator: raise limits.request_timeout";
    TokenInForm = BAD_REQUEST, "credentials.form",
        "an access token stood in a form, behind its beginning",
        "send the token in Authorization, with the scheme DPoP";
    FormEncoded = UNSUPPORTED_MEDIA_TYPE, "form.encoded",
        "the form is compressed, so that nobody can see here whether there is an access token in it",
        "send forms without Content-Encoding";
    // The upstream.
    UpstreamUnreachable = BAD_GATEWAY, "upstream.unreachable",
        "no upstream of the route could be connected to",
        "see that the upstream runs, and that route.upstream names it";
    UpstreamOverload = SERVICE_UNAVAILABLE, "upstream.overload",
        "there are as many connections to upstreams as there may be",
        "come back in a moment; operator: see which upstream is slow, use h2c or h2 for it, or raise the limit on open files";
    UpstreamRefused = SERVICE_UNAVAILABLE, "upstream.refused",
        "the upstream said by HTTP/2, each time it was asked, that it takes nothing of the request",
        "come back in a moment; operator: see the log of the upstream: it ends, or has as many requests as it takes";
    UpstreamInvalid = BAD_GATEWAY, "upstream.invalid",
        "the upstream broke off, or answered something that is not HTTP or can be read in two ways",
        "see the log of the upstream, and that route.upstream has the right scheme";
    UpstreamTimeout = GATEWAY_TIMEOUT, "upstream.timeout", limit "limits.response_timeout",
        "the upstream did not begin its answer in time",
        "see why the upstream is slow; operator: raise limits.response_timeout";
}

impl Problem {
    /// Whether the connection must not be used again: what comes next on it may be no request, or not the client's.
    const fn spoils_connection(self) -> bool {
        !matches!(
            self,
            Self::RouteUnknown
                | Self::MethodUnlisted
                | Self::AttestationFailed
                | Self::UpstreamUnreachable
                | Self::UpstreamOverload
                | Self::UpstreamRefused
                | Self::UpstreamInvalid
                | Self::UpstreamTimeout
        )
    }

    /// The answer. The problem is in its extensions.
    pub fn answer(self) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from_static(self.json().as_bytes())));
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A page of any site may read it: there is nothing in it but the reason (R-RS-28).
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("WWW-Authenticate, DPoP-Nonce"));
        if self.spoils_connection() {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::MethodRefused) {
            // Of no route: what each allows is not known here.
            fields.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        if matches!(self, Self::Overload | Self::UpstreamOverload | Self::UpstreamRefused) {
            fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// The same, with what a proxy needs beside it.
    pub(crate) fn answer_to(self, asker: Asker) -> Response<Body> {
        let mut response = self.answer();
        if asker == Asker::Proxy {
            response.headers_mut().insert(REASON, HeaderValue::from_static(self.code()));
        }
        response
    }

    /// The answer in octets of HTTP/1.1, for where there is no request. The time is that of another answer.
    pub(crate) fn octets(self, asker: Asker, dated: &[u8]) -> Vec<u8> {
        let body = self.json();
        let mut octets = format!("HTTP/1.1 {}\r\n", self.status()).into_bytes();
        for (name, value) in self.answer_to(asker).headers() {
            octets.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let mut lines = dated.split_inclusive(|octet| *octet == b'\n');
        octets.extend(lines.find(|line| line.starts_with(b"date:")).unwrap_or_default());
        octets.extend(format!("content-length: {}\r\n\r\n{body}", body.len()).into_bytes());
        octets
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl core::error::Error for Problem {}
