//! One good ceremony of each kind, and then one fault at a time.

use keybound::crypto::Signer as _;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jws::encode_base64url;
use serde_json::{Value, json};

use super::*;

const CHALLENGE: &str = "Y2hhbGxlbmdlLW9mLXRoaXMtcGFnZS1hbG9uZS0wMDA";
const HANDLE: &str = "dXNlcg";
const CREDENTIAL: &[u8] = b"credential-0123456789";

fn party() -> RelyingParty {
    RelyingParty::of(&TargetUri::parse("https://id.example.com/issuer").unwrap()).unwrap()
}

/// What an authenticator and a browser would say; each test changes one thing.
#[derive(Clone)]
struct Made {
    client_data: Value,
    rp_id: &'static str,
    flags: u8,
    count: u32,
    credential: Vec<u8>,
    behind: Vec<u8>,
    object: Option<Vec<u8>>,
}

impl Made {
    fn new(ceremony: &str, flags: u8) -> Self {
        let client_data = json!({
            "type": ceremony, "challenge": CHALLENGE, "origin": "https://id.example.com", "crossOrigin": false
        });
        let nothing = Vec::new();
        Self {
            client_data,
            rp_id: "id.example.com",
            flags,
            count: 7,
            credential: nothing.clone(),
            behind: nothing,
            object: None,
        }
    }

    fn client_data(&self) -> Vec<u8> {
        self.client_data.to_string().into_bytes()
    }

    fn data(&self) -> Vec<u8> {
        let hash = Sha256::digest(self.rp_id.as_bytes());
        [&hash[..], &[self.flags], &self.count.to_be_bytes(), &self.credential, &self.behind].concat()
    }

    fn register(&self) -> Result<NewCredential, Flaw> {
        let object = self.object.clone().unwrap_or_else(|| authenticator_data::none(&self.data()).unwrap());
        let [client_data, attestation_object] = [self.client_data(), object].map(|octets| encode_base64url(&octets));
        let response = Attestation { client_data: &client_data, attestation_object: &attestation_object };
        party().register(response, CHALLENGE)
    }
}

fn attested(id: &[u8], key: &[u8]) -> Vec<u8> {
    [&[0; 16][..], &(id.len() as u16).to_be_bytes(), id, key].concat()
}

fn ec(jwk: &PublicJwk) -> Vec<u8> {
    let keybound::jwk::KeyOctets::Ec { x, y } = jwk.octets() else { panic!("an EC key") };
    [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 0x20][..], x, &[0x22, 0x58, 0x20], y].concat()
}

fn ed25519(jwk: &PublicJwk) -> Vec<u8> {
    let keybound::jwk::KeyOctets::Ed25519(x) = jwk.octets() else { panic!("a key of Ed25519") };
    [&[0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 0x20][..], x].concat()
}

/// A key of 2048 bits as COSE, with an exponent of three octets.
fn rsa(n: &[u8]) -> Vec<u8> {
    let length = (n.len() as u16).to_be_bytes();
    [&[0xa4, 1, 3, 3, 0x39, 1, 0, 0x20, 0x59][..], &length, n, &[0x21, 0x43, 1, 0, 1]].concat()
}

fn key() -> SoftwareKey {
    SoftwareKey::generate(Alg::Es256).unwrap()
}

fn registration(key: &SoftwareKey) -> Made {
    Made { credential: attested(CREDENTIAL, &ec(key.public_jwk())), ..Made::new("webauthn.create", 0x5d) }
}

#[test]
fn a_passkey_is_made() {
    let key = key();
    let made = registration(&key).register().unwrap();
    let id = encode_base64url(CREDENTIAL).into();
    let expected =
        NewCredential { id, jwk: key.public_jwk().clone(), alg: Alg::Es256, sign_count: 7, backup_eligible: true };
    assert_eq!(made, expected);
    let ed = SoftwareKey::generate(Alg::Ed25519).unwrap();
    let of_ed = Made { credential: attested(b"c", &ed25519(ed.public_jwk())), ..registration(&key) };
    assert_eq!(of_ed.register().unwrap().alg, Alg::Ed25519);
    let of_rsa = Made { credential: attested(b"c", &rsa(&[0xc1; 256])), ..registration(&key) };
    assert_eq!(of_rsa.register().unwrap().alg, Alg::Rs256);
    // What was not asked for and can be read over.
    let extended = Made { flags: 0xdd, behind: vec![0xa1, 0x61, b'x', 0xf5], ..registration(&key) };
    assert!(extended.register().is_ok());
}

#[test]
fn one_fault_of_a_registration() {
    let key = key();
    let good = registration(&key);
    let with = |change: &dyn Fn(&mut Made)| {
        let mut made = good.clone();
        change(&mut made);
        made.register().map(|_| ())
    };
    let said = |name: &'static str, value: Value| with(&move |made: &mut Made| made.client_data[name] = value.clone());
    let unsaid = |name: &str| with(&|made: &mut Made| drop(made.client_data.as_object_mut().unwrap().remove(name)));
    let keyed = |octets: Vec<u8>| with(&|made: &mut Made| made.credential = attested(CREDENTIAL, &octets));
    let flagged = |flags: u8| with(&|made: &mut Made| made.flags = flags);
    let as_object = |octets: Vec<u8>| with(&|made: &mut Made| made.object = Some(octets.clone()));
    let cose = ec(key.public_jwk());
    let changed = |at: usize, octet: u8| {
        let mut octets = cose.clone();
        octets[at] = octet;
        octets
    };
    let data = good.data();
    let object = authenticator_data::none(&data).unwrap();
    for (what, found, flaw) in [
        ("nothing", Ok(()), None),
        ("the other ceremony", said("type", json!("webauthn.get")), Some(Flaw::Ceremony)),
        ("a type that is none", said("type", json!(1)), Some(Flaw::ClientData)),
        ("no type", unsaid("type"), Some(Flaw::ClientData)),
        ("another challenge", said("challenge", json!("AAAA")), Some(Flaw::Challenge)),
        ("no challenge", unsaid("challenge"), Some(Flaw::ClientData)),
        ("an empty challenge", said("challenge", json!("")), Some(Flaw::Challenge)),
        ("another host", said("origin", json!("https://evil.example.com")), Some(Flaw::Origin)),
        ("a host below", said("origin", json!("https://x.id.example.com")), Some(Flaw::Origin)),
        ("plain http", said("origin", json!("http://id.example.com")), Some(Flaw::Origin)),
        ("another port", said("origin", json!("https://id.example.com:8443")), Some(Flaw::Origin)),
        ("no origin", unsaid("origin"), Some(Flaw::ClientData)),
        ("a frame", said("crossOrigin", json!(true)), Some(Flaw::CrossOrigin)),
        ("a frame in words", said("crossOrigin", json!("false")), Some(Flaw::CrossOrigin)),
        ("a page above", said("topOrigin", json!("https://evil.example.com")), Some(Flaw::CrossOrigin)),
        ("no word about frames", unsaid("crossOrigin"), None),
        ("another rp id", with(&|made: &mut Made| made.rp_id = "example.com"), Some(Flaw::RelyingParty)),
        ("nobody present", flagged(0x5c), Some(Flaw::Presence)),
        ("nobody verified", flagged(0x59), Some(Flaw::Verification)),
        ("backed up, and cannot be", flagged(0x55), Some(Flaw::Backup)),
        ("neither", flagged(0x45), None),
        ("no credential by the flags", flagged(0x1d), Some(Flaw::Data)),
        (
            "no credential",
            with(&|made: &mut Made| (made.flags, made.credential) = (0x1d, vec![])),
            Some(Flaw::Credential),
        ),
        ("extensions by the flags alone", flagged(0xdd), Some(Flaw::Data)),
        ("octets behind", with(&|made: &mut Made| made.behind = vec![0]), Some(Flaw::Data)),
        ("cut short", with(&|made: &mut Made| made.credential.truncate(made.credential.len() - 1)), Some(Flaw::Key)),
        ("no name", with(&|made: &mut Made| made.credential = attested(b"", &cose)), Some(Flaw::Credential)),
        (
            "a name too long",
            with(&|made: &mut Made| made.credential = attested(&[1; 1024], &cose)),
            Some(Flaw::Credential),
        ),
        ("the longest name", with(&|made: &mut Made| made.credential = attested(&[1; 1023], &cose)), None),
        (
            "a name longer than all",
            with(&|made: &mut Made| made.credential[16..18].copy_from_slice(&[3, 0xff])),
            Some(Flaw::Data),
        ),
        ("another kty", keyed(changed(2, 1)), Some(Flaw::Key)),
        ("ES384", keyed([&cose[..4], &[0x38, 34], &cose[5..]].concat()), Some(Flaw::Key)),
        ("EdDSA with an EC key", keyed(changed(4, 0x27)), Some(Flaw::Key)),
        ("another curve", keyed(changed(6, 2)), Some(Flaw::Key)),
        ("a point off the curve", keyed(changed(20, cose[20] ^ 1)), Some(Flaw::Key)),
        ("members too many", keyed([&[0xa6][..], &cose[1..], &[0x23, 1]].concat()), Some(Flaw::Key)),
        ("a member twice", keyed([&[0xa6, 1, 2][..], &cose[1..]].concat()), Some(Flaw::Key)),
        ("members turned round", keyed([&[0xa5, 3, 0x26, 1, 2][..], &cose[5..]].concat()), Some(Flaw::Key)),
        ("a number in a long form", keyed([&[0xa5, 0x18, 1][..], &cose[2..]].concat()), Some(Flaw::Key)),
        ("a map without an end", keyed([&[0xbf][..], &cose[1..], &[0xff]].concat()), Some(Flaw::Key)),
        ("a small key of RSA", keyed(rsa(&[0xc1; 128])), Some(Flaw::Key)),
        ("a huge map", keyed(vec![0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(Flaw::Key)),
        ("packed", as_object(attestation("packed", &data)), Some(Flaw::Attestation)),
        ("a statement", as_object(statement(&data)), Some(Flaw::Attestation)),
        ("octets behind the object", as_object([&object[..], &[0]].concat()), Some(Flaw::Object)),
        ("an object cut short", as_object(object[..object.len() - 1].to_vec()), Some(Flaw::Object)),
        ("another name", as_object(attestation_named("authdata", &data)), Some(Flaw::Object)),
        ("no object", as_object(vec![]), Some(Flaw::Object)),
        ("data too short", as_object(authenticator_data::none(&data[..36]).unwrap()), Some(Flaw::Data)),
    ] {
        assert_eq!(found.err(), flaw, "{what}");
    }
}

/// Who asks for no attestation gets this one as it is: it says nothing of the model of the authenticator (section 5.1.3).
#[test]
fn a_key_may_attest_itself() {
    let key = key();
    let made = registration(&key);
    let data = made.data();
    let signature = |made: &Made| {
        let signed = [&made.data()[..], &Sha256::digest(made.client_data())].concat();
        der(&key.sign(&signed).unwrap())
    };
    let good = signature(&made);
    let with = |object: Vec<u8>| Made { object: Some(object), ..made.clone() }.register();
    assert_eq!(with(packed(&data, -7, &good)), made.register());
    let ed = SoftwareKey::generate(Alg::Ed25519).unwrap();
    let of_ed = Made { credential: attested(b"c", &ed25519(ed.public_jwk())), ..made.clone() };
    let signed = ed.sign(&[&of_ed.data()[..], &Sha256::digest(of_ed.client_data())].concat()).unwrap();
    let object = packed(&of_ed.data(), -8, &signed);
    assert_eq!(Made { object: Some(object), ..of_ed }.register().unwrap().alg, Alg::Ed25519);
    let other = Made { count: 8, ..made.clone() };
    let long = [&[0xa3, 0x63][..], b"fmt", &[0x66], b"packed", &[0x67], b"attStmt", &[0xb8, 2]].concat();
    for (what, object, flaw) in [
        ("another algorithm", packed(&data, -8, &good), Flaw::Attestation),
        ("what was signed is another thing", packed(&data, -7, &signature(&other)), Flaw::Signature),
        ("no signature", packed(&data, -7, &[]), Flaw::Signature),
        ("as JWS has it", packed(&data, -7, &[1; 64]), Flaw::Signature),
        ("somebody vouches for it", certified(&data, &good), Flaw::Attestation),
        ("octets behind", [packed(&data, -7, &good), vec![0]].concat(), Flaw::Object),
        ("a length in a long form", [long, packed(&data, -7, &good)[21..].to_vec()].concat(), Flaw::Object),
    ] {
        assert_eq!(with(object), Err(flaw), "{what}");
    }
}

/// Attested by its own key.
fn packed(data: &[u8], alg: i64, signature: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(3).unwrap().str("fmt").unwrap().str("packed").unwrap().str("attStmt").unwrap();
    encoder.map(2).unwrap().str("alg").unwrap().i64(alg).unwrap().str("sig").unwrap().bytes(signature).unwrap();
    encoder.str("authData").unwrap().bytes(data).unwrap();
    encoder.into_writer()
}

/// Attested by the key of a certificate.
fn certified(data: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(3).unwrap().str("fmt").unwrap().str("packed").unwrap().str("attStmt").unwrap();
    encoder.map(3).unwrap().str("alg").unwrap().i64(-7).unwrap().str("sig").unwrap().bytes(signature).unwrap();
    encoder.str("x5c").unwrap().array(1).unwrap().bytes(&[0x30, 0]).unwrap();
    encoder.str("authData").unwrap().bytes(data).unwrap();
    encoder.into_writer()
}

fn attestation(format: &str, data: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(3).unwrap().str("fmt").unwrap().str(format).unwrap().str("attStmt").unwrap().map(0).unwrap();
    encoder.str("authData").unwrap().bytes(data).unwrap();
    encoder.into_writer()
}

fn attestation_named(name: &str, data: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(3).unwrap().str("fmt").unwrap().str("none").unwrap().str("attStmt").unwrap().map(0).unwrap();
    encoder.str(name).unwrap().bytes(data).unwrap();
    encoder.into_writer()
}

fn statement(data: &[u8]) -> Vec<u8> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    encoder.map(3).unwrap().str("fmt").unwrap().str("none").unwrap().str("attStmt").unwrap();
    encoder.map(1).unwrap().str("alg").unwrap().i64(-7).unwrap();
    encoder.str("authData").unwrap().bytes(data).unwrap();
    encoder.into_writer()
}

/// A signature of JWS as authenticators write it.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |octets: &[u8]| {
        let start = octets.iter().position(|octet| *octet != 0).unwrap();
        let mut integer = octets[start..].to_vec();
        if integer[0] & 0x80 != 0 {
            integer.insert(0, 0);
        }
        [&[2, integer.len() as u8][..], &integer].concat()
    };
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

/// Signs in with what is made; the last argument may change the signature.
fn sign_in(
    key: &SoftwareKey,
    made: &Made,
    handle: &str,
    known: u32,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<u32, Flaw> {
    let (data, client_data) = (made.data(), made.client_data());
    let signature = key.sign(&[&data[..], &Sha256::digest(&client_data)].concat()).unwrap();
    let signature = if key.alg() == Alg::Es256 { der(&signature) } else { signature };
    let [client_data, authenticator_data, signature] =
        [client_data, data, change(signature)].map(|octets| encode_base64url(&octets));
    let response = Assertion {
        client_data: &client_data,
        authenticator_data: &authenticator_data,
        signature: &signature,
        user_handle: handle,
    };
    let known =
        Known { jwk: key.public_jwk(), alg: key.alg(), sign_count: known, backup_eligible: true, user_handle: HANDLE };
    party().verify(response, known, CHALLENGE)
}

#[test]
fn a_passkey_signs_in() {
    let made = Made::new("webauthn.get", 0x1d);
    for alg in [Alg::Es256, Alg::Ed25519] {
        let key = SoftwareKey::generate(alg).unwrap();
        assert_eq!(sign_in(&key, &made, HANDLE, 6, |signature| signature), Ok(7), "{alg}");
    }
    let without = Made { count: 0, ..made };
    assert_eq!(sign_in(&key(), &without, HANDLE, 0, |signature| signature), Ok(0), "a synchronized one counts nothing");
}

#[test]
fn one_fault_of_a_sign_in() {
    let key = key();
    let good = Made::new("webauthn.get", 0x1d);
    let with = |change: &dyn Fn(&mut Made)| {
        let mut made = good.clone();
        change(&mut made);
        sign_in(&key, &made, HANDLE, 6, |signature| signature)
    };
    let said = |name: &'static str, value: Value| with(&move |made: &mut Made| made.client_data[name] = value.clone());
    let signed = |change: fn(Vec<u8>) -> Vec<u8>| sign_in(&key, &good, HANDLE, 6, change);
    for (what, found, flaw) in [
        ("the other ceremony", said("type", json!("webauthn.create")), Flaw::Ceremony),
        ("another challenge", said("challenge", json!("AAAA")), Flaw::Challenge),
        ("another origin", said("origin", json!("https://evil.example.com")), Flaw::Origin),
        ("a frame", said("crossOrigin", json!(true)), Flaw::CrossOrigin),
        ("another rp id", with(&|made| made.rp_id = "evil.example.com"), Flaw::RelyingParty),
        ("nobody present", with(&|made| made.flags = 0x1c), Flaw::Presence),
        ("nobody verified", with(&|made| made.flags = 0x19), Flaw::Verification),
        ("backed up, and cannot be", with(&|made| made.flags = 0x15), Flaw::Backup),
        ("not to be backed up any more", with(&|made| made.flags = 0x05), Flaw::Backup),
        ("octets behind", with(&|made| made.behind = vec![0]), Flaw::Data),
        ("the counter again", with(&|made| made.count = 6), Flaw::Counter),
        ("a counter that went back", with(&|made| made.count = 5), Flaw::Counter),
        ("a counter that is gone", with(&|made| made.count = 0), Flaw::Counter),
        ("another user", sign_in(&key, &good, "b3RoZXI", 6, |signature| signature), Flaw::User),
        ("no user", sign_in(&key, &good, "", 6, |signature| signature), Flaw::User),
        ("no signature", signed(|_| vec![]), Flaw::Signature),
        (
            "another signature",
            signed(|mut signature| {
                *signature.last_mut().unwrap() ^= 1;
                signature
            }),
            Flaw::Signature,
        ),
        ("an octet behind the signature", signed(|signature| [signature, vec![0]].concat()), Flaw::Signature),
        ("a signature as JWS has it", signed(|_| vec![1; 64]), Flaw::Signature),
    ] {
        assert_eq!(found, Err(flaw), "{what}");
    }
    let long = encode_base64url(&vec![b' '; MAX_OCTETS + 3]);
    let response = Assertion { client_data: &long, authenticator_data: "", signature: "", user_handle: HANDLE };
    let known =
        Known { jwk: key.public_jwk(), alg: Alg::Es256, sign_count: 0, backup_eligible: true, user_handle: HANDLE };
    assert_eq!(party().verify(response, known, CHALLENGE), Err(Flaw::Encoding));
    for text in ["a=", "a b", "ä"] {
        let response = Assertion { client_data: text, ..response };
        assert_eq!(party().verify(response, known, CHALLENGE), Err(Flaw::Encoding), "{text}");
    }
}

#[test]
fn every_octet_of_the_signed_counts() {
    let key = key();
    let made = Made::new("webauthn.get", 0x1d);
    let (data, client_data) = (made.data(), made.client_data());
    let signature = der(&key.sign(&[&data[..], &Sha256::digest(&client_data)].concat()).unwrap());
    for at in 0..data.len() {
        let mut changed = data.clone();
        changed[at] ^= 0x20;
        let [client_data, authenticator_data, signature] =
            [client_data.clone(), changed, signature.clone()].map(|octets| encode_base64url(&octets));
        let response = Assertion {
            client_data: &client_data,
            authenticator_data: &authenticator_data,
            signature: &signature,
            user_handle: HANDLE,
        };
        let known =
            Known { jwk: key.public_jwk(), alg: Alg::Es256, sign_count: 0, backup_eligible: true, user_handle: HANDLE };
        assert!(party().verify(response, known, CHALLENGE).is_err(), "octet {at}");
    }
}

#[test]
fn where_passkeys_are_made() {
    for (issuer, id) in [
        ("https://id.example.com", Some("id.example.com")),
        ("https://id.example.com:8443/x", Some("id.example.com")),
        ("http://localhost:8080/issuer", Some("localhost")),
        ("http://127.0.0.1:8080/issuer", None),
        ("https://192.0.2.1", None),
        ("https://[2001:db8::1]", None),
    ] {
        let party = RelyingParty::of(&TargetUri::parse(issuer).unwrap());
        assert_eq!(party.as_ref().map(RelyingParty::id), id, "{issuer}");
    }
}
