//! A gateway across a rotation of the keys of its issuer, under load: nobody is refused for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::jws::decode_base64url;
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound_client::{Access, Authentication, Client, PlainHttp, Secret};
use keybound_gateway::config::Config;
use keybound_issuer::TestIssuer;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::scene::{ORIGIN, Running, Scene, now, route};
use crate::support::Upstream;

/// Clients at once, each of which gets a new token for every request.
const CLIENTS: usize = 4;

/// So many are admitted by each key.
const ADMITTED: usize = 200;

/// One client with a key.
struct Caller<'s> {
    issuer: &'s TestIssuer,
    gateway: &'s Running,
    nonce: &'s Nonce,
    key: Arc<SoftwareKey>,
    prover: Prover,
}

impl Caller<'_> {
    /// A token that nobody has seen before.
    fn token(&self, runtime: &Runtime) -> String {
        let secret = Authentication::Secret(Secret::new(self.issuer.client_secret()));
        let access = Access::client_credentials(self.issuer.url(), self.issuer.client_id()).authentication(secret);
        let client = Client::builder(Arc::clone(&self.key)).plain_http(PlainHttp::Loopback).access(access);
        let token = runtime.block_on(client.build().unwrap().token());
        token.unwrap().secret().to_owned()
    }

    /// Which key of the issuer it was admitted by.
    fn go(&self, runtime: &Runtime) -> String {
        let token = self.token(runtime);
        let target = TargetUri::parse(&[ORIGIN, "/orders"].concat()).unwrap();
        let credentials = Credentials::new(&token).unwrap();
        let claims = ProofClaims::new(&Method::GET, &target, random_array().unwrap(), now()).credentials(&credentials);
        let proof = self.prover.prepare(&claims.nonce(self.nonce)).sign(&*self.key).unwrap();
        let fields = format!("Authorization: DPoP {token}\r\nDPoP: {}\r\n", proof.as_str());
        let answer = self.gateway.get("/orders", &fields);
        assert_eq!(answer.status, 200, "{answer:?}");
        let header: Value =
            serde_json::from_slice(&decode_base64url(token.split('.').next().unwrap()).unwrap()).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    }

    fn run(&self, over: &AtomicBool, admitted: &Sender<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while !over.load(Ordering::Relaxed) {
            if admitted.send(self.go(&runtime)).is_err() {
                return;
            }
        }
    }
}

/// The issuer signs by a key it published `ahead` of that; with none, by one that no verifier can know yet.
fn turns(ahead: Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (issuer, upstream) = (runtime.block_on(TestIssuer::start()).unwrap(), Upstream::echo());
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 2\n[[origin]]\nurl = \"{ORIGIN}\"\n\
         [[issuer]]\nurl = \"{}\"\naudience = [\"{ORIGIN}\"]\n{}",
        issuer.url(),
        route("/orders", upstream.address, "")
    );
    let scene = Scene::new();
    let gateway = Running::start(Config::parse(&text, &scene.path("keybound.toml")).unwrap());
    let nonce = Nonce::parse(&scene.nonce(&gateway, "/orders")).unwrap();
    let (over, (send, admitted)) = (AtomicBool::new(false), channel());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let key = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
            let prover = Prover::of(&*key).unwrap();
            let caller = Caller { issuer: &issuer, gateway: &gateway, nonce: &nonce, key, prover };
            let (over, send) = (&over, send.clone());
            scope.spawn(move || caller.run(over, &send));
        }
        drop(send);
        let first = admitted.recv().unwrap();
        assert!(admitted.iter().take(ADMITTED).all(|kid| kid == first));
        let next = SoftwareKey::generate(Alg::Es256).unwrap();
        issuer.issuer().keys().follow_with(next, ahead, now());
        // Those under way are by the one before; then none is any more.
        let by_next = admitted.iter().filter(|kid| *kid != first).take(ADMITTED).count();
        over.store(true, Ordering::Relaxed);
        assert_eq!(by_next, ADMITTED, "a client was refused");
    });
}

#[test]
fn an_issuer_turns_its_keys_and_nobody_is_refused() {
    turns(Duration::from_secs(2));
}

#[test]
fn an_issuer_turns_to_a_key_that_nobody_knew_and_nobody_is_refused() {
    turns(Duration::ZERO);
}
