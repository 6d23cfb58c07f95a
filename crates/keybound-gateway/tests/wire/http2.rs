//! HTTP/2 from clients: the same rules as for HTTP/1.1, and the upstream sees no difference.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, StatusCode};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Gateway, PATIENCE, Upstream};
use crate::tls::Files;

/// A client, and how its connection ended.
struct Client {
    requests: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    /// With prior knowledge.
    async fn to(gateway: &Gateway) -> Self {
        Self::with(gateway, &mut Builder::new()).await
    }

    async fn with(gateway: &Gateway, builder: &mut Builder) -> Self {
        Self::over(TcpStream::connect(gateway.address).await.unwrap(), builder).await
    }

    async fn over<T: AsyncRead + AsyncWrite + Send + Unpin + 'static>(octets: T, builder: &mut Builder) -> Self {
        let (requests, connection) = builder.handshake(octets).await.unwrap();
        Self { requests, ended: tokio::spawn(connection) }
    }

    async fn send(&mut self, request: Request<()>, body: &[u8]) -> Result<Answer, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut stream) = requests.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        Answer::read(tokio::time::timeout(PATIENCE, response).await.expect("an answer")?).await
    }

    async fn get(&mut self, uri: &str) -> Answer {
        self.send(Request::get(uri).body(()).unwrap(), b"").await.unwrap()
    }

    /// How the connection ended.
    async fn end(self) -> Result<(), h2::Error> {
        drop(self.requests);
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the connection is still there").unwrap()
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    text: String,
    trailers: Option<HeaderMap>,
}

impl Answer {
    async fn read(response: http::Response<RecvStream>) -> Result<Self, h2::Error> {
        let (head, mut body) = response.into_parts();
        let mut text = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece?;
            body.flow_control().release_capacity(piece.len())?;
            text.extend(piece);
        }
        let trailers = body.trailers().await?;
        Ok(Self { status: head.status, fields: head.headers, text: String::from_utf8(text).unwrap(), trailers })
    }

    fn reason(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        json["reason"].as_str().unwrap_or_default().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn by_prior_knowledge_and_inside_tls() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let route = format!("[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]", upstream.address);
    let plain = Gateway::with(&route);
    let answer = Client::to(&plain).await.get("http://api.example.com/x?y").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.starts_with("GET /x?y HTTP/1.1\r\n"), "{}", answer.text);
    assert!(answer.text.to_lowercase().contains("\r\nhost: api.example.com\r\n"), "{}", answer.text);

    let secure = Gateway::listening(&files.listen(), &route);
    let connector = TlsConnector::from(Arc::new(files.client(&[&TLS13], &["h2"])));
    let stream = TcpStream::connect(secure.address).await.unwrap();
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let mut client = Client::over(stream, &mut Builder::new()).await;
    let answer = client.get("https://api.example.com/x").await;
    assert!(answer.text.starts_with("GET /x HTTP/1.1\r\n"), "{}", answer.text);
}

/// R-URI-10, R-SEC-17: each fault alone. The connection is not to suffer for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ambiguous_requests_are_refused() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "header_fields = 20");
    let get = |uri: &str, fields: &[(&'static str, &str)]| {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    };
    let many: Vec<(&'static str, &str)> = (0..20).map(|_| ("x-many", "1")).collect();
    let mut client = Client::to(&gateway).await;
    for (name, request, status, reason) in [
        ("another host", get("http://a/", &[("host", "b")]), 400, "host.invalid"),
        ("another port", get("http://a/", &[("host", "a:81")]), 400, "host.invalid"),
        ("two hosts", get("http://a/", &[("host", "a"), ("host", "a")]), 400, "host.invalid"),
        ("user information", get("http://x@a/", &[]), 400, "host.invalid"),
        ("another scheme", get("ftp://a/", &[]), 400, "target.invalid"),
        (
            "two lengths",
            get("http://a/", &[("content-length", "0"), ("content-length", "0")]),
            400,
            "framing.ambiguous",
        ),
        ("too many fields", get("http://a/", &many), 431, "header.crowded"),
        ("trace", Request::builder().method("TRACE").uri("http://a/").body(()).unwrap(), 405, "method.refused"),
        ("connect", Request::builder().method("CONNECT").uri("a:80").body(()).unwrap(), 405, "method.refused"),
    ] {
        let answer = client.send(request, b"").await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (status, reason), "{name}: {answer:?}");
        assert!(!answer.fields.contains_key("connection"), "{name}");
    }
    assert_eq!(upstream.connections(), 0);
    // What is unusual and right.
    let same = client.send(get("http://a/", &[("host", "A")]), b"").await.unwrap();
    assert_eq!(same.status, 200);
    let crumbs = client.send(get("http://a/", &[("cookie", "a=1"), ("cookie", "b=2")]), b"").await.unwrap();
    assert!(crumbs.text.to_lowercase().contains("\r\ncookie: a=1; b=2\r\n"), "{}", crumbs.text);
}

/// A body that is not as long as it says reaches nobody as another request.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_smuggled_by_a_wrong_length() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let post = |length: &str| Request::post("http://a/").header("content-length", length).body(()).unwrap();
    for (length, body) in [("4", &b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"[..]), ("400", b"short")] {
        let mut client = Client::to(&gateway).await;
        if let Ok(answer) = client.send(post(length), body).await {
            assert!(answer.status.is_client_error(), "{answer:?}");
            assert!(!answer.text.contains("smuggled"), "{answer:?}");
        }
        let next = client.get("http://a/next").await;
        assert!(next.text.starts_with("GET /next "), "{}", next.text);
    }
    let answer = Client::to(&gateway).await.send(post("5"), b"hello").await.unwrap();
    assert!(answer.text.ends_with("\r\n\r\nhello"), "{}", answer.text);
}

/// Bodies of unknown length, and trailers; what only we may say is taken out of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bodies_and_trailers_pass() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let client = Client::to(&gateway).await;
    let request =
        Request::post("http://a/").header("keybound-subject", "eve").header("trailer", "x-sum").body(()).unwrap();
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut stream) = requests.send_request(request, false).unwrap();
    stream.send_data(Bytes::from_static(b"hel"), false).unwrap();
    stream.send_data(Bytes::from_static(b"lo"), false).unwrap();
    let trailers = [("x-sum", "7"), ("keybound-subject", "eve"), ("authorization", "eve")];
    stream
        .send_trailers(HeaderMap::from_iter(trailers.map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()))))
        .unwrap();
    let answer = Answer::read(response.await.unwrap()).await.unwrap();
    let (head, body) = answer.text.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body, "hello\nx-sum: 7");
    assert!(!answer.text.contains("eve"), "{}", answer.text);

    let said = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\nConnection: x\r\n\r\n";
    let upstream = Upstream::saying(said);
    let gateway = Gateway::open(upstream.address, "");
    let request = Request::get("http://a/").header("te", "trailers").body(()).unwrap();
    let answer = Client::to(&gateway).await.send(request, b"").await.unwrap();
    let trailers = answer.trailers.unwrap();
    assert_eq!((answer.text.as_str(), trailers.get("x-sum").unwrap().as_bytes()), ("hi", &b"7"[..]));
    assert!(!trailers.contains_key("connection"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn bodies_are_bounded_in_size_and_time() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "body_bytes = \"1KiB\"");
    let mut client = Client::to(&gateway).await;
    let post = || Request::post("http://a/").body(()).unwrap();
    let answer = client.send(post(), &[b'x'; 1025]).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (413, "body.oversized"));
    let declared = Request::post("http://a/").header("content-length", "2000").body(()).unwrap();
    let (response, _stream) = client.requests.send_request(declared, false).unwrap();
    assert_eq!(response.await.unwrap().status(), 413);

    let gateway = Gateway::open(upstream.address, "client_timeout = \"150ms\"");
    let mut client = Client::to(&gateway).await;
    let (response, mut stream) = client.requests.send_request(post(), false).unwrap();
    stream.send_data(Bytes::from_static(b"half"), false).unwrap();
    let answer = Answer::read(tokio::time::timeout(PATIENCE, response).await.unwrap().unwrap()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (408, "body.stalled"));
}

/// A client that gives no room for a response loses that response, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_response_nobody_takes_is_reset() {
    let upstream = Upstream::doing(|mut wire| {
        while let Some(head) = wire.head() {
            let length = if head.starts_with("GET /long") { 1 << 20 } else { 2 };
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            // The long one is given up by the gateway.
            if std::io::Write::write_all(&mut wire.stream, &vec![b'x'; length]).is_err() {
                return;
            }
        }
    });
    let gateway = Gateway::open(upstream.address, "client_timeout = \"200ms\"");
    let mut client = Client::with(&gateway, Builder::new().initial_window_size(1000)).await;
    let (response, _) = client.requests.send_request(Request::get("http://a/long").body(()).unwrap(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut taken = 0;
    let error = loop {
        match tokio::time::timeout(PATIENCE, body.data()).await.expect("it is still there") {
            Some(Ok(piece)) => taken += piece.len(),
            Some(Err(error)) => break error,
            None => panic!("ended as if whole"),
        }
    };
    assert_eq!((taken, error.reason()), (1000, Some(Reason::CANCEL)));
    assert_eq!(client.get("http://a/short").await.text, "xx");
}

/// Uploads wait for an upstream that does not take them: no more is held than a window and the buffers of sockets.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_upload_waits_for_the_upstream() {
    let (go, going) = std::sync::mpsc::channel::<()>();
    let going = std::sync::Mutex::new(going);
    const WHOLE: usize = 32 << 20;
    let upstream = Upstream::doing(move |mut wire| {
        wire.head();
        going.lock().unwrap().recv().unwrap();
        (0..WHOLE >> 20).for_each(|_| drop(wire.exactly(1 << 20)));
        wire.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let gateway = Gateway::open(upstream.address, "");
    let client = Client::to(&gateway).await;
    let request = Request::post("http://a/").header("content-length", WHOLE).body(()).unwrap();
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (response, mut stream) = requests.send_request(request, false).unwrap();
    let mut sent = 0;
    let mut go = Some(go);
    while sent < WHOLE {
        stream.reserve_capacity((WHOLE - sent).min(1 << 16));
        let patience = if go.is_some() { Duration::from_millis(500) } else { PATIENCE };
        let granted = tokio::time::timeout(patience, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let Ok(granted) = granted else {
            assert!(sent < 20 << 20, "{} MiB were taken", sent >> 20);
            go.take().expect("the upload stands still, though it is taken").send(()).unwrap();
            continue;
        };
        let granted = granted.unwrap().unwrap();
        sent += granted;
        stream.send_data(Bytes::from(vec![b'x'; granted]), sent == WHOLE).unwrap();
    }
    assert!(go.is_none(), "nothing ever waited");
    assert_eq!(response.await.unwrap().status(), 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_at_rest_is_told_to_end() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "idle_timeout = \"4s\"");
    let mut client = Client::to(&gateway).await;
    let began = Instant::now();
    assert_eq!(client.get("http://a/").await.status, 200);
    let (keep, requests) = (client.requests.clone(), client);
    requests.end().await.unwrap();
    drop(keep);
    let rested = began.elapsed();
    assert!(rested > Duration::from_millis(3990), "{rested:?}");
}

/// Whoever does not answer a ping is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_that_is_gone_is_found_out() {
    let upstream = Upstream::doing(|mut wire| {
        wire.head();
        // It never answers.
        wire.is_over();
    });
    let gateway = Gateway::open(upstream.address, "client_timeout = \"150ms\"\nheader_timeout = \"1s\"");
    let mut client = gateway.client();
    // Preface, empty settings, and a GET of `/` on `a`.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a");
    let began = Instant::now();
    client.read_out();
    // By then its upstream would have given up.
    assert!(began.elapsed() < PATIENCE);
}

/// SIGTERM: what is under way is finished, and what comes after is told that it never began.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_in_flight_are_finished() {
    let (arrived, arrivals) = std::sync::mpsc::channel();
    let (go, going) = std::sync::mpsc::channel::<()>();
    let going = std::sync::Mutex::new(going);
    let upstream = Upstream::doing(move |mut wire| {
        wire.head();
        arrived.send(()).unwrap();
        going.lock().unwrap().recv().unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = Client::to(&gateway).await;
    let resting = Client::to(&gateway).await;
    let (response, _) = client.requests.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
    tokio::task::spawn_blocking(move || arrivals.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    gateway.stop();
    let keep = resting.requests.clone();
    resting.end().await.unwrap();
    drop(keep);
    go.send(()).unwrap();
    let answer = Answer::read(response.await.unwrap()).await.unwrap();
    assert_eq!(answer.text, "done");
    client.end().await.unwrap();
    let drained = tokio::task::spawn_blocking(move || gateway.drained()).await.unwrap();
    assert_eq!(drained.cut_off, 0);
}

/// As a gRPC stream does not: it is told of the end at once, and cut off when the time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_stream_that_does_not_end_is_cut_off() {
    let upstream = Upstream::doing(|mut wire| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        wire.is_over();
    });
    let gateway = Gateway::open(upstream.address, "drain_timeout = \"100ms\"");
    let mut client = Client::to(&gateway).await;
    let (response, _) = client.requests.send_request(Request::get("http://a/").body(()).unwrap(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "hello");
    gateway.stop();
    let next = tokio::time::timeout(PATIENCE, body.data()).await.expect("it is still there");
    assert!(next.is_none_or(|piece| piece.is_err()) && !body.is_end_stream(), "it looks as if it were whole");
    let drained = tokio::task::spawn_blocking(move || gateway.drained()).await.unwrap();
    assert_eq!(drained.cut_off, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn too_many_connections_are_told_so() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "connections = 1");
    let mut kept = Client::to(&gateway).await;
    assert_eq!(kept.get("http://a/").await.status, 200);
    let mut other = Client::to(&gateway).await;
    let answer = other.get("http://a/").await;
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (503, "overload"));
    other.end().await.unwrap();
}

/// To HTTP/2 upstreams: the same for a client of HTTP/1.1, with its faults told as its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_upstream_of_http2() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo_http2(stream));
        }
    });
    let route = format!(
        "[limits]\nbody_bytes = \"1KiB\"\nclient_timeout = \"200ms\"\n\
         [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"h2c://{address}\"]"
    );
    let gateway = Gateway::with(&route);
    tokio::task::spawn_blocking(move || {
        let chunked = |body: &str| {
            format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        };
        let answer = gateway.answer("GET /x?y HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n");
        assert_eq!(answer.text(), "GET http://api.example.com/x?y te=\n");
        assert_eq!(gateway.answer(chunked("hello")).text(), "POST http://a/x te=trailers\nhello");
        for (request, status, reason) in [
            (chunked(&"x".repeat(1025)), 413, "body.oversized"),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf".to_owned(), 408, "body.stalled"),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n".to_owned(), 400, "body.malformed"),
        ] {
            let answer = gateway.answer(&request);
            assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
        }
        assert_eq!(gateway.answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    })
    .await
    .unwrap();
}

async fn echo_http2(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            assert!(!head.headers.contains_key("host") && !head.headers.contains_key("connection"));
            let te = head.headers.get("te").map_or("", |te| te.to_str().unwrap());
            let mut seen = format!("{} {} te={te}\n", head.method, head.uri).into_bytes();
            while let Some(Ok(piece)) = body.data().await {
                seen.extend(piece);
            }
            if body.is_end_stream()
                && let Ok(mut stream) = respond.send_response(http::Response::new(()), false)
            {
                let _ = stream.send_data(seen.into(), true);
            }
        });
    }
    Ok(())
}

/// A certificate that is checked, and one that is not the right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_upstream_inside_tls() {
    let files = Files::new();
    let other = Files::new();
    let upstream = Upstream::echo();
    // A gateway is as good an upstream as any.
    let behind = Gateway::listening(
        &files.listen(),
        &format!("[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]", upstream.address),
    );
    let port = behind.address.port();
    tokio::task::spawn_blocking(move || {
        for scheme in ["https", "h2"] {
            let through = |ca: &str| {
                let gateway = Gateway::with(&format!(
                    "[limits]\nconnect_timeout = \"30s\"\n\
                     [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"{scheme}://localhost:{port}\"]\n{ca}"
                ));
                gateway.answer("GET /x HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
            };
            let answer = through(&files.authority());
            assert!(answer.text().starts_with("GET /x HTTP/1.1\r\n"), "{scheme}: {answer:?}");
            for ca in [other.authority(), String::new()] {
                let answer = through(&ca);
                assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.unreachable"), "{scheme}");
            }
        }
    })
    .await
    .unwrap();
    drop(behind);
}

/// `limits.header_bytes` holds for the answers of such an upstream: what is longer is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_header_of_an_upstream_is_bounded() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_at_length(stream));
        }
    });
    let gateway = Gateway::with(&format!(
        "[limits]\nheader_bytes = \"8KiB\"\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"h2c://{address}\"]"
    ));
    tokio::task::spawn_blocking(move || {
        let get = |length: usize| gateway.answer(format!("GET /{length} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(get(7_000).status, 200);
        for length in [9_000, 60_000] {
            let answer = get(length);
            assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.invalid"), "{length}");
        }
        assert_eq!(get(10).status, 200);
    })
    .await
    .unwrap();
}

/// With a field as long as the path says.
async fn answer_at_length(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let length = request.uri().path()[1..].parse().unwrap();
        let response = http::Response::builder().header("x", "x".repeat(length)).body(()).unwrap();
        respond.send_response(response, true)?;
    }
    Ok(())
}
