//! Upstreams that work, and upstreams that do not.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::{Gateway, PATIENCE, Upstream, nobody};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// A gateway before these, which take turns.
fn before(upstreams: &[SocketAddr], limits: &str) -> Gateway {
    let urls: Vec<String> = upstreams.iter().map(|address| format!("\"http://{address}\"")).collect();
    let urls = urls.join(", ");
    Gateway::with(&format!("[limits]\n{limits}\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [{urls}]\n"))
}

#[test]
fn a_connection_is_used_again() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    for _ in 0..20 {
        client.send(GET);
        assert_eq!(client.answer().status, 200);
    }
    // Other clients share it.
    for _ in 0..5 {
        assert_eq!(gateway.answer(GET).status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

/// However the bodies are framed.
#[test]
fn a_connection_is_used_again_after_any_body() {
    for said in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let upstream = Upstream::doing(move |mut client| {
            while let Some(head) = client.head() {
                client.body(&head);
                client.send(said);
            }
        });
        let gateway = Gateway::open(upstream.address, "");
        let mut client = gateway.client();
        for request in [
            GET,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            GET,
        ] {
            client.send(request);
            assert_eq!(client.answer().status / 100, 2, "{request:?} {said:?}");
        }
        assert_eq!(upstream.connections(), 1, "{said:?}");
    }
}

/// It answers before it has the body, and takes no more of it.
#[test]
fn an_answer_before_the_end_of_the_body_is_the_answer() {
    let upstream = Upstream::doing(|mut client| {
        client.head();
        client.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        client.read_out();
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    assert!(client.is_over());
}

#[test]
fn requests_at_once_have_connections_of_their_own() {
    let (arrived, arrivals) = mpsc::channel();
    let (go, gone) = door();
    let upstream = Upstream::doing(move |mut client| {
        while client.head().is_some() {
            arrived.send(()).unwrap();
            gone.wait();
            client.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut clients: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.send(GET));
    (0..4).for_each(|_| arrivals.recv_timeout(PATIENCE).unwrap());
    assert_eq!(upstream.connections(), 4);
    go.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.answer().status, 204));
}

/// A door that stays shut until it is opened, and open from then on.
fn door() -> (Door, Door) {
    let door = std::sync::Arc::new((std::sync::Mutex::new(false), std::sync::Condvar::new()));
    (Door(std::sync::Arc::clone(&door)), Door(door))
}

struct Door(std::sync::Arc<(std::sync::Mutex<bool>, std::sync::Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let _open = self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap();
    }
}

/// The upstream ends the connection after each answer without saying that it will.
#[test]
fn a_connection_that_was_ended_meanwhile_is_no_error() {
    let (ended, ends) = std::sync::mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        let head = client.head().unwrap();
        client.body(&head);
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        drop(client);
        ended.send(()).unwrap();
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    for round in 1..=5 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.answer().status, 200, "round {round}");
        // The end of the upstream's connection has arrived; the next request comes after it.
        ends.recv_timeout(PATIENCE).unwrap();
        assert_eq!(upstream.connections(), round);
        wait_for_end(&gateway);
    }
}

/// Requests with a body have their connection moved in another way than those without.
#[test]
fn one_connection_serves_requests_with_and_without_a_body() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    for _ in 0..3 {
        client.send(GET);
        assert_eq!(client.answer().status, 200);
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        assert!(client.answer().text().ends_with("hi"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_connection_that_is_ended_at_rest_is_closed() {
    let (closed, closes) = std::sync::mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        client.end_sending();
        assert!(client.is_over());
        closed.send(()).unwrap();
    });
    let gateway = Gateway::open(upstream.address, "");
    assert_eq!(gateway.answer(GET).status, 200);
    closes.recv_timeout(PATIENCE).unwrap();
}

/// Lets the gateway see what has happened to its upstream connections: it answers other requests in between.
fn wait_for_end(gateway: &Gateway) {
    let (began, mut rounds) = (Instant::now(), 0);
    while rounds < 10 || began.elapsed() < Duration::from_millis(20) {
        rounds += 1;
        assert_eq!(gateway.answer("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n").status / 100, 4);
    }
}

#[test]
fn nobody_there_is_502() {
    let gateway = Gateway::open(nobody(), "");
    let answer = gateway.answer(GET);
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.unreachable"));
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let answer = gateway.answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.unreachable"));
}

/// A body that was meant for a server that is away goes to the next, whole.
#[test]
fn the_next_server_takes_over() {
    let upstream = Upstream::echo();
    let gateway = Gateway::with(&format!(
        "[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\", \"http://{}\"]\n",
        nobody(),
        upstream.address
    ));
    for _ in 0..4 {
        let answer = gateway.answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
        assert_eq!(answer.status, 200);
        assert!(answer.text().ends_with("\r\n\r\nhello"), "{}", answer.text());
    }
}

#[test]
fn servers_take_turns() {
    let (one, other) = (Upstream::echo(), Upstream::echo());
    let gateway = Gateway::with(&format!(
        "[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\", \"http://{}\"]\n",
        one.address, other.address
    ));
    for _ in 0..4 {
        assert_eq!(gateway.answer(GET).status, 200);
    }
    assert_eq!((one.connections(), other.connections()), (1, 1));
}

#[test]
fn what_is_no_answer_is_502() {
    for rubbish in [
        "",
        "rubbish\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: half a hea",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        let (one, other) = (Upstream::saying(rubbish), Upstream::saying(rubbish));
        let gateway = before(&[one.address, other.address], "");
        for (request, counts) in [(GET, (1, 0)), (POST, (1, 1))] {
            let answer = gateway.answer(request);
            assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.invalid"), "{rubbish:?}");
            assert_eq!((one.connections(), other.connections()), counts, "{rubbish:?} was asked for again");
        }
    }
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let answer = Gateway::open(Upstream::saying(long).address, "").answer(GET);
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.invalid"));
}

/// The client must be able to tell that the body is not whole.
#[test]
fn a_body_that_breaks_off_breaks_off_for_the_client() {
    for (begun, framed) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "content-length"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "transfer-encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nrubbish\r\n", "transfer-encoding"),
    ] {
        let gateway = Gateway::open(Upstream::saying(begun).address, "");
        let mut client = gateway.client();
        client.send(GET);
        let head = client.head().unwrap();
        assert!(crate::support::field(&head, framed).is_some(), "{head}");
        let rest = String::from_utf8(client.read_out()).unwrap();
        assert!(rest.contains("half") && !rest.contains("0\r\n\r\n"), "{rest:?}");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let gateway = Gateway::open(Upstream::saying("HTTP/1.1 200 OK\r\n\r\nhello").address, "");
    let mut client = gateway.client();
    client.send(GET);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    // To the client it had an end of its own, so the connection goes on.
    client.send(GET);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn an_upstream_that_hangs_is_504() {
    let hanging = || {
        Upstream::doing(|mut client| {
            client.head();
            client.read_out();
        })
    };
    let (one, other) = (hanging(), hanging());
    let gateway = before(&[one.address, other.address], "response_timeout = \"100ms\"");
    for (request, counts) in [(GET, (1, 0)), (POST, (1, 1))] {
        let answer = gateway.answer(request);
        assert_eq!((answer.status, answer.reason().as_str()), (504, "upstream.timeout"));
        assert_eq!((one.connections(), other.connections()), counts, "it may have arrived");
    }
}

/// A server whose queue of new connections is full, so that one more gets no answer, and what fills it.
fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let fills = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()).collect();
    (listener, fills)
}

#[test]
fn a_server_that_takes_no_connection_is_left_in_time() {
    let (full, _fills) = full();
    let full = full.local_addr().unwrap();
    let (well, limits) = (Upstream::echo(), "connect_timeout = \"100ms\"\nresponse_timeout = \"10m\"");
    let answer = before(&[full], limits).answer(GET);
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.unreachable"));
    let gateway = before(&[full, well.address], limits);
    for _ in 0..2 {
        assert!(gateway.answer(POST).text().ends_with("\r\n\r\nhi"));
    }
}

/// The handshake is a part of connecting.
#[test]
fn a_server_that_does_not_shake_hands_is_left_in_time() {
    let upstream = Upstream::doing(|mut client| drop(client.read_out()));
    for scheme in ["https", "h2"] {
        let gateway = Gateway::with(&format!(
            "[limits]\nconnect_timeout = \"100ms\"\n[[route]]\npath = \"/\"\nmode = \"open\"\n\
             upstream = [\"{scheme}://localhost:{}\"]\n",
            upstream.address.port()
        ));
        let answer = gateway.answer(GET);
        assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.unreachable"), "{scheme}");
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn a_connection_that_rests_too_long_is_closed() {
    let (closed, closes) = mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        while client.head().is_some() {
            client.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
        closed.send(()).unwrap();
    });
    let gateway = Gateway::open(upstream.address, "upstream_idle_timeout = \"100ms\"");
    for round in 1..=2 {
        assert_eq!(gateway.answer(GET).status, 204);
        closes.recv_timeout(PATIENCE).expect("it rests for ever");
        assert_eq!(upstream.connections(), round);
    }
}

/// It neither takes the body nor answers.
#[test]
fn an_upstream_that_takes_no_body_is_504() {
    let (_open, shut) = door();
    let upstream = Upstream::doing(move |client| {
        // A buffer that grows by itself would look like somebody who takes a little now and then.
        socket2::SockRef::from(&client.stream).set_recv_buffer_size(4096).unwrap();
        shut.wait();
    });
    let gateway = Gateway::open(upstream.address, "response_timeout = \"200ms\"");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n");
    let mut half = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        use std::io::Write as _;
        while half.write_all(&[b'x'; 65536]).is_ok() {}
    });
    let answer = client.answer();
    assert_eq!((answer.status, answer.reason().as_str()), (504, "upstream.timeout"));
    drop(client);
    sending.join().unwrap();
}

#[test]
fn an_upstream_that_falls_silent_breaks_off() {
    let (_open, shut) = door();
    let upstream = Upstream::doing(move |mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        shut.wait();
    });
    let gateway = Gateway::open(upstream.address, "stream_timeout = \"100ms\"");
    let mut client = gateway.client();
    client.send(GET);
    client.head().unwrap();
    assert_eq!(client.read_out(), b"half");
}

/// What the upstream says before its answer is not for the client, and is not the answer.
#[test]
fn interim_responses_are_passed_over() {
    let said = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let answer = Gateway::open(Upstream::saying(said).address, "").answer(GET);
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
}

#[test]
fn responses_without_a_body_have_none() {
    for (request, said, status) in [
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200"),
        (GET, "HTTP/1.1 204 No Content\r\n\r\n", "204"),
        (GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n", "304"),
    ] {
        let gateway = Gateway::open(Upstream::saying(said).address, "");
        let mut client = gateway.client();
        client.send(request);
        let head = client.head().unwrap();
        assert!(head.contains(status), "{head}");
        client.send(request);
        assert!(client.head().unwrap().starts_with("HTTP/1.1 "), "{said:?}: something stood between the answers");
    }
}

/// A client that goes away takes its request with it: the upstream connection is ended, not used for another.
#[test]
fn a_client_that_goes_away_ends_its_request() {
    let (ended, ends) = mpsc::channel();
    let count = AtomicUsize::new(0);
    let upstream = Upstream::doing(move |mut client| {
        client.head();
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            assert!(client.is_over());
            ended.send(()).unwrap();
        } else {
            client.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send(GET);
    let began = Instant::now();
    while upstream.connections() == 0 {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    drop(client);
    ends.recv_timeout(PATIENCE).unwrap();
    assert_eq!(gateway.answer(GET).status, 204);
}
