//! What an authorization server answers to a token request, or to a pushed authorization request, that it refuses.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::write::{Realm, apply_common};
use super::{ErrorCode, RETRY_AFTER};
use crate::nonce::Nonce;
use crate::refusal::{Denial, Outcome, Reason};

/// The error answer of RFC 6749 section 5.2, with the codes of RFC 9449 sections 5 and 8.
///
/// ```
/// use keybound::challenge::TokenErrorAnswer;
/// use keybound::nonce::Nonce;
/// use keybound::refusal::{Denial, Reason};
///
/// let nonce = Nonce::parse("eyJ7S_zG.eyJH0-Z.HX4w-7v").unwrap();
/// let answer = TokenErrorAnswer::new(&Denial::from(Reason::NonceMissing), Some(&nonce));
/// let mut headers = http::HeaderMap::new();
/// answer.apply(&mut headers);
/// assert_eq!(answer.status(), 400);
/// assert_eq!(answer.body(), r#"{"error":"use_dpop_nonce","error_description":"nonce.missing"}"#);
/// assert_eq!(headers["dpop-nonce"], "eyJ7S_zG.eyJH0-Z.HX4w-7v");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an answer does nothing until it is sent"]
pub struct TokenErrorAnswer {
    status: StatusCode,
    error: &'static str,
    code: &'static str,
    basic: Option<HeaderValue>,
    retry_after: Option<u32>,
    nonce: Option<Nonce>,
}

impl TokenErrorAnswer {
    /// The answer to `denial`; of a refusal nothing but its code is told (R-ERR-18).
    ///
    /// A refusal that [demands a nonce](crate::refusal::Refusal::demands_nonce) needs one here, or the client cannot
    /// recover.
    pub fn new(denial: &Denial, nonce: Option<&Nonce>) -> Self {
        let (status, error) = match denial {
            Denial::Refused(refusal) => refused(refusal.reason(), refusal.outcome()),
            Denial::Failed(_) => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
        };
        let retry_after = (error == UNAVAILABLE).then_some(RETRY_AFTER);
        Self { status, error, code: denial.code(), basic: None, retry_after, nonce: nonce.cloned() }
    }

    /// From a server where clients may authenticate by HTTP Basic: an `invalid_client` then has a challenge of that scheme, which
    /// a client that tried it must get (RFC 6749 section 5.2), and every 401 has one (RFC 9110 section 15.5.2). Other answers stay as
    /// they are.
    pub fn takes_basic(mut self, realm: &Realm) -> Self {
        if self.status == StatusCode::UNAUTHORIZED {
            self.basic = HeaderValue::try_from(format!("Basic realm=\"{}\"", realm.quoted())).ok();
        }
        self
    }

    /// To a token exchange, where what other grants call `invalid_grant` is `invalid_request` (RFC 8693 section 2.2.2).
    pub fn for_token_exchange(mut self) -> Self {
        if self.error == ErrorCode::InvalidGrant.as_str() {
            self.error = ErrorCode::InvalidRequest.as_str();
        }
        self
    }

    /// Asks the client to wait this many seconds.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What stands in `error`.
    pub const fn error(&self) -> &'static str {
        self.error
    }

    /// The reason code.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// Sets the fields of the answer, those of its body included, in place of any of the same names. `DPoP-Nonce` is
    /// touched only if a nonce was given. There is never a DPoP challenge (R-ERR-15).
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.remove(WWW_AUTHENTICATE);
        if let Some(basic) = &self.basic {
            headers.insert(WWW_AUTHENTICATE, basic.clone());
        }
        apply_common(headers, self.retry_after, self.nonce.as_ref());
    }

    /// The body, JSON.
    pub fn body(&self) -> String {
        format!(r#"{{"error":"{}","error_description":"{}"}}"#, self.error, self.code)
    }
}

/// No code of RFC 6749 section 5.2 says "not now"; this one of section 4.1.2.1 is what clients know.
const UNAVAILABLE: &str = "temporarily_unavailable";

fn refused(reason: Reason, outcome: Outcome) -> (StatusCode, &'static str) {
    let error = match outcome {
        Outcome::Status(429) => return (StatusCode::TOO_MANY_REQUESTS, UNAVAILABLE),
        Outcome::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            return (status, ErrorCode::InvalidRequest.as_str());
        }
        // R-ERR-17: at a token endpoint a proof that is missing is a parameter that is missing.
        Outcome::Error(_) if reason == Reason::ProofMissing => ErrorCode::InvalidRequest,
        // A resource's answers mean nothing to somebody who asks for a token.
        Outcome::Challenge | Outcome::Error(ErrorCode::InvalidToken | ErrorCode::InsufficientScope) => {
            ErrorCode::InvalidRequest
        }
        Outcome::Error(error) => error,
    };
    let status = if error == ErrorCode::InvalidClient { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    (status, error.as_str())
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};

    use super::*;
    use crate::challenge::DPOP_NONCE;
    use crate::refusal::Fault;

    #[test]
    fn each_refusal_has_its_status_and_code() {
        for (rows, reason, status, error) in [
            ("R-ERR-15", Reason::HtuMismatch, 400, "invalid_dpop_proof"),
            ("R-ERR-15", Reason::ReplaySeen, 400, "invalid_dpop_proof"),
            ("R-ERR-16", Reason::NonceStale, 400, "use_dpop_nonce"),
            ("R-ERR-17", Reason::ProofRequired, 400, "invalid_request"),
            ("R-ERR-17", Reason::ProofMissing, 400, "invalid_request"),
            ("R-ERR-17", Reason::GrantKey, 400, "invalid_grant"),
            ("6749 5.2", Reason::ClientAuthentication, 401, "invalid_client"),
            ("6749 5.2", Reason::ScopeInvalid, 400, "invalid_scope"),
            ("out of place", Reason::CredentialsMissing, 400, "invalid_request"),
            ("out of place", Reason::TokenExpired, 400, "invalid_request"),
            ("out of place", Reason::ScopeInsufficient, 400, "invalid_request"),
            ("6585 4", Reason::ReplayQuota, 429, "temporarily_unavailable"),
            ("9110 15.5.20", Reason::HostUnknown, 421, "invalid_request"),
        ] {
            let answer = TokenErrorAnswer::new(&reason.into(), None);
            assert_eq!((answer.status().as_u16(), answer.error()), (status, error), "{rows} {reason}");
        }
    }

    #[test]
    fn a_token_exchange_has_no_invalid_grant() {
        for (reason, error) in [
            (Reason::GrantInvalid, "invalid_request"),
            (Reason::GrantKey, "invalid_request"),
            (Reason::TargetInvalid, "invalid_target"),
        ] {
            let answer = TokenErrorAnswer::new(&reason.into(), None).for_token_exchange();
            assert_eq!((answer.error(), answer.code()), (error, reason.code()));
        }
    }

    // R-ERR-15, R-ERR-18, R-ERR-19: JSON, never a DPoP challenge, never to be stored, and nothing but codes.
    #[test]
    fn no_answer_holds_a_dpop_challenge() {
        let realm = Realm::new("tokens").unwrap();
        for reason in Reason::ALL {
            let answer = TokenErrorAnswer::new(&(*reason).into(), None).takes_basic(&realm);
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("DPoP"));
            answer.apply(&mut headers);
            let challenge = headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
            assert_eq!(challenge, (answer.error() == "invalid_client").then_some("Basic realm=\"tokens\""), "{reason}");
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers[CONTENT_TYPE], "application/json");
            assert!(!headers.contains_key(&DPOP_NONCE));
            let body: serde_json::Value = serde_json::from_str(&answer.body()).unwrap();
            assert_eq!(body, serde_json::json!({"error": answer.error(), "error_description": reason.code()}));
        }
    }

    #[test]
    fn basic_is_offered_by_servers_that_take_it() {
        let mut headers = HeaderMap::new();
        TokenErrorAnswer::new(&Reason::ClientAuthentication.into(), None).apply(&mut headers);
        assert!(!headers.contains_key(WWW_AUTHENTICATE));
    }

    // R-ERR-21
    #[test]
    fn a_fault_is_503() {
        let answer = TokenErrorAnswer::new(&Fault::StoreUnavailable.into(), None).retry_after(9);
        let mut headers = HeaderMap::new();
        answer.apply(&mut headers);
        assert_eq!(answer.status(), 503);
        assert_eq!(headers[RETRY_AFTER], "9");
        assert_eq!(answer.body(), r#"{"error":"temporarily_unavailable","error_description":"store.unavailable"}"#);
    }
}
