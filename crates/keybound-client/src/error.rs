//! What keeps a request from its answer, and whose doing it is. Tokens, proofs, secrets and queries of URLs never stand here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, StatusCode};
use keybound::challenge::DpopChallenge;
use keybound::client::{AlgMisfit, MalformedToken, NoCommonAlg, NoRetry, UnboundToken};
use keybound::crypto::SigningFailed;
use keybound::jwk::Thumbprint;
use keybound::request::TargetUri;

use crate::response::Response;

/// Why a request has no answer to show.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Not an absolute http or https URL by RFC 3986, or one that no two programs read alike.
    Url,
    /// Plain http, to another machine or without leave (R-CLI-12).
    PlainHttp(TargetUri),
    /// A field that this client sets itself, or that would change what the proof speaks about.
    Field(HeaderName),
    /// A client that was given neither a token nor an issuer to get one from.
    NoToken,
    /// The access token cannot be sent.
    MalformedToken(MalformedToken),
    /// The issuer gave a token that is not bound; it was thrown away (R-CLI-09).
    Unbound {
        /// Who gave it.
        issuer: Box<str>,
        /// What it is.
        why: UnboundToken,
    },
    /// The metadata of the issuer cannot be used.
    Metadata {
        /// The issuer asked for.
        issuer: Box<str>,
        /// What is wrong with it.
        fault: MetadataFault,
    },
    /// The key's algorithm is none the server accepts (R-CLI-13).
    NoCommonAlg {
        /// The server, by its origin.
        server: Box<str>,
        /// Both lists.
        lists: NoCommonAlg,
    },
    /// The key's algorithm is not one of its kind.
    AlgMisfit(AlgMisfit),
    /// The refresh token is bound to a key that this client does not have (R-CLI-08).
    KeyGone(Thumbprint),
    /// The key could not be used.
    Signing(SigningFailed),
    /// The random generator has no entropy.
    Random,
    /// No token could be had, for this reason; all requests that waited for it share it.
    TokenRequest(Arc<Self>),
    /// The issuer refused to give a token.
    TokenRefused {
        /// The issuer.
        issuer: Box<str>,
        /// Its answer's status.
        status: StatusCode,
        /// Its `error`.
        error: Option<Box<str>>,
        /// Its `error_description`, a stranger's text in visible characters.
        description: Option<Box<str>>,
    },
    /// The issuer's answer to the token request is no token response.
    TokenResponse {
        /// The issuer.
        issuer: Box<str>,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// An answer to the login that another issuer gave (RFC 9207).
    OtherIssuer {
        /// The issuer that was asked.
        issuer: Box<str>,
        /// The one that answered, a stranger's text in visible characters.
        found: Box<str>,
    },
    /// The login could not begin: no browser, no free port.
    Login(std::io::Error),
    /// The user took too long.
    LoginLate {
        /// How long there was.
        limit: Duration,
    },
    /// The issuer did not let the user in, or the user did not want to.
    LoginRefused {
        /// The issuer.
        issuer: Box<str>,
        /// Its `error`, a stranger's text in visible characters.
        error: Box<str>,
        /// Its `error_description`, the same.
        description: Option<Box<str>>,
    },
    /// The metadata of a resource cannot be used (RFC 9728).
    Resource {
        /// Where it was found.
        at: Box<str>,
        /// What is wrong with it.
        fault: ResourceFault,
    },
    /// The server refused the token or the proof, and there is nothing more to try.
    Refused(Box<Refused>),
    /// A redirect to another server: token and proof do not go there (R-CLI-18).
    RedirectAcross {
        /// Who redirects.
        from: TargetUri,
        /// Where to, by its origin.
        to: Box<str>,
        /// The redirect itself: who follows it does so without token and proof.
        response: Box<Response>,
    },
    /// A redirect without a usable `Location`.
    RedirectNowhere(TargetUri),
    /// More redirects in a row than this client follows.
    Redirects {
        /// How many it followed.
        limit: usize,
        /// Where it was then.
        at: TargetUri,
    },
    /// A redirect asks for the body again, and it was a stream.
    BodyGone(TargetUri),
    /// The server sent more than is read of such an answer.
    TooLarge {
        /// The server, by its origin.
        server: Box<str>,
        /// What is read at most, in octets.
        limit: usize,
    },
    /// The server did not answer in time.
    Timeout {
        /// The server, by its origin.
        server: Box<str>,
        /// How long it was given.
        limit: Duration,
    },
    /// The server cannot be reached, or broke off.
    Network {
        /// The server, by its origin.
        server: Box<str>,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The settings of the HTTP client underneath are refused: a certificate, a proxy.
    Settings(reqwest::Error),
    /// Where tokens are kept between runs cannot be used.
    Store(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("not an absolute http or https URL by RFC 3986"),
            Self::PlainHttp(target) => write!(
                f,
                "{} is plain http: tokens and proofs go over https only, plain http is for loopback",
                target.origin()
            ),
            Self::Field(name) => write!(f, "the field {name} is set by this client and cannot be given"),
            Self::NoToken => f.write_str("there is neither a token nor an issuer to get one from"),
            Self::MalformedToken(why) => why.fmt(f),
            Self::Unbound { issuer, why } => write!(f, "{issuer}: {why}"),
            Self::Metadata { issuer, fault } => write!(f, "metadata of {issuer}: {fault}"),
            Self::NoCommonAlg { server, lists } => write!(f, "{server}: {lists}"),
            Self::AlgMisfit(why) => why.fmt(f),
            Self::KeyGone(jkt) => write!(f, "the refresh token is bound to the key {jkt}, which is not there any more"),
            Self::Signing(why) => why.fmt(f),
            Self::Random => f.write_str("the random generator has no entropy"),
            Self::TokenRequest(why) => why.fmt(f),
            Self::TokenRefused { issuer, status, error, description } => {
                write!(f, "{issuer} gave no token: {}", status.as_u16())?;
                [error, description].into_iter().flatten().try_for_each(|text| write!(f, " {text}"))
            }
            Self::TokenResponse { issuer, fault } => write!(f, "{issuer} gave no token: {fault}"),
            Self::OtherIssuer { issuer, found } => {
                write!(f, "asked {issuer} to log the user in, and {found} answered: the answer is thrown away")
            }
            Self::Login(source) => write!(f, "the login could not begin: {source}"),
            Self::LoginLate { limit } => write!(f, "nobody logged in within {} s", limit.as_secs()),
            Self::LoginRefused { issuer, error, description } => {
                write!(f, "{issuer} gave no token: {error}")?;
                description.iter().try_for_each(|text| write!(f, " {text}"))
            }
            Self::Resource { at, fault } => write!(f, "resource metadata at {at}: {fault}"),
            Self::Refused(refused) => refused.fmt(f),
            Self::RedirectAcross { from, to, .. } => {
                write!(f, "{from} redirects to {to}: token and proof do not go to another server")
            }
            Self::RedirectNowhere(from) => write!(f, "{from} redirects without a usable Location"),
            Self::Redirects { limit, at } => write!(f, "stopped at {at} after {limit} redirects in a row"),
            Self::BodyGone(from) => write!(f, "{from} redirects, and the request body cannot be sent again"),
            Self::TooLarge { server, limit } => write!(f, "{server} sent more than {limit} octets"),
            Self::Timeout { server, limit } => write!(f, "{server} did not answer within {} s", limit.as_secs_f32()),
            Self::Network { server, source } => {
                write!(f, "{server}: {source}")?;
                causes(f, source)
            }
            Self::Settings(source) => {
                write!(f, "settings of the HTTP client: {source}")?;
                causes(f, source)
            }
            Self::Store(source) => write!(f, "the token could not be kept: {source}"),
        }
    }
}

/// The causes below `source`: "connection refused" is the last of them and the one to read.
fn causes(f: &mut fmt::Formatter<'_>, source: &reqwest::Error) -> fmt::Result {
    let mut cause = std::error::Error::source(source);
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

impl std::error::Error for Error {}

impl Error {
    /// The refresh token is used up or revoked.
    pub(crate) fn is_invalid_grant(&self) -> bool {
        matches!(self, Self::TokenRefused { error: Some(error), .. } if **error == *"invalid_grant")
    }
}

/// What is wrong with the metadata of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResourceFault {
    /// The answer has another status than 200.
    Status(StatusCode),
    /// Not one strict JSON object.
    Json,
    /// It is about another resource (R-CLI-24).
    OtherResource(Box<str>),
    /// It stands on another server than the resource.
    Elsewhere,
    /// It names no issuer that this client gets tokens from; these it names.
    NoIssuer(Vec<Box<str>>),
}

impl fmt::Display for ResourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the answer is {}", status.as_u16()),
            Self::Json => f.write_str("not one JSON object, or a member stands in it twice"),
            Self::OtherResource(found) => write!(f, "it is about another resource: {found}"),
            Self::Elsewhere => f.write_str("it is on another server than the resource"),
            Self::NoIssuer(named) => {
                write!(f, "it names no issuer that this client gets tokens from, but [{}]", named.join(" "))
            }
        }
    }
}

/// What is wrong with the metadata of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataFault {
    /// None at either of its two addresses.
    Absent {
        /// What RFC 8414 says to ask for, and the status of its answer.
        oauth: StatusCode,
        /// The same of OpenID Connect.
        openid: StatusCode,
    },
    /// Not one strict JSON object.
    Json,
    /// Of another issuer (R-CLI-25).
    OtherIssuer(Box<str>),
    /// This member is missing, or not of its type.
    Member(&'static str),
}

impl fmt::Display for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent { oauth, openid } => write!(
                f,
                "none found: oauth-authorization-server answers {}, openid-configuration {}",
                oauth.as_u16(),
                openid.as_u16()
            ),
            Self::Json => f.write_str("not one JSON object, or a member stands in it twice"),
            Self::OtherIssuer(found) => write!(f, "it is of another issuer: {found}"),
            Self::Member(name) => write!(f, "{name} is missing or malformed"),
        }
    }
}

/// What the server did not accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Demand {
    /// It wants a nonce, and no retry was possible.
    Nonce(NoRetry),
    /// `invalid_token`, for a new token as well if one could be had.
    Token,
    /// `invalid_dpop_proof`.
    Proof,
    /// `insufficient_scope`.
    Scope,
}

/// A response by which a server refuses the token or the proof.
#[derive(Debug)]
pub struct Refused {
    demand: Demand,
    response: Response,
}

impl Refused {
    pub(crate) const fn new(demand: Demand, response: Response) -> Self {
        Self { demand, response }
    }

    /// What was not accepted.
    pub const fn demand(&self) -> Demand {
        self.demand
    }

    /// The DPoP challenge of the response.
    pub fn challenge(&self) -> Option<DpopChallenge> {
        DpopChallenge::find(self.response.headers())
    }

    /// The response, unread.
    pub const fn response(&self) -> &Response {
        &self.response
    }

    /// The response, to be read.
    pub fn into_response(self) -> Response {
        self.response
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers {} ", self.response.origin(), self.response.status().as_u16())?;
        match self.demand {
            Demand::Nonce(why) => write!(f, "use_dpop_nonce: {why}")?,
            Demand::Token => f.write_str("invalid_token: the access token is refused")?,
            Demand::Proof => f.write_str("invalid_dpop_proof: the proof is refused")?,
            Demand::Scope => f.write_str("insufficient_scope: the access token is not enough")?,
        }
        let challenge = self.challenge();
        match challenge.as_ref().and_then(DpopChallenge::error_description) {
            Some(description) => write!(f, " ({})", visible(description)),
            None => Ok(()),
        }
    }
}

/// A stranger's text, fit for a terminal and a log: without control characters, and not long.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(200).collect()
}

impl From<MalformedToken> for Error {
    fn from(why: MalformedToken) -> Self {
        Self::MalformedToken(why)
    }
}

impl From<AlgMisfit> for Error {
    fn from(why: AlgMisfit) -> Self {
        Self::AlgMisfit(why)
    }
}

impl From<SigningFailed> for Error {
    fn from(why: SigningFailed) -> Self {
        Self::Signing(why)
    }
}
