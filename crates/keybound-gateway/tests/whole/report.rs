//! `mode = "report"`: everything is looked at, nothing is refused or changed.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use http::Method;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::scene::{Running, Scene, now, route};
use crate::support::Upstream;

/// The log of this process, as JSON lines.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Log {
    /// The one of this process, from now on.
    pub(crate) fn begin() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let subscriber = tracing_subscriber::fmt().json().with_writer(log.clone()).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        })
    }

    /// Client and reason of what would have been refused on this route, in order.
    pub(crate) fn reported(&self, route: &str) -> Vec<(String, String)> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone());
        let of_route = events.filter(|event| event["route"] == route);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reported = of_route.map(|event| {
            assert_eq!((text(&event["message"]), text(&event["mode"])), ("would be refused".into(), "report".into()));
            (text(&event["client"]), text(&event["reason"]))
        });
        reported.collect()
    }
}

#[test]
fn nothing_is_refused_or_changed_and_all_is_told() {
    let log = Log::begin();
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let text = format!("[proof]\nnonce = \"require\"\n{}", route("/told", upstream.address, "mode = \"report\""));
    let gateway = scene.gateway(&text);
    let token = scene.token();
    let good = |nonce| scene.credentials(Method::GET, "/told", nonce);
    let query = format!("/told?access_token={token}");
    for (path, fields, reported) in [
        ("/told", String::new(), Some(("", "credentials.missing"))),
        ("/told", "Authorization: Basic YTpi\r\n".to_owned(), Some(("", "credentials.missing"))),
        (
            "/told",
            format!("Authorization: Bearer {}\r\n", scene.unbound_token()),
            Some(("orders-app", "token.unbound")),
        ),
        ("/told", format!("Authorization: Bearer {token}\r\n"), Some(("orders-app", "token.downgrade"))),
        ("/told", format!("Authorization: DPoP {token}\r\n"), Some(("orders-app", "proof.missing"))),
        (
            "/told",
            format!("Authorization: DPoP {token}\r\nDPoP: a\r\nDPoP: b\r\n"),
            Some(("orders-app", "proof.repeated")),
        ),
        ("/told", scene.credentials(Method::GET, "/other", None), Some(("orders-app", "htu.mismatch"))),
        ("/told", "Authorization: DPoP a.b.c\r\n".to_owned(), Some(("", "proof.missing"))),
        (&query, String::new(), Some(("", "credentials.query"))),
        // None is given here: the upstream's answers are its own.
        ("/told", good(None), Some(("orders-app", "nonce.missing"))),
        ("/told", good(Some("of-the-upstream")), Some(("orders-app", "nonce.unknown"))),
    ] {
        let before = log.reported("/told").len();
        let answer = gateway.get(path, &[&*fields, "Keybound-Subject: mallory\r\n"].concat());
        assert_eq!(answer.status, 200, "{fields}");
        assert_eq!((answer.field("dpop-nonce"), answer.field("www-authenticate")), (None, None));
        let seen = answer.text();
        let sent = |line: &str| seen.to_ascii_lowercase().contains(&format!("\r\n{}\r\n", line.to_ascii_lowercase()));
        assert!(fields.lines().all(sent), "{fields} became {seen}");
        assert!(seen.starts_with(&format!("GET {path} ")), "{seen}");
        assert!(!seen.to_ascii_lowercase().contains("keybound-"), "{seen}");
        let told = log.reported("/told").split_off(before);
        let expected: Vec<_> =
            reported.map(|(client, reason)| (client.to_owned(), reason.to_owned())).into_iter().collect();
        assert_eq!(told, expected, "{fields}");
    }
    assert_eq!(gateway.live.engine().replays().entries(), 0, "nobody leaves a trace who would be refused");
}

/// A gateway with a route in mode `required` and one in `report`, the same otherwise.
struct Twins {
    scene: Scene,
    gateway: Running,
    reported: &'static str,
    _upstream: Upstream,
}

impl Twins {
    fn new(reported: &'static str, proof: &str) -> Self {
        Log::begin();
        let (scene, upstream) = (Scene::new(), Upstream::echo());
        let settings = |mode: &str| format!("mode = \"{mode}\"\nscope = [\"orders:read\"]");
        let routes = ["/kept", reported]
            .map(|path| route(path, upstream.address, &settings(if path == reported { "report" } else { "required" })));
        let gateway = scene.gateway(&format!("[proof]\n{proof}\n{}", routes.concat()));
        Self { scene, gateway, reported, _upstream: upstream }
    }

    /// What is said of two requests that differ in nothing but the route: by the one that refuses, and by the one that counts.
    fn reasons(&self, request: impl Fn(&str) -> (Method, String, String)) -> (Option<String>, Option<String>) {
        let ask = |path: &str| {
            let (method, query, fields) = request(path);
            let head = format!("{method} {path}{query} HTTP/1.1\r\nHost: api.example.com\r\n");
            self.gateway.send(format!("{head}{fields}\r\n"))
        };
        let kept = ask("/kept");
        let before = Log::begin().reported(self.reported).len();
        assert_eq!(ask(self.reported).status, 200);
        let mut told = Log::begin().reported(self.reported).split_off(before);
        assert!(told.len() < 2, "{told:?}");
        ((kept.status != 200).then(|| kept.reason()), told.pop().map(|(_, reason)| reason))
    }
}

/// One fault at a time, under both nonce policies.
#[test]
fn what_is_counted_is_what_required_refuses() {
    for (reported, proof) in [("/offered", "nonce = \"offer\""), ("/demanded", "nonce = \"require\"")] {
        let twins = Twins::new(reported, proof);
        let scene = &twins.scene;
        let first = twins.gateway.get("/kept", &scene.credentials(Method::GET, "/kept", None));
        let nonce = first.field("dpop-nonce").unwrap();
        let with = |token: &str, proof: &str| format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
        let changed = |change: Value| {
            move |path: &str| {
                let token = scene.token_with(&change);
                (Method::GET, "", with(&token, &scene.proof(Method::GET, path, &token, Some(nonce))))
            }
        };
        let seconds = now().as_secs();
        let far = now().plus(Duration::from_secs(200_000));
        let other = Scene::new();
        type Faulty<'f> = Box<dyn Fn(&str) -> (Method, &'static str, String) + 'f>;
        let good = |path: &str| scene.credentials(Method::GET, path, Some(nonce));
        let table: Vec<(&str, Faulty<'_>)> = vec![
            ("none", Box::new(|path| (Method::GET, "?a=1", good(path)))),
            ("no credentials", Box::new(|_| (Method::GET, "", String::new()))),
            ("two credentials", Box::new(|path| (Method::GET, "", good(path) + "Authorization: DPoP x\r\n"))),
            ("token in the query", Box::new(|path| (Method::GET, "?access_token=x", good(path)))),
            ("malformed", Box::new(|_| (Method::GET, "", "Authorization: DPoP\r\n".into()))),
            (
                "unbound",
                Box::new(|_| (Method::GET, "", format!("Authorization: Bearer {}\r\n", scene.unbound_token()))),
            ),
            ("downgrade", Box::new(|_| (Method::GET, "", format!("Authorization: Bearer {}\r\n", scene.token())))),
            ("no proof", Box::new(|_| (Method::GET, "", format!("Authorization: DPoP {}\r\n", scene.token())))),
            ("two proofs", Box::new(|path| (Method::GET, "", good(path) + "DPoP: a.b.c\r\n"))),
            ("no proof at all", Box::new(|_| (Method::GET, "", with(&scene.token(), "a.b.c")))),
            (
                "a broken signature",
                Box::new(|path| {
                    let token = scene.token();
                    let proof = scene.proof(Method::GET, path, &token, Some(nonce));
                    let (signed, signature) = proof.rsplit_once('.').unwrap();
                    // Not the last character, some of whose bits are nobody's.
                    let first = if signature.starts_with('A') { 'B' } else { 'A' };
                    (Method::GET, "", with(&token, &format!("{signed}.{first}{}", &signature[1..])))
                }),
            ),
            ("another method", Box::new(|path| (Method::PUT, "", good(path)))),
            ("another path", Box::new(|_| (Method::GET, "", good("/other")))),
            ("no nonce", Box::new(|path| (Method::GET, "", scene.credentials(Method::GET, path, None)))),
            ("another's nonce", Box::new(|path| (Method::GET, "", scene.credentials(Method::GET, path, Some("x"))))),
            (
                "of another day",
                Box::new(|path| {
                    let token = scene.token();
                    (Method::GET, "", with(&token, &scene.proof_at(far, Method::GET, path, &token, Some(nonce))))
                }),
            ),
            (
                "another token",
                Box::new(|path| {
                    let proof = scene.proof(Method::GET, path, &scene.unbound_token(), Some(nonce));
                    (Method::GET, "", with(&scene.token(), &proof))
                }),
            ),
            ("expired", Box::new(changed(json!({"exp": seconds - 600})))),
            ("another issuer", Box::new(changed(json!({"iss": "https://other.example"})))),
            ("another audience", Box::new(changed(json!({"aud": "https://other.example"})))),
            ("no scope", Box::new(changed(json!({"scope": "orders:write"})))),
            ("another's key", Box::new(changed(json!({"cnf": {"jkt": other.thumbprint()}})))),
            ("no confirmation", Box::new(changed(json!({"cnf": {}})))),
            (
                "a compressed form",
                Box::new(|path| {
                    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n";
                    (Method::GET, "", good(path) + form)
                }),
            ),
        ];
        for (name, fault) in &table {
            let (refused, told) = twins.reasons(|path| {
                let (method, query, fields) = fault(path);
                (method, query.to_owned(), fields)
            });
            assert_eq!(refused, told, "{name}");
            assert_eq!(refused.is_none(), *name == "none", "{name}");
        }
        // Used again, the proofs are the same two for both.
        let used = ["/kept", reported].map(good);
        for expected in [None, Some("replay.seen"), Some("replay.seen")] {
            let again = |path: &str| (Method::GET, String::new(), used[usize::from(path == reported)].clone());
            let expected = expected.map(str::to_owned);
            assert_eq!(twins.reasons(again), (expected.clone(), expected));
        }
        let clients = Log::begin().reported(reported);
        let of = |reason: &'static str| {
            clients.iter().filter(move |(_, other)| other == reason).map(|(client, _)| client.as_str())
        };
        assert_eq!(of("replay.seen").collect::<Vec<_>>(), ["orders-app"; 2]);
        assert_eq!(of("token.audience").chain(of("token.expired")).collect::<Vec<_>>(), ["orders-app"; 2]);
    }
}

#[test]
fn a_stale_nonce_is_counted() {
    let twins = Twins::new("/stale", "nonce = \"require\"\nnonce_lifetime = \"1s\"");
    let first = twins.gateway.get("/kept", &twins.scene.credentials(Method::GET, "/kept", None));
    let nonce = first.field("dpop-nonce").unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    let stale = || {
        let answer = twins.gateway.get("/kept", &twins.scene.credentials(Method::GET, "/kept", Some(nonce)));
        answer.status == 401 && answer.reason() == "nonce.stale"
    };
    while !stale() {
        assert!(Instant::now() < patience);
    }
    let request = |path: &str| (Method::GET, String::new(), twins.scene.credentials(Method::GET, path, Some(nonce)));
    let expected = Some("nonce.stale".to_owned());
    assert_eq!(twins.reasons(request), (expected.clone(), expected));
}

/// Behind the beginning that is held back, where `required` would have broken the request off.
#[test]
fn a_token_far_inside_a_form_is_counted_and_passes() {
    let twins = Twins::new("/forms", "");
    let body = format!("a={}&access_token=x", "x".repeat(40_000));
    let form = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
    let nonce = twins.scene.nonce(&twins.gateway, "/kept");
    for (credentials, client, reason) in [
        (twins.scene.credentials(Method::POST, "/forms", Some(&nonce)), "orders-app", "credentials.repeated"),
        // `required` would not have come to the form.
        (String::new(), "", "credentials.missing"),
    ] {
        let before = Log::begin().reported("/forms").len();
        let head = format!("POST /forms HTTP/1.1\r\nHost: api.example.com\r\n{form}{credentials}\r\n");
        let answer = twins.gateway.send(head + &body);
        assert!(answer.status == 200 && answer.text().ends_with(&body));
        let told = Log::begin().reported("/forms").split_off(before);
        assert_eq!(told, [(client.to_owned(), reason.to_owned())]);
    }
}

/// Where the upstream records proofs and gives nonces, `required` would leave both to it.
#[test]
fn what_check_leaves_to_the_upstream_is_not_counted() {
    let (log, scene, upstream) = (Log::begin(), Scene::new(), Upstream::echo());
    let settings = "mode = \"report\"\nproof = \"check\"\nupstream_authorization = \"pass\"";
    let gateway =
        scene.gateway(&format!("[proof]\nnonce = \"require\"\n{}", route("/left", upstream.address, settings)));
    let used = scene.credentials(Method::GET, "/left", Some("of-the-upstream"));
    for fields in [&used, &used, &scene.credentials(Method::GET, "/left", None)] {
        assert_eq!(gateway.get("/left", fields).status, 200);
    }
    assert_eq!(log.reported("/left"), []);
    assert_eq!(gateway.live.engine().replays().entries(), 0);
}

#[test]
fn what_the_upstream_says_comes_back_unchanged() {
    let scene = Scene::new();
    let said = "HTTP/1.1 401 Unauthorized\r\nDPoP-Nonce: theirs\r\nWWW-Authenticate: DPoP error=\"use_dpop_nonce\"\r\n\
                Cache-Control: max-age=5\r\nContent-Length: 0\r\n\r\n";
    // It keeps the connection, as it says: one that ended it might do so under the second request, which is then lost.
    let upstream = Upstream::doing(move |mut client| {
        while client.head().is_some() {
            client.send(said);
        }
    });
    let gateway = scene.gateway(&route("/", upstream.address, "mode = \"report\""));
    let answer = gateway.get("/", &scene.credentials(Method::GET, "/", None));
    assert_eq!((answer.status, answer.field("dpop-nonce")), (401, Some("theirs")));
    assert_eq!(answer.field("www-authenticate"), Some("DPoP error=\"use_dpop_nonce\""));
    assert_eq!(answer.field("cache-control"), Some("max-age=5"));
    assert_eq!(answer.field("access-control-allow-origin"), None);
    // A preflight too is the upstream's to answer.
    let preflight =
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n";
    assert_eq!(gateway.send(preflight).field("dpop-nonce"), Some("theirs"));
}
