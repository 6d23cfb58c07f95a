//! What the authenticator says (section 6.1), and the object that holds it when a passkey is made (section 6.5).

use keybound::crypto::Alg;
use keybound::jwk::PublicJwk;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::{Flaw, MAX_CREDENTIAL_ID, cose};

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// Authenticator data, taken apart.
#[derive(Debug)]
pub(super) struct AuthenticatorData<'d> {
    pub(super) rp_id_hash: [u8; 32],
    flags: u8,
    pub(super) sign_count: u32,
    pub(super) attested: Option<Attested<'d>>,
}

/// A new credential.
#[derive(Debug)]
pub(super) struct Attested<'d> {
    pub(super) id: &'d [u8],
    pub(super) jwk: PublicJwk,
    pub(super) alg: Alg,
}

impl<'d> AuthenticatorData<'d> {
    /// Reads what the flags say is there, and nothing behind it.
    pub(super) fn parse(octets: &'d [u8]) -> Result<Self, Flaw> {
        let (rp_id_hash, rest) = octets.split_first_chunk().ok_or(Flaw::Data)?;
        let ([flags], rest) = rest.split_first_chunk().ok_or(Flaw::Data)?;
        let (sign_count, mut rest) = rest.split_first_chunk().ok_or(Flaw::Data)?;
        let mut attested = None;
        if flags & ATTESTED != 0 {
            let (credential, behind) = Attested::parse(rest)?;
            (attested, rest) = (Some(credential), behind);
        }
        if flags & EXTENSIONS != 0 {
            rest = behind_extensions(rest)?;
        }
        let sign_count = u32::from_be_bytes(*sign_count);
        let data = Self { rp_id_hash: *rp_id_hash, flags: *flags, sign_count, attested };
        if rest.is_empty() { Ok(data) } else { Err(Flaw::Data) }
    }

    pub(super) const fn user_present(&self) -> bool {
        self.flags & USER_PRESENT != 0
    }

    pub(super) const fn user_verified(&self) -> bool {
        self.flags & USER_VERIFIED != 0
    }

    pub(super) const fn backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub(super) const fn backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

impl<'d> Attested<'d> {
    fn parse(octets: &'d [u8]) -> Result<(Self, &'d [u8]), Flaw> {
        // Which model of authenticator it is stays unread.
        let (_aaguid, rest) = octets.split_first_chunk::<16>().ok_or(Flaw::Data)?;
        let (length, rest) = rest.split_first_chunk().ok_or(Flaw::Data)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 || length > MAX_CREDENTIAL_ID {
            return Err(Flaw::Credential);
        }
        let (id, rest) = rest.split_at_checked(length).ok_or(Flaw::Data)?;
        let mut decoder = Decoder::new(rest);
        let (jwk, alg) = cose::key(&mut decoder)?;
        let behind = rest.get(decoder.position()..).unwrap_or_default();
        Ok((Self { id, jwk, alg }, behind))
    }
}

/// Extensions, of which none was asked for: one map, whatever is in it.
fn behind_extensions(octets: &[u8]) -> Result<&[u8], Flaw> {
    let mut decoder = Decoder::new(octets);
    if !matches!(decoder.datatype(), Ok(Type::Map)) || decoder.skip().is_err() {
        return Err(Flaw::Data);
    }
    octets.get(decoder.position()..).ok_or(Flaw::Data)
}

/// An attestation object.
#[derive(Debug)]
pub(super) struct AttestationObject<'o> {
    pub(super) data: &'o [u8],
    pub(super) statement: Option<SelfSigned<'o>>,
}

/// A new key that vouches for itself (section 8.2): as much as none, and what browsers leave as it is where none is asked for
/// (section 5.1.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct SelfSigned<'o> {
    /// By its number of COSE.
    pub(super) alg: i64,
    pub(super) signature: &'o [u8],
}

impl<'o> AttestationObject<'o> {
    /// Reads one in which nobody else vouches for the key, which has one form.
    pub(super) fn parse(octets: &'o [u8]) -> Result<Self, Flaw> {
        let mut decoder = Decoder::new(octets);
        let count = decoder.map().ok().flatten();
        let format = named(&mut decoder, "fmt", Decoder::str).filter(|_| count == Some(3)).ok_or(Flaw::Object)?;
        let members = named(&mut decoder, "attStmt", Decoder::map).ok_or(Flaw::Object)?;
        let statement = match (format, members) {
            ("none", Some(0)) => None,
            ("packed", Some(2)) => {
                let alg = named(&mut decoder, "alg", Decoder::i64).ok_or(Flaw::Attestation)?;
                let signature = named(&mut decoder, "sig", Decoder::bytes).ok_or(Flaw::Attestation)?;
                Some(SelfSigned { alg, signature })
            }
            _ => return Err(Flaw::Attestation),
        };
        let data = named(&mut decoder, "authData", Decoder::bytes).ok_or(Flaw::Object)?;
        let object = Self { data, statement };
        if object.written().as_deref() == Some(octets) { Ok(object) } else { Err(Flaw::Object) }
    }

    /// As CTAP2 writes it down.
    fn written(&self) -> Option<Vec<u8>> {
        let Some(SelfSigned { alg, signature }) = self.statement else { return none(self.data) };
        let mut encoder = Encoder::new(Vec::new());
        encoder.map(3).ok()?.str("fmt").ok()?.str("packed").ok()?.str("attStmt").ok()?.map(2).ok()?;
        encoder.str("alg").ok()?.i64(alg).ok()?.str("sig").ok()?.bytes(signature).ok()?;
        encoder.str("authData").ok()?.bytes(self.data).ok()?;
        Some(encoder.into_writer())
    }
}

/// The value of the next member, if it is called that.
fn named<'o, T>(
    decoder: &mut Decoder<'o>,
    name: &str,
    value: impl FnOnce(&mut Decoder<'o>) -> Result<T, minicbor::decode::Error>,
) -> Option<T> {
    (decoder.str().ok()? == name).then_some(())?;
    value(decoder).ok()
}

/// The attestation object of nobody with these authenticator data, as CTAP2 writes it down.
pub(super) fn none(data: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new());
    encoder.map(3).ok()?.str("fmt").ok()?.str("none").ok()?.str("attStmt").ok()?.map(0).ok()?;
    encoder.str("authData").ok()?.bytes(data).ok()?;
    Some(encoder.into_writer())
}
