//! What must be seen through every proxy.

use std::time::{Duration, Instant};

use http::Method;
use keybound::jws::decode_base64url;
use serde_json::{Value, json};

use crate::scene::{ISSUER, ORIGIN};
use crate::stage::{AWAY, QUOTA, Stage};
use crate::support::{Answer, field};

/// Everything, in one go: starting a proxy takes longer than any of it.
pub(crate) fn all(mut stage: Stage, what: Known) {
    who_has_nothing_is_challenged(&stage);
    a_bound_token_passes_once(&stage);
    nobody_names_himself(&stage);
    the_request_is_the_one_the_client_sent(&stage);
    refusals_keep_their_status(&stage);
    a_new_nonce_comes_with_success(&stage);
    a_statement_reaches_the_app(&stage);
    other_modes(&stage, what);
    metadata_is_for_anybody(&stage);
    refusals_say_all_there_is_to_say(&stage);
    a_header_that_is_too_long_is_the_clients_fault(&stage, what);
    a_key_over_its_quota_waits(&stage);
    without_keybound_nobody_passes(&mut stage);
}

/// In what proxies differ.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    /// Challenges for two schemes that reach the client.
    pub(crate) challenges: usize,
    /// Status and reason of a header with a hundred fields, which some refuse by themselves.
    pub(crate) crowded: (u16, &'static str),
}

fn who_has_nothing_is_challenged(stage: &Stage) {
    let answer = stage.get("/orders", "Origin: https://app.example\r\n");
    assert_eq!((answer.status, &*answer.reason()), (401, "credentials.missing"), "{answer:?}");
    let challenge = answer.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains("algs=\"ES256 "), "{challenge}");
    let metadata = format!("{ORIGIN}/.well-known/oauth-protected-resource");
    assert!(challenge.contains(&metadata), "{challenge}");
    readable_by_pages(&answer);
    assert!(answer.field("cache-control").unwrap().contains("no-store"));
}

fn readable_by_pages(answer: &Answer) {
    let exposed = answer.field("access-control-expose-headers").unwrap();
    assert!(exposed.contains("WWW-Authenticate") && exposed.contains("DPoP-Nonce"), "{exposed}");
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
}

// The nonce retry and the replay.
fn a_bound_token_passes_once(stage: &Stage) {
    let first = stage.get("/orders", &stage.scene.credentials(Method::GET, "/orders", None));
    assert_eq!((first.status, &*first.reason()), (401, "nonce.barrier"));
    assert!(first.field("www-authenticate").unwrap().contains("use_dpop_nonce"));
    readable_by_pages(&first);
    let credentials = stage.scene.credentials(Method::GET, "/orders", first.field("dpop-nonce"));
    let answer = stage.get("/orders", &credentials);
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.text();
    for (name, value) in [
        ("keybound-subject", "alice"),
        ("keybound-client", "orders-app"),
        ("keybound-scope", "orders:read"),
        ("keybound-issuer", ISSUER),
    ] {
        assert_eq!(field(&seen, name), Some(value), "{seen}");
    }
    assert_eq!(field(&seen, "keybound-jkt").map(str::len), Some(43), "{seen}");
    assert_eq!((field(&seen, "authorization"), field(&seen, "dpop")), (None, None), "{seen}");
    assert_ne!(answer.field("dpop-nonce"), Some("of-the-app"));
    readable_by_pages(&answer);

    let again = stage.get("/orders", &credentials);
    assert_eq!((again.status, &*again.reason()), (401, "replay.seen"), "{again:?}");
    let challenge = again.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains("error=\"invalid_dpop_proof\""), "{challenge}");
    readable_by_pages(&again);
}

fn nobody_names_himself(stage: &Stage) {
    let lies = "Keybound-Subject: root\r\nkeybound-subject: root\r\nKeybound_Subject: root\r\nKEYBOUND-JKT: root\r\n\
                Keybound-Client: root\r\nKeybound-Scope: root\r\nKeybound-Issuer: root\r\nkeybound_issuer: root\r\n\
                Keybound-Attestation: root\r\n";
    let answer = stage.get("/orders", &(stage.credentials(Method::GET, "/orders") + lies));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.text().contains("root"), "{}", answer.text());
    assert_eq!(field(&answer.text(), "keybound-subject"), Some("alice"));
    // Where nobody is vouched for, there is no name at all, and no empty one.
    let answer = stage.get("/public", lies);
    assert_eq!(answer.status, 200);
    assert!(!answer.text().to_ascii_lowercase().contains("keybound"), "{}", answer.text());
    // Nor what request it is: these would be open, or another's.
    let elsewhere = "X-Forwarded-Uri: /public\r\nX_Forwarded_Uri: /public\r\nX-Forwarded-Method: OPTIONS\r\n\
                     X-Forwarded-Host: evil.example\r\nX-Original-Url: /public\r\n";
    let answer = stage.get("/orders", elsewhere);
    assert_eq!((answer.status, &*answer.reason()), (401, "credentials.missing"), "{answer:?}");
}

fn the_request_is_the_one_the_client_sent(stage: &Stage) {
    let post = stage.credentials(Method::POST, "/orders");
    let answer = stage.send("POST", "/orders", &post, "two of them");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().starts_with("POST /orders HTTP/1.1"), "{}", answer.text());
    assert!(answer.text().ends_with("two of them"), "{}", answer.text());
    let answer = stage.send("POST", "/orders", &stage.credentials(Method::GET, "/orders"), "two of them");
    assert_eq!((answer.status, &*answer.reason()), (401, "htm.mismatch"), "{answer:?}");

    // What is signed is the normal form; what the app gets is what the client sent.
    let raw = "/orders/a%2Db/%C3%A9//c?q=%20x&y=/../";
    let answer = stage.get(raw, &stage.credentials(Method::GET, "/orders/a-b/%C3%A9//c"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().starts_with(&format!("GET {raw} HTTP/1.1")), "{}", answer.text());
    let answer = stage.get("/orders/18", &stage.credentials(Method::GET, "/orders/17"));
    assert_eq!((answer.status, &*answer.reason()), (401, "htu.mismatch"), "{answer:?}");
    let answer = stage.send_to("other.example.com", "GET", "/orders", &stage.credentials(Method::GET, "/orders"), "");
    assert_eq!((answer.status, &*answer.reason()), (401, "htu.mismatch"), "{answer:?}");
    // Not one slash for two.
    let answer = stage.get("/orders//17", &stage.credentials(Method::GET, "/orders/17"));
    assert_eq!((answer.status, &*answer.reason()), (401, "htu.mismatch"), "{answer:?}");
}

fn refusals_keep_their_status(stage: &Stage) {
    let credentials = stage.credentials(Method::GET, "/orders");
    let (authorization, proof) = credentials.split_once("\r\n").unwrap();
    let other = stage.credentials(Method::GET, "/orders");
    let (_, second) = other.split_once("\r\n").unwrap();
    let answer = stage.get("/orders", &format!("{authorization}\r\n{proof}{second}"));
    assert_eq!((answer.status, &*answer.reason()), (401, "proof.repeated"), "{answer:?}");
    let answer = stage.get("/orders", &format!("{authorization}\r\n{authorization}\r\n{proof}"));
    assert_eq!(answer.status, 400, "{answer:?}");
    let answer = stage.get("/orders/a%2Fb", &stage.credentials(Method::GET, "/orders/a%2Fb"));
    assert_eq!((answer.status, &*answer.reason()), (400, "path.ambiguous"), "{answer:?}");
    readable_by_pages(&answer);
    let answer = stage.send_to("evil.example", "GET", "/orders", &credentials, "");
    assert_eq!((answer.status, &*answer.reason()), (421, "host.unknown"), "{answer:?}");
    let answer = stage.get("/nowhere", "");
    assert_eq!((answer.status, &*answer.reason()), (404, "route.unknown"), "{answer:?}");
}

/// Whatever the status: the challenge, what is allowed, when to come again.
fn refusals_say_all_there_is_to_say(stage: &Stage) {
    let answer = stage.get("/admin", &stage.credentials(Method::GET, "/admin"));
    assert_eq!((answer.status, &*answer.reason()), (403, "scope.insufficient"), "{answer:?}");
    let challenge = answer.field("www-authenticate").expect("which scope is missing");
    assert!(challenge.contains("insufficient_scope") && challenge.contains("scope=\"orders:admin\""), "{challenge}");
    readable_by_pages(&answer);

    let answer = stage.send("POST", "/reports", "", "x");
    assert_eq!((answer.status, &*answer.reason()), (405, "method.unlisted"), "{answer:?}");
    assert_eq!(answer.field("allow"), Some("GET, PUT, HEAD"), "{answer:?}");
    readable_by_pages(&answer);

    let token = stage.scene.token_with(&json!({"iss": AWAY}));
    let nonce = stage.get("/orders", &stage.scene.credentials(Method::GET, "/orders", None));
    let proof = stage.scene.proof(Method::GET, "/orders", &token, nonce.field("dpop-nonce"));
    let answer = stage.get("/orders", &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"));
    assert_eq!((answer.status, &*answer.reason()), (503, "keys.unavailable"), "{answer:?}");
    assert!(answer.field("retry-after").unwrap().parse::<u32>().unwrap() > 0, "{answer:?}");
    assert_eq!(answer.field("www-authenticate"), None, "it is not for the client to mend");
    readable_by_pages(&answer);
}

/// Whoever of the two notices first: it is no error of the server.
fn a_header_that_is_too_long_is_the_clients_fault(stage: &Stage, what: Known) {
    let answer = stage.get("/orders", &(0..100).map(|number| format!("X-{number}: 1\r\n")).collect::<String>());
    assert_eq!((answer.status, &*answer.reason()), what.crowded, "{answer:?}");
    // Envoy's questions may be longer than that.
    let long = (0..5).map(|number| format!("X-{number}: {}\r\n", "x".repeat(6_500))).collect::<String>();
    let answer = stage.get("/orders", &long);
    assert!(matches!(answer.status, 400 | 401 | 431), "{}: {}", answer.head, answer.text());
}

/// The last check but one: the key of the scene can do nothing from here on.
fn a_key_over_its_quota_waits(stage: &Stage) {
    let mut nonce = None;
    // Among them are some that bring the nonce for the next.
    for _ in 0..2 * QUOTA {
        let answer = stage.get("/orders", &stage.scene.credentials(Method::GET, "/orders", nonce.as_deref()));
        match answer.status {
            200 => continue,
            401 => nonce = Some(answer.field("dpop-nonce").expect("a nonce").to_owned()),
            status => {
                assert_eq!((status, &*answer.reason()), (429, "replay.quota"), "{answer:?}");
                assert!(answer.field("retry-after").unwrap().parse::<u32>().unwrap() > 0, "{answer:?}");
                return readable_by_pages(&answer);
            }
        }
    }
    panic!("there is no quota");
}

/// Of `proof = "attest"`: what keybound signed, as it signed it.
fn a_statement_reaches_the_app(stage: &Stage) {
    let lie = "Keybound-Attestation: root\r\n";
    let answer = stage.get("/signed/17?x", &(stage.credentials(Method::GET, "/signed/17") + lie));
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.text();
    let statement = field(&seen, "keybound-attestation").expect("a statement, and one");
    let [_, claims, _] = statement.split('.').collect::<Vec<_>>()[..] else { panic!("{statement}") };
    let claims: Value = serde_json::from_slice(&decode_base64url(claims).unwrap()).unwrap();
    for (name, value) in [
        ("iss", ORIGIN),
        ("aud", "https://signed.example.com"),
        ("htm", "GET"),
        ("htu", "https://api.example.com/signed/17"),
        ("sub", "alice"),
    ] {
        assert_eq!(claims[name], value, "{claims}");
    }
    let answer = stage.get("/orders", &stage.credentials(Method::GET, "/orders"));
    assert_eq!(field(&answer.text(), "keybound-attestation"), None, "not of this route");
}

/// A nonce past half its life is still good, and its success brings the next.
fn a_new_nonce_comes_with_success(stage: &Stage) {
    let first = stage.get("/orders", &stage.scene.credentials(Method::GET, "/orders", None));
    let nonce = first.field("dpop-nonce").unwrap().to_owned();
    let begun = Instant::now();
    loop {
        let answer = stage.get("/orders", &stage.scene.credentials(Method::GET, "/orders", Some(&nonce)));
        assert_eq!(answer.status, 200, "{answer:?}");
        if let Some(next) = answer.field("dpop-nonce") {
            assert_ne!(next, nonce);
            assert_ne!(next, "of-the-app");
            assert!(answer.field("cache-control").unwrap().contains("no-store"));
            let answer = stage.get("/orders", &stage.scene.credentials(Method::GET, "/orders", Some(next)));
            assert_eq!(answer.status, 200, "{answer:?}");
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "no new nonce came");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn other_modes(stage: &Stage, what: Known) {
    let bearer = format!("Authorization: Bearer {}\r\n", stage.scene.unbound_token());
    let answer = stage.get("/bills", &bearer);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(field(&answer.text(), "keybound-subject"), Some("alice"));
    assert_eq!(field(&answer.text(), "keybound-jkt"), None, "{}", answer.text());
    assert_eq!(stage.get("/orders", &bearer).reason(), "token.unbound");

    let answer = stage.get("/bills", "");
    let lines = answer.head.to_ascii_lowercase().matches("\r\nwww-authenticate:").count();
    assert_eq!((answer.status, lines), (401, what.challenges), "{}", answer.head);
    assert!(answer.head.contains(": DPoP "), "{}", answer.head);

    // Nothing is vouched for here, and nothing taken away.
    let answer = stage.get("/public", &format!("{bearer}DPoP: x\r\n"));
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(bearer.trim_end().split_once(' ').unwrap().1), "{}", answer.text());
    assert_eq!(field(&answer.text(), "dpop"), Some("x"));

    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let answer = stage.send("OPTIONS", "/orders", preflight, "");
    assert_eq!((answer.status, &*answer.text()), (204, ""), "{answer:?}");
    assert!(answer.field("access-control-allow-headers").unwrap().contains("DPoP"));
    assert_eq!(answer.field("access-control-allow-methods"), Some("PUT"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    // Where anybody may come, the app says which pages may.
    let answer = stage.send("OPTIONS", "/public", preflight, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().starts_with("OPTIONS /public HTTP/1.1"), "{}", answer.text());
}

fn metadata_is_for_anybody(stage: &Stage) {
    let answer = stage.get("/.well-known/oauth-protected-resource", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().contains("\"resource\""), "{}", answer.text());
}

fn without_keybound_nobody_passes(stage: &mut Stage) {
    let credentials = stage.credentials(Method::GET, "/orders");
    stage.stop_keybound();
    for path in ["/orders", "/public"] {
        let answer = stage.get(path, &credentials);
        assert!(matches!(answer.status, 500..=503), "{answer:?}");
    }
}
