//! The example of axum over real sockets, and what axum does to a request on its way.

#[path = "../examples/axum.rs"]
#[expect(dead_code, reason = "its main is for people")]
mod example;
mod support;

use axum::Router;
use axum::extract::OriginalUri;
use axum::routing::get;
use example::cast::{self, Client, Issuer, now};
use http::{Method, StatusCode};
use keybound::replay::MemoryStore;
use keybound::verify::NoncePolicy;
use keybound_tower::{Policy, ProtectLayer, ResourceServer};
use serde_json::Value;
use support::{Answer, send};
use tokio::net::TcpListener;

struct Served {
    origin: String,
    issuer: Issuer,
    client: Client,
}

impl Served {
    async fn new(nonces: NoncePolicy, app: impl FnOnce(ResourceServer<MemoryStore>) -> Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (issuer, client) = (Issuer::new().unwrap(), Client::new().unwrap());
        let verifier = cast::verifier().unwrap().nonce_policy(nonces).build().unwrap();
        let server = cast::resource_server(&origin, &issuer, verifier, now()).unwrap().build().unwrap();
        let app = app(server);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin, issuer, client }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn token(&self) -> String {
        let claims = Issuer::claims(&self.client, &self.origin, "orders:read", now());
        self.issuer.sign(&claims).unwrap()
    }

    fn proof(&self, client: &Client, path: &str, token: &str, nonce: Option<&str>) -> String {
        client.prove(&Method::GET, &self.url(path), token, nonce, now()).unwrap()
    }

    async fn call(&self, path: &str, token: &str, proof: &str) -> Answer {
        let fields = [("authorization", &*format!("DPoP {token}")), ("dpop", proof)];
        send(Method::GET, &self.url(path), &fields).await
    }
}

fn exposed(answer: &Answer) {
    assert_eq!(answer.line("access-control-expose-headers"), "WWW-Authenticate, DPoP-Nonce");
}

// R-RS-03, R-RS-04, R-RS-06, R-RS-28, R-RS-32, R-ERR-05, R-SEC-02
#[tokio::test]
async fn the_example_over_a_socket() {
    let served = Served::new(NoncePolicy::Offer, |server| example::app(server).unwrap()).await;
    assert_eq!(send(Method::GET, &served.url("/"), &[]).await.status, 200, "not protected");

    let token = served.token();
    let proof = served.proof(&served.client, "/orders", &token, None);
    let answer = served.call("/orders", &token, &proof).await;
    assert_eq!(answer.status, 200);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["subject"], &body["jkt"]), (&"alice".into(), &served.client.jkt().into()));
    assert_eq!(answer.lines("dpop-nonce").len(), 1, "offered with the first success");
    exposed(&answer);

    let replayed = served.call("/orders", &token, &proof).await;
    assert_eq!((replayed.status.as_u16(), replayed.reason()), (401, "replay.seen"));

    let thief = Client::new().unwrap();
    let stolen = served.call("/orders", &token, &served.proof(&thief, "/orders", &token, None)).await;
    assert_eq!((stolen.status.as_u16(), stolen.reason()), (401, "key.mismatch"));

    let bearer = format!("Bearer {token}");
    let downgraded = send(Method::GET, &served.url("/orders"), &[("authorization", &bearer)]).await;
    assert_eq!((downgraded.status.as_u16(), downgraded.reason()), (401, "token.downgrade"));

    let nobody = send(Method::GET, &served.url("/orders"), &[]).await;
    assert_eq!((nobody.status.as_u16(), nobody.reason()), (401, "credentials.missing"));
    for refused in [&replayed, &stolen, &downgraded, &nobody] {
        assert!(refused.line("www-authenticate").starts_with("DPoP "));
        exposed(refused);
    }

    let asked = [("origin", "https://app.example"), ("access-control-request-method", "GET")];
    let preflight = send(Method::OPTIONS, &served.url("/orders"), &asked).await;
    assert_eq!(preflight.status, 204);
}

// R-NONCE-01, R-NONCE-10, R-RS-29: also on an error of the service behind.
#[tokio::test]
async fn a_nonce_on_whatever_the_service_answers() {
    let app = |server| {
        Router::new()
            .route("/broken", get(async || (StatusCode::INTERNAL_SERVER_ERROR, [("dpop-nonce", "its-own")])))
            .layer(ProtectLayer::new(server, Policy::required()))
    };
    let served = Served::new(NoncePolicy::Offer, app).await;
    let token = served.token();
    let broken = served.call("/broken", &token, &served.proof(&served.client, "/broken", &token, None)).await;
    assert_eq!(broken.status, 500);
    assert_ne!(broken.line("dpop-nonce"), "its-own");
    assert_eq!(broken.line("cache-control"), "no-store");
    exposed(&broken);

    let nonce = broken.line("dpop-nonce");
    let proof = served.proof(&served.client, "/broken", &token, Some(nonce));
    let broken = served.call("/broken", &token, &proof).await;
    assert_eq!(broken.status, 500);
    assert!(broken.lines("dpop-nonce").is_empty(), "none is due: neither ours nor its own");
}

// R-NONCE-06, R-ERR-14
#[tokio::test]
async fn a_demanded_nonce_costs_one_retry() {
    let served = Served::new(NoncePolicy::Require, |server| example::app(server).unwrap()).await;
    let token = served.token();
    let first = served.call("/orders", &token, &served.proof(&served.client, "/orders", &token, None)).await;
    assert_eq!((first.status.as_u16(), first.reason()), (401, "nonce.missing"));
    assert!(first.line("www-authenticate").contains(r#"error="use_dpop_nonce""#));
    let proof = served.proof(&served.client, "/orders", &token, Some(first.line("dpop-nonce")));
    assert_eq!(served.call("/orders", &token, &proof).await.status, 200);
}

// R-URI-08: a nested router sees a path that nobody signed.
#[tokio::test]
async fn behind_a_nested_router() {
    let app = |server| {
        let layer = ProtectLayer::new(server, Policy::required())
            .target(|parts| parts.extensions.get::<OriginalUri>().map(|original| original.0.clone()));
        let inner = Router::new().route("/orders", get(async || "yes")).layer(layer);
        Router::new().nest("/v1", inner)
    };
    let served = Served::new(NoncePolicy::Offer, app).await;
    let token = served.token();
    let proof = served.proof(&served.client, "/v1/orders", &token, None);
    assert_eq!(served.call("/v1/orders", &token, &proof).await.body, "yes");
    let proof = served.proof(&served.client, "/orders", &token, None);
    assert_eq!(served.call("/v1/orders", &token, &proof).await.reason(), "htu.mismatch");
}
