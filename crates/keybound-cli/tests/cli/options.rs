//! The options of `keybound request` that curl has too, against a server that says what it got; and profiles.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use axum::extract::Request;
use http::{HeaderMap, Method};

use crate::support::{PATIENCE, Place, Said};

/// A request as it came.
#[derive(Debug)]
struct Seen {
    method: Method,
    target: String,
    fields: HeaderMap,
    body: String,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

struct Scene {
    place: Place,
    address: SocketAddr,
    seen: Receiver<Seen>,
}

impl Scene {
    /// A server that answers `/404` with that and all else with 200, always with a body.
    fn new() -> Self {
        let (sender, seen) = channel();
        let (ready, address) = channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                let app = axum::Router::new().fallback(move |request: Request| {
                    let sender = sender.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                        let missing = head.uri.path() == "/404";
                        let (method, target) = (head.method, head.uri.to_string());
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        sender.send(Seen { method, target, fields: head.headers, body }).unwrap();
                        let status = if missing { http::StatusCode::NOT_FOUND } else { http::StatusCode::OK };
                        (status, [("content-type", "text/plain")], "answer")
                    }
                });
                axum::serve(listener, app).await.unwrap();
            });
        });
        let place = Place::new();
        place.run(&["key", "new", "k"]).good();
        Self { place, address: address.recv_timeout(PATIENCE).unwrap(), seen }
    }

    fn run(&self, path: &str, args: &[&str]) -> Said {
        let url = format!("http://{}{path}", self.address);
        self.place.run(&[&["request", "--key", "k", "--token", "abc"], args, &[&url]].concat())
    }

    /// What the server got.
    #[track_caller]
    fn got(&self, path: &str, args: &[&str]) -> Seen {
        self.run(path, args).good();
        self.seen.recv_timeout(PATIENCE).unwrap()
    }
}

#[test]
fn data_as_with_curl() {
    let scene = Scene::new();
    scene.place.write("lines", "a\nb\n");
    for (args, expected) in [
        (&["-d", "a=1", "-d", "b=2"][..], "a=1&b=2"),
        (&["-d", "@lines"], "ab"),
        (&["--data-binary", "@lines"], "a\nb\n"),
        (&["--data-raw", "@lines"], "@lines"),
        (&["--data-urlencode", "q=a b&c"], "q=a+b%26c"),
        (&["--data-urlencode", "=a=b", "--data-urlencode", "n@lines"], "a%3Db&n=a%0Ab%0A"),
    ] {
        let seen = scene.got("/", args);
        assert_eq!((seen.method, &*seen.body), (Method::POST, expected), "{args:?}");
        assert_eq!(seen.fields["content-type"], "application/x-www-form-urlencoded");
    }
    let seen = scene.got("/orders?page=1#top", &["-G", "-d", "a=1", "--data-urlencode", "q=x y"]);
    assert_eq!((&seen.method, &*seen.target, &*seen.body), (&Method::GET, "/orders?page=1&a=1&q=x+y", ""));
    let seen = scene.got("/", &["--url-query", "a=1&2", "-d", "x"]);
    assert_eq!((&seen.method, &*seen.target, &*seen.body), (&Method::POST, "/?a=1%262", "x"));
}

#[test]
fn fields_are_sent_as_they_are_given() {
    let scene = Scene::new();
    let seen = scene.got("/", &["-H", "X-One: a b", "-H", "x-one: c", "-H", "Content-Type: text/csv", "-d", "x,y"]);
    let values: Vec<_> = seen.fields.get_all("x-one").iter().collect();
    assert_eq!(values, ["a b", "c"]);
    assert_eq!((seen.field("content-type"), seen.fields.get_all("content-type").iter().count()), ("text/csv", 1));
}

#[test]
fn answers_go_to_one_file_or_to_one_each() {
    let scene = Scene::new();
    let other = format!("http://{}/404", scene.address);
    let kept = |name: &str| std::fs::read_to_string(scene.place.work().join(name)).unwrap();
    let said = scene.run("/", &["-o", "both", &other]);
    assert_eq!((said.status, &*said.stdout, &*kept("both")), (1, "", "answeranswer"), "{said:?}");
    let said = scene.run("/", &["-o", "first", "-w", "%{http_code} ", &other, "-o", "second"]);
    assert_eq!((said.status, &*said.stdout), (1, "404 200 "), "what -w prints is no part of an answer: {said:?}");
    assert_eq!((&*kept("first"), &*kept("second")), ("answer", "answer"));
    assert_eq!(scene.run("/", &["-o", "-"]).good(), "answer");
    for args in [&["-o", "a", "-o", "b"][..], &["-o", "a", "-o", "b", "-o", "c", &other]] {
        let said = scene.run("/", args);
        assert!(said.status == 2 && said.stderr.contains("-o is given"), "{said:?}");
    }
    let said = scene.run("/", &["-o", "first", &other, "-o", "none/second"]);
    assert!(said.status == 1 && said.stderr.contains("none/second: No such file"), "{said:?}");
    assert_eq!(scene.seen.try_iter().count(), 5, "nothing is sent that has no place to go");
}

// What comes is printed as it comes: the server ends its answer only when its beginning was read.
#[test]
fn an_answer_is_printed_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (read, more) = channel();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut one = [0];
            stream.read_exact(&mut one).unwrap();
            request.extend(one);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst").unwrap();
        more.recv_timeout(PATIENCE).unwrap();
        stream.write_all(b"second").unwrap();
    });
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    let mut command = place.command(&["request", "--key", "k", "--token", "abc", &url]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 5];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    read.send(()).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "second");
    assert!(child.wait().unwrap().success());
    serving.join().unwrap();
}

#[test]
fn bodies_of_other_kinds() {
    let scene = Scene::new();
    let seen = scene.got("/", &["--data-json", "{\"sku\": 17}"]);
    assert_eq!((&seen.method, &*seen.body), (&Method::POST, "{\"sku\": 17}"));
    assert_eq!((seen.field("content-type"), seen.field("accept")), ("application/json", "application/json"));
    let said = scene.run("/", &["--data-json", "{sku"]);
    assert_eq!(said.status, 2, "{said:?}");

    scene.place.write("file.txt", "text");
    let seen = scene.got("/", &["-F", "name=a \"b\"", "-F", "f=@file.txt;type=text/plain", "-F", "t=<file.txt"]);
    let boundary = seen.field("content-type").strip_prefix("multipart/form-data; boundary=").unwrap();
    let expected = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\na \"b\"\r\n--{boundary}\r\nContent-Disposition: \
         form-data; name=\"f\"; filename=\"file.txt\"\r\nContent-Type: text/plain\r\n\r\ntext\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"t\"\r\n\r\ntext\r\n--{boundary}--\r\n"
    );
    assert_eq!(seen.body, expected);
    let seen = scene.got("/", &["-T", "file.txt", "-A", "me/1"]);
    assert_eq!((&seen.method, &*seen.body, seen.field("user-agent")), (&Method::PUT, "text", "me/1"));
    assert_eq!(scene.run("/", &["-d", "x", "-F", "a=b"]).status, 2);
}

#[test]
fn what_is_printed() {
    let scene = Scene::new();
    let said = scene.run("/404", &["-f"]);
    assert_eq!((said.status, &*said.stdout), (1, ""), "{said:?}");
    assert!(said.stderr.contains("404 Not Found"), "{said:?}");
    assert_eq!(scene.run("/404", &[]).stdout, "answer");
    let said = scene.run("/404", &["-s"]);
    assert_eq!((said.status, &*said.stderr), (1, ""), "{said:?}");
    assert!(scene.run("/404", &["-sS"]).stderr.contains("404"));
    let said = scene.run("/", &["-L", "-w", " %{http_code} %{size_download} %{num_attempts} %{content_type}\\n"]);
    assert_eq!(said.good(), "answer 200 6 1 text/plain\n");
    let said = scene.run("/", &["-I"]);
    assert!(said.good().starts_with("HTTP/1.1 200 OK\r\n") && said.stdout.ends_with("\r\n\r\n"), "{said:?}");
}

// R-CLI-20: taken apart, and of no use to who reads it
#[test]
fn a_trace_shows_the_proof_and_no_secret() {
    let scene = Scene::new();
    let said = scene.run("/orders?page=1", &["--trace", "-X", "DELETE", "--nonce", "nonce-that-is-long"]);
    said.good();
    let seen = scene.seen.recv_timeout(PATIENCE).unwrap();
    let htu = format!("htu   http://{}/orders\n", scene.address);
    let jkt = scene.place.run(&["key", "thumbprint", "k"]);
    for shown in [
        "typ   dpop+jwt\n",
        "alg   ES256\n",
        "htm   DELETE\n",
        &htu,
        jkt.good().trim(),
        "(of the token in this request)",
    ] {
        assert!(said.stderr.contains(shown), "{shown}: {}", said.stderr);
    }
    assert!(said.stderr.contains("nonce nonce-… (18 characters)\n"), "{}", said.stderr);
    let proof = seen.field("dpop");
    for secret in ["abc\n", "nonce-that-is-long", proof, proof.split('.').nth(2).unwrap()] {
        assert!(!said.stderr.contains(secret), "{secret}: {}", said.stderr);
    }
}

#[test]
fn profiles_say_what_the_command_line_leaves_open() {
    let place = Place::new();
    let mut api = place.start(&["serve", "--listen", "127.0.0.1:0"]);
    let export = api.line("export KEYBOUND_CLIENT_SECRET=");
    let base = format!("http://{}", api.address());
    let folder = place.work().join("conf");
    std::fs::create_dir(&folder).unwrap();
    let secret = crate::support::after(&export, "export KEYBOUND_CLIENT_SECRET=");
    std::fs::write(folder.join("client.secret"), secret).unwrap();
    let text = format!(
        "[demo]\nissuer = \"{base}/issuer\"\nclient_id = \"demo\"\nclient_secret_file = \"client.secret\"\n\
         [odd]\nclient = \"x\"\n[bad]\nissuer = \"http://api.example.com\"\n"
    );
    std::fs::write(folder.join("profiles.toml"), text).unwrap();
    let file = ["--profiles", "conf/profiles.toml", "--profile"];
    let run = |command: &[&str], name: &str, url: &[&str]| place.run(&[command, &file, &[name], url].concat());
    let url = format!("{base}/hello");
    assert!(run(&["request"], "demo", &[&url]).good().contains("\"client\": \"demo\""));
    run(&["token"], "demo", &[]).good();
    let said = place.run(&["token", "--profiles", "conf/none.toml", "--profile", "demo"]);
    assert!(said.status == 2 && said.stderr.contains("the profile \"demo\" would stand"), "{said:?}");
    let said = place.run_with(&[("KEYBOUND_PROFILE", "demo")], &["token", "--profiles", "conf/profiles.toml"]);
    said.good();
    let said = run(&["request", "--client-id", "nobody"], "demo", &[&url]);
    assert!(
        said.status == 1 && said.stderr.contains("client.authentication"),
        "the command line comes first: {said:?}"
    );
    for (name, expected) in [
        ("none", "there is no profile \"none\"; there are: bad, demo, odd"),
        ("odd", "[odd] unknown field `client`"),
        ("bad", "is plain http"),
    ] {
        let said = run(&["request"], name, &[&url]);
        assert!(said.status == 2 && said.stderr.contains(expected), "{said:?}");
    }
}
