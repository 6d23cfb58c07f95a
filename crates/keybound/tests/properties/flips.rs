//! R-PRF-23, R-PRF-41: a proof or token that was admitted, with one bit turned anywhere in it, is refused.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Method, Request};
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::refusal::{Reason, Refusal};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, Seen};
use keybound::request::{AccessToken, Origin, Presented, TargetUri};
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::verify::Verifier;
use serde_json::json;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const EPOCH: Epoch = Epoch::new(1, UnixTime::from_secs(1_600_000_000));

/// A client whose proofs and tokens have this algorithm, and a resource that admits them.
struct Pair {
    key: SoftwareKey,
    issuer: SoftwareKey,
    keys: KeySet,
    verifier: Verifier,
    origin: Origin,
}

impl Pair {
    fn new(alg: Alg) -> Self {
        let issuer = SoftwareKey::generate(alg).unwrap();
        let set = format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json());
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
        Self {
            key: SoftwareKey::generate(alg).unwrap(),
            keys: KeySet::read_strictly(set.as_bytes(), &AwsLc, AlgSet::ALL).unwrap(),
            issuer,
            verifier: Verifier::builder(Arc::new(AwsLc), nonces).build().unwrap(),
            origin: "https://api.example.com".parse().unwrap(),
        }
    }

    fn token(&self) -> String {
        let claims = json!({
            "iss": "https://id.example.com", "aud": "https://api.example.com", "sub": "alice", "client_id": "app",
            "jti": "1", "iat": 1_700_000_000, "exp": 1_700_003_600, "cnf": {"jkt": self.key.thumbprint().to_string()},
        });
        let header = json!({"typ": "at+jwt", "alg": self.issuer.alg().name()});
        let part = |value: &serde_json::Value| encode_base64url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        format!("{signed}.{}", encode_base64url(&self.issuer.sign(signed.as_bytes()).unwrap()))
    }

    fn proof(&self, token: &str) -> String {
        let target = TargetUri::parse("https://api.example.com/orders").unwrap();
        let credentials = Credentials::new(token).unwrap();
        let claims = ProofClaims::new(&Method::GET, &target, [9; 16], NOW).credentials(&credentials);
        Prover::of(&self.key).unwrap().prepare(&claims).sign(&self.key).unwrap().as_str().to_owned()
    }

    /// Everything but the replay store; `None` if no such field can be sent.
    fn judge(&self, token: &[u8], proof: &[u8]) -> Option<Result<(), Reason>> {
        let parts = request(token, proof)?;
        let decided = self.decide(&parts, |_| Ok(Seen::Never));
        Some(decided.map_err(|refusal| refusal.reason()))
    }

    fn decide(
        &self,
        parts: &Parts,
        record: impl FnOnce(&keybound::replay::ReplayEntry<'_>) -> Result<Seen, Refusal>,
    ) -> Result<(), Refusal> {
        let Presented::Dpop(request) = Presented::read(parts, &self.origin)? else { panic!("the scheme is DPoP") };
        let proof = self.verifier.verify(&request, EPOCH, NOW)?;
        let (facts, _) = SignedJwt::parse(request.access_token())?.verify(&self.keys)?;
        let policy = TokenPolicy::new("https://id.example.com", ["https://api.example.com"]);
        let bound = proof.bind(facts.judge(&policy, NOW)?)?;
        let seen = record(&bound.replay_entry())?;
        // From here on the header of the proof is known: flips must be seen then as well.
        self.verifier.remember(bound.proof());
        bound.admit(seen).map(drop)
    }
}

fn request(token: &[u8], proof: &[u8]) -> Option<Parts> {
    let credentials = HeaderValue::from_bytes(&[b"DPoP ", token].concat()).ok()?;
    let proof = HeaderValue::from_bytes(proof).ok()?;
    let request = Request::get("/orders").header("authorization", credentials).header("dpop", proof);
    Some(request.body(()).unwrap().into_parts().0)
}

/// `text` with one bit turned, for every `step`th bit.
fn flips(text: &str, step: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..text.len() * 8).step_by(step).map(|bit| {
        let mut octets = text.as_bytes().to_vec();
        octets[bit / 8] ^= 1 << (bit % 8);
        octets
    })
}

fn one_flip_refuses(alg: Alg, step: usize) {
    let pair = Pair::new(alg);
    let token = pair.token();
    let proof = pair.proof(&token);
    let mut sent = 0;
    for known in [false, true] {
        if known {
            assert_eq!(pair.judge(token.as_bytes(), proof.as_bytes()), Some(Ok(())), "{alg}");
        }
        for flipped in flips(&proof, step) {
            let Some(judged) = pair.judge(token.as_bytes(), &flipped) else { continue };
            assert!(judged.is_err(), "{alg}: admitted with {}", String::from_utf8_lossy(&flipped));
            sent += 1;
        }
        for flipped in flips(&token, step) {
            let Some(judged) = pair.judge(&flipped, proof.as_bytes()) else { continue };
            assert!(judged.is_err(), "{alg}: admitted with {}", String::from_utf8_lossy(&flipped));
            sent += 1;
        }
    }
    assert!(sent > proof.len() / step, "{alg}: {sent}");
    assert_eq!(pair.judge(token.as_bytes(), proof.as_bytes()), Some(Ok(())), "{alg}");
}

#[test]
fn every_bit_of_es256() {
    one_flip_refuses(Alg::Es256, 1);
}

#[test]
fn every_bit_of_ed25519() {
    one_flip_refuses(Alg::Ed25519, 1);
}

// Of the others every 7th or 13th bit, so that each place of an octet comes by.
#[test]
fn bits_of_every_other_algorithm() {
    for alg in Alg::ALL {
        match alg {
            Alg::Es256 | Alg::Ed25519 => {}
            Alg::Es512 | Alg::Es384 => one_flip_refuses(alg, 13),
            _ => one_flip_refuses(alg, 7),
        }
    }
}

// R-RS-16: whoever holds the client's key signs a fitting proof for the token that was altered; its own signature stops it.
#[test]
fn an_altered_token_with_a_fitting_proof() {
    for alg in [Alg::Es256, Alg::Ed25519] {
        let pair = Pair::new(alg);
        let token = pair.token();
        for flipped in flips(&token, 3) {
            let Some(flipped) = core::str::from_utf8(&flipped).ok().filter(|text| Credentials::new(text).is_ok())
            else {
                continue;
            };
            assert!(AccessToken::parse(flipped).is_some());
            let proof = pair.proof(flipped);
            let judged = pair.judge(flipped.as_bytes(), proof.as_bytes()).unwrap();
            let reason = judged.expect_err(flipped);
            assert!(reason.code().starts_with("token."), "{alg}: {reason} with {flipped}");
        }
    }
}

// R-PRF-24, R-PRF-40: ECDSA knows a second signature of the same message, and a proof that has it is the same proof.
#[test]
fn the_other_signature_of_a_proof_does_not_make_it_new() {
    let pair = Pair::new(Alg::Es256);
    let token = pair.token();
    let proof = pair.proof(&token);
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let mut octets = decode_base64url(signature).unwrap();
    let negated = negate(&octets[32..]);
    octets[32..].copy_from_slice(&negated);
    let other = format!("{signed}.{}", encode_base64url(&octets));
    assert_ne!(other, proof);

    let store = MemoryStore::new(MemoryLimits::new(), [7; 16], EPOCH).unwrap();
    let send = |proof: &str| {
        let parts = request(token.as_bytes(), proof.as_bytes()).unwrap();
        pair.decide(&parts, |entry| Ok(store.record_now(entry, NOW).unwrap())).map_err(|refusal| refusal.reason())
    };
    assert_eq!(send(&other), Ok(()));
    assert_eq!(send(&proof), Err(Reason::ReplaySeen));
    assert_eq!(send(&other), Err(Reason::ReplaySeen));
}

/// n - s for the order n of P-256.
fn negate(s: &[u8]) -> [u8; 32] {
    let order: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut difference = [0; 32];
    let mut borrow = 0;
    for position in (0..32).rev() {
        let digit = i32::from(order[position]) - i32::from(s[position]) - borrow;
        borrow = i32::from(digit < 0);
        difference[position] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}
