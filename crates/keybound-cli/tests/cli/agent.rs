//! `keybound agent` before the self-contained default, used by curl, by Python and by hand.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

use crate::support::{PATIENCE, Place, Service, after};

struct Scene {
    place: Place,
    _api: Service,
    secret: String,
    base: String,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let mut api = place.start(&["serve", "--listen", "127.0.0.1:0"]);
        let export = api.line("export KEYBOUND_CLIENT_SECRET=");
        let base = format!("http://{}", api.address());
        let secret = after(&export, "export KEYBOUND_CLIENT_SECRET=").to_owned();
        place.write("client.secret", &secret);
        Self { place, _api: api, secret, base }
    }

    /// An agent for the API, which says what it listens at.
    fn agent(&self, listen: &str, more: &[&str]) -> Service {
        let issuer = format!("{}/issuer", self.base);
        let access = ["agent", "--issuer", &issuer, "--client-id", "demo", "--client-secret-file", "client.secret"];
        let own = ["--listen", listen, "--target", &self.base];
        self.place.start(&[&access[..], &own, more].concat())
    }

    /// The secret in the file of the agent.
    fn word(&self) -> String {
        std::fs::read_to_string(self.place.work().join("agent.secret")).unwrap().trim().to_owned()
    }
}

const FILE: [&str; 2] = ["--secret-file", "agent.secret"];

fn curl(args: &[&str]) -> Output {
    let given = ["--silent", "--show-error", "--max-time", "60", "--noproxy", ""];
    Command::new("curl").args(given).args(args).output().expect("curl is there")
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What stands behind the head of the answer, and the head.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

// R-CLI-01, R-NONCE-19: curl, which knows nothing of DPoP, in each way to name a target and to show the secret
#[test]
fn curl_gets_through() {
    let scene = Scene::new();
    let mut agent = scene.agent("127.0.0.1:0", &FILE);
    let address = agent.address();
    let word = scene.word();
    let (place, target) = (format!("http://{address}"), format!("{}/orders?page=1", scene.base));
    let mode = std::fs::metadata(scene.place.work().join("agent.secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(agent.line("curl ").contains("$(cat agent.secret)"), "a secret in a file is not shown");

    let user = format!("agent:{word}");
    let proxy = format!("http://agent:{word}@{address}");
    let (bearer, own) = (format!("Authorization: Bearer {word}"), format!("Keybound-Agent-Secret: {word}"));
    let here = format!("{place}/orders?page=1");
    for args in [
        &["-u", &user, &here][..],
        &["-H", &bearer, &here],
        &["--http2-prior-knowledge", "-u", &user, &here],
        &["--http2-prior-knowledge", "-u", &user, "-d", "sku=17", &here],
        &["-H", &own, &here],
        &["-x", &proxy, &target],
        &["-u", &user, "-d", "sku=17", &here],
        &["-u", &user, "-X", "POST", "-T", "-", "-H", "Transfer-Encoding: chunked", &here],
    ] {
        let seen = json(&curl(args));
        assert_eq!((&seen["path"], &seen["client"]), (&"/orders".into(), &"demo".into()), "{args:?}: {seen}");
    }
    assert_eq!(agent.terminate(), Some(0));
}

// Other local users and pages stay out.
#[test]
fn strangers_stay_out() {
    let scene = Scene::new();
    let mut agent = scene.agent("127.0.0.1:0", &FILE);
    let address = agent.address();
    let good = format!("Host: {address}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n", scene.word());
    let other = good.replace(&format!("Host: {address}"), "Host: evil.example");
    for (head, expected, code) in [
        (format!("GET / HTTP/1.1\r\n{good}"), "HTTP/1.1 200", ""),
        (format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n"), "HTTP/1.1 401", "secret"),
        (
            format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer x\r\n"),
            "HTTP/1.1 401",
            "secret",
        ),
        (format!("GET {}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", scene.base), "HTTP/1.1 407", "secret"),
        (format!("GET / HTTP/1.1\r\n{other}"), "HTTP/1.1 421", "host"),
        (format!("GET / HTTP/1.1\r\n{good}Origin: https://evil.example\r\n"), "HTTP/1.1 403", "page"),
        (format!("GET / HTTP/1.1\r\n{good}Origin: null\r\n"), "HTTP/1.1 403", "page"),
        (format!("GET / HTTP/1.1\r\n{good}Origin: http://{address}\r\n"), "HTTP/1.1 200", ""),
        (format!("GET / HTTP/1.1\r\n{good}Sec-Fetch-Site: cross-site\r\n"), "HTTP/1.1 403", "page"),
        (format!("GET http://evil.example/ HTTP/1.1\r\n{good}"), "HTTP/1.1 403", "target"),
        (format!("CONNECT 127.0.0.1:443 HTTP/1.1\r\n{good}"), "HTTP/1.1 405", "connect"),
        // Its own name in full is itself, as any server's is (RFC 9112 section 3.2.2), and no other name is.
        (format!("GET http://{address}/ HTTP/1.1\r\n{good}"), "HTTP/1.1 200", ""),
        (format!("GET http://x@{address}/ HTTP/1.1\r\n{good}"), "HTTP/1.1 403", "target"),
        (format!("GET http://{address}.evil.example/ HTTP/1.1\r\n{good}"), "HTTP/1.1 403", "target"),
        (format!("GET http://169.254.169.254/latest/ HTTP/1.1\r\n{good}"), "HTTP/1.1 403", "target"),
        (format!("GET / HTTP/1.1\r\n{good}Host: {address}\r\n"), "HTTP/1.1 421", "host"),
        (format!("GET / HTTP/1.1\r\n{}", good.replace("127.0.0.1", "127.0.0.1.nip.io")), "HTTP/1.1 421", "host"),
        // What an answer would have to be looked at for, and what is no message any more.
        (format!("GET / HTTP/1.1\r\n{good}Upgrade: websocket\r\nConnection: Upgrade\r\n"), "HTTP/1.1 501", "upgrade"),
        (format!("GET / HTTP/1.1\r\n{good}Sec-Fetch-Site: same-site\r\n"), "HTTP/1.1 403", "page"),
    ] {
        let answer = raw(address, &format!("{head}\r\n"));
        assert!(answer.starts_with(expected), "{head}: {answer}");
        if !code.is_empty() {
            assert!(answer.contains(&format!("keybound-agent-error: {code}\r\n")), "{head}: {answer}");
        }
    }
    let tunnel = curl(&["-x", &format!("http://agent:{}@{address}", scene.word()), "https://127.0.0.1:1/"]);
    assert!(!tunnel.status.success());
}

#[test]
fn a_socket_is_its_owners_alone() {
    let scene = Scene::new();
    let path = scene.place.path().join("agent.sock");
    let (listen, socket) = (format!("unix:{}", path.display()), path.display().to_string());
    let mut agent = scene.agent(&listen, &[]);
    agent.line("listening address=");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let seen = json(&curl(&["--unix-socket", &socket, "http://agent/hello"]));
    assert_eq!(seen["path"], "/hello");
    let mut second = scene.agent(&listen, &[]);
    second.line("another program listens there");
    assert_eq!(second.ended().code(), Some(1));
    assert_eq!(agent.terminate(), Some(0));
    assert!(!path.exists());

    // What a killed one left behind is replaced, and what is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut agent = scene.agent(&listen, &[]);
    agent.line("listening address=");
    assert_eq!(agent.terminate(), Some(0));
    std::fs::write(&path, "mine").unwrap();
    let mut agent = scene.agent(&listen, &[]);
    agent.line("there is something else of that name");
    assert_eq!(agent.ended().code(), Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

// A new key for new tokens, without an end to what is on its way.
#[test]
fn the_agent_takes_a_new_key() {
    let scene = Scene::new();
    let old = scene.place.run(&["key", "new", "k", "--json"]).json()["jkt"].clone();
    let mut agent = scene.agent("127.0.0.1:0", &[&FILE[..], &["--key", "k"]].concat());
    let address = agent.address();
    let (user, url) = (format!("agent:{}", scene.word()), format!("http://{address}/hello"));
    let seen = || json(&curl(&["-u", &user, &url]))["jkt"].clone();
    assert_eq!(seen(), old);
    scene.place.run(&["key", "rotate", "k"]).good();
    agent.signal("HUP");
    agent.line("new tokens are of another key");
    assert_eq!(seen(), old, "the token it has goes on");
    agent.signal("HUP");
    agent.line("the key is still the same");
    scene.place.run(&["key", "delete", "k", "--yes"]).good();
    agent.signal("HUP");
    agent.line("the key stays");
    assert_eq!(seen(), old);
    assert_eq!(agent.terminate(), Some(0));
}

// A language without a library for DPoP, by nothing but the environment.
#[test]
fn python_gets_through_by_its_proxy_setting() {
    let scene = Scene::new();
    let mut agent = scene.agent("127.0.0.1:0", &FILE);
    let address = agent.address(); // from then on there is a secret
    let proxy = format!("http://agent:{}@{address}", scene.word());
    let script = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())";
    let mut python = Command::new("python3");
    python
        .args(["-c", script, &format!("{}/orders", scene.base)])
        .env("http_proxy", proxy)
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    assert_eq!(json(&python.output().expect("python3 is there"))["path"], "/orders");
}

/// A target that answers each request as `script` says, and hands back what it was sent.
fn target(answers: Vec<&'static str>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let mut seen = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                let length = stream.read(&mut piece).unwrap();
                request.extend_from_slice(&piece[..length]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            seen.push(String::from_utf8(request).unwrap());
        }
        seen
    };
    (address, thread::spawn(serve))
}

// Fields of one hop and the agent's own go no further, in either direction; the nonce is the agent's.
#[test]
fn what_is_between_two_stays_there() {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    let (to, seen) = target(vec![
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error=\"use_dpop_nonce\", algs=\"ES256\"\r\nDPoP-Nonce: n-1\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nDPoP-Nonce: n-2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ]);
    let base = format!("api=http://{to}/v1");
    let args =
        ["agent", "--key", "k", "--token", "abc", "--listen", "127.0.0.1:0", "--secret-file", "s", "--target", &base];
    let mut agent = place.start(&args);
    let address = agent.address();
    let word = std::fs::read_to_string(place.work().join("s")).unwrap();
    let word = word.trim();
    let head = format!("Host: {address}\r\nKeybound-Agent-Secret: {word}\r\nAuthorization: Bearer mine\r\n");
    let more = "Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\nDPoP: forged\r\nX-End: 1\r\nContent-Length: 4\r\n\r\nbody";
    let answer = raw(address, &format!("PUT /api/orders?page=1 HTTP/1.1\r\n{head}{more}"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok") && answer.contains("x-end: 1"), "{answer}");
    assert!(!answer.contains("dpop-nonce") && !answer.contains("x-hop"), "{answer}");
    let answer = raw(address, &format!("GET /api/away HTTP/1.1\r\n{head}Connection: close\r\n\r\n"));
    assert!(
        answer.starts_with("HTTP/1.1 302") && answer.contains("location: http://127.0.0.1:1/elsewhere"),
        "{answer}"
    );

    let seen = seen.join().unwrap();
    for request in &seen {
        assert!(request.contains("/v1/"), "{request}");
        assert!(request.contains("authorization: DPoP abc\r\n") && request.contains("dpop: ey"), "{request}");
        let lower = request.to_lowercase();
        for gone in ["x-mine", "trailers", "forged", "bearer", "keybound-agent-secret", word] {
            assert!(!lower.contains(&gone.to_lowercase()), "{gone}: {request}");
        }
    }
    assert!(seen[0].contains("x-end: 1") && seen[0].contains("content-length: 4"), "{}", seen[0]);
    let answer = raw(address, &format!("GET /none HTTP/1.1\r\n{head}Connection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

// R-CLI-18: token and proof go nowhere outside of a target's path, neither by what a program asks for nor by a redirect
#[test]
fn nothing_leads_out_of_the_path_of_a_target() {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    let moved = |to: &str| {
        let text = format!("HTTP/1.1 307 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        &*Box::leak(text.into_boxed_str())
    };
    let ways = ["/admin", "/v1/../admin", "/v1/..;/admin", "/v1/%252e%252e/admin", "/v12"];
    let inside = [moved("/v1/next"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"];
    let (to, seen) = target(inside.into_iter().chain(ways.map(moved)).collect());
    let base = format!("http://{to}/v1");
    let args = ["agent", "--key", "k", "--token", "abc", "--listen", "127.0.0.1:0", "--secret-file", "s"];
    let mut agent = place.start(&[&args[..], &["--target", &base]].concat());
    let address = agent.address();
    let word = std::fs::read_to_string(place.work().join("s")).unwrap();
    let fields = format!("Host: {address}\r\nKeybound-Agent-Secret: {}\r\nConnection: close\r\n\r\n", word.trim());
    let ask = |path: &str| raw(address, &format!("GET {path} HTTP/1.1\r\n{fields}"));
    assert!(ask("/in").ends_with("ok"));
    for way in ways {
        let answer = ask("/away");
        assert!(answer.starts_with("HTTP/1.1 307") && answer.contains(&format!("location: {way}\r\n")), "{answer}");
    }
    for path in ["/../admin", "/..;/admin", "/%2e%2e;/admin", "/%252e%252e/admin", "/..%5cadmin", "/..%2fadmin"] {
        assert!(ask(path).starts_with("HTTP/1.1 404"), "{path}");
    }
    let asked: Vec<String> =
        seen.join().unwrap().iter().map(|request| request.lines().next().unwrap_or_default().to_owned()).collect();
    let away = ["GET /v1/away HTTP/1.1"; 5];
    assert_eq!(asked, [&["GET /v1/in HTTP/1.1", "GET /v1/next HTTP/1.1"], &away[..]].concat());
}

#[test]
fn mistakes_are_said_before_anybody_waits() {
    let scene = Scene::new();
    let place = &scene.place;
    place.run(&["key", "new", "k"]).good();
    place.write("open", "secret\n");
    std::os::unix::fs::symlink("nothing", place.work().join("link")).unwrap();
    let issuer = format!("{}/issuer", scene.base);
    let given = ["agent", "--key", "k", "--token", "abc"];
    for (args, status, expected) in [
        ([&given[..], &["--target", "http://api.example.com"]].concat(), 2, "is plain http"),
        (given.to_vec(), 2, "--target"),
        (
            [&given[..], &["--target", "https://a.example", "--listen", "0.0.0.0:1"]].concat(),
            2,
            "the agent is for this machine",
        ),
        (
            [&given[..], &["--target", "https://a.example", "--target", "https://b.example"]].concat(),
            2,
            "several targets need names",
        ),
        (
            [&given[..], &["--target", "https://a.example", "--listen", "127.0.0.1:0", "--secret-file", "open"]]
                .concat(),
            1,
            "chmod 600 open",
        ),
        (
            [&given[..], &["--target", "https://a.example", "--listen", "127.0.0.1:0", "--secret-file", "none/secret"]]
                .concat(),
            2,
            "none/secret: No such file",
        ),
        (
            [&given[..], &["--target", "https://a.example", "--listen", "127.0.0.1:0", "--secret-file", "link"]]
                .concat(),
            2,
            "link is a link that leads to nothing",
        ),
        (vec!["agent", "--target", "https://a.example"], 2, "there is no token"),
        (
            vec!["agent", "--issuer", &issuer, "--client-id", "demo", "--target", "https://a.example"],
            1,
            "client.authentication",
        ),
    ] {
        let said = place.run(&args);
        assert_eq!(said.status, status, "{args:?}: {said:?}");
        assert!(said.stderr.contains(expected), "{args:?}: {said:?}");
    }
    assert!(!scene.secret.is_empty());
}
