//! `mode = "report"`: everything is looked at, nothing is refused or changed.

use std::io;
use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use crate::scene::{Scene, route};
use crate::support::Upstream;

/// The log of this process, as JSON lines.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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
    /// Client and reason of what would have been refused on this route, in order.
    fn reported(&self, route: &str) -> Vec<(String, String)> {
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
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().json().with_writer(log.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
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
        ("/told", format!("Authorization: DPoP {token}\r\n"), Some(("", "proof.missing"))),
        ("/told", format!("Authorization: DPoP {token}\r\nDPoP: a\r\nDPoP: b\r\n"), Some(("", "proof.repeated"))),
        ("/told", scene.credentials(Method::GET, "/other", None), Some(("", "htu.mismatch"))),
        (&query, String::new(), Some(("", "credentials.query"))),
        // Nonces are the upstream's, if it has any: none is given here.
        ("/told", good(None), None),
        ("/told", good(Some("of-the-upstream")), None),
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
    assert_eq!(gateway.live.engine().replays().entries(), 0, "what is looked at is not used up");
}

#[test]
fn what_the_upstream_says_comes_back_unchanged() {
    let scene = Scene::new();
    let said = "HTTP/1.1 401 Unauthorized\r\nDPoP-Nonce: theirs\r\nWWW-Authenticate: DPoP error=\"use_dpop_nonce\"\r\n\
                Cache-Control: max-age=5\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::saying(said);
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
