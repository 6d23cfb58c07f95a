//! The fixed keys of the vectors: `vectors/keys/*.json`, made once and then read. Everybody has them; they protect nothing.

use std::fs;
use std::io;
use std::path::Path;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};
use serde_json::{Map, Value, json};

/// One private key, without an algorithm of its own.
pub(super) struct Key {
    private: Map<String, Value>,
}

const NOTE: &str = "test key: published with its private half, never to be used for anything else";

impl Key {
    /// Reads the key of this name, or makes it and writes it down.
    pub(super) fn load(folder: &Path, name: &str, alg: Alg) -> io::Result<Self> {
        let path = folder.join(format!("{name}.json"));
        if !path.exists() {
            let key = SoftwareKey::generate(alg).map_err(io::Error::other)?;
            let text = key.to_private_jwk().map_err(io::Error::other)?;
            let mut private: Map<String, Value> = serde_json::from_str(&text)?;
            private.remove("alg");
            private.insert("kid".into(), name.into());
            private.insert("note".into(), NOTE.into());
            fs::create_dir_all(folder)?;
            fs::write(&path, format!("{:#}\n", Value::Object(private)))?;
        }
        let private = serde_json::from_slice(&fs::read(path)?)?;
        Ok(Self { private })
    }

    /// The required members alone.
    pub(super) fn public(&self) -> Value {
        let members = ["kty", "crv", "x", "y", "n", "e"];
        let public = members.iter().filter_map(|name| {
            let value = self.private.get(*name)?;
            Some(((*name).to_owned(), value.clone()))
        });
        Value::Object(public.collect())
    }

    /// One private member: to put it where it must not be.
    pub(super) fn private_member(&self, name: &str) -> Value {
        self.private[name].clone()
    }

    /// The public half as it stands in a JWK set.
    pub(super) fn in_set(&self) -> Value {
        let mut key = self.public();
        key["kid"] = self.private["kid"].clone();
        key
    }

    pub(super) fn jkt(&self) -> String {
        self.signer(None).thumbprint().to_string()
    }

    pub(super) fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        self.signer(Some(alg)).sign(message).expect("a test key signs")
    }

    fn signer(&self, alg: Option<&str>) -> SoftwareKey {
        let mut private = self.private.clone();
        if let Some(alg) = alg {
            private.insert("alg".into(), json!(alg));
        }
        SoftwareKey::from_jwk(Value::Object(private).to_string().as_bytes()).expect("a test key is a key")
    }
}
