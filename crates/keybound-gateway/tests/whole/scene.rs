//! An issuer whose keys are in a file, a client that proves its key, and a gateway between it and an upstream.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer};
use keybound::jws::encode_base64url;
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound_gateway::admin::{self, Admin, Shown};
use keybound_gateway::config::{Config, ConfigErrors};
use keybound_gateway::decisions::{Decisions, ExtAuthz};
use keybound_gateway::engine::Engine;
use keybound_gateway::front::{Front, Handler, Sockets, Stop};
use keybound_gateway::reload::Live;
use keybound_gateway::stack::Stack;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Client};

pub(crate) const ORIGIN: &str = "https://api.example.com";
pub(crate) const ISSUER: &str = "https://id.example.com";

/// The folder of a configuration, and those who have to do with it.
pub(crate) struct Scene {
    folder: TempDir,
    issuer: SoftwareKey,
    key: SoftwareKey,
    prover: Prover,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let key = SoftwareKey::generate(Alg::Es256).unwrap();
        let prover = Prover::of(&key).unwrap();
        let issuer = SoftwareKey::generate(Alg::Es256).unwrap();
        let scene = Self { folder: tempfile::tempdir().unwrap(), issuer, key, prover };
        scene.write_keys();
        scene
    }

    /// The issuer signs with another key from now on, which stands in the file instead.
    pub(crate) fn turn_keys(&mut self) {
        self.issuer = SoftwareKey::generate(Alg::Es256).unwrap();
        self.write_keys();
    }

    fn write_keys(&self) {
        self.write("issuer.jwks.json", &self.jwks());
    }

    pub(crate) fn jwks(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.issuer.public_jwk().to_json())
    }

    /// The same with one key more.
    pub(crate) fn jwks_with(&self, other: &SoftwareKey) -> String {
        let keys = [&self.issuer, other].map(|key| key.public_jwk().to_json());
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// A configuration with this at its end; where to listen, the origin and the issuer are said.
    pub(crate) fn text(rest: &str) -> String {
        format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 2\n[[origin]]\nurl = \"{ORIGIN}\"\n\
             [[issuer]]\nurl = \"{ISSUER}\"\naudience = [\"{ORIGIN}\"]\njwks_file = \"issuer.jwks.json\"\n{rest}"
        )
    }

    pub(crate) fn try_config(&self, text: &str) -> Result<Config, ConfigErrors> {
        Config::parse(text, &self.path("keybound.toml"))
    }

    pub(crate) fn config(&self, rest: &str) -> Config {
        self.try_config(&Self::text(rest)).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// A gateway with [`Scene::config`], and a listener for [`Running::metric`].
    pub(crate) fn gateway_with_metrics(&self, rest: &str) -> Running {
        let text = Self::text(rest).replace("[listen]\n", "[listen]\nadmin = \"127.0.0.1:0\"\n");
        Running::begin(self.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")), true)
    }

    /// A gateway with [`Scene::config`].
    pub(crate) fn gateway(&self, rest: &str) -> Running {
        Running::start(self.config(rest))
    }

    /// A decision listener with [`Scene::config`], for questions from this machine.
    pub(crate) fn deciding(&self, rest: &str) -> Deciding {
        self.deciding_for("127.0.0.1", "", rest)
    }

    /// For questions from `peer`; `origins` are added to the one.
    pub(crate) fn deciding_for(&self, peer: &str, origins: &str, rest: &str) -> Deciding {
        let listener = format!("[listen]\ndecisions = \"127.0.0.1:0\"\ndecision_peers = [\"{peer}\"]\n");
        let text = Self::text(&format!("{origins}{rest}")).replace("[listen]\n", &listener);
        Deciding(Running::deciding(self.try_config(&text).unwrap_or_else(|errors| panic!("{errors}"))))
    }

    /// A listener for Envoy with [`Scene::config`], for questions from `peer`; `origins` are added to the one.
    pub(crate) fn for_envoy(&self, peer: &str, origins: &str, rest: &str) -> Running {
        let listener = format!("[listen]\next_authz = \"127.0.0.1:0\"\ndecision_peers = [\"{peer}\"]\n");
        let text = Self::text(&format!("{origins}{rest}")).replace("[listen]\n", &listener);
        let config = self.try_config(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let front = Front::bind_ext_authz_among(
            &mut Sockets::default(),
            config.listen.ext_authz.as_ref().unwrap(),
            &config.listen,
            &config.limits,
        );
        Running::asked(config, front.unwrap(), ExtAuthz::new)
    }

    fn claims(&self) -> Value {
        let now = now().as_secs();
        json!({
            "iss": ISSUER, "aud": ORIGIN, "sub": "alice", "client_id": "orders-app", "scope": "orders:read", "jti": "t-1",
            "iat": now, "exp": now + 600, "cnf": {"jkt": self.key.thumbprint().to_string()},
        })
    }

    /// A token bound to the client's key.
    pub(crate) fn token(&self) -> String {
        self.sign(&self.claims())
    }

    /// A token bound to the client's key, with these claims changed.
    pub(crate) fn token_with(&self, change: &Value) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.sign(&claims)
    }

    /// Of the client's key.
    pub(crate) fn thumbprint(&self) -> String {
        self.key.thumbprint().to_string()
    }

    /// A token for whoever has it.
    pub(crate) fn unbound_token(&self) -> String {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove("cnf");
        self.sign(&claims)
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as("at+jwt", claims)
    }

    /// What the issuer signs with this type.
    pub(crate) fn sign_as(&self, typ: &str, claims: &Value) -> String {
        let header = json!({"typ": typ, "alg": self.issuer.alg().name()}).to_string();
        let signed = [header, claims.to_string()].map(|part| encode_base64url(part.as_bytes())).join(".");
        let signature = encode_base64url(&self.issuer.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{signature}")
    }

    pub(crate) fn proof(&self, method: Method, path: &str, token: &str, nonce: Option<&str>) -> String {
        self.proof_at(now(), method, path, token, nonce)
    }

    /// A proof with this `iat`.
    pub(crate) fn proof_at(
        &self,
        iat: UnixTime,
        method: Method,
        path: &str,
        token: &str,
        nonce: Option<&str>,
    ) -> String {
        let target = TargetUri::parse(&[ORIGIN, path].concat()).unwrap();
        let credentials = Credentials::new(token).unwrap();
        let nonce = nonce.map(|nonce| Nonce::parse(nonce).unwrap());
        let mut claims = ProofClaims::new(&method, &target, random_array().unwrap(), iat).credentials(&credentials);
        if let Some(nonce) = &nonce {
            claims = claims.nonce(nonce);
        }
        self.prover.prepare(&claims).sign(&self.key).unwrap().as_str().to_owned()
    }

    /// The fields of a request with a new token and a new proof.
    pub(crate) fn credentials(&self, method: Method, path: &str, nonce: Option<&str>) -> String {
        let token = self.token();
        format!("Authorization: DPoP {token}\r\nDPoP: {}\r\n", self.proof(method, path, &token, nonce))
    }

    /// A nonce of this gateway: its replay memory is new, so that it asks for one.
    pub(crate) fn nonce(&self, gateway: &Running, path: &str) -> String {
        let answer = gateway.get(path, &self.credentials(Method::GET, path, None));
        assert_eq!(answer.reason(), "nonce.barrier");
        answer.field("dpop-nonce").unwrap().to_owned()
    }
}

pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

/// A route with these settings.
pub(crate) fn route(path: &str, upstream: SocketAddr, settings: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nupstream = [\"http://{upstream}\"]\n{settings}\n")
}

/// A gateway in this process. It stops when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) live: Arc<Live>,
    admin: Option<(SocketAddr, admin::Running)>,
    stop: Stop,
    thread: Option<JoinHandle<usize>>,
}

impl Running {
    pub(crate) fn start(config: Config) -> Self {
        Self::begin(config, false)
    }

    fn begin(config: Config, has_metrics: bool) -> Self {
        let front = Front::bind(&config.listen, &config.limits).unwrap();
        let address = front.address().unwrap();
        let admin = has_metrics.then(|| Admin::bind(&config.listen).unwrap());
        let live = Arc::new(Live::new(Engine::new(config).unwrap()));
        let stop = Stop::new();
        let shown = Shown::new(Arc::clone(&live), front.connections(), &stop);
        let admin = admin.map(|admin| (admin.address().unwrap(), admin.start(shown).unwrap()));
        let (shared, stopped) = (Arc::clone(&live), stop.clone());
        let serve = move || front.run(|proxy| Stack::new(Arc::clone(&shared), proxy), &stopped).unwrap().cut_off;
        Self { address, live, admin, stop, thread: Some(thread::spawn(serve)) }
    }

    /// The listener for decisions instead of the one for clients.
    fn deciding(config: Config) -> Self {
        let decisions = config.listen.decisions.as_ref().unwrap();
        let front = Front::bind_decisions(decisions, &config.listen, &config.limits).unwrap();
        Self::asked(config, front, Decisions::new)
    }

    fn asked<H: Handler>(config: Config, front: Front, make: fn(Arc<Live>) -> H) -> Self {
        let address = front.address().unwrap();
        let live = Arc::new(Live::new(Engine::new(config).unwrap()));
        let stop = Stop::new();
        let (shared, stopped) = (Arc::clone(&live), stop.clone());
        let serve = move || front.run(|_| make(Arc::clone(&shared)), &stopped).unwrap().cut_off;
        Self { address, live, admin: None, stop, thread: Some(thread::spawn(serve)) }
    }

    /// The value of a line of its metrics, if it has a listener for them.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut client = Client::to(self.admin.as_ref().expect("an admin listener").0);
        client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let text = client.answer().text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// One request with these fields, each ended by CRLF, on a connection of its own.
    pub(crate) fn get(&self, path: &str, fields: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n"))
    }

    pub(crate) fn send(&self, octets: impl AsRef<[u8]>) -> Answer {
        let mut client = Client::to(self.address);
        client.send(octets);
        client.answer()
    }
}

/// A decision listener in this process.
pub(crate) struct Deciding(Running);

impl Deciding {
    /// A question with these fields, each ended by CRLF.
    pub(crate) fn ask(&self, fields: &str) -> Answer {
        self.0.send(format!("GET /ask HTTP/1.1\r\nHost: keybound\r\n{fields}\r\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(thread) = self.thread.take()
            && !thread::panicking()
        {
            assert_eq!(thread.join().unwrap(), 0, "requests were cut off");
        }
    }
}
