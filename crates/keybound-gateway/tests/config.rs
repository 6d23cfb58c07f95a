//! Configurations and what is said about their mistakes: the exact lines a person sees.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound_gateway::config::{
    Config, KeySource, Mode, NoncePolicy, Overrides, Place, ProofHandling, Reader, Sealing, UpstreamAuthorization,
    default_text, schema,
};
use keybound_issuer::keys::{KeySettings, SealingKeys};

/// What every configuration below needs besides what it is about.
const REST: &str = "[[origin]]\nurl = \"https://api.example.com\"\n[[issuer]]\nurl = \"https://id.example.com\"\n\
                    audience = [\"https://api.example.com\"]\n[[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9000\"]\n";

fn file() -> &'static Path {
    Path::new("keybound.toml")
}

fn lines_of(text: &str) -> String {
    Config::parse(text, file()).map_or_else(|errors| errors.to_string(), |_| String::new())
}

#[test]
fn five_mistakes_are_five_lines_with_their_places() {
    let text = r#"
[listen]
adress = "127.0.0.1:8080"

[[origin]]
url = "http://api.example.com"

[[issuer]]
url = "https://id.example.com"
audience = ["https://api.example.com"]

[[route]]
path = "/orders"
upstream = ["http://127.0.0.1:9000"]
mode = "requird"

[proof]
max_future = "90s"
algorithms = ["ES256", "HS256"]
"#;
    let expected = r#"keybound.toml:3: listen.adress: is not a setting; did you mean address?
keybound.toml:6: origin[0].url: "http://api.example.com" is plain http; use https: http is for loopback only
keybound.toml:15: route[0].mode: "requird" is not a mode; use required, optional, report or open
keybound.toml:18: proof.max_future: is longer than 60s, which is the most
keybound.toml:19: proof.algorithms: "HS256" is a MAC, whose key would be known to whoever checks it, and never allowed; use a signature algorithm, like ES256"#;
    assert_eq!(lines_of(text), expected);
}

#[test]
fn each_mistake_has_its_line() {
    let cases: &[(&str, &str)] = &[
        // Forms of values.
        (
            "[listen]\naddress = \"localhost:80\"",
            r#"1:2: listen.address: "localhost:80" is not an IP address and port, like "127.0.0.1:8080""#,
        ),
        ("[listen]\naddress = 8080", "1:2: listen.address: is a number; write it in quotes, \"..\""),
        ("[listen]\nworkers = \"two\"", "1:2: listen.workers: is text; write a number"),
        ("[listen]\nworkers = 5000", "1:2: listen.workers: 5000 is out of range; use 0 to 1024"),
        (
            "[listen]\ntrusted_peers = [\"10.0.0.7\", \"ten\"]",
            r#"1:2: listen.trusted_peers: "ten" is not an IP address or network, like "10.0.0.7" or "10.0.0.0/8""#,
        ),
        (
            "[listen]\nproxy_protocol_peers = [\"lb\"]",
            r#"1:2: listen.proxy_protocol_peers: "lb" is not an IP address or network, like "10.0.0.7" or "10.0.0.0/8""#,
        ),
        ("[listen]\ntls = true", "1:2: listen.tls: is true or false; write a table, { .. }"),
        (
            "[listen]\ntls = { certificate = \"Cargo.toml\" }",
            "1:2: listen.tls.key: is missing; for example key = \"key.pem\"\nkeybound.toml:2: listen.tls.certificate: \"Cargo.toml\" holds no certificate in PEM form",
        ),
        (
            "[listen]\ntls = { certificate = \"no.pem\", key = \"Cargo.toml\", versions = [] }",
            "1:2: listen.tls.certificate: \"no.pem\" cannot be read: No such file or directory (os error 2); paths are relative to the folder of the configuration\nkeybound.toml:2: listen.tls.key: \"Cargo.toml\" holds no private key; write it as PEM, not encrypted\nkeybound.toml:2: listen.tls.versions: is not a setting; keybound config default lists all",
        ),
        ("[limits]\nstreams = 0", "1:2: limits.streams: 0 is out of range; use 1 to 1000"),
        ("listen = 3", "1:1: listen: is a number; write a table, [listen]"),
        ("[proof]\nmax_age = 300", "1:2: proof.max_age: is a number; write it in quotes, \"..\""),
        (
            "[proof]\nmax_age = \"300\"",
            r#"1:2: proof.max_age: "300" is not a span of time; write a number and ms, s, m, h or d, like "30s""#,
        ),
        ("[proof]\nmax_age = \"0s\"", "1:2: proof.max_age: must not be zero"),
        ("[proof]\nmax_age = \"25h\"", "1:2: proof.max_age: is longer than 24h, which is the most"),
        (
            "[proof]\nnonce = \"always\"",
            r#"1:2: proof.nonce: "always" is not a nonce policy; use off, offer or require"#,
        ),
        (
            "[proof]\nalgorithms = []",
            "1:2: proof.algorithms: is empty: no proof or token could pass; leave it out to allow all",
        ),
        (
            "[proof]\nalgorithms = [\"es256\"]",
            r#"1:2: proof.algorithms: "es256" is not an algorithm; did you mean ES256?"#,
        ),
        (
            "[replay]\nmemory = \"256MB\"",
            r#"1:2: replay.memory: "256MB" is not a size; write a number and B, KiB, MiB or GiB, like "64MiB""#,
        ),
        ("[replay]\nper_key = 0", "1:2: replay.per_key: 0 is out of range; use 1 to 4294967295"),
        ("[limits]\nheader_bytes = \"1GiB\"", "1:2: limits.header_bytes: is out of range; use 4KiB to 1MiB"),
        // Names.
        ("[proof]\nmax-age = \"60s\"", "1:2: proof.max-age: is not a setting; did you mean max_age?"),
        ("[listen]\nmax_age = \"60s\"", "1:2: listen.max_age: is not a setting of this table; there is proof.max_age"),
        ("[listen]\nfoo = 1", "1:2: listen.foo: is not a setting; keybound config default lists all"),
        ("[prof]\nmax_age = \"60s\"", "1:1: prof: is not a table of the configuration; did you mean proof?"),
        // What goes together, and what does not.
        (
            "[proof]\npreset = \"fapi\"\n[replay]\nwhen_unavailable = \"nonce-only\"",
            r#"1:4: replay.when_unavailable: "nonce-only" does not go with proof.preset = "fapi"; use refuse"#,
        ),
        (
            "[proof]\nnonce = \"off\"\n[replay]\nwhen_unavailable = \"nonce-only\"",
            r#"1:4: replay.when_unavailable: "nonce-only" does not go with proof.nonce = "off", by which nonces are not looked at; use refuse"#,
        ),
        (
            "listen = { address = \"127.0.0.1:8081\", admin = \"127.0.0.1:8081\" }",
            "1:1: listen.admin: is 127.0.0.1:8081, which listen.address is too",
        ),
        (
            "[listen]\nadmin = \"0.0.0.0:8081\"",
            "1:2: listen.admin: is off loopback, where anybody could read the console; set listen.admin_secret_file too, or use 127.0.0.1",
        ),
        (
            "[listen]\nadmin = \"0.0.0.0:8081\"\nadmin_secret = \"too short\"",
            "1:3: listen.admin_secret: is shorter than 16 characters, and could be guessed",
        ),
        (
            "[listen]\nadmin_secret_file = \"no-such-secret\"",
            r#"1:2: listen.admin_secret_file: "no-such-secret" cannot be read: No such file or directory (os error 2); paths are relative to the folder of the configuration"#,
        ),
        ("[log]\nformat = \"yaml\"", r#"1:2: log.format: "yaml" is not a form of the log; use text or json"#),
        (
            "[proof]\nnonce_keys = \"no-such-ring.json\"",
            r#"1:2: proof.nonce_keys: "no-such-ring.json" cannot be read: No such file or directory (os error 2); paths are relative to the folder of the configuration"#,
        ),
        (
            "[proof]\nnonce_keys = \"Cargo.toml\"",
            r#"1:2: proof.nonce_keys: is set while replay.store is "memory": processes that share nonces and not the memory of used proofs accept each proof once each; leave nonce_keys out"#,
        ),
        (
            "[proof]\nnonce_ring = \"{}\"",
            "1:2: proof.nonce_ring: this is not a nonce ring: an object with turned, current, and perhaps previous and next",
        ),
        (
            "[proof]\nnonce_rotate_every = \"2h\"",
            "1:2: proof.nonce_rotate_every: is for a ring that is kept in replay.store, and that needs proof.nonce_sealing_key_file; set that, or leave this out",
        ),
        (
            "[proof]\nnonce_sealing_key = \"hunter2\"\n[replay]\nstore = \"redis://127.0.0.1\"",
            "1:2: proof.nonce_sealing_key: not a key of 256 bits in base64, one a line; openssl rand -base64 32 makes one",
        ),
        (
            "[proof]\nnonce_sealing_key = \"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\"",
            r#"1:2: proof.nonce_sealing_key: is set while replay.store is "memory": processes that share nonces and not the memory of used proofs accept each proof once each; leave nonce_sealing_key out"#,
        ),
        (
            "[proof]\nnonce_sealing_key = \"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\"\nnonce_rotate_every = \"599s\"\n[replay]\nstore = \"redis://127.0.0.1\"",
            "1:3: proof.nonce_rotate_every: is less than 600 s: a minute, and twice proof.nonce_lifetime",
        ),
        (
            "[proof]\nnonce_sealing_key = \"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\"\nnonce_ring = '{\"turned\":1700000000,\"current\":{\"id\":1,\"secret\":\"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE\"}}'\n[replay]\nstore = \"redis://127.0.0.1\"",
            "1:2: proof.nonce_sealing_key: is for a ring that is kept in replay.store, and proof.nonce_ring is another; leave one of them out",
        ),
        (
            "[[origin]]\nurl = \"https://api.example.com\"",
            r#"1:4: origin[1].url: "https://api.example.com" stands in line 2 already"#,
        ),
        (
            "[[issuer]]\nurl = \"https://b.example\"\naudience = []",
            "1:3: issuer[0].audience: is empty: tokens for other services would be accepted; name this one",
        ),
        (
            "[[issuer]]\nurl = \"https://b.example\"",
            r#"1:1: issuer[0].audience: is missing; for example audience = ["http://127.0.0.1:8080"]"#,
        ),
        (
            "[[issuer]]\nurl = \"http://b.example\"\naudience = [\"x\"]",
            r#"1:2: issuer[0].url: "http://b.example" is plain http; use https: http is for loopback only"#,
        ),
        (
            "[[issuer]]\nurl = \"https://b.example\"\naudience = [\"x\"]\njwks_file = \"src\"",
            r#"1:4: issuer[0].jwks_file: "src" is not a file"#,
        ),
        // Not in this version.
        (
            "[listen]\naddress = \"0.0.0.0:8443\"",
            "1:2: listen.address: is off loopback, where clients must use TLS: add [listen.tls] with certificate and key, or end it in a proxy in front of this one, name that proxy in listen.trusted_peers, and keep the https URL that clients use in [[origin]]",
        ),
        // Decisions for other proxies.
        (
            "[listen]\ndecisions = \"127.0.0.1:8082\"",
            "1:2: listen.decisions: needs listen.decision_peers: the proxies that may ask there, for example decision_peers = [\"127.0.0.1\"]",
        ),
        (
            "[listen]\ndecisions = \"127.0.0.1:8080\"\ndecision_peers = [\"127.0.0.1\"]",
            "1:2: listen.decisions: is 127.0.0.1:8080, where another listener is already; use a port of its own",
        ),
        (
            "[listen]\ndecision_peers = [\"127.0.0.1\"]",
            "1:2: listen.decision_peers: is set without listen.decisions or listen.ext_authz, and has no meaning alone",
        ),
        (
            "[listen]\next_authz = \"127.0.0.1:8083\"",
            "1:2: listen.ext_authz: needs listen.decision_peers: the proxies that may ask there, for example decision_peers = [\"127.0.0.1\"]",
        ),
        (
            "[listen]\ndecisions = \"127.0.0.1:8082\"\next_authz = \"127.0.0.1:8082\"\ndecision_peers = [\"127.0.0.1\"]",
            "1:3: listen.ext_authz: is 127.0.0.1:8082, where another listener is already; use a port of its own",
        ),
        (
            "[listen]\next_authz = \"127.0.0.1:8081\"\ndecision_peers = [\"127.0.0.1\"]",
            "1:2: listen.ext_authz: is 127.0.0.1:8081, where another listener is already; use a port of its own",
        ),
        ("[decisions]\nuri_field = \"X Uri\"", "1:2: decisions.uri_field: \"X Uri\" is not the name of a field"),
        (
            "[decisions]\nuri_field = \"x-forwarded-method\"",
            "1:2: decisions: names one field twice; each says something else",
        ),
        ("[replay]\nstore = \"redis://\"", "1:2: replay.store: names no host, or a port that is none"),
        (
            "[replay]\nstore = \"disk\"",
            r#"1:2: replay.store: "disk" is not a store; use "memory", "file:FOLDER", redis://HOST:PORT or postgres://USER@HOST/DATABASE"#,
        ),
        ("[replay]\nstore = \"file:\"", r#"1:2: replay.store: names no folder; write it like "file:proofs""#),
        (
            "[replay]\nstore = \"file:///proofs\"",
            r#"1:2: replay.store: "file:///proofs" has slashes of a URL; write file: and the folder, like "file:proofs""#,
        ),
        ("[replay]\nstore = \"file:Cargo.toml\"", r#"1:2: replay.store: "Cargo.toml" is there and is no folder"#),
        (
            "[replay]\nstore = \"file:no-such/proofs\"",
            r#"1:2: replay.store: there is no folder "no-such" to make it in"#,
        ),
        (
            "[replay]\nstore = \"file:proofs\"\n[proof]\nnonce_keys = \"Cargo.toml\"",
            r#"1:4: proof.nonce_keys: is set while replay.store is "file:": processes that share nonces and not the memory of used proofs accept each proof once each; leave nonce_keys out"#,
        ),
        (
            "[replay]\nstore = \"file:proofs\"\n[replay.redis]\nprefix = \"a\"",
            "1:3: replay.redis: goes with a replay.store that is Redis",
        ),
        (
            "[replay]\nstore = \"postgres://user:hunter2@h\"",
            "1:2: replay.store: names no database; write postgres://USER@HOST/DATABASE",
        ),
        (
            "[replay]\nstore = \"postgres://h/d\"\n[replay.postgres]\nschema = \"a b\"",
            "1:4: replay.postgres.schema: is not a name of lower-case letters, digits and _, at most 32, for a schema of its own",
        ),
        (
            "[replay]\nstore = \"postgres://h/d\"\n[replay.postgres]\nfailover = \"maybe\"",
            r#"1:4: replay.postgres.failover: "maybe" is not a word for it; use never or possible"#,
        ),
        (
            "[replay]\nstore = \"postgres://h/d\"\n[replay.postgres]\nfailover = \"possible\"\n[proof]\nnonce = \"offer\"",
            "1:2: replay.store: may fail over from one server to another, and then every proof needs a nonce; leave proof.nonce \
             out, or write require",
        ),
        (
            "[replay]\nstore = \"memory\"\n[replay.postgres]\nschema = \"a\"",
            "1:3: replay.postgres: goes with a replay.store that is PostgreSQL",
        ),
        (
            "[replay]\nstore = \"redis-cluster://h\"\n[proof]\nnonce = \"offer\"",
            "1:2: replay.store: may fail over from one server to another, and then every proof needs a nonce; leave proof.nonce \
             out, or write require",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\nstore = \"mysql://user:password@db\"",
            r#"1:3: authorization_server.store: not a store; use "sqlite:keybound.db", "postgres://USER@HOST/DATABASE" or "memory""#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\nstore = \"disk\"",
            r#"1:3: authorization_server.store: "disk" is not a store; use "sqlite:keybound.db", "postgres://USER@HOST/DATABASE" or "memory""#,
        ),
        // The embedded issuer.
        (
            "[authorization_server]\nurl = \"https://api.example.com/issuer\"",
            "1:2: authorization_server.url: shares its host with the origin https://api.example.com; off loopback an issuer has a host of its own",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\nauto_approve = \"alice\"",
            "1:2: authorization_server.auto_approve: lets everybody in, so it is for development, with the issuer and listen.address on loopback; leave it out",
        ),
        (
            "[authorization_server]\nurl = \"https://id.example.com\"",
            "1:2: authorization_server.url: is an [[issuer]] too; it is trusted by itself, so leave that out",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[authorization_server.nonce]\nparr = \"off\"",
            "1:4: authorization_server.nonce.parr: is not a setting; did you mean par?",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[authorization_server.nonce]\nintrospect = \"off\"",
            "1:4: authorization_server.nonce.introspect: is not a setting; keybound config default lists all",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[authorization_server.nonce]\ntoken = \"always\"",
            r#"1:4: authorization_server.nonce.token: "always" is not a nonce policy; use off, offer or require"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[authorization_server.nonce]\nuserinfo = \"off\"\n[proof]\npreset = \"fapi\"",
            r#"1:4: authorization_server.nonce.userinfo: "off" does not go with proof.preset = "fapi"; use offer or require"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[authorization_server.nonce]\npar = \"off\"\n[replay]\nwhen_unavailable = \"nonce-only\"",
            r#"1:4: authorization_server.nonce.par: "off", by which nonces are not looked at, does not go with replay.when_unavailable = "nonce-only"; use offer or require"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[authorization_server.nonce]\ndevice_authorization = \"offer\"\n[replay]\nstore = \"redis-cluster://h\"",
            "1:4: authorization_server.nonce.device_authorization: does not go with a replay.store that may fail over from one server \
             to another, where every proof needs a nonce; leave it out, or write require",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\nregistration = \"token\"",
            "1:3: authorization_server.registration: \"token\" needs a registration_token",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\nregistration_token = \"short\"",
            "1:3: authorization_server.registration_token: is shorter than 16 characters, and could be guessed",
        ),
        (
            "[authorization_server]\nurl = \"http://127.0.0.1:8080/issuer\"\nauto_approve = \"a\"\n[[authorization_server.client]]\nclient_id = \"a\"\ngrant_types = []\ntoken_endpoint_auth_method = \"none\"",
            "1:3: authorization_server.auto_approve: is the client_id of a client too, and sub of their tokens would be the same",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.user]]\nusername = \"al ice\"\npassword_hash = \"$argon2id$v=19$m=8,t=1,p=1$+C4f67MQrSoF4qvwplvyQQ$R/qX4hbHxWWwaf5VXrPkMcafJ3honlSMrDlFvNaLi/o\"",
            r#"1:4: authorization_server.user[0].username: "al ice": a user name is of letters, digits and . _ - + @, at most 64 of them"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.user]]\nusername = \"alice\"\npassword_hash = \"correct horse\"",
            "1:5: authorization_server.user[0].password_hash: is no argon2id hash in the PHC format, of at most 256 MiB and 16 passes, or the password is empty or too long for one",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a\"\nclient_secret = \"short\"\ngrant_types = [\"client_credentials\"]",
            "1:5: authorization_server.client[0].client_secret: is shorter than 16 characters, and could be guessed",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a\"\ngrant_types = [\"implicit\"]\ntoken_endpoint_auth_method = \"none\"",
            r#"1:5: authorization_server.client[0].grant_types: "implicit" is not a grant type; use authorization_code, client_credentials, refresh_token, urn:ietf:params:oauth:grant-type:device_code, urn:ietf:params:oauth:grant-type:token-exchange"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a\"\ngrant_types = [\"authorization_code\"]\ntoken_endpoint_auth_method = \"none\"",
            "1:5: authorization_server.client[0].redirect_uris: is missing: authorization_code sends codes there",
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a\"\ngrant_types = []\ntoken_endpoint_auth_method = \"none\"\nredirect_uris = [\"http://app.example.com/\"]",
            r#"1:7: authorization_server.client[0].redirect_uris: "http://app.example.com/" is not one of https, of http on loopback or of a scheme like com.example.app, without fragment"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a\"\ngrant_types = [\"client_credentials\"]\ntoken_endpoint_auth_method = \"none\"",
            r#"1:6: authorization_server.client[0].token_endpoint_auth_method: "none" does not go with client_credentials and token exchange, which are for clients that authenticate"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a\"\ngrant_types = [\"client_credentials\"]",
            r#"1:3: authorization_server.client[0].token_endpoint_auth_method: "client_secret_basic" needs a client_secret"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\n[[authorization_server.client]]\nclient_id = \"a \"\ngrant_types = [\"client_credentials\"]\nclient_secret = \"at least sixteen\"",
            r#"1:4: authorization_server.client[0].client_id: "a " has a character that is not printable ASCII, or a blank at an end"#,
        ),
        (
            "[authorization_server]\nurl = \"https://as.example.com\"\naudience = [\"reports\"]",
            r#"1:3: authorization_server.audience: "reports" is not an absolute URI without fragment, like "https://api.example.com""#,
        ),
        (
            "[[origin]]\nurl = \"https://API.example.com:443/\"",
            r#"1:4: origin[1].url: "https://api.example.com" has the host and port of "https://API.example.com:443/" in line 2: requests for one could not be told from those for the other"#,
        ),
        (
            "[[issuer]]\nurl = \"https://b.example\"\naudience = [\"x\"]\nalgorithms = [\"none\", \"rot13\"]",
            "1:4: issuer[0].algorithms: \"none\" signs nothing, and is never allowed; use a signature algorithm, like ES256\nkeybound.toml:4: issuer[0].algorithms: \"rot13\" is not a signature algorithm; known are ES256 Ed25519 ES384 ES512 PS256 PS384 PS512 RS256 RS384 RS512 EdDSA",
        ),
    ];
    for (text, expected) in cases {
        let whole = format!("{text}\n{REST}");
        let expected = expected.replacen("1:", "keybound.toml:", 1);
        assert_eq!(lines_of(&whole), expected, "{text}");
    }
}

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

/// What the engine would refuse, and would be the only thing it says: all at once, with lines, and nothing is waited for.
#[test]
fn every_file_is_judged() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    write("corrupt.json", b"{\"keys\":[");
    write("short.json", b"{}");
    write("empty.json", b"{\"keys\":[]}");
    write("symmetric.json", br#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    write("private.json", format!("{{\"keys\":[{}]}}", key.to_private_jwk().unwrap().as_str()).as_bytes());
    write("large.json", &vec![b' '; 300 << 10]);
    write("spoilt.json", b"spoilt");
    write("open.json", key.to_private_jwk().unwrap().as_bytes());
    let mode = |name: &str, mode| {
        std::fs::set_permissions(folder.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("spoilt.json", 0o600);
    mode("open.json", 0o644);
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let sets = [
        ("corrupt.json", "\"corrupt.json\": not a JWK set"),
        ("short.json", "\"short.json\": not a JWK set"),
        ("empty.json", "\"empty.json\": the set holds no public key"),
        ("symmetric.json", "\"symmetric.json\": keys[0]: "),
        ("private.json", "\"private.json\": keys[0]: "),
        ("large.json", "\"large.json\" cannot be read: larger than 256 KiB"),
        ("pipe", "\"pipe\" is not a file"),
        ("/dev/zero", "\"/dev/zero\" is not a file"),
        ("missing.json", "\"missing.json\" cannot be read: No such file"),
    ];
    let at = folder.path().join("keybound.toml");
    for (own, said_of_own) in [
        ("spoilt.json", "spoilt.json: no PEM block"),
        ("open.json", "open.json: cannot be read: others may read it (mode 644); mend that: chmod 600"),
        ("pipe", "pipe: cannot be read: not a regular file"),
        ("no/such/key.json", "no/such/key.json: cannot be made: there is no such folder"),
    ] {
        for (set, said) in sets {
            let text = format!(
                "[[issuer]]\nurl = \"https://b.example\"\naudience = [\"x\"]\njwks_file = \"{set}\"\n\
                 [authorization_server]\nurl = \"https://as.example.com\"\nsigning_key = \"{own}\"\n\
                 [[authorization_server.client]]\nclient_id = \"a\"\ntoken_endpoint_auth_method = \"private_key_jwt\"\n\
                 grant_types = [\"client_credentials\"]\njwks_file = \"{set}\"\n\
                 [[authorization_server.client]]\nclient_id = \"a\"\nclient_secret = \"at least sixteen\"\n\
                 grant_types = [\"client_credentials\"]\n{REST}"
            );
            let lines = Config::parse(&text, &at).unwrap_err().to_string();
            let lines: Vec<&str> = lines.lines().map(|line| line.rsplit_once("keybound.toml:").unwrap().1).collect();
            assert_eq!(lines.len(), 3, "{lines:?}");
            assert!(lines[0].starts_with(&format!("4: issuer[0].jwks_file: {said}")), "{lines:?}");
            assert!(lines[1].starts_with("7: authorization_server.signing_key: "), "{lines:?}");
            assert!(lines[1].contains(said_of_own), "{lines:?}");
            let client = "authorization_server.client[0].jwks_file";
            assert!(lines[2].starts_with(&format!("12: {client}: {said}")), "{lines:?}");
            assert!(lines.iter().all(|line| !line.contains("c2VjcmV0")), "{lines:?}");
        }
    }
    for (file, said) in [("pipe", "not a regular file"), ("huge.toml", "larger than 1024 KiB")] {
        std::fs::File::create(folder.path().join("huge.toml")).unwrap().set_len(1 << 40).unwrap();
        let errors = Config::load(&folder.path().join(file), [], &Overrides::default()).unwrap_err();
        assert!(errors.to_string().contains(&format!("cannot be read: {said}")), "{errors}");
    }
}

#[test]
fn a_client_is_registered_once() {
    let client = "[[authorization_server.client]]\nclient_id = \"a\"\nclient_secret = \"at least sixteen\"\n\
                  grant_types = [\"client_credentials\"]\n";
    let text = format!("[authorization_server]\nurl = \"https://as.example.com\"\n{client}{client}{REST}");
    assert_eq!(
        lines_of(&text),
        "keybound.toml:8: authorization_server.client[1].client_id: \"a\" stands in line 4 already"
    );
}

/// Of `[issuer.introspection]`, whose lines begin with the fourth.
#[test]
fn each_mistake_of_introspection_has_its_line() {
    const SECRET: &str = "client_secret = \"as the issuer has it\"\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "as the issuer has it\n").unwrap();
    std::fs::write(folder.path().join("nothing"), "\n").unwrap();
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let set = format!("{{\"keys\":[{}]}}", key.public_jwk().to_json());
    std::fs::write(folder.path().join("keys.json"), set).unwrap();
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

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

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
    std::fs::write(folder.path().join("issuer.jwks.json"), set).unwrap();
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
