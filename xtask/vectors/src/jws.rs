//! A proof or token in the making: every part of it can be spoilt, before it is signed or after.

use keybound::jws::encode_base64url;
use serde_json::{Map, Value};

use super::keys::Key;

#[derive(Clone)]
pub(super) struct Jws<'w> {
    key: &'w Key,
    /// What it is signed with, whatever the header says.
    alg: &'static str,
    header: Map<String, Value>,
    payload: Map<String, Value>,
    header_octets: Option<Vec<u8>>,
    payload_octets: Option<Vec<u8>>,
}

impl<'w> Jws<'w> {
    pub(super) fn new(key: &'w Key, alg: &'static str, header: Value, payload: Value) -> Self {
        let object = |value| match value {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        Self { key, alg, header: object(header), payload: object(payload), header_octets: None, payload_octets: None }
    }

    /// A claim with this value.
    pub(super) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.payload.insert(name.into(), value.into());
        self
    }

    /// Without the claim.
    pub(super) fn unset(mut self, name: &str) -> Self {
        self.payload.remove(name);
        self
    }

    /// A header parameter with this value.
    pub(super) fn head(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.into(), value.into());
        self
    }

    /// Without the header parameter.
    pub(super) fn unhead(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// A member of `jwk` with this value.
    pub(super) fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header["jwk"][name] = value.into();
        self
    }

    /// Without the member of `jwk`.
    pub(super) fn unmember(mut self, name: &str) -> Self {
        if let Some(jwk) = self.header.get_mut("jwk").and_then(Value::as_object_mut) {
            jwk.remove(name);
        }
        self
    }

    /// Signed by this key with this algorithm; the header stays.
    pub(super) fn signed_by(mut self, key: &'w Key, alg: &'static str) -> Self {
        (self.key, self.alg) = (key, alg);
        self
    }

    /// These octets for a header.
    pub(super) fn header_text(mut self, change: impl FnOnce(String) -> String) -> Self {
        let text = Value::Object(self.header.clone()).to_string();
        self.header_octets = Some(change(text).into_bytes());
        self
    }

    /// These octets for a payload; `change` gets what would stand there.
    pub(super) fn payload_text(mut self, change: impl FnOnce(String) -> String) -> Self {
        let text = Value::Object(self.payload.clone()).to_string();
        self.payload_octets = Some(change(text).into_bytes());
        self
    }

    pub(super) fn payload_octets(mut self, octets: &[u8]) -> Self {
        self.payload_octets = Some(octets.to_vec());
        self
    }

    /// The compact form, signed.
    pub(super) fn compact(&self) -> String {
        let input = self.signing_input();
        let signature = self.key.sign(self.alg, input.as_bytes());
        format!("{input}.{}", encode_base64url(&signature))
    }

    fn signing_input(&self) -> String {
        let octets = |octets: &Option<Vec<u8>>, object: &Map<String, Value>| {
            let text = || Value::Object(object.clone()).to_string().into_bytes();
            encode_base64url(&octets.clone().unwrap_or_else(text))
        };
        let header = octets(&self.header_octets, &self.header);
        let payload = octets(&self.payload_octets, &self.payload);
        format!("{header}.{payload}")
    }
}
