//! What one route asks that others do not: whose tokens, and which methods.

use http::Method;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_gateway::config::Config;
use serde_json::{Value, json};

use crate::scene::{ISSUER, ORIGIN, Running, Scene, route};
use crate::support::{Answer, Client, Upstream};

const SECOND: &str = "https://second.example.com";

/// Two issuers, whose tokens are for the same audience and signed by the same key.
fn two_issuers(scene: &Scene, rest: &str) -> Config {
    let second =
        format!("[[issuer]]\nurl = \"{SECOND}\"\naudience = [\"{ORIGIN}\"]\njwks_file = \"issuer.jwks.json\"\n");
    scene.config(&[&second, rest].concat())
}

fn ask(gateway: &Running, scene: &Scene, path: &str, token: &str, nonce: &str) -> Answer {
    let proof = scene.proof(Method::GET, path, token, Some(nonce));
    gateway.get(path, &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"))
}

// R-ERR-12
#[test]
fn a_route_takes_the_tokens_of_its_issuers() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let takes = |path, issuers: &str| route(path, upstream.address, &format!("issuer = [{issuers}]"));
    let routes = [
        route("/all", upstream.address, ""),
        takes("/first", &format!("\"{ISSUER}\"")),
        takes("/second", &format!("\"{SECOND}\"")),
        takes("/both", &format!("\"{SECOND}\", \"{ISSUER}\"")),
    ];
    let gateway = Running::start(two_issuers(&scene, &routes.concat()));
    let nonce = scene.nonce(&gateway, "/all");
    for (issuer, others) in [(ISSUER, "/second"), (SECOND, "/first")] {
        // Twice: when the token is new, and when it is remembered from where it is taken.
        for _ in 0..2 {
            let token = scene.token_with(&json!({ "iss": issuer }));
            let refused = |answer: Answer| {
                assert_eq!((answer.status, &*answer.reason()), (401, "token.issuer"), "{issuer}");
                assert!(answer.text().contains("\"error\":\"invalid_token\""), "{}", answer.text());
            };
            refused(ask(&gateway, &scene, others, &token, &nonce));
            for path in ["/all", "/first", "/second", "/both"].into_iter().filter(|path| *path != others) {
                assert_eq!(ask(&gateway, &scene, path, &token, &nonce).status, 200, "{issuer} {path}");
            }
            refused(ask(&gateway, &scene, others, &token, &nonce));
        }
    }
}

/// Metadata of the resource that such a route is names its issuers alone; of the origin, all that any route takes.
#[test]
fn metadata_names_the_issuers_of_the_route() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let second = format!("audience = [\"{ORIGIN}/second\"]\nissuer = [\"{SECOND}\"]");
    let servers = |gateway: &Running, path: &str| {
        let answer = gateway.get(&format!("/.well-known/oauth-protected-resource{path}"), "");
        serde_json::from_slice::<Value>(&answer.body).unwrap()["authorization_servers"].clone()
    };
    let routes = [route("/second", upstream.address, &second), route("/", upstream.address, "")].concat();
    let gateway = Running::start(two_issuers(&scene, &routes));
    assert_eq!(servers(&gateway, "/second"), json!([SECOND]));
    assert_eq!(servers(&gateway, ""), json!([ISSUER, SECOND]));
    let gateway =
        Running::start(two_issuers(&scene, &route("/", upstream.address, &format!("issuer = [\"{SECOND}\"]"))));
    assert_eq!(servers(&gateway, ""), json!([SECOND]));
}

fn send(gateway: &Running, method: &str, path: &str, fields: &str) -> Answer {
    gateway.send(format!("{method} {path} HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n"))
}

#[test]
fn a_route_serves_its_methods_and_no_others() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for mode in ["required", "optional", "report", "open"] {
        let listed = format!("mode = \"{mode}\"\nmethods = [\"GET\", \"POST\", \"PURGE\"]");
        let routes = [route("/", upstream.address, ""), route("/listed", upstream.address, &listed)].concat();
        let gateway = scene.gateway(&routes);
        let nonce = scene.nonce(&gateway, "/");
        for method in ["PUT", "DELETE", "OPTIONS", "PATCH", "get", "OTHER"] {
            // Before any protection: credentials are not looked at, and a good proof is not spent.
            let named = Method::from_bytes(method.as_bytes()).unwrap();
            for fields in [String::new(), scene.credentials(named, "/listed", Some(&nonce))] {
                let answer = send(&gateway, method, "/listed", &fields);
                assert_eq!((answer.status, &*answer.reason()), (405, "method.unlisted"), "{mode} {method}");
                assert_eq!(answer.field("allow"), Some("GET, POST, PURGE, HEAD"));
                assert_eq!(answer.field("www-authenticate"), None);
            }
        }
        assert_eq!(gateway.live.engine().replays().entries(), 0);
        for method in [Method::GET, Method::POST, Method::from_bytes(b"PURGE").unwrap()] {
            let credentials = scene.credentials(method.clone(), "/listed", Some(&nonce));
            assert_eq!(send(&gateway, method.as_str(), "/listed", &credentials).status, 200, "{mode} {method}");
        }
        assert_eq!(send(&gateway, "PUT", "/", "").status, 401, "another route");
    }
}

/// Nothing is wrong with the connection, and the next request on it may be a better one.
#[test]
fn a_connection_outlives_what_no_route_serves() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/open", upstream.address, "mode = \"open\"\nmethods = [\"GET\"]"));
    let mut client = Client::to(gateway.address);
    for (request, status) in [("GET /nowhere", 404), ("PUT /open", 405), ("POST /nowhere", 404), ("GET /open", 200)] {
        let (fields, body) = if request.starts_with('G') { ("", "") } else { ("Content-Length: 5\r\n", "hello") };
        client.send(format!("{request} HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n{body}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("connection")), (status, None), "{request}");
    }
}

#[test]
fn head_follows_get() {
    let scene = Scene::new();
    let upstream = Upstream::saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    for (methods, status) in [("\"GET\"", "200"), ("\"HEAD\"", "200"), ("\"POST\"", "405")] {
        let gateway = scene.gateway(&route("/", upstream.address, &format!("mode = \"open\"\nmethods = [{methods}]")));
        let mut client = Client::to(gateway.address);
        client.send("HEAD / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n");
        let head = client.head().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{methods}: {head}");
    }
    let gateway = scene.gateway(&route("/", upstream.address, "methods = [\"HEAD\"]"));
    assert_eq!(send(&gateway, "GET", "/", "").field("allow"), Some("HEAD"));
}

// R-RS-28: browsers ask before they send; what they may then send is what the route serves.
#[test]
fn preflights_need_not_be_listed() {
    let scene = Scene::new();
    let upstream = Upstream::echo();
    let preflight = |gateway: &Running, method: &str| {
        let fields = format!("Origin: https://app.example\r\nAccess-Control-Request-Method: {method}\r\n");
        send(gateway, "OPTIONS", "/", &fields)
    };
    let gateway = scene.gateway(&route("/", upstream.address, "methods = [\"GET\", \"PUT\"]"));
    for (method, allowed) in [("PUT", Some("PUT")), ("GET", Some("GET")), ("HEAD", Some("HEAD")), ("DELETE", None)] {
        let answer = preflight(&gateway, method);
        assert_eq!((answer.status, answer.field("access-control-allow-methods")), (204, allowed), "{method}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    }
    // The page may read why.
    let refused = send(&gateway, "DELETE", "/", "Origin: https://app.example\r\n");
    assert_eq!((refused.status, refused.field("access-control-allow-origin")), (405, Some("*")));
    // Where the upstream speaks with browsers itself, it is asked.
    let gateway = scene.gateway(&route("/", upstream.address, "mode = \"open\"\nmethods = [\"GET\"]"));
    assert!(preflight(&gateway, "DELETE").text().starts_with("OPTIONS / "));
}

#[test]
fn decisions_know_of_methods() {
    let scene = Scene::new();
    let service = scene.deciding("[[route]]\npath = \"/\"\nmode = \"open\"\nmethods = [\"GET\"]\n");
    let ask = |method: &str| service.ask(&format!("X-Forwarded-Method: {method}\r\nX-Forwarded-Uri: /orders\r\n"));
    assert_eq!((ask("GET").status, ask("HEAD").status), (200, 200));
    let answer = ask("PUT");
    assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(answer.field("keybound-reason"), Some("method.unlisted"));
}

/// A server behind it may drop parameters, or take two slashes for one: what is open must not be a way to what is not.
#[test]
fn no_path_of_one_route_is_another_s_behind_it() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let open = "mode = \"open\"";
    let routes = [
        route("/", upstream.address, open),
        route("/admin", upstream.address, ""),
        route("/admin/any", upstream.address, &format!("{open}\nambiguous_paths = \"allow\"")),
        route("/v;1", upstream.address, open),
    ];
    let gateway = scene.gateway(&routes.concat());
    let status = |path: &str| {
        let answer = gateway.get(path, "");
        (answer.status, if answer.status == 200 { String::new() } else { answer.reason() })
    };
    for path in [
        "//admin",
        "/admin;v=1",
        "/admin%3bv=1/x",
        "/;/admin",
        "/a//..;/admin",
        "/a/..;v=1/admin",
        "/a/.%2e%3B/b",
        "/admin//any",
        "/a/../admin",
        "/admin/any;v=1/..;/x",
    ] {
        assert_eq!(status(path), (400, "path.ambiguous".to_owned()), "{path}");
    }
    for path in ["/a//b;v=1/", "//", "/admins;v=1", "/v;1/x;2"] {
        assert_eq!(status(path), (200, String::new()), "{path}");
    }
    assert_eq!(status("/admin/any/..;/x//y"), (200, String::new()));
    assert_eq!(status("/admin//x;v=1"), (401, "credentials.missing".to_owned()));
}

/// Nor where a route's own path holds what servers drop or decode.
#[test]
fn nor_where_a_route_has_parameters_or_reserved_characters() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let open = "mode = \"open\"";
    let pairs =
        [("/", "/a;v=1"), ("/pub;v=1", "/pub;v=1/admin"), ("/w", "/w/@admin"), ("/x", "/x/c++"), ("/y", "/y/%40b")];
    let routes =
        pairs.map(|(outer, inner)| [route(outer, upstream.address, open), route(inner, upstream.address, "")].concat());
    let gateway = scene.gateway(&routes.concat());
    for path in [
        "//a;v=1/x",
        "/a%3Bv=1/x",
        "/a",
        "/pub;v=1//admin",
        "/pub;v=1/;/admin",
        "/pub;v=1/admin;x",
        "/w/%40admin",
        "/w//%40admin;x",
        "/x/c%2b%2B/y",
        "/y/@b",
    ] {
        let answer = gateway.get(path, "");
        assert_eq!((answer.status, &*answer.reason()), (400, "path.ambiguous"), "{path}");
    }
    for (_, inner) in pairs {
        let answer = gateway.get(&format!("{inner}/x"), "");
        assert_eq!((answer.status, &*answer.reason()), (401, "credentials.missing"), "{inner}");
    }
    for path in ["/b", "/b%40;v=2//c", "/pub;v=1/x;y//z", "/w/%40", "/w/a%40b.example", "/x/c+"] {
        let answer = gateway.get(path, "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().starts_with(&format!("GET {path} ")), "{path}");
    }
}

/// Whether or not there is a route where the path leads by its normal form.
#[test]
fn a_path_without_a_route_is_ambiguous_first() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/orders", upstream.address, ""));
    for (path, status, reason) in [
        ("/orders/%2e%2e/x", 400, "path.ambiguous"),
        ("/orders%2Fx", 400, "path.ambiguous"),
        ("/..;/orders", 400, "path.ambiguous"),
        ("//orders", 404, "route.unknown"),
    ] {
        let answer = gateway.get(path, "");
        assert_eq!((answer.status, &*answer.reason()), (status, reason), "{path}");
    }
}

/// A signature that the issuer's key makes rightly, and that is not on its list.
#[test]
fn a_token_of_an_algorithm_that_is_not_listed_is_refused() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let with = |algorithms: &str| {
        let text = Scene::text(&route("/", upstream.address, ""));
        let text = text.replace("jwks_file", &format!("algorithms = {algorithms}\njwks_file"));
        let gateway = Running::start(scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")));
        let nonce = scene.nonce(&gateway, "/");
        let answer = ask(&gateway, &scene, "/", &scene.token(), &nonce);
        (answer.status, answer.reason())
    };
    // One that every key of its set could sign by, and others.
    scene.write("issuer.jwks.json", &scene.jwks_with(&SoftwareKey::generate(Alg::Ed25519).unwrap()));
    assert_eq!(with("[\"Ed25519\", \"ES256\"]"), (200, String::new()));
    assert_eq!(with("[\"Ed25519\"]"), (401, "token.algorithm".to_owned()));
}

/// Clients keep one nonce for a server, and that is the gateway's.
#[test]
fn a_nonce_of_the_upstream_does_not_pass_where_the_proof_ends() {
    let scene = Scene::new();
    let own = "HTTP/1.1 200 OK\r\nDPoP-Nonce: of-the-app\r\nDPoP-Nonce: another\r\nContent-Length: 0\r\n\r\n";
    let upstream = Upstream::saying(own);
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/");
    let answer = ask(&gateway, &scene, "/", &scene.token(), &nonce);
    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("of-the-app") && !answer.head.contains("another"), "{}", answer.head);
}
