//! An issuer in this process under a clock turned by hand, a client that speaks in octets, and JWTs with anything in them.

#[path = "../stores/mod.rs"]
pub(crate) mod stores;

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use keybound::authorization_server::{ASSERTION_TYPE, AuthorizationServer};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer};
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayStore};
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use keybound::verify::{NoncePolicy, Verifier, VerifierBuilder};
use keybound_issuer::audit::{Noted, Query};
use keybound_issuer::store::Store;
use keybound_issuer::{
    Authentication, Client as Registered, Clock, GrantType, Issuer, IssuerConfig, Keys, ProofEndpoint, Secret,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) use self::stores::Place;

/// When the tests play.
pub(crate) const START: u64 = 1_700_000_000;
/// What the issuer is called; its listener is elsewhere, as behind a proxy.
pub(crate) const ISSUER: &str = "https://id.example.com";
/// What one is called that approves by itself.
pub(crate) const LOCAL: &str = "http://localhost:8090";
/// Where the clients of people have them sent back.
pub(crate) const REDIRECT: &str = "https://app.example.com/back";
/// What a proof for it names.
pub(crate) const ENDPOINT: &str = "https://id.example.com/token";
/// The secret of every client that has one.
pub(crate) const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";
/// What hostile requests hold where they can: no answer may.
pub(crate) const MARK: &str = "zebra7";

/// What strangers may leave, where a test fills it.
pub(crate) const LITTLE_ROOM: usize = 1 << 20;

/// No wait in a test is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes proofs.
pub(crate) static HOLDER: LazyLock<SoftwareKey> = LazyLock::new(|| SoftwareKey::generate(Alg::Es256).unwrap());
/// Somebody else's.
pub(crate) static THIEF: LazyLock<SoftwareKey> = LazyLock::new(|| SoftwareKey::generate(Alg::Es256).unwrap());
/// The client `signer` signs assertions with it.
pub(crate) static SIGNER: LazyLock<SoftwareKey> = LazyLock::new(|| SoftwareKey::generate(Alg::Es256).unwrap());

/// How a server is to be.
pub(crate) struct Setup {
    issuer: &'static str,
    opened: u64,
    limits: MemoryLimits,
    verifier: VerifierBuilder,
    paused: bool,
    store: Option<Arc<dyn Store>>,
    seconds: Arc<AtomicU64>,
    keys: Option<Keys>,
    nonces_at: Vec<(ProofEndpoint, NoncePolicy)>,
    change: fn(IssuerConfig) -> IssuerConfig,
}

impl Setup {
    /// Nonces are offered, and the replay memory has been there for days: no barrier stands.
    pub(crate) fn new() -> Self {
        let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
        Self {
            issuer: ISSUER,
            opened: START - 2 * 86_400,
            limits: MemoryLimits::new(),
            verifier: Verifier::builder(Arc::new(AwsLc), nonces),
            paused: false,
            store: None,
            seconds: Arc::new(AtomicU64::new(START)),
            keys: None,
            nonces_at: Vec::new(),
            change: |config| config,
        }
    }

    /// On loopback, where the user `alice` agrees to everything: it is called [`LOCAL`].
    pub(crate) const fn approving(mut self) -> Self {
        self.issuer = LOCAL;
        self.change = |config| config.auto_approve("alice");
        self
    }

    /// Where clients may register themselves.
    pub(crate) const fn registering(mut self, change: fn(IssuerConfig) -> IssuerConfig) -> Self {
        self.issuer = LOCAL;
        self.change = change;
        self
    }

    /// With other settings.
    pub(crate) const fn changed(mut self, change: fn(IssuerConfig) -> IssuerConfig) -> Self {
        self.change = change;
        self
    }

    /// With a store of its own, which may outlive it.
    pub(crate) fn keeping(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The clock, which goes by whoever turns it.
    pub(crate) fn seconds(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.seconds)
    }

    /// Signs with these keys, as another one may that comes before or after it.
    pub(crate) fn signing(mut self, keys: &Keys) -> Self {
        self.keys = Some(keys.clone());
        self
    }

    /// With another identifier.
    pub(crate) const fn issuer(mut self, issuer: &'static str) -> Self {
        self.issuer = issuer;
        self
    }

    pub(crate) fn nonces(mut self, policy: NoncePolicy) -> Self {
        self.verifier = self.verifier.nonce_policy(policy);
        self
    }

    /// With another policy at one endpoint.
    pub(crate) fn nonces_at(mut self, endpoint: ProofEndpoint, policy: NoncePolicy) -> Self {
        self.nonces_at.push((endpoint, policy));
        self
    }

    pub(crate) fn algorithms(mut self, algs: AlgSet) -> Self {
        self.verifier = self.verifier.algorithms(algs);
        self
    }

    /// So many live proofs of one key.
    pub(crate) const fn quota(mut self, entries: u32) -> Self {
        self.limits = self.limits.per_key(entries);
        self
    }

    /// The process started at [`START`], with an empty memory.
    pub(crate) const fn just_started(mut self) -> Self {
        self.opened = START;
        self
    }

    /// The timers of the server run as fast as nothing happens. What it is to read must be there before it starts.
    pub(crate) const fn time_flies(mut self) -> Self {
        self.paused = true;
        self
    }

    pub(crate) fn start(self) -> Server {
        let (server, _) = self.start_after(|_| ());
        server
    }

    /// Calls `first` with the address while the listener is there and nobody serves yet.
    pub(crate) fn start_after<T>(self, first: impl FnOnce(SocketAddr) -> T) -> (Server, T) {
        let epoch = Epoch::new(self.opened, UnixTime::from_secs(self.opened));
        let store = MemoryStore::new(self.limits, [7; 16], epoch).unwrap();
        self.over(store, first)
    }

    /// Remembers in this store.
    pub(crate) fn over<T>(self, store: impl ReplayStore + 'static, first: impl FnOnce(SocketAddr) -> T) -> (Server, T) {
        let (seconds, read) = (Arc::clone(&self.seconds), self.seconds);
        let clock = Clock::new(move || UnixTime::from_secs(read.load(Ordering::SeqCst)));
        let server = AuthorizationServer::new(self.verifier.build().unwrap());
        let keys = self.keys.unwrap_or_else(|| Keys::generate().unwrap());
        let config = (self.change)(config(self.issuer));
        let config = self.nonces_at.into_iter().fold(config, |config, (at, policy)| config.nonce_policy(at, policy));
        let place = self.store.is_none().then(Place::new);
        let kept = self.store.or_else(|| Some(place.as_ref()?.open(store.epoch().opened()))).unwrap();
        let issuer = Issuer::with_store(config, keys, server, Arc::new(store), kept, clock).unwrap();

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let first = first(address);
        let (stop, stopped) = oneshot::channel();
        let serving = issuer.clone();
        let running = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(self.paused).build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                serving.serve(listener, async move { drop(stopped.await) }).await.unwrap();
            });
        });
        (
            Server {
                address,
                issuer,
                seconds,
                refused: Mutex::default(),
                stop: Some(stop),
                running: Some(running),
                _place: place,
            },
            first,
        )
    }
}

/// What [`SIGNER`] signs is verified with them.
pub(crate) fn keys_of_signer() -> KeySet {
    let keys = json!({ "keys": [serde_json::from_str::<Value>(&SIGNER.public_jwk().to_json()).unwrap()] });
    KeySet::read_strictly(keys.to_string().as_bytes(), &AwsLc, AlgSet::ALL).unwrap()
}

fn config(issuer: &str) -> IssuerConfig {
    let secret = || Secret::new(SECRET.to_owned()).unwrap();
    let keys = keys_of_signer();
    let client = |id, authentication| {
        Registered::new(id, authentication).grant_type(GrantType::ClientCredentials).scope("read write")
    };
    IssuerConfig::new(issuer, "https://api.example.com")
        .audience("https://billing.example.com")
        .client(client("basic", Authentication::SecretBasic(secret())))
        .client(client("post", Authentication::SecretPost(secret())))
        .client(client("signer", Authentication::PrivateKeyJwt(keys.clone())))
        .client(client("bound", Authentication::SecretBasic(secret())).dpop_bound_access_tokens())
        .client(client("odd:id & co", Authentication::SecretBasic(Secret::new("p%:+ &é".to_owned()).unwrap())))
        .client(Registered::new("idle", Authentication::SecretBasic(secret())).scope("read"))
        .client(Registered::new("public", Authentication::None))
        .client(
            of_people(client("web", Authentication::SecretBasic(secret())))
                .grant_type(GrantType::TokenExchange)
                .post_logout_redirect_uri("https://app.example.com/bye"),
        )
        .client(of_people(client("objects", Authentication::SecretPost(secret()))).keys(keys.clone()))
        .client(of_people(Registered::new("app", Authentication::None).scope("openid read write")))
        .client(
            of_people(Registered::new("leaver", Authentication::None).scope("openid"))
                .post_logout_redirect_uri("https://app.example.com/bye"),
        )
        .client(of_people(Registered::new("bound-app", Authentication::None).scope("read")).dpop_bound_access_tokens())
}

/// Whose users are sent back.
fn of_people(client: Registered) -> Registered {
    client
        .grant_type(GrantType::AuthorizationCode)
        .grant_type(GrantType::RefreshToken)
        .grant_type(GrantType::DeviceCode)
        .redirect_uri(REDIRECT)
        .redirect_uri("http://127.0.0.1/back")
}

/// An issuer on a port of its own. It stops when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) issuer: Issuer,
    seconds: Arc<AtomicU64>,
    /// How often an answer said a reason.
    refused: Mutex<HashMap<String, usize>>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    /// Of its store, if that is its own.
    _place: Option<Place>,
}

impl Server {
    /// Turns the clock.
    pub(crate) fn turn(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// What time it is there.
    pub(crate) fn now(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst)
    }

    /// A proof for a token request, good in every way.
    pub(crate) fn proof(&self) -> Jws {
        Jws::proof(&HOLDER, self.now())
    }

    /// An assertion of the client `signer`, good in every way.
    pub(crate) fn assertion(&self) -> Jws {
        Jws::assertion(&SIGNER, self.now())
    }

    /// One request on a connection of its own.
    pub(crate) fn raw(&self, octets: impl AsRef<[u8]>) -> Answer {
        let mut connection = Connection::to(self.address);
        connection.send(octets);
        let answer = connection.answer().expect("a response");
        self.assert_noted(&answer);
        answer
    }

    /// How often this is answered with that status before it is answered with another one, which comes as well; all on one connection,
    /// and nothing else is looked at.
    pub(crate) fn repeat(&self, request: &Request, status: u16) -> (usize, Answer) {
        let mut connection = Connection::to(self.address);
        let mut times = 0;
        loop {
            connection.send(request.octets());
            let answer = connection.answer().expect("a response");
            if answer.status != status {
                return (times, answer);
            }
            times += 1;
            assert!(times < 20_000, "there is no end of it");
        }
    }

    /// Every refusal is in the audit log, with its reason; and nothing that was given away is in an entry.
    #[track_caller]
    fn assert_noted(&self, answer: &Answer) {
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let reason = match answer.field("location").and_then(|uri| uri.split_once("error_description=")) {
            Some((_, rest)) => rest.split('&').next(),
            None => body["error_description"].as_str(),
        };
        let secrets = ["access_token", "refresh_token", "id_token", "device_code", "user_code", "request_uri"];
        let secrets = secrets.into_iter().chain(["client_secret", "registration_access_token"]);
        let secrets: Vec<&str> = secrets.filter_map(|name| body[name].as_str()).chain([SECRET]).collect();
        if reason.is_none_or(|reason| reason.starts_with("store.")) && secrets.len() == 1 {
            return;
        }
        let reason = reason.filter(|reason| !reason.starts_with("store."));
        // Others may be refused at the same time: the answers up to here have their entries by now.
        let answered = reason.map(|reason| {
            let mut refused = self.refused.lock().unwrap();
            let answered = refused.entry(reason.to_owned()).or_insert(0);
            *answered += 1;
            *answered
        });
        let administration = self.issuer.administration();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let list = || runtime.block_on(administration.entries(&Query::default())).unwrap();
        let (mut page, end) = (list(), Instant::now() + PATIENCE);
        // An answer waits for two seconds for its entry.
        while page.next.is_none()
            && answered.is_some_and(|answered| {
                let is_one = |noted: &&Noted| noted.entry.reason.as_deref() == reason;
                page.entries.iter().filter(is_one).count() < answered
            })
        {
            assert!(Instant::now() < end, "not noted: {answer:?}");
            thread::sleep(Duration::from_millis(10));
            page = list();
        }
        let entries: Vec<_> = page.entries.iter().map(|noted| &noted.entry).collect();
        let text = serde_json::to_string(&entries).unwrap();
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }

    /// A token request, and what every answer of the token endpoint has, whatever else it says.
    pub(crate) fn token(&self, request: &Request) -> Answer {
        let answer = self.raw(request.octets());
        answer.assert_of_a_token_endpoint();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take()
            && !thread::panicking()
        {
            running.join().unwrap();
        }
    }
}

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Request {
    line: String,
    fields: Vec<String>,
    body: String,
}

impl Request {
    /// Anything, with `Host` and nothing else.
    pub(crate) fn new(line: &str) -> Self {
        Self { line: line.to_owned(), fields: vec!["Host: id.example.com".to_owned()], body: String::new() }
    }

    /// A token request of nobody, for `client_credentials`.
    pub(crate) fn token() -> Self {
        Self::new("POST /token")
            .field("Content-Type: application/x-www-form-urlencoded")
            .body("grant_type=client_credentials")
    }

    /// A token request of the client `basic`.
    pub(crate) fn of_basic() -> Self {
        Self::token().basic("basic", SECRET)
    }

    pub(crate) fn field(mut self, line: impl Into<String>) -> Self {
        self.fields.push(line.into());
        self
    }

    /// In place of any field of this name.
    pub(crate) fn only_field(mut self, line: &str) -> Self {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        self.fields.retain(|field| field.split(':').next().unwrap_or_default().to_ascii_lowercase() != name);
        self.field(line)
    }

    pub(crate) fn basic(self, id: &str, secret: &str) -> Self {
        self.field(format!("Authorization: Basic {}", BASE64.encode(format!("{id}:{secret}").as_bytes())))
    }

    pub(crate) fn dpop(self, proof: &Jws) -> Self {
        self.field(format!("DPoP: {}", proof.text()))
    }

    pub(crate) fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// One more parameter, encoded already.
    pub(crate) fn with(mut self, parameter: &str) -> Self {
        self.body.push('&');
        self.body.push_str(parameter);
        self
    }

    /// Authenticates by an assertion.
    pub(crate) fn assertion(self, text: &str) -> Self {
        self.with(&format!("client_assertion_type={}", ASSERTION_TYPE.replace(':', "%3A")))
            .with(&format!("client_assertion={text}"))
    }

    pub(crate) fn octets(&self) -> Vec<u8> {
        let length = self.body.len();
        format!(
            "{} HTTP/1.1\r\n{}\r\nContent-Length: {length}\r\n\r\n{}",
            self.line,
            self.fields.join("\r\n"),
            self.body
        )
        .into_bytes()
    }
}

/// A compact JWS in the making: what `key` would sign.
#[derive(Clone)]
pub(crate) struct Jws {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    key: &'static SoftwareKey,
}

impl Jws {
    /// A proof by this key for a token request.
    pub(crate) fn proof(key: &'static SoftwareKey, now: u64) -> Self {
        let jwk: Value = serde_json::from_str(&key.public_jwk().to_json()).unwrap();
        Self {
            header: json!({ "typ": "dpop+jwt", "alg": key.alg().name(), "jwk": jwk }),
            claims: json!({ "jti": unique(), "htm": "POST", "htu": ENDPOINT, "iat": now }),
            key,
        }
    }

    /// A request object of the client `objects` with these parameters.
    pub(crate) fn request_object(parameters: &[(&'static str, String)], now: u64) -> Self {
        let key: &'static SoftwareKey = &SIGNER;
        let mut claims = json!({ "iss": "objects", "client_id": "objects", "aud": LOCAL, "iat": now, "exp": now + 60 });
        for (name, value) in parameters {
            claims[*name] = value.as_str().into();
        }
        Self { header: json!({ "typ": "oauth-authz-req+jwt", "alg": key.alg().name() }), claims, key }
    }

    fn assertion(key: &'static SoftwareKey, now: u64) -> Self {
        Self {
            header: json!({ "typ": "JWT", "alg": key.alg().name() }),
            claims: json!({
                "iss": "signer", "sub": "signer", "aud": ISSUER, "jti": unique(), "iat": now, "exp": now + 60
            }),
            key,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    pub(crate) fn jwk(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header["jwk"][name] = value.into();
        self
    }

    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.header.as_object_mut().unwrap().remove(name);
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    /// Signed by somebody else.
    pub(crate) const fn signed_by(mut self, key: &'static SoftwareKey) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn text(&self) -> String {
        self.text_of(&self.header.to_string(), &self.claims.to_string())
    }

    /// With these very octets as header and payload.
    pub(crate) fn text_of(&self, header: &str, payload: &str) -> String {
        let signed = [encode_base64url(header.as_bytes()), encode_base64url(payload.as_bytes())].join(".");
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        [signed, encode_base64url(&signature)].join(".")
    }
}

fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("jti-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A connection, in octets.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).unwrap();
    }

    /// Sends until the other side takes no more; how much it took.
    pub(crate) fn send_while_taken(&mut self, octets: &[u8], limit: usize) -> usize {
        let mut sent = 0;
        while sent < limit {
            match self.stream.write(octets) {
                Ok(length) => sent += length,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
                Err(error) => panic!("after {sent} octets: {error}"),
            }
        }
        sent
    }

    fn more(&mut self) -> usize {
        let mut chunk = [0; 16_384];
        match self.stream.read(&mut chunk) {
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                length
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing came: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// A response with the body that its length announces; `None` if the connection ends instead.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        self.answer_to("")
    }

    /// The response to a request with this method: that of HEAD announces a body that does not come.
    pub(crate) fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if self.more() == 0 {
                assert!(self.buffer.is_empty(), "ended inside {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.field("content-length").map_or(0, |length| length.parse().unwrap());
        if method != "HEAD" {
            while self.buffer.len() < length {
                assert!(self.more() > 0, "ended inside a body");
            }
            answer.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        }
        Some(answer)
    }

    /// Whether the other side has ended the connection and said no more.
    pub(crate) fn is_over(&mut self) -> bool {
        self.buffer.is_empty() && self.more() == 0
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields.
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The one value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} more than once in {}", self.head);
        value
    }

    /// Every `Set-Cookie`.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).map(|(_, value)| value.trim()).collect()
    }

    /// Whether a field line begins so.
    pub(crate) fn has(&self, beginning: &str) -> bool {
        self.head.lines().any(|line| line.starts_with(beginning))
    }

    /// Whether this text is anywhere in it.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.head.contains(text) || self.body.contains(text)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// `error` and the reason code, both empty for a success.
    pub(crate) fn error(&self) -> (String, String) {
        let json = self.json();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (text("error"), text("error_description"))
    }

    /// The access token.
    pub(crate) fn access_token(&self) -> Jwt {
        self.jwt("access_token")
    }

    /// A token of this answer.
    pub(crate) fn jwt(&self, name: &str) -> Jwt {
        assert_eq!(self.status, 200, "{self:?}");
        Jwt::read(self.json()[name].as_str().unwrap())
    }

    /// R-AS-28, R-AS-31, R-NONCE-02, R-NONCE-03, R-ERR-15, R-ERR-18.
    fn assert_of_a_token_endpoint(&self) {
        assert_eq!(self.field("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.field("pragma"), Some("no-cache"), "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        assert_eq!(self.field("access-control-allow-origin"), Some("*"), "{self:?}");
        let exposed = self.field("access-control-expose-headers").unwrap();
        assert!(exposed.split(", ").any(|name| name == "DPoP-Nonce"), "{self:?}");
        if let Some(nonce) = self.field("dpop-nonce") {
            let fine = |octet| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e_u8);
            assert!(!nonce.is_empty() && nonce.bytes().all(fine), "{nonce}");
        }
        let (error, code) = self.error();
        let challenge = self.field("www-authenticate").unwrap_or_default();
        assert!(!challenge.contains("DPoP"), "{self:?}");
        assert_eq!(self.status == 401, error == "invalid_client", "{self:?}");
        assert!(challenge.is_empty() || self.status == 401, "{self:?}");
        if self.status == 200 {
            assert_eq!(error, "");
            return;
        }
        let names: Vec<String> = self.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["error", "error_description"]);
        assert!(code.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'.')), "{self:?}");
        assert!(!self.holds(MARK), "{self:?}");
    }
}

/// A JWT taken apart.
pub(crate) struct Jwt {
    pub(crate) text: String,
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Jwt {
    fn read(text: &str) -> Self {
        let mut segments = text.split('.').map(|segment| keybound::jws::decode_base64url(segment).unwrap());
        let mut json = || serde_json::from_slice(&segments.next().unwrap()).unwrap();
        Self { text: text.to_owned(), header: json(), claims: json() }
    }
}
