//! R-NONCE-15: what a proof costs, counted. One with a wrong nonce never costs more than one with a right one, and none gets a nonce for nothing.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use keybound::crypto::aws_lc::AwsLc;
use keybound::crypto::{Alg, BadSignature, Crypto, PreparedKey};
use keybound::jwk::PublicJwk;
use keybound::nonce::{Nonce, NonceKey, NonceSource, Purpose, StatelessNonces, Verdict};
use keybound::refusal::{Fault, Reason};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::request::Origins;
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::verify::{NoncePolicy, Verifier};
use keybound_tower::{FixedKeys, Policy, ProtectLayer, ResourceServer};

use crate::cast::{self, Client, Issuer};
use crate::support::{HandClock, START};
use crate::{ORDERS, ORIGIN, ask, dpop};

/// What has been done since it was last looked at.
#[derive(Debug, Default)]
struct Work {
    signatures: AtomicU32,
    judged: AtomicU32,
    issued: AtomicU32,
    records: AtomicU32,
}

/// The same, taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    signatures: u32,
    judged: u32,
    issued: u32,
    records: u32,
}

impl Work {
    fn take(&self) -> Done {
        let [signatures, judged, issued, records] =
            [&self.signatures, &self.judged, &self.issued, &self.records].map(|count| count.swap(0, Ordering::Relaxed));
        Done { signatures, judged, issued, records }
    }
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Debug)]
struct Counting<T>(T, Arc<Work>);

impl Crypto for Counting<AwsLc> {
    fn prepare(&self, key: &PublicJwk, alg: Alg) -> Result<Arc<dyn PreparedKey>, Reason> {
        Ok(Arc::new(Counting(self.0.prepare(key, alg)?, Arc::clone(&self.1))))
    }
}

impl PreparedKey for Counting<Arc<dyn PreparedKey>> {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        count(&self.1.signatures);
        self.0.verify(message, signature)
    }
}

impl NonceSource for Counting<StatelessNonces> {
    fn issue(&self, purpose: Purpose<'_>, now: UnixTime) -> Nonce {
        count(&self.1.issued);
        self.0.issue(purpose, now)
    }

    fn judge(&self, nonce: &str, purpose: Purpose<'_>, now: UnixTime) -> Verdict {
        count(&self.1.judged);
        self.0.judge(nonce, purpose, now)
    }

    fn lifetime(&self) -> Duration {
        self.0.lifetime()
    }
}

impl ReplayStore for Counting<MemoryStore> {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        count(&self.1.records);
        self.0.record_now(entry, now)
    }
}

struct Scene {
    issuer: Issuer,
    client: Client,
    clock: Arc<HandClock>,
    layer: ProtectLayer<Counting<MemoryStore>>,
    work: Arc<Work>,
}

impl Scene {
    fn new() -> Self {
        let (issuer, client, clock) = (Issuer::new().unwrap(), Client::new().unwrap(), HandClock::new());
        let work = Arc::<Work>::default();
        let nonces = Counting(StatelessNonces::new(NonceKey::new(1, [1; 32])), Arc::clone(&work));
        let crypto = Counting(AwsLc, Arc::clone(&work));
        let verifier = Verifier::builder(Arc::new(crypto), Arc::new(nonces)).nonce_policy(NoncePolicy::Require);
        let epoch = Epoch::new(7, START.minus(Duration::from_secs(7200)));
        let store = MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).unwrap();
        let server = ResourceServer::builder(
            verifier.build().unwrap(),
            Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap(),
            Counting(store, Arc::clone(&work)),
        )
        .issuer(TokenPolicy::new(cast::ISSUER, [ORIGIN]), FixedKeys::new(issuer.keys().unwrap()))
        .clock(Arc::<HandClock>::clone(&clock))
        .build();
        let layer = ProtectLayer::new(server.unwrap(), Policy::required());
        Self { issuer, client, clock, layer, work }
    }

    fn token(&self) -> String {
        self.issuer.sign(&Issuer::claims(&self.client, ORIGIN, "orders:read", START)).unwrap()
    }

    fn proof(&self, token: &str, nonce: Option<&str>) -> String {
        let now = keybound_tower::Clock::now(&*self.clock);
        self.client.prove(&Method::GET, ORDERS, token, nonce, now).unwrap()
    }

    /// What is answered to this proof, the nonce that comes with it, and what it has cost.
    async fn cost(&self, token: &str, proof: &str) -> (String, Option<String>, Done) {
        self.work.take();
        let answer = ask(&self.layer, &dpop(token, proof).fields()).await;
        let nonce = answer.lines("dpop-nonce").first().map(|nonce| (*nonce).to_owned());
        let outcome = if answer.status == 200 { "200".to_owned() } else { answer.reason().to_owned() };
        (outcome, nonce, self.work.take())
    }
}

#[tokio::test]
async fn a_wrong_nonce_costs_no_more_than_a_right_one_and_a_forged_proof_gets_none() {
    let scene = Scene::new();
    let token = scene.token();
    let (outcome, nonce, _) = scene.cost(&token, &scene.proof(&token, None)).await;
    assert_eq!(outcome, "nonce.missing");
    let old = nonce.expect("a nonce");
    scene.clock.turn(301);
    let token = scene.token();
    let (_, nonce, missing) = scene.cost(&token, &scene.proof(&token, None)).await;
    let good = nonce.expect("a nonce");
    assert_eq!(missing, Done { signatures: 1, judged: 0, issued: 1, records: 0 });

    // The token is known from now on, which would be another signature.
    let (outcome, _, _) = scene.cost(&token, &scene.proof(&token, Some(&good))).await;
    assert_eq!(outcome, "200");
    let right = scene.proof(&token, Some(&good));
    let (outcome, _, of_right) = scene.cost(&token, &right).await;
    assert_eq!((&*outcome, of_right), ("200", Done { signatures: 1, judged: 1, issued: 0, records: 1 }));

    let other = StatelessNonces::new(NonceKey::new(1, [2; 32]));
    let purpose = Purpose::new(keybound::nonce::Role::ResourceServer, ORIGIN, 7);
    let of_another = other.issue(purpose, START.plus(Duration::from_secs(301)));
    let long = "x".repeat(keybound::nonce::MAX_NONCE);
    for wrong in [&*old, of_another.as_str(), "x", &*long, &good[..good.len() - 1]] {
        let (outcome, nonce, cost) = scene.cost(&token, &scene.proof(&token, Some(wrong))).await;
        assert!(outcome.starts_with("nonce."), "{wrong}: {outcome}");
        assert!(nonce.is_some(), "{wrong}: the way out");
        // Nothing is looked up or recorded for it, and the one nonce is what an answer to a right one may bring, too.
        assert_eq!(cost, Done { signatures: 1, judged: 1, issued: 1, records: 0 }, "{wrong}");
    }
    for nonce in [None, Some(&*good), Some(&*old), Some("x")] {
        let proof = scene.proof(&token, nonce);
        let forged = format!("{}AAAA", &proof[..proof.len() - 4]);
        let (outcome, given, cost) = scene.cost(&token, &forged).await;
        assert_eq!((&*outcome, given), ("signature.invalid", None));
        assert_eq!(cost, Done { signatures: 1, judged: 0, issued: 0, records: 0 }, "{nonce:?}");
    }
}
