//! A gateway with its admin listener, an issuer, a client with a key, and an upstream.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use http::Method;
use keybound_gateway::admin::{Admin, LogLevel, Running, Shown};
use keybound_gateway::config::Config;
use keybound_gateway::decisions::{Decisions, ExtAuthz};
use keybound_gateway::engine::Engine;
use keybound_gateway::front::{Drained, Front, Handler, Sockets, Stop};
use keybound_gateway::reload::Live;
use keybound_gateway::stack::Stack;
use serde_json::Value;

use crate::cast::{self, ISSUER, Issuer};
use crate::log;
use crate::support::{Answer, Client, Upstream};

pub(crate) const ORIGIN: &str = "https://api.example.com";

pub(crate) struct Scene {
    pub(crate) front: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// Of `listen.decisions`, where that is set.
    pub(crate) decisions: Option<SocketAddr>,
    pub(crate) stop: Stop,
    live: Arc<Live>,
    text: String,
    issuer: Issuer,
    client: cast::Client,
    _upstream: Upstream,
    hung: Receiver<()>,
    keys: tempfile::TempDir,
    _running: Running,
    serving: Vec<JoinHandle<Drained>>,
}

/// The listeners that need these settings.
pub(crate) const DECIDING: &str =
    "decisions = \"127.0.0.1:0\"\next_authz = \"127.0.0.1:0\"\ndecision_peers = [\"127.0.0.1\"]";

impl Scene {
    /// With routes `/` (required), `/report` and `/open`; `listen` and `more` are added to the configuration.
    pub(crate) fn new(listen: &str, more: &str) -> Self {
        log::begin();
        let (issuer, client) = (Issuer::new().unwrap(), cast::Client::new().unwrap());
        let keys = tempfile::tempdir().unwrap();
        std::fs::write(keys.path().join("jwks.json"), issuer.jwks()).unwrap();
        let (hangs, hung) = channel();
        let upstream = upstream(hangs);
        let route = |path, mode| {
            format!("[[route]]\npath = \"{path}\"\nmode = \"{mode}\"\nupstream = [\"http://{}\"]\n", upstream.address)
        };
        let routes = route("/", "required") + &route("/report", "report") + &route("/open", "open");
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n{listen}\n[log]\ndecisions = \"all\"\n\
             [[origin]]\nurl = \"{ORIGIN}\"\n\
             [[issuer]]\nurl = \"{ISSUER}\"\naudience = [\"{ORIGIN}\"]\njwks_file = \"jwks.json\"\n{routes}{more}"
        );
        let config = Config::parse(&text, &keys.path().join("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
        let (front, admin) =
            (Front::bind(&config.listen, &config.limits).unwrap(), Admin::bind(&config.listen).unwrap());
        let mut sockets = Sockets::default();
        let asked = config.listen.decisions.as_ref();
        let decisions =
            asked.map(|own| Front::bind_decisions_among(&mut sockets, own, &config.listen, &config.limits).unwrap());
        let asked = config.listen.ext_authz.as_ref();
        let ext_authz =
            asked.map(|own| Front::bind_ext_authz_among(&mut sockets, own, &config.listen, &config.limits).unwrap());
        let stop = Stop::new();
        let live = Arc::new(Live::new(Engine::new(config).unwrap()));
        let shown = Shown::new(Arc::clone(&live), front.connections(), &stop).log_level(level());
        let shown = shown.deciding(decisions.as_ref(), ext_authz.as_ref());
        let addresses = (front.address().unwrap(), admin.address().unwrap());
        let asked_at = decisions.as_ref().map(|front| front.address().unwrap());
        let (stopped, serving) = (stop.clone(), Arc::clone(&live));
        let clients =
            thread::spawn(move || front.run(|proxy| Stack::new(Arc::clone(&serving), proxy), &stopped).unwrap());
        let decisions = decisions.map(|front| decide(front, &live, &stop, Decisions::new));
        let ext_authz = ext_authz.map(|front| decide(front, &live, &stop, ExtAuthz::new));
        Self {
            front: addresses.0,
            admin: addresses.1,
            decisions: asked_at,
            stop,
            live,
            text,
            issuer,
            client,
            _upstream: upstream,
            hung,
            keys,
            _running: admin.start(shown).unwrap(),
            serving: [Some(clients), decisions, ext_authz].into_iter().flatten().collect(),
        }
    }

    /// Puts the configuration into force with `old` replaced by `new`.
    pub(crate) fn reload(&self, old: &str, new: &str) {
        assert!(self.text.contains(old));
        let text = self.text.replace(old, new);
        self.live.reload(Config::parse(&text, &self.keys.path().join("test.toml")).unwrap()).unwrap();
    }

    /// As at the end of the process.
    pub(crate) fn end(&self) {
        self.live.end();
    }

    /// A token for this client of the issuer, bound to our key.
    pub(crate) fn token(&self, client: &str) -> String {
        let mut claims = Issuer::claims(&self.client, ORIGIN, "read", cast::now());
        claims["client_id"] = client.into();
        self.issuer.sign(&claims).unwrap()
    }

    /// One that is bound to nobody.
    pub(crate) fn bearer(&self, client: &str) -> String {
        let mut claims = Issuer::claims(&self.client, ORIGIN, "read", cast::now());
        claims["client_id"] = client.into();
        claims.as_object_mut().unwrap().remove("cnf");
        self.issuer.sign(&claims).unwrap()
    }

    pub(crate) fn proof(&self, path: &str, token: &str, nonce: Option<&str>) -> String {
        self.client.prove(&Method::GET, &format!("{ORIGIN}{path}"), token, nonce, cast::now()).unwrap()
    }

    pub(crate) fn jkt(&self) -> String {
        self.client.jkt()
    }

    /// Returns when the upstream has got a request that it lets hang.
    pub(crate) fn hung(&self) {
        self.hung.recv().unwrap();
    }

    /// `GET path` at the gateway, with these lines of fields.
    pub(crate) fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        ask(self.front, "GET", path, "api.example.com", fields, "")
    }

    /// `GET path` at the admin listener.
    pub(crate) fn look(&self, path: &str) -> Answer {
        ask(self.admin, "GET", path, "localhost", &[], "")
    }

    /// The JSON there.
    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.look(path).body).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        ask(self.admin, "POST", path, "localhost", &[], body)
    }

    /// The value of a metric with these labels; `None` if it is not there.
    pub(crate) fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.look("/metrics").text();
        let mut values = text.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
        values.next()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.now();
        if !thread::panicking() {
            for serving in self.serving.drain(..) {
                serving.join().unwrap();
            }
        }
    }
}

/// Answers questions of other proxies until `stop`.
fn decide<H: Handler>(front: Front, live: &Arc<Live>, stop: &Stop, make: fn(Arc<Live>) -> H) -> JoinHandle<Drained> {
    let (live, stop) = (Arc::clone(live), stop.clone());
    thread::spawn(move || front.run(|_| make(Arc::clone(&live)), &stop).unwrap())
}

/// Answers everything but what asks it to hang, which it says and does until it is left.
fn upstream(hangs: Sender<()>) -> Upstream {
    Upstream::doing(move |mut client| {
        while let Some(head) = client.head() {
            client.body(&head);
            if head.starts_with("GET /open/hang") {
                let _ = hangs.send(());
                client.read_out();
                return;
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    })
}

/// One request on a connection of its own.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    host: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut client = Client::to(address);
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    client.send(format!("{text}Content-Length: {}\r\n\r\n{body}", body.len()));
    client.answer()
}

/// A log of its own, whose level is `info` and can only become `debug`.
fn level() -> LogLevel {
    let level = Arc::new(std::sync::Mutex::new("info".to_owned()));
    let held = Arc::clone(&level);
    LogLevel::new(
        move || held.lock().unwrap().clone(),
        move |filter| match filter {
            "debug" => {
                *level.lock().unwrap() = filter.to_owned();
                Ok(())
            }
            _ => Err(format!("{filter:?} is not a level")),
        },
    )
}

/// The folder of this crate.
pub(crate) fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
