//! Proofs, made by hand into one text: a proof is to cost little more than its signature.

use core::fmt;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use crate::crypto::{Alg, KeyKind, Signer, SigningFailed};
use crate::jwk::{KeyOctets, PublicJwk};
use crate::jws::encode_base64url;
use crate::nonce::Nonce;
use crate::request::TargetUri;
use crate::time::UnixTime;

/// An access token that is bound to a key, ready to be sent many times: its field and its `ath` are made once.
///
/// ```
/// use keybound::client::Credentials;
///
/// let token = Credentials::new("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")?;
/// assert_eq!(token.ath(), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
/// assert_eq!(format!("{token:?}"), "Credentials(..)");
/// assert!(Credentials::new("no spaces").is_err());
/// # Ok::<(), keybound::client::MalformedToken>(())
/// ```
#[derive(Clone)]
pub struct Credentials {
    field: HeaderValue,
    ath: Box<str>,
}

impl Credentials {
    /// The token as the issuer gave it.
    ///
    /// # Errors
    ///
    /// [`MalformedToken`] if it is not a token68 (RFC 9110 section 11.2), as the `Authorization` field wants it.
    pub fn new(token: &str) -> Result<Self, MalformedToken> {
        let text = token.trim_end_matches('=');
        let fine = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
        if text.is_empty() || !text.bytes().all(fine) {
            return Err(MalformedToken);
        }
        let mut field = HeaderValue::try_from(format!("DPoP {token}")).map_err(|_| MalformedToken)?;
        field.set_sensitive(true);
        Ok(Self { field, ath: access_token_hash(token).into() })
    }

    /// The value of `Authorization` (R-CLI-10). It is marked as sensitive.
    pub const fn field(&self) -> &HeaderValue {
        &self.field
    }

    /// The hash of the token that goes into proofs.
    pub fn ath(&self) -> &str {
        &self.ath
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// The issuer gave a token that cannot be sent in `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MalformedToken;

impl fmt::Display for MalformedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access token is not a token68 and cannot be sent in Authorization")
    }
}

impl core::error::Error for MalformedToken {}

/// `ath` of RFC 9449 section 4.2.
fn access_token_hash(token: &str) -> String {
    encode_base64url(&Sha256::digest(token.as_bytes()))
}

/// What a proof says.
///
/// ```
/// use http::Method;
/// use keybound::client::ProofClaims;
/// use keybound::request::TargetUri;
/// use keybound::time::UnixTime;
///
/// let target = TargetUri::parse("https://server.example.com/token").unwrap();
/// let random = [7; 16]; // of a cryptographic generator
/// let claims = ProofClaims::new(&Method::POST, &target, random, UnixTime::from_secs(1_562_262_616));
/// # let _ = claims;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "claims are nothing until a prover makes a proof of them"]
pub struct ProofClaims<'c> {
    method: &'c Method,
    target: &'c TargetUri,
    jti: [u8; 16],
    iat: UnixTime,
    ath: Option<&'c str>,
    nonce: Option<&'c Nonce>,
}

impl<'c> ProofClaims<'c> {
    /// For one request with this method to this URI, signed at `iat`. `jti` is 16 octets of a cryptographic generator,
    /// never used before.
    pub const fn new(method: &'c Method, target: &'c TargetUri, jti: [u8; 16], iat: UnixTime) -> Self {
        Self { method, target, jti, iat, ath: None, nonce: None }
    }

    /// For a request that carries this access token. Token and pushed authorization requests have none (R-CLI-27).
    pub fn credentials(mut self, credentials: &'c Credentials) -> Self {
        self.ath = Some(credentials.ath());
        self
    }

    /// With the newest nonce of the server.
    pub const fn nonce(mut self, nonce: &'c Nonce) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// As JSON. Method, nonce and what is base64url hold nothing that needs an escape.
    fn write(&self) -> String {
        let mut text = String::with_capacity(PAYLOAD);
        text.push_str(r#"{"jti":""#);
        BASE64URL_NOPAD.encode_append(&self.jti, &mut text);
        push_all(&mut text, [r#"","htm":""#, self.method.as_str(), r#"","htu":"#]);
        push_json(&mut text, self.target.as_str());
        push_all(&mut text, [r#","iat":"#, &self.iat.as_secs().to_string()]);
        if let Some(ath) = self.ath {
            push_all(&mut text, [r#","ath":""#, ath, r#"""#]);
        }
        if let Some(nonce) = self.nonce {
            push_all(&mut text, [r#","nonce":""#, nonce.as_str(), r#"""#]);
        }
        text.push('}');
        text
    }
}

/// Room for a payload with all claims, a target of common length and a nonce of ours.
const PAYLOAD: usize = 384;

fn push_all<const N: usize>(text: &mut String, pieces: [&str; N]) {
    pieces.into_iter().for_each(|piece| text.push_str(piece));
}

/// A string of JSON. A URI by RFC 3986 needs no escape; should one come all the same, `serde_json` writes it.
fn push_json(text: &mut String, value: &str) {
    if value.bytes().all(|octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\')) {
        push_all(text, ["\"", value, "\""]);
    } else {
        text.push_str(&serde_json::Value::from(value).to_string());
    }
}

/// Makes the proofs of one key. The header of all of them is the same text, written once.
///
/// ```
/// # use keybound::jwk::PublicJwk;
/// use keybound::client::{ProofClaims, Prover};
/// use keybound::crypto::Alg;
/// # use http::Method;
/// # use keybound::{request::TargetUri, time::UnixTime};
///
/// # let text = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// # let key = PublicJwk::from_json(text).unwrap();
/// # let target = TargetUri::parse("https://server.example.com/token").unwrap();
/// # let claims = ProofClaims::new(&Method::POST, &target, [7; 16], UnixTime::from_secs(1_562_262_616));
/// let prover = Prover::new(Alg::Ed25519, &key)?;
/// let unsigned = prover.prepare(&claims);
/// let octets = unsigned.signing_input(); // to the HSM, and the signature comes back:
/// # let signature = [octets.len() as u8; 64];
/// let proof = unsigned.with_signature(&signature)?;
/// assert_eq!(proof.as_str().split('.').count(), 3);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Prover {
    alg: Alg,
    key: PublicJwk,
    /// The first segment with its dot.
    header: Box<str>,
}

impl Prover {
    /// For proofs signed with `alg` by the private half of `key`.
    ///
    /// # Errors
    ///
    /// [`AlgMisfit`] if `alg` is not for this kind of key: every server would refuse the proofs.
    pub fn new(alg: Alg, key: &PublicJwk) -> Result<Self, AlgMisfit> {
        if !key.fits(alg) {
            return Err(AlgMisfit { alg, kind: key.kind() });
        }
        // R-CLI-02: nothing more than this, and of the key its required members alone.
        let json = format!(r#"{{"typ":"dpop+jwt","alg":"{alg}","jwk":{}}}"#, key.to_json());
        let mut header = encode_base64url(json.as_bytes());
        header.push('.');
        Ok(Self { alg, key: key.clone(), header: header.into() })
    }

    /// For proofs that `signer` signs.
    ///
    /// # Errors
    ///
    /// As [`Prover::new`].
    pub fn of(signer: &dyn Signer) -> Result<Self, AlgMisfit> {
        Self::new(signer.alg(), signer.public_jwk())
    }

    /// The algorithm of the proofs.
    pub const fn alg(&self) -> Alg {
        self.alg
    }

    /// The public half of the key.
    pub const fn public_jwk(&self) -> &PublicJwk {
        &self.key
    }

    /// A proof that lacks its signature.
    pub fn prepare(&self, claims: &ProofClaims<'_>) -> UnsignedProof<'_> {
        let payload = claims.write();
        let length = BASE64URL_NOPAD.encode_len(payload.len().saturating_add(self.signature_length()));
        let mut text = String::with_capacity(self.header.len().saturating_add(length).saturating_add(4));
        text.push_str(&self.header);
        BASE64URL_NOPAD.encode_append(payload.as_bytes(), &mut text);
        UnsignedProof { prover: self, text }
    }

    /// In octets, as JWS wants it (RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1).
    fn signature_length(&self) -> usize {
        match self.key.octets() {
            KeyOctets::Ec { x, y } => x.len().saturating_add(y.len()),
            KeyOctets::Ed25519(_) => 64,
            KeyOctets::Rsa { n, .. } => n.len(),
        }
    }
}

/// The algorithm is not for this kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlgMisfit {
    /// The algorithm.
    pub alg: Alg,
    /// The kind of key.
    pub kind: KeyKind,
}

impl fmt::Display for AlgMisfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} signs with {:?} keys, and this key is {:?}", self.alg, self.alg.key_kind(), self.kind)
    }
}

impl core::error::Error for AlgMisfit {}

/// A proof that waits for its signature.
#[must_use = "without a signature it is no proof"]
pub struct UnsignedProof<'p> {
    prover: &'p Prover,
    text: String,
}

impl UnsignedProof<'_> {
    /// The octets to sign.
    pub fn signing_input(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The proof, with a signature in the form JWS wants: R and S at full length, not DER.
    ///
    /// # Errors
    ///
    /// [`SigningFailed`] if the signature has not the length of one of this key's.
    pub fn with_signature(mut self, signature: &[u8]) -> Result<Proof, SigningFailed> {
        let expected = self.prover.signature_length();
        if signature.len() != expected {
            let found = signature.len();
            return Err(SigningFailed::new(format!("a signature of {found} octets where {expected} were expected")));
        }
        self.text.push('.');
        BASE64URL_NOPAD.encode_append(signature, &mut self.text);
        Ok(Proof(self.text))
    }

    /// The proof, signed by `signer`.
    ///
    /// # Errors
    ///
    /// [`SigningFailed`] if the signer fails, or is not the one this proof was made for.
    pub fn sign(self, signer: &dyn Signer) -> Result<Proof, SigningFailed> {
        if signer.alg() != self.prover.alg || *signer.public_jwk() != self.prover.key {
            return Err(SigningFailed::new("the signer holds another key than the proof was made for"));
        }
        let signature = signer.sign(self.signing_input())?;
        self.with_signature(&signature)
    }
}

impl fmt::Debug for UnsignedProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnsignedProof(..)")
    }
}

/// A proof for one request. It is good for one sending: make a new one for each request, retries included (R-CLI-01).
#[must_use = "a proof is made to be sent"]
pub struct Proof(String);

impl Proof {
    /// The value of the `DPoP` field.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Proof> for String {
    fn from(proof: Proof) -> Self {
        proof.0
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}
