//! Upstream addresses that are asked how they are, and what becomes of requests meanwhile.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::log;
use crate::scene::Scene;
use crate::support::{Upstream, nobody};

const PATIENCE: Duration = Duration::from_secs(30);

/// An upstream that answers its health check with a status of our choice, and everything else with its name.
struct Server {
    upstream: Upstream,
    status: Arc<AtomicU16>,
}

impl Server {
    fn named(name: &'static str, status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let said = Arc::clone(&status);
        let upstream = Upstream::doing(move |mut client| {
            while let Some(head) = client.head() {
                client.body(&head);
                let status = if head.starts_with("GET /healthz?deep=1 ") { said.load(Ordering::SeqCst) } else { 200 };
                client.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{name}", name.len()));
            }
        });
        Self { upstream, status }
    }

    const fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

/// A route to these addresses, which are asked every 10 ms, however slowly they answer, unless `health` says otherwise.
fn route(path: &str, addresses: &[SocketAddr], health: &str) -> String {
    let urls: Vec<_> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    let unless = |name: &str, setting: &'static str| if health.contains(name) { "" } else { setting };
    let interval = unless("interval", "interval = \"10ms\", ");
    let timeout = unless("timeout", "timeout = \"30s\", ");
    format!(
        "[[route]]\npath = \"{path}\"\nmode = \"open\"\nupstream = [{}]\nhealth = {{ path = \"/healthz?deep=1\", {interval}{timeout}{health} }}\n",
        urls.join(", ")
    )
}

fn healthy(scene: &Scene, address: SocketAddr) -> Option<f64> {
    scene.metric(&format!("keybound_upstream_healthy{{upstream=\"http://{address}\",path=\"/healthz?deep=1\"}}"))
}

/// Looks until it is so.
fn until(scene: &Scene, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let patience = Instant::now() + PATIENCE;
    loop {
        let ready = scene.json("/readyz");
        if is_so(&ready) {
            return ready;
        }
        assert!(Instant::now() < patience, "{what}: {ready}");
        thread::yield_now();
    }
}

fn answers(scene: &Scene, path: &str, count: usize) -> Vec<String> {
    (0..count).map(|_| scene.get(path, &[]).text()).collect()
}

#[test]
fn requests_go_to_the_healthy_ones_and_come_back_with_health() {
    let (one, other) = (Server::named("one", 204), Server::named("other", 503));
    let scene = Scene::new("", &route("/both", &[one.address(), other.address()], "healthy = 3, unhealthy = 2"));
    let trouble = format!("http://{}: answered 503", other.address());
    let ready = until(&scene, "one is healthy and one is not", |ready| ready["degraded"] == json!([trouble]));
    assert_eq!((&ready["ready"], &ready["missing"]), (&json!(true), &json!([])));
    assert_eq!((healthy(&scene, one.address()), healthy(&scene, other.address())), (Some(1.0), Some(0.0)));
    assert_eq!(answers(&scene, "/both", 6), ["one"; 6]);
    let shown = scene.json("/status.json");
    let routes = shown["routes"].as_array().unwrap();
    let shown = &routes.iter().find(|route| route["path"] == "/both").unwrap()["upstreams"];
    assert_eq!((&shown[0]["healthy"], &shown[1]["healthy"]), (&json!(true), &json!(false)));
    assert_eq!((&shown[0]["trouble"], &shown[1]["trouble"]), (&Value::Null, &json!(trouble)));
    let bad = format!(
        "keybound_upstream_checks_total{{upstream=\"http://{}\",path=\"/healthz?deep=1\",result=\"bad\"}}",
        other.address()
    );
    assert!(scene.metric(&bad).unwrap() >= 1.0);

    other.answers(302);
    until(&scene, "it has come back", |ready| ready["degraded"] == json!([]));
    let mut both = answers(&scene, "/both", 2);
    both.sort();
    assert_eq!(both, ["one", "other"]);

    one.answers(500);
    until(&scene, "the first is away", |ready| ready["degraded"] != json!([]));
    assert_eq!(answers(&scene, "/both", 4), ["other"; 4]);
    for (address, words) in [(other.address(), "upstream is healthy"), (one.address(), "upstream is unhealthy")] {
        let line = |line: &Value| line["message"] == words && line["upstream"] == format!("http://{address}");
        let text = log::text();
        assert!(text.lines().any(|text| line(&serde_json::from_str(text).unwrap())), "{words} in {text}");
    }
}

#[test]
fn with_none_healthy_all_are_tried_and_the_gateway_is_not_ready() {
    let only = Server::named("only", 500);
    let scene = Scene::new("", &route("/only", &[only.address()], ""));
    let trouble = format!("a healthy upstream of /only: http://{}: answered 500", only.address());
    let ready = until(&scene, "it is known to be ill", |ready| ready["missing"] == json!([trouble]));
    assert_eq!((scene.look("/readyz").status, &ready["ready"]), (503, &json!(false)));
    assert_eq!(answers(&scene, "/only", 3), ["only"; 3], "what its health check says may be wrong");
    only.answers(200);
    until(&scene, "all is well", |ready| ready["ready"] == true);
}

/// One that refuses connections, one that says nothing, and one that talks of other things.
#[test]
fn what_is_wrong_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let rubbish = Upstream::saying("this is not HTTP\r\n\r\n");
    let good = Server::named("good", 200);
    let (dead, silent) = (nobody(), listener.local_addr().unwrap());
    let routes = [
        route("/ill", &[dead, rubbish.address], ""),
        route("/silent", &[silent], "timeout = \"50ms\""),
        route("/well", &[good.address()], ""),
    ];
    let scene = Scene::new("", &routes.concat());
    let ready = until(&scene, "all were asked", |ready| {
        let asked = |trouble: &Value| !trouble.as_str().unwrap().contains("not asked yet");
        let troubles = ready["degraded"].as_array().unwrap();
        troubles.len() == 3 && troubles.iter().all(asked)
    });
    assert_eq!(ready["ready"], true, "another route has a healthy upstream: {ready}");
    for (address, words) in [(dead, "refused"), (rubbish.address, "HTTP"), (silent, "no answer within 50ms")] {
        let of_this = |trouble: &&Value| trouble.as_str().unwrap().starts_with(&format!("http://{address}: "));
        let trouble = ready["degraded"].as_array().unwrap().iter().find(of_this).unwrap().as_str().unwrap();
        assert!(trouble.contains(words), "{words} in {trouble}");
    }
}

#[test]
fn a_reload_leaves_unchanged_addresses_as_they_are() {
    let (one, other) = (Server::named("one", 200), Server::named("other", 500));
    let scene = Scene::new("", &route("/both", &[one.address(), other.address()], "interval = \"1h\""));
    let known = |ready: &Value| ready["degraded"] == json!([format!("http://{}: answered 500", other.address())]);
    until(&scene, "both were asked", known);
    other.answers(200);
    scene.reload("[log]\ndecisions = \"all\"", "[log]\ndecisions = \"refused\"");
    // It is not asked again before its time.
    assert_eq!((healthy(&scene, one.address()), healthy(&scene, other.address())), (Some(1.0), Some(0.0)));
    assert!(known(&scene.json("/readyz")));
    assert_eq!(answers(&scene, "/both", 4), ["one"; 4]);
    // Asked in another way, it is asked at once.
    scene.reload("interval = \"1h\"", "interval = \"2h\"");
    until(&scene, "it was asked anew", |ready| ready["degraded"] == json!([]));
    assert_eq!(healthy(&scene, other.address()), Some(1.0));
}

/// One worker's failure is every worker's knowledge, whether there are health checks or not.
#[test]
fn one_that_cannot_be_connected_to_is_counted_and_passed_over() {
    let (good, dead) = (Server::named("good", 200), nobody());
    let text = format!(
        "[[route]]\npath = \"/some\"\nmode = \"open\"\nupstream = [\"http://{dead}\", \"http://{}\"]\n",
        good.address()
    );
    let scene = Scene::new("", &text);
    let began = Instant::now();
    assert_eq!(answers(&scene, "/some", 6), ["good"; 6]);
    // It is passed over for 2 s.
    let most = 2.0 + (began.elapsed().as_secs_f64() / 2.0).floor();
    let failed = scene.metric(&format!("keybound_upstream_unreachable_total{{upstream=\"http://{dead}\"}}")).unwrap();
    assert!((1.0..=most).contains(&failed), "{failed}: it is passed over, for a while");
    assert_eq!(healthy(&scene, dead), None);
    assert_eq!(scene.json("/readyz"), json!({"ready": true, "missing": [], "degraded": []}));
}

#[test]
fn over_http2_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let stream = listener.accept().await.unwrap().0;
                let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let as_it_should = request.uri().to_string() == format!("http://{address}/healthz?deep=1");
                    let status = if as_it_should { 200 } else { 400 };
                    let answer = http::Response::builder().status(status).body(()).unwrap();
                    respond.send_response(answer, true).unwrap();
                }
            }
        });
    });
    let text = route("/grpc", &[address], "").replace("http://", "h2c://");
    let scene = Scene::new("", &text);
    until(&scene, "it is healthy", |ready| ready["ready"] == true);
}
