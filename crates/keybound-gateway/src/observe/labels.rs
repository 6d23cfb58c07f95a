//! The label sets of the metrics, as types. None holds what a stranger chose, except names of clients whose token was
//! verified, and of those only so many.

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::config::Mode;

/// The terms of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Terms {
    /// The request reached no route.
    None,
    /// The embedded issuer answered.
    Issuer,
    /// On a route in this mode.
    Required,
    Optional,
    Report,
    Open,
}

impl Terms {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Issuer => "issuer",
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Report => "report",
            Self::Open => "open",
        }
    }
}

impl From<Mode> for Terms {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Required => Self::Required,
            Mode::Optional => Self::Optional,
            Mode::Report => Self::Report,
            Mode::Open => Self::Open,
        }
    }
}

macro_rules! label_values {
    ($($(#[$doc:meta])+ $name:ident { $($variant:ident = $text:literal),+ $(,)? })+) => {
        $(
            $(#[$doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            pub(super) enum $name { $($variant),+ }

            impl EncodeLabelValue for $name {
                fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> core::fmt::Result {
                    EncodeLabelValue::encode(&match self { $(Self::$variant => $text),+ }, encoder)
                }
            }
        )+
    };
}

label_values! {
    /// Class of a status.
    Class { Informational = "1xx", Success = "2xx", Redirection = "3xx", Client = "4xx", Server = "5xx", Canceled = "canceled" }
    /// What somebody got in with.
    Credentials { Bound = "bound", Bearer = "bearer" }
    /// On which side of our clock.
    Side { Behind = "behind", Ahead = "ahead" }
    /// How a fetch ended.
    Fetched { Good = "good", Failed = "failed" }
    /// What an issuer serves.
    Document { Metadata = "metadata", Keys = "keys" }
    /// What became of a span.
    Handed { Sent = "sent", Failed = "failed", Dropped = "dropped" }
    /// What came of a health check.
    Answered { Good = "good", Bad = "bad" }
}

impl EncodeLabelValue for Terms {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> core::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RouteLabels {
    pub(super) route: Arc<str>,
    pub(super) mode: Terms,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AnswerLabels {
    pub(super) route: Arc<str>,
    pub(super) mode: Terms,
    pub(super) status: Class,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CredentialsLabels {
    pub(super) route: Arc<str>,
    pub(super) mode: Terms,
    pub(super) credentials: Credentials,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) route: Arc<str>,
    pub(super) mode: Terms,
    pub(super) reason: &'static str,
}

/// `client` is empty where no token was verified, and `other` where there are too many to count apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReportLabels {
    pub(super) route: Arc<str>,
    pub(super) reason: &'static str,
    pub(super) client: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OffsetLabels {
    pub(super) side: Side,
}

/// Where other proxies ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ListenerLabels {
    pub(super) listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct IssuerLabels {
    pub(super) issuer: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FetchLabels {
    pub(super) issuer: Arc<str>,
    pub(super) document: Document,
    pub(super) result: Fetched,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FetchTimeLabels {
    pub(super) issuer: Arc<str>,
    pub(super) document: Document,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct QuestionLabels {
    pub(super) issuer: Arc<str>,
    pub(super) result: Fetched,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct IssuedLabels {
    pub(super) grant: Arc<str>,
    pub(super) token_type: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusedLabels {
    pub(super) endpoint: Arc<str>,
    pub(super) reason: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpstreamLabels {
    pub(super) upstream: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CheckLabels {
    pub(super) upstream: Arc<str>,
    pub(super) path: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CheckedLabels {
    pub(super) upstream: Arc<str>,
    pub(super) path: Arc<str>,
    pub(super) result: Answered,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SpanLabels {
    pub(super) result: Handed,
}
