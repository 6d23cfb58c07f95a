//! R-ERR-20, R-PRF-41: requests with two things wrong at once, in every pair: what comes first in the list is what is told.

use std::sync::Arc;

use http::Request;
use http::request::Parts;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::refusal::Denial;
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::request::{AccessToken, Origin, Presented};
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::verify::Verifier;
use serde_json::{Value, json};

const NOW: u64 = 1_700_000_000;

/// What can be wrong, by the reason it gets, in the order in which it is told.
const FAULTS: [&str; 21] = [
    "credentials.repeated",
    "credentials.malformed",
    "proof.repeated",
    "proof.malformed",
    "typ.invalid",
    "alg.forbidden",
    "crit.unsupported",
    "key.private",
    "alg.mismatch",
    "signature.invalid",
    "jti.invalid",
    "htm.mismatch",
    "htu.mismatch",
    "nonce.unknown",
    "iat.past",
    "ath.mismatch",
    "token.type",
    "token.signature",
    "token.expired",
    "key.mismatch",
    "scope.insufficient",
];

/// Those that cannot be there together: of two ways to spoil one thing, one is there.
const APART: [(&str, &str); 2] = [("alg.forbidden", "alg.mismatch"), ("token.type", "token.signature")];

struct Bench {
    client: SoftwareKey,
    other: SoftwareKey,
    issuer: SoftwareKey,
    verifier: Verifier,
    store: MemoryStore,
    keys: KeySet,
    origin: Origin,
}

impl Bench {
    fn new() -> Self {
        let key = || SoftwareKey::generate(Alg::Es256).unwrap();
        let issuer = key();
        let set = format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json());
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [1; 32])));
        let epoch = Epoch::new(1, UnixTime::from_secs(NOW - 1_000_000));
        Self {
            client: key(),
            other: key(),
            keys: KeySet::read_strictly(set.as_bytes(), &AwsLc, AlgSet::ALL).unwrap(),
            issuer,
            verifier: Verifier::builder(Arc::new(AwsLc), nonces).build().unwrap(),
            store: MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).unwrap(),
            origin: "https://api.example.com".parse().unwrap(),
        }
    }

    fn token(&self, wrong: &[&str]) -> String {
        let has = |fault| wrong.contains(&fault);
        let bound = if has("key.mismatch") { &self.other } else { &self.client };
        let claims = json!({
            "iss": "https://id.example.com", "aud": "https://api.example.com", "sub": "alice", "client_id": "app",
            "jti": "1", "iat": NOW - 900, "exp": if has("token.expired") { NOW - 100 } else { NOW + 900 },
            "scope": if has("scope.insufficient") { "orders:write" } else { "orders:read" },
            "cnf": { "jkt": bound.thumbprint().to_string() },
        });
        let header = json!({ "typ": if has("token.type") { "JWT" } else { "at+jwt" }, "alg": "ES256" });
        sign(&header, &claims, if has("token.signature") { &self.other } else { &self.issuer })
    }

    fn proof(&self, wrong: &[&str], token: &str, jti: &str) -> String {
        let has = |fault| wrong.contains(&fault);
        let ath = AccessToken::parse(if has("ath.mismatch") { "another" } else { token }).unwrap().hash();
        let mut jwk: Value = serde_json::from_str(&self.client.public_jwk().to_json()).unwrap();
        if has("key.private") {
            jwk["d"] = json!("AQ");
        }
        let alg = match wrong {
            _ if has("alg.forbidden") => "HS256",
            _ if has("alg.mismatch") => "ES384",
            _ => "ES256",
        };
        let mut header = json!({ "typ": if has("typ.invalid") { "JWT" } else { "dpop+jwt" }, "alg": alg, "jwk": jwk });
        if has("crit.unsupported") {
            header["crit"] = json!(["exp"]);
        }
        let path = if has("htu.mismatch") { "other" } else { "orders" };
        let mut claims = json!({
            "jti": if has("jti.invalid") { json!(7) } else { json!(jti) },
            "htm": if has("htm.mismatch") { "PUT" } else { "GET" },
            "htu": format!("https://api.example.com/{path}"),
            "iat": if has("iat.past") { NOW - 1000 } else { NOW },
            "ath": encode_base64url(&ath),
        });
        if has("nonce.unknown") {
            claims["nonce"] = json!("somebody-elses");
        }
        let proof = sign(&header, &claims, if has("signature.invalid") { &self.other } else { &self.client });
        if has("proof.malformed") { proof.replace('.', "~") } else { proof }
    }

    fn request(&self, wrong: &[&str], jti: &str) -> Parts {
        let has = |fault| wrong.contains(&fault);
        let token = self.token(wrong);
        let proof = self.proof(wrong, &token, jti);
        let credentials =
            if has("credentials.malformed") { format!("DPoP {token} x") } else { format!("DPoP {token}") };
        let mut request = Request::get("/orders").header("authorization", &credentials).header("dpop", &proof);
        if has("credentials.repeated") {
            request = request.header("authorization", &credentials);
        }
        if has("proof.repeated") {
            request = request.header("dpop", &proof);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn judge(&self, parts: &Parts) -> &'static str {
        self.decide(parts).map_or_else(|denial| denial.code(), |()| "admit")
    }

    fn decide(&self, parts: &Parts) -> Result<(), Denial> {
        let now = UnixTime::from_secs(NOW);
        let Presented::Dpop(request) = Presented::read(parts, &self.origin)? else { panic!("the scheme is DPoP") };
        let proof = self.verifier.verify(&request, self.store.epoch(), now)?;
        let (facts, _) = SignedJwt::parse(request.access_token())?.verify(&self.keys)?;
        let valid = facts.judge(&TokenPolicy::new("https://id.example.com", ["https://api.example.com"]), now)?;
        let bound = proof.bind(valid)?.require_scope(&["orders:read"])?;
        let seen = self.store.record_now(&bound.replay_entry(), now)?;
        bound.admit(seen)?;
        Ok(())
    }
}

fn sign(header: &Value, claims: &Value, key: &SoftwareKey) -> String {
    let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    format!("{signed}.{}", encode_base64url(&key.sign(signed.as_bytes()).unwrap()))
}

#[test]
fn of_two_faults_the_first_is_told() {
    let bench = Bench::new();
    for (position, first) in FAULTS.iter().enumerate() {
        assert_eq!(bench.judge(&bench.request(&[first], "one")), *first);
        for second in &FAULTS[position + 1..] {
            if APART.contains(&(first, second)) {
                continue;
            }
            assert_eq!(bench.judge(&bench.request(&[first, second], "two")), *first, "{first} and {second}");
        }
    }
}

// R-SEC-06: whatever is wrong, the proof is not recorded; replay is told last of all.
#[test]
fn a_replay_is_told_last_and_nothing_wrong_is_recorded() {
    let bench = Bench::new();
    for fault in FAULTS {
        bench.judge(&bench.request(&[fault], "used"));
    }
    assert_eq!(bench.store.entries(), 0);
    assert_eq!(bench.judge(&bench.request(&[], "used")), "admit");
    assert_eq!(bench.judge(&bench.request(&[], "used")), "replay.seen");
    for fault in FAULTS {
        assert_eq!(bench.judge(&bench.request(&[fault], "used")), fault);
    }
    assert_eq!(bench.store.entries(), 1);
}

// A sample of many at once.
#[test]
fn of_many_faults_the_first_is_told() {
    let bench = Bench::new();
    for start in 0..FAULTS.len() {
        let wrong: Vec<&str> = FAULTS[start..].to_vec();
        assert_eq!(bench.judge(&bench.request(&wrong, "many")), FAULTS[start]);
    }
}
