//! What is counted, shown and logged of requests.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::log;
use crate::scene::{ORIGIN, Scene, ask};
use crate::support::Client;

/// A request with a nonce of the gateway, which a new replay memory asks for; and its proof.
fn admitted(scene: &Scene, token: &str) -> String {
    let authorization = format!("DPoP {token}");
    let first = scene.proof("/orders", token, None);
    let challenged = scene.get("/orders?page=2", &[("Authorization", &authorization), ("DPoP", &first)]);
    assert_eq!((challenged.status, &*challenged.reason()), (401, "nonce.barrier"));
    let proof = scene.proof("/orders", token, challenged.field("dpop-nonce"));
    let answer = scene.get("/orders?page=2", &[("Authorization", &authorization), ("DPoP", &proof)]);
    assert_eq!(answer.status, 200);
    proof
}

#[test]
fn a_challenge_an_admission_a_replay_and_strangers() {
    let scene = Scene::new("", "");
    let token = scene.token("counted-app");
    let authorization = format!("DPoP {token}");
    let proof = admitted(&scene, &token);
    let again = scene.get("/orders?page=2", &[("Authorization", &authorization), ("DPoP", &proof)]);
    assert_eq!((again.status, &*again.reason()), (401, "replay.seen"));
    assert_eq!(scene.get("/orders", &[]).status, 401);
    assert_eq!(scene.get("/open/x", &[]).status, 200);
    assert_eq!(scene.get("/a%2fb", &[]).status, 400);
    assert_eq!(scene.get("/", &[("Host", "a")]).status, 400);

    let root = r#"route="/",mode="required""#;
    for (sample, value) in [
        (format!("keybound_requests_total{{{root},status=\"2xx\"}}"), 1.0),
        (format!("keybound_requests_total{{{root},status=\"4xx\"}}"), 4.0),
        (format!("keybound_admissions_total{{{root},credentials=\"bound\"}}"), 1.0),
        (format!("keybound_refusals_total{{{root},reason=\"nonce.barrier\"}}"), 1.0),
        (format!("keybound_refusals_total{{{root},reason=\"replay.seen\"}}"), 1.0),
        (format!("keybound_refusals_total{{{root},reason=\"credentials.missing\"}}"), 1.0),
        (format!("keybound_refusals_total{{{root},reason=\"path.ambiguous\"}}"), 1.0),
        (r#"keybound_refusals_total{route="",mode="none",reason="host.invalid"}"#.to_owned(), 1.0),
        (r#"keybound_requests_total{route="/open",mode="open",status="2xx"}"#.to_owned(), 1.0),
        (format!("keybound_nonce_challenges_total{{{root}}}"), 1.0),
        (format!("keybound_upstream_seconds_count{{{root}}}"), 1.0),
        (format!("keybound_decision_seconds_count{{{root}}}"), 4.0),
        ("keybound_replay_entries".to_owned(), 1.0),
        ("keybound_replay_no_room_total".to_owned(), 0.0),
    ] {
        assert_eq!(scene.metric(&sample), Some(value), "{sample}\n{}", scene.look("/metrics").text());
    }
    let offsets = |side| scene.metric(&format!("keybound_proof_iat_offset_seconds_count{{side=\"{side}\"}}")).unwrap();
    assert_eq!(offsets("behind") + offsets("ahead"), 2.0, "the admitted proof and its replay were verified");
    let answer = scene.look("/metrics");
    assert_eq!(answer.field("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.text().ends_with("# EOF\n"));

    let decisions = scene.json("/decisions.json");
    let rows = decisions["decisions"].as_array().unwrap();
    let replay = rows.iter().find(|row| row["reason"] == "replay.seen").unwrap();
    assert_eq!(
        (&replay["client"], &replay["route"], &replay["method"], &replay["status"], &replay["jkt"]),
        (&json!("counted-app"), &json!("/"), &json!("GET"), &json!(401), &json!(scene.jkt()))
    );
    assert!(!rows.iter().any(|row| row["route"] == "/open"), "an open route decides nothing");
    let status = scene.json("/status.json");
    assert_eq!((&status["routes"][2]["path"], &status["routes"][2]["bound"]), (&json!("/"), &json!(1)));
    assert_eq!(status["replay"]["entries"], 1);
    // R-RS-30: whether replicas share what was used, and what happens without it.
    assert_eq!(
        (&status["replay"]["store"], &status["replay"]["when_unavailable"]),
        (&"memory".into(), &"refuse".into())
    );

    the_log_knows(&scene.jkt());
    let shown =
        ["/metrics", "/status.json", "/decisions.json", "/readyz", "/reasons.json"].map(|path| scene.look(path).text());
    for text in shown.iter().chain([&log::text()]) {
        for secret in [&*token, &proof, "page=2", token.rsplit('.').next().unwrap(), proof.rsplit('.').next().unwrap()]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// One line for each decision, in which token and proof are known by their marks.
fn the_log_knows(jkt: &str) {
    let lines = log::decisions();
    let own = |reason: Option<&str>| {
        let of = |line: &&serde_json::Value| {
            line["jkt"] == jkt && line.get("reason").and_then(|reason| reason.as_str()) == reason
        };
        lines.iter().find(of).unwrap_or_else(|| panic!("no line with {reason:?}"))
    };
    let (admitted, replayed) = (own(None), own(Some("replay.seen")));
    for (line, level, message, status) in [(admitted, "INFO", "admitted", 200), (replayed, "INFO", "refused", 401)] {
        assert_eq!(
            (&line["level"], &line["message"], &line["status"]),
            (&json!(level), &json!(message), &json!(status))
        );
        assert_eq!((&line["route"], &line["mode"], &line["method"]), (&json!("/"), &json!("required"), &json!("GET")));
        assert_eq!(line["client"], "counted-app");
        assert!(line["iat_offset"].is_i64() && line["jti"].is_string());
    }
    assert_eq!((&admitted["jti"], &admitted["token_sha256"]), (&replayed["jti"], &replayed["token_sha256"]));
    assert_eq!(admitted["token_sha256"].as_str().unwrap().len(), 12);
}

#[test]
fn report_counts_by_client_what_it_does_not_refuse() {
    let scene = Scene::new("", "");
    for _ in 0..2 {
        let token = format!("Bearer {}", scene.bearer("old-app"));
        assert_eq!(scene.get("/report/x", &[("Authorization", &token)]).status, 200);
    }
    assert_eq!(scene.get("/report/x", &[]).status, 200);
    for number in 0..150 {
        let token = format!("Bearer {}", scene.bearer(&format!("app-{number}")));
        assert_eq!(scene.get("/report", &[("Authorization", &token)]).status, 200);
    }
    let count = |reason, client| {
        let labels = format!("route=\"/report\",reason=\"{reason}\",client=\"{client}\"");
        scene.metric(&format!("keybound_report_refusals_total{{{labels}}}"))
    };
    assert_eq!(count("token.unbound", "old-app"), Some(2.0));
    assert_eq!(count("credentials.missing", ""), Some(1.0));
    assert_eq!((count("token.unbound", "app-0"), count("token.unbound", "app-98")), (Some(1.0), Some(1.0)));
    assert_eq!((count("token.unbound", "app-99"), count("token.unbound", "other")), (None, Some(51.0)));
    let token = scene.token("bound-app");
    let ask =
        |proof: &str| scene.get("/report", &[("Authorization", &format!("DPoP {token}")), ("DPoP", proof)]).status;
    assert_eq!(ask(&scene.proof("/report", &token, None)), 200);
    let challenged =
        scene.get("/", &[("Authorization", &format!("DPoP {token}")), ("DPoP", &scene.proof("/", &token, None))]);
    let proof = scene.proof("/report", &token, challenged.field("dpop-nonce"));
    assert_eq!([ask(&proof), ask(&proof)], [200; 2]);
    // All names are taken.
    assert_eq!((count("nonce.barrier", "other"), count("replay.seen", "other")), (Some(1.0), Some(1.0)));
    assert!(!scene.look("/metrics").text().contains(r#"keybound_refusals_total{route="/report""#));
    let reports = scene.json("/status.json")["reports"].clone();
    assert!(reports.as_array().unwrap().contains(&json!({"reason": "token.unbound", "count": 152})), "{reports}");
    assert_eq!(scene.json("/decisions.json")["decisions"][0]["mode"], "report");
}

#[test]
fn methods_that_a_route_does_not_serve_are_counted() {
    let listed = "[[route]]\npath = \"/listed\"\nupstream = [\"http://127.0.0.1:9\"]\nmethods = [\"PUT\"]\n";
    let scene = Scene::new("", listed);
    assert_eq!(scene.get("/listed", &[]).status, 405);
    let sample = r#"keybound_refusals_total{route="/listed",mode="required",reason="method.unlisted"}"#;
    assert_eq!(scene.metric(sample), Some(1.0));
}

#[test]
fn only_the_latest_decisions_are_kept() {
    let scene = Scene::new("", "");
    let mut client = Client::to(scene.front);
    for _ in 0..250 {
        client.send("GET /orders HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
        assert_eq!(client.answer().status, 401);
    }
    let decisions = scene.json("/decisions.json");
    assert_eq!(decisions["decisions"].as_array().unwrap().len(), 200);
    let missing = r#"keybound_refusals_total{route="/",mode="required",reason="credentials.missing"}"#;
    assert_eq!(scene.metric(missing), Some(250.0));
    assert_eq!(scene.metric("keybound_connections"), Some(1.0));
}

#[test]
fn a_reload_goes_on_counting() {
    let scene = Scene::new("admin_secret = \"0123456789abcdef\"", "");
    let look = |path: &str, secret: &str| {
        let authorization = format!("Bearer {secret}");
        ask(scene.admin, "GET", path, "localhost", &[("Authorization", &authorization)], "")
    };
    assert_eq!(scene.get("/open/x", &[]).status, 200);
    assert_eq!(scene.get("/orders", &[]).status, 401);
    scene.reload("mode = \"open\"", "mode = \"report\"");
    assert_eq!((scene.get("/open/x", &[]).status, scene.get("/orders", &[]).status), (200, 401));
    let text = look("/metrics", "0123456789abcdef").text();
    for line in [
        r#"keybound_refusals_total{route="/",mode="required",reason="credentials.missing"} 2"#,
        r#"keybound_requests_total{route="/open",mode="open",status="2xx"} 1"#,
        r#"keybound_report_refusals_total{route="/open",reason="credentials.missing",client=""} 1"#,
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
    }
    let decisions = look("/decisions.json", "0123456789abcdef").text();
    assert_eq!(decisions.matches("credentials.missing").count(), 3, "{decisions}");

    scene.reload("0123456789abcdef", "fedcba9876543210");
    assert_eq!(look("/status.json", "0123456789abcdef").status, 401);
    assert_eq!(look("/status.json", "fedcba9876543210").status, 200);
}

/// Until the metrics say so.
fn wait_for(scene: &Scene, what: impl Fn(&dyn Fn(&str) -> f64) -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    while !what(&|sample| scene.metric(sample).unwrap_or(0.0)) {
        assert!(Instant::now() < patience, "{}", scene.look("/metrics").text());
    }
}

const CANCELED: &str = r#"keybound_requests_total{route="/open",mode="open",status="canceled"}"#;

#[test]
fn a_client_that_goes_away_is_counted_too() {
    let scene = Scene::new("", "");
    let mut client = Client::to(scene.front);
    client.send("GET /open/hang HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    scene.hung();
    drop(client);
    wait_for(&scene, |metric| metric(CANCELED) == 1.0);
}

#[test]
fn clients_that_are_gone_when_they_are_read_are_counted_too() {
    let scene = Scene::new("", "");
    let unseen = r#"keybound_requests_total{route="",mode="none",status="canceled"}"#;
    for _ in 0..64 {
        Client::to(scene.front).send("GET /open/hang HTTP/1.1\r\nHost: api.example.com\r\n\r\n");
    }
    wait_for(&scene, |metric| metric(CANCELED) + metric(unseen) == 64.0);
}

#[test]
fn a_proof_is_taken_apart_and_not_spent() {
    let scene = Scene::new("", "");
    let token = scene.token("app");
    let proof = scene.proof("/orders", &token, None);
    let asked = |more: serde_json::Value| {
        let mut body = json!({"proof": proof, "token": token});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = scene.post("/explain", &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains(&token) && !answer.text().contains(&proof));
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()
    };
    let verdict = |report: &serde_json::Value, check: &str| {
        let checks = report["checks"].as_array().unwrap();
        let found = checks.iter().find(|row| row["check"] == check).unwrap();
        found["reason"].as_str().or(found["verdict"].as_str()).unwrap().to_owned()
    };
    let report = asked(json!({"method": "POST", "url": "https://api.example.com/orders"}));
    assert_eq!(report["payload"]["htu"], "https://api.example.com/orders");
    assert_eq!(report["jkt"], scene.jkt());
    for (check, expected) in [
        ("form", "passed"),
        ("signature", "passed"),
        ("htm", "htm.mismatch"),
        ("htu", "passed"),
        ("time", "nonce.barrier"),
        ("ath", "passed"),
        ("binding", "passed"),
    ] {
        assert_eq!(verdict(&report, check), expected, "{check}: {report}");
    }
    let report = asked(json!({}));
    assert_eq!((verdict(&report, "htm"), verdict(&report, "htu")), ("open".to_owned(), "open".to_owned()));
    assert_eq!(scene.metric("keybound_replay_entries"), Some(0.0));
    assert!(!log::text().contains(&proof));

    let broken = scene.post("/explain", r#"{"proof": "a.b"}"#);
    let report: serde_json::Value = serde_json::from_slice(&broken.body).unwrap();
    assert_eq!((&report["verdict"], verdict(&report, "form").as_str()), (&json!("refused"), "proof.malformed"));
    for wrong in ["", "[]", "{}", r#"{"proof": 1}"#, r#"{"proof": "a.b.c", "url": "/x"}"#] {
        assert_eq!(scene.post("/explain", wrong).status, 400, "{wrong}");
    }
}

/// What the proof was made for and what was asked for stand side by side, for whoever set up the address; the client is not told.
#[test]
fn a_proof_for_another_uri_is_logged_with_both() {
    let scene = Scene::new("", "");
    let token = scene.token("app");
    let proof = scene.proof("/misled/17", &token, None);
    let fields = [("Authorization", &*format!("DPoP {token}")), ("DPoP", &*proof)];
    let answer = scene.get("/misled/71?page=2", &fields);
    assert_eq!((answer.status, &*answer.reason()), (401, "htu.mismatch"));
    assert!(!answer.text().contains("misled") && !answer.head.contains("misled"), "{answer:?}");
    let lines = log::decisions();
    let details =
        lines.iter().filter(|line| line["reason"] == "htu.mismatch").filter_map(|line| line["detail"].as_str());
    let said = details.filter(|detail| detail.contains("misled")).collect::<Vec<_>>();
    let expected = format!(
        "htu is \"{ORIGIN}/misled/17\", the request is for \"{ORIGIN}/misled/71\"; they part at octet 31: \"17\" against \"71\""
    );
    assert_eq!(said, [expected]);
}

/// What is answered before anybody looks at it is counted and logged like every other refusal.
#[test]
fn requests_that_are_turned_away_are_counted_and_logged() {
    let scene = Scene::new("", "[limits]\nheader_bytes = \"8KiB\"\nheader_fields = 20\n");
    let fields = "X: x\r\n".repeat(30);
    let long = "x".repeat(9_000);
    let cases = [
        ("host.invalid", Some("PUT"), 400, "PUT / HTTP/1.1\r\n\r\n".to_owned()),
        ("method.refused", Some("TRACE"), 405, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (
            "framing.ambiguous",
            Some("POST"),
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ),
        ("request.malformed", None, 400, "no HTTP\r\n\r\n".to_owned()),
        ("header.crowded", None, 431, format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
        ("header.oversized", None, 431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
    ];
    for (reason, method, status, request) in &cases {
        let mut client = Client::to(scene.front);
        client.send(request);
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.reason()), (*status, *reason));
        assert!(client.is_over());
        let sample = format!("keybound_refusals_total{{route=\"\",mode=\"none\",reason=\"{reason}\"}}");
        assert_eq!(scene.metric(&sample), Some(1.0), "{reason}");
        // Other tests log too, but for no other does this stand for none of its routes.
        let logged = |line: &serde_json::Value| {
            line["reason"] == *reason
                && line["route"] == ""
                && line["level"] == "INFO"
                && line["message"] == "refused"
                && line["status"] == *status
                && line.get("method").and_then(|method| method.as_str()) == *method
        };
        assert!(log::decisions().iter().any(logged), "{reason}: {:?}", log::decisions());
    }
    // With HTTP/2 too: preface, settings, and one block with GET, http, `/`, authority `a`, and a field of 8,500 octets.
    let mut block = b"\x82\x86\x84\x41\x01a\0\x01x\x7f\xb5\x41".to_vec();
    block.extend([b'x'; 8_500]);
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let mut client = Client::to(scene.front);
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    client.send([&length[1..], b"\x01\x05\0\0\0\x01", &block].concat());
    let oversized = r#"keybound_refusals_total{route="",mode="none",reason="header.oversized"}"#;
    let patience = Instant::now() + Duration::from_secs(30);
    while scene.metric(oversized) != Some(2.0) {
        assert!(Instant::now() < patience, "{}", scene.look("/metrics").text());
    }
}
