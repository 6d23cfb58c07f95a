//! What the gateway says of its resources (RFC 9728), and where its challenges say so.

use serde_json::{Value, json};

use crate::scene::{ISSUER, ORIGIN, Running, Scene, route};
use crate::support::{Answer, Client, Upstream};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

fn described(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The parameter `resource_metadata` of each challenge.
fn named(answer: &Answer) -> Vec<(String, String)> {
    let lines = answer.head.lines().filter_map(|line| line.strip_prefix("www-authenticate: "));
    let parameter = |line: &str| {
        let (scheme, rest) = line.split_once(' ').unwrap();
        let (_, value) = rest.split_once("resource_metadata=\"").unwrap();
        (scheme.to_owned(), value.split('"').next().unwrap().to_owned())
    };
    lines.map(parameter).collect()
}

// R-MD-02, R-MD-03, R-MD-04, R-MD-05, R-RS-27
#[test]
fn an_origin_is_described_and_named_in_challenges() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let algorithms = "[proof]\nalgorithms = [\"ES256\", \"PS256\"]\n";
    let orders = route("/orders", upstream.address, "scope = [\"orders:read\"]");
    let bills = route("/bills", upstream.address, "scope = [\"bills\", \"orders:read\"]");
    let open = route("/", upstream.address, "mode = \"open\"");
    let gateway = scene.gateway(&[algorithms, &orders, &bills, &open].concat());
    let answer = gateway.get(WELL_KNOWN, "");
    let expected = json!({
        "resource": ORIGIN,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["bills", "orders:read"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "PS256"],
        "dpop_bound_access_tokens_required": true,
    });
    assert_eq!(described(&answer), expected);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    let refused = gateway.get("/orders", "");
    assert_eq!(refused.status, 401);
    assert_eq!(named(&refused), [("DPoP".to_owned(), format!("{ORIGIN}{WELL_KNOWN}"))]);
    assert!(refused.head.contains("algs=\"ES256 PS256\""), "{}", refused.head);
}

#[test]
fn only_reading_is_allowed() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let ask = |method: &str, fields: &str| {
        gateway.send(format!("{method} {WELL_KNOWN} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"))
    };
    for method in ["POST", "DELETE", "OPTIONS"] {
        let answer = ask(method, "");
        assert_eq!((answer.status, answer.field("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
    }
    let preflight = ask("OPTIONS", "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n");
    assert_eq!((preflight.status, preflight.field("access-control-allow-origin")), (204, Some("*")));
    let mut client = Client::to(gateway.address);
    client.send(format!("HEAD {WELL_KNOWN} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length"), "{head}");
    assert!(client.is_over(), "a response to HEAD has no body");
}

/// A configuration with this origin, these audiences of the issuer, and routes.
fn with(scene: &Scene, origin: &str, audience: &str, routes: &str) -> Running {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"{origin}\"\n\
         [[issuer]]\nurl = \"{ISSUER}\"\naudience = {audience}\njwks_file = \"issuer.jwks.json\"\n{routes}"
    );
    Running::start(scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")))
}

// R-MD-02: the resource is what aud may say, octet for octet, and its metadata is where RFC 9728 section 3.1 puts it.
#[test]
fn a_resource_goes_by_its_name_in_aud() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let routes = route("/", upstream.address, "");
    for (origin, audience, place, resource) in [
        (ORIGIN, r#"["https://api.example.com/"]"#, "", "https://api.example.com/"),
        (ORIGIN, r#"["urn:orders", "https://API.example.com:443"]"#, "", "https://API.example.com:443"),
        (ORIGIN, r#"["urn:orders"]"#, "", ORIGIN),
        (ORIGIN, r#"["https://other.example/"]"#, "", ORIGIN),
        ("https://api.example.com/v1", r#"["https://api.example.com/v1"]"#, "/v1", "https://api.example.com/v1"),
        ("https://api.example.com/v1", r#"["https://api.example.com"]"#, "/v1", "https://api.example.com/v1"),
    ] {
        let gateway = with(&scene, origin, audience, &routes);
        let place = format!("{WELL_KNOWN}{place}");
        let members = described(&gateway.get(&place, ""));
        assert_eq!(members["resource"], resource, "{origin} {audience}");
        assert!(members.get("scopes_supported").is_none(), "R-MD-04: {members}");
        assert_eq!(named(&gateway.get("/", "")), [("DPoP".to_owned(), format!("https://api.example.com{place}"))]);
    }
}

#[test]
fn a_resource_below_the_origin_has_its_own_description() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let orders = "audience = [\"https://api.example.com/orders\"]\nscope = [\"orders:read\"]\nmode = \"optional\"";
    let routes = [route("/orders", upstream.address, orders), route("/bills", upstream.address, "scope = [\"bills\"]")];
    let audience = r#"["https://api.example.com", "https://api.example.com/orders"]"#;
    let gateway = with(&scene, ORIGIN, audience, &routes.concat());
    let members = described(&gateway.get(&format!("{WELL_KNOWN}/orders"), ""));
    assert_eq!(members["resource"], "https://api.example.com/orders");
    assert_eq!(members["scopes_supported"], json!(["orders:read"]));
    assert_eq!(members["dpop_bound_access_tokens_required"], false, "R-RS-26");
    // R-MD-05: in the challenge of either scheme.
    let place = format!("{ORIGIN}{WELL_KNOWN}/orders");
    let both = [("DPoP".to_owned(), place.clone()), ("Bearer".to_owned(), place)];
    assert_eq!(named(&gateway.get("/orders/17", "")), both);
    assert_eq!(named(&gateway.get("/bills", "")), [("DPoP".to_owned(), format!("{ORIGIN}{WELL_KNOWN}"))]);
    assert_eq!(described(&gateway.get(WELL_KNOWN, ""))["resource"], ORIGIN);
}

// R-RS-26: whoever takes unbound tokens does not say that it does not.
#[test]
fn what_takes_unbound_tokens_says_so() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for (mode, expected) in [("required", true), ("optional", false), ("report", false)] {
        let gateway = scene.gateway(&route("/", upstream.address, &format!("mode = \"{mode}\"")));
        assert_eq!(described(&gateway.get(WELL_KNOWN, ""))["dpop_bound_access_tokens_required"], expected, "{mode}");
    }
}

#[test]
fn where_nothing_is_checked_the_upstream_speaks_for_itself() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/", upstream.address, "mode = \"open\""));
    assert!(gateway.get(WELL_KNOWN, "").text().starts_with(&format!("GET {WELL_KNOWN} HTTP/1.1")));
    let gateway = scene.gateway(&route("/", upstream.address, "proof = \"check\"\nupstream_authorization = \"pass\""));
    assert_eq!(gateway.get(&format!("{WELL_KNOWN}/elsewhere"), "").status, 401, "not one of ours: a path like others");
}

// Each of several origins is described at its own host.
#[test]
fn several_origins() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"{ORIGIN}\"\n\
         [[origin]]\nurl = \"https://other.example\"\n[[issuer]]\nurl = \"{ISSUER}\"\naudience = [\"{ORIGIN}\"]\n\
         jwks_file = \"issuer.jwks.json\"\n[[issuer]]\nurl = \"https://second.example\"\n\
         audience = [\"https://other.example\"]\njwks_file = \"issuer.jwks.json\"\n{}",
        route("/", upstream.address, "")
    );
    let gateway = Running::start(scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")));
    for (host, issuer) in [("api.example.com", ISSUER), ("other.example", "https://second.example")] {
        let ask = |path: &str| gateway.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let members = described(&ask(WELL_KNOWN));
        assert_eq!(members["resource"], format!("https://{host}"));
        assert_eq!(members["authorization_servers"], json!([issuer]));
        assert_eq!(named(&ask("/")), [("DPoP".to_owned(), format!("https://{host}{WELL_KNOWN}"))]);
    }
}
