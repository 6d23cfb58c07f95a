//! What is said of mistakes in the tables of introspection, health checks and telemetry.

use super::*;

/// Of `[issuer.introspection]`, whose lines begin with the fourth.
#[test]
fn each_mistake_of_introspection_has_its_line() {
    const SECRET: &str = "client_secret = \"as the issuer has it\"\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "as the issuer has it\n").unwrap();
    fs::write(folder.path().join("nothing"), "\n").unwrap();
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let set = format!("{{\"keys\":[{}]}}", key.public_jwk().to_json());
    fs::write(folder.path().join("keys.json"), set).unwrap();
    let lines_of = |before: &str, inside: &str| {
        let text = format!(
            "[[issuer]]\nurl = \"https://b.example\"\naudience = [\"x\"]\n{before}[issuer.introspection]\n{inside}\
             client_id = \"gateway\"\n{REST}"
        );
        let read = Config::parse(&text, &folder.path().join("keybound.toml"));
        read.map_or_else(|errors| errors.to_string(), |_| String::new())
    };
    let endpoint = "endpoint = \"https://b.example/introspect\"\n";
    let asked = |inside: &str| lines_of("", &[endpoint, inside].concat());
    for (said, expected) in [
        (asked(SECRET), ""),
        (asked("client_secret_file = \"secret\"\n"), ""),
        (
            asked(""),
            "4: issuer[0].introspection.client_secret: is missing, and so is client_secret_file: the issuer answers only those it knows",
        ),
        (
            asked(&[SECRET, "client_secret_file = \"secret\"\n"].concat()),
            "7: issuer[0].introspection.client_secret_file: is set besides client_secret; leave one of them out",
        ),
        (
            asked("client_secret_file = \"nothing\"\n"),
            r#"6: issuer[0].introspection.client_secret_file: "nothing" is empty"#,
        ),
        (
            asked("client_secret_file = \"/dev/zero\"\n"),
            r#"6: issuer[0].introspection.client_secret_file: "/dev/zero" is not a file"#,
        ),
        (
            lines_of("", &["endpoint = \"http://b.example/introspect\"\n", SECRET].concat()),
            "5: issuer[0].introspection.endpoint: is plain http: tokens and secrets go over https only, plain http is for loopback",
        ),
        (
            asked(&[SECRET, "keep = \"6m\"\n"].concat()),
            "7: issuer[0].introspection.keep: is longer than 5m: a revocation would be noticed too late",
        ),
        (
            asked("authentication = \"private_key_jwt\"\n"),
            "6: issuer[0].introspection.private_key: is missing: private_key_jwt signs with it",
        ),
        (
            lines_of("jwks_file = \"keys.json\"\n", &[endpoint, SECRET].concat()),
            "4: issuer[0].jwks_file: is not needed: the issuer is asked about its tokens, and its answers are not signed",
        ),
        (lines_of("jwks_file = \"keys.json\"\n", &[endpoint, SECRET, "signed = true\n"].concat()), ""),
    ] {
        let said = said.split_once("keybound.toml:").map_or(&*said, |(_, said)| said);
        assert_eq!(said, expected);
    }
}

/// Of `[route.health]`, whose lines begin with the tenth.
#[test]
fn each_mistake_of_a_health_check_has_its_line() {
    let read = |inside: &str| Config::parse(&format!("{REST}[route.health]\n{inside}"), file());
    let health = read("path = \"/healthz?deep=1\"\n").unwrap().routes.remove(0).health.unwrap();
    assert_eq!((health.path.as_str(), health.interval, health.timeout), ("/healthz?deep=1", seconds(5), seconds(2)));
    assert_eq!((health.healthy, health.unhealthy), (2, 3));
    for (inside, expected) in [
        ("", "9: route[0].health.path: is missing; for example path = \"/healthz\""),
        ("path = \"healthz\"", r#"10: route[0].health.path: "healthz" is not a path; write it like "/healthz""#),
        ("path = \"/a#b\"", r##"10: route[0].health.path: "/a#b" is not a path; write it like "/healthz""##),
        ("path = \"/a b\"", r#"10: route[0].health.path: "/a b" is not a path; write it like "/healthz""#),
        ("path = \"/\"\ninterval = 5", r#"11: route[0].health.interval: is a number; write it in quotes, "..""#),
        ("path = \"/\"\ntimeout = \"0s\"", "11: route[0].health.timeout: must not be zero"),
        ("path = \"/\"\nhealthy = 0", "11: route[0].health.healthy: 0 is out of range; use 1 to 100"),
        ("path = \"/\"\nunhealthy = 101", "11: route[0].health.unhealthy: 101 is out of range; use 1 to 100"),
        ("path = \"/\"\nrise = 2", "11: route[0].health.rise: is not a setting; keybound config default lists all"),
    ] {
        let said = read(inside).unwrap_err().to_string();
        assert_eq!(said.strip_prefix("keybound.toml:"), Some(expected));
    }
    let text = REST.replace("upstream = [\"http://127.0.0.1:9000\"]\n", "health = { path = \"/\" }\n");
    let decides = "[listen]\ndecisions = \"127.0.0.1:0\"\ndecision_peers = [\"127.0.0.1\"]\n";
    assert_eq!(
        lines_of(&[&text, decides].concat()),
        "keybound.toml:8: route[0].health: has nothing to ask: there is no upstream; leave it out"
    );
}

/// Of `[telemetry]`, whose lines begin with the ninth.
#[test]
fn each_mistake_of_telemetry_has_its_line() {
    let read = |inside: &str| Config::parse(&format!("{REST}[telemetry]\n{inside}"), file());
    let telemetry = read("endpoint = \"http://collector:4318/\"\nsampling = \"0.25\"\n").unwrap().telemetry.unwrap();
    assert_eq!((&*telemetry.endpoint, telemetry.sampling), ("http://collector:4318/v1/traces", 0.25));
    let endpoint = "endpoint = \"https://collector:4318\"\n";
    for (inside, expected) in [
        (String::new(), "9: telemetry.endpoint: is missing; for example endpoint = \"http://127.0.0.1:4318\""),
        (
            "endpoint = \"collector:4318\"".to_owned(),
            r#"10: telemetry.endpoint: "collector:4318" is no URL; write it like "http://127.0.0.1:4318""#,
        ),
        (
            format!("{endpoint}sampling = \"1.1\""),
            r#"11: telemetry.sampling: "1.1" is no part of a whole; write a number from 0 to 1, like "0.1""#,
        ),
        (
            format!("{endpoint}headers = [\"secret value\"]"),
            r#"11: telemetry.headers: has an item that is no field; write it like "x-api-key=value""#,
        ),
        (
            "endpoint = \"http://collector:4318\"\nheaders = [\"a=b\"]".to_owned(),
            "11: telemetry.headers: would go over plain http, and they are secret as a rule; use an https endpoint",
        ),
    ] {
        let said = read(&inside).unwrap_err().to_string();
        assert_eq!(said.strip_prefix("keybound.toml:"), Some(expected));
    }
    let secret = read(&format!("{endpoint}headers = [\"a=hidden\"]")).unwrap();
    assert!(!format!("{secret:?}").contains("hidden"));
    // As every program is told of it; what is set for this one goes before.
    let with = |text: &str| {
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), "http://127.0.0.1:1".to_owned())];
        let config = Config::from_parts(&[REST, text].concat(), file(), environment, &Overrides::default());
        config.unwrap().telemetry.unwrap().endpoint
    };
    assert_eq!(&*with(""), "http://127.0.0.1:1/v1/traces");
    assert_eq!(&*with("[telemetry]\nendpoint = \"http://127.0.0.1:2\""), "http://127.0.0.1:2/v1/traces");
}
