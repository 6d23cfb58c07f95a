//! What the browser says about its page (section 5.8.1), which the authenticator has signed.

use keybound::jws::json::{Object, Value};
use subtle::ConstantTimeEq as _;

use super::Flaw;

/// Whether the ceremony is this one, for this challenge, on a page of this origin that no other site frames.
pub(super) fn check(octets: &[u8], ceremony: &str, challenge: &str, origin: &str) -> Result<(), Flaw> {
    let data = Object::parse(octets).map_err(|_| Flaw::ClientData)?;
    let text = |name| data.get(name).and_then(Value::as_str).ok_or(Flaw::ClientData);
    if text("type")? != ceremony {
        return Err(Flaw::Ceremony);
    }
    if !bool::from(text("challenge")?.as_bytes().ct_eq(challenge.as_bytes())) {
        return Err(Flaw::Challenge);
    }
    if text("origin")? != origin {
        return Err(Flaw::Origin);
    }
    match data.get("crossOrigin") {
        None | Some(Value::Bool(false)) => {}
        Some(_) => return Err(Flaw::CrossOrigin),
    }
    if data.contains("topOrigin") { Err(Flaw::CrossOrigin) } else { Ok(()) }
}
