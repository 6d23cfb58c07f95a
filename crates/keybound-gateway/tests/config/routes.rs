//! What is said of mistakes in `[[route]]`, and of routes that are never reached.

use super::*;

#[test]
fn each_mistake_of_a_route_has_its_line() {
    let cases: &[(&str, &str)] = &[
        ("path = \"orders\"", r#"6: route[0].path: "orders" does not begin with /"#),
        ("path = \"/orders/\"", r#"6: route[0].path: "/orders/" ends in /; write "/orders", which covers it"#),
        (
            "path = \"/a/../b\"",
            r#"6: route[0].path: "/a/../b" is not in normal form: no empty or dotted segments, be it with parameters, nothing encoded that need not be"#,
        ),
        ("path = \"/a b\"", r#"6: route[0].path: "/a b" holds ' ', which cannot stand in a path; percent-encode it"#),
        (
            "upstream = [\"ftp://127.0.0.1:9000\"]",
            r#"6: route[0].upstream: "ftp://127.0.0.1:9000" does not begin with http://, https://, h2c:// or h2://; write it like "http://127.0.0.1:9000""#,
        ),
        (
            "upstream = [\"http://127.0.0.1:9000/api\"]",
            r#"6: route[0].upstream: "http://127.0.0.1:9000/api" has a path; a request's own path is forwarded as it is, or as route.rewrite says"#,
        ),
        ("upstream_ca = \"Cargo.toml\"", r#"6: route[0].upstream_ca: "Cargo.toml" holds no certificate in PEM form"#),
        ("strip_prefix = true", r#"6: route[0].strip_prefix: strips nothing: route.path is "/"; leave it out"#),
        ("rewrite = \"v2\"", r#"6: route[0].rewrite: "v2" does not begin with /"#),
        (
            "rewrite = \"/v2\"\nstrip_prefix = true",
            "6: route[0].rewrite: does not go with strip_prefix; leave one of them out",
        ),
        ("upstream = \"http://127.0.0.1:9000\"", "6: route[0].upstream: is text; write a list, [\"..\"]"),
        ("upstream = []", r#"6: route[0].upstream: is empty; name at least one, like ["http://127.0.0.1:9000"]"#),
        (
            "scope = [\"orders:read orders:write\"]",
            r#"6: route[0].scope: "orders:read orders:write" is not one scope; write each as an item of the list, without spaces or quotes"#,
        ),
        (
            "proof = \"check\"",
            r#"6: route[0].proof: "check" leaves the proof to the upstream, which needs the token too: add upstream_authorization = "pass""#,
        ),
        (
            "attestation_audience = []\nproof = \"attest\"",
            "6: route[0].attestation_audience: is empty; name whoever is to check the statements",
        ),
        ("attestation_audience = [\"\"]\nproof = \"attest\"", "6: route[0].attestation_audience: is empty"),
        ("issuer = []", "6: route[0].issuer: is empty: no token could be accepted; leave it out for all"),
        (
            "issuer = [\"https://id.example.org\"]",
            r#"6: route[0].issuer: "https://id.example.org" is no [[issuer]]; did you mean "https://id.example.com"?"#,
        ),
        (
            "issuer = [\"keycloak\"]",
            r#"6: route[0].issuer: "keycloak" is no [[issuer]] of this file, nor its [authorization_server]"#,
        ),
        (
            "issuer = [\"https://id.example.com\",\n\"https://id.example.com\"]",
            r#"7: route[0].issuer: "https://id.example.com" stands there already"#,
        ),
        ("methods = []", "6: route[0].methods: is empty: no request could be served; leave it out for all"),
        ("methods = [\"GET POST\"]", r#"6: route[0].methods: "GET POST" is not a method; write it like "GET""#),
        ("methods = [\"\"]", r#"6: route[0].methods: "" is not a method; write it like "GET""#),
        ("methods = [\"get\"]", r#"6: route[0].methods: "get" is another method than "GET": letter case counts"#),
        ("methods = [\"TRACE\"]", r#"6: route[0].methods: "TRACE" is never let through; leave it out"#),
        ("methods = [\"GET\",\n\"PUT\",\n\"GET\"]", "8: route[0].methods: GET stands there already"),
        ("methods = \"GET\"", "6: route[0].methods: is text; write a list, [\"..\"]"),
        (
            "upstream_authorization = \"keep\"",
            r#"6: route[0].upstream_authorization: "keep" is not a way to treat Authorization; use strip, pass or bearer"#,
        ),
    ];
    for (line, expected) in cases.iter().chain(&without_effect()).chain(&shadowed()) {
        let name = line.split_once(' ').map_or(*line, |(name, _)| name);
        let mut text = "[[origin]]\nurl = \"https://api.example.com\"\n[authorization_server]\nurl = \"https://id.example.com\"\n[[route]]\n".to_owned();
        text.push_str(line);
        for other in ["path = \"/\"", "upstream = [\"http://127.0.0.1:9000\"]"] {
            if !other.starts_with(name) {
                text.push('\n');
                text.push_str(other);
            }
        }
        assert_eq!(lines_of(&text), format!("keybound.toml:{expected}"), "{line}");
    }
}

#[test]
fn each_mistake_of_attestation_has_its_line() {
    for (line, expected) in [
        ("lifetime = \"31s\"", "lifetime: is not 1s to 30s, in whole seconds"),
        ("lifetime = \"1500ms\"", "lifetime: is not 1s to 30s, in whole seconds"),
        ("lifetime = \"0s\"", "lifetime: must not be zero"),
        ("signing_key = \"\"", "signing_key: is empty"),
        ("signing_key = \"no/such/key\"", "signing_key: no/such/key: cannot be made: there is no such folder"),
        ("key = \"a\"", "key: is not a setting of this table; there is listen.tls.key"),
    ] {
        let route = "[[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9000\"]\nmode = \"open\"\n";
        let text = format!("[[origin]]\nurl = \"https://api.example.com\"\n{route}[attestation]\n{line}\n");
        let errors = Config::parse(&text, file()).unwrap_err().to_string();
        assert!(errors.ends_with(&format!(": attestation.{expected}")) && !errors.contains('\n'), "{line}: {errors}");
    }
}

/// Somebody has to check a statement, and be named in it.
#[test]
fn an_attesting_route_without_upstream_names_its_audience() {
    let listener = "[listen]\ndecisions = \"127.0.0.1:8082\"\ndecision_peers = [\"127.0.0.1\"]\n";
    let with = |settings: &str| {
        let rest =
            "[[origin]]\nurl = \"https://api.example.com\"\n[authorization_server]\nurl = \"https://id.example.com\"\n";
        let route = format!("[[route]]\npath = \"/\"\nproof = \"attest\"\n{settings}");
        Config::parse(&[listener, rest, &route].concat(), file())
    };
    let errors = with("").unwrap_err().to_string();
    assert!(
        errors.contains("keybound.toml:10: route[0].proof: \"attest\" makes statements for the upstream"),
        "{errors}"
    );
    assert_eq!(with("attestation_audience = [\"a\"]").unwrap().routes[0].attestation_audience, ["a"]);
    let upstreams =
        "upstream = [\"h2://b.internal\", \"https://b.internal\", \"h2c://[::1]:9000\", \"http://a.internal:80\"]";
    let named = with(upstreams).unwrap().routes[0].attestation_audience.clone();
    assert_eq!(named, ["http://[::1]:9000", "http://a.internal", "https://b.internal"]);
}

/// What nobody enforces must not look as if it were.
fn without_effect() -> Vec<(&'static str, &'static str)> {
    const OPEN: &str = "is not enforced: mode = \"open\" checks nothing; leave it out, or use another mode";
    const REPORT: &str =
        "does not hold: mode = \"report\" changes nothing, and passes token and proof on; leave it out";
    let row = |line: &'static str, name: &str, why: &str| (line, &*format!("6: route[0].{name}: {why}").leak());
    vec![
        row("scope = [\"read\"]\nmode = \"open\"", "scope", OPEN),
        row("audience = [\"x\"]\nmode = \"open\"", "audience", OPEN),
        row("issuer = [\"https://id.example.com\"]\nmode = \"open\"", "issuer", OPEN),
        row("proof = \"check\"\nmode = \"open\"", "proof", OPEN),
        row("upstream_authorization = \"strip\"\nmode = \"open\"", "upstream_authorization", OPEN),
        row("upstream_authorization = \"bearer\"\nmode = \"report\"", "upstream_authorization", REPORT),
        row("proof = \"attest\"\nmode = \"report\"", "proof", REPORT),
        row("proof = \"attest\"\nmode = \"open\"", "proof", OPEN),
        row(
            "attestation_audience = [\"https://a.internal\"]",
            "attestation_audience",
            "goes with proof = \"attest\" alone; leave it out",
        ),
    ]
}

fn shadowed() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "path = \"/.well-known/keybound-attestation-jwks\"\nproof = \"attest\"",
            r#"6: route[0].path: "/.well-known/keybound-attestation-jwks" would never be reached: under /.well-known/keybound-attestation-jwks is the key set of proof = "attest"; use another path"#,
        ),
        (
            "path = \"/.well-known/oauth-protected-resource\"",
            r#"6: route[0].path: "/.well-known/oauth-protected-resource" would never be reached: under /.well-known/oauth-protected-resource is what the gateway says of its resources; use another path"#,
        ),
    ]
}

#[test]
fn what_the_embedded_issuer_answers_is_no_route() {
    let text = "[[origin]]\nurl = \"http://127.0.0.1:8080\"\n[authorization_server]\nurl = \"http://127.0.0.1:8080/issuer\"\n\
                [[route]]\npath = \"/issuer/token\"\nupstream = [\"http://127.0.0.1:9000\"]\n";
    assert_eq!(
        lines_of(text),
        "keybound.toml:6: route[0].path: \"/issuer/token\" would never be reached: under /issuer is the embedded issuer, by \
         authorization_server.url; use another path"
    );
    assert_eq!(lines_of(&text.replace("/issuer/token", "/issuers")), "");
    let metadata = text.replace("/issuer/token", "/.well-known/oauth-authorization-server/x");
    assert_eq!(
        lines_of(&metadata),
        "keybound.toml:6: route[0].path: \"/.well-known/oauth-authorization-server/x\" would never be reached: under \
         /.well-known/oauth-authorization-server is what the embedded issuer says of itself; use another path"
    );
    // Where it has a host of its own, or shares one of several, requests to the others reach a route there.
    for text in [text, &metadata] {
        let own = text.replace("url = \"http://127.0.0.1:8080/issuer\"", "url = \"https://id.example.com/issuer\"");
        let one_of_two = ["[[origin]]\nurl = \"https://api.example.com\"\n", text].concat();
        assert_eq!([lines_of(&own), lines_of(&one_of_two)], ["", ""], "{text}");
    }
    // An issuer alone has all paths to itself.
    let whole = text.replace("8080/issuer\"", "8080/\"");
    assert_eq!(
        lines_of(&whole),
        "keybound.toml:4: authorization_server.url: is the whole of the origin http://127.0.0.1:8080: every request would be \
         the issuer's, and none a route's; add a path, like /issuer"
    );
    let flags = Overrides::default().reader(Reader::Issuer);
    assert!(Config::from_parts(&whole, file(), [], &flags).is_ok());
    // Where nothing is checked, nothing is said of resources.
    let open = "[[origin]]\nurl = \"https://api.example.com\"\n[[route]]\npath = \"/.well-known/oauth-protected-resource\"\n\
                upstream = [\"http://127.0.0.1:9000\"]\nmode = \"open\"\nupstream_authorization = \"pass\"\nscope = []";
    assert_eq!(lines_of(open), "");
}
