//! keybound with `examples/decisions.toml`, an app that shows what reaches it, and room for a proxy between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use http::Method;
use keybound_gateway::decisions::{Decisions, ExtAuthz};
use keybound_gateway::engine::Engine;
use keybound_gateway::front::{Drained, Front, Sockets, Stop};
use keybound_gateway::reload::Live;
use keybound_gateway::stack::Stack;

use crate::program::{Program, example};
use crate::scene::Scene;
use crate::support::{Answer, Client, Upstream, nobody};

/// Routes for answers that those of the example never give, and an issuer that cannot be reached.
const MORE: &str = r#"
[[issuer]]
url = "http://127.0.0.1:9"
audience = ["https://api.example.com"]
[[route]]
path = "/admin"
scope = ["orders:admin"]
[[route]]
path = "/reports"
methods = ["GET", "PUT"]
[[route]]
path = "/signed"
proof = "attest"
attestation_audience = ["https://signed.example.com"]
"#;

/// The issuer of a token whose keys keybound cannot have.
pub(crate) const AWAY: &str = "http://127.0.0.1:9";

/// How many used proofs of one key are remembered.
pub(crate) const QUOTA: usize = 100;

pub(crate) struct Stage {
    pub(crate) scene: Scene,
    pub(crate) app: Upstream,
    /// `listen.address`, `listen.decisions` and `listen.ext_authz`.
    pub(crate) gateway: SocketAddr,
    pub(crate) decisions: SocketAddr,
    pub(crate) ext_authz: SocketAddr,
    /// Where the proxy is to listen.
    pub(crate) public: SocketAddr,
    stop: Stop,
    serving: Vec<JoinHandle<Drained>>,
    proxy: Option<Program>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let scene = Scene::new();
        let text = example(
            "decisions.toml",
            &[
                ("127.0.0.1:8080", "127.0.0.1:0".to_owned()),
                ("127.0.0.1:8082", "127.0.0.1:0".to_owned()),
                ("127.0.0.1:8083", "127.0.0.1:0".to_owned()),
                // With a second one, keybound needs to know the host as well.
                ("[[issuer]]\n", "[[origin]]\nurl = \"https://other.example.com\"\n\n[[issuer]]\n".to_owned()),
                ("[[issuer]]\n", "[[issuer]]\njwks_file = \"issuer.jwks.json\"\n".to_owned()),
            ],
        );
        // So short that a nonce grows old within the test, and not so short that it is over when this machine stands still; and a
        // quota that nothing before the last check fills.
        let text = format!("{text}{MORE}[proof]\nnonce_lifetime = \"16s\"\n[replay]\nper_key = {QUOTA}\n");
        let config = scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let front = Front::bind(&config.listen, &config.limits).unwrap();
        let asked = config.listen.decisions.as_ref().unwrap();
        let asked = Front::bind_decisions(asked, &config.listen, &config.limits).unwrap();
        let envoys = config.listen.ext_authz.as_ref().unwrap();
        let envoys =
            Front::bind_ext_authz_among(&mut Sockets::default(), envoys, &config.listen, &config.limits).unwrap();
        let ext_authz = envoys.address().unwrap();
        let (gateway, decisions) = (front.address().unwrap(), asked.address().unwrap());
        let live = Arc::new(Live::new(Engine::new(config).unwrap()));
        let stop = Stop::new();
        let [for_front, for_asked, for_envoy] = [Arc::clone(&live), Arc::clone(&live), live];
        let [one, two, three] = [stop.clone(), stop.clone(), stop.clone()];
        let serving = vec![
            thread::spawn(move || front.run(|proxy| Stack::new(Arc::clone(&for_front), proxy), &one).unwrap()),
            thread::spawn(move || asked.run(|_| Decisions::new(Arc::clone(&for_asked)), &two).unwrap()),
            thread::spawn(move || envoys.run(|_| ExtAuthz::new(Arc::clone(&for_envoy)), &three).unwrap()),
        ];
        let public = nobody();
        Self { scene, app: app(), gateway, decisions, ext_authz, public, stop, serving, proxy: None }
    }

    /// With this proxy in front.
    pub(crate) fn behind(mut self, proxy: Program) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// A request through the proxy, with these fields, each ended by CRLF.
    pub(crate) fn send(&self, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        self.send_to("api.example.com", method, path, fields, body)
    }

    /// The same, with this `Host`.
    pub(crate) fn send_to(&self, host: &str, method: &str, path: &str, fields: &str, body: &str) -> Answer {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let mut client = Client::to(self.public);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}\r\n{body}"));
        client.answer()
    }

    pub(crate) fn get(&self, path: &str, fields: &str) -> Answer {
        self.send("GET", path, fields, "")
    }

    /// Credentials with a nonce that is not yet half as old as it may get.
    pub(crate) fn credentials(&self, method: Method, path: &str) -> String {
        let nonce = self.get("/orders", &self.scene.credentials(Method::GET, "/orders", None));
        assert_eq!((nonce.status, &*nonce.reason()), (401, "nonce.barrier"));
        self.scene.credentials(method, path, Some(nonce.field("dpop-nonce").unwrap()))
    }

    /// keybound ends, and its ports are closed.
    pub(crate) fn stop_keybound(&mut self) {
        self.stop.now();
        for thread in self.serving.drain(..) {
            assert_eq!(thread.join().unwrap().cut_off, 0, "requests were cut off");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.proxy.take());
        if !thread::panicking() {
            self.stop_keybound();
        }
    }
}

/// Answers with the header and the body it got, and with a nonce that clients of keybound are not to have. Of a WebSocket it
/// gives back the first five octets after the handshake.
fn app() -> Upstream {
    Upstream::doing(|mut client| {
        while let Some(head) = client.head() {
            if head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
                client.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
                let said = client.exactly(5);
                return client.send(said);
            }
            let (body, _) = client.body(&head);
            let seen = [head.as_bytes(), &body].concat();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDPoP-Nonce: of-the-app\r\n";
            client.send(format!("{head}Content-Length: {}\r\n\r\n", seen.len()));
            client.send(seen);
        }
    })
}
