//! One resource server and its clients, each with a key and a token bound to it, and their requests made anew as often as
//! wanted.

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

/// A client: its key, and its access token, which the server has verified before.
#[derive(Debug)]
pub struct Client {
    key: SoftwareKey,
    prover: Prover,
    servers: ServerMemory,
    token: String,
    facts: Arc<TokenFacts>,
    now: UnixTime,
    random: u128,
}

impl Client {
    /// The access token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The key.
    pub fn key(&self) -> &SoftwareKey {
        &self.key
    }

    /// Makes one proof.
    pub fn prove(&mut self) -> String {
        self.random = self.random.wrapping_add(1);
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
    pub fn request(&mut self) -> Request {
        let proof = self.prove();
        let authorization = format!("DPoP {}", self.token);
        let request = http::Request::get("/v1/accounts/4711/payments").header("host", "api.example.com");
        let request = request.header("authorization", authorization).header("dpop", proof);
        let parts = request.body(()).expect("well-formed fields").into_parts().0;
        Request { parts, facts: Arc::clone(&self.facts) }
    }
}

/// A request, and what the server knows of its token.
#[derive(Debug)]
pub struct Request {
    parts: Parts,
    facts: Arc<TokenFacts>,
}

impl Request {
    /// The proof.
    pub fn proof(&self) -> &str {
        self.parts.headers["dpop"].to_str().expect("a proof is ASCII")
    }

    /// The access token.
    pub fn token(&self) -> &str {
        let field = self.parts.headers["authorization"].to_str().expect("a token is ASCII");
        field.strip_prefix("DPoP ").expect("the scheme is DPoP")
    }
}

/// A resource server and the issuer it trusts.
#[derive(Debug)]
pub struct Server {
    issuer: SoftwareKey,
    keys: KeySet,
    policy: TokenPolicy,
    verifier: Verifier,
    store: MemoryStore,
    origin: Origin,
    now: UnixTime,
}

impl Server {
    /// A server with the default settings. `now` is the time of all proofs.
    pub fn new(now: UnixTime) -> Self {
        let issuer = generate(Alg::Es256);
        let set = format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json());
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
        let long_ago = Epoch::new(1, now.minus(std::time::Duration::from_secs(1_000_000)));
        let limits = MemoryLimits::new().per_key(MAX_PER_KEY);
        Self {
            keys: KeySet::read_strictly(set.as_bytes(), &AwsLc, AlgSet::ALL).expect("a key of our own"),
            issuer,
            policy: TokenPolicy::new(ISSUER, [AUDIENCE]),
            verifier: Verifier::builder(Arc::new(AwsLc), nonces).build().expect("default windows"),
            store: MemoryStore::new(limits, [7; 16], long_ago).expect("default limits"),
            origin: AUDIENCE.parse().expect("an https origin"),
            now,
        }
    }

    /// A client with a new key for `alg`.
    pub fn client(&self, alg: Alg) -> Client {
        let key = generate(alg);
        let token = token(&self.issuer, &key, self.now);
        let presented = AccessToken::parse(&token).expect("a JWT is a token68");
        let (facts, _) =
            SignedJwt::parse(presented).and_then(|jwt| jwt.verify(&self.keys)).expect("a token of our own");
        // No two clients make proofs with the same `jti`: some stores look at nothing else.
        let half = key.public_jwk().thumbprint().as_bytes().first_chunk().copied().expect("32 octets");
        Client {
            prover: Prover::of(&key).expect("the key fits its algorithm"),
            key,
            servers: ServerMemory::new(),
            token,
            facts,
            now: self.now,
            random: u128::from_be_bytes(half),
        }
    }

    /// Everything a resource server does once the token's own signature is known to be good: the fields, the proof, `ath`,
    /// the claims of the token, the binding, the scope, the replay record, and remembering the key.
    pub fn admit(&self, request: &Request) -> Admission {
        let Presented::Dpop(presented) =
            Presented::read(&request.parts, &self.origin).expect("credentials and a proof")
        else {
            panic!("the scheme is DPoP")
        };
        let proof = self.verifier.verify(&presented, self.store.epoch(), self.now).expect("a good proof");
        let valid = request.facts.judge(&self.policy, self.now).expect("a good token");
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
