//! Who is answered.

use std::net::TcpListener;

use keybound_gateway::admin::Admin;
use keybound_gateway::config::Config;

use crate::scene::{Scene, ask};
use crate::support::Client;

#[test]
fn only_under_our_own_names_and_to_our_own_page() {
    let scene = Scene::new("", "");
    for host in ["localhost", "127.0.0.1", "127.0.0.1:8081", "[::1]:9"] {
        assert_eq!(ask(scene.admin, "GET", "/status.json", host, &[], "").status, 200, "{host}");
    }
    for path in ["/", "/metrics", "/status.json", "/healthz", "/nowhere"] {
        assert_eq!(ask(scene.admin, "GET", path, "evil.example", &[], "").status, 421, "{path}");
    }
    for field in [("Origin", "http://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        assert_eq!(ask(scene.admin, "POST", "/loglevel", "localhost", &[field], "debug").status, 403, "{field:?}");
    }
    assert_eq!(scene.json("/loglevel")["level"], "info");
}

#[test]
fn the_secret_opens_all_but_health_and_the_empty_page() {
    let scene = Scene::new("admin_secret = \"0123456789abcdef\"", "");
    for path in ["/metrics", "/status.json", "/decisions.json", "/reasons.json", "/loglevel", "/nowhere"] {
        let answer = scene.look(path);
        assert_eq!((answer.status, answer.field("www-authenticate").is_some()), (401, true), "{path}");
        for (value, status) in [("Bearer 0123456789abcdeF", 401), ("Basic 0123456789abcdef", 401)] {
            let answer = ask(scene.admin, "GET", path, "localhost", &[("Authorization", value)], "");
            assert_eq!(answer.status, status, "{path} {value}");
        }
    }
    let secret = [("Authorization", "Bearer 0123456789abcdef")];
    assert_eq!(ask(scene.admin, "GET", "/metrics", "localhost", &secret, "").status, 200);
    assert_eq!(ask(scene.admin, "POST", "/explain", "localhost", &[], "{}").status, 401);
    assert_eq!(
        (scene.look("/").status, scene.look("/console.js").status, scene.look("/healthz").status),
        (200, 200, 200)
    );
    let ready = scene.json("/readyz");
    assert_eq!((&ready["ready"], ready.get("missing")), (&true.into(), None));
}

#[test]
fn a_page_that_loads_nothing_from_elsewhere() {
    let scene = Scene::new("", "");
    let page = scene.look("/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for path in ["/", "/console.css", "/console.js"] {
        let text = scene.look(path).text();
        let without = text.replace("http://www.w3.org/2000/svg", "").replace("https://api.example.com/orders", "");
        assert!(!without.contains("http:") && !without.contains("https:") && !without.contains("//cdn"), "{path}");
        assert!(!text.contains("style=") && !text.contains("onclick") && !text.contains("innerHTML"), "{path}");
    }
}

#[test]
fn what_is_asked_is_bounded() {
    let scene = Scene::new("", "");
    assert_eq!(scene.post("/explain", &"x".repeat(65 << 10)).status, 413);
    assert_eq!(scene.post("/loglevel", &"x".repeat(1000)).status, 400);
    assert_eq!(scene.post("/metrics", "").status, 405);
    assert_eq!(ask(scene.admin, "GET", "/explain", "localhost", &[], "").status, 405);
    assert_eq!(scene.look("/nowhere").status, 404);
    // 64 connections may be open; one more is closed, and there is room again when one goes.
    let mut held: Vec<_> = (0..64).map(|_| Client::to(scene.admin)).collect();
    for client in &mut held {
        client.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    assert!(Client::to(scene.admin).is_over());
    let mut last = held.pop().unwrap();
    last.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(last.answer().status, 200);
    assert!(last.is_over());
}

#[test]
fn the_level_of_the_log_changes() {
    let scene = Scene::new("", "");
    assert_eq!(scene.post("/loglevel", "debug\n").status, 200);
    assert_eq!(scene.json("/loglevel")["level"], "debug");
    assert_eq!(scene.post("/loglevel", "debgu").status, 400);
    assert_eq!(scene.json("/loglevel")["level"], "debug");
}

#[test]
fn the_usual_port_gives_way_where_nobody_chose_it() {
    let text = "[[origin]]\nurl = \"https://api.example.com\"\n\
                [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:9\"]\n";
    let config = Config::parse(text, "test.toml".as_ref()).unwrap();
    // Whoever has it, this test or another program: two gateways start on one machine.
    let [first, second] = [(); 2].map(|()| Admin::bind(&config.listen).unwrap());
    assert_ne!(first.address().unwrap(), second.address().unwrap());
}

#[test]
fn a_port_that_is_taken_is_named_with_the_setting_for_another() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "[listen]\nadmin = \"{address}\"\n[[origin]]\nurl = \"https://api.example.com\"\n\
         [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:9\"]\n"
    );
    let config = Config::parse(&text, "test.toml".as_ref()).unwrap();
    let error = Admin::bind(&config.listen).unwrap_err();
    assert!(error.is_taken());
    let words = error.to_string();
    assert!(
        words.starts_with(&format!("{address} is in use by another program; pick another port: [listen] admin = ")),
        "{words}"
    );
    assert!(words.contains("KEYBOUND_LISTEN_ADMIN="), "{words}");
}
