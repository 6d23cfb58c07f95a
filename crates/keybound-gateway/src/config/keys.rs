//! Every setting: its name, kind, default and meaning. The reader, the printed default file, the JSON Schema and the names
//! of the environment all come from this one table.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Dotted, without positions: `route.mode`.
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
    pub(crate) absent: Absent,
    /// What it means, in lines of the printed file.
    pub(crate) doc: &'static str,
}

/// What may be written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A number and `ms`, `s`, `m`, `h` or `d`.
    Duration,
    /// A number and `B`, `KiB`, `MiB` or `GiB`.
    Size,
    Count {
        least: u64,
        most: u64,
    },
    Flag,
    Choice(&'static [&'static str]),
    Texts,
    Algorithms,
    Table,
}

/// What holds where nothing is written. All texts are TOML values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Absent {
    /// This.
    Is(&'static str),
    /// Nothing; an example for the printed file.
    Unset(&'static str),
    /// It must be written; an example for the printed file.
    Required(&'static str),
    /// It must be written, but for what the reader says; an example for the printed file.
    Expected(&'static str),
    /// What `proof.preset` says.
    ByPreset { default: &'static str, fapi: &'static str, mcp: &'static str },
}

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    pub(crate) path: &'static str,
    /// Written `[[path]]`, any number of times.
    pub(crate) repeated: bool,
    /// Shown as comments in the printed file.
    pub(crate) optional: bool,
    pub(crate) doc: &'static str,
}

const fn section(path: &'static str, doc: &'static str) -> Section {
    Section { path, repeated: false, optional: false, doc }
}

const fn key(path: &'static str, kind: Kind, absent: Absent, doc: &'static str) -> Key {
    Key { path, kind, absent, doc }
}

const fn count(least: u64, most: u64) -> Kind {
    Kind::Count { least, most }
}

pub(crate) const MODES: &[&str] = &["required", "optional", "report", "open"];
pub(crate) const PROOFS: &[&str] = &["consume", "check", "attest"];
pub(crate) const AUTHORIZATIONS: &[&str] = &["strip", "pass", "bearer"];
pub(crate) const AMBIGUOUS: &[&str] = &["refuse", "allow"];
pub(crate) const PRESETS: &[&str] = &["default", "fapi", "mcp"];
pub(crate) const NONCES: &[&str] = &["off", "offer", "require"];
pub(crate) const FAILOVER: &[&str] = &["never", "possible"];
pub(crate) const UNAVAILABLE: &[&str] = &["refuse", "nonce-only"];
pub(crate) const LOG_FORMATS: &[&str] = &["text", "json"];
pub(crate) const AUDITS: &[&str] = &["store", "log"];
pub(crate) const LOGGED: &[&str] = &["refused", "all"];
pub(crate) const PARENTS: &[&str] = &["follow", "ignore"];
pub(crate) const ASKING_METHODS: &[&str] = &["client_secret_basic", "client_secret_post", "private_key_jwt"];
pub(crate) const MISSING_AUDIENCE: &[&str] = &["refuse", "accept"];
pub(crate) const REGISTRATIONS: &[&str] = &["off", "open", "token"];
pub(crate) const SIGNATURES: &[&str] = &["ES256", "ES384", "Ed25519", "EdDSA", "PS256"];
pub(crate) const SIGN_IN_USERS: &[&str] = &["connected", "create"];
pub(crate) const CLIENT_METHODS: &[&str] = &["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

use Absent::{ByPreset, Expected, Is, Required, Unset};
use Kind::{Algorithms, Choice, Duration, Flag, Size, Table, Text, Texts};

/// The tables, in the order of the printed file.
#[rustfmt::skip]
pub(crate) const SECTIONS: &[Section] = &[
    section("listen", "Where the gateway listens."),
    Section { path: "listen.tls", repeated: false, optional: true,
        doc: "TLS 1.2 and 1.3 on listen.address, with HTTP/2 for those who ask for it. Without this table: plain HTTP." },
    Section { path: "origin", repeated: true, optional: false,
        doc: "What clients sign in htu: the address they call, as seen from outside any proxy. At least one. With one, it holds\n\
              whatever Host says; with several, Host chooses, or the forwarded host of a trusted peer, and none that fits gets 421." },
    Section { path: "issuer", repeated: true, optional: false,
        doc: "Whose access tokens are accepted." },
    Section { path: "issuer.introspection", repeated: false, optional: true,
        doc: "The issuer is asked about each of its tokens (RFC 7662), whatever their form. Without this table its tokens are JWTs\n\
              (RFC 9068), and its keys vouch for them." },
    Section { path: "route", repeated: true, optional: false,
        doc: "Which paths go where, and on what terms. The longest prefix wins; a path under none gets 404." },
    Section { path: "route.health", repeated: false, optional: true,
        doc: "The gateway asks each upstream address how it is, by GET, on a connection of its own; an answer of 2xx or 3xx is good. An\n\
              unhealthy address gets requests only once no other takes them: with none healthy all are tried. With or without this\n\
              table, an address that cannot be connected to comes after the others for 2 s." },
    section("decisions", "Which fields tell listen.decisions of the request that is asked about: each exactly once, or the answer is 500."),
    section("attestation", "The signed statements that upstreams get where route.proof = \"attest\". The keys to check them with are at\n\
              /.well-known/keybound-attestation-jwks of every origin, and at listen.address."),
    section("proof", "What is asked of a DPoP proof (RFC 9449)."),
    section("replay", "The memory of used proofs."),
    Section { path: "replay.postgres", repeated: false, optional: true,
        doc: "How to get in where replay.store is PostgreSQL, version 14 or later." },
    Section { path: "replay.redis", repeated: false, optional: true,
        doc: "How to get in where replay.store is Redis or Valkey, whose maxmemory-policy must be noeviction." },
    section("limits", "What one client, one request or one upstream may take. A limit that is hit is named in the answer or the log."),
    section("log", "What is written to standard error. The level is that of KEYBOUND_LOG, and POST /loglevel of the admin listener changes it;\n\
              of libraries only info and above is written at any level: below it they quote what they were sent."),
    Section { path: "telemetry", repeated: false, optional: true,
        doc: "Traces: a span for each request, sent by OTLP (HTTP, protobuf); no token, proof, path or query is in it. The upstream gets a\n\
              traceparent with that span for its parent. Without this table there are none, and traceparent and tracestate pass\n\
              unchanged; OTEL_EXPORTER_OTLP_ENDPOINT stands in for it." },
    Section { path: "authorization_server", repeated: false, optional: true,
        doc: "The embedded issuer, trusted as an [[issuer]] by itself. Without this table there is none." },
    Section { path: "authorization_server.keys", repeated: false, optional: true,
        doc: "The keys its tokens are signed with: made by the issuer, kept sealed in its store, and followed by one another. The next\n\
              key is always published beside the one that signs. Nothing here but published_ahead holds for signing_key." },
    Section { path: "authorization_server.keys.pkcs11", repeated: false, optional: true,
        doc: "One key in a module of PKCS#11 (an HSM) signs, by keys.algorithm: ES256, ES384 or PS256. For builds with the feature pkcs11." },
    Section { path: "authorization_server.nonce", repeated: false, optional: true,
        doc: "What proof.nonce says, at single endpoints of the embedded issuer; what is not written here is as there. All else of a proof\n\
              is the same everywhere. Not off with proof.preset = \"fapi\" or replay.when_unavailable = \"nonce-only\", and nothing but\n\
              require where replay.store may fail over." },
    Section { path: "authorization_server.client", repeated: true, optional: true,
        doc: "A client of the embedded issuer, by the names of RFC 7591." },
    Section { path: "authorization_server.user", repeated: true, optional: true,
        doc: "A person who may sign in at the embedded issuer; sub of their tokens is the username. Others are kept in its store." },
    Section { path: "authorization_server.sign_in", repeated: true, optional: true,
        doc: "Another OpenID provider, through which users of the embedded issuer may sign in." },
];

/// The settings, in the order of the printed file.
#[rustfmt::skip]
pub(crate) const KEYS: &[Key] = &[
    key("listen.address", Text, Is("\"127.0.0.1:8080\""),
        "IP address and port for clients. The flag --listen goes before it. Off loopback, clients use TLS: ended here\n\
         (listen.tls) or at one of trusted_peers."),
    key("listen.admin", Text, Is("\"127.0.0.1:8081\""),
        "IP address and port of console, /metrics, /healthz and /readyz. If it is not written and the port is taken, a free one is\n\
         found and logged. Off loopback only with a secret, and then for a network of your own: the secret travels in the clear."),
    key("listen.admin_secret", Text, Unset("\"at-least-16-characters\""),
        "What Authorization: Bearer must hold there. A file is the better place for it."),
    key("listen.admin_secret_file", Text, Unset("\"admin.secret\""),
        "The same, as the one line of a file that its owner alone may read (chmod 600)."),
    key("listen.decisions", Text, Unset("\"127.0.0.1:8082\""),
        "IP address and port where other proxies ask whether a request may pass: auth_request of nginx, forward_auth of Caddy, and\n\
         the like. What clients send reaches it in the clear: for loopback or a network of your own."),
    key("listen.decision_peers", Texts, Unset("[\"127.0.0.1\"]"),
        "Addresses or networks of those proxies. They alone are answered there; goes with listen.decisions or listen.ext_authz, and must be\n\
         written with them."),
    key("listen.ext_authz", Text, Unset("\"127.0.0.1:8083\""),
        "IP address and port where Envoy asks by gRPC, as its filter ext_authz does: envoy.service.auth.v3.Authorization/Check.\n\
         [decisions] does not count there: Envoy has its own words for method, path and host. For loopback or a network of your own."),
    key("listen.trusted_peers", Texts, Is("[]"),
        "Addresses or networks (10.0.0.0/8) of proxies in front of this one: their forwarded fields count, and they may speak plain\n\
         http from off loopback."),
    key("listen.proxy_protocol_peers", Texts, Is("[]"),
        "Addresses or networks of proxies that begin each connection with a header of the PROXY protocol (version 1 or 2): the address\n\
         it names is then the client's, for trusted_peers too. A connection of theirs without one is closed."),
    key("listen.workers", count(0, 1024), Is("0"),
        "Threads that serve, each with a pool of upstream connections of its own; 0: one for each processor."),

    key("listen.tls.certificate", Text, Required("\"cert.pem\""),
        "The certificate chain as a PEM file, our own certificate first. Read again on SIGHUP; no connection is dropped for it."),
    key("listen.tls.key", Text, Required("\"key.pem\""),
        "The private key of that certificate as a PEM file."),

    key("origin.url", Text, Required("\"http://127.0.0.1:8080\""),
        "https, or http on loopback. With a path if the proxy in front strips that prefix; that proxy passes\n\
         /.well-known/oauth-protected-resource and what is below it on as it is."),

    key("issuer.url", Text, Required("\"http://127.0.0.1:9090\""),
        "The issuer's identifier, octet by octet as in the claim iss; https, or http on loopback. Its metadata is fetched from there."),
    key("issuer.audience", Texts, Required("[\"http://127.0.0.1:8080\"]"),
        "What aud of a token may name; any one match is enough. Name the origin here, as clients call it: resource metadata (RFC 9728)\n\
         goes by these names, and clients ask the issuer for tokens by it."),
    key("issuer.jwks_file", Text, Unset("\"issuer.jwks.json\""),
        "The issuer's public keys, instead of fetching them. Read again on SIGHUP."),
    key("issuer.algorithms", Algorithms, Is("[\"ES256\", \"Ed25519\", \"ES384\", \"ES512\", \"PS256\", \"PS384\", \"PS512\", \"RS256\", \"RS384\", \"RS512\", \"EdDSA\"]"),
        "Signature algorithms its access tokens may use."),

    key("issuer.introspection.endpoint", Text, Required("\"https://id.example.com/introspect\""),
        "Where to ask; https, or http on loopback."),
    key("issuer.introspection.client_id", Text, Required("\"gateway\""),
        "The name the gateway is registered under at the issuer."),
    key("issuer.introspection.authentication", Choice(ASKING_METHODS), Is("\"client_secret_basic\""),
        "How the gateway shows who it is."),
    key("issuer.introspection.client_secret", Text, Unset("\"as the issuer has it\""),
        "For the methods with a secret."),
    key("issuer.introspection.client_secret_file", Text, Unset("\"introspection.secret\""),
        "The same, in a file."),
    key("issuer.introspection.private_key", Text, Unset("\"gateway-key.json\""),
        "For private_key_jwt: a private key as JWK or PEM, in a file that others may not read."),
    key("issuer.introspection.key_id", Text, Unset("\"gateway-1\""),
        "The kid that private_key is registered under."),
    key("issuer.introspection.signed", Flag, Is("false"),
        "Whether answers have to be signed by the issuer (RFC 9701), with a key it serves or of jwks_file, and at most 5m ago by their\n\
         iat; beyond it: 503."),
    key("issuer.introspection.keep", Duration, Is("\"30s\""),
        "How long an answer is believed, and a revocation unnoticed; at most 5m, and never beyond exp of the token."),
    key("issuer.introspection.missing_audience", Choice(MISSING_AUDIENCE), Is("\"refuse\""),
        "What an answer without aud is worth. accept: the issuer answers us about our own tokens alone."),

    key("route.path", Text, Required("\"/\""),
        "Prefix, in whole segments: /orders is /orders and /orders/17, not /orders-old."),
    key("route.upstream", Texts, Expected("[\"http://127.0.0.1:9000\"]"),
        "Where its requests go: scheme, host and port. http is HTTP/1.1 and h2c is HTTP/2, which gRPC needs; https and h2 are the same\n\
         inside TLS. Several take turns; one that cannot be connected to is passed over. With listen.decisions or\n\
         listen.ext_authz it may be left out: the route is for decisions alone then, and 404 at listen.address."),
    key("route.upstream_ca", Text, Unset("\"upstream-ca.pem\""),
        "The authorities that the certificate of an https or h2 upstream may come from, as a PEM file; without it, those of the system."),
    key("route.strip_prefix", Flag, Is("false"),
        "Whether the upstream sees the path without the prefix: of /orders/17 under /orders, /17. Proofs are for the path as clients\n\
         send it, always."),
    key("route.rewrite", Text, Unset("\"/v2/orders\""),
        "What the upstream sees in place of the prefix. Not with strip_prefix."),
    key("route.mode", Choice(MODES), Is("\"required\""),
        "required: a token bound to the client's key, with its proof. optional: a valid token; if it is bound, with its proof.\n\
         report: checks everything and remembers used proofs as required would, logs and counts client and reason of what that would\n\
         refuse, and changes and refuses nothing. It gives no nonces: proofs that required would answer with one and a challenge\n\
         count as nonce.missing, nonce.barrier or the like. open: checks nothing."),
    key("route.scope", Texts, Is("[]"),
        "Scopes a token must have, all of them."),
    key("route.audience", Texts, Unset("[\"http://127.0.0.1:8080/orders\"]"),
        "What aud must name here as well: one of these, besides one of the issuer's audience."),
    key("route.issuer", Texts, Unset("[\"http://127.0.0.1:9090\"]"),
        "Whose tokens are accepted here: some of issuer.url and authorization_server.url. Without it, those of all. A route that its own\n\
         audience makes a resource has metadata (RFC 9728) that names these alone."),
    key("route.methods", Texts, Unset("[\"GET\", \"POST\"]"),
        "Methods it serves, in every mode, HEAD wherever GET; any other gets 405. The preflight requests of browsers need not be named."),
    key("route.proof", Choice(PROOFS), Is("\"consume\""),
        "consume: a proof counts as used here, and is not forwarded. check: it is checked here and left to the upstream, which must\n\
         record it; its nonces are the upstream's, and none is judged or given here; demands upstream_authorization = \"pass\".\n\
         attest: as consume, and the upstream gets in Keybound-Attestation a JWT of typ keybound-attestation+jwt that we sign for this very\n\
         request, with iss (the origin), aud, htm, htu, ath, sub, client_id, scope, token_issuer, jkt, iat, exp and jti. It costs\n\
         a signature a request: with ES256 about a third of what checking a proof does. What listen.decisions answers has it too."),
    key("route.attestation_audience", Texts, Unset("[\"https://orders.internal\"]"),
        "The aud of its statements. Without it, scheme, host and port of each upstream."),
    key("route.upstream_authorization", Choice(AUTHORIZATIONS), Is("\"strip\""),
        "The upstream's Authorization: strip: none. pass: as it came. bearer: the same token under the scheme Bearer."),
    key("route.ambiguous_paths", Choice(AMBIGUOUS), Is("\"refuse\""),
        "Paths that servers read in different ways: with an encoded slash, backslash or null, with dot segments, be it with\n\
         parameters (/..;/), or with escapes, parameters or empty segments for which another route would be chosen by a server that\n\
         decodes or drops them, in the paths of the routes, too (//admin, /admin;v=1, /%40admin for /@admin)."),

    key("route.health.path", Text, Required("\"/healthz\""),
        "What is asked for, as the upstream has it: strip_prefix and rewrite do not touch it."),
    key("route.health.interval", Duration, Is("\"5s\""),
        "From one answer to the next question."),
    key("route.health.timeout", Duration, Is("\"2s\""),
        "For the answer to come, the connection included."),
    key("route.health.healthy", count(1, 100), Is("2"),
        "So many good answers in a row bring an unhealthy address back. The first answer of all counts at once."),
    key("route.health.unhealthy", count(1, 100), Is("3"),
        "So many bad answers in a row make an address unhealthy. /readyz says which are, and is 503 while no route with this table\n\
         has a healthy address."),

    key("decisions.method_field", Text, Is("\"X-Forwarded-Method\""),
        "Its method."),
    key("decisions.uri_field", Text, Is("\"X-Forwarded-Uri\""),
        "Its path and query as the client sent them, neither decoded nor rewritten ($request_uri of nginx)."),
    key("decisions.host_field", Text, Is("\"X-Forwarded-Host\""),
        "Its Host, which chooses among several origins. With one origin it is not looked at. The scheme is that of the origin."),

    key("attestation.signing_key", Text, Unset("\"attestation-key.json\""),
        "Private key that statements are signed with, a JWK or PEM file that its owner alone may read; made if there is none, and read\n\
         again on SIGHUP. Processes that serve the same upstreams share one. Without it, the key ends with the process."),
    key("attestation.lifetime", Duration, Is("\"30s\""),
        "How long a statement is good; at most 30s. Clocks of gateway and upstream may not differ by more."),

    key("proof.preset", Choice(PRESETS), Is("\"default\""),
        "What the keys below are where they are not written. default: as they stand here; a proof with a nonce of ours may have an iat\n\
         that is off by a day, so that clients with a wrong clock recover. fapi (FAPI 2.0): 60 s and 10 s, nonces required, the\n\
         algorithms ES256, PS256, Ed25519 and EdDSA; iat is held to the window, nonce or not; not with replay.when_unavailable =\n\
         \"nonce-only\". mcp (MCP, SEP-1932): as default, with iat held to the window, which lies inside its 5 minutes."),
    key("proof.max_age", Duration, ByPreset { default: "\"300s\"", fapi: "\"60s\"", mcp: "\"300s\"" },
        "How old iat of a proof may be; at most 24h."),
    key("proof.max_future", Duration, ByPreset { default: "\"60s\"", fapi: "\"10s\"", mcp: "\"60s\"" },
        "How far ahead iat may be; at most 60s."),
    key("proof.nonce", Choice(NONCES), ByPreset { default: "\"offer\"", fapi: "\"require\"", mcp: "\"offer\"" },
        "require: every proof carries a nonce of ours. offer: they are given and judged, and never demanded of a proof inside the\n\
         window. off: only after a restart, to tell used proofs from new ones."),
    key("proof.nonce_lifetime", Duration, Is("\"300s\""),
        "How long a nonce is good; at most 24h."),
    key("proof.nonce_keys", Text, Unset("\"nonce-ring.json\""),
        "File of the key ring of nonces that several processes share, made and turned by keybound config nonce-keys; its owner alone may\n\
         read it. It is read again when it changes and on SIGHUP. Without it, random for this process. Not with memory and file:."),
    key("proof.nonce_ring", Text, Unset("'{\"turned\":1700000000,\"current\":{\"id\":1,\"secret\":\"…\"}}'"),
        "The same ring as a text, for the environment (KEYBOUND_PROOF_NONCE_RING); in place of nonce_keys."),
    key("proof.nonce_sealing_key_file", Text, Unset("\"nonce-sealing.key\""),
        "Keeps the ring in the Redis or PostgreSQL of replay.store, where the processes make it and turn it themselves, sealed under this key: 256 bits in\n\
         base64 (openssl rand -base64 32), the same for all, in a file that its owner alone may read. To change it, put the new one in a\n\
         line below the old one at every process, then above it, and a minute later take the old one out. In place of nonce_keys."),
    key("proof.nonce_sealing_key", Text, Unset("\"256 bits in base64\""),
        "The same as a text, for the environment (KEYBOUND_PROOF_NONCE_SEALING_KEY)."),
    key("proof.nonce_rotate_every", Duration, Unset("\"1h\""),
        "How old the current key of that ring becomes, 1h unless set; at least a minute, and twice nonce_lifetime. A process that has not seen the ring\n\
         for so long goes by replay.when_unavailable."),
    key("proof.algorithms", Algorithms, ByPreset {
        default: "[\"ES256\", \"Ed25519\", \"ES384\", \"ES512\", \"PS256\", \"PS384\", \"PS512\", \"RS256\", \"RS384\", \"RS512\", \"EdDSA\"]",
        fapi: "[\"ES256\", \"Ed25519\", \"PS256\", \"EdDSA\"]",
        mcp: "[\"ES256\", \"Ed25519\", \"ES384\", \"ES512\", \"PS256\", \"PS384\", \"PS512\", \"RS256\", \"RS384\", \"RS512\", \"EdDSA\"]" },
        "Signature algorithms of proofs; the list that is accepted is the list that is advertised."),

    key("replay.store", Text, Is("\"memory\""),
        "memory: of this one process. file:FOLDER: of this one process, and found again after a restart, for which it waits for the disk at\n\
         each proof. redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]: of all processes that use that server.\n\
         redis-sentinel://HOST:PORT,HOST:PORT?master=NAME and redis-cluster://HOST:PORT,HOST:PORT: the same where another server may\n\
         take over; every proof needs a nonce then. With rediss for redis, through TLS.\n\
         postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?sslmode=verify-full&sslrootcert=FILE]: of all processes that use that database."),
    key("replay.memory", Size, Is("\"256MiB\""),
        "What may be held in memory of memory and file:, about 30 octets a live proof. When it is full, when_unavailable says what happens.\n\
         Of as much, whatever the store, strangers may fill a half at the embedded issuer: clients that registered themselves, and what\n\
         public clients ask for that nobody has agreed to; one network a 32nd part of that. Beyond it: 429."),
    key("replay.per_key", count(1, u32::MAX as u64), Is("100000"),
        "Live proofs of one client key, and assertions of one client of the embedded issuer (private_key_jwt) in each process;\n\
         beyond it: 429. A client may have any number of keys: what strangers at the issuer fill with theirs is bounded under replay.memory."),
    key("replay.when_unavailable", Choice(UNAVAILABLE), Is("\"refuse\""),
        "What happens while the store is full or away. refuse: 503. nonce-only: any proof needs a nonce that this process has made since,\n\
         and is remembered in replay.reserve; once the store is back, proofs of before need a new nonce, once. Not with proof.nonce =\n\
         \"off\", at any process that shares the store, and not with proof.preset = \"fapi\"."),
    key("replay.reserve", Size, Is("\"16MiB\""),
        "What may be held for the time of nonce-only; when that is full: 503."),

    key("replay.postgres.password_file", Text, Unset("\"postgres.secret\""),
        "The password, as the one line of a file, in place of one in the URL."),
    key("replay.postgres.schema", Text, Is("\"keybound\""),
        "In which schema the tables are; it is made if the user may. Processes that protect the same resources have the same one."),
    key("replay.postgres.failover", Choice(FAILOVER), Is("\"never\""),
        "never: no other server ever takes over. possible: one may, by a name, an address or a pool that leads elsewhere then; every proof\n\
         needs a nonce."),
    key("replay.postgres.timeout", Duration, Is("\"500ms\""),
        "How long one record may take; beyond it, when_unavailable says what happens."),

    key("replay.redis.username", Text, Unset("\"replays\""),
        "The user (ACL); without it, the one called default."),
    key("replay.redis.password_file", Text, Unset("\"redis.secret\""),
        "The password, as the one line of a file, in place of one in the URL."),
    key("replay.redis.sentinel_username", Text, Unset("\"sentinel\""),
        "The user at the Sentinels, which have users of their own."),
    key("replay.redis.sentinel_password_file", Text, Unset("\"sentinel.secret\""),
        "The password there."),
    key("replay.redis.ca", Text, Unset("\"redis-ca.pem\""),
        "The authorities that certificates of the servers may come from, as a PEM file; without it, those of the system."),
    key("replay.redis.certificate", Text, Unset("\"redis-client.pem\""),
        "The certificate to show, as a PEM file, for servers that ask for one."),
    key("replay.redis.key", Text, Unset("\"redis-client.key\""),
        "Its private key as a PEM file."),
    key("replay.redis.prefix", Text, Is("\"kb:\""),
        "With what every key begins; at most 8 octets. Processes that protect the same resources have the same one."),
    key("replay.redis.timeout", Duration, Is("\"500ms\""),
        "How long one record may take; beyond it, when_unavailable says what happens."),

    key("limits.connections", count(1, 1_000_000), Is("10000"),
        "Connections of clients at once, and as many at listen.decisions and listen.ext_authz each; beyond it: 503 overload. The limit on\n\
         open files is raised as far as may be. Half of it is for clients, in equal parts for each listener: if that allows fewer, a line at\n\
         the start says how many there may be. The rest is for connections to upstreams, beyond which: 503 upstream.overload."),
    key("limits.streams", count(1, 1000), Is("100"),
        "Requests at once on one HTTP/2 connection of a client, and on one to an upstream."),
    key("limits.header_bytes", Size, Is("\"32KiB\""),
        "Request line and header fields; beyond it: 431. A proof with a 4096-bit RSA key takes 2 KiB, a large access token 8 KiB. It\n\
         holds for the answers of upstreams too; beyond it: 502."),
    key("limits.header_fields", count(16, 1000), Is("100"),
        "Number of header fields; beyond it: 431."),
    key("limits.body_bytes", Size, Is("\"64MiB\""),
        "Request body; beyond it: 413. Bodies are passed on as they come. Of a request to an upstream of HTTP/2 up to 64 KiB\n\
         are kept until its answer begins, to ask again if it took nothing of it; of a form up to 16 KiB wait for what follows."),
    key("limits.header_timeout", Duration, Is("\"15s\""),
        "From the first octet of a request to the end of its header; beyond it the connection is closed."),
    key("limits.handshake_timeout", Duration, Is("\"10s\""),
        "From a new connection to the end of its PROXY header, and from there to the end of its TLS handshake; beyond it the\n\
         connection is closed."),
    key("limits.idle_timeout", Duration, Is("\"75s\""),
        "How long a connection of a client may rest between requests."),
    key("limits.client_timeout", Duration, Is("\"30s\""),
        "Longest silence of a client inside a body it sends or a response it should take; then the connection is closed, or with\n\
         HTTP/2 the request reset. Once the response to a body has begun, stream_timeout holds for both."),
    key("limits.request_timeout", Duration, Is("\"10m\""),
        "From the end of a request's header to the end of its body, or the beginning of the response; beyond it: 408."),
    key("limits.connect_timeout", Duration, Is("\"3s\""),
        "For a connection to one upstream address; beyond it the next is tried, and after the last: 502."),
    key("limits.response_timeout", Duration, Is("\"60s\""),
        "From a request's last octet to the end of the upstream's response header; beyond it: 504."),
    key("limits.stream_timeout", Duration, Is("\"5m\""),
        "Longest silence inside a response body, and of a request's body that is still coming; then the connection is closed."),
    key("limits.tunnel_timeout", Duration, Is("\"1h\""),
        "Longest silence of both sides of a WebSocket, which needs HTTP/1.1 on both."),
    key("limits.upstream_idle", count(0, 100_000), Is("256"),
        "Resting connections kept for each upstream, by each worker."),
    key("limits.upstream_idle_timeout", Duration, Is("\"30s\""),
        "How long a connection to an upstream may rest; keep it under the upstream's own."),
    key("limits.drain_delay", Duration, Unset("\"5s\""),
        "On SIGTERM: how long new connections are still taken, while /readyz is 503 already; as long as it takes whoever sends them to\n\
         notice that. Without it the port is closed at once."),
    key("limits.drain_timeout", Duration, Is("\"30s\""),
        "On SIGTERM, once the port is closed: how long requests in flight may still take, and WebSockets and streams that do not end.\n\
         Connections are told to end with their next answer."),
    key("limits.drain_idle_timeout", Duration, Is("\"1s\""),
        "And how long those are kept from which no request comes: one may be on its way already, and is answered."),

    key("log.format", Choice(LOG_FORMATS), Is("\"text\""),
        "text: for people. json: an object a line, for machines. Neither ever holds a token or a proof."),
    key("log.decisions", Choice(LOGGED), Is("\"refused\""),
        "Decisions that get a line at the level info. refused: those that kept somebody out, or would have in mode report. all: each."),

    key("telemetry.endpoint", Text, Required("\"http://127.0.0.1:4318\""),
        "Where the receiver is; spans go to /v1/traces below it. While nobody answers there spans are dropped and counted."),
    key("telemetry.headers", Texts, Is("[]"),
        "Fields that go along, each as \"name=value\": to https or loopback alone, for they are secret as a rule."),
    key("telemetry.service", Text, Is("\"keybound\""),
        "What this program is called there (service.name)."),
    key("telemetry.sampling", Text, Is("\"1\""),
        "The part of requests that get a span, from \"0\" to \"1\"."),
    key("telemetry.parent", Choice(PARENTS), Is("\"follow\""),
        "follow: where a request comes with a traceparent, that says whether it gets a span. ignore: sampling says so for all; for\n\
         clients that are not to decide it."),
    key("telemetry.queue", count(1, 1_000_000), Is("2048"),
        "Spans that may wait to be sent, about 1 KiB each; beyond it they are dropped and counted."),

    key("authorization_server.url", Text, Required("\"http://127.0.0.1:8080/issuer\""),
        "Its identifier, the iss of its tokens; https, or http on loopback. Off loopback it has an origin of its own."),
    key("authorization_server.audience", Texts, Unset("[\"http://127.0.0.1:8080/reports\"]"),
        "What its tokens may be for besides each [[origin]]: the resources that clients may name (RFC 8707). A token is for the first\n\
         origin, or else the first of these, if its client names none."),
    key("authorization_server.store", Text, Is("\"memory\""),
        "Where codes, refresh tokens and registered clients are kept. memory: in this one process, and gone with it.\n\
         sqlite:keybound.db: in that file. postgres://USER@HOST/DATABASE: in a database that many issuers share."),
    key("authorization_server.signing_key", Text, Unset("\"issuer-key.json\""),
        "One private key that signs instead of those of [authorization_server.keys]: a JWK or PEM file that its owner alone may read;\n\
         made if there is none. At SIGHUP it is read again: another key in it is published at once, and signs published_ahead later."),
    key("authorization_server.auto_approve", Text, Unset("\"alice\""),
        "For development: this user is logged in and consents to everything. On loopback only. A browser that connects a device is\n\
         asked once, for any page may have led it there."),
    key("authorization_server.session_lifetime", Duration, Is("\"12h\""),
        "How long people stay signed in: then they are asked for the password again."),
    key("authorization_server.registration", Choice(REGISTRATIONS), Is("\"off\""),
        "Who may register clients at run time (RFC 7591). open: anybody, 64 MiB of them and their changes a day, for clients that act for\n\
         users; no browser is sent to their addresses unasked. token: whoever has registration_token."),
    key("authorization_server.registration_token", Text, Unset("\"at least 16 characters\""),
        "What registration wants as Authorization: Bearer, with registration = \"token\"."),
    key("authorization_server.registration_scope", Texts, Is("[]"),
        "Scopes that clients may have which register themselves."),

    key("authorization_server.audit", Choice(AUDITS), Is("\"store\""),
        "Where it is noted what happens, besides the log. store: in the store too, what is issued in the very write that issues it.\n\
         log: nowhere else, but for audit_file."),
    key("authorization_server.audit_lifetime", Duration, Is("\"30d\""),
        "How long that stays in the store."),
    key("authorization_server.audit_file", Text, Unset("\"audit.jsonl\""),
        "A file that it is appended to as well, a JSON object a line; made if there is none, and when it was moved away."),

    key("authorization_server.keys.algorithm", Choice(SIGNATURES), Is("\"ES256\""),
        "What they sign by. Another one than before is taken up by a rotation."),
    key("authorization_server.keys.rotate_every", Duration, Is("\"30d\""),
        "How long each signs. Then it stays published until its tokens have expired, and is erased."),
    key("authorization_server.keys.published_ahead", Duration, Is("\"1h\""),
        "How long a key is published before it signs, at least: for as long, verifiers may keep the key set without looking again.\n\
         The set itself allows 5 minutes (Cache-Control). From 510s."),
    key("authorization_server.keys.sealing_key_file", Text, Unset("\"sealing.key\""),
        "What private keys are sealed under in the store (AES-256-GCM): 256 bits in base64, in a file that its owner alone may read. To\n\
         change it, put the new one in a line above the old one, restart, and take the old one out. Without it, and without sealing_key:\n\
         a file beside the SQLite database, made with it; postgres:// needs one of the two."),
    key("authorization_server.keys.sealing_key", Text, Unset("\"256 bits in base64\""),
        "The same as a value, for the environment."),

    key("authorization_server.keys.pkcs11.module", Text, Required("\"/usr/lib/softhsm/libsofthsm2.so\""),
        "The library of the module."),
    key("authorization_server.keys.pkcs11.token", Text, Required("\"keybound\""),
        "The label of the token."),
    key("authorization_server.keys.pkcs11.key", Text, Required("\"issuer\""),
        "The label of both halves of the key."),
    key("authorization_server.keys.pkcs11.pin_file", Text, Required("\"hsm.pin\""),
        "The PIN of the token's user, in a file that its owner alone may read."),

    key("authorization_server.nonce.token", Choice(NONCES), Unset("\"require\""),
        "At the token endpoint."),
    key("authorization_server.nonce.par", Choice(NONCES), Unset("\"require\""),
        "At that of pushed authorization requests (RFC 9126)."),
    key("authorization_server.nonce.device_authorization", Choice(NONCES), Unset("\"require\""),
        "Where devices get their codes (RFC 8628)."),
    key("authorization_server.nonce.userinfo", Choice(NONCES), Unset("\"require\""),
        "Where the claims of the user are; a protected resource, whose nonces are not those of the other three."),

    key("authorization_server.client.client_id", Text, Required("\"demo\""), "Its name."),
    key("authorization_server.client.client_name", Text, Unset("\"Orders\""),
        "What people know it by: the pages on which they sign in show it, or else client_id."),
    key("authorization_server.client.client_secret", Text, Unset("\"at least 16 characters\""),
        "What it authenticates with; for the methods client_secret_basic and client_secret_post."),
    key("authorization_server.client.token_endpoint_auth_method", Choice(CLIENT_METHODS), Is("\"client_secret_basic\""),
        "How it authenticates; none: a public client."),
    key("authorization_server.client.jwks_file", Text, Unset("\"client.jwks.json\""),
        "Its public keys, for private_key_jwt and for request objects (RFC 9101)."),
    key("authorization_server.client.grant_types", Texts, Required("[\"client_credentials\"]"),
        "authorization_code, client_credentials, refresh_token, urn:ietf:params:oauth:grant-type:device_code,\n\
         urn:ietf:params:oauth:grant-type:token-exchange."),
    key("authorization_server.client.redirect_uris", Texts,
        Is("[]"),
        "Where authorization codes may be sent: https, http on loopback, or a scheme of the app's own like com.example.app; compared\n\
         octet by octet, but for the port of a loopback address."),
    key("authorization_server.client.post_logout_redirect_uris", Texts, Is("[]"),
        "Where its users may be sent when they have signed out."),
    key("authorization_server.client.scope", Texts, Is("[]"),
        "Scopes it may have."),
    key("authorization_server.client.dpop_bound_access_tokens", Flag, Is("true"),
        "Whether it must send a proof with every token request."),

    key("authorization_server.user.username", Text, Required("\"alice\""),
        "What they sign in with, in any case of its letters: letters, digits and . _ - + @."),
    key("authorization_server.user.password_hash", Text, Required("\"$argon2id$v=19$m=19456,t=2,p=1$YSBzYWx0IG9mIHlvdXJz$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""),
        "The argon2id hash of the password, in the PHC format."),
    key("authorization_server.user.name", Text, Unset("\"Alice Liddell\""), "As people call them."),
    key("authorization_server.user.email", Text, Unset("\"alice@example.com\""), "Where mail reaches them."),

    key("authorization_server.sign_in.name", Text, Required("\"work\""),
        "Small letters, digits and \"-\". At the provider, register the address URL/sign-in/from/NAME for this issuer, URL being its own."),
    key("authorization_server.sign_in.issuer", Text, Required("\"https://login.example.com\""),
        "The issuer identifier of the provider, which is also where its metadata are found."),
    key("authorization_server.sign_in.client_id", Text, Required("\"keybound\""), "What this issuer is called there."),
    key("authorization_server.sign_in.authentication", Choice(ASKING_METHODS), Is("\"client_secret_basic\""),
        "How this issuer shows the provider that it is its client."),
    key("authorization_server.sign_in.client_secret", Text, Unset("\"as the provider has it\""), "For the methods with a secret."),
    key("authorization_server.sign_in.client_secret_file", Text, Unset("\"provider.secret\""), "The same, in a file."),
    key("authorization_server.sign_in.private_key", Text, Unset("\"provider-key.json\""),
        "For private_key_jwt: a private key as JWK or PEM, in a file that others may not read."),
    key("authorization_server.sign_in.key_id", Text, Unset("\"2026-11\""), "The kid it is registered under at the provider, if that wants one."),
    key("authorization_server.sign_in.shown", Text, Unset("\"Example Inc.\""), "What people know the provider as; its name unless set."),
    key("authorization_server.sign_in.scope", Texts, Is("[]"),
        "What is asked for beside openid: with \"profile\" and \"email\" a user that is created gets a name and an address."),
    key("authorization_server.sign_in.users", Choice(SIGN_IN_USERS), Is("\"connected\""),
        "\"connected\": whoever has connected an account there with one here, at URL/account. \"create\": anybody whom the provider lets\n\
         in; whoever comes for the first time becomes a user. Users of the two are never taken for each other by a name or an address."),
];

/// The setting of this path.
pub(crate) fn find(path: &str) -> &'static Key {
    KEYS.iter().find(|key| key.path == path).expect("the reader asks for keys of the table: a test reads each")
}

/// The names that may stand in the table at `path`; the whole file, if that is empty.
pub(crate) fn names_in(path: &str) -> impl Iterator<Item = &'static str> {
    let inside = move |full: &'static str| {
        let rest = if path.is_empty() { full } else { full.strip_prefix(path)?.strip_prefix('.')? };
        (!rest.contains('.')).then_some(rest)
    };
    KEYS.iter().map(|key| key.path).chain(SECTIONS.iter().map(|section| section.path)).filter_map(inside)
}

/// The settings the environment can give: those that stand once.
pub(crate) fn settable() -> impl Iterator<Item = &'static Key> {
    let once = |key: &&Key| {
        let repeated = |section: &&Section| section.repeated && is_below(key.path, section.path);
        key.kind != Table && !SECTIONS.iter().any(|section| repeated(&section))
    };
    KEYS.iter().filter(once)
}

/// The variable that sets `key`: `KEYBOUND_PROOF_NONCE` for `proof.nonce`.
pub(crate) fn variable(key: &Key) -> String {
    format!("KEYBOUND_{}", key.path.replace('.', "_").to_ascii_uppercase())
}

/// Whether a variable can only be meant for one of our tables. Others beginning with `KEYBOUND_` belong to commands.
pub(crate) fn looks_like_ours(variable: &str) -> bool {
    let ours = |section: &Section| {
        let prefix = format!("KEYBOUND_{}_", section.path.replace('.', "_").to_ascii_uppercase());
        variable.starts_with(&prefix)
    };
    SECTIONS.iter().any(ours)
}

/// Whether the setting at `path` stands directly in the table `section`.
pub(crate) fn is_in(path: &str, section: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(table, _)| table == section)
}

/// Whether it stands there or in a table inside.
fn is_below(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}
