//! One ordinary protected request, made anew as often as wanted: a client key, an issuer, a bound token.

use std::sync::Arc;

use http::request::Parts;
use keybound::client::{Attempt, Credentials, PlainHttp, Prover, ServerMemory, permitted};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::memory::{MAX_PER_KEY, MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, Seen};
use keybound::request::{AccessToken, Origin, Presented, TargetUri};
use keybound::time::UnixTime;
use keybound::token::jwt::{KeySet, SignedJwt};
use keybound::token::{Admission, TokenFacts, TokenPolicy};
use keybound::verify::Verifier;

/// What every request is for.
pub const URL: &str = "https://api.example.com/v1/accounts/4711/payments";

const ISSUER: &str = "https://id.example.com";
const AUDIENCE: &str = "https://api.example.com";

/// A resource server with one client.
#[derive(Debug)]
pub struct Subject {
    key: SoftwareKey,
    prover: Prover,
    servers: ServerMemory,
    token: String,
    facts: Arc<TokenFacts>,
    policy: TokenPolicy,
    verifier: Verifier,
    store: MemoryStore,
    origin: Origin,
    now: UnixTime,
    random: u128,
}

impl Subject {
    /// Proofs by keys of `alg`; so many headers of returning clients are remembered. `now` is the time of all proofs.
    pub fn new(alg: Alg, known_headers: usize, now: UnixTime) -> Self {
        let (key, issuer) = (generate(alg), generate(Alg::Es256));
        let token = token(&issuer, &key, now);
        let set = format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json());
        let keys = KeySet::read_strictly(set.as_bytes(), &AwsLc, AlgSet::ALL).expect("a key of our own");
        let presented = AccessToken::parse(&token).expect("a JWT is a token68");
        let (facts, _) = SignedJwt::parse(presented).and_then(|jwt| jwt.verify(&keys)).expect("a token of our own");
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
        let long_ago = Epoch::new(1, now.minus(std::time::Duration::from_secs(1_000_000)));
        Self {
            prover: Prover::of(&key).expect("the key fits its algorithm"),
            key,
            servers: ServerMemory::new(),
            token,
            facts,
            policy: TokenPolicy::new(ISSUER, [AUDIENCE]),
            verifier: Verifier::builder(Arc::new(AwsLc), nonces)
                .known_headers(known_headers)
                .build()
                .expect("default windows"),
            store: MemoryStore::new(MemoryLimits::new().per_key(MAX_PER_KEY), [7; 16], long_ago)
                .expect("default limits"),
            origin: AUDIENCE.parse().expect("an https origin"),
            now,
            random: 0,
        }
    }

    /// The access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The client's key.
    pub fn key(&self) -> &SoftwareKey {
        &self.key
    }

    /// Makes one proof.
    pub fn prove(&mut self) -> String {
        self.random += 1;
        let target = TargetUri::parse(URL).expect("an https URL");
        let token = Credentials::new(&self.token).expect("a token68");
        let target = permitted(&target, PlainHttp::Never).expect("https");
        let attempt = Attempt::at_resource(&http::Method::GET, target, &token);
        let proving = attempt.prove(&self.prover, &self.servers, self.random.to_be_bytes(), self.now);
        let sent = proving.sign(&self.key).expect("a software key signs");
        let mut fields = http::HeaderMap::new();
        sent.apply(&mut fields);
        fields["dpop"].to_str().expect("a proof is ASCII").to_owned()
    }

    /// A request with a proof of its own.
    pub fn request(&mut self) -> Parts {
        let proof = self.prove();
        let authorization = format!("DPoP {}", self.token);
        let request = http::Request::get("/v1/accounts/4711/payments").header("host", "api.example.com");
        let request = request.header("authorization", authorization).header("dpop", proof);
        request.body(()).expect("well-formed fields").into_parts().0
    }

    /// Everything a resource server does once the token's own signature is known to be good: the field, the proof, `ath`,
    /// the claims of the token, the binding, the scope, and the replay record.
    pub fn admit(&self, parts: &Parts) -> Admission {
        let Presented::Dpop(request) = Presented::read(parts, &self.origin).expect("credentials and one proof") else {
            panic!("the scheme is DPoP")
        };
        let proof = self.verifier.verify(&request, self.store.epoch(), self.now).expect("a good proof");
        let valid = self.facts.judge(&self.policy, self.now).expect("a good token");
        let bound = proof.bind(valid).and_then(|bound| bound.require_scope(&["read"])).expect("bound to this key");
        let seen = self.store.record_now(&bound.replay_entry(), self.now);
        assert_eq!(seen, Ok(Seen::Never));
        self.verifier.remember(bound.proof());
        bound.admit(Seen::Never).expect("never seen")
    }
}

fn generate(alg: Alg) -> SoftwareKey {
    SoftwareKey::generate(alg).expect("the library makes keys")
}

fn token(issuer: &SoftwareKey, client: &SoftwareKey, now: UnixTime) -> String {
    let header = r#"{"typ":"at+jwt","alg":"ES256"}"#;
    let claims = format!(
        r#"{{"iss":"{ISSUER}","sub":"4711","aud":"{AUDIENCE}","client_id":"shop","iat":{now},"exp":{},"jti":"a1","scope":"read write","cnf":{{"jkt":"{}"}}}}"#,
        now.as_secs() + 3600,
        client.public_jwk().thumbprint()
    );
    let signed = format!("{}.{}", encode_base64url(header.as_bytes()), encode_base64url(claims.as_bytes()));
    let signature = issuer.sign(signed.as_bytes()).expect("a software key signs");
    format!("{signed}.{}", encode_base64url(&signature))
}
