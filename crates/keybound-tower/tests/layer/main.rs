//! The whole way of a request through the layer, without sockets, one thing wrong at a time.

#[path = "../../examples/support/cast.rs"]
#[expect(dead_code, reason = "the examples use the rest")]
mod cast;
#[path = "../support/mod.rs"]
mod support;

mod around;
mod nonces;
mod outages;
mod records;
mod tokens;
mod work;

use core::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use cast::{Client, Issuer};
use http::{Method, Request, Response};
use http_body_util::{Empty, Full};
use keybound::refusal::{Denial, Fault, Reason};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use keybound::token::{Admission, TokenPolicy, UnboundToken};
use keybound::verify::NoncePolicy;
use keybound_tower::{Clock, Cors, FixedKeys, Policy, Preflight, ProofHandling, ProtectLayer, ResourceServer};
use serde_json::{Value, json};
use support::{Answer, HandClock, START};
use tower::{Layer, ServiceExt as _, service_fn};

const ORIGIN: &str = "https://api.example.com";
const ORDERS: &str = "https://api.example.com/orders";

/// An issuer, a client and a resource server with its clock.
struct Scene {
    issuer: Issuer,
    client: Client,
    clock: Arc<HandClock>,
    server: ResourceServer<MemoryStore>,
    keys: FixedKeys,
}

impl Scene {
    fn new() -> Self {
        Self::with(NoncePolicy::Off, MemoryLimits::new())
    }

    fn with(nonces: NoncePolicy, limits: MemoryLimits) -> Self {
        let (issuer, client, clock) = (Issuer::new().unwrap(), Client::new().unwrap(), HandClock::new());
        let verifier = cast::verifier().unwrap().nonce_policy(nonces).build().unwrap();
        let keys = FixedKeys::new(issuer.keys().unwrap());
        let epoch = Epoch::new(7, START.minus(core::time::Duration::from_secs(7200)));
        let replays = MemoryStore::new(limits, [7; 16], epoch).unwrap();
        let origins = keybound::request::Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
        let server = ResourceServer::builder(verifier, origins, replays)
            .issuer(TokenPolicy::new(cast::ISSUER, [ORIGIN]), keys.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        Self { issuer, client, clock, server, keys }
    }

    fn claims(&self) -> Value {
        Issuer::claims(&self.client, ORIGIN, "orders:read", self.clock.now())
    }

    fn token(&self) -> String {
        self.issuer.sign(&self.claims()).unwrap()
    }

    /// A token in which one claim has this value, or none.
    fn token_with(&self, claim: &str, value: &Value) -> String {
        let mut claims = self.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
            value => claims[claim] = value.clone(),
        }
        self.issuer.sign(&claims).unwrap()
    }

    fn proof(&self, token: &str) -> String {
        self.proof_with_nonce(token, None)
    }

    fn proof_with_nonce(&self, token: &str, nonce: Option<&str>) -> String {
        let now = self.clock.now();
        self.client.prove(&Method::GET, ORDERS, token, nonce, now).unwrap()
    }

    async fn ask(&self, policy: &Policy, fields: &[(&str, &str)]) -> Answer {
        ask(&ProtectLayer::new(self.server.clone(), policy.clone()), fields).await
    }

    /// A request with this token and a new proof for it.
    async fn ask_with(&self, policy: &Policy, token: &str) -> Answer {
        self.ask(policy, &dpop(token, &self.proof(token)).fields()).await
    }
}

struct Fields([(&'static str, String); 2]);

impl Fields {
    fn fields(&self) -> [(&str, &str); 2] {
        let [(first, token), (second, proof)] = &self.0;
        [(first, token), (second, proof)]
    }
}

fn dpop(token: &str, proof: &str) -> Fields {
    Fields([("authorization", format!("DPoP {token}")), ("dpop", proof.to_owned())])
}

fn request(fields: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::get("/orders?page=2").header("host", "10.0.0.7:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// Sends a request to a service that says who was admitted, how.
async fn ask<S: ReplayStore + 'static>(layer: &ProtectLayer<S>, fields: &[(&str, &str)]) -> Answer {
    let service = layer.layer(service_fn(async |request: Request<Empty<Bytes>>| {
        let extensions = request.extensions();
        let who = match (extensions.get::<Admission>(), extensions.get::<UnboundToken>()) {
            (Some(admission), None) => format!("{} {:?}", admission.subject(), admission.proof()),
            (None, Some(token)) => format!("{} bearer", token.facts().subject()),
            _ => "nobody".to_owned(),
        };
        Ok::<_, Infallible>(Response::new(Full::from(who)))
    }));
    let response = service.oneshot(request(fields)).await.unwrap();
    Answer::read(response).await
}
