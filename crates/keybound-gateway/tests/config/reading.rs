//! What is read of a right file, and of none.

use super::*;

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        lines_of(""),
        "keybound.toml: origin: there is none; add the address that clients call: [[origin]] with url = \"https://api.example.com\"\n\
         keybound.toml: route: there is none; add what to protect: [[route]] with path = \"/\" and upstream = [\"http://127.0.0.1:9000\"]"
    );
    let text = "[[origin]]\nurl = \"https://api.example.com\"\n[[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9000\"]";
    assert_eq!(
        lines_of(text),
        "keybound.toml: issuer: there is none, so no token could be accepted; add [[issuer]] with url and audience, or an \
         [authorization_server], or use mode = \"open\""
    );
    assert_eq!(lines_of(&format!("{text}\nmode = \"open\"")), "");
}

/// A route that only decisions are made about forwards nothing.
#[test]
fn a_route_for_decisions_needs_no_upstream() {
    let text = REST.replace("upstream = [\"http://127.0.0.1:9000\"]\n", "");
    assert_eq!(
        lines_of(&text),
        "keybound.toml:6: route[0].upstream: is missing; for example upstream = [\"http://127.0.0.1:9000\"]"
    );
    let listener = "[listen]\ndecisions = \"127.0.0.1:8082\"\ndecision_peers = [\"127.0.0.1\", \"10.0.0.0/8\"]\n";
    let config = Config::parse(&format!("{listener}{text}"), file()).unwrap();
    assert!(config.routes[0].upstreams.is_empty());
    assert_eq!(config.listen.decisions.unwrap().peers.len(), 2);
    assert_eq!(config.decisions.uri, "x-forwarded-uri");
    let envoys = "[listen]\next_authz = \"127.0.0.1:8083\"\ndecision_peers = [\"127.0.0.1\"]\n";
    let config = Config::parse(&format!("{envoys}{text}"), file()).unwrap();
    assert!(config.routes[0].upstreams.is_empty() && config.listen.decisions.is_none());
    assert_eq!(config.listen.ext_authz.unwrap().address.port(), 8083);
    let empty = text.replace("path = \"/\"", "path = \"/\"\nupstream = []");
    assert!(lines_of(&format!("{listener}{empty}")).contains("route[0].upstream: is empty"));
}

#[test]
fn the_example_for_decisions_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/decisions.toml");
    let config = Config::load(&path, [], &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.listen.decisions.is_some() && config.listen.ext_authz.is_some());
}

/// `keybound issuer` reads the same file, and asks for other tables.
#[test]
fn an_issuer_needs_neither_origin_nor_route() {
    let read = |text: &str| {
        let flags = Overrides::default().reader(Reader::Issuer);
        Config::from_parts(text, file(), [], &flags).map(|config| config.authorization_server)
    };
    let server = "[authorization_server]\nurl = \"https://id.example.com\"\n";
    let audience = "audience = [\"https://api.example.com\"]\n";
    let origin = "[[origin]]\nurl = \"https://api.example.com\"\n";
    assert_eq!(
        read("").unwrap_err().to_string(),
        "keybound.toml: authorization_server: there is none, and it is what this command runs; add [authorization_server] with \
         url = \"https://id.example.com\""
    );
    assert_eq!(
        read(server).unwrap_err().to_string(),
        "keybound.toml:2: authorization_server.audience: is missing, and there is no [[origin]]: tokens would be for nothing; \
         for example audience = [\"https://api.example.com\"]"
    );
    assert!(read(&format!("{server}{audience}")).unwrap().is_some());
    assert!(read(&format!("{server}{origin}")).unwrap().is_some());
    // What is there is read all the same.
    assert_eq!(
        read(&format!("{server}{audience}[[route]]\npath = \"/\"\nupstream = []")).unwrap_err().to_string(),
        "keybound.toml:6: route[0].upstream: is empty; name at least one, like [\"http://127.0.0.1:9000\"]"
    );
    // And the gateway asks for no less than before.
    assert_eq!(lines_of(&format!("{server}{audience}")).lines().count(), 2);
}

#[test]
fn identical_prefixes_are_one_too_many() {
    let text = format!("{REST}[[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9001\"]");
    assert_eq!(lines_of(&text), "keybound.toml:10: route[1].path: \"/\" stands in line 7 already");
}

#[test]
fn what_is_no_toml_does_not_hide_the_rest() {
    let text = format!("[proof]\nnonce = requird\nmax_age = \"0s\"\n{REST}");
    let lines = lines_of(&text);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.starts_with("keybound.toml:2: "), "{lines}");
    assert!(lines.ends_with("keybound.toml:3: proof.max_age: must not be zero"), "{lines}");
}

#[test]
fn a_file_that_cannot_be_read_says_how_to_begin() {
    let errors = Config::load(Path::new("/no/such/keybound.toml"), [], &Overrides::default()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "/no/such/keybound.toml: cannot be read: No such file or directory (os error 2); name another with --config, or begin \
         with: keybound config default > /no/such/keybound.toml"
    );
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let text = format!("[proof]\nnonce = \"off\"\nmax_age = \"60s\"\n{REST}");
    let environment = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let variables = environment(&[
        ("KEYBOUND_PROOF_NONCE", "require"),
        ("KEYBOUND_PROOF_ALGORITHMS", "ES256, PS256"),
        ("KEYBOUND_LIMITS_CONNECTIONS", "77"),
        ("KEYBOUND_LISTEN_ADDRESS", "127.0.0.1:1"),
        ("KEYBOUND_CLIENT_SECRET", "of another command"),
        ("PATH", "/bin"),
    ]);
    let flags = Overrides::listen(Some("127.0.0.1:2".to_owned()));
    let config = Config::from_parts(&text, file(), variables, &flags).unwrap();
    assert_eq!(config.proof.nonce, NoncePolicy::Require);
    assert_eq!(config.proof.max_age, Duration::from_secs(60));
    assert_eq!(config.proof.algorithms, [Alg::Es256, Alg::Ps256].into_iter().collect());
    assert_eq!(config.limits.connections, 77);
    assert_eq!(config.listen.address.port(), 2);

    let variables = environment(&[("KEYBOUND_PROOF_NONCE", "maybe"), ("KEYBOUND_PROOF_NONSE", "off")]);
    let flags = Overrides::listen(Some("8080".to_owned()));
    let errors = Config::from_parts(&text, file(), variables, &flags).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "KEYBOUND_PROOF_NONCE: proof.nonce: \"maybe\" is not a nonce policy; use off, offer or require\n\
         KEYBOUND_PROOF_NONSE: not a setting; did you mean KEYBOUND_PROOF_NONCE?\n\
         --listen: listen.address: \"8080\" is not an IP address and port, like \"127.0.0.1:8080\""
    );
    assert!(errors.iter().any(|error| error.place == Place::Flag("--listen")));
}

#[test]
fn reads_what_the_design_shows() {
    let text = r#"
[listen]
address = "0.0.0.0:8443"
admin = "127.0.0.1:8081"
trusted_peers = ["10.0.0.7"]

[[origin]]
url = "https://api.example.com"

[[issuer]]
url = "https://id.example.com"
audience = ["https://api.example.com"]
jwks_file = "issuer.jwks.json"

[[route]]
path = "/"
upstream = ["http://127.0.0.1:9000"]
mode = "optional"

[[route]]
path = "/orders"
upstream = ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
mode = "required"
scope = ["orders:read"]
proof = "check"
upstream_authorization = "pass"

[proof]
preset = "fapi"
max_age = "30s"
nonce_lifetime = "300s"

[replay]
store = "memory"
memory = "256MiB"
per_key = 100000
when_unavailable = "refuse"

[authorization_server]
url = "https://as.example.com"
store = "memory"
signing_key = "issuer-key.json"
audience = ["https://reports.example.com"]

[[authorization_server.client]]
client_id = "demo"
client_secret = "at least sixteen"
token_endpoint_auth_method = "client_secret_basic"
grant_types = ["client_credentials"]
dpop_bound_access_tokens = true
"#;
    let folder = tempfile::tempdir().unwrap();
    let set = format!("{{\"keys\":[{}]}}", SoftwareKey::generate(Alg::Es256).unwrap().public_jwk().to_json());
    fs::write(folder.path().join("issuer.jwks.json"), set).unwrap();
    let config = Config::parse(text, &folder.path().join("keybound.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(config.listen.trusted_peers[0].contains("10.0.0.7".parse().unwrap()));
    let KeySource::File(keys) = &config.issuers[0].keys else { panic!("the keys are in a file") };
    assert_eq!(keys.path, folder.path().join("issuer.jwks.json"));
    let orders = &config.routes[0];
    assert_eq!((orders.path.as_str(), orders.mode, orders.proof), ("/orders", Mode::Required, ProofHandling::Check));
    assert_eq!(orders.upstream_authorization, UpstreamAuthorization::Pass);
    assert_eq!(orders.upstreams.len(), 2);
    assert_eq!(config.routes[1].path.as_str(), "/");
    assert_eq!(config.proof.max_age, Duration::from_secs(30));
    assert_eq!(config.proof.max_future, Duration::from_secs(10));
    assert_eq!((config.proof.nonce, config.proof.algorithms), (NoncePolicy::Require, AlgSet::FAPI));
    let server = config.authorization_server.unwrap();
    assert!(!format!("{server:?}").contains("sixteen"));
    assert_eq!(server.signing_key.as_deref(), Some(&*folder.path().join("issuer-key.json")));
    assert!(!folder.path().join("issuer-key.json").exists(), "reading makes nothing");
    assert_eq!(server.audience, ["https://reports.example.com"]);
}

#[test]
fn the_printed_default_is_a_configuration() {
    let config = Config::parse(&default_text(), file()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.proof.max_age, Duration::from_secs(300));
    assert_eq!(config.proof.max_future, Duration::from_secs(60));
    assert_eq!((config.proof.nonce, config.proof.algorithms), (NoncePolicy::Offer, AlgSet::ALL));
    assert_eq!(config.replay.memory, 256 << 20);
    assert!(config.authorization_server.is_none());
}

#[test]
fn the_keys_of_the_issuer_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let sealing = folder.path().join("sealing.key");
    let made = SealingKeys::generate().unwrap();
    fs::write(&sealing, made.to_text().as_bytes()).unwrap();
    fs::set_permissions(&sealing, fs::Permissions::from_mode(0o600)).unwrap();
    let parsed = |store: &str, keys: &str| {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:1\"\n[[origin]]\nurl = \"https://api.example.com\"\n\
             [[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9000\"]\n\
             [authorization_server]\nurl = \"https://id.example.com\"\nstore = \"{store}\"\n{keys}"
        );
        Config::parse(&text, &folder.path().join("keybound.toml"))
            .map(|config| config.authorization_server.unwrap().keys)
    };
    let table = |text: &str| format!("[authorization_server.keys]\n{text}");
    assert_eq!(parsed("memory", "").unwrap().sealing, Sealing::Random);
    let beside = parsed("sqlite:id.db", "").unwrap();
    assert_eq!(beside.sealing, Sealing::Beside(folder.path().join("id.db.key")));
    assert_eq!(beside.settings, KeySettings::new(), "the defaults of the table are those of the issuer");
    let filed = parsed("postgres://keybound@db/id", &table("sealing_key_file = \"sealing.key\"\n")).unwrap();
    assert_eq!(filed.sealing, Sealing::With(made.clone()));
    let text = made.to_text();
    let here = parsed("postgres://keybound@db/id", &table(&format!("sealing_key = \"{}\"\n", text.trim()))).unwrap();
    assert!(!format!("{here:?}").contains(text.trim()));
    assert_eq!(here.sealing, filed.sealing);
    let other = table("algorithm = \"PS256\"\nrotate_every = \"7d\"\npublished_ahead = \"1d\"\n");
    let day = Duration::from_secs(86_400);
    let expected = KeySettings::new().algorithm(Alg::Ps256).rotate_every(7 * day).published_ahead(day);
    assert_eq!(parsed("memory", &other).unwrap().settings, expected);

    let own = "signing_key = \"own.json\"\n";
    for (store, keys, said) in [
        ("postgres://keybound@db/id", String::new(), "keys.sealing_key_file: is missing, and so is sealing_key"),
        ("memory", table("algorithm = \"RS256\"\n"), "\"RS256\" is not an algorithm to sign by"),
        ("memory", table("algorithm = \"none\"\n"), "\"none\" is not an algorithm to sign by"),
        ("memory", table("rotate_every = \"59m\"\n"), "keys.rotate_every: is not from 1h"),
        (
            "memory",
            table("published_ahead = \"31d\"\n"),
            "keys.rotate_every: is not from 1h, and the time that keys are published",
        ),
        ("memory", table("published_ahead = \"509s\"\n"), "keys.published_ahead: is not from 510s"),
        ("memory", table("sealing_key = \"hunter2hunter2\"\n"), "keys.sealing_key: not a key of 256 bits in base64"),
        ("memory", table("sealing_key_file = \"no.key\"\n"), "cannot be read"),
        (
            "memory",
            [own, &table("rotate_every = \"7d\"\n")].concat(),
            "keys.rotate_every: is for keys that the issuer makes",
        ),
    ] {
        let errors = parsed(store, &keys).unwrap_err().to_string();
        assert!(errors.contains(said) && errors.lines().count() == 1, "{keys}: {errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    assert!(parsed("postgres://keybound@db/id", own).is_ok(), "there is nothing to seal");
    assert!(parsed("memory", &[own, &table("published_ahead = \"1d\"\n")].concat()).is_ok());
    fs::set_permissions(&sealing, fs::Permissions::from_mode(0o640)).unwrap();
    let errors = parsed("memory", &table("sealing_key_file = \"sealing.key\"\n")).unwrap_err().to_string();
    assert!(errors.contains("others may read it (mode 640)"), "{errors}");
}

/// Every commented setting of the printed file is one, and says so itself if it is not in this version.
#[test]
fn every_example_of_the_printed_default_is_a_setting() {
    let examples = default_text()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
        // What alone another setting goes with.
        .replace("proof = \"consume\"", "proof = \"attest\"")
        .replace("signing_key = \"issuer-key.json\"", "")
        // No secret that somebody might copy.
        .replace("nonce_sealing_key = \"256 bits in base64\"", "")
        .replace("sealing_key = \"256 bits in base64\"", "");
    let errors = Config::parse(&examples, file()).unwrap_err();
    for error in errors.iter() {
        let said = [
            "is not in this version",
            "cannot be read",
            "goes with a replay.store that is Redis",
            "goes with a replay.store that is PostgreSQL",
            "is for builds with the feature pkcs11",
            "is for keys that the issuer makes",
        ];
        let expected = said.iter().any(|said| error.message.contains(said));
        // No secret stands there that somebody could copy.
        let is_elided = &*error.path == "proof.nonce_ring" && error.message.starts_with("a secret is not");
        assert!(expected || is_elided, "{error:?}");
    }
}

#[test]
fn the_schema_knows_every_table() {
    let schema = schema();
    let properties = &schema["properties"];
    assert_eq!(properties["route"]["items"]["properties"]["mode"]["enum"][0], "required");
    assert_eq!(properties["route"]["items"]["required"], serde_json::json!(["path"]));
    assert_eq!(properties["limits"]["properties"]["connections"]["default"], 10_000);
    let client = &properties["authorization_server"]["properties"]["client"]["items"];
    assert_eq!(client["properties"]["client_id"]["type"], "string");
    assert_eq!(properties["listen"]["additionalProperties"], false);
}

proptest::proptest! {
    // R-SEC-12: whatever the file holds, there are lines, not panics.
    #[test]
    fn no_text_is_too_odd(text in "(\\[{0,2}(listen|route|proof|limits)\\]{0,2}\n|(path|mode|max_age|workers) ?= ?(\"[ -~]{0,9}\"|[0-9\\[\\]{}]{0,6})\n|[ -~]{0,12}\n){0,8}") {
        let _ = Config::parse(&text, file());
    }
}
