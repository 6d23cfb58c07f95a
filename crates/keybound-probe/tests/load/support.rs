//! A real gateway with its issuer, and a service behind it that writes down what it gets. All in this process, on ports of
//! their own on loopback.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Authentication, Client, PlainHttp, Secret};
use keybound_gateway::config::Config;
use keybound_gateway::engine::Engine;
use keybound_gateway::front::{Front, Stop};
use keybound_gateway::reload::Live;
use keybound_gateway::stack::Stack;
use keybound_probe::load::Caller;
use tokio::net::TcpListener;

/// What a service got in one request.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }
}

/// How a service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// At once.
    Prompt,
    /// The first answer after this, and the others at once.
    SlowAtFirst(Duration),
    /// With `Connection: close`.
    Closing,
    /// Never.
    Silent,
    /// By ending the connection.
    Breaking,
}

/// A service that keeps what it gets.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Service {
    pub(crate) fn start(manner: Manner) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let service = Self { address: listener.local_addr().unwrap(), got: Arc::default() };
        let got = Arc::clone(&service.got);
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let got = Arc::clone(&got);
                    let answer = service_fn(move |request| answer(request, manner, Arc::clone(&got)));
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                    tokio::spawn(async move { drop(connection.await) });
                }
            });
        });
        service
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    all: Arc<Mutex<Vec<Got>>>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (head, body) = request.into_parts();
    let got = Got {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        fields: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    };
    let before = {
        let mut all = all.lock().unwrap();
        all.push(got);
        all.len() - 1
    };
    let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
    match manner {
        Manner::SlowAtFirst(time) if before == 0 => tokio::time::sleep(time).await,
        Manner::Prompt | Manner::SlowAtFirst(_) => {}
        Manner::Closing => drop(response.headers_mut().insert("connection", "close".parse().unwrap())),
        Manner::Silent => match std::future::pending::<Infallible>().await {},
        Manner::Breaking => return Err("broken"),
    }
    Ok(response)
}

/// A gateway in front of a service. It stops when dropped.
pub(crate) struct Gateway {
    address: SocketAddr,
    stop: Stop,
    running: Option<JoinHandle<()>>,
}

const SECRET: &str = "correct-horse-battery-staple";

/// The same as the client sends it: `bench:` and the secret.
pub(crate) const BASIC: &str = "Basic YmVuY2g6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";

impl Gateway {
    /// With `/open`, `/bound`, and `/passed`, where the service sees token and proof.
    pub(crate) fn before(service: &Service, proof: &str) -> Self {
        let config = |address: SocketAddr| {
            let upstream = service.address;
            let text = format!(
                r#"
[listen]
address = "{address}"
workers = 1
[[origin]]
url = "http://{address}"
[[route]]
path = "/open"
mode = "open"
upstream = ["http://{upstream}"]
[[route]]
path = "/bound"
upstream = ["http://{upstream}"]
[[route]]
path = "/passed"
upstream = ["http://{upstream}"]
proof = "check"
upstream_authorization = "pass"
[proof]
{proof}
[authorization_server]
url = "http://{address}/issuer"
store = "memory"
[[authorization_server.client]]
client_id = "bench"
client_secret = "{SECRET}"
grant_types = ["client_credentials"]
dpop_bound_access_tokens = true
"#
            );
            Config::parse(&text, Path::new("test")).unwrap()
        };
        // Bound before the configuration is complete: the origin holds the port that was found.
        let first = config("127.0.0.1:0".parse().unwrap());
        let front = Front::bind(&first.listen, &first.limits).unwrap();
        let address = front.address().unwrap();
        let live = Arc::new(Live::new(Engine::new(config(address)).unwrap()));
        let stop = Stop::new();
        let stopped = stop.clone();
        let running = thread::spawn(move || {
            front.run(|proxy| Stack::new(Arc::clone(&live), proxy), &stopped).unwrap();
        });
        Self { address, stop, running: Some(running) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Somebody with a new key and a token of the gateway's issuer, and that token.
    pub(crate) fn caller(&self) -> (Caller, String) {
        let key = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
        let access = Access::client_credentials(self.url("/issuer"), "bench")
            .authentication(Authentication::Secret(Secret::new(SECRET.to_owned())));
        let client = Client::builder(Arc::clone(&key)).access(access);
        let client = client.plain_http(PlainHttp::Loopback).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = runtime.block_on(client.token()).unwrap();
        (Caller::new(key, token.secret()).unwrap(), token.secret().to_owned())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(running) = self.running.take() {
            running.join().unwrap();
        }
    }
}
