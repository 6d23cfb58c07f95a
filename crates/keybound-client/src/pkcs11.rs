//! Keys in a module of PKCS#11: an HSM or a smart card signs, and the private key never leaves it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use cryptoki::context::Function;
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keybound::client::Secret;
use keybound::crypto::{Alg, KeyKind, Signer, SigningFailed};
use keybound::jwk::PublicJwk;
use keybound::jws::encode_base64url;
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use self::module::Module;
use crate::key::{AsyncSigner, Signing};

mod module;

/// A key pair in a token. The module signs on threads where waiting is allowed, one signature after the other. A session that is
/// lost, as when the token was away or somebody has logged out, is opened again when the next signature is due. Where the module
/// was ended, or does not find the token any more, it is begun anew, for all keys of this process in it; one that another part of
/// the program has begun is never ended.
///
/// ```no_run
/// use std::path::Path;
/// use keybound::crypto::Alg;
/// use keybound_client::{Client, Key, Secret, pkcs11::Pkcs11Key};
///
/// let module = Path::new("/usr/lib/softhsm/libsofthsm2.so");
/// let pin = Secret::new(std::env::var("ORDERS_PIN")?);
/// let key = Pkcs11Key::open(module, "orders", "proofs", &pin, Alg::Es256)?;
/// let client = Client::builder(Key::remote(key)).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pkcs11Key {
    alg: Alg,
    public: PublicJwk,
    private: Arc<Private>,
}

/// Where the private half is.
struct Private {
    place: Place,
    session: Mutex<Held>,
}

/// What leads to it.
struct Place {
    module: Arc<Module>,
    token: Box<str>,
    key: Box<str>,
    pin: Secret,
}

enum Held {
    /// In that life of the module.
    Open(Session, ObjectHandle, u64),
    /// It is opened again when it is needed.
    Lost,
    /// The PIN is not taken any more: tokens lock themselves when it is tried a few times.
    Barred,
}

impl Pkcs11Key {
    /// The key pair that is labelled `key`, in the token that is labelled `token`, for signatures of `alg`. Public and private
    /// half have the same label.
    ///
    /// # Errors
    ///
    /// [`Pkcs11Error`]: no such module, token or key, or several; a wrong PIN; a key that is not for `alg`.
    pub fn open(module: &Path, token: &str, key: &str, pin: &Secret, alg: Alg) -> Result<Self, Pkcs11Error> {
        let place = Place { module: Module::at(module)?, token: token.into(), key: key.into(), pin: pin.clone() };
        let opened = place.module.in_life(|life| {
            let session = place.session()?;
            place.login(&session)?;
            let (private, public) = place.find(&session, alg)?;
            Ok::<_, Pkcs11Error>((Held::Open(session, private, life), public))
        });
        let (session, public) = opened?;
        Ok(Self { alg, public, private: Arc::new(Private { place, session: Mutex::new(session) }) })
    }
}

impl Place {
    fn session(&self) -> Result<Session, Pkcs11Error> {
        let module = &self.module.calls;
        let mut slots = module.get_slots_with_token()?;
        slots.retain(|slot| module.get_token_info(*slot).is_ok_and(|info| info.label() == &*self.token));
        Ok(module.open_ro_session(only("token", &self.token, slots)?)?)
    }

    fn login(&self, session: &Session) -> Result<(), ModuleError> {
        match session.login(UserType::User, Some(&AuthPin::new(self.pin.expose().into()))) {
            Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login)) => Ok(()),
            result => result,
        }
    }

    fn find(&self, session: &Session, alg: Alg) -> Result<(ObjectHandle, PublicJwk), Pkcs11Error> {
        let key = &*self.key;
        let find = |class| session.find_objects(&[Attribute::Class(class), Attribute::Label(key.into())]);
        let private = only("private key", key, find(ObjectClass::PRIVATE_KEY)?)?;
        let public = only("public key", key, find(ObjectClass::PUBLIC_KEY)?)?;
        Ok((private, read_public(session, public, alg)?))
    }
}

impl Private {
    /// By the session there is, or by another one if that one fails, or by one in another life of the module.
    fn sign(&self, alg: Alg, public: &PublicJwk, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let (mechanism, octets) = mechanism(alg, message)?;
        let mut held = self.session.lock();
        let module = &self.place.module;
        let mut signed =
            || module.in_life(|life| (life, self.sign_in(life, &mut held, (alg, public), (&mechanism, &octets))));
        let (life, mut outcome) = signed();
        if matches!(outcome, Err(Unsigned::Unreachable(_))) && module.begin_anew(life) {
            (_, outcome) = signed();
        }
        outcome.map_err(|why| match why {
            Unsigned::Unreachable(why) | Unsigned::Failed(why) => SigningFailed::new(why),
        })
    }

    fn sign_in(
        &self,
        life: u64,
        held: &mut Held,
        (alg, public): (Alg, &PublicJwk),
        (mechanism, octets): (&Mechanism<'_>, &[u8]),
    ) -> Result<Vec<u8>, Unsigned> {
        match std::mem::replace(held, Held::Lost) {
            Held::Open(session, key, begun) if begun == life => {
                if let Ok(signature) = session.sign(mechanism, key, octets) {
                    *held = Held::Open(session, key, life);
                    return Ok(signature);
                }
            }
            // Closing it might close another one that has its number by now.
            Held::Open(session, ..) => std::mem::forget(session),
            Held::Lost => {}
            Held::Barred => {
                *held = Held::Barred;
                return Err(Unsigned::Failed("the token does not take the PIN any more".to_owned()));
            }
        }
        let session = self.place.session().map_err(|why| Unsigned::Unreachable(why.to_string()))?;
        if let Err(why) = self.place.login(&session) {
            if is_of_pin(&why) {
                *held = Held::Barred;
                return Err(Unsigned::Failed(why.to_string()));
            }
            return Err(Unsigned::Unreachable(why.to_string()));
        }
        let (key, now) = self.place.find(&session, alg).map_err(|why| Unsigned::Failed(why.to_string()))?;
        if now != *public {
            return Err(Unsigned::Failed("another key has its label by now".to_owned()));
        }
        let signature = session.sign(mechanism, key, octets).map_err(|why| Unsigned::Failed(why.to_string()))?;
        *held = Held::Open(session, key, life);
        Ok(signature)
    }
}

/// Why there is no signature.
enum Unsigned {
    /// The token is not there, as the module sees it.
    Unreachable(String),
    Failed(String),
}

const fn is_of_pin(why: &ModuleError) -> bool {
    matches!(why, ModuleError::Pkcs11(RvError::PinIncorrect | RvError::PinExpired | RvError::PinLocked, _))
}

impl AsyncSigner for Pkcs11Key {
    fn alg(&self) -> Alg {
        self.alg
    }

    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    fn sign<'s>(&'s self, message: &'s [u8]) -> Signing<'s> {
        let (private, alg, public) = (Arc::clone(&self.private), self.alg, self.public.clone());
        let message = message.to_vec();
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || private.sign(alg, &public, &message));
            work.await.map_err(|why| SigningFailed::new(why.to_string()))?
        })
    }
}

/// Waits for the module: for threads where that is allowed.
impl Signer for Pkcs11Key {
    fn alg(&self) -> Alg {
        self.alg
    }

    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        self.private.sign(self.alg, &self.public, message)
    }
}

impl fmt::Debug for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pkcs11Key({}, {})", self.alg, self.public.thumbprint())
    }
}

/// How the module is to sign, and what: ECDSA takes the digest, for few modules make it.
fn mechanism(alg: Alg, message: &[u8]) -> Result<(Mechanism<'static>, Vec<u8>), SigningFailed> {
    let pss = |hash_alg, mgf, length: u64| PkcsPssParams { hash_alg, mgf, s_len: length.into() };
    Ok(match alg {
        Alg::Es256 => (Mechanism::Ecdsa, Sha256::digest(message).to_vec()),
        Alg::Es384 => (Mechanism::Ecdsa, Sha384::digest(message).to_vec()),
        Alg::Es512 => (Mechanism::Ecdsa, Sha512::digest(message).to_vec()),
        Alg::Rs256 => (Mechanism::Sha256RsaPkcs, message.to_vec()),
        Alg::Rs384 => (Mechanism::Sha384RsaPkcs, message.to_vec()),
        Alg::Rs512 => (Mechanism::Sha512RsaPkcs, message.to_vec()),
        Alg::Ps256 => {
            let pss = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
            (Mechanism::Sha256RsaPkcsPss(pss), message.to_vec())
        }
        Alg::Ps384 => {
            let pss = pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48);
            (Mechanism::Sha384RsaPkcsPss(pss), message.to_vec())
        }
        Alg::Ps512 => {
            let pss = pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64);
            (Mechanism::Sha512RsaPkcsPss(pss), message.to_vec())
        }
        other => return Err(SigningFailed::new(format!("{other} is not made by PKCS#11 modules here"))),
    })
}

fn read_public(session: &Session, key: ObjectHandle, alg: Alg) -> Result<PublicJwk, Pkcs11Error> {
    let unfit = || Pkcs11Error(format!("the key is not one for {alg}"));
    let jwk = match alg.key_kind() {
        KeyKind::P256 => ec(session, key, "P-256", 32).ok_or_else(unfit)?,
        KeyKind::P384 => ec(session, key, "P-384", 48).ok_or_else(unfit)?,
        KeyKind::P521 => ec(session, key, "P-521", 66).ok_or_else(unfit)?,
        KeyKind::Rsa => rsa(session, key).ok_or_else(unfit)?,
        _ => return Err(Pkcs11Error(format!("{alg} is not made by PKCS#11 modules here"))),
    };
    PublicJwk::from_json(jwk.to_string().as_bytes()).map_err(|_| unfit())
}

fn ec(session: &Session, key: ObjectHandle, curve: &str, length: usize) -> Option<serde_json::Value> {
    let mut attributes = session.get_attributes(key, &[AttributeType::EcPoint]).ok()?;
    let Attribute::EcPoint(point) = attributes.pop()? else { return None };
    let (x, y) = coordinates(&point, length)?;
    Some(json!({"kty": "EC", "crv": curve, "x": encode_base64url(x), "y": encode_base64url(y)}))
}

/// The point in the DER of an OCTET STRING, or, as some modules have it, bare.
fn coordinates(point: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let whole = 2 * length + 1;
    let bare = match point {
        _ if point.len() == whole => point,
        [0x04, short, rest @ ..] if usize::from(*short) == whole && rest.len() == whole => rest,
        [0x04, 0x81, long, rest @ ..] if usize::from(*long) == whole && rest.len() == whole => rest,
        _ => return None,
    };
    bare.strip_prefix(&[0x04]).map(|both| both.split_at(length))
}

fn rsa(session: &Session, key: ObjectHandle) -> Option<serde_json::Value> {
    let attributes = session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent]).ok()?;
    let mut jwk = json!({"kty": "RSA"});
    for attribute in attributes {
        let (name, octets) = match attribute {
            Attribute::Modulus(octets) => ("n", octets),
            Attribute::PublicExponent(octets) => ("e", octets),
            _ => return None,
        };
        let leading = octets.iter().take_while(|octet| **octet == 0).count();
        jwk[name] = encode_base64url(&octets[leading..]).into();
    }
    Some(jwk)
}

/// The one there is.
fn only<T>(what: &str, label: &str, found: Vec<T>) -> Result<T, Pkcs11Error> {
    let number = found.len();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Pkcs11Error(format!("there is no {what} with the label {label:?}"))),
        _ => Err(Pkcs11Error(format!("there are {number} of the kind {what} with the label {label:?}"))),
    }
}

/// A key in a module cannot be used. Its PIN is never named.
#[derive(Debug)]
pub struct Pkcs11Error(String);

impl From<ModuleError> for Pkcs11Error {
    fn from(why: ModuleError) -> Self {
        Self(why.to_string())
    }
}

impl fmt::Display for Pkcs11Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PKCS#11: {}", self.0)
    }
}

impl std::error::Error for Pkcs11Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_in_either_form() {
        let bare = [&[4][..], &[1; 32], &[2; 32]].concat();
        let der = [&[4, 65][..], &bare].concat();
        for point in [&bare, &der] {
            assert_eq!(coordinates(point, 32), Some((&[1; 32][..], &[2; 32][..])));
        }
        let bare = [&[4][..], &[1; 66], &[2; 66]].concat();
        assert!(coordinates(&[&[4, 0x81, 133][..], &bare].concat(), 66).is_some());
        for point in [&[][..], &[4], &[4, 65], &der[..66], &[3; 65]] {
            assert_eq!(coordinates(point, 32), None);
        }
    }
}
