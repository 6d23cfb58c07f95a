//! What is counted of questions to an issuer about its tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::scene::{ORIGIN, Scene};
use crate::support::Upstream;

const OPAQUE: &str = "https://opaque.example";

#[test]
fn questions_their_time_and_the_age_of_answers_are_counted() {
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let endpoint = Upstream::doing(move |mut client| {
        while let Some(head) = client.head() {
            client.body(&head);
            let answer = json!({
                "active": true, "iss": OPAQUE, "aud": ORIGIN, "sub": "alice", "client_id": "app", "exp": 4_000_000_000_u64,
            });
            let (answer, status) = (answer.to_string(), if is_up.load(Ordering::SeqCst) { 200 } else { 500 });
            client.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()));
        }
    });
    let upstream = Upstream::echo();
    let scene = Scene::new(
        "",
        &format!(
            "[[issuer]]\nurl = \"{OPAQUE}\"\naudience = [\"{ORIGIN}\"]\n[issuer.introspection]\n\
             endpoint = \"http://{}/introspect\"\nclient_id = \"gateway\"\nclient_secret = \"secret\"\n\
             [[route]]\npath = \"/optional\"\nmode = \"optional\"\nupstream = [\"http://{}\"]\n",
            endpoint.address, upstream.address
        ),
    );
    let asked = || scene.get("/optional", &[("Authorization", "Bearer opaque-1")]).status;
    let metric = |name: &str, labels: &str| scene.metric(&format!("keybound_{name}{{issuer=\"{OPAQUE}\"{labels}}}"));
    assert_eq!(asked(), 503);
    up.store(true, Ordering::SeqCst);
    assert_eq!([asked(), asked(), asked()], [200; 3]);
    assert_eq!(metric("introspections_total", ",result=\"good\""), Some(1.0));
    assert_eq!(metric("introspections_total", ",result=\"failed\""), Some(1.0));
    assert_eq!(metric("introspection_seconds_count", ""), Some(2.0));
    assert_eq!(metric("introspection_answer_age_seconds_count", ""), Some(2.0), "the first was new");
    let text = scene.look("/metrics").text();
    assert!(!text.contains("opaque-1"), "{text}");
}
