//! No secret is in the log: at no level, of no library, whatever comes in at whichever listener, by HTTP/1.1 or by HTTP/2.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};

use crate::client::{Client, ISSUER, ORIGIN};
use crate::frames;
use crate::support::{Place, Service, after, free_address, get, say};

/// Every secret here has this in it, or is a JWT.
const HUSH: &str = "hush";

/// Beginnings that give a secret away: the word, a JWT, and `app:hush` as Basic has it.
const SECRETS: [&str; 3] = [HUSH, "eyJ", "YXBwOmh1c2"];

/// As much as can be asked for, of us and of libraries.
const EVERYTHING: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,tower=trace,sqlx=trace,rustls=trace";

/// The fields of a question of Envoy's.
const CHECK: [(&str, &str); 6] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/envoy.service.auth.v3.Authorization/Check"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];

struct Scene {
    _place: Place,
    service: Service,
    client: Client,
    front: SocketAddr,
    admin: SocketAddr,
    decisions: SocketAddr,
    ext_authz: SocketAddr,
}

impl Scene {
    /// A gateway with everything in it that gets secrets, which says as much as it can.
    fn new() -> Self {
        let (place, issuer) = (Place::new(), SoftwareKey::generate(Alg::Es256).unwrap());
        place.write("jwks.json", &format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json()));
        let (sample, nobody, gone) = (crate::serve::sample(), free_address(), hanging_up());
        place.write(
            "keybound.toml",
            &format!(
                r#"[listen]
address = "127.0.0.1:0"
admin = "127.0.0.1:0"
admin_secret = "hush-administrators"
decisions = "127.0.0.1:0"
ext_authz = "127.0.0.1:0"
decision_peers = ["127.0.0.1"]
[proof]
nonce = "require"
[log]
decisions = "all"
[[origin]]
url = "{ORIGIN}"
[[issuer]]
url = "{ISSUER}"
audience = ["{ORIGIN}"]
jwks_file = "jwks.json"
[[issuer]]
url = "https://opaque.example"
audience = ["{ORIGIN}"]
[issuer.introspection]
endpoint = "http://{nobody}/introspect"
client_id = "gateway"
client_secret = "hush-gateway"
[[route]]
path = "/"
upstream = ["{sample}"]
[[route]]
path = "/passed"
upstream = ["h2c://{gone}"]
mode = "open"
[authorization_server]
url = "https://as.example.com"
store = "sqlite:id.db"
[[authorization_server.client]]
client_id = "app"
client_secret = "hush-client-secret"
token_endpoint_auth_method = "client_secret_post"
grant_types = ["client_credentials"]
dpop_bound_access_tokens = false
"#
            ),
        );
        let mut command = place.command(&["serve", "--config", "keybound.toml"]);
        command.env("KEYBOUND_LOG", "trace");
        let mut service = Service::start(command);
        let mut listening = |before: &str, name: &str| {
            let line = service.line(before);
            after(&line, name).split_whitespace().next().unwrap().parse().unwrap()
        };
        let front = listening(": listening address=", " address=");
        let admin = listening(": listening address=", " admin=");
        let decisions = listening("questions of other proxies address=", " address=");
        let ext_authz = listening("questions of Envoy address=", " address=");
        Self { client: Client::new(&issuer), _place: place, service, front, admin, decisions, ext_authz }
    }

    /// What a good client does, and then everything else, at each listener.
    fn speak(&self) {
        let barrier = get(self.front, "/a", &self.client.fields(None));
        let nonce = after(&barrier, "dpop-nonce: ").to_owned();
        let good = self.client.fields(Some(&nonce));
        assert!(get(self.front, "/a", &good).starts_with("HTTP/1.1 200 "));
        assert!(get(self.front, "/a", &good).contains("replay.seen"));
        for (address, host) in [
            (self.front, "api.example.com"),
            (self.front, "as.example.com"),
            (self.admin, "localhost"),
            (self.decisions, "localhost"),
            (self.ext_authz, "localhost"),
        ] {
            let good = self.client.fields(Some(&nonce));
            for request in in_text(host, &good) {
                say(address, request);
            }
            for octets in in_frames(host, &good) {
                frames::say(address, &octets);
            }
        }
        let opaque = get(self.front, "/a", &self.client.fields_with("hush-opaque", Some(&nonce)));
        assert!(opaque.contains("introspection.unavailable"), "{opaque}");
        self.ask_the_issuer();
        self.ask_for_others(&nonce);
        self.administer();
    }

    fn ask_the_issuer(&self) {
        let post = |path: &str, fields: &str, form: &str| {
            let head = format!("POST {path} HTTP/1.1\r\nHost: as.example.com\r\nConnection: close\r\n{fields}");
            let form_of = "Content-Type: application/x-www-form-urlencoded\r\n";
            say(self.front, format!("{head}{form_of}Content-Length: {}\r\n\r\n{form}", form.len()))
        };
        let issued = post("/token", "", "grant_type=client_credentials&client_id=app&client_secret=hush-client-secret");
        assert!(issued.contains("\"access_token\":\"eyJ"), "{issued}");
        let token = after(&issued, "\"access_token\":\"").split('"').next().unwrap();
        for form in [
            "grant_type=client_credentials&client_id=app&client_secret=hush-wrong",
            "grant_type=authorization_code&code=hush&code_verifier=hush&client_id=app&client_secret=hush-client-secret",
            "grant_type=refresh_token&refresh_token=hush&client_id=app&client_secret=hush-client-secret",
            "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=eyJhIjoxfQ.hush.hush",
            "client_id=app&client_secret=hush-client-secret&grant_type=hush%ZZ",
        ] {
            for path in ["/token", "/par", "/revoke", "/introspect", "/device_authorization", "/register"] {
                post(path, &self.client.fields(None), form);
            }
        }
        let own = format!("client_id=app&client_secret=hush-client-secret&token={token}");
        post("/introspect", "Authorization: Basic YXBwOmh1c2gtY2xpZW50LXNlY3JldA==\r\n", &own);
        post("/introspect", "", &own);
        post("/revoke", "", &own);
        for path in [
            "/authorize?client_id=app&response_type=code&code_challenge=hush&state=hush&request=eyJhIjoxfQ.hush.hush",
            "/userinfo?access_token=hush",
            "/login?hush",
        ] {
            let fields = format!("Host: as.example.com\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n");
            say(self.front, format!("GET {path} HTTP/1.1\r\n{fields}Cookie: session=hush\r\n\r\n"));
        }
    }

    /// As the other proxies do, rightly and wrongly.
    fn ask_for_others(&self, nonce: &str) {
        for uri in ["/a", "/a?access_token=hush", "/a?access_token=hush hush", "hush", "/a%2f?hush"] {
            let about =
                format!("X-Forwarded-Method: GET\r\nX-Forwarded-Uri: {uri}\r\n{}", self.client.fields(Some(nonce)));
            get(self.decisions, "/ask?hush", &about);
            get(self.decisions, "/ask", &about.replace("X-Forwarded-Method: GET", "X-Forwarded-Method: hush, GET"));
            let question = frames::question("GET", uri, &self.client.fields(Some(nonce)));
            frames::say(self.ext_authz, &frames::call(&CHECK, &question));
            frames::say(self.ext_authz, &frames::call(&CHECK, &[&question[..], b"hush"].concat()));
        }
    }

    fn administer(&self) {
        let proof = self.client.fields(None);
        let explained = format!(r#"{{"proof": "{}", "token": "hush"}}"#, after(&proof, "DPoP: "));
        for (path, body) in
            [("/explain", &*explained), ("/explain", "hush"), ("/status.json", ""), ("/loglevel", "hush")]
        {
            for secret in ["hush-administrators", "hush-a-stranger"] {
                let fields = format!("Host: localhost\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n");
                let length = body.len();
                say(self.admin, format!("POST {path} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{body}"));
            }
        }
    }
}

/// An upstream that ends each connection once something came.
fn hanging_up() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
        }
    });
    address
}

/// Requests of HTTP/1.1 with secrets in every place, sound or not; `good` are fields with a token and a proof.
fn in_text(host: &str, good: &str) -> Vec<String> {
    let target = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{good}\r\n");
    let fields = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n");
    let body = |fields: &str, body: &str| {
        format!("POST /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n{body}")
    };
    let token = after(good, "Authorization: DPoP ");
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 17\r\n";
    vec![
        target("/a"),
        target("/passed?access_token=hush"),
        target(&format!("/a?access_token={token}")),
        target("/a?access_token=hush\u{1}"),
        target("/a?access_token=hush hush"),
        target("/a%2f?access_token=hush"),
        target("https://user:hush@api.example.com/a"),
        target("hush"),
        format!("GET /a?access_token=hush HTTP/9.9\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        format!("FETCH /a?access_token=hush HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        format!("GET /a HTTP/1.1\r\nHost: user:hush@{host}\r\nConnection: close\r\n{good}\r\n"),
        format!("GET /a HTTP/1.1\r\nHost: {host}\r\nHost: hush\r\nConnection: close\r\n{good}\r\n"),
        fields(&format!("{good}{good}")),
        fields(&format!("{good}Authorization: Bearer hush\r\n")),
        fields("Authorization: DPoP hush\r\nDPoP: hush\r\n"),
        fields("Authorization: DPoP hush~1\r\nDPoP: hush.hush.hush\r\n"),
        fields("Authorization: Basic YXBwOmh1c2g=\r\n"),
        fields("Authorization: DPoP hush\u{1}\r\n"),
        fields("Authorization DPoP hush\r\n"),
        fields("Authori zation: DPoP hush\r\n"),
        fields(" Authorization: DPoP hush\r\n"),
        fields(&format!("DPoP: {}\r\n", HUSH.repeat(20_000))),
        fields(&format!("Content-Length: hush\r\n{good}")),
        fields(&format!("Transfer-Encoding: hush\r\n{good}")),
        fields(&format!("Upgrade: hush\r\nConnection: Upgrade, hush\r\nTE: hush\r\nExpect: hush\r\n{good}")),
        body(form, "access_token=hush"),
        body(&format!("{form}{good}"), "access_token=hush"),
        body(&format!("Transfer-Encoding: chunked\r\n{good}"), "hush\r\n"),
        body(&format!("Transfer-Encoding: chunked\r\n{good}"), "1\r\nx\r\n0\r\nDPoP: hush\r\nhush\r\n\r\n"),
        "hush\r\n\r\n".to_owned(),
    ]
}

/// The same of HTTP/2.
fn in_frames(host: &str, good: &str) -> Vec<Vec<u8>> {
    let good: Vec<(&str, &str)> = good.lines().map(|line| line.split_once(": ").unwrap()).collect();
    let token = [("authorization", good[0].1), ("dpop", good[1].1)];
    let with = |changed: &[(&str, &str)], more: &[(&str, &str)]| {
        let usual = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", "/a")];
        let kept = usual.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
        let all: Vec<(&str, &str)> = kept.chain(changed.iter().copied()).chain(more.iter().copied()).collect();
        frames::request(&all)
    };
    let long = HUSH.repeat(20_000);
    vec![
        with(&[], &token),
        with(&[(":path", "/passed?access_token=hush")], &token),
        with(&[(":path", "/a?access_token=hush")], &token),
        with(&[(":path", "/a?access_token=hush hush")], &token),
        with(&[(":path", "/a?access_token=hush<")], &token),
        with(&[(":path", "hush hush")], &token),
        with(&[(":authority", "user:hush@api.example.com")], &token),
        with(&[(":authority", "user:hush@a b")], &token),
        with(&[(":scheme", "hush hush")], &token),
        with(&[(":scheme", "hush")], &token),
        with(&[(":method", "hush hush")], &token),
        with(&[(":method", "CONNECT")], &[(":protocol", "hush")]),
        with(&[(":status", "hush")], &token),
        with(&[], &[(":path", "/a?access_token=hush"), token[0]]),
        with(&[], &[token[0], token[0], token[1], token[1]]),
        with(&[], &[("authorization", "DPoP hush\u{1}")]),
        with(&[], &[("Authorization", "DPoP hush")]),
        with(&[], &[("dpop", "hush"), ("connection", "hush")]),
        with(&[], &[("dpop", "hush"), ("te", "hush")]),
        with(&[], &[("dpop", "hush"), ("content-length", "hush")]),
        with(&[], &[("dpop", &long)]),
        [with(&[], &token), frames::goodbye("hush")].concat(),
    ]
}

/// Whatever is asked of the log.
#[test]
fn no_secret_is_logged_at_any_level() {
    let mut scene = Scene::new();
    scene.speak();
    // Nor by what is set while it runs.
    let fields = "Host: localhost\r\nAuthorization: Bearer hush-administrators\r\nConnection: close\r\n";
    let length = EVERYTHING.len();
    let changed =
        say(scene.admin, format!("POST /loglevel HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{EVERYTHING}"));
    assert!(changed.contains("h2=trace"), "{changed}");
    scene.speak();
    scene.service.signal("TERM");
    assert_eq!(scene.service.ended().code(), Some(0));

    let said = scene.service.said();
    let has = |text: &str| said.iter().any(|line| line.contains(text));
    // It was all heard, and as much was said as there is to say.
    for text in
        ["admitted", "replay.seen", "DEBUG keybound", "introspection.unavailable", "decision.fields", "/introspect"]
    {
        assert!(has(text), "{text} was not said");
    }
    let told: Vec<_> = said.iter().filter(|line| SECRETS.iter().any(|secret| line.contains(secret))).collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// Of what clients of ours have: the secret of the client, its tokens and proofs, and the secret of the agent.
#[test]
fn no_client_logs_a_secret_at_any_level() {
    let place = Place::new();
    let mut api = place.start(&["serve", "--listen", "127.0.0.1:0"]);
    let export = api.line("export KEYBOUND_CLIENT_SECRET=");
    let (secret, base) =
        (after(&export, "export KEYBOUND_CLIENT_SECRET=").to_owned(), format!("http://{}", api.address()));
    let (issuer, url) = (format!("{base}/issuer"), format!("{base}/hello?page=hush"));
    let access = ["--issuer", &issuer, "--client-id", "demo"];
    let heard = [("KEYBOUND_CLIENT_SECRET", &*secret), ("KEYBOUND_LOG", EVERYTHING)];
    let is_told = |line: &str| line.contains(&*secret) || line.contains("eyJ");
    for (command, more) in [
        ("token", &["--fresh"][..]),
        ("request", &["-v", &url]),
        ("request", &["--json", "-d", "form=hush", &url]),
        ("load", &["-n", "50", &url]),
        ("load", &["-n", "50", "--scheme", "bearer", &url]),
    ] {
        let said = place.run_with(&heard, &[&[command], &access[..], more].concat());
        assert!(said.status == 0 || more.contains(&"bearer"), "{command}: {said:?}");
        assert!(!is_told(&said.stderr), "{command}: {}", said.stderr);
    }

    let agent = ["agent", "--listen", "127.0.0.1:0", "--secret-file", "agent.secret", "--target", &base];
    let mut command = place.command(&[&agent[..], &access].concat());
    command.envs(heard);
    let mut agent = Service::start(command);
    let address = agent.address();
    let word = std::fs::read_to_string(place.work().join("agent.secret")).unwrap().trim().to_owned();
    let own = format!("Authorization: Bearer {word}\r\n");
    assert!(get(address, "/hello?page=hush", &own).starts_with("HTTP/1.1 200 "));
    for request in in_text("127.0.0.1", &format!("{own}DPoP: hush\r\n").replace("Bearer", "DPoP")) {
        say(address, request);
    }
    for octets in in_frames("127.0.0.1", &format!("Authorization: Bearer {word}\r\nDPoP: hush\r\n")) {
        frames::say(address, &octets);
    }
    agent.line("not passed on");
    agent.line("DEBUG keybound");
    agent.signal("TERM");
    assert_eq!(agent.ended().code(), Some(0));
    let told: Vec<_> =
        agent.said().iter().filter(|line| is_told(line) || line.contains(&word) || line.contains(HUSH)).collect();
    assert!(told.is_empty(), "{told:#?}");
}
