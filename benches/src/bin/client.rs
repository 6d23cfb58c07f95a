//! What a request costs through the client on top of the same request by plain reqwest, in bare ES256 signatures of the same run: one
//! made before each of those requests, where a client has to make it. And what a thousand requests at once do when the nonce has
//! changed and the token has ended.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jws::decode_base64url;
use keybound_benches::{CpuTime, Figure, interleaved};
use keybound_client::{Access, Client, PlainHttp, Token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How many requests are measured in a round, one after the other.
const BATCH: u64 = 2_000;

/// How many are sent at once.
const CROWD: usize = 1_000;

/// As long as a JWT of few claims.
const TOKEN: usize = 600;

/// As long as a proof with `ath`.
const PROOF: usize = 560;

fn main() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    added(&server, &runtime);
    crowd(&server, &runtime);
}

/// The client and reqwest take turns, on this thread; the server has others.
fn added(server: &Server, runtime: &tokio::runtime::Runtime) {
    let url = server.url("/resource");
    let key = Arc::new(SoftwareKey::generate(Alg::Es256).expect("the library makes keys"));
    let token = Token::new("t".repeat(TOKEN)).expect("a token");
    let client = Client::builder(key).plain_http(PlainHttp::Loopback).token(token).build().expect("a client");
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    let bare = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the library makes keys");
    let more = Cell::new(0);
    let (random, signed) = (SystemRandom::new(), "s".repeat(400));
    // The same request: a token and a proof of the same lengths, made once.
    let fields = [("authorization", format!("DPoP {}", "t".repeat(TOKEN))), ("dpop", "p".repeat(PROOF))];
    let rounds = interleaved(|round| {
        let signatures = || {
            for _ in 0..BATCH {
                std::hint::black_box(bare.sign(&random, signed.as_bytes()).expect("a signature"));
            }
        };
        round.time("bare", CpuTime::measure(BATCH, signatures));
        let reqwest = |fields: &[(&str, String)], signs: bool| {
            runtime.block_on(async {
                for _ in 0..BATCH {
                    if signs {
                        std::hint::black_box(bare.sign(&random, signed.as_bytes()).expect("a signature"));
                    }
                    let request = plain.get(&url);
                    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, value));
                    let response = request.send().await.expect("an answer");
                    response.bytes().await.expect("a body");
                }
            });
        };
        let without = CpuTime::measure(BATCH, || reqwest(&[], false));
        let same = CpuTime::measure(BATCH, || reqwest(&fields, false));
        let signing = CpuTime::measure(BATCH, || reqwest(&fields, true));
        let keybound = || {
            runtime.block_on(async {
                for _ in 0..BATCH {
                    let response = client.get(&url).send().await.expect("an answer");
                    more.set(more.get() + response.tries() - 1);
                    response.bytes(1024).await.expect("a body");
                }
            });
        };
        let through = CpuTime::measure(BATCH, keybound);
        round.time("same", same);
        round.time("through", through);
        round.value("there", signing.nanos() - same.nanos());
        round.value("added", through.nanos() - same.nanos());
        round.value("added to a request without", through.nanos() - without.nanos());
    });
    let figure = Figure::new("client", "ns CPU per request", rounds.median("added"));
    println!("{}", figure.beside(rounds.median("there")).aim_at_ratio(1.3));
    // In a loop of nothing else, a signature has all of the caches.
    let figure = Figure::new("client.signature", "ns CPU, there", rounds.median("there"));
    println!("{}", figure.beside(rounds.median("bare")));
    let figure = Figure::new("client.beside-loop", "ns CPU per request", rounds.median("added"));
    println!("{}", figure.beside(rounds.median("bare")));
    let figure = Figure::new("client.and-fields", "ns CPU per request", rounds.median("added to a request without"));
    println!("{}", figure.beside(rounds.median("bare")));
    println!("{}", Figure::new("client.reqwest", "ns CPU per request", rounds.median("same")));
    println!("{}", Figure::new("client.whole", "ns CPU per request", rounds.median("through")));
    println!("{}", Figure::new("client.round-trips", "added, in all", f64::from(more.get())).aim_at(0.0));
}

/// All at once, when the nonce is another one than the client knows and its token has ended.
fn crowd(server: &Server, runtime: &tokio::runtime::Runtime) {
    let key = Arc::new(SoftwareKey::generate(Alg::Es256).expect("the library makes keys"));
    let access = Access::client_credentials(server.url(""), "bench");
    let client = Client::builder(key).plain_http(PlainHttp::Loopback).access(access).build().expect("a client");
    let url = server.url("/nonce");
    let tries = runtime.block_on(async {
        client.get(&url).send().await.expect("an answer"); // its token ends at once
        server.state.nonce.fetch_add(1, Ordering::SeqCst);
        server.state.tokens.store(0, Ordering::SeqCst);
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let (client, url) = (client.clone(), url.clone());
                tokio::spawn(async move {
                    let response = client.get(&url).send().await.expect("an answer");
                    assert_eq!(response.status(), 200);
                    response.tries()
                })
            })
            .collect();
        let mut tries = Vec::with_capacity(CROWD);
        for one in crowd {
            tries.push(one.await.expect("no panic"));
        }
        tries
    });
    let most = tries.iter().max().copied().unwrap_or_default() - 1;
    println!("{}", Figure::new("client.crowd.retries", "at most, each", f64::from(most)).aim_at(1.0));
    let refreshes = server.state.tokens.load(Ordering::SeqCst) as f64;
    println!("{}", Figure::new("client.crowd.refreshes", "in all", refreshes).aim_at(1.0));
}

/// What the server counts.
#[derive(Default)]
struct State {
    /// The nonce it wants, a number.
    nonce: AtomicU64,
    /// How many tokens it gave.
    tokens: AtomicU64,
}

/// An issuer and a resource that do as little as they can.
struct Server {
    address: SocketAddr,
    state: Arc<State>,
}

impl Server {
    fn start() -> Self {
        let state = Arc::new(State::default());
        let (sender, address) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address");
                sender.send(address).expect("somebody waits");
                loop {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    tokio::spawn(serve(stream, address, Arc::clone(&shared)));
                }
            });
        });
        Self { address: address.recv().expect("the server starts"), state }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, state: Arc<State>) {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = buffer.split_off(at + 4);
                break String::from_utf8(std::mem::replace(&mut buffer, rest)).expect("text");
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let length: usize = field(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        buffer.drain(..length);
        if stream.write_all(answer(&head, address, &state).as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(head: &str, address: SocketAddr, state: &State) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let answer = |status: &str, fields: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
    };
    match path {
        "/resource" => answer("200 OK", "", "hello"),
        "/token" => {
            let number = state.tokens.fetch_add(1, Ordering::SeqCst);
            // The first ends at once, what comes later does not.
            let life = if number == 0 && state.nonce.load(Ordering::SeqCst) == 0 { 0 } else { 300 };
            answer("200 OK", "", &format!(r#"{{"access_token":"t{number}","token_type":"DPoP","expires_in":{life}}}"#))
        }
        "/nonce" => {
            let wanted = format!("n-{}", state.nonce.load(Ordering::SeqCst));
            if nonce(head).as_deref() == Some(&*wanted) {
                return answer("200 OK", "", "hello");
            }
            let demand = r#"www-authenticate: DPoP error="use_dpop_nonce", algs="ES256""#;
            answer("401 Unauthorized", &format!("{demand}\r\ndpop-nonce: {wanted}\r\n"), "")
        }
        "/.well-known/oauth-authorization-server" => {
            let issuer = format!("http://{address}");
            answer("200 OK", "", &format!(r#"{{"issuer":"{issuer}","token_endpoint":"{issuer}/token"}}"#))
        }
        _ => answer("404 Not Found", "", ""),
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// The nonce of the proof, found by its place in the text.
fn nonce(head: &str) -> Option<String> {
    let payload = decode_base64url(field(head, "dpop")?.split('.').nth(1)?).ok()?;
    let payload = String::from_utf8(payload).ok()?;
    let (_, rest) = payload.split_once(r#""nonce":""#)?;
    rest.split('"').next().map(str::to_owned)
}
