//! Ports, and the end.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use http::Response;
use keybound_gateway::body::Body;
use keybound_gateway::config::Config;
use keybound_gateway::front::{Front, Handler, Inbound};

use crate::support::{Client, Gateway, PATIENCE, Upstream, nobody};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway at an address that nobody takes who may not: it is looked whether somebody is still there.
fn alone(upstream: &Upstream, limits: &str) -> Gateway {
    Gateway::listening(
        &format!("address = \"{}\"", nobody()),
        &format!(
            "[limits]\n{limits}\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]\n",
            upstream.address
        ),
    )
}

/// An upstream that says when a request has come, and answers when it is told to.
fn slow() -> (Upstream, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrivals) = mpsc::channel();
    let (go, going) = mpsc::channel();
    let going = std::sync::Mutex::new(going);
    let upstream = Upstream::doing(move |mut client| {
        while client.head().is_some() {
            arrived.send(()).unwrap();
            if going.lock().unwrap().recv().is_err() {
                return;
            }
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        }
    });
    (upstream, arrivals, go)
}

#[test]
fn requests_in_flight_are_finished() {
    let (upstream, arrivals, go) = slow();
    let gateway = alone(&upstream, "");
    let mut resting = gateway.client();
    let mut busy = gateway.client();
    busy.send(GET);
    arrivals.recv_timeout(PATIENCE).unwrap();
    gateway.stop();
    assert!(resting.is_over(), "a connection at rest from which nothing comes is closed");
    let address = gateway.address;
    go.send(()).unwrap();
    let answer = busy.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert!(busy.is_over());
    assert_eq!(gateway.drained().cut_off, 0);
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

/// A client does not know yet: what it sends on connections that it has is answered, and it hears of the end.
#[test]
fn requests_on_their_way_are_answered() {
    let upstream = Upstream::echo();
    // However slow this machine is.
    let gateway = alone(&upstream, "drain_idle_timeout = \"30s\"");
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    for client in &mut clients[..4] {
        client.send(GET);
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (200, None));
    }
    gateway.stop();
    closed(gateway.address);
    for client in &mut clients {
        client.send(GET);
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        assert!(client.is_over());
    }
    assert_eq!(gateway.drained().cut_off, 0);
}

/// Returns once nobody listens there any more.
fn closed(address: SocketAddr) {
    let patience = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < patience, "still open");
    }
}

#[test]
fn requests_that_take_too_long_are_cut_off() {
    let (upstream, arrivals, _go) = slow();
    let gateway = Gateway::open(upstream.address, "drain_timeout = \"100ms\"");
    let mut client = gateway.client();
    client.send(GET);
    arrivals.recv_timeout(PATIENCE).unwrap();
    gateway.stop();
    assert_eq!(gateway.drained().cut_off, 1);
    assert!(client.is_over());
}

/// An upstream that opens what has no end of its own, and sends back what comes on it.
fn endless() -> Upstream {
    Upstream::doing(|mut client| {
        let head = client.head().unwrap();
        client.send(if head.contains("/chat") {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n: begun\r\n"
        });
        let mut chunk = [0; 1024];
        while let Ok(length @ 1..) = client.stream.read(&mut chunk) {
            client.send(&chunk[..length]);
        }
    })
}

const OPENING: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const EVENTS: &str = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n";

/// Nobody but the two ends knows where it could be interrupted: it goes on while there is time.
#[test]
fn a_tunnel_goes_on_while_the_rest_is_finished() {
    let upstream = endless();
    let gateway = alone(&upstream, "drain_timeout = \"10m\"");
    let mut client = gateway.client();
    client.send(OPENING);
    assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
    gateway.stop();
    closed(gateway.address);
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    // Once the last is over there is nothing to wait for.
    client.end_sending();
    assert!(client.is_over());
    assert_eq!(gateway.drained().cut_off, 0);
}

/// And is cut off then. Who reads events can tell that they did not come to their end.
#[test]
fn what_does_not_end_is_cut_off() {
    let upstream = endless();
    for (request, begun) in [(OPENING, &b""[..]), (EVENTS, b"7\r\n: begun\r\n")] {
        let gateway = Gateway::open(upstream.address, "drain_timeout = \"100ms\"");
        let mut client = gateway.client();
        client.send(request);
        client.head().unwrap();
        assert_eq!(client.exactly(begun.len()), begun);
        gateway.stop();
        assert_eq!(gateway.drained().cut_off, 1);
        assert!(client.is_over());
    }
}

/// Whoever sends requests has time to notice that this is not the place any more.
#[test]
fn the_port_stays_open_for_a_while_if_set() {
    let upstream = Upstream::echo();
    let gateway = alone(&upstream, "drain_delay = \"5s\"\ndrain_idle_timeout = \"30s\"");
    let begun = Instant::now();
    gateway.stop();
    let mut told = 0;
    while told < 3 {
        // What comes before the worker hears of the end is answered as ever.
        let mut client = gateway.client();
        client.send(GET);
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        if answer.field("connection") == Some("close") {
            assert!(client.is_over());
            told += 1;
        }
    }
    closed(gateway.address);
    assert!(begun.elapsed() >= Duration::from_secs(5));
    assert_eq!(gateway.drained().cut_off, 0);
}

/// Holds up its worker until as many are held up as there are.
struct Together {
    inside: mpsc::Sender<()>,
    all: Arc<Barrier>,
}

impl Handler for Together {
    async fn handle(&self, _: Inbound) -> Response<Body> {
        self.inside.send(()).unwrap();
        self.all.wait();
        Response::new(Body::empty())
    }
}

#[test]
fn several_workers_serve_one_port_and_all_stop() {
    const WORKERS: usize = 3;
    let (inside, held_up) = mpsc::channel();
    let all = Arc::new(Barrier::new(WORKERS));
    let route = "[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:9\"]\n";
    let gateway = Gateway::handling(&format!("workers = {WORKERS}"), route, move |_, _| Together {
        inside: inside.clone(),
        all: Arc::clone(&all),
    });
    // Each is taken by a worker that is not held up yet.
    let ask = |_| {
        let mut client = gateway.client();
        client.send(GET);
        held_up.recv_timeout(PATIENCE).expect("another worker");
        client
    };
    let mut clients: Vec<Client> = (0..WORKERS).map(ask).collect();
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    gateway.stop();
    assert_eq!(gateway.drained().cut_off, 0);
}

#[test]
fn a_port_in_use_says_how_to_pick_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "[listen]\naddress = \"{address}\"\n[[origin]]\nurl = \"https://a\"\n\
         [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:1\"]\n"
    );
    let config = Config::parse(&text, Path::new("keybound.toml")).unwrap();
    let message = Front::bind(&config.listen, &config.limits).unwrap_err().to_string();
    let start =
        format!("{address} is in use by another program; pick another port: keybound serve --listen 127.0.0.1:");
    assert!(message.starts_with(&start), "{message}");
    let other: u16 = message.rsplit(':').next().unwrap().parse().unwrap();
    assert!(TcpListener::bind(("127.0.0.1", other)).is_ok(), "{other} is no better");
}
