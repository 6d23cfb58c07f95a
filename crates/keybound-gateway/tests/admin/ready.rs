//! Health and readiness.

use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::scene::Scene;
use crate::support::{Client, nobody};

/// The keys of an issuer that nobody listens for; it has one key.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}]}"#;

/// An issuer to be found at this address, once it is up.
pub(crate) fn issuer(address: SocketAddr) -> String {
    format!("[[issuer]]\nurl = \"http://{address}\"\naudience = [\"x\"]\n")
}

/// Puts the issuer up.
pub(crate) fn up(address: SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = Client::over(stream.unwrap());
            let Some(head) = client.head() else { continue };
            let body = match head.split(' ').nth(1) {
                Some("/jwks") => KEYS.to_owned(),
                _ => format!(r#"{{"issuer":"http://{address}","jwks_uri":"http://{address}/jwks"}}"#),
            };
            client
                .send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    });
}

/// Asks until it is so.
pub(crate) fn until_ready(scene: &Scene) {
    let patience = Instant::now() + Duration::from_secs(30);
    while scene.look("/readyz").status != 200 {
        assert!(Instant::now() < patience, "{}", scene.look("/readyz").text());
        thread::yield_now();
    }
}

#[test]
fn ready_once_the_keys_of_every_issuer_are_there_and_until_the_end() {
    let address = nobody();
    let scene = Scene::new("", &issuer(address));
    assert_eq!(scene.look("/healthz").text(), "ok\n");
    let answer = scene.look("/readyz");
    assert_eq!(answer.status, 503);
    let missing = scene.json("/readyz")["missing"][0].as_str().unwrap().to_owned();
    assert!(missing.starts_with(&format!("keys of http://{address} not fetched yet")), "{missing}");
    let usable = format!("keybound_issuer_keys_usable{{issuer=\"http://{address}\"}}");
    assert_eq!(scene.metric(&usable), Some(0.0));

    up(address);
    until_ready(&scene);
    assert_eq!(scene.json("/readyz"), serde_json::json!({"ready": true, "missing": [], "degraded": []}));
    assert_eq!(scene.metric(&usable), Some(1.0));
    assert!(scene.metric(&format!("keybound_issuer_keys_age_seconds{{issuer=\"http://{address}\"}}")).is_some());
    for document in ["metadata", "keys"] {
        let labels = format!("issuer=\"http://{address}\",document=\"{document}\"");
        assert_eq!(scene.metric(&format!("keybound_jwks_fetches_total{{{labels},result=\"good\"}}")), Some(1.0));
        let failed = scene.metric(&format!("keybound_jwks_fetches_total{{{labels},result=\"failed\"}}")).unwrap();
        let times = scene.metric(&format!("keybound_jwks_fetch_seconds_count{{{labels}}}"));
        assert_eq!(times, Some(1.0 + failed), "{document}");
    }

    scene.stop.now();
    assert_eq!(scene.json("/readyz")["missing"][0], "draining: this process is about to end");
    assert_eq!(scene.look("/healthz").status, 200);
}
