//! A gateway with its checks, an issuer whose key it knows from a file, and a client that proves its key.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer as _};
use keybound::jws::encode_base64url;
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound_gateway::config::Config;
use keybound_gateway::engine::Engine;
use keybound_gateway::front::{Front, Stop};
use keybound_gateway::reload::Live;
use keybound_gateway::stack::Stack;
use serde_json::json;

const ISSUER: &str = "https://id.example.com";
pub(crate) const ORIGIN: &str = "https://api.example.com";
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway in this process. It stops when dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    issuer: SoftwareKey,
    stop: Stop,
    running: Option<JoinHandle<()>>,
}

impl Gateway {
    /// With these routes and settings; listener, origin and issuer are added.
    pub(crate) fn with(text: &str) -> Self {
        let issuer = SoftwareKey::generate(Alg::Es256).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jwks.json"), format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json()))
            .unwrap();
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = {ORIGIN:?}\n\
             [[issuer]]\nurl = {ISSUER:?}\naudience = [{ORIGIN:?}]\njwks_file = \"jwks.json\"\n{text}"
        );
        let config = Config::parse(&text, &folder.path().join("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
        let front = Front::bind(&config.listen, &config.limits).unwrap();
        let address = front.address().unwrap();
        let live = Arc::new(Live::new(Engine::new(config).unwrap()));
        let stop = Stop::new();
        let stopped = stop.clone();
        let running = thread::spawn(move || {
            front.run(|proxy| Stack::new(Arc::clone(&live), proxy), &stopped).unwrap();
        });
        Self { address, issuer, stop, running: Some(running) }
    }

    /// A caller with a token that is bound to its key.
    pub(crate) fn caller(&self) -> Caller {
        let key = SoftwareKey::generate(Alg::Es256).unwrap();
        let (now, jkt) = (now().as_secs(), key.thumbprint().to_string());
        let claims = json!({
            "iss": ISSUER, "aud": ORIGIN, "sub": "alice", "client_id": "app", "scope": "read", "jti": "t-1",
            "iat": now, "exp": now + 600, "cnf": {"jkt": jkt},
        });
        let header = json!({"typ": "at+jwt", "alg": self.issuer.alg().name()}).to_string();
        let signed = [header, claims.to_string()].map(|part| encode_base64url(part.as_bytes())).join(".");
        let signature = encode_base64url(&self.issuer.sign(signed.as_bytes()).unwrap());
        let prover = Prover::of(&key).unwrap();
        Caller { key, prover, token: format!("{signed}.{signature}") }
    }

    pub(crate) fn connect(&self) -> Wire {
        Wire::to(self.address)
    }

    /// A nonce, as anybody gets one who tries without.
    pub(crate) fn nonce(&self, caller: &Caller, path: &str) -> String {
        let mut wire = self.connect();
        wire.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{}\r\n", caller.fields("GET", path, None)));
        let head = wire.head();
        assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
        field(&head, "dpop-nonce").expect("a nonce").to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(running) = self.running.take()
            && !thread::panicking()
        {
            running.join().unwrap();
        }
    }
}

fn now() -> UnixTime {
    SystemTime::now().into()
}

/// Holds a token and the key it is bound to.
pub(crate) struct Caller {
    key: SoftwareKey,
    prover: Prover,
    pub(crate) token: String,
}

impl Caller {
    /// A proof for one request with this token.
    pub(crate) fn prove(&self, method: &str, path: &str, nonce: Option<&str>) -> String {
        let method: Method = method.parse().unwrap();
        let target = TargetUri::parse(&format!("{ORIGIN}{path}")).unwrap();
        let credentials = Credentials::new(&self.token).unwrap();
        let nonce = nonce.and_then(Nonce::parse);
        let mut claims = ProofClaims::new(&method, &target, random_array().unwrap(), now()).credentials(&credentials);
        if let Some(nonce) = &nonce {
            claims = claims.nonce(nonce);
        }
        self.prover.prepare(&claims).sign(&self.key).unwrap().as_str().to_owned()
    }

    /// Token and proof as lines of a header.
    pub(crate) fn fields(&self, method: &str, path: &str, nonce: Option<&str>) -> String {
        format!("Authorization: DPoP {}\r\nDPoP: {}\r\n", self.token, self.prove(method, path, nonce))
    }
}

/// A connection, in octets.
pub(crate) struct Wire(BufReader<TcpStream>);

impl Wire {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, octets: &str) {
        self.0.get_mut().write_all(octets.as_bytes()).unwrap();
    }

    /// One line, without its end; nothing at the end of the connection.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A header, to its empty line.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "ended inside a header: {head:?}");
        }
        head
    }

    pub(crate) fn exactly(&mut self, length: usize) -> String {
        let mut octets = vec![0; length];
        self.0.read_exact(&mut octets).unwrap();
        String::from_utf8(octets).unwrap()
    }
}

/// The value of a field in a header.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Does `serve` on every connection to a port of its own, in a thread each.
pub(crate) fn upstream(serve: impl Fn(Wire) + Send + Sync + 'static) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(Wire::over(stream.unwrap())));
        }
    });
    address
}

/// One route for everything.
pub(crate) fn route(upstream: &str, more: &str) -> String {
    format!("[[route]]\npath = \"/\"\nupstream = [{upstream:?}]\n{more}")
}
