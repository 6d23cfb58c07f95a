//! Issuers without a gateway that remember used proofs together, and keep their nonce ring there. `cargo xtask test` runs these.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use keybound::client::{ProofClaims, Prover};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound_gateway::admin::{Admin, Running, ShownIssuer};
use keybound_gateway::config::{Config, Overrides, Reader};
use keybound_gateway::engine::IssuerAlone;
use keybound_gateway::front::Stop;
use redis_rig::{Server, Settings, wait_until};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::scene::now;
use crate::shared::{SEALING, age_ring, kept_ring, replay};
use crate::support::{Answer, Client};

const TOKEN: &str = "http://127.0.0.1:1/token";

/// One of the processes behind an issuer's address.
pub(crate) struct Alone {
    issuer: Arc<IssuerAlone>,
    admin: SocketAddr,
    _shown: Running,
}

impl Alone {
    pub(crate) fn start(store: &str) -> Self {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[authorization_server]\nurl = \"http://127.0.0.1:1\"\n\
             audience = [\"https://api.example.com\"]\nstore = \"memory\"\n[[authorization_server.client]]\nclient_id = \"app\"\n\
             client_secret = \"0123456789abcdef\"\ntoken_endpoint_auth_method = \"client_secret_post\"\n\
             grant_types = [\"client_credentials\"]\ndpop_bound_access_tokens = true\n[proof]\n{}\n{}",
            kept_ring(SEALING),
            replay(store),
        );
        let flags = Overrides::default().reader(Reader::Issuer);
        let config = Config::from_parts(&text, "issuer.toml".as_ref(), [], &flags).unwrap();
        let admin = Admin::bind(&config.listen).unwrap();
        let address = admin.address().unwrap();
        let issuer = Arc::new(IssuerAlone::new(&config).unwrap());
        let shown = admin.start_issuer(ShownIssuer::new(&issuer, None, &Stop::new())).unwrap();
        Self { issuer, admin: address, _shown: shown }
    }

    fn look(&self, path: &str) -> Answer {
        let mut client = Client::to(self.admin);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.answer()
    }

    fn ready(&self) -> (u16, Value) {
        let answer = self.look("/readyz");
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.look("/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }

    /// A token request with this proof: status, reason, and the nonce of the answer.
    pub(crate) async fn ask(&self, proof: &str) -> (StatusCode, String, Option<String>) {
        let form = "grant_type=client_credentials&client_id=app&client_secret=0123456789abcdef";
        let request = Request::post(TOKEN)
            .header("host", "127.0.0.1:1")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("dpop", proof)
            .body(axum::body::Body::new(Full::from(form)))
            .unwrap();
        let answer = self.issuer.issuer().router().oneshot(request).await.unwrap();
        let nonce = answer.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["error_description"].as_str().unwrap_or_default().to_owned(), nonce)
    }

    pub(crate) async fn nonce(&self) -> String {
        let (status, reason, nonce) = self.ask(&prove(None)).await;
        assert_eq!((status, &*reason), (StatusCode::BAD_REQUEST, "nonce.missing"));
        nonce.expect("a nonce")
    }
}

/// By a key of its own.
pub(crate) fn prove(nonce: Option<&str>) -> String {
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let target = TargetUri::parse(TOKEN).unwrap();
    let nonce = nonce.map(|nonce| Nonce::parse(nonce).unwrap());
    let mut claims = ProofClaims::new(&Method::POST, &target, random_array().unwrap(), now());
    if let Some(nonce) = &nonce {
        claims = claims.nonce(nonce);
    }
    Prover::of(&key).unwrap().prepare(&claims).sign(&key).unwrap().as_str().to_owned()
}

/// Every issuer's nonce is good at every other, and a proof at one of them alone.
pub(crate) async fn all_take_all(issuers: &[Alone]) {
    for maker in issuers {
        for judge in issuers {
            let proof = prove(Some(&maker.nonce().await));
            let (status, reason, _) = judge.ask(&proof).await;
            assert_eq!(status, StatusCode::OK, "{reason}");
            let (status, reason, _) = maker.ask(&proof).await;
            assert_eq!((status, &*reason), (StatusCode::BAD_REQUEST, "replay.seen"));
        }
    }
}

// R-SEC-02, R-NONCE-14
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn issuers_alone_keep_one_ring_and_turn_it() {
    let server = Server::start(Settings::new()).expect("a server");
    let mut issuers = vec![Alone::start(&server.url()), Alone::start(&server.url())];
    all_take_all(&issuers).await;
    let before = issuers[0].nonce().await;
    for issuer in &issuers {
        assert_eq!(
            (issuer.metric("keybound_nonce_ring_there"), issuer.metric("keybound_nonce_ring_turns_total")),
            (1.0, 0.0)
        );
        // It grows from one look to the next.
        let mut most = 0.0_f64;
        let has_fallen = || {
            let unseen = issuer.metric("keybound_nonce_ring_unseen_seconds");
            let before = core::mem::replace(&mut most, unseen);
            unseen < before
        };
        wait_until("a look", has_fallen).expect("a look");
    }
    age_ring(&server);
    issuers.push(Alone::start(&server.url()));
    wait_until("the turn", || issuers.iter().all(|issuer| issuer.metric("keybound_nonce_ring_turns_total") == 1.0))
        .expect("a turn");
    all_take_all(&issuers).await;
    let (status, reason, _) = issuers[1].ask(&prove(Some(&before))).await;
    assert_eq!(status, StatusCode::OK, "made by the key before: {reason}");
}

// Another issuer is as much without it, so that this one is left in its place.
#[test]
#[ignore = "needs redis-server"]
fn an_issuer_alone_says_that_its_store_and_its_ring_are_away() {
    let mut server = Server::start(Settings::new()).expect("a server");
    let issuer = Alone::start(&server.url());
    assert_eq!(issuer.ready(), (200, json!({ "ready": true, "missing": [], "degraded": [] })));
    server.kill().expect("an end");
    let degraded = |words: &str| {
        issuer.ready().1["degraded"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().starts_with(words))
    };
    let store = format!("the replay store {} is away", server.url());
    wait_until("both", || degraded(&store) && degraded("the nonce ring, seen ")).expect("both");
    assert_eq!(issuer.ready().0, 200);
    assert_eq!((issuer.metric("keybound_replay_store_there"), issuer.metric("keybound_nonce_ring_there")), (0.0, 0.0));
    let unseen = || issuer.metric("keybound_nonce_ring_unseen_seconds");
    let first = unseen();
    wait_until("more of it", || unseen() > first).expect("more");
}

// A ring that this process cannot open is as good as none: what it has counts, and the figures say that it is alone with it.
#[test]
#[ignore = "needs redis-server"]
fn an_issuer_alone_says_that_it_cannot_open_the_ring() {
    let server = Server::start(Settings::new()).expect("a server");
    let issuer = Alone::start(&server.url());
    assert_eq!(issuer.metric("keybound_nonce_ring_there"), 1.0);
    server.ask(&["SET", "kb:n", "nonsense"]).expect("an answer");
    wait_until("the trouble", || issuer.metric("keybound_nonce_ring_there") == 0.0).expect("a word");
    let said = issuer.ready().1["degraded"].to_string();
    assert!(said.contains("the nonce ring, seen ") && said.contains("sealed under another key"), "{said}");
    assert_eq!(issuer.metric("keybound_replay_store_there"), 1.0);
    server.ask(&["DEL", "kb:n"]).expect("an answer");
    wait_until("its end", || issuer.metric("keybound_nonce_ring_there") == 1.0).expect("an end");
}
