//! Passkeys (Web Authentication Level 3): what a browser brings when one is made, and when one signs in. No store, no pages, no
//! clock: octets in, a verdict out. Each step of the standard that fails has a [`Flaw`] of its own, for the log.

mod authenticator_data;
mod client_data;
mod cose;
mod der;
#[cfg(test)]
mod tests;

use core::fmt;

use keybound::crypto::aws_lc::AwsLc;
use keybound::crypto::{Alg, Crypto as _};
use keybound::jwk::PublicJwk;
use keybound::jws::decode_base64url;
use keybound::request::TargetUri;
use sha2::{Digest as _, Sha256};

use self::authenticator_data::{AttestationObject, AuthenticatorData, SelfSigned};
pub(crate) use self::cose::ALGS;

/// The longest name of a credential (section 4).
const MAX_CREDENTIAL_ID: usize = 1023;

/// The most octets of one thing that a browser brings; the longest, with a key of RSA, has about a thousand.
const MAX_OCTETS: usize = 8 * 1024;

/// The most of all in a form.
pub(crate) const MAX_TEXT: usize = MAX_OCTETS / 3 * 4 + 4;

/// Whose passkeys these are: the host of the issuer, and where its pages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelyingParty {
    id: Box<str>,
    origin: Box<str>,
}

impl RelyingParty {
    /// Of this issuer; `None` where a browser makes no passkeys: the host is an address of numbers, or plain http elsewhere than
    /// on `localhost`.
    pub(crate) fn of(issuer: &TargetUri) -> Option<Self> {
        let origin = issuer.origin();
        let (scheme, authority) = origin.split_once("://")?;
        let host = authority.split(':').next().unwrap_or_default();
        let is_name = host.parse::<core::net::IpAddr>().is_err() && !host.is_empty() && !authority.starts_with('[');
        let is_secure = scheme == "https" || host == "localhost" || host.ends_with(".localhost");
        (is_name && is_secure).then(|| Self { id: host.into(), origin: origin.into() })
    }

    /// The RP ID: a name of DNS.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.id.as_bytes()).into()
    }
}

/// A new passkey that checks out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewCredential {
    /// In base64url.
    pub(crate) id: Box<str>,
    pub(crate) jwk: PublicJwk,
    pub(crate) alg: Alg,
    pub(crate) sign_count: u32,
    /// Whether it may be copied to other devices of its owner.
    pub(crate) backup_eligible: bool,
}

/// A passkey as it was stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'k> {
    pub(crate) jwk: &'k PublicJwk,
    pub(crate) alg: Alg,
    pub(crate) sign_count: u32,
    pub(crate) backup_eligible: bool,
    /// The user handle it was made with, in base64url.
    pub(crate) user_handle: &'k str,
}

/// What a browser brings of a new passkey (`AuthenticatorAttestationResponse`), each in base64url.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attestation<'r> {
    pub(crate) client_data: &'r str,
    pub(crate) attestation_object: &'r str,
}

/// What a browser brings of a passkey that signs in (`AuthenticatorAssertionResponse`), each in base64url.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assertion<'r> {
    pub(crate) client_data: &'r str,
    pub(crate) authenticator_data: &'r str,
    pub(crate) signature: &'r str,
    pub(crate) user_handle: &'r str,
}

impl RelyingParty {
    /// Registering a new credential (section 7.1) without attestation, or with that of its own key: whoever is signed in says which
    /// key is theirs, and who made the device is nobody's business.
    pub(crate) fn register(&self, response: Attestation<'_>, challenge: &str) -> Result<NewCredential, Flaw> {
        let client_data = octets(response.client_data)?;
        client_data::check(&client_data, "webauthn.create", challenge, &self.origin)?;
        let object = octets(response.attestation_object)?;
        let object = AttestationObject::parse(&object)?;
        let data = AuthenticatorData::parse(object.data)?;
        self.check(&data)?;
        let backup_eligible = data.backup_eligible();
        let attested = data.attested.ok_or(Flaw::Credential)?;
        match object.statement {
            None => drop(AwsLc.prepare(&attested.jwk, attested.alg).map_err(|_| Flaw::Key)?),
            Some(SelfSigned { alg, .. }) if !ALGS.contains(&(alg, attested.alg)) => return Err(Flaw::Attestation),
            Some(SelfSigned { signature, .. }) => {
                signed_by(&attested.jwk, attested.alg, object.data, &client_data, signature)?;
            }
        }
        Ok(NewCredential {
            id: keybound::jws::encode_base64url(attested.id).into(),
            jwk: attested.jwk,
            alg: attested.alg,
            sign_count: data.sign_count,
            backup_eligible,
        })
    }

    /// Verifying an assertion (section 7.2) of a passkey that the browser found by itself. The sign counter that is to be stored.
    pub(crate) fn verify(&self, response: Assertion<'_>, known: Known<'_>, challenge: &str) -> Result<u32, Flaw> {
        // What is discovered names its user.
        if response.user_handle != known.user_handle {
            return Err(Flaw::User);
        }
        let client_data = octets(response.client_data)?;
        client_data::check(&client_data, "webauthn.get", challenge, &self.origin)?;
        let authenticator_data = octets(response.authenticator_data)?;
        let data = AuthenticatorData::parse(&authenticator_data)?;
        self.check(&data)?;
        if data.backup_eligible() != known.backup_eligible {
            return Err(Flaw::Backup);
        }
        signed_by(known.jwk, known.alg, &authenticator_data, &client_data, &octets(response.signature)?)?;
        // A counter that stands still is one of a copy; synchronized passkeys have none, which is 0.
        if (data.sign_count, known.sign_count) != (0, 0) && data.sign_count <= known.sign_count {
            return Err(Flaw::Counter);
        }
        Ok(data.sign_count)
    }

    /// What both have in common: for this host, with its person there, who was recognized.
    fn check(&self, data: &AuthenticatorData<'_>) -> Result<(), Flaw> {
        if data.rp_id_hash != self.hash() {
            return Err(Flaw::RelyingParty);
        }
        if !data.user_present() {
            return Err(Flaw::Presence);
        }
        // The passkey is the only thing asked for, so it has to be two.
        if !data.user_verified() {
            return Err(Flaw::Verification);
        }
        if data.backed_up() && !data.backup_eligible() {
            return Err(Flaw::Backup);
        }
        Ok(())
    }
}

/// Whether this key has signed what the authenticator and the browser say.
fn signed_by(
    jwk: &PublicJwk,
    alg: Alg,
    authenticator_data: &[u8],
    client_data: &[u8],
    signature: &[u8],
) -> Result<(), Flaw> {
    let signed = [authenticator_data, &Sha256::digest(client_data)].concat();
    let key = AwsLc.prepare(jwk, alg).map_err(|_| Flaw::Key)?;
    let verified = match alg {
        Alg::Es256 => key.verify(&signed, &der::ecdsa_p256(signature).ok_or(Flaw::Signature)?),
        _ => key.verify(&signed, signature),
    };
    verified.map_err(|_| Flaw::Signature)
}

/// Base64url of a sensible length.
fn octets(text: &str) -> Result<Vec<u8>, Flaw> {
    if text.len() > MAX_TEXT {
        return Err(Flaw::Encoding);
    }
    decode_base64url(text).map_err(|_| Flaw::Encoding)
}

/// Why a passkey was not taken. Nobody but the log is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Not base64url, or too long.
    Encoding,
    /// The client data are no strict JSON object with texts where they belong.
    ClientData,
    /// For the other of the two ceremonies.
    Ceremony,
    /// Another challenge than this page's.
    Challenge,
    /// Of a page elsewhere.
    Origin,
    /// Of a page in a frame of another site.
    CrossOrigin,
    /// The attestation object is no canonical CBOR of its three members.
    Object,
    /// An attestation of somebody else, though none was asked for.
    Attestation,
    /// The authenticator data are too short, too long, or do not hold what their flags say.
    Data,
    /// For another host.
    RelyingParty,
    /// Nobody touched it.
    Presence,
    /// Nobody was recognized: no PIN, finger or face.
    Verification,
    /// What can be backed up has changed, or makes no sense.
    Backup,
    /// There is no new credential in it.
    Credential,
    /// The key is none that is taken, or not in its one form.
    Key,
    /// The passkey is of another user than it says.
    User,
    /// The signature is not the key's.
    Signature,
    /// The counter did not go up: there may be a copy.
    Counter,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoding => "a part is not base64url of a sensible length",
            Self::ClientData => "the client data are no JSON object with type, challenge and origin",
            Self::Ceremony => "the client data are of another ceremony",
            Self::Challenge => "the challenge is not that of the page",
            Self::Origin => "the page is of another origin",
            Self::CrossOrigin => "the page was framed by another origin",
            Self::Object => "the attestation object is no canonical CBOR",
            Self::Attestation => "an attestation came that was not asked for",
            Self::Data => "the authenticator data do not hold what their flags say",
            Self::RelyingParty => "the passkey is for another host",
            Self::Presence => "nobody was present",
            Self::Verification => "nobody was recognized",
            Self::Backup => "the flags of backup make no sense",
            Self::Credential => "there is no credential",
            Self::Key => "the key is none that is taken",
            Self::User => "the passkey is another user's",
            Self::Signature => "the signature is not the key's",
            Self::Counter => "the counter did not go up: there may be a copy of the passkey",
        })
    }
}
