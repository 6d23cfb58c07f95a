//! A store that is full, away or slow, with two nodes before it: `NonceOnly`.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use keybound::nonce::{NonceKey, StatelessNonces};
use keybound_tower::NonceOnly;
use proptest::prelude::*;

use super::*;

/// What the way from a node to the store is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Fine,
    /// Nothing arrives.
    Cut,
    /// Everything arrives, and no answer comes back.
    Deaf,
    /// The store takes nothing more.
    Full,
    /// Nothing arrives until the way is another.
    Slow,
}

/// The store that both nodes share: in memory, and a new one after a restart.
#[derive(Debug)]
struct Behind(Mutex<Arc<MemoryStore>>);

/// The store as one node reaches it.
#[derive(Debug)]
struct Reached {
    behind: Arc<Behind>,
    way: Arc<Mutex<Way>>,
}

fn of<T: Clone>(mutex: &Mutex<T>) -> T {
    mutex.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl ReplayStore for Reached {
    fn epoch(&self) -> Epoch {
        of(&self.behind.0).epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        let waiting = |_: &mut Context<'_>| if of(&self.way) == Way::Slow { Poll::Pending } else { Poll::Ready(()) };
        poll_fn(waiting).await;
        match of(&self.way) {
            Way::Cut | Way::Slow => Err(Fault::ReplayUnreachable),
            Way::Full => Err(Fault::ReplayFull),
            Way::Deaf => {
                let _unheard = of(&self.behind.0).record_now(entry, now);
                Err(Fault::ReplayUnreachable)
            }
            Way::Fine => of(&self.behind.0).record_now(entry, now),
        }
    }
}

type Judging = Pin<Box<dyn Future<Output = keybound_tower::Judgement>>>;

struct Node {
    server: ResourceServer<NonceOnly<Reached>>,
    way: Arc<Mutex<Way>>,
}

/// Two nodes that share a store and a nonce ring, one client, and its proofs.
struct World {
    scene: Scene,
    behind: Arc<Behind>,
    nodes: [Node; 2],
    token: String,
    proofs: Vec<String>,
    nonces: Vec<String>,
    epochs: u64,
}

impl World {
    fn new(policy: NoncePolicy, reserve: MemoryLimits) -> Self {
        let scene = Scene::new();
        let opened = START.minus(Duration::from_secs(7200));
        let store = Arc::new(MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, opened)).unwrap());
        let behind = Arc::new(Behind(Mutex::new(store)));
        let nodes = [(); 2].map(|()| {
            let way = Arc::new(Mutex::new(Way::Fine));
            let reached = Reached { behind: Arc::clone(&behind), way: Arc::clone(&way) };
            let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [3; 32])));
            let crypto = Arc::new(keybound::crypto::aws_lc::AwsLc);
            let verifier = keybound::verify::Verifier::builder(crypto, nonces).nonce_policy(policy).build().unwrap();
            let origins = keybound::request::Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
            let server = ResourceServer::builder(verifier, origins, NonceOnly::new(reached, reserve).unwrap())
                .issuer(TokenPolicy::new(cast::ISSUER, [ORIGIN]), scene.keys.clone())
                .clock(scene.clock.clone())
                .build()
                .unwrap();
            Node { server, way }
        });
        // The tests play for hours.
        let token = scene.token_with("exp", &json!(START.as_secs() + 86_400));
        Self { scene, behind, nodes, token, proofs: Vec::new(), nonces: Vec::new(), epochs: 1 }
    }

    fn set(&self, node: usize, way: Way) {
        *self.nodes[node].way.lock().unwrap() = way;
    }

    /// It forgets everything, and says so by its epoch.
    fn restart(&mut self) {
        self.epochs += 1;
        let epoch = Epoch::new(self.epochs, self.scene.clock.now());
        let store = MemoryStore::new(MemoryLimits::new(), [8; 16], epoch).unwrap();
        *self.behind.0.lock().unwrap() = Arc::new(store);
    }

    /// A new proof, with one of the nonces or with none; its number.
    fn prove(&mut self, nonce: Option<usize>, offset: i64) -> usize {
        let nonce = nonce.and_then(|nonce| self.nonces.iter().rev().nth(nonce)).map(String::as_str);
        let iat = UnixTime::from_secs(self.scene.clock.now().as_secs().saturating_add_signed(offset));
        self.proofs.push(self.scene.client.prove(&Method::GET, ORDERS, &self.token, nonce, iat).unwrap());
        self.proofs.len() - 1
    }

    /// Shows a proof to a node.
    fn show(&self, node: usize, proof: usize) -> Judging {
        let server = self.nodes[node].server.clone();
        let parts = request(&dpop(&self.token, &self.proofs[proof]).fields()).into_parts().0;
        let origin = ORIGIN.parse().unwrap();
        Box::pin(async move { server.decide(&parts, &origin, &Policy::required()).await })
    }

    /// What comes of it at once: the reason, or nothing; and a nonce that came along is kept.
    fn ask(&mut self, node: usize, proof: usize) -> Option<String> {
        let mut judging = self.show(node, proof);
        let Poll::Ready(judgement) = judging.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("the way is slow")
        };
        self.learn(&judgement);
        judgement.result().err().map(|denial| denial.code().to_owned())
    }

    fn learn(&mut self, judgement: &keybound_tower::Judgement) {
        self.nonces.extend(judgement.nonce().map(|nonce| nonce.as_str().to_owned()));
    }

    /// Asks as a client does that retries once.
    fn ask_like_a_client(&mut self, node: usize, nonce: Option<usize>) -> Option<String> {
        let proof = self.prove(nonce, 0);
        match self.ask(node, proof)?.as_str() {
            "nonce.stale" | "nonce.unknown" | "nonce.missing" | "nonce.barrier" | "replay.forgotten" => {
                let proof = self.prove(Some(0), 0);
                self.ask(node, proof)
            }
            other => Some(other.to_owned()),
        }
    }

    fn figures(&self, node: usize) -> keybound_tower::NonceOnlyFigures {
        self.nodes[node].server.replays().figures()
    }
}

// R-SEC-02: what the state admits, nobody else does, and it itself once.
#[test]
fn an_outage_costs_a_client_one_retry_and_admits_nothing_twice() {
    for way in [Way::Cut, Way::Deaf, Way::Full] {
        for policy in [NoncePolicy::Offer, NoncePolicy::Require] {
            let mut world = World::new(policy, MemoryLimits::new());
            assert_eq!(world.ask_like_a_client(0, None), None, "before");
            world.set(0, way);
            // Used before, and shown again at once: the state has no part in it.
            let used = world.proofs.len() - 1;
            assert_eq!(world.ask_like_a_client(0, Some(0)), None, "{way:?} {policy:?}");
            assert!(world.figures(0).is_nonce_only);
            assert_eq!((world.figures(0).entered, world.figures(0).admitted), (1, 1));
            assert_ne!(world.ask(0, used), None);
            let admitted = world.proofs.len() - 1;
            assert_eq!(world.ask(0, admitted).as_deref(), Some("replay.seen"));
            assert_eq!(world.ask(1, admitted).as_deref(), Some("nonce.stale"), "nobody else knows the nonce");
            // Without a nonce nothing passes, however long it lasts.
            world.scene.clock.turn(400);
            let bare = world.prove(None, 0);
            assert!(matches!(world.ask(0, bare).as_deref(), Some("nonce.barrier" | "nonce.missing")));

            world.set(0, Way::Fine);
            assert_eq!(world.ask_like_a_client(0, Some(0)), None);
            assert!(!world.figures(0).is_nonce_only, "it was tried, and is back");
            for node in [0, 1] {
                assert_ne!(world.ask(node, admitted), None);
            }
            // Leaving has raised this node's barrier, and no other's.
            let bare = world.prove(None, 0);
            assert_ne!(world.ask(0, bare), None);
            if policy == NoncePolicy::Offer {
                assert_eq!(world.ask(1, bare), None);
            }
        }
    }
}

// A nonce of one stay is worth nothing in the next.
#[test]
fn each_stay_has_nonces_of_its_own() {
    let mut world = World::new(NoncePolicy::Offer, MemoryLimits::new());
    world.set(0, Way::Cut);
    assert_eq!(world.ask_like_a_client(0, None), None);
    let kept = world.prove(Some(0), 0);
    world.set(0, Way::Fine);
    world.scene.clock.turn(5);
    for _ in 0..2 {
        assert_eq!(world.ask_like_a_client(0, Some(0)), None);
        assert!(!world.figures(0).is_nonce_only);
    }
    world.set(0, Way::Cut);
    assert_eq!(world.ask_like_a_client(0, Some(0)), None);
    assert_eq!(world.figures(0).entered, 2);
    assert_eq!(world.ask(0, kept).as_deref(), Some("nonce.stale"));
}

// The reserve is small, and full it refuses.
#[test]
fn a_full_reserve_is_a_fault() {
    let mut world = World::new(NoncePolicy::Offer, MemoryLimits::new().bytes(1 << 20).per_key(100_000));
    world.set(0, Way::Cut);
    assert_eq!(world.ask_like_a_client(0, None), None);
    let epoch = world.nodes[0].server.replays().epoch();
    let expires = START.plus(Duration::from_secs(300));
    let refused = (0..200_000).find_map(|number: u32| {
        let jti = number.to_string();
        let entry = ReplayEntry::new(keybound::jwk::Thumbprint::from_bytes([9; 32]), &jti, ORDERS, epoch, expires);
        let mut recording = Box::pin(world.nodes[0].server.replays().record(&entry, START));
        match recording.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Seen::Never)) => None,
            Poll::Ready(other) => Some(other),
            Poll::Pending => panic!("nothing to wait for"),
        }
    });
    assert_eq!(refused, Some(Err(Fault::ReplayFull)));
    assert_eq!(world.figures(0).no_room, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Show { node: usize, proof: usize },
    Prove { node: usize, nonce: Option<usize>, offset: i64 },
    Way { node: usize, way: Way },
    GoOn { waiting: usize },
    Tend { node: usize },
    Turn(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let way = prop_oneof![Just(Way::Fine), Just(Way::Cut), Just(Way::Deaf), Just(Way::Full), Just(Way::Slow)];
    let step = prop_oneof![
        6 => (0..2_usize, 0..6_usize).prop_map(|(node, proof)| Step::Show { node, proof }),
        6 => (0..2_usize, proptest::option::of(0..4_usize), -80..80_i64)
            .prop_map(|(node, nonce, offset)| Step::Prove { node, nonce, offset }),
        4 => (0..2_usize, way).prop_map(|(node, way)| Step::Way { node, way }),
        4 => (0..8_usize).prop_map(|waiting| Step::GoOn { waiting }),
        2 => (0..2_usize).prop_map(|node| Step::Tend { node }),
        2 => (1..4_u64).prop_map(Step::Turn),
        1 => (60..200_u64).prop_map(Step::Turn),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // R-SEC-02, R-SEC-03: over any order of outages, slow answers, restarts of the store, beginnings and ends of the state.
    #[test]
    fn no_order_of_events_admits_a_proof_twice(steps in steps(), demanded in any::<bool>()) {
        let policy = if demanded { NoncePolicy::Require } else { NoncePolicy::Offer };
        let mut world = World::new(policy, MemoryLimits::new());
        let mut waiting: Vec<(usize, Judging)> = Vec::new();
        let mut admitted = HashMap::<usize, usize>::new();
        for step in steps {
            match step {
                Step::Show { node, proof } => {
                    if let Some(proof) = world.proofs.len().checked_sub(proof + 1) {
                        waiting.push((proof, world.show(node, proof)));
                    }
                }
                Step::Prove { node, nonce, offset } => {
                    let proof = world.prove(nonce, offset);
                    waiting.push((proof, world.show(node, proof)));
                }
                Step::Way { node, way } => world.set(node, way),
                Step::GoOn { .. } => {}
                Step::Tend { node } => {
                    let (server, now) = (world.nodes[node].server.clone(), world.scene.clock.now());
                    let mut tending = Box::pin(async move { server.replays().tend(now).await });
                    // One that waits for the store is given up, as at the end of a process.
                    let _ = tending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                }
                Step::Turn(seconds) => world.scene.clock.turn(seconds),
                Step::Restart => world.restart(),
            }
            // All that wait go on, or one of them alone: so answers come late, and not in their order.
            let chosen = if let Step::GoOn { waiting } = step { Some(waiting) } else { None };
            let mut position = 0;
            waiting.retain_mut(|(proof, judging)| {
                position += 1;
                let is_last_shown = matches!(step, Step::Show { .. } | Step::Prove { .. });
                if !is_last_shown && chosen != Some(position - 1) {
                    return true;
                }
                let Poll::Ready(judgement) = judging.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                    return true;
                };
                world.learn(&judgement);
                *admitted.entry(*proof).or_default() += usize::from(judgement.result().is_ok());
                false
            });
            let twice: Vec<_> = admitted.iter().filter(|(_, times)| **times > 1).collect();
            prop_assert!(twice.is_empty(), "admitted twice: {twice:?}");
        }
        // And when all is well again, everybody gets through with one retry.
        for node in [0, 1] {
            world.set(node, Way::Fine);
        }
        drop(waiting);
        world.scene.clock.turn(61);
        for node in [0, 1] {
            prop_assert_eq!(world.ask_like_a_client(node, Some(0)), None);
            prop_assert!(!world.figures(node).is_nonce_only);
        }
    }
}
