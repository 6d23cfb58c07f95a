//! Every reason a request is refused: one row each, with its code, the rule it comes from, what the peer is told and
//! what to do about it. What fails on our own side is a [`Fault`], never a refusal.

use core::fmt;

use crate::challenge::ErrorCode;

/// What a refused peer is told, besides the reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// No credentials were sent: 401 with challenges that hold no error (RFC 9449 section 7.2).
    Challenge,
    /// An error code of OAuth, with the status that belongs to it.
    Error(ErrorCode),
    /// A plain HTTP status; credentials have nothing to do with it.
    Status(u16),
}

/// One row of the table of reasons.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The public code, `subject.fault`.
    pub code: &'static str,
    /// Where the rule stands.
    pub rule: &'static str,
    /// What the peer is told.
    pub outcome: Outcome,
    /// What was found, in a few words.
    pub meaning: &'static str,
    /// What the one who was refused can do.
    pub advice: &'static str,
}

macro_rules! reasons {
    ($($variant:ident = $code:literal, $rule:literal, $outcome:expr, $meaning:literal, $advice:literal;)+) => {
        /// Why a request was refused. [`Reason::code`] is the same in answers, logs, metrics, documentation and vectors.
        ///
        /// ```
        /// use keybound::refusal::Reason;
        ///
        /// let reason = Reason::from_code("htu.mismatch").unwrap();
        /// assert_eq!(reason, Reason::HtuMismatch);
        /// assert_eq!(reason.entry().rule, "RFC 9449 4.3(9)");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = concat!("`", $code, "`: ", $meaning, " (", $rule, ").")] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The row of this reason.
            pub const fn entry(self) -> Entry {
                use ErrorCode::*;
                use Outcome::{Challenge, Error, Status};
                match self {
                    $(Self::$variant => Entry {
                        code: $code, rule: $rule, outcome: $outcome, meaning: $meaning, advice: $advice,
                    },)+
                }
            }
        }
    };
}

reasons! {
    // The request around the proof.
    HostInvalid = "host.invalid", "RFC 9112 3.2", Status(400),
        "Host is missing, doubled, malformed, or disagrees with the request target",
        "send exactly one Host field, equal to the authority of the target";
    HostUnknown = "host.unknown", "RFC 9110 7.4", Status(421),
        "Host names none of the declared origins",
        "use one of the public origins of this service";
    PathMalformed = "path.malformed", "RFC 3986 3.3", Status(400),
        "the path of the request is not a path by RFC 3986",
        "percent-encode what a path may not hold";
    PathAmbiguous = "path.ambiguous", "RFC 3986 6.2.2", Status(400),
        "the path holds an encoded slash, backslash or null, or dot segments, or servers that decode it, or drop parameters and empty segments, take it for another",
        "send the path in its plain form";
    CredentialsRepeated = "credentials.repeated", "RFC 9449 7.2", Error(InvalidRequest),
        "the access token came more than once or in more than one way",
        "send one Authorization field and the token nowhere else";
    CredentialsQuery = "credentials.query", "RFC 6750 2.3", Error(InvalidRequest),
        "the access token came in the query string",
        "send it as Authorization: DPoP";
    CredentialsForm = "credentials.form", "RFC 9449 7.1", Error(InvalidRequest),
        "the access token came in the request body",
        "send it as Authorization: DPoP";
    CredentialsMissing = "credentials.missing", "RFC 9449 7.2", Challenge,
        "no access token was sent",
        "get a bound token from the issuer and send it as Authorization: DPoP";
    CredentialsMalformed = "credentials.malformed", "RFC 9449 7.1", Error(InvalidToken),
        "the credentials are not a scheme, spaces and one token68",
        "send Authorization: DPoP, one space, the token as the issuer gave it";

    // The proof as octets: RFC 9449 section 4.3, (1) to (3).
    ProofMissing = "proof.missing", "RFC 9449 7.1", Error(InvalidDpopProof),
        "no DPoP field came with the token",
        "make a proof for this very request and send it in the DPoP field";
    ProofRepeated = "proof.repeated", "RFC 9449 4.3(1)", Error(InvalidDpopProof),
        "more than one DPoP field came, or several folded into one",
        "send one DPoP field with one proof";
    ProofOversized = "proof.oversized", "RFC 9449 11.1", Error(InvalidDpopProof),
        "the proof is longer than this server reads",
        "leave out what a proof does not need";
    ProofMalformed = "proof.malformed", "RFC 9449 4.3(2)", Error(InvalidDpopProof),
        "the proof is not one compact JWS",
        "send three base64url segments joined by dots";
    ProofEncoding = "proof.encoding", "RFC 7515 2", Error(InvalidDpopProof),
        "a segment is not canonical base64url",
        "encode without padding, in the URL alphabet, with zero trailing bits";
    ProofJson = "proof.json", "RFC 7515 4", Error(InvalidDpopProof),
        "header or payload is not one strict JSON object: invalid, too deep, too many members, or a name twice",
        "send plain JSON objects with each name once";

    // The header: (4), (5), (7).
    TypInvalid = "typ.invalid", "RFC 9449 4.3(4)", Error(InvalidDpopProof),
        "typ is not dpop+jwt",
        "a proof has the header typ dpop+jwt, in exactly this spelling";
    AlgInvalid = "alg.invalid", "RFC 9449 4.3(5)", Error(InvalidDpopProof),
        "alg is missing, not a string, or names no known signature algorithm",
        "use one of the algorithms in algs";
    AlgForbidden = "alg.forbidden", "RFC 9449 4.3(5)", Error(InvalidDpopProof),
        "alg is none or a MAC, which prove nothing",
        "sign with an asymmetric key";
    AlgUnsupported = "alg.unsupported", "RFC 9449 4.3(5)", Error(InvalidDpopProof),
        "alg is not on this server's list",
        "use one of the algorithms in algs";
    CritUnsupported = "crit.unsupported", "RFC 7515 4.1.11", Error(InvalidDpopProof),
        "crit is malformed or names something not understood",
        "send proofs without crit";
    B64Unsupported = "b64.unsupported", "RFC 7797 7", Error(InvalidDpopProof),
        "b64 is not true: the payload would not be encoded",
        "send proofs without b64";
    KeyMissing = "key.missing", "RFC 9449 4.2", Error(InvalidDpopProof),
        "jwk is missing or is not an object",
        "put the public key in the header, as jwk";
    KeyPrivate = "key.private", "RFC 9449 4.3(7)", Error(InvalidDpopProof),
        "jwk holds private or symmetric key material",
        "throw that key away: it is disclosed";
    KeyUnsupported = "key.unsupported", "RFC 9449 4.2", Error(InvalidDpopProof),
        "kty or crv is not one this server knows",
        "use a P-256, P-384, P-521, Ed25519 or RSA key";
    KeyInvalid = "key.invalid", "RFC 7518 6.2", Error(InvalidDpopProof),
        "the members of jwk are not a public key in its one spelling, or not a point on the curve",
        "full-length coordinates, minimal integers, canonical base64url";
    KeyWeak = "key.weak", "RFC 7518 3.3", Error(InvalidDpopProof),
        "the key proves nothing or costs too much: a short or huge RSA key, an odd exponent, a small-order point",
        "RSA of 2048 to 4096 bits with e = 65537, or another kind of key";
    KeyUsage = "key.usage", "RFC 7517 4.2", Error(InvalidDpopProof),
        "use, key_ops or alg of jwk forbid this signature",
        "leave these members out, or make them fit";
    AlgMismatch = "alg.mismatch", "RFC 8725 3.1", Error(InvalidDpopProof),
        "alg does not fit the kind of key",
        "ES256 goes with P-256, ES384 with P-384, ES512 with P-521, Ed25519 with Ed25519, RS and PS with RSA";

    // The signature: (6).
    SignatureInvalid = "signature.invalid", "RFC 9449 4.3(6)", Error(InvalidDpopProof),
        "the signature does not verify under the key in the header",
        "sign the octets you send; ECDSA signatures are R and S at full length, not DER";

    // The claims: (3), (8), (9).
    JtiInvalid = "jti.invalid", "RFC 9449 4.2", Error(InvalidDpopProof),
        "jti is missing, empty, or not a string",
        "put at least 96 random bits in jti";
    JtiOversized = "jti.oversized", "RFC 9449 11.1", Error(InvalidDpopProof),
        "jti is longer than this server reads",
        "128 random bits are enough";
    HtmInvalid = "htm.invalid", "RFC 9449 4.2", Error(InvalidDpopProof),
        "htm is missing or not a string",
        "put the request method in htm";
    HtuInvalid = "htu.invalid", "RFC 9449 4.2", Error(InvalidDpopProof),
        "htu is missing, not a string, or not an absolute http or https URI by RFC 3986",
        "put the URI of the request in htu, without query and fragment";
    IatInvalid = "iat.invalid", "RFC 9449 4.2", Error(InvalidDpopProof),
        "iat is missing or not a sensible number of seconds",
        "put the time of signing in iat, in seconds since 1970";
    ClaimInvalid = "claim.invalid", "RFC 7519 4.1", Error(InvalidDpopProof),
        "exp, nbf, ath or nonce has the wrong JSON type",
        "numbers for times, strings for the rest";
    HtmMismatch = "htm.mismatch", "RFC 9449 4.3(8)", Error(InvalidDpopProof),
        "htm is not the method of this request",
        "sign the method you send, in the same letter case";
    HtuMismatch = "htu.mismatch", "RFC 9449 4.3(9)", Error(InvalidDpopProof),
        "htu is not the URI of this request",
        "sign the URI you send to, without its query; behind a proxy, declare the public origin";

    // Nonce and time: (10), (11).
    NonceMissing = "nonce.missing", "RFC 9449 4.3(10)", Error(UseDpopNonce),
        "this server demands a nonce and the proof has none",
        "retry with the DPoP-Nonce of this response";
    NonceUnknown = "nonce.unknown", "RFC 9449 4.3(10)", Error(UseDpopNonce),
        "the nonce is not one this server gave for this purpose",
        "retry with the DPoP-Nonce of this response";
    NonceStale = "nonce.stale", "RFC 9449 4.3(10)", Error(UseDpopNonce),
        "the nonce has expired",
        "retry with the DPoP-Nonce of this response";
    NonceBarrier = "nonce.barrier", "RFC 9449 11.1", Error(UseDpopNonce),
        "the replay memory is new, and this proof might have been used before it began",
        "retry with the DPoP-Nonce of this response";
    IatPast = "iat.past", "RFC 9449 4.3(11)", Error(InvalidDpopProof),
        "the proof is too old",
        "sign each request when you send it, and set the clock";
    IatFuture = "iat.future", "RFC 9449 4.3(11)", Error(InvalidDpopProof),
        "the proof comes from the future",
        "set the clock";
    ExpPast = "exp.past", "RFC 7519 4.1.4", Error(InvalidDpopProof),
        "the proof has an exp that has passed",
        "proofs need no exp";
    NbfFuture = "nbf.future", "RFC 7519 4.1.5", Error(InvalidDpopProof),
        "the proof has an nbf that has not come",
        "proofs need no nbf";

    // The token this proof speaks of: (12), first half.
    AthMissing = "ath.missing", "RFC 9449 4.3(12)", Error(InvalidDpopProof),
        "ath is missing although an access token was sent",
        "put base64url(SHA-256(token)) in ath";
    AthMismatch = "ath.mismatch", "RFC 9449 4.3(12)", Error(InvalidDpopProof),
        "ath is not the hash of this access token",
        "make a proof for the token you send";

    // The access token itself.
    TokenMalformed = "token.malformed", "RFC 9068 4", Error(InvalidToken),
        "the access token is not a signed JWT this server can read",
        "send the token as the issuer gave it";
    TokenOversized = "token.oversized", "RFC 6750 2.1", Error(InvalidToken),
        "the access token is longer than this server reads",
        "ask the issuer for smaller tokens";
    TokenType = "token.type", "RFC 9068 4", Error(InvalidToken),
        "the JWT is not of the type at+jwt",
        "send the access token, not an ID token or a proof";
    TokenAlgorithm = "token.algorithm", "RFC 9068 4", Error(InvalidToken),
        "the access token is signed with an algorithm that is not allowed for its issuer",
        "get a new token; the operator can allow the issuer's algorithm";
    TokenKey = "token.key", "RFC 9068 4", Error(InvalidToken),
        "no key of the issuer fits the access token",
        "get a new token from the issuer this service trusts";
    TokenSignature = "token.signature", "RFC 9068 4", Error(InvalidToken),
        "the signature of the access token does not verify",
        "get a new token from the issuer this service trusts";
    TokenClaims = "token.claims", "RFC 9068 2.2", Error(InvalidToken),
        "a claim of the access token is missing or has the wrong type",
        "the issuer must follow RFC 9068";
    TokenIssuer = "token.issuer", "RFC 9068 4", Error(InvalidToken),
        "the access token comes from another issuer",
        "get a token from the issuer this service trusts";
    TokenAudience = "token.audience", "RFC 9068 4", Error(InvalidToken),
        "the access token is for another resource",
        "ask the issuer for a token for this resource";
    TokenExpired = "token.expired", "RFC 9068 4", Error(InvalidToken),
        "the access token has expired",
        "get a new token";
    TokenEarly = "token.early", "RFC 7519 4.1.5", Error(InvalidToken),
        "the access token is not valid yet",
        "wait, or set the issuer's clock";
    TokenInactive = "token.inactive", "RFC 7662 2.2", Error(InvalidToken),
        "the issuer says that the token is not active",
        "get a new token";

    // The binding: (12), second half.
    TokenUnbound = "token.unbound", "RFC 9449 6", Error(InvalidToken),
        "the access token is not bound to a key",
        "send a proof when you ask the issuer for the token";
    TokenConfirmation = "token.confirmation", "RFC 7800 3.1", Error(InvalidToken),
        "cnf is malformed or asks for a confirmation this server cannot make",
        "the token must be confirmed by jkt alone";
    TokenDowngrade = "token.downgrade", "RFC 9449 7.2", Error(InvalidToken),
        "a token bound to a key was sent as a bearer token",
        "send it as Authorization: DPoP, with a proof";
    KeyMismatch = "key.mismatch", "RFC 9449 4.3(12)", Error(InvalidToken),
        "the proof is signed by another key than the token is bound to",
        "use the key the token was issued for";
    ScopeInsufficient = "scope.insufficient", "RFC 6750 3.1", Error(InsufficientScope),
        "the access token lacks a scope this resource asks for",
        "ask the issuer for a token with the scope in the challenge";

    // Replay, last of all.
    ReplaySeen = "replay.seen", "RFC 9449 11.1", Error(InvalidDpopProof),
        "this proof was used before",
        "make a new proof for each request, retries included";
    ReplayForgotten = "replay.forgotten", "RFC 9449 11.1", Error(UseDpopNonce),
        "the replay memory began anew while this proof was judged",
        "retry with the DPoP-Nonce of this response";
    ReplayQuota = "replay.quota", "RFC 6585 4", Status(429),
        "this key has more live proofs than it may have",
        "slow down, or spread the load over more keys";

    // An authorization server's own.
    RequestMalformed = "request.malformed", "RFC 6749 5.2", Error(InvalidRequest),
        "a parameter is missing, repeated, or malformed",
        "send each parameter once, as application/x-www-form-urlencoded";
    ProofRequired = "proof.required", "RFC 9449 5.2", Error(InvalidRequest),
        "this client must send a proof",
        "send a DPoP field with the token request";
    ClientAuthentication = "client.authentication", "RFC 6749 5.2", Error(InvalidClient),
        "the client is unknown or did not authenticate",
        "use the method and the secret or key the client is registered with";
    ClientForbidden = "client.forbidden", "RFC 6749 5.2", Error(UnauthorizedClient),
        "the client may not use this grant",
        "register the client for the grant";
    GrantUnsupported = "grant.unsupported", "RFC 6749 5.2", Error(UnsupportedGrantType),
        "this server does not know the grant type",
        "use a grant type of the server's metadata";
    GrantInvalid = "grant.invalid", "RFC 6749 5.2", Error(InvalidGrant),
        "the grant is unknown, used, revoked, expired, or somebody else's",
        "begin a new authorization";
    GrantKey = "grant.key", "RFC 9449 10", Error(InvalidGrant),
        "the grant is bound to another key",
        "use the key the grant was made for";
    PkceMissing = "pkce.missing", "RFC 9700 2.1.1", Error(InvalidRequest),
        "code_challenge is missing or malformed, or its method is not S256",
        "send the SHA-256 challenge of a code_verifier, with code_challenge_method=S256";
    PkceMismatch = "pkce.mismatch", "RFC 7636 4.6", Error(InvalidGrant),
        "code_verifier is missing or not the one whose challenge was sent",
        "keep the code_verifier until the code comes back";
    RedirectInvalid = "redirect.invalid", "RFC 6749 3.1.2.4", Status(400),
        "the client or its redirect_uri is unknown here, so nobody is sent back",
        "send a client_id and a redirect_uri of its registration, octet by octet";
    ResponseUnsupported = "response.unsupported", "RFC 6749 4.1.2.1", Error(UnsupportedResponseType),
        "response_type or response_mode is not one this server has",
        "use response_type=code; tokens come from the token endpoint";
    RequestObject = "request.object", "RFC 9101 6", Error(InvalidRequestObject),
        "the request object is not one this client signed for this server and now",
        "sign it with a registered key, with iss, aud and exp";
    RequestUri = "request.uri", "RFC 9126 4", Error(InvalidRequestUri),
        "request_uri is unknown, used, expired, or another client's",
        "push the request again, and use what comes back once";
    LoginRequired = "login.required", "OpenID Connect Core 3.1.2.6", Error(LoginRequired),
        "nobody is signed in, and the request allows no page to be shown",
        "ask again without prompt=none";
    LoginDenied = "login.denied", "RFC 6749 4.1.2.1", Error(AccessDenied),
        "the person said no, or this issuer lets nobody sign in",
        "ask the person, or the operator";
    LoginForged = "login.forged", "OWASP CSRF", Status(403),
        "the form did not come from the page that this server showed in this browser",
        "open the page again, and send its form from there";
    LoginOver = "login.over", "RFC 6749 4.1.1", Status(400),
        "this sign-in is over: decided, expired, or begun in another browser",
        "go back to the application and begin again";
    ConsentRequired = "consent.required", "OpenID Connect Core 3.1.2.6", Error(ConsentRequired),
        "the user has not agreed yet, and the request allows no page to be shown",
        "ask again without prompt=none";
    DevicePending = "device.pending", "RFC 8628 3.5", Error(AuthorizationPending),
        "nobody has entered the code yet",
        "ask again after the interval";
    DeviceSlow = "device.slow", "RFC 8628 3.5", Error(SlowDown),
        "the device asks more often than it may",
        "add five seconds to the interval";
    DeviceExpired = "device.expired", "RFC 8628 3.5", Error(ExpiredToken),
        "the device code is no longer good",
        "begin again";
    RegistrationMetadata = "registration.metadata", "RFC 7591 3.2.2", Error(InvalidClientMetadata),
        "the metadata of the client is malformed or asks for what clients may not have",
        "see what this issuer's metadata offers";
    RegistrationRedirect = "registration.redirect", "RFC 7591 3.2.2", Error(InvalidRedirectUri),
        "a redirect URI is missing, malformed, plain http off loopback, or of a scheme that is nobody's own",
        "register URIs of https, of http on loopback or of a scheme like com.example.app, without fragment";
    RegistrationToken = "registration.token", "RFC 7592 2", Error(InvalidToken),
        "the token that registration wants is missing or wrong",
        "send it as Authorization: Bearer";
    JktMalformed = "jkt.malformed", "RFC 9449 10", Error(InvalidRequest),
        "dpop_jkt is not one SHA-256 thumbprint in base64url",
        "send the 43-character thumbprint of the key, once";
    JktConflict = "jkt.conflict", "RFC 9449 10.1", Error(InvalidRequest),
        "dpop_jkt and the proof name different keys",
        "send one of the two, or make them agree";
    ScopeInvalid = "scope.invalid", "RFC 6749 5.2", Error(InvalidScope),
        "the scope is malformed or more than the client may have",
        "ask for scopes the client is registered for";
    TargetInvalid = "target.invalid", "RFC 8707 2", Error(InvalidTarget),
        "the resource is malformed or not one this issuer serves",
        "ask for a resource of this issuer";
}

impl Reason {
    /// The public code, `subject.fault`.
    pub const fn code(self) -> &'static str {
        self.entry().code
    }

    /// The reason of this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl core::error::Error for Reason {}

/// A request is refused, and the one who sent it can do something about it.
///
/// The peer sees the code. [`Refusal::detail`] says what was expected and what came; it is for the log of the server
/// and holds no token, proof or key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refusal that is dropped lets the request through"]
pub struct Refusal {
    reason: Reason,
    outcome: Outcome,
    detail: Option<Box<str>>,
}

impl Refusal {
    /// A refusal with words for the log. Never put a token, a proof or key material there.
    pub fn with_detail(reason: Reason, detail: impl Into<Box<str>>) -> Self {
        Self { reason, outcome: reason.entry().outcome, detail: Some(detail.into()) }
    }

    /// The same refusal, answered by `use_dpop_nonce`: a new nonce gets the client out of it (RFC 9449 section 8).
    pub(crate) fn recoverable_by_nonce(mut self) -> Self {
        self.outcome = Outcome::Error(ErrorCode::UseDpopNonce);
        self
    }

    /// Why.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// What the peer is told besides the code.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Expected and found, for the log of the server alone.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Whether a new nonce must go with the answer.
    pub fn demands_nonce(&self) -> bool {
        self.outcome == Outcome::Error(ErrorCode::UseDpopNonce)
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, outcome: reason.entry().outcome, detail: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.reason.entry();
        write!(f, "{}: {}", entry.code, entry.meaning)
    }
}

impl core::error::Error for Refusal {}

macro_rules! faults {
    ($($variant:ident = $code:literal, $meaning:literal, $advice:literal;)+) => {
        /// Something on the server's side failed: 503, never a success and never a challenge. The operator can act.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Fault {
            $(#[doc = concat!("`", $code, "`: ", $meaning, ".")] $variant,)+
        }

        impl Fault {
            /// Every fault, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The code for logs and metrics, `subject.fault`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What happened, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What the operator can do.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)+ }
            }
        }
    };
}

faults! {
    ReplayFull = "replay.full", "the replay memory has no room for another live proof",
        "give replay.memory more bytes, or shorten proof.max_age";
    ReplayUnreachable = "replay.unreachable", "the replay store does not answer",
        "see whether the store is up and reachable";
    KeysUnavailable = "keys.unavailable", "no signing keys of the token's issuer are at hand",
        "see whether the issuer's metadata and JWKS can be fetched from here";
    IntrospectionUnavailable = "introspection.unavailable", "the issuer does not answer about the token",
        "see whether the introspection endpoint is up and accepts our credentials";
    CryptoFailure = "crypto.failure", "the cryptography library failed at something that cannot fail",
        "restart, and report it";
    StoreUnavailable = "store.unavailable", "the issuer's store does not answer",
        "see whether the database is up and has room";
    StoreFull = "store.full", "clients that do not authenticate have as much stored as they may, or the store in memory is full",
        "try again in a while; if it is no attack, let clients authenticate, or keep a database";
}

impl Fault {
    /// The fault of this code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.code() == code)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.meaning())
    }
}

impl core::error::Error for Fault {}

/// What a request gets that does not get through.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a denial that is dropped lets the request through"]
pub enum Denial {
    /// The client can act.
    Refused(Refusal),
    /// The operator can act.
    Failed(Fault),
}

impl Denial {
    /// The code of the refusal or fault.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason().code(),
            Self::Failed(fault) => fault.code(),
        }
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Reason> for Denial {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason.into())
    }
}

impl From<Fault> for Denial {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for Denial {}
