//! Challenges and error answers: servers write them, clients read them (RFC 9449 sections 5, 7.1, 8 and 9). The only
//! place where a refusal becomes a status and fields of HTTP.

use core::fmt;
use core::str::FromStr;

use http::HeaderName;

mod parse;
mod token_error;
mod write;

pub use parse::{Challenge, DpopChallenge, MalformedChallenge, NonceField, nonce_of, parse_challenges, parse_line};
pub use token_error::TokenErrorAnswer;
pub use write::{ChallengeError, Challenges, Realm, ResourceAnswer, Scheme};

/// The field that carries a proof.
pub static DPOP: HeaderName = HeaderName::from_static("dpop");

/// The field that carries a nonce.
pub static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What a client waits, in seconds, before it tries again, where nothing better is known.
const RETRY_AFTER: u32 = 5;

/// An OAuth error code on the wire.
///
/// ```
/// use keybound::challenge::ErrorCode;
///
/// assert_eq!("use_dpop_nonce".parse(), Ok(ErrorCode::UseDpopNonce));
/// assert_eq!(ErrorCode::InvalidToken.as_str(), "invalid_token");
/// assert!("Invalid_Token".parse::<ErrorCode>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_client`
    InvalidClient,
    /// `invalid_grant`
    InvalidGrant,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `invalid_scope`
    InvalidScope,
    /// `invalid_target`
    InvalidTarget,
    /// `invalid_token`
    InvalidToken,
    /// `insufficient_scope`
    InsufficientScope,
    /// `invalid_dpop_proof`
    InvalidDpopProof,
    /// `use_dpop_nonce`
    UseDpopNonce,
    /// `access_denied`
    AccessDenied,
    /// `login_required`
    LoginRequired,
    /// `consent_required`
    ConsentRequired,
    /// `unsupported_response_type`
    UnsupportedResponseType,
    /// `invalid_request_object`
    InvalidRequestObject,
    /// `invalid_request_uri`
    InvalidRequestUri,
    /// `authorization_pending`
    AuthorizationPending,
    /// `slow_down`
    SlowDown,
    /// `expired_token`
    ExpiredToken,
    /// `invalid_redirect_uri`
    InvalidRedirectUri,
    /// `invalid_client_metadata`
    InvalidClientMetadata,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 22] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::InvalidTarget,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::AccessDenied,
        Self::LoginRequired,
        Self::ConsentRequired,
        Self::UnsupportedResponseType,
        Self::InvalidRequestObject,
        Self::InvalidRequestUri,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::ExpiredToken,
        Self::InvalidRedirectUri,
        Self::InvalidClientMetadata,
    ];

    /// The code, as it stands in `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidRequestObject => "invalid_request_object",
            Self::InvalidRequestUri => "invalid_request_uri",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
        }
    }
}

impl FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    /// In exactly this letter case.
    fn from_str(code: &str) -> Result<Self, UnknownErrorCode> {
        Self::ALL.into_iter().find(|known| known.as_str() == code).ok_or(UnknownErrorCode)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not an error code this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownErrorCode;

impl fmt::Display for UnknownErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an error code of OAuth or DPoP")
    }
}

impl core::error::Error for UnknownErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(code.as_str().to_uppercase().parse::<ErrorCode>(), Err(UnknownErrorCode));
        }
    }
}
