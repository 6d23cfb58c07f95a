//! One vector in the making: a good request, of which each file of this folder spoils one thing.

use std::io;
use std::path::Path;

use keybound::crypto::{Alg, AlgSet};
use keybound::jws::encode_base64url;
use keybound::nonce::{NonceKey, NonceSource as _, Purpose, Role, StatelessNonces};
use keybound::time::UnixTime;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::jws::Jws;
use super::keys::Key;

/// 2023-11-14T22:13:20Z.
pub(super) const NOW: u64 = 1_700_000_000;
pub(super) const ORIGIN: &str = "https://api.example.com";
pub(super) const RESOURCE: &str = "https://api.example.com/orders";
pub(super) const ISSUER: &str = "https://id.example.com";
pub(super) const ENDPOINT: &str = "https://id.example.com/token";
const JTI: &str = "7Zf1aVZm3hYtKq0cXJ2u5w";
const EPOCH: u64 = 42;

/// The keys.
pub(super) struct World {
    pub(super) p256: Key,
    pub(super) p384: Key,
    pub(super) p521: Key,
    pub(super) ed25519: Key,
    pub(super) rsa: Key,
    /// Somebody else's.
    pub(super) thief: Key,
    pub(super) issuer: Key,
    pub(super) issuer_ed25519: Key,
    /// Of an issuer that nobody trusts.
    pub(super) stranger: Key,
}

impl World {
    pub(super) fn load(folder: &Path) -> io::Result<Self> {
        let load = |name, alg| Key::load(folder, name, alg);
        Ok(Self {
            p256: load("holder-p256", Alg::Es256)?,
            p384: load("holder-p384", Alg::Es384)?,
            p521: load("holder-p521", Alg::Es512)?,
            ed25519: load("holder-ed25519", Alg::Ed25519)?,
            rsa: load("holder-rsa", Alg::Ps256)?,
            thief: load("thief-p256", Alg::Es256)?,
            issuer: load("issuer-p256", Alg::Es256)?,
            issuer_ed25519: load("issuer-ed25519", Alg::Ed25519)?,
            stranger: load("stranger-p256", Alg::Es256)?,
        })
    }

    /// A proof of `key` for a GET of [`RESOURCE`], without `ath`.
    pub(super) fn proof<'w>(&'w self, key: &'w Key, alg: &'static str) -> Jws<'w> {
        Jws::new(
            key,
            alg,
            json!({"typ": "dpop+jwt", "alg": alg, "jwk": key.public()}),
            json!({"jti": JTI, "htm": "GET", "htu": RESOURCE, "iat": NOW}),
        )
    }

    /// A token bound to `holder`.
    pub(super) fn token<'w>(&'w self, holder: &Key) -> Jws<'w> {
        Jws::new(
            &self.issuer,
            "ES256",
            json!({"typ": "at+jwt", "alg": "ES256", "kid": "issuer-p256"}),
            json!({
                "iss": ISSUER, "sub": "alice", "client_id": "demo", "aud": ORIGIN, "jti": "t-1",
                "iat": NOW - 60, "exp": NOW + 600, "scope": "orders:read", "cnf": {"jkt": holder.jkt()},
            }),
        )
    }

    /// A request to a resource, good in every way: GET, ES256, a bound JWT.
    pub(super) fn resource(&self) -> Case<'_> {
        self.resource_of(&self.p256, "ES256")
    }

    /// The same with another key.
    pub(super) fn resource_of<'w>(&'w self, key: &'w Key, alg: &'static str) -> Case<'w> {
        let case = Case {
            base: self.proof(key, alg),
            expect: "admit",
            name: String::new(),
            title: String::new(),
            rfc: String::new(),
            rows: &[],
            why: "",
            role: "rs",
            method: "GET".into(),
            target: "/orders".into(),
            host: Some("api.example.com".into()),
            proof_field: "DPoP",
            authorization: None,
            proofs: Vec::new(),
            fields: Vec::new(),
            body: None,
            token: String::new(),
            policy: self.resource_policy(),
            now: NOW,
            before: Vec::new(),
            answer: None,
        };
        case.token(self.token(key))
    }

    /// A token request, good in every way, as far as the protocol looks at it.
    pub(super) fn token_request(&self) -> Case<'_> {
        self.token_request_of(&self.p256, "ES256")
    }

    /// The same with another key.
    pub(super) fn token_request_of<'w>(&'w self, key: &'w Key, alg: &'static str) -> Case<'w> {
        let mut case = self.resource_of(key, alg);
        case.role = "as";
        case.method = "POST".into();
        case.target = "/token".into();
        case.host = Some("id.example.com".into());
        case.token = String::new();
        case.policy = json!({
            "endpoint": ENDPOINT, "algorithms": names(AlgSet::ALL), "max_age": 300, "max_future": 60,
            "iat_always_in_window": false, "nonce": nonce_policy(), "epoch": epoch(), "grant": "free",
        });
        case.fields = vec![("Content-Type".into(), "application/x-www-form-urlencoded".into())];
        case.body = Some("grant_type=client_credentials".into());
        case.base = case.base.set("htm", "POST").set("htu", ENDPOINT);
        case.proof(|proof| proof)
    }

    fn resource_policy(&self) -> Value {
        json!({
            "origins": [ORIGIN], "algorithms": names(AlgSet::ALL), "max_age": 300, "max_future": 60,
            "iat_always_in_window": false, "nonce": nonce_policy(), "epoch": epoch(), "issuer": ISSUER,
            "audience": [ORIGIN], "token_algorithms": ["ES256", "Ed25519"], "scope": ["orders:read"],
            "unbound_tokens": "refused", "jwks": {"keys": [self.issuer.in_set(), self.issuer_ed25519.in_set()]},
        })
    }
}

fn names(algs: AlgSet) -> Vec<&'static str> {
    algs.iter().map(Alg::name).collect()
}

fn nonce_policy() -> Value {
    json!({"policy": "offer", "lifetime": 300, "keys": [{"id": 1, "secret": encode_base64url(&[1; 32])}]})
}

/// Long past, so that no barrier stands.
fn epoch() -> Value {
    json!({"id": EPOCH, "opened": NOW - 1_000_000})
}

/// A nonce of the key with this number, whose octets all equal it.
pub(super) fn nonce(key: u8, role: Role, origin: &str, epoch: u64, issued: u64) -> String {
    let nonces = StatelessNonces::new(NonceKey::new(key, [key; 32]));
    let purpose = Purpose::new(role, origin, epoch);
    nonces.issue(purpose, UnixTime::from_secs(issued)).as_str().to_owned()
}

/// A nonce that the good request may use, issued so many seconds ago.
pub(super) fn fresh_nonce(age: u64) -> String {
    nonce(1, Role::ResourceServer, ORIGIN, EPOCH, NOW - age)
}

/// `ath` of this token.
pub(super) fn ath(token: &str) -> String {
    encode_base64url(&Sha256::digest(token))
}

#[derive(Clone)]
pub(super) struct Case<'w> {
    base: Jws<'w>,
    pub(super) expect: &'static str,
    pub(super) name: String,
    title: String,
    rfc: String,
    rows: &'static [&'static str],
    why: &'static str,
    role: &'static str,
    method: String,
    target: String,
    host: Option<String>,
    proof_field: &'static str,
    authorization: Option<Vec<String>>,
    proofs: Vec<String>,
    fields: Vec<(String, String)>,
    body: Option<String>,
    token: String,
    policy: Value,
    now: u64,
    before: Vec<Value>,
    answer: Option<(u16, Option<&'static str>)>,
}

impl<'w> Case<'w> {
    /// With this token, and a proof for it.
    pub(super) fn token(self, token: Jws<'w>) -> Self {
        let text = token.compact();
        self.token_text(&text)
    }

    pub(super) fn token_text(mut self, text: &str) -> Self {
        text.clone_into(&mut self.token);
        self.base = self.base.set("ath", ath(text));
        self.proof(|proof| proof)
    }

    /// With another proof: `change` gets the good one.
    pub(super) fn proof(self, change: impl FnOnce(Jws<'w>) -> Jws<'w>) -> Self {
        let text = change(self.base.clone()).compact();
        self.proof_text(text)
    }

    /// With a proof whose signed form is changed: `change` gets the three segments of the good one.
    pub(super) fn cut(self, change: impl FnOnce([&str; 3]) -> String) -> Self {
        let text = self.proofs.first().cloned().unwrap_or_default();
        let mut segments = text.split('.');
        let changed = change([(); 3].map(|()| segments.next().unwrap_or_default()));
        self.proof_text(changed)
    }

    pub(super) fn proof_text(mut self, text: impl Into<String>) -> Self {
        self.proofs = vec![text.into()];
        self
    }

    /// With so many `DPoP` fields.
    pub(super) fn proofs(mut self, change: impl FnOnce(&str) -> Vec<String>) -> Self {
        self.proofs = change(self.proofs.first().map_or("", String::as_str));
        self
    }

    /// In place of `Authorization: DPoP` with the token; `change` gets the token.
    pub(super) fn authorization(mut self, change: impl FnOnce(&str) -> Vec<String>) -> Self {
        self.authorization = Some(change(&self.token));
        self
    }

    pub(super) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(super) fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    pub(super) fn host(mut self, host: Option<&str>) -> Self {
        self.host = host.map(Into::into);
        self
    }

    pub(super) fn field(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(super) fn body(mut self, content_type: &str, body: impl Into<String>) -> Self {
        self.fields.retain(|(name, _)| name != "Content-Type");
        self.body = Some(body.into());
        self.field("Content-Type", content_type)
    }

    pub(super) fn no_body(mut self) -> Self {
        self.fields.clear();
        self.body = None;
        self
    }

    /// The name of the field that carries the proof.
    pub(super) fn proof_field(mut self, name: &'static str) -> Self {
        self.proof_field = name;
        self
    }

    /// Judged at this time.
    pub(super) fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    /// The token, for a case that sends it elsewhere.
    pub(super) fn token_of(&self) -> &str {
        &self.token
    }

    /// A setting, by its JSON pointer without the first slash.
    pub(super) fn policy(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        match pointer.rsplit_once('/') {
            Some((parent, name)) => {
                let parent = self.policy.pointer_mut(&format!("/{parent}"));
                parent.expect("the setting's parent is there")[name] = value.into();
            }
            None => self.policy[pointer] = value.into(),
        }
        self
    }

    pub(super) fn role(mut self, role: &'static str) -> Self {
        self.role = role;
        self
    }

    /// With this request before it, which was admitted at that time.
    pub(super) fn after(mut self, earlier: &Self, now: u64) -> Self {
        self.before.push(json!({"request": earlier.request(), "now": now}));
        self
    }

    /// With this request before it, which was refused at that time.
    pub(super) fn tried(mut self, earlier: &Self, now: u64) -> Self {
        self.before.push(json!({"request": earlier.request(), "now": now, "refused": true}));
        self
    }

    pub(super) fn answer(mut self, status: u16, error: Option<&'static str>) -> Self {
        self.answer = Some((status, error));
        self
    }

    pub(super) fn rfc(mut self, rfc: &str) -> Self {
        self.rfc = rfc.into();
        self
    }

    /// Refused for this reason.
    pub(super) fn refused(
        self,
        code: &'static str,
        rows: &'static [&'static str],
        name: &str,
        title: &str,
        why: &'static str,
    ) -> Self {
        let rule = keybound::refusal::Reason::from_code(code).map_or("", |reason| reason.entry().rule);
        let rfc = if self.rfc.is_empty() { rule.into() } else { self.rfc.clone() };
        let case = self.named(code, rows, name, title, why);
        Self { rfc, ..case }
    }

    /// Admitted.
    pub(super) fn admitted(
        self,
        rfc: &str,
        rows: &'static [&'static str],
        name: &str,
        title: &str,
        why: &'static str,
    ) -> Self {
        self.named("admit", rows, name, title, why).rfc(rfc)
    }

    fn named(
        self,
        expect: &'static str,
        rows: &'static [&'static str],
        name: &str,
        title: &str,
        why: &'static str,
    ) -> Self {
        Self { expect, rows, why, name: name.into(), title: title.into(), ..self }
    }

    fn request(&self) -> Value {
        let mut headers: Vec<(String, String)> = Vec::new();
        headers.extend(self.host.iter().map(|host| ("Host".into(), host.clone())));
        let credentials = match &self.authorization {
            Some(values) => values.clone(),
            None if self.token.is_empty() => Vec::new(),
            None => vec![format!("DPoP {}", self.token)],
        };
        headers.extend(credentials.into_iter().map(|value| ("Authorization".into(), value)));
        headers.extend(self.proofs.iter().map(|value| (self.proof_field.into(), value.clone())));
        headers.extend(self.fields.clone());
        json!({"method": self.method, "target": self.target, "headers": headers, "body": self.body})
    }

    /// The file: members in the order of reading, each on a line of its own.
    pub(super) fn to_text(&self) -> String {
        let (status, error) = self.answer.unwrap_or_else(|| answer(self.role, self.expect));
        let token = (!self.token.is_empty()).then_some(&self.token);
        let members = [
            ("title", json!(self.title)),
            ("rfc", json!(self.rfc)),
            ("rows", json!(self.rows)),
            ("role", json!(self.role)),
            ("request", self.request()),
            ("token", json!(token)),
            ("policy", self.policy.clone()),
            ("before", json!(self.before)),
            ("now", json!(self.now)),
            ("expect", json!(self.expect)),
            ("answer", json!({"status": status, "error": error})),
            ("why", json!(self.why)),
        ];
        let lines: Vec<String> = members.iter().map(|(name, value)| format!("  {}: {value}", json!(name))).collect();
        format!("{{\n{}\n}}\n", lines.join(",\n"))
    }
}

/// Status and `error` for a reason, by R-ERR-05 to R-ERR-17; a case whose answer differs says so itself.
fn answer(role: &str, code: &str) -> (u16, Option<&'static str>) {
    let server = role.starts_with("as");
    let proof = ["proof.", "typ.", "alg.", "crit.", "b64.", "signature.", "jti.", "htm.", "htu."];
    let times = ["iat.", "exp.", "nbf.", "claim.", "ath.", "key."];
    match code {
        "admit" => (200, None),
        "host.unknown" => (421, None),
        "host.invalid" | "path.malformed" | "path.ambiguous" => (400, None),
        "credentials.missing" => (401, None),
        "credentials.malformed" | "key.mismatch" => (401, Some("invalid_token")),
        "replay.quota" if server => (429, Some("temporarily_unavailable")),
        "replay.quota" => (429, None),
        "replay.forgotten" => (if server { 400 } else { 401 }, Some("use_dpop_nonce")),
        "replay.seen" => (if server { 400 } else { 401 }, Some("invalid_dpop_proof")),
        "proof.required" | "request.malformed" | "jkt.malformed" | "jkt.conflict" => (400, Some("invalid_request")),
        "client.authentication" => (401, Some("invalid_client")),
        "client.forbidden" => (400, Some("unauthorized_client")),
        "redirect.invalid" => (400, None),
        "response.unsupported" => (303, Some("unsupported_response_type")),
        "pkce.missing" => (303, Some("invalid_request")),
        "pkce.mismatch" => (400, Some("invalid_grant")),
        "request.uri" | "request.object" => (400, None),
        "device.pending" => (400, Some("authorization_pending")),
        "device.slow" => (400, Some("slow_down")),
        "device.expired" => (400, Some("expired_token")),
        "registration.metadata" => (400, Some("invalid_client_metadata")),
        "registration.redirect" => (400, Some("invalid_redirect_uri")),
        "registration.token" => (401, Some("invalid_token")),
        "login.required" => (303, Some("login_required")),
        "login.denied" => (303, Some("access_denied")),
        "login.forged" => (403, None),
        "login.over" => (400, None),
        "consent.required" => (303, Some("consent_required")),
        "grant.unsupported" => (400, Some("unsupported_grant_type")),
        "grant.invalid" | "grant.key" => (400, Some("invalid_grant")),
        "scope.invalid" => (400, Some("invalid_scope")),
        "scope.insufficient" => (403, Some("insufficient_scope")),
        "target.invalid" => (400, Some("invalid_target")),
        code if code.starts_with("credentials.") => (400, Some("invalid_request")),
        code if code.starts_with("nonce.") => (if server { 400 } else { 401 }, Some("use_dpop_nonce")),
        code if code.starts_with("token.") => (401, Some("invalid_token")),
        code if proof.iter().chain(&times).any(|subject| code.starts_with(subject)) => {
            (if server { 400 } else { 401 }, Some("invalid_dpop_proof"))
        }
        code => unreachable!("{code} has no answer yet"),
    }
}
