//! The whole way of a request through the layer, without sockets, one thing wrong at a time.

#[path = "../examples/support/cast.rs"]
#[expect(dead_code, reason = "the examples use the rest")]
mod cast;
mod support;

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

// R-RS-01, R-RS-04
#[tokio::test]
async fn the_holder_of_the_key_is_admitted() {
    let scene = Scene::new();
    let answer = scene.ask_with(&Policy::required(), &scene.token()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "alice Recorded"));
    assert!(answer.lines("dpop-nonce").is_empty(), "nonces are off");
}

// R-RS-03, -06, -07, -08, -13 to -18, -20, -32; R-ERR-04 to -07, -10 to -13
#[tokio::test]
async fn what_is_wrong_and_what_is_said() {
    let scene = Scene::new();
    let token = scene.token();
    let with = |claim: &str, value: Value| {
        let token = scene.token_with(claim, &value);
        let proof = scene.proof(&token);
        dpop(&token, &proof)
    };
    let thief = Client::new().unwrap();
    let by_thief = thief.prove(&Method::GET, ORDERS, &token, None, START).unwrap();
    let elsewhere = scene.client.prove(&Method::GET, ORIGIN, &token, None, START).unwrap();
    let posted = scene.client.prove(&Method::POST, ORDERS, &token, None, START).unwrap();
    let early = START.plus(core::time::Duration::from_secs(61));
    let early = scene.client.prove(&Method::GET, ORDERS, &token, None, early).unwrap();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let proof = || scene.proof(&token);
    for (fields, status, error, reason) in [
        (dpop(&token, &by_thief), 401, "invalid_token", Reason::KeyMismatch),
        (dpop(&token, &elsewhere), 401, "invalid_dpop_proof", Reason::HtuMismatch),
        (dpop(&token, &posted), 401, "invalid_dpop_proof", Reason::HtmMismatch),
        (dpop(&token, &early), 401, "invalid_dpop_proof", Reason::IatFuture),
        (dpop(&token, "a.b.c"), 401, "invalid_dpop_proof", Reason::ProofEncoding),
        (dpop(&scene.token_with("jti", &json!("t-2")), &proof()), 401, "invalid_dpop_proof", Reason::AthMismatch),
        (dpop(&forged, &scene.proof(&forged)), 401, "invalid_token", Reason::TokenSignature),
        (dpop("opaque", &scene.proof("opaque")), 401, "invalid_token", Reason::TokenMalformed),
        (with("iss", json!("https://id.example.com/")), 401, "invalid_token", Reason::TokenIssuer),
        (with("aud", json!(["https://other.example"])), 401, "invalid_token", Reason::TokenAudience),
        (with("exp", json!(START.as_secs() - 6)), 401, "invalid_token", Reason::TokenExpired),
        (with("nbf", json!(START.as_secs() + 6)), 401, "invalid_token", Reason::TokenEarly),
        (with("sub", Value::Null), 401, "invalid_token", Reason::TokenClaims),
        (with("cnf", Value::Null), 401, "invalid_token", Reason::TokenUnbound),
        (with("cnf", json!({"kid": "1"})), 401, "invalid_token", Reason::TokenConfirmation),
        (with("cnf", json!({"jkt": thief.jkt()})), 401, "invalid_token", Reason::KeyMismatch),
        (with("scope", json!("orders:write")), 403, "insufficient_scope", Reason::ScopeInsufficient),
    ] {
        for policy in [Policy::required(), Policy::optional()] {
            let answer = scene.ask(&policy.scope("orders:read").unwrap(), &fields.fields()).await;
            assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason.code()));
            let challenge = answer.lines("www-authenticate")[0];
            assert!(challenge.starts_with("DPoP "), "DPoP first: {challenge}");
            assert!(challenge.contains(&format!("error=\"{error}\"")), "{reason}: {challenge}");
            assert!(challenge.contains("scope=\"orders:read\""), "{challenge}");
        }
    }
    assert_eq!(scene.server.replays().entries(), 0, "R-SEC-06: nothing was recorded");
}

// R-RS-06, R-ERR-07: enforcement follows the token's cnf, never the scheme or the mode.
#[tokio::test]
async fn bearer_tokens_by_mode() {
    let scene = Scene::new();
    let bound = scene.token();
    let unbound = scene.token_with("cnf", &Value::Null);
    let mutual_tls = scene.token_with("cnf", &json!({"x5t#S256": scene.client.jkt()}));
    let expired = scene.token_with("exp", &json!(START.as_secs() - 60));
    let (required, optional) = (Policy::required(), Policy::optional());
    for (policy, token, status, expected, challenges) in [
        (&required, &bound, 401, "token.downgrade", &["DPoP error="][..]),
        (&optional, &bound, 401, "token.downgrade", &["DPoP algs=", "Bearer error="]),
        (&required, &unbound, 401, "token.unbound", &["DPoP error="]),
        (&optional, &unbound, 200, "", &[]),
        (&required, &mutual_tls, 401, "token.confirmation", &["DPoP error="]),
        (&optional, &mutual_tls, 401, "token.confirmation", &["DPoP algs=", "Bearer error="]),
        (&required, &expired, 401, "token.expired", &["DPoP error="]),
        (&optional, &expired, 401, "token.expired", &["DPoP algs=", "Bearer error="]),
    ] {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let credentials = format!("{scheme} {token}");
            // A perfect proof beside it changes nothing.
            let proof = scene.proof(token);
            for fields in
                [&[("authorization", &*credentials)][..], &[("authorization", &*credentials), ("dpop", &*proof)]]
            {
                let answer = scene.ask(policy, fields).await;
                assert_eq!((answer.status.as_u16(), answer.reason()), (status, expected));
                let lines = answer.lines("www-authenticate");
                assert_eq!(lines.len(), challenges.len(), "{lines:?}");
                assert!(lines.iter().zip(challenges).all(|(line, start)| line.starts_with(start)), "{lines:?}");
            }
        }
    }
    let credentials = format!("Bearer {unbound}");
    let answer = scene.ask(&optional, &[("authorization", &credentials)]).await;
    assert_eq!(answer.body, "alice bearer");
    let scoped = optional.scope("orders:write").unwrap();
    let answer = scene.ask(&scoped, &[("authorization", &credentials)]).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (403, "scope.insufficient"));
}

// R-ERR-05, R-SEC-10: a proof alone grants nothing.
#[tokio::test]
async fn no_credentials_no_error() {
    let scene = Scene::new();
    let proof = scene.proof(&scene.token());
    for fields in [&[][..], &[("dpop", &*proof)]] {
        let answer = scene.ask(&Policy::required(), fields).await;
        assert_eq!(answer.status, 401);
        assert!(answer.line("www-authenticate").starts_with("DPoP algs="));
        assert!(!answer.line("www-authenticate").contains("error"));
    }
}

// R-SEC-02, R-ERR-10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_proof_at_once_from_many_sides_gets_through_once() {
    let scene = Scene::new();
    let token = scene.token();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let (token, proof) = (format!("DPoP {token}"), scene.proof(&token));
    let all: Vec<_> = (0..50)
        .map(|_| {
            let (layer, token, proof) = (layer.clone(), token.clone(), proof.clone());
            tokio::spawn(async move { ask(&layer, &[("authorization", &token), ("dpop", &proof)]).await })
        })
        .collect();
    let (mut admitted, mut replayed) = (0, 0);
    for one in all {
        let answer = one.await.unwrap();
        match answer.status.as_u16() {
            200 => admitted += 1,
            401 if answer.reason() == "replay.seen" => replayed += 1,
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((admitted, replayed), (1, 49));
}

#[tokio::test]
async fn a_proof_that_is_checked_alone_is_left_to_the_service_behind() {
    let scene = Scene::new();
    let token = scene.token();
    let fields = dpop(&token, &scene.proof(&token));
    let policy = Policy::required().proof(ProofHandling::Check);
    for _ in 0..2 {
        let answer = scene.ask(&policy, &fields.fields()).await;
        assert_eq!(answer.body, "alice LeftToUpstream");
    }
    assert_eq!(scene.server.replays().entries(), 0);
}

// R-ERR-20: the scope is judged before the proof is recorded, so that a refused proof is not spent.
#[tokio::test]
async fn a_refusal_does_not_spend_the_proof() {
    let scene = Scene::new();
    let token = scene.token();
    let fields = dpop(&token, &scene.proof(&token));
    let admin = Policy::required().scope("admin").unwrap();
    assert_eq!(scene.ask(&admin, &fields.fields()).await.status, 403);
    assert_eq!(scene.ask(&Policy::required(), &fields.fields()).await.status, 200);
}

// R-RS-15
#[tokio::test]
async fn a_route_narrows_the_audience() {
    let scene = Scene::new();
    let token = scene.token();
    let narrow = Policy::required().audience(["https://api.example.com/admin"]);
    assert_eq!(scene.ask_with(&narrow, &token).await.reason(), "token.audience");
    let both = scene.token_with("aud", &json!([ORIGIN, "https://api.example.com/admin"]));
    assert_eq!(scene.ask_with(&narrow, &both).await.status, 200);
}

// R-RS-17: what changes with time is judged for remembered tokens too, and memory ends with its key.
#[tokio::test]
async fn a_remembered_token_is_judged_again() {
    let scene = Scene::new();
    let token = scene.token_with("exp", &json!(START.as_secs() + 100));
    let policy = Policy::required();
    assert_eq!(scene.ask_with(&policy, &token).await.status, 200);
    scene.clock.turn(104);
    assert_eq!(scene.ask_with(&policy, &token).await.status, 200, "5 s of leeway");
    scene.clock.turn(1);
    assert_eq!(scene.ask_with(&policy, &token).await.reason(), "token.expired");

    let token = scene.token();
    assert_eq!(scene.ask_with(&policy, &token).await.status, 200);
    scene.keys.replace(Issuer::new().unwrap().keys().unwrap());
    assert_eq!(scene.ask_with(&policy, &token).await.reason(), "token.signature");
}

// R-NONCE-01, -02, -05, -06, -07, R-ERR-14
#[tokio::test]
async fn a_nonce_is_demanded_and_given() {
    let scene = Scene::with(NoncePolicy::Require, MemoryLimits::new());
    let token = scene.token();
    let answer = scene.ask_with(&Policy::required(), &token).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (401, "nonce.missing"));
    assert!(answer.line("www-authenticate").starts_with("DPoP error=\"use_dpop_nonce\""));
    assert_eq!(answer.line("cache-control"), "no-store"); // R-RS-29
    let nonce = answer.line("dpop-nonce").to_owned();

    let fields = dpop(&token, &scene.proof_with_nonce(&token, Some(&nonce)));
    let answer = scene.ask(&Policy::required(), &fields.fields()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.lines("dpop-nonce").is_empty(), "it is in the first half of its life");

    // R-NONCE-10: past half its life a new one comes along, whatever the answer is.
    scene.clock.turn(200);
    let fields = dpop(&token, &scene.proof_with_nonce(&token, Some(&nonce)));
    for (policy, status) in [(Policy::required().scope("admin").unwrap(), 403), (Policy::required(), 200)] {
        let answer = scene.ask(&policy, &fields.fields()).await;
        assert_eq!(answer.status, status);
        assert_ne!(answer.line("dpop-nonce"), nonce);
    }
    scene.clock.turn(101);
    for (nonce, reason) in [(&*nonce, "nonce.stale"), ("made-up", "nonce.unknown")] {
        let fields = dpop(&token, &scene.proof_with_nonce(&token, Some(nonce)));
        let answer = scene.ask(&Policy::required(), &fields.fields()).await;
        assert_eq!(answer.reason(), reason);
        assert!(answer.line("www-authenticate").contains("use_dpop_nonce"));
        assert_eq!(answer.lines("dpop-nonce").len(), 1);
    }
}

// R-NONCE-12: a client with a wrong clock recovers.
#[tokio::test]
async fn a_wrong_clock_is_no_trouble_with_a_nonce() {
    let scene = Scene::with(NoncePolicy::Offer, MemoryLimits::new());
    let token = scene.token();
    let wrong = START.minus(core::time::Duration::from_secs(4000));
    let prove = |nonce| scene.client.prove(&Method::GET, ORDERS, &token, nonce, wrong).unwrap();
    let answer = scene.ask(&Policy::required(), &dpop(&token, &prove(None)).fields()).await;
    assert_eq!(answer.reason(), "iat.past");
    assert!(answer.line("www-authenticate").contains("use_dpop_nonce"));
    let nonce = answer.line("dpop-nonce");
    let answer = scene.ask(&Policy::required(), &dpop(&token, &prove(Some(nonce))).fields()).await;
    assert_eq!(answer.status, 200);
}

// R-NONCE-15: nobody is given a nonce for a proof that is not signed.
#[tokio::test]
async fn no_nonce_before_a_signature() {
    let scene = Scene::with(NoncePolicy::Require, MemoryLimits::new());
    let token = scene.token();
    let proof = scene.proof(&token);
    let forged = format!("{}AAAA", &proof[..proof.len() - 4]);
    let answer = scene.ask(&Policy::required(), &dpop(&token, &forged).fields()).await;
    assert_eq!(answer.reason(), "signature.invalid");
    assert!(answer.lines("dpop-nonce").is_empty());
}

// R-SEC-05, R-ERR-21, and 429 for a key with too many live proofs
#[tokio::test]
async fn a_key_over_its_quota_waits() {
    let scene = Scene::with(NoncePolicy::Off, MemoryLimits::new().per_key(1));
    let token = scene.token();
    assert_eq!(scene.ask_with(&Policy::required(), &token).await.status, 200);
    let answer = scene.ask_with(&Policy::required(), &token).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (429, "replay.quota"));
    let wait: u64 = answer.line("retry-after").parse().unwrap();
    assert!((300..=320).contains(&wait), "{wait}");
    assert!(answer.lines("www-authenticate").is_empty());
}

/// A store that always answers the same, and counts.
#[derive(Debug)]
struct Says(Result<Seen, Fault>, AtomicU32);

impl ReplayStore for Says {
    fn epoch(&self) -> Epoch {
        Epoch::new(7, UnixTime::from_secs(0))
    }

    async fn record(&self, _: &ReplayEntry<'_>, _: UnixTime) -> Result<Seen, Fault> {
        self.1.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.0
    }
}

// R-ERR-21: a fault is 503, never a success and never a challenge.
#[tokio::test]
async fn what_a_store_says_and_what_is_answered() {
    let scene = Scene::new();
    for (says, status, reason, nonce) in [
        (Ok(Seen::Never), 200, "", false),
        (Ok(Seen::Before), 401, "replay.seen", false),
        (Ok(Seen::Forgotten), 401, "replay.forgotten", true),
        (Err(Fault::ReplayFull), 503, "replay.full", false),
        (Err(Fault::ReplayUnreachable), 503, "replay.unreachable", false),
    ] {
        let verifier = cast::verifier().unwrap().nonce_policy(NoncePolicy::Off).build().unwrap();
        let origins = keybound::request::Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
        let server = ResourceServer::builder(verifier, origins, Says(says, AtomicU32::new(0)))
            .issuer(TokenPolicy::new(cast::ISSUER, [ORIGIN]), scene.keys.clone())
            .clock(scene.clock.clone())
            .build()
            .unwrap();
        let token = scene.token();
        let layer = ProtectLayer::new(server.clone(), Policy::required());
        let answer = ask(&layer, &dpop(&token, &scene.proof(&token)).fields()).await;
        assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason));
        assert_eq!(answer.lines("dpop-nonce").len(), usize::from(nonce), "{reason}");
        assert_eq!(answer.lines("retry-after").len(), usize::from(status == 503), "{reason}");
        assert_eq!(answer.lines("www-authenticate").len(), usize::from(status == 401), "{reason}");
        assert_eq!(server.replays().1.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn the_reason_rides_in_the_answer() {
    let scene = Scene::new();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let inner = service_fn(async |_: Request<Empty<Bytes>>| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
    let response = layer.layer(inner).oneshot(request(&[])).await.unwrap();
    let denial = response.extensions().get::<Denial>().unwrap();
    assert_eq!(denial, &Denial::from(Reason::CredentialsMissing));
}

// R-URI-08, R-URI-10
#[tokio::test]
async fn the_target_is_what_the_client_aimed_at() {
    let scene = Scene::new();
    let token = scene.token();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let inner = service_fn(async |request: Request<Empty<Bytes>>| {
        let path = request.uri().to_string();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(path)))
    });
    let stripped = |layer: ProtectLayer<MemoryStore>| {
        let mut request = request(&dpop(&token, &scene.proof(&token)).fields());
        let original = core::mem::replace(request.uri_mut(), "/".parse().unwrap());
        request.extensions_mut().insert(original);
        async move { Answer::read(layer.layer(inner).oneshot(request).await.unwrap()).await }
    };
    assert_eq!(stripped(layer.clone()).await.reason(), "htu.mismatch");
    let answer = stripped(layer.target(|parts| parts.extensions.get().cloned())).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "/"), "the service sees what it saw before");

    let two_hosts = scene.ask(&Policy::required(), &[("host", "api.example.com")]).await;
    assert_eq!((two_hosts.status.as_u16(), two_hosts.reason()), (400, "host.invalid"));
}

// R-RS-28
#[tokio::test]
async fn preflight_without_a_proof_and_exposure_always() {
    let scene = Scene::new();
    let token = scene.token();
    let layer = ProtectLayer::new(scene.server.clone(), Policy::required());
    let page = ("origin", "https://app.example");
    for fields in [&[page][..], &[page, ("authorization", "DPoP x")], &dpop(&token, &scene.proof(&token)).fields()[..]]
    {
        let answer = ask(&layer, fields).await;
        assert_eq!(answer.line("access-control-expose-headers"), "WWW-Authenticate, DPoP-Nonce");
        assert_eq!(answer.line("access-control-allow-origin"), "*");
    }

    let inner = service_fn(async |_: Request<Empty<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::from("inner"));
        *response.status_mut() = http::StatusCode::ACCEPTED;
        Ok::<_, Infallible>(response)
    });
    let preflight = |layer: ProtectLayer<MemoryStore>, surplus: Option<(&'static str, &'static str)>| {
        let mut request = request(&[page, ("access-control-request-method", "PUT")]);
        *request.method_mut() = Method::OPTIONS;
        if let Some((name, value)) = surplus {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        async move { Answer::read(layer.layer(inner).oneshot(request).await.unwrap()).await }
    };
    let here = preflight(layer.clone(), None).await;
    assert_eq!(here.status, 204);
    assert!(here.line("access-control-allow-headers").starts_with("Authorization, DPoP"));
    let by_inner = preflight(layer.clone().cors(Cors::any().preflight(Preflight::Inner)), None).await;
    assert_eq!((by_inner.status.as_u16(), &*by_inner.body), (202, "inner"));
    let with_credentials = preflight(layer, Some(("authorization", "DPoP x"))).await;
    assert_eq!(with_credentials.status, 401, "no preflight has credentials");
}

#[test]
fn every_mistake_in_the_settings_at_once() {
    let scene = Scene::new();
    let verifier = cast::verifier().unwrap().build().unwrap();
    let origins = keybound::request::Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
    let none: [&str; 0] = [];
    let errors = ResourceServer::builder(verifier, origins, cast::replays(START).unwrap())
        .issuer(TokenPolicy::new("https://a.example", none), scene.keys.clone())
        .issuer(TokenPolicy::new("https://a.example", ["x"]), scene.keys.clone())
        .resource_metadata("nowhere")
        .build()
        .unwrap_err();
    assert_eq!(errors.iter().count(), 3, "{errors}");
    assert_eq!(errors.to_string().lines().count(), 3);
}
