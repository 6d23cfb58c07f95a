//! Another configuration while requests are served: all of it or nothing, and nobody notices.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use http::Method;

use crate::scene::{Running, Scene, route};
use crate::support::{Answer, Client, Upstream};

const LONGEST: Duration = Duration::from_secs(30);

fn orders(gateway: &Running, scene: &Scene, nonce: Option<&str>) -> Answer {
    gateway.get("/orders", &scene.credentials(Method::GET, "/orders", nonce))
}

/// Says when its thread has failed, so that nobody waits for it.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn reloads_under_load_fail_no_request() {
    let scene = Scene::new();
    let upstreams = [Upstream::echo(), Upstream::echo()];
    let routes = |number: usize| {
        let address = upstreams[number % 2].address;
        let scope = if number.is_multiple_of(3) { "scope = [\"orders:read\"]" } else { "" };
        route("/orders", address, scope) + &route("/open", address, "mode = \"open\"")
    };
    let gateway = scene.gateway(&routes(0));
    let nonce = scene.nonce(&gateway, "/orders");
    let (over, served) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 4]);
    thread::scope(|scope| {
        for (number, served) in served.iter().enumerate() {
            let (scene, gateway, over, nonce) = (&scene, &gateway, &over, &nonce);
            scope.spawn(move || {
                let _ends = Ends(over);
                // One connection for all, which no reload may drop.
                let mut client = Client::to(gateway.address);
                while !over.load(Ordering::Relaxed) {
                    client.send(if number % 2 == 0 {
                        "GET /open HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()
                    } else {
                        let credentials = scene.credentials(Method::GET, "/orders", Some(nonce));
                        format!("GET /orders HTTP/1.1\r\nHost: a\r\n{credentials}\r\n")
                    });
                    let answer = client.answer();
                    assert_eq!(answer.status, 200, "{}{}", answer.head, answer.text());
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _ends = Ends(&over);
        for number in 1..=40 {
            // Each configuration serves each client at least once.
            let before: Vec<_> = served.iter().map(|served| served.load(Ordering::Relaxed)).collect();
            gateway.live.reload(scene.config(&routes(number))).unwrap();
            while served.iter().zip(&before).any(|(served, before)| served.load(Ordering::Relaxed) < before + 2) {
                assert!(!over.load(Ordering::Relaxed), "a client has failed");
                thread::yield_now();
            }
        }
    });
    assert!(upstreams.iter().all(|upstream| upstream.connections() > 0));
}

#[test]
fn a_request_ends_as_it_began() {
    let scene = Scene::new();
    let (arrived, arrivals) = mpsc::channel();
    let (go, going) = mpsc::channel::<()>();
    let going = std::sync::Mutex::new(going);
    let upstream = Upstream::doing(move |mut client| {
        while client.head().is_some() {
            arrived.send(()).unwrap();
            going.lock().unwrap().recv().unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone");
        }
    });
    let open = "mode = \"open\"";
    let gateway = scene.gateway(&route("/before", upstream.address, open));
    let mut client = Client::to(gateway.address);
    client.send("GET /before HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv_timeout(LONGEST).unwrap();
    gateway.live.reload(scene.config(&route("/after", upstream.address, open))).unwrap();
    assert_eq!(gateway.get("/before", "").status, 404);
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), "done");
    // On the same connection, and to the upstream over the one there is.
    client.send("GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    arrivals.recv_timeout(LONGEST).unwrap();
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), "done");
}

#[test]
fn what_was_used_stays_used_and_nonces_stay_good() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/orders", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/orders");
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(gateway.get("/orders", &used).status, 200);
    gateway.live.reload(scene.config(&route("/orders", upstream.address, "scope = [\"orders:read\"]"))).unwrap();
    assert_eq!(gateway.get("/orders", &used).reason(), "replay.seen");
    assert_eq!(orders(&gateway, &scene, Some(&nonce)).status, 200);
}

// R-SEC-03: what was recorded under other windows is found no more, so that a barrier stands for it.
#[test]
fn other_windows_raise_a_barrier() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for change in ["max_age = \"600s\"", "max_age = \"100s\"", "nonce = \"require\"", "nonce_lifetime = \"900s\""] {
        let routes = route("/orders", upstream.address, "");
        let gateway = scene.gateway(&routes);
        let nonce = scene.nonce(&gateway, "/orders");
        let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
        let unused = scene.credentials(Method::GET, "/orders", Some(&nonce));
        assert_eq!(gateway.get("/orders", &used).status, 200);
        gateway.live.reload(scene.config(&format!("[proof]\n{change}\n{routes}"))).unwrap();
        for captured in [used, unused] {
            let answer = gateway.get("/orders", &captured);
            assert_eq!((answer.status, &*answer.reason()), (401, "nonce.stale"), "{change}");
        }
        let answer = orders(&gateway, &scene, None);
        assert!(matches!(&*answer.reason(), "nonce.barrier" | "nonce.missing"), "{change}: {}", answer.reason());
        // One retry, and the client is through.
        let nonce = answer.field("dpop-nonce").unwrap();
        assert_eq!(orders(&gateway, &scene, Some(nonce)).status, 200, "{change}");
    }
}

// What went through a route that records nothing might come again once it does.
#[test]
fn a_route_that_begins_to_record_raises_a_barrier() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/orders", upstream.address, "mode = \"report\""));
    let captured = scene.credentials(Method::GET, "/orders", None);
    assert_eq!(gateway.get("/orders", &captured).status, 200);
    let before = gateway.live.engine().replays().epoch();
    gateway.live.reload(scene.config(&route("/orders", upstream.address, ""))).unwrap();
    assert_ne!(gateway.live.engine().replays().epoch().id(), before.id());
    assert_eq!(gateway.get("/orders", &captured).reason(), "nonce.barrier");
}

#[test]
fn the_issuers_keys_are_read_again() {
    let (mut scene, upstream) = (Scene::new(), Upstream::echo());
    let routes = route("/orders", upstream.address, "");
    let gateway = scene.gateway(&routes);
    let nonce = scene.nonce(&gateway, "/orders");
    let old = scene.token();
    let ask = |scene: &Scene, token: &str| {
        let proof = scene.proof(Method::GET, "/orders", token, Some(&nonce));
        gateway.get("/orders", &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"))
    };
    assert_eq!(ask(&scene, &old).status, 200);

    scene.turn_keys();
    let new = scene.token();
    assert_eq!(ask(&scene, &new).reason(), "token.signature", "nobody has said that the file has changed");
    gateway.live.reload(scene.config(&routes)).unwrap();
    assert_eq!(ask(&scene, &new).status, 200);
    assert_eq!(ask(&scene, &old).reason(), "token.signature", "what was remembered is forgotten");

    // A file that cannot be used leaves the keys before it in force.
    for broken in ["", "{}", r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
        scene.write("issuer.jwks.json", broken);
        let error = scene.try_config(&Scene::text(&routes)).unwrap_err().to_string();
        assert!(error.contains("keybound.toml:9: issuer[0].jwks_file: \"issuer.jwks.json\""), "{error}");
        assert_eq!(ask(&scene, &new).status, 200);
    }
}

#[test]
fn what_cannot_change_is_named_all_at_once() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/orders", upstream.address, "mode = \"open\""));
    let text = Scene::text(&format!(
        "[replay]\nper_key = 7\n[limits]\nbody_bytes = \"1KiB\"\n{}",
        route("/elsewhere", upstream.address, "mode = \"open\"")
    ));
    let text = text.replace("127.0.0.1:0", "127.0.0.1:1").replace("workers = 2", "workers = 3");
    let error = gateway.live.reload(scene.try_config(&text).unwrap()).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    let restart = ": differs from what this process runs with, and needs a restart";
    let expected =
        ["listen.address", "listen.workers", "replay", "limits"].map(|setting| format!("{setting}{restart}"));
    assert_eq!(lines, expected, "{error}");
    assert_eq!((gateway.get("/orders", "").status, gateway.get("/elsewhere", "").status), (200, 404));

    // One such setting alone is enough to keep the rest as it was.
    let text = format!("[replay]\nper_key = 7\n{}", route("/elsewhere", upstream.address, "mode = \"open\""));
    let error = gateway.live.reload(scene.config(&text)).unwrap_err().to_string();
    assert_eq!(error, format!("replay{restart}"));
    assert_eq!((gateway.get("/orders", "").status, gateway.get("/elsewhere", "").status), (200, 404));
}

#[test]
fn the_embedded_issuers_keys_outlive_a_reload() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let text = |settings: &str| {
        format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"http://127.0.0.1:8080\"\n\
             [authorization_server]\nurl = \"http://127.0.0.1:8080/issuer\"\nstore = \"memory\"\n{}",
            route("/", upstream.address, settings)
        )
    };
    let config = |settings: &str| scene.try_config(&text(settings)).unwrap_or_else(|errors| panic!("{errors}"));
    let gateway = Running::start(config(""));
    let keys = || gateway.send("GET /issuer/jwks HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
    let before = keys();
    assert_eq!(before.status, 200, "{}", before.text());
    gateway.live.reload(config("scope = [\"read\"]")).unwrap();
    assert_eq!(keys().text(), before.text());
}

/// The file is read at SIGHUP; one with mistakes changes nothing.
#[test]
fn a_hangup_reads_the_file_again() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let open = |path: &str| Scene::text(&route(path, upstream.address, "mode = \"open\""));
    let gateway = Running::start(scene.try_config(&open("/before")).unwrap());
    let (read, reads) = mpsc::channel();
    let file = scene.path("keybound.toml");
    let load = move || {
        let config = keybound_gateway::config::Config::load(&file, [], &Default::default());
        read.send(config.is_ok()).unwrap();
        config
    };
    gateway.live.reload_on_hangup(load).unwrap();
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status().unwrap();
        assert!(sent.success());
        reads.recv_timeout(LONGEST).unwrap()
    };
    // Reloads come one after the other: once the file is read for the second time, what came of the first is settled.
    scene.write("keybound.toml", "[[route]]\npath = 7\n");
    assert!(!hang_up() && !hang_up());
    assert_eq!((gateway.get("/before", "").status, gateway.get("/after", "").status), (200, 404));
    scene.write("keybound.toml", &open("/after"));
    assert!(hang_up() && hang_up());
    assert_eq!((gateway.get("/before", "").status, gateway.get("/after", "").status), (404, 200));
}
