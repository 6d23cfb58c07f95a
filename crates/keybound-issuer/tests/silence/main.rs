//! What stands in the log, and what does not. A program of its own, for there is one log of a program: that of one test would miss
//! events whose first use is in the thread of another.

#[path = "../http/browser.rs"]
#[expect(dead_code, reason = "the tests over HTTP use all of it")]
mod browser;
#[path = "../http/people.rs"]
#[expect(dead_code, reason = "the tests over HTTP use all of it")]
mod people;
#[path = "../http/support.rs"]
#[expect(dead_code, reason = "the tests over HTTP use all of it")]
mod support;

use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use keybound::jws::encode_base64url;
use keybound_issuer::{IssuerConfig, Registration};
use sha2::{Digest as _, Sha256};
use tracing_subscriber::fmt::MakeWriter;

use crate::browser::{Browser, HASH, PASSWORD};
use crate::people::{Parameters, VERIFIER, form, of_web, proof_for, to_local};
use crate::support::{Answer, HOLDER, LOCAL, REDIRECT, Request, SECRET, Server, Setup};

/// Everything that is logged by this program, at every level and in every thread.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).with_ansi(false);
    tracing::subscriber::set_global_default(subscriber.finish()).expect("the only one");
    log
});

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

/// What was sent or given away, each with what it is.
#[derive(Default)]
struct Told(Vec<(&'static str, String)>);

impl Told {
    fn note(&mut self, what: &'static str, secret: impl Into<String>) {
        self.0.push((what, secret.into()));
    }

    /// Without its signature nobody takes it.
    fn note_jws(&mut self, what: &'static str, text: &str) {
        self.note(what, text.rsplit('.').next().unwrap());
    }

    /// Sends a request with a proof, and notes that and what comes.
    fn send(&mut self, server: &Server, request: &Request, path: &str) -> Answer {
        let proof = proof_for(server, &HOLDER, path).text();
        self.note_jws("proof", &proof);
        let answer = server.raw(request.clone().field(format!("DPoP: {proof}")).octets());
        self.note_answer(&answer);
        answer
    }

    fn note_answer(&mut self, answer: &Answer) {
        let json = answer.json();
        for name in ["access_token", "id_token"] {
            if let Some(token) = json[name].as_str() {
                self.note_jws(name, token);
            }
        }
        let opaque = ["refresh_token", "device_code", "user_code", "client_secret", "registration_access_token"];
        for name in opaque.into_iter().chain(["request_uri"]) {
            if let Some(secret) = json[name].as_str() {
                self.note(name, secret.rsplit(':').next().unwrap());
            }
        }
        if let Some(nonce) = answer.field("dpop-nonce") {
            self.note("nonce", nonce);
        }
    }

    fn note_cookies(&mut self, browser: &Browser<'_>) {
        assert_eq!(browser.cookies.len(), 2);
        for cookie in browser.cookies.values() {
            self.note("cookie", cookie);
        }
    }
}

/// Programs that act for themselves, right and wrong.
fn machines(told: &mut Told) {
    let server = Setup::new().start();
    told.note("secret of a client", SECRET);
    told.note("wrong secret of a client", "not-the-secret-of-it");
    let assertion = server.assertion().text();
    told.note_jws("assertion", &assertion);
    for request in [Request::of_basic(), Request::token().assertion(&assertion)] {
        let (proof, refused) = (server.proof().text(), server.assertion().text());
        told.note_jws("proof", &proof);
        told.note_jws("refused assertion", &refused);
        let with = |proof: &str| request.clone().field(format!("DPoP: {proof}"));
        let answer = server.token(&with(&proof));
        assert_eq!(answer.status, 200, "{answer:?}");
        told.note_answer(&answer);
        for wrong in [
            with(&proof),
            with("a.b.c"),
            with(&proof[..proof.len() - 1]),
            with(&proof).with("scope=x"),
            Request::token().basic("basic", "not-the-secret-of-it"),
            Request::token().assertion(&refused).with("scope=x"),
            Request::token().assertion(&refused[..refused.len() - 1]),
        ] {
            assert_ne!(server.token(&wrong).status, 200);
        }
    }
}

/// Somebody who signs in, and the client they sign in for.
fn persons(told: &mut Told) {
    let server = Setup::new().of_people().start();
    let mut browser = Browser::of(&server);
    let mut page = browser.authorize(&Parameters::authorization().set("scope", "openid read"));
    told.note("token of a form", page.token());
    told.note("password", PASSWORD.rsplit(' ').next().unwrap());
    told.note("hash of a password", HASH.rsplit('$').next().unwrap());
    let wrong = "a-password-that-was-once";
    for (name, password) in [("alice", wrong), ("typed-one-field-too-early", "")] {
        page = browser.press(&page, "password", &[("username", name), ("password", password)]);
        assert!(page.asks_for_password(), "{page:?}");
        server.turn(60);
    }
    told.note("wrong password", wrong);
    told.note("password in place of a name", "typed-one-field-too-early");
    let page = browser.sign_in(&page, "alice");
    told.note("token of a form", page.token());
    let code = browser.press(&page, "allow", &[]).back("code").expect("a code");
    told.note("code", code.as_str());
    told.note_cookies(&browser);
    told.note("verifier", VERIFIER);
    let other = "a-verifier-that-is-another-one-and-is-as-long";
    told.note("wrong verifier", other);
    let redemption = Parameters::redemption(&code);
    let wrong = told.send(&server, &form("/token", &redemption.clone().set("code_verifier", other)), "/token");
    assert_eq!(wrong.error().1, "pkce.mismatch");
    let first = told.send(&server, &form("/token", &redemption), "/token");
    let second = told.send(&server, &form("/token", &Parameters::refresh(&first.refresh_token())), "/token");
    for token in [second.access_token().text, second.refresh_token()] {
        let asked = of_web(form("/introspect", &Parameters::none().set("token", token.as_str())));
        assert_eq!(told.send(&server, &asked, "/introspect").status, 200);
        let question = to_local("GET /userinfo").field(format!("Authorization: DPoP {token}"));
        let ath = encode_base64url(&Sha256::digest(token.as_bytes()));
        let proof = proof_for(&server, &HOLDER, "/userinfo").claim("htm", "GET").claim("ath", ath).text();
        told.note_jws("proof", &proof);
        server.raw(question.field(format!("DPoP: {proof}")).octets());
    }
    // Used twice, which is warned of.
    for used in [Parameters::refresh(&first.refresh_token()), redemption] {
        assert_eq!(told.send(&server, &form("/token", &used), "/token").error().1, "grant.invalid");
    }
    let given_back = Parameters::of_app().set("token", second.refresh_token());
    assert_eq!(told.send(&server, &form("/revoke", &given_back), "/revoke").status, 200);
    let page = browser.open("/logout");
    told.note("token of a form", page.token());
    assert!(browser.press(&page, "sign_out", &[]).text().contains("You are signed out"));
}

/// A token that is exchanged, and one that is none.
fn exchanges(told: &mut Told) {
    let server = Setup::new().approving().start();
    let code = server.code(&Parameters::authorization().set("client_id", "web").set("scope", "read"));
    told.note("code", code.as_str());
    let first = server.token(&of_web(form("/token", &Parameters::redemption(&code).without("client_id"))));
    told.note_answer(&first);
    let bearer = first.access_token().text;
    let wrong = format!("{}{}", &bearer[..bearer.len() - 8], "notsigne");
    told.note_jws("wrong token", &wrong);
    for (token, status) in [(bearer, 200), (wrong, 400)] {
        let exchange = Parameters::none()
            .set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .set("subject_token", token)
            .set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
        let answer = told.send(&server, &of_web(form("/token", &exchange)), "/token");
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

/// Requests that are pushed, devices, and clients that register themselves.
fn others(told: &mut Told) {
    fn open(config: IssuerConfig) -> IssuerConfig {
        config.auto_approve("alice").registration(Registration::Open, "openid read write")
    }
    let server = Setup::new().registering(open).start();
    let pushed = told.send(&server, &form("/par", &Parameters::authorization()), "/par");
    let reference = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let reference = Parameters::none().set("client_id", "app").set("request_uri", reference);
    let code = server.code(&reference);
    told.note("code", code.as_str());
    assert_eq!(server.browse(&reference).status, 400, "once");
    let redeemed = told.send(&server, &form("/token", &Parameters::redemption(&code)), "/token");
    assert_eq!(redeemed.status, 200);

    let begun = form("/device_authorization", &Parameters::of_app().set("scope", "read"));
    let codes = told.send(&server, &begun, "/device_authorization").json();
    let typed = codes["user_code"].as_str().unwrap();
    told.note("user_code", typed.replace('-', ""));
    let grant = Parameters::of_app().set("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let question = form("/token", &grant.set("device_code", codes["device_code"].as_str().unwrap()));
    assert_eq!(told.send(&server, &question, "/token").error().1, "device.pending");
    for status in [200, 400] {
        assert_eq!(server.raw(to_local(&format!("GET /device?user_code={typed}")).octets()).status, status);
    }
    server.turn(5);
    for status in [200, 400] {
        assert_eq!(told.send(&server, &question, "/token").status, status);
    }

    let metadata = serde_json::json!({ "redirect_uris": [REDIRECT] });
    let to = |line: &str| to_local(line).field("Content-Type: application/json").body(metadata.to_string());
    let registered = server.raw(to("POST /register").octets());
    told.note_answer(&registered);
    let client = registered.json();
    let path = client["registration_client_uri"].as_str().unwrap().strip_prefix(LOCAL).unwrap();
    let token = client["registration_access_token"].as_str().unwrap();
    let wrong = format!("{token}x");
    let mut changed = metadata.clone();
    changed["client_id"] = client["client_id"].clone();
    for (method, token, status) in [
        ("GET", token, 200),
        ("GET", wrong.as_str(), 401),
        ("PUT", wrong.as_str(), 401),
        ("PUT", token, 200),
        ("DELETE", wrong.as_str(), 401),
        ("DELETE", token, 204),
    ] {
        let manage = to(&format!("{method} {path}")).field(format!("Authorization: Bearer {token}"));
        assert_eq!(server.raw(manage.body(changed.to_string()).octets()).status, status, "{method}");
    }
}

// R-SEC-13: neither on success nor on refusal, at no level.
#[test]
fn secrets_are_not_logged() {
    let log = &*LOG;
    let mut told = Told::default();
    machines(&mut told);
    persons(&mut told);
    exchanges(&mut told);
    others(&mut told);
    let text = log.text();
    for reason in [
        "replay.seen",
        "client.authentication",
        "pkce.mismatch",
        "device.pending",
        "a grant was used twice",
        "approved without asking anybody",
    ] {
        assert!(text.contains(reason), "{reason} is not in the log");
    }
    for (what, secret) in told.0 {
        // Nor half of it.
        let part = &secret[..secret.len().min(20)];
        let line = text.lines().find(|line| line.contains(part));
        assert_eq!(line, None, "{what}");
    }
}

// R-SEC-08
#[test]
fn a_long_life_of_tokens_is_warned_of() {
    let log = &*LOG;
    let hour: fn(IssuerConfig) -> IssuerConfig = |config| config.token_lifetime(Duration::from_secs(3600));
    let longer: fn(IssuerConfig) -> IssuerConfig = |config| config.token_lifetime(Duration::from_secs(3601));
    for (change, warned) in [(hour, false), (longer, true)] {
        let _server = Setup::new().changed(change).start();
        assert_eq!(log.text().contains("longer than an hour"), warned);
    }
}

/// Who is let in without being asked is seen to be: each time, as a warning, by name.
#[test]
fn who_is_approved_unseen_is_warned_of() {
    let log = &*LOG;
    let server = Setup::new().approving().changed(|config| config.auto_approve("mallory")).start();
    let warned = || {
        let text = log.text();
        let lines =
            text.lines().filter(|line| line.contains(" WARN ") && line.contains("approved without asking anybody"));
        lines.filter(|line| line.contains("subject=\"mallory\"") && line.contains("client_id=\"app\"")).count()
    };
    for times in 1..=2 {
        let _ = server.code(&Parameters::authorization());
        assert_eq!(warned(), times);
    }
    let begun = server.token(&form("/device_authorization", &Parameters::of_app().set("scope", "read"))).json();
    let typed = begun["user_code"].as_str().unwrap();
    assert_eq!(server.raw(to_local(&format!("GET /device?user_code={typed}")).octets()).status, 200);
    assert_eq!(warned(), 3);
}
