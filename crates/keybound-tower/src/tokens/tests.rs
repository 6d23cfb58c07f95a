use core::time::Duration;

use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::jws::encode_base64url;
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use parking_lot::Mutex;
use serde_json::json;

use super::*;

const ISSUERS: [&str; 2] = ["https://a.example", "https://b.example"];

#[derive(Debug, Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(1_700_000_000).plus(self.uptime())
    }

    fn uptime(&self) -> Duration {
        *self.0.lock()
    }
}

/// Two issuers with a key each, and everything to resolve their tokens.
struct Scene {
    signers: [SoftwareKey; 2],
    keys: FixedKeys,
    tokens: Tokens,
    hand: Arc<Hand>,
    clock: Arc<dyn Clock>,
}

impl Scene {
    fn new(bytes: u64) -> Self {
        let signers = [(); 2].map(|()| SoftwareKey::generate(Alg::Es256).unwrap());
        let [first, second] = signers.each_ref().map(|key| FixedKeys::new(set(&[key])));
        let issuers = ISSUERS
            .into_iter()
            .zip([&first, &second])
            .map(|(name, keys)| Issuer { policy: TokenPolicy::new(name, ["here"]), voucher: keys.clone().into() })
            .collect();
        let hand = Arc::new(Hand::default());
        Self { tokens: Tokens::new(issuers, TokenMemory::new(bytes)), keys: first, clock: hand.clone(), signers, hand }
    }

    fn token(&self, issuer: &str, signer: usize, jti: &str) -> String {
        let now = self.clock.now().as_secs();
        let claims = json!({
            "iss": issuer, "aud": "here", "sub": "s", "client_id": "c", "jti": jti, "iat": now, "exp": now + 3600,
        });
        let signed = [r#"{"typ":"at+jwt","alg":"ES256"}"#.to_owned(), claims.to_string()]
            .map(|part| encode_base64url(part.as_bytes()))
            .join(".");
        let signature = self.signers[signer].sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode_base64url(&signature))
    }

    async fn resolve(&self, token: &str) -> Result<Resolved, Denial> {
        self.tokens.resolve(AccessToken::parse(token).unwrap(), &Policy::required(), &self.clock).await
    }

    /// Resolves the token as that of an admitted request; whether it was remembered already.
    async fn admitted(&self, token: &str) -> bool {
        let (_, unremembered) = self.resolve(token).await.unwrap().split();
        let known = unremembered.0.is_none();
        self.tokens.remember(unremembered);
        known
    }
}

fn set(keys: &[&SoftwareKey]) -> KeySet {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk().to_json()).collect();
    let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    KeySet::read_strictly(text.as_bytes(), &AwsLc, AlgSet::ALL).unwrap()
}

// R-RS-14, R-RS-16: the claimed issuer finds the keys, and its own keys alone will do.
#[tokio::test]
async fn each_issuer_by_its_own_keys() {
    let scene = Scene::new(0);
    for (issuer, signer, expected) in [
        (ISSUERS[0], 0, None),
        (ISSUERS[1], 1, None),
        (ISSUERS[0], 1, Some(Reason::TokenSignature)),
        (ISSUERS[1], 0, Some(Reason::TokenSignature)),
        ("https://c.example", 0, Some(Reason::TokenIssuer)),
        ("https://a.example/", 0, Some(Reason::TokenIssuer)),
        ("https://A.example", 0, Some(Reason::TokenIssuer)),
    ] {
        let found = scene.resolve(&scene.token(issuer, signer, "1")).await.err();
        assert_eq!(found, expected.map(Denial::from), "{issuer} signed by {signer}");
    }
}

// R-SEC-06: what is resolved leaves no trace before its request is admitted.
#[tokio::test]
async fn strangers_leave_no_trace() {
    let scene = Scene::new(1 << 20);
    let token = scene.token(ISSUERS[0], 0, "1");
    for _ in 0..2 {
        let (_, unremembered) = scene.resolve(&token).await.unwrap().split();
        assert!(unremembered.0.is_some());
    }
    assert!(!scene.admitted(&token).await);
    assert!(scene.admitted(&token).await);
    assert!(!scene.admitted(&scene.token(ISSUERS[0], 0, "2")).await, "under the whole token");
}

#[tokio::test]
async fn remembered_for_five_minutes() {
    let scene = Scene::new(1 << 20);
    let token = scene.token(ISSUERS[0], 0, "1");
    assert!(!scene.admitted(&token).await);
    *scene.hand.0.lock() += Duration::from_secs(299);
    assert!(scene.admitted(&token).await, "and this does not lengthen it");
    *scene.hand.0.lock() += Duration::from_secs(1);
    assert!(!scene.admitted(&token).await);
}

#[tokio::test]
async fn forgotten_with_its_key_and_at_a_reload() {
    let scene = Scene::new(1 << 20);
    let [first, second] = &scene.signers;
    let token = scene.token(ISSUERS[0], 0, "1");
    assert!(!scene.admitted(&token).await);
    scene.keys.replace(set(&[first, second]));
    assert!(!scene.admitted(&token).await, "verified again after a reload");
    assert!(scene.admitted(&token).await);
    scene.keys.replace(set(&[second]));
    assert_eq!(scene.resolve(&token).await.unwrap_err(), Denial::from(Reason::TokenSignature));
}

#[tokio::test]
async fn memory_is_bounded() {
    let scene = Scene::new(64 << 10);
    for number in 0..300 {
        assert!(!scene.admitted(&scene.token(ISSUERS[0], 0, &number.to_string())).await);
    }
    assert!(scene.tokens.memory.weight() <= 64 << 10);
}
