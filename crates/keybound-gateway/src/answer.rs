//! The gateway's own answers to what never reached a check or an upstream: a status and a small JSON object with the reason.

use core::fmt;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use crate::body::Body;

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $variant:ident = $status:ident, $code:literal $(, limit $limit:literal)?;)+) => {
        /// Why the gateway itself answered. Reasons that have to do with tokens and proofs are
        /// [`Reason`](keybound::refusal::Reason)s instead.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Problem {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Problem {
            /// Every problem.
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
            pub(crate) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+),)+ }
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
    /// `Host` is missing, doubled, malformed, or disagrees with the target (R-URI-10).
    HostInvalid = BAD_REQUEST, "host.invalid";
    /// The target is neither a path nor an absolute http or https URI.
    TargetInvalid = BAD_REQUEST, "target.invalid";
    /// `Content-Length` came with `Transfer-Encoding` (RFC 9112 section 6.1), or more than once.
    FramingAmbiguous = BAD_REQUEST, "framing.ambiguous";
    /// The request came without TLS, from elsewhere than loopback or a trusted peer (R-SEC-01).
    TlsRequired = BAD_REQUEST, "tls.required";
    /// The body is not what its framing says.
    BodyMalformed = BAD_REQUEST, "body.malformed";
    /// There are more header fields than this gateway reads.
    HeaderOversized = REQUEST_HEADER_FIELDS_TOO_LARGE, "header.oversized", limit "limits.header_fields";
    /// `CONNECT`, which would make a tunnel past every check, or `TRACE`, which would show what only the upstream should see.
    MethodRefused = METHOD_NOT_ALLOWED, "method.refused";
    /// A form turned out to have an access token in it behind its beginning (RFC 9449 section 7.1).
    TokenInForm = BAD_REQUEST, "credentials.form";
    /// A form came compressed, so that nobody can see here whether there is an access token in it.
    FormEncoded = UNSUPPORTED_MEDIA_TYPE, "form.encoded";
    /// The body stopped coming, or took too long.
    BodyStalled = REQUEST_TIMEOUT, "body.stalled", limit "limits.client_timeout";
    /// The body took too long.
    BodySlow = REQUEST_TIMEOUT, "body.slow", limit "limits.request_timeout";
    /// The body is longer than this gateway passes on.
    BodyOversized = PAYLOAD_TOO_LARGE, "body.oversized", limit "limits.body_bytes";
    /// Not one of `listen.decision_peers` asked for a decision.
    DecisionPeer = INTERNAL_SERVER_ERROR, "decision.peer";
    /// A decision was asked for without the fields that tell of the request, each once; the log says which.
    DecisionFields = INTERNAL_SERVER_ERROR, "decision.fields";
    /// No route covers the path, or the one that does has no upstream.
    RouteUnknown = NOT_FOUND, "route.unknown";
    /// No upstream of the route could be connected to.
    UpstreamUnreachable = BAD_GATEWAY, "upstream.unreachable";
    /// The upstream broke off, or answered something that is not HTTP.
    UpstreamInvalid = BAD_GATEWAY, "upstream.invalid";
    /// The upstream did not begin its answer in time.
    UpstreamTimeout = GATEWAY_TIMEOUT, "upstream.timeout", limit "limits.response_timeout";
    /// There are as many connections as there may be.
    Overload = SERVICE_UNAVAILABLE, "overload", limit "limits.connections";
}

impl Problem {
    /// Whether the connection must not be used again: what comes next on it may be no request, or not the client's.
    const fn spoils_connection(self) -> bool {
        !matches!(self, Self::UpstreamUnreachable | Self::UpstreamInvalid | Self::UpstreamTimeout)
    }

    /// The answer. The problem is in its extensions.
    pub fn answer(self) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from_static(self.json().as_bytes())));
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.spoils_connection() {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::Overload) {
            fields.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl core::error::Error for Problem {}
