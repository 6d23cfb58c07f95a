//! `keybound agent` where bodies are long, slow, or answered while they are still coming: HTTP/1.1 uploads and events, and gRPC.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response};

use crate::support::{PATIENCE, Place, Service, claims};

/// An agent for what listens at `target`, and its secret.
fn agent(place: &Place, target: SocketAddr, more: &[&str]) -> (Service, SocketAddr, String) {
    place.run(&["key", "new", "k"]).good();
    let base = format!("http://{target}");
    let given = ["agent", "--key", "k", "--token", "abc", "--listen", "127.0.0.1:0", "--secret-file", "s"];
    let mut agent = place.start(&[&given[..], &["--target", &base], more].concat());
    let address = agent.address();
    let secret = std::fs::read_to_string(place.work().join("s")).unwrap().trim().to_owned();
    (agent, address, secret)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything up to the end of a head.
fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        assert_eq!(stream.read(&mut one).unwrap(), 1, "{}", String::from_utf8_lossy(&read));
        read.push(one[0]);
    }
    String::from_utf8(read).unwrap()
}

// R-CLI-17: a long upload goes on as it comes, and takes no room
#[cfg(target_os = "linux")]
#[test]
fn a_long_upload_takes_no_room() {
    const LENGTH: usize = 256 << 20;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let counted = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = head(&mut stream);
        let mut piece = vec![0; 1 << 20];
        let mut count = 0;
        while count < LENGTH {
            count += stream.read(&mut piece).unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
        request
    });
    let place = Place::new();
    let (agent, address, secret) = agent(&place, target, &[]);
    let mut stream = connect(address);
    let fields = format!("Host: {address}\r\nKeybound-Agent-Secret: {secret}\r\nConnection: close\r\n");
    write!(stream, "PUT /big HTTP/1.1\r\n{fields}Content-Length: {LENGTH}\r\n\r\n").unwrap();
    let piece = vec![b'x'; 1 << 20];
    (0..LENGTH >> 20).for_each(|_| stream.write_all(&piece).unwrap());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert!(counted.join().unwrap().contains(&format!("content-length: {LENGTH}")));
    assert!(agent.peak() < 100 << 10, "{} KiB", agent.peak());
}

// An answer that goes on for ever comes piece by piece; those who say nothing keep nobody else waiting.
#[test]
fn events_come_as_they_are_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let (sender, more) = std::sync::mpsc::channel();
    let events = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        head(&mut stream);
        let fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        write!(stream, "HTTP/1.1 200 OK\r\n{fields}9\r\ndata: 1\n\n\r\n").unwrap();
        more.recv_timeout(PATIENCE).unwrap(); // the first is there
        write!(stream, "9\r\ndata: 2\n\n\r\n0\r\n\r\n").unwrap();
    });
    let place = Place::new();
    let (_agent, address, secret) = agent(&place, target, &[]);
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(address)).collect();
    let mut slow = connect(address);
    slow.write_all(b"PRI * HTTP").unwrap(); // of HTTP/2, and no more of it
    let mut stream = connect(address);
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\nKeybound-Agent-Secret: {secret}\r\n\r\n").unwrap();
    assert!(head(&mut stream).starts_with("HTTP/1.1 200"));
    let mut first = [0; 14];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"9\r\ndata: 1\n\n\r\n");
    sender.send(()).unwrap();
    let mut second = [0; 19];
    stream.read_exact(&mut second).unwrap();
    assert_eq!(&second, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    events.join().unwrap();
    drop((silent, slow));
}

/// A server as those of gRPC are: it wants `te`, sends back each message as it comes, and says how it went in a trailer. It
/// demands a nonce.
async fn echo(listener: tokio::net::TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let fields = request.headers();
        assert_eq!(fields["te"], "trailers");
        assert_eq!(fields["authorization"], "DPoP abc");
        assert!(!fields.contains_key("keybound-agent-secret"));
        let mut response = Response::builder().header("content-type", "application/grpc");
        if claims(fields["dpop"].to_str().unwrap())["nonce"].is_null() {
            response = response.status(401).header("dpop-nonce", "n");
            let demand = response.header("www-authenticate", "DPoP error=\"use_dpop_nonce\", algs=\"ES256\"");
            respond.send_response(demand.body(()).unwrap(), true).unwrap();
            continue;
        }
        let to = respond.send_response(response.body(()).unwrap(), false).unwrap();
        tokio::spawn(talk(request.into_body(), to));
    }
}

async fn talk(mut from: RecvStream, mut to: SendStream<Bytes>) {
    while let Some(message) = from.data().await {
        let message = message.unwrap();
        from.flow_control().release_capacity(message.len()).unwrap();
        to.send_data(message, false).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    to.send_trailers(trailers).unwrap();
}

// R-CLI-17, R-NONCE-19: gRPC in both directions, over HTTP/2 on either side
#[test]
fn grpc_goes_through() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (listener, target) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap();
        (listener, target)
    });
    let (agent, address, secret) = agent(&place, target, &["--http2"]);
    let called = async {
        tokio::spawn(echo(listener));
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = |secret: &str| {
            Request::post(format!("http://{address}/test.Words/Talk"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("keybound-agent-secret", secret)
                .body(())
                .unwrap()
        };
        // One message and the end of them, as a call without streams has it: the nonce costs nobody anything.
        let (response, mut to) = client.send_request(request(&secret), false).unwrap();
        to.send_data(Bytes::from_static(b"one"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "one");
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");

        // Each message is answered before the next is sent.
        let (response, mut to) = client.send_request(request(&secret), false).unwrap();
        to.send_data(Bytes::from_static(b"a"), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        for word in ["a", "b", "c"] {
            if word != "a" {
                to.send_data(Bytes::from_static(word.as_bytes()), false).unwrap();
            }
            assert_eq!(body.data().await.unwrap().unwrap(), word);
        }
        to.send_data(Bytes::new(), true).unwrap();
        assert!(body.data().await.is_none());
        assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");

        // One who gives up is heard. A stranger is told so, and has to connect again.
        let (_, mut to) = client.send_request(request(&secret), false).unwrap();
        to.send_reset(Reason::CANCEL);
        let (response, _) = client.send_request(request("guess"), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 401);
        let closed = connection.await.unwrap();
        assert!(
            closed.as_ref().is_err_and(|error| error.is_go_away() || error.is_io()) || closed.is_ok(),
            "{closed:?}"
        );
        std::future::poll_fn(|context| client.poll_ready(context)).await.unwrap_err();
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), called).await.unwrap() });
    assert_eq!(agent.terminate(), Some(0));
}

/// A connection of HTTP/2 that answers every ping and asks for nothing.
async fn idle(address: SocketAddr) -> tokio::task::JoinHandle<()> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ended = connection.await;
        drop(client);
    })
}

// Who does not know the secret takes no place from those who do, with however many connections.
#[test]
fn strangers_take_no_room() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let answered = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let place = Place::new();
    let (_agent, address, secret) = agent(&place, target, &[]);
    let fields = format!("Host: {address}\r\nKeybound-Agent-Secret: {secret}\r\n\r\n");
    let mut early = connect(address);
    write!(early, "GET /early HTTP/1.1\r\n{fields}").unwrap();
    assert!(head(&mut early).starts_with("HTTP/1.1 200"));
    let mut body = [0; 2];
    early.read_exact(&mut body).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut idle_ones = Vec::new();
        for _ in 0..600 {
            idle_ones.push(idle(address).await);
        }
        // This one is new, and has its answer at once.
        let late = tokio::task::spawn_blocking(move || {
            let mut late = connect(address);
            write!(late, "GET /late HTTP/1.1\r\n{fields}").unwrap();
            head(&mut late)
        });
        let answer = tokio::time::timeout(Duration::from_secs(10), late).await.expect("an answer in time").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        idle_ones.iter().for_each(tokio::task::JoinHandle::abort);
    });
    answered.join().unwrap();
    // The one that was let in before has kept its place.
    write!(early, "GET /none HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    assert!(head(&mut early).starts_with("HTTP/1.1 401"));
}
