//! Keys in SoftHSM2. `cargo xtask test` installs it and makes the token that `SOFTHSM2_CONF` leads to.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use keybound::crypto::Crypto as _;
use keybound::crypto::{Alg, aws_lc::AwsLc};
use keybound_client::pkcs11::Pkcs11Key;
use keybound_client::{AsyncSigner as _, Client, Key, PlainHttp, Secret, Token};

const PIN: &str = "123456";

/// For the token to be found again, which is not looked for at every signature.
const PATIENCE: Duration = Duration::from_secs(60);

fn module() -> PathBuf {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/softhsm/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
    ];
    let found = places.into_iter().find(|place| Path::new(place).exists());
    found.expect("SoftHSM2 is installed: run this by cargo xtask test").into()
}

/// Where the token is.
fn tokens() -> PathBuf {
    let configuration = std::fs::read_to_string(std::env::var("SOFTHSM2_CONF").unwrap()).unwrap();
    let line = configuration.lines().find_map(|line| line.strip_prefix("directories.tokendir = "));
    line.expect("a folder").into()
}

fn slot_of(module: &Path) -> Slot {
    let pkcs11 = Pkcs11::new(module).unwrap();
    let named = |slot: &Slot| pkcs11.get_token_info(*slot).unwrap().label() == "keybound";
    pkcs11.get_slots_with_token().unwrap().into_iter().find(named).expect("a token named keybound")
}

/// One that is logged in as this program is.
fn session_of(module: &Path) -> Session {
    Pkcs11::new(module).unwrap().open_ro_session(slot_of(module)).unwrap()
}

/// Makes a key pair in the token.
fn make(session: &Session, mechanism: &Mechanism<'_>, label: &str, mut public: Vec<Attribute>) {
    let label = || Attribute::Label(label.into());
    public.extend([Attribute::Token(true), Attribute::Private(false), Attribute::Verify(true), label()]);
    let private =
        [Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true), Attribute::Sign(true), label()];
    session.generate_key_pair(mechanism, &public, &private).unwrap();
}

const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

// One test, for the module is one for the whole process. R-CLI-02, R-CLI-20
#[tokio::test]
async fn a_module_signs_proofs() {
    let module = module();
    {
        let pkcs11 = Pkcs11::new(&module).unwrap();
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        let session = pkcs11.open_rw_session(slot_of(&module)).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        let curve = |oid: &[u8]| vec![Attribute::EcParams(oid.to_vec())];
        make(&session, &Mechanism::EccKeyPairGen, "ec", curve(P256));
        make(&session, &Mechanism::EccKeyPairGen, "ec384", curve(P384));
        make(&session, &Mechanism::EccKeyPairGen, "twice", curve(P256));
        make(&session, &Mechanism::EccKeyPairGen, "twice", curve(P256));
        let size = vec![Attribute::ModulusBits(2048.into()), Attribute::PublicExponent(vec![1, 0, 1])];
        make(&session, &Mechanism::RsaPkcsKeyPairGen, "rsa", size);
        drop(session);
        // It is begun by the keys that are to end it.
        pkcs11.finalize().unwrap();
    }
    let open = |key: &str, pin: &str, alg| Pkcs11Key::open(&module, "keybound", key, &Secret::new(pin), alg);
    for (label, alg) in
        [("ec", Alg::Es256), ("ec384", Alg::Es384), ("rsa", Alg::Ps256), ("rsa", Alg::Ps512), ("rsa", Alg::Rs256)]
    {
        let key = open(label, PIN, alg).unwrap();
        let signature = key.sign(b"message").await.unwrap();
        let prepared = AwsLc.prepare(key.public_jwk(), alg).unwrap();
        assert_eq!(prepared.verify(b"message", &signature), Ok(()), "{label} {alg}");
        assert!(prepared.verify(b"massage", &signature).is_err());
    }
    for (label, alg, expected) in [
        ("none", Alg::Es256, "PKCS#11: there is no private key with the label \"none\""),
        ("twice", Alg::Es256, "PKCS#11: there are 2 of the kind private key with the label \"twice\""),
        ("ec", Alg::Es384, "PKCS#11: the key is not one for ES384"),
        ("ec", Alg::Ed25519, "PKCS#11: Ed25519 is not made by PKCS#11 modules here"),
    ] {
        assert_eq!(open(label, PIN, alg).unwrap_err().to_string(), expected);
    }

    // Another program part logs out, and with it all of this program: private keys are gone, until somebody logs in.
    let key = open("ec", PIN, Alg::Es256).unwrap();
    let prepared = AwsLc.prepare(key.public_jwk(), Alg::Es256).unwrap();
    for _ in 0..2 {
        session_of(&module).logout().unwrap();
        let signature = key.sign(b"message").await.unwrap();
        assert_eq!(prepared.verify(b"message", &signature), Ok(()));
    }
    // Another part ends the module, and with it all sessions; their numbers are given again, in whatever order.
    let others = open("rsa", PIN, Alg::Ps256).unwrap();
    let prepared_others = AwsLc.prepare(others.public_jwk(), Alg::Ps256).unwrap();
    for _ in 0..2 {
        Pkcs11::new(&module).unwrap().finalize().unwrap();
        for _ in 0..2 {
            let signature = others.sign(b"message").await.unwrap();
            assert_eq!(prepared_others.verify(b"message", &signature), Ok(()));
            let signature = key.sign(b"message").await.unwrap();
            assert_eq!(prepared.verify(b"message", &signature), Ok(()));
        }
    }
    // The token goes away and comes back: SoftHSM2 finds it again once it is begun anew.
    let (there, away) = (tokens(), tokens().with_extension("away"));
    session_of(&module).logout().unwrap();
    std::fs::rename(&there, &away).unwrap();
    let unsigned = [key.sign(b"message").await, others.sign(b"message").await];
    std::fs::rename(&away, &there).unwrap();
    assert!(unsigned.iter().all(Result::is_err), "{unsigned:?}");
    let begun = Instant::now();
    let signature = loop {
        match key.sign(b"message").await {
            Ok(signature) => break signature,
            Err(why) => assert!(begun.elapsed() < PATIENCE, "it is there again: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(prepared.verify(b"message", &signature), Ok(()));
    let signature = others.sign(b"message").await.unwrap();
    assert_eq!(prepared_others.verify(b"message", &signature), Ok(()));
    // Then another PIN: the old one is tried once, for a token locks itself after a few times.
    let change = |from: &str, to: &str| {
        let session = Pkcs11::new(&module).unwrap().open_rw_session(slot_of(&module)).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(from.into()))).unwrap();
        session.set_pin(&AuthPin::new(from.into()), &AuthPin::new(to.into())).unwrap();
        session.logout().unwrap();
    };
    session_of(&module).logout().unwrap();
    change(PIN, "654321");
    for said in ["PIN is incorrect", "does not take the PIN any more", "does not take the PIN any more"] {
        let failed = key.sign(b"message").await.unwrap_err().to_string();
        assert!(failed.contains(said), "{failed}");
    }
    change("654321", PIN);

    // A whole request, whose server checks the proof's signature.
    let (sender, mut seen) = tokio::sync::mpsc::channel(1);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        sender.send(request.headers()["dpop"].to_str().unwrap().to_owned()).await.unwrap();
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let key = open("ec", PIN, Alg::Es256).unwrap();
    let prepared = AwsLc.prepare(key.public_jwk(), Alg::Es256).unwrap();
    let client = Client::builder(Key::remote(key)).plain_http(PlainHttp::Loopback).token(Token::new("t").unwrap());
    client.build().unwrap().get(&url).send().await.unwrap();
    let proof = seen.recv().await.unwrap();
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let signature = keybound::jws::decode_base64url(signature).unwrap();
    assert_eq!(prepared.verify(signed.as_bytes(), &signature), Ok(()));
}
