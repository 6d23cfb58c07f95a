//! The embedded issuer signs by a key in SoftHSM2. `cargo xtask test` installs it and makes the token that `SOFTHSM2_CONF` leads to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use data_encoding::BASE64;
use http_body_util::{BodyExt as _, Full};
use keybound::request::AccessToken;
use keybound::token::jwt::SignedJwt;
use keybound_gateway::config::{Config, Overrides, Reader};
use keybound_gateway::engine::IssuerAlone;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const PIN: &str = "123456";
const SECRET: &str = "sixteen-characters";

fn module() -> &'static str {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so"];
    places
        .into_iter()
        .find(|place| Path::new(place).exists())
        .expect("SoftHSM2 is installed: run this by cargo xtask test")
}

fn session() -> Session {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let named = |slot: &cryptoki::slot::Slot| pkcs11.get_token_info(*slot).unwrap().label() == "keybound";
    let slot = pkcs11.get_slots_with_token().unwrap().into_iter().find(named).expect("a token named keybound");
    pkcs11.open_rw_session(slot).unwrap()
}

fn make_key() {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let session = session();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    let label = || Attribute::Label("issuer".into());
    let curve = Attribute::EcParams(vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    let public = [curve, Attribute::Token(true), Attribute::Private(false), Attribute::Verify(true), label()];
    let private =
        [Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true), Attribute::Sign(true), label()];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
}

fn config(folder: &Path, key: &str) -> Config {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:1\"\n[authorization_server]\nurl = \"http://127.0.0.1:1\"\n\
         audience = [\"https://api.example.com\"]\n\
         [authorization_server.keys]\nalgorithm = \"ES256\"\n\
         [authorization_server.keys.pkcs11]\nmodule = \"{}\"\ntoken = \"keybound\"\nkey = \"{key}\"\npin_file = \"pin\"\n\
         [[authorization_server.client]]\nclient_id = \"demo\"\nclient_secret = \"{SECRET}\"\n\
         grant_types = [\"client_credentials\"]\ndpop_bound_access_tokens = false\n",
        module()
    );
    let flags = Overrides::default().reader(Reader::Issuer);
    Config::from_parts(&text, &folder.join("issuer.toml"), [], &flags).unwrap()
}

/// Where the token is.
fn tokens() -> PathBuf {
    let configuration = fs::read_to_string(std::env::var("SOFTHSM2_CONF").unwrap()).unwrap();
    let line = configuration.lines().find_map(|line| line.strip_prefix("directories.tokendir = "));
    line.expect("a folder").into()
}

/// Status and body of the answer to a token request.
async fn asked(issuer: &IssuerAlone) -> (u16, Value) {
    let request = http::Request::post("http://127.0.0.1:1/token")
        .header("host", "127.0.0.1:1")
        .header("authorization", format!("Basic {}", BASE64.encode(format!("demo:{SECRET}").as_bytes())))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(axum::body::Body::new(Full::from("grant_type=client_credentials")))
        .unwrap();
    let answer = issuer.issuer().router().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

// One test, for the module is one for the whole process.
#[tokio::test]
async fn a_module_signs_the_tokens_of_the_issuer() {
    make_key();
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin");
    fs::write(&pin, PIN).unwrap();
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    let right = config(folder.path(), "issuer");
    assert!(!format!("{:?}", right.authorization_server).contains(PIN));
    let issuer = IssuerAlone::new(&right).unwrap();
    let (status, body) = asked(&issuer).await;
    assert_eq!(status, 200, "{body}");
    let token = AccessToken::parse(body["access_token"].as_str().unwrap()).unwrap();
    let (facts, _) = SignedJwt::parse(token).unwrap().verify(&issuer.issuer().key_set().current()).unwrap();
    assert_eq!(facts.client_id(), "demo");

    let error = IssuerAlone::new(&config(folder.path(), "nobody")).unwrap_err().to_string();
    assert!(
        error.contains("authorization_server.keys.pkcs11: PKCS#11: there is no private key with the label"),
        "{error}"
    );

    // Whoever logs out in this process logs everybody out; the issuer logs in again.
    session().logout().unwrap();
    assert_eq!(asked(&issuer).await.0, 200);
    // SoftHSM2 itself finds nothing any more in a folder that was away, before it is started anew.
    let (there, away) = (tokens(), tokens().with_extension("away"));
    fs::rename(&there, &away).unwrap();
    let answers = [asked(&issuer).await, asked(&issuer).await];
    fs::rename(&away, &there).unwrap();
    let expected = json!({ "error": "temporarily_unavailable", "error_description": "crypto.failure" });
    for answer in answers {
        assert_eq!(answer, (503, expected.clone()));
    }
}
