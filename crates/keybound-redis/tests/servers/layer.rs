//! Resource servers of their own on a store: layers of nodes that share it, without sockets and without a gateway. The tests of PostgreSQL use
//! them too.

#[path = "../../../keybound-tower/examples/support/cast.rs"]
#[expect(dead_code, reason = "the examples use the rest")]
mod cast;

use core::convert::Infallible;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cast::{Client, Issuer};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full};
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayStore};
use keybound::request::Origins;
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::verify::{NoncePolicy, Verifier};
use keybound_tower::{Clock, Policy, ProtectLayer, ResourceServer};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::support::eventually;

const ORIGIN: &str = "https://api.example.com";

/// A clock that begins with that of the machine, and is turned by hand from then on.
#[derive(Debug)]
struct HandClock {
    began: UnixTime,
    ahead: AtomicU64,
}

impl Clock for HandClock {
    fn now(&self) -> UnixTime {
        self.began.plus(self.uptime())
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.ahead.load(Ordering::Relaxed))
    }
}

/// An issuer, a client, and what all nodes judge by.
pub(crate) struct Stage {
    issuer: Issuer,
    client: Client,
    nonces: Arc<StatelessNonces>,
    policy: NoncePolicy,
    clock: Arc<HandClock>,
}

/// A token, and a proof for it.
#[derive(Clone)]
pub(crate) struct Shown {
    token: String,
    proof: String,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) nonce: Option<String>,
    /// The fields and the body.
    pub(crate) text: String,
}

impl Answer {
    /// Its status and whether this is the reason.
    pub(crate) fn is(&self, status: u16, reason: &str) -> bool {
        self.status == status && self.text.contains(reason)
    }
}

impl Stage {
    pub(crate) fn new(policy: NoncePolicy) -> Self {
        let clock = HandClock { began: cast::now(), ahead: AtomicU64::new(0) };
        let key = NonceKey::new(1, random_array().expect("random octets"));
        Self {
            issuer: Issuer::new().expect("an issuer"),
            client: Client::new().expect("a client"),
            nonces: Arc::new(StatelessNonces::new(key)),
            policy,
            clock: Arc::new(clock),
        }
    }

    /// When its clock began.
    pub(crate) fn began(&self) -> UnixTime {
        self.clock.began
    }

    /// Turns the clock to so many seconds after that.
    pub(crate) fn turn(&self, seconds: u64) {
        self.clock.ahead.store(seconds, Ordering::Relaxed);
    }

    /// The layer of a node that records in this store.
    pub(crate) fn node<S: ReplayStore + 'static>(&self, store: S) -> ProtectLayer<S> {
        let origins = Origins::new(vec![ORIGIN.parse().expect("an origin")]).expect("origins");
        let keys = self.issuer.keys().expect("keys");
        let nonces = Arc::<StatelessNonces>::clone(&self.nonces);
        let verifier = Verifier::builder(Arc::new(AwsLc), nonces).nonce_policy(self.policy).build();
        let server = ResourceServer::builder(verifier.expect("a verifier"), origins, store)
            .issuer(TokenPolicy::new(cast::ISSUER, [ORIGIN]), keys)
            .clock(Arc::<HandClock>::clone(&self.clock))
            .build();
        ProtectLayer::new(server.expect("a resource server"), Policy::required())
    }

    /// A new proof with this `iat`.
    pub(crate) fn shown(&self, iat: UnixTime, nonce: Option<&str>) -> Shown {
        let claims = Issuer::claims(&self.client, ORIGIN, "orders:read", self.began());
        let token = self.issuer.sign(&claims).expect("a token");
        let target = format!("{ORIGIN}/orders");
        let proof = self.client.prove(&Method::GET, &target, &token, nonce, iat).expect("a proof");
        Shown { token, proof }
    }

    pub(crate) async fn ask<S: ReplayStore + 'static>(&self, node: &ProtectLayer<S>, shown: &Shown) -> Answer {
        let service = node.layer(service_fn(async |_: Request<Empty<bytes::Bytes>>| {
            Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from("let through")))
        }));
        let request = Request::get("/orders")
            .header("host", "10.0.0.7:8080")
            .header("authorization", format!("DPoP {}", shown.token))
            .header("dpop", &shown.proof)
            .body(Empty::new());
        let answer = service.oneshot(request.expect("a request")).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let nonce = parts.headers.get("dpop-nonce").map(|nonce| nonce.to_str().expect("text").to_owned());
        let text = format!("{:?} {}", parts.headers, String::from_utf8_lossy(&body));
        Answer { status: parts.status.as_u16(), nonce, text }
    }

    /// The first answer of a node that has its store: none before it may have let somebody through.
    pub(crate) async fn answered<S: ReplayStore + 'static>(&self, node: &ProtectLayer<S>, shown: &Shown) -> Answer {
        let mut answered = None;
        eventually("an answer", async || {
            answered = Some(self.ask(node, shown).await).filter(|answer| answer.status != 503);
            answered.is_some()
        })
        .await;
        answered.expect("it was waited for")
    }

    /// A nonce of this node, which gives one to whoever comes without, let through or not.
    pub(crate) async fn nonce<S: ReplayStore + 'static>(&self, node: &ProtectLayer<S>) -> String {
        let answer = self.ask(node, &self.shown(self.clock.now(), None)).await;
        answer.nonce.expect("a nonce")
    }

    /// For how many seconds from the beginning this proof would be let through in this epoch, by whoever has never seen it and judges as
    /// all do.
    pub(crate) async fn good_for(&self, shown: &Shown, epoch: Epoch) -> u64 {
        let mut seconds = 0;
        loop {
            self.turn(seconds);
            let empty = MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).expect("a memory");
            let answer = self.ask(&self.node(empty), shown).await;
            if answer.status != 200 {
                self.turn(0);
                return seconds.checked_sub(1).unwrap_or_else(|| panic!("{answer:?}"));
            }
            seconds += 1;
        }
    }

    /// Proofs whose `iat` is as far from now as it may be, on either side.
    pub(crate) fn at_both_edges(&self) -> [Shown; 2] {
        [self.began().minus(Duration::from_secs(300)), self.began().plus(Duration::from_secs(60))]
            .map(|iat| self.shown(iat, None))
    }
}
