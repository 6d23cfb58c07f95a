//! Keys that the operating system keeps: in the Secret Service of the session that this runs in.

use std::fs;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};
use keybound_client::files::{Keeper, KeyStore};

#[test]
fn their_whole_life() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyStore::new(folder.path()).kept_by(Keeper::Os);
    let text = |name: &str| fs::read_to_string(folder.path().join(format!("{name}.jwk"))).unwrap();
    for alg in [Alg::Es256, Alg::Ed25519, Alg::Rs256] {
        let (name, key) = (alg.name(), SoftwareKey::generate(alg).unwrap());
        keys.add(name, &key).unwrap();
        assert!(!text(name).contains("\"d\""), "the key is not in the file");
        assert!(text(name).contains(&key.thumbprint().to_string()));
        let found = KeyStore::new(folder.path()).load(name).unwrap(); // whatever keeps new ones
        assert_eq!((found.thumbprint(), found.alg()), (key.thumbprint(), alg));
        found.sign(b"it is whole").unwrap();
        assert!(keys.add(name, &key).unwrap_err().exists());
    }

    let old = keys.load("ES256").unwrap().thumbprint();
    let new = SoftwareKey::generate(Alg::Es256).unwrap();
    assert_eq!(keys.rotate("ES256", &new).unwrap(), "ES256~1");
    assert_eq!(keys.load("ES256").unwrap().thumbprint(), new.thumbprint());
    assert_eq!(keys.former("ES256").unwrap()[0].thumbprint(), old);
    assert!(!text("ES256").contains("\"d\""), "the new key is where the old one was");

    // Of a rotation that was cut off two files are left; the key goes with the second.
    fs::copy(folder.path().join("ES256.jwk"), folder.path().join("ES256~2.jwk")).unwrap();
    keys.delete("ES256~2").unwrap();
    assert_eq!(keys.load("ES256").unwrap().thumbprint(), new.thumbprint());
    let pointer = text("ES256");
    keys.delete("ES256").unwrap();
    fs::copy(folder.path().join("ES256~1.jwk"), folder.path().join("ES256.jwk")).unwrap();
    fs::write(folder.path().join("ES256.jwk"), pointer).unwrap();
    let why = keys.load("ES256").unwrap_err().to_string();
    assert!(why.contains("ES256.jwk: ") && why.contains("does not have the key any more"), "{why}");

    // A file that names another key than is kept there.
    let other = text("ES256~1").replace(&old.to_string(), &new.thumbprint().to_string());
    fs::write(folder.path().join("ES256~1.jwk"), other).unwrap();
    assert!(keys.load("ES256~1").unwrap_err().to_string().contains("another key"));
    for name in ["ES256~1", "ES256", "Ed25519", "RS256"] {
        keys.delete(name).unwrap();
    }
    assert_eq!(keys.names().unwrap(), Vec::<String>::new());
}

#[test]
fn a_file_that_says_nothing_clear() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyStore::new(folder.path());
    keys.add("k", &SoftwareKey::generate(Alg::Es256).unwrap()).unwrap();
    for text in [r#"{"kept_by":"nobody","id":"a","jkt":"b"}"#, r#"{"kept_by":"secret-service"}"#, r#"{"kept_by":7}"#] {
        fs::write(folder.path().join("k.jwk"), text).unwrap();
        let why = keys.load("k").unwrap_err().to_string();
        assert!(why.contains("does not say clearly who keeps the key"), "{why}");
    }
}
