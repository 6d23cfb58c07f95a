//! A gateway with a trivial stack, upstreams that do as they are told, and a client that speaks in octets. All on ports of
//! their own on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::{Response, StatusCode};
use keybound_gateway::body::Body;
use keybound_gateway::config::{Config, Mode, Prefix, ProofHandling, UpstreamAuthorization};
use keybound_gateway::front::{Certificates, Drained, Front, Handler, Inbound, Stop};
use keybound_gateway::proxy::{Identity, Origin, Proxy, Terms, Upstreams};

/// No wait in a test is longer: enough for a slow machine, and less than `client_timeout` is by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);

/// A route by prefix, and then to the upstream. Routes that are not open vouch for one and the same caller.
pub(crate) struct Plain {
    proxy: Rc<Proxy>,
    origin: Origin,
    identity: Identity,
    routes: Vec<PlainRoute>,
}

struct PlainRoute {
    path: Prefix,
    upstreams: Upstreams,
    mode: Mode,
    authorization: UpstreamAuthorization,
    proof: ProofHandling,
}

impl Plain {
    fn new(proxy: Rc<Proxy>, config: &Config) -> Self {
        let route = |route: &keybound_gateway::config::Route| PlainRoute {
            path: route.path.clone(),
            upstreams: proxy.upstreams(&route.upstreams),
            mode: route.mode,
            authorization: route.upstream_authorization,
            proof: route.proof,
        };
        let routes = config.routes.iter().map(route).collect();
        let identity =
            Identity::default().subject("alice smith").client("app").jkt("thumb").scope("a b").issuer("https://id");
        Self { origin: Origin::new(&config.origins[0]), identity, routes, proxy }
    }
}

impl Handler for Plain {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        let path = inbound.head.uri.path();
        let Some(route) = self.routes.iter().find(|route| route.path.covers(path)) else {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        let terms = match route.mode {
            Mode::Open => Terms::unchanged(&self.origin),
            _ => Terms::vouched(&self.origin, &self.identity, route.authorization, route.proof),
        };
        self.proxy.forward(inbound, &route.upstreams, &terms).await
    }
}

/// A gateway in this process. It stops when dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) certificates: Option<Certificates>,
    stop: Stop,
    running: Option<JoinHandle<Drained>>,
}

impl Gateway {
    /// With `/` open to `upstream` and these limits.
    pub(crate) fn open(upstream: SocketAddr, limits: &str) -> Self {
        Self::with(&format!(
            "[limits]\n{limits}\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{upstream}\"]\n"
        ))
    }

    /// With this configuration; where to listen, the origin and an issuer are added.
    pub(crate) fn with(text: &str) -> Self {
        Self::listening("", text)
    }

    /// With this configuration, and these settings of `[listen]`.
    pub(crate) fn listening(listen: &str, text: &str) -> Self {
        Self::handling(listen, text, Plain::new)
    }

    /// The same, with another handler.
    pub(crate) fn handling<H: Handler>(
        listen: &str,
        text: &str,
        make: impl Fn(Rc<Proxy>, &Config) -> H + Send + Sync + 'static,
    ) -> Self {
        let unless = |name: &str, line: &'static str| if listen.contains(name) { "" } else { line };
        let address = unless("address = ", "address = \"127.0.0.1:0\"\n");
        let workers = unless("workers = ", "workers = 1\n");
        let text = format!(
            "[listen]\n{address}{workers}{listen}\n[[origin]]\nurl = \"https://api.example.com\"\n\
             [[issuer]]\nurl = \"https://id.example.com\"\naudience = [\"x\"]\n{text}"
        );
        let config = Config::parse(&text, Path::new("test.toml")).unwrap_or_else(|errors| panic!("{errors}"));
        let front = Front::bind(&config.listen, &config.limits).unwrap();
        let (address, certificates) = (front.address().unwrap(), front.certificates());
        let stop = Stop::new();
        let stopped = stop.clone();
        let running = thread::spawn(move || front.run(|proxy| make(proxy, &config), &stopped).unwrap());
        Self { address, certificates, stop, running: Some(running) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// One request on a connection of its own; the whole answer, read until the connection ends or the response does.
    pub(crate) fn answer(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.client();
        client.send(request);
        client.answer()
    }

    /// Asks it to stop.
    pub(crate) fn stop(&self) {
        self.stop.now();
    }

    /// How it ended, after `stop`.
    pub(crate) fn drained(mut self) -> Drained {
        self.running.take().unwrap().join().unwrap()
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

/// A connection, in octets.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields, names in small letters.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code in the gateway's own JSON.
    pub(crate) fn reason(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// The value of a field in a header, if it is there once.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut values = head.lines().filter_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = values.next();
    assert!(values.next().is_none(), "{name} more than once in {head}");
    value
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self::over(stream)
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// The same connection, for somebody who uses the other direction of it.
    pub(crate) fn twin(&self) -> Self {
        Self::over(self.stream.try_clone().unwrap())
    }

    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).unwrap();
    }

    /// What can be read, or nothing at the end.
    fn more(&mut self) -> usize {
        let mut chunk = [0; 65536];
        match self.stream.read(&mut chunk) {
            Ok(length) => {
                self.buffer.extend_from_slice(&chunk[..length]);
                length
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            // Whoever stops this process for a while cuts a read short that has a time.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => self.more(),
            Err(error) => panic!("nothing came: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// A header, up to its empty line; `None` if the connection ends before one begins.
    pub(crate) fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.more() == 0 {
                assert!(self.buffer.is_empty(), "ended inside {:?}", String::from_utf8_lossy(&self.buffer));
                return None;
            }
        }
    }

    pub(crate) fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.more() > 0, "ended after {} of {length} octets", self.buffer.len());
        }
        self.buffer.drain(..length).collect()
    }

    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return String::from_utf8(line).unwrap().trim_end().to_owned();
            }
            assert!(self.more() > 0, "ended inside a line");
        }
    }

    pub(crate) fn read_out(&mut self) -> Vec<u8> {
        while self.more() > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Whether the other side has ended the connection and said no more.
    pub(crate) fn is_over(&mut self) -> bool {
        self.read_out().is_empty()
    }

    /// The body that goes with a header, with the trailers of a chunked one.
    pub(crate) fn body(&mut self, head: &str) -> (Vec<u8>, Vec<String>) {
        if field(head, "transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let length = usize::from_str_radix(&self.line(), 16).unwrap();
                if length == 0 {
                    break;
                }
                body.extend(self.exactly(length));
                assert_eq!(self.line(), "");
            }
            let mut trailers = Vec::new();
            loop {
                let line = self.line();
                if line.is_empty() {
                    return (body, trailers);
                }
                trailers.push(line);
            }
        }
        let length = field(head, "content-length").map(|length| length.parse().unwrap());
        (self.exactly(length.unwrap_or_default()), Vec::new())
    }

    /// A response, header and body.
    pub(crate) fn answer(&mut self) -> Answer {
        self.maybe_answer().expect("a response")
    }

    pub(crate) fn maybe_answer(&mut self) -> Option<Answer> {
        let head = self.head()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let delimited = field(&head, "content-length").is_some() || field(&head, "transfer-encoding").is_some();
        let body =
            if delimited || matches!(status, 100..=199 | 204 | 304) { self.body(&head).0 } else { self.read_out() };
        Some(Answer { status, head, body })
    }

    pub(crate) fn end_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

/// A server that does, on each connection, what it was given.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Does `serve` on every connection, in a thread each.
    pub(crate) fn doing(serve: impl Fn(Client) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(Client::over(stream.unwrap())));
            }
        });
        Self { address, connections }
    }

    /// Answers each request with what it got: its header, an empty line, its body, and its trailers.
    pub(crate) fn echo() -> Self {
        Self::doing(|mut client| {
            while let Some(head) = client.head() {
                let (body, trailers) = client.body(&head);
                let mut seen = head.into_bytes();
                seen.extend(body);
                seen.extend(trailers.iter().flat_map(|trailer| format!("\n{trailer}").into_bytes()));
                client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", seen.len()));
                client.send(seen);
            }
        })
    }

    /// Reads a request and answers it with these octets, whatever they are, and ends.
    pub(crate) fn saying(octets: impl Into<Vec<u8>>) -> Self {
        let octets = octets.into();
        Self::doing(move |mut client| {
            if let Some(head) = client.head() {
                client.body(&head);
                client.send(&octets);
            }
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address where nobody listens. Where all of 127/8 is this machine, its host is of its own too, so that nobody gets the port
/// meanwhile who asks for any.
pub(crate) fn nobody() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(1);
    let [high, low] = GIVEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [.., process] = std::process::id().to_be_bytes();
    let host = if cfg!(target_os = "linux") { Ipv4Addr::new(127, process | 1, high, low) } else { Ipv4Addr::LOCALHOST };
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}
