//! What is said of mistakes anywhere in the file.

use super::*;

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
