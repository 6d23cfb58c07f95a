//! A store that is down: 503, in a form that the one who asked can read. Never a token, never a challenge, and nothing of what was
//! sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use keybound::jws::encode_base64url;
use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use keybound_issuer::store::{Change, Found, Kind, Pending, Record, Store, Written};
use keybound_issuer::{IssuerConfig, Registration};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::browser::{Browser, with_users};
use crate::people::{Parameters, form, of_web, proof_for, to_local};
use crate::support::stores::Trouble;
use crate::support::{Answer, HOLDER, MARK, Place, REDIRECT, Request, SECRET, START, Server, Setup};

/// A store that cannot be reached.
#[derive(Debug)]
struct Gone(Epoch);

impl ReplayStore for Gone {
    fn epoch(&self) -> Epoch {
        self.0
    }

    async fn record(&self, _: &ReplayEntry<'_>, _: UnixTime) -> Result<Seen, Fault> {
        Err(Fault::ReplayUnreachable)
    }
}

/// A store that has its troubles: by what becomes of its tables where it is a database.
struct Frail {
    place: Place,
    kept: Arc<Moody>,
}

/// The same for one in memory, which has no tables.
#[derive(Debug)]
struct Moody {
    kept: Arc<dyn Store>,
    trouble: Mutex<Option<Trouble>>,
}

impl Frail {
    fn new() -> Self {
        let place = Place::new();
        let kept = place.open(UnixTime::from_secs(START - 86_400));
        Self { place, kept: Arc::new(Moody { kept, trouble: Mutex::default() }) }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.kept) as Arc<dyn Store>
    }

    fn has(&self, trouble: Trouble, is_there: bool) {
        if !self.place.trouble(trouble, is_there) {
            *self.kept.trouble.lock().unwrap() = is_there.then_some(trouble);
        }
    }
}

impl Moody {
    fn has(&self, trouble: Trouble) -> bool {
        *self.trouble.lock().unwrap() == Some(trouble)
    }
}

impl Store for Moody {
    fn opened(&self) -> UnixTime {
        self.kept.opened()
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        if self.has(Trouble::Away) {
            return Box::pin(async { Err(Fault::StoreUnavailable) });
        }
        self.kept.read(kind, id, now)
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        if self.has(Trouble::Away) {
            return Box::pin(async { Err(Fault::StoreUnavailable) });
        }
        self.kept.list(kind, after, limit, now)
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        if self.has(Trouble::Away) || self.has(Trouble::Full) {
            return Box::pin(async { Err(Fault::StoreUnavailable) });
        }
        self.kept.write(changes, now)
    }
}

// R-ERR-21
#[test]
fn a_store_that_is_down_is_503_and_never_a_token() {
    let long_ago = Epoch::new(1, UnixTime::from_secs(START - 86_400));
    let (server, ()) = Setup::new().over(Gone(long_ago), |_| ());
    let frail = Frail::new();
    let forgetful = Setup::new().keeping(frail.store()).start();
    frail.has(Trouble::Away, true);
    let by_proof = Request::of_basic().dpop(&server.proof());
    let by_assertion = Request::token().assertion(&server.assertion().text());
    for (server, request, code) in
        [(&server, by_proof, "replay.unreachable"), (&forgetful, by_assertion, "store.unavailable")]
    {
        let answer = server.token(&request);
        let expected = ("temporarily_unavailable".to_owned(), code.to_owned());
        assert_eq!((answer.status, answer.error()), (503, expected));
        assert!(answer.field("retry-after").is_some());
        assert_eq!(answer.field("www-authenticate"), None);
    }
}

/// A store whose answer about a code takes an hour.
#[derive(Debug)]
struct Slow {
    kept: Arc<dyn Store>,
    seconds: Arc<AtomicU64>,
}

impl Store for Slow {
    fn opened(&self) -> UnixTime {
        self.kept.opened()
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        if kind == Kind::CODE {
            self.seconds.fetch_add(3600, Ordering::SeqCst);
        }
        self.kept.read(kind, id, now)
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        self.kept.list(kind, after, limit, now)
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        self.kept.write(changes, now)
    }
}

// What another issuer has recorded meanwhile may be gone by then.
#[test]
fn a_request_that_is_held_up_for_longer_than_proofs_live_gets_nothing() {
    let setup = Setup::new().approving();
    let seconds = setup.seconds();
    let place = Place::new();
    let kept = place.open(UnixTime::from_secs(START - 86_400));
    let server = setup.keeping(Arc::new(Slow { kept, seconds })).start();
    let code = server.code(&Parameters::authorization());
    let answer = server.redeem(&Parameters::redemption(&code), Some(&HOLDER));
    assert_eq!((answer.status, answer.error().0), (400, "use_dpop_nonce".to_owned()), "{answer:?}");
}

/// Where people sign in, and clients register themselves.
fn open(config: IssuerConfig) -> IssuerConfig {
    with_users(config).registration(Registration::Open, "openid read write")
}

/// An issuer that has lost its store, and what there is of it from before.
struct Forgetful {
    frail: Frail,
    server: Server,
    /// An access token of `alice`, for the claims of the user.
    token: String,
    /// Of her browser.
    cookies: String,
}

impl Forgetful {
    fn start() -> Self {
        let frail = Frail::new();
        let server = Setup::new().registering(open).keeping(frail.store()).start();
        let mut browser = Browser::of(&server);
        let code = browser.code(&Parameters::authorization().set("scope", "openid"));
        let token = server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).access_token().text;
        let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(cookies.len(), 2, "one of the browser and one of the session");
        frail.has(Trouble::Away, true);
        Self { frail, server, token, cookies: format!("Cookie: {}", cookies.join("; ")) }
    }

    /// What there is to say, whoever asks.
    fn ask(&self, name: &str, request: &Request, media_type: &str) -> Answer {
        let answer = self.server.raw(request.octets());
        assert_eq!((answer.status, answer.field("content-type")), (503, Some(media_type)), "{name}: {answer:?}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{name}: {answer:?}");
        assert!(answer.field("retry-after").is_some(), "{name}: {answer:?}");
        assert!(!answer.has("www-authenticate") && !answer.has("location"), "{name}: {answer:?}");
        assert!(answer.cookies().is_empty(), "{name}: {answer:?}");
        for sent in [MARK, SECRET, &self.token] {
            assert!(!answer.holds(sent), "{name}: {answer:?}");
        }
        answer
    }
}

// R-ERR-21
#[test]
fn programs_are_told_that_the_store_is_down() {
    let forgetful = Forgetful::start();
    let token = forgetful.token.as_str();
    let proof = |path: &str| proof_for(&forgetful.server, &HOLDER, path);
    let of_machine = Parameters::none().set("grant_type", "client_credentials");
    let held = |token: &str| Parameters::none().set("token", token);
    let device = Parameters::of_app().set("scope", "read");
    let device_code = Parameters::of_app().set("device_code", MARK);
    let device_code = device_code.set("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let exchange = of_machine.clone().set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    let exchange = exchange.set("subject_token", token);
    let exchange = exchange.set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
    let metadata = json!({ "redirect_uris": [REDIRECT], "client_name": MARK, "client_id": MARK }).to_string();
    let managed = |line: &str| {
        let request = to_local(line).field(format!("Authorization: Bearer {MARK}"));
        request.field("Content-Type: application/json").body(metadata.as_str())
    };
    let of_user = || {
        let digest = encode_base64url(&Sha256::digest(token.as_bytes()));
        let proof = proof("/userinfo").claim("htm", "GET").claim("ath", digest);
        to_local("GET /userinfo").field(format!("Authorization: DPoP {token}")).dpop(&proof)
    };
    for (name, request) in [
        ("credentials of a client", form("/token", &of_machine).basic("basic", SECRET)),
        ("credentials of a stranger", form("/token", &of_machine).basic(MARK, SECRET)),
        ("code", form("/token", &Parameters::redemption(MARK)).dpop(&proof("/token"))),
        ("refresh token", form("/token", &Parameters::refresh(MARK)).dpop(&proof("/token"))),
        ("device code", form("/token", &device_code)),
        ("exchange", of_web(form("/token", &exchange)).dpop(&proof("/token"))),
        ("par", form("/par", &Parameters::authorization().set("state", MARK))),
        ("par with a proof", form("/par", &Parameters::authorization()).dpop(&proof("/par"))),
        ("device", form("/device_authorization", &device)),
        ("device with a proof", form("/device_authorization", &device).dpop(&proof("/device_authorization"))),
        ("introspection of any text", of_web(form("/introspect", &held(MARK)))),
        ("introspection of a token", of_web(form("/introspect", &held(token)))),
        ("revocation of any text", form("/revoke", &held(MARK).set("client_id", "app"))),
        ("revocation of a token", form("/revoke", &held(token).set("client_id", "app"))),
        ("registration", managed("POST /register").only_field("Authorization: Bearer x")),
        ("look at a registration", managed("GET /register/zebra7")),
        ("change of a registration", managed("PUT /register/zebra7")),
        ("end of a registration", managed("DELETE /register/zebra7")),
        ("userinfo", of_user()),
    ] {
        let answer = forgetful.ask(name, &request, "application/json");
        let expected = match name {
            // As every protected resource says it.
            "userinfo" => json!({ "reason": "store.unavailable" }),
            _ => json!({ "error": "temporarily_unavailable", "error_description": "store.unavailable" }),
        };
        assert_eq!(answer.json(), expected, "{name}: {answer:?}");
    }
    forgetful.frail.has(Trouble::Away, false);
    for (request, status) in [
        (of_user(), 200),
        (form("/token", &of_machine).basic("basic", SECRET), 200),
        (form("/par", &Parameters::authorization()), 201),
        (form("/device_authorization", &device), 200),
        (of_web(form("/introspect", &held(token))), 200),
        (form("/revoke", &held(token).set("client_id", "app")), 200),
        (of_user(), 401),
    ] {
        let answer = forgetful.server.raw(request.octets());
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

/// Neither are they signed out, nor sent anywhere.
#[test]
fn people_are_told_that_the_store_is_down() {
    let forgetful = Forgetful::start();
    let asked = Parameters::authorization().set("state", MARK);
    let visit = |path: &str, parameters: &Parameters| to_local(&format!("GET {path}?{}", parameters.text()));
    let own = |request: Request| request.field("Sec-Fetch-Site: same-origin").field(forgetful.cookies.as_str());
    let none = Parameters::none;
    let password = none().set("step", "password").set("username", MARK).set("password", MARK).set("csrf", MARK);
    for (name, request) in [
        ("authorization request", visit("/authorize", &asked)),
        ("posted authorization request", form("/authorize", &asked)),
        ("authorization request of somebody signed in", own(visit("/authorize", &asked))),
        ("authorization request of a stranger", visit("/authorize", &none().set("client_id", MARK))),
        ("pushed authorization request", {
            let pushed = none().set("client_id", "app");
            visit("/authorize", &pushed.set("request_uri", format!("urn:ietf:params:oauth:request_uri:{MARK}")))
        }),
        ("page of somebody else", to_local("GET /sign-in/zebra7")),
        ("page", own(to_local("GET /sign-in/zebra7"))),
        ("password", own(form("/sign-in/zebra7", &password))),
        ("device", visit("/device", &none().set("user_code", MARK))),
        ("device of somebody signed in", own(visit("/device", &none().set("user_code", MARK)))),
        ("account", to_local("GET /account")),
        ("account of somebody signed in", own(to_local("GET /account"))),
        ("sign-out", own(to_local("GET /logout"))),
        ("sign-out for a stranger", visit("/logout", &none().set("client_id", MARK))),
        ("sign-out that was pressed", own(form("/logout", &none().set("step", "sign_out").set("csrf", MARK)))),
    ] {
        let answer = forgetful.ask(name, &request, "text/html; charset=utf-8");
        let said = ["<h1>This cannot go on</h1>", "store does not answer", "store.unavailable"];
        assert!(said.iter().all(|said| answer.body.contains(said)), "{name}: {answer:?}");
    }
    forgetful.frail.has(Trouble::Away, false);
    let before = asked.set("scope", "openid");
    let answer = forgetful.server.raw(own(visit("/authorize", &before)).octets());
    assert!(answer.back("code").is_some(), "she is signed in as before: {answer:?}");
}

/// Nobody is let in or out by what could not be written, and it can be asked for again.
// R-ERR-21, R-AS-23
#[test]
fn what_could_not_be_written_did_not_happen() {
    let frail = Frail::new();
    let server = Setup::new().of_people().keeping(frail.store()).start();
    let full = |is_full| frail.has(Trouble::Full, is_full);
    let mut browser = Browser::of(&server);

    let page = browser.authorize(&Parameters::authorization());
    full(true);
    let before = browser.cookies.clone();
    let failed = browser.sign_in(&page, "alice");
    assert_eq!((failed.status, &failed.left_for, &browser.cookies), (503, &None, &before), "{failed:?}");
    full(false);
    let page = browser.sign_in(&page, "alice");
    full(true);
    let failed = browser.press(&page, "allow", &[]);
    assert_eq!((failed.status, &failed.left_for), (503, &None), "{failed:?}");
    full(false);
    let code = browser.press(&page, "allow", &[]).back("code").expect("a code");

    let in_vain = |request: &dyn Fn() -> Answer| {
        full(true);
        let failed = request();
        assert_eq!((failed.status, failed.error().1), (503, "store.unavailable".to_owned()));
        full(false);
        let answer = request();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    let first = in_vain(&|| server.redeem(&Parameters::redemption(&code), Some(&HOLDER))).refresh_token();
    let second = in_vain(&|| server.redeem(&Parameters::refresh(&first), Some(&HOLDER)));
    let token = second.access_token().text;
    let question = of_web(form("/introspect", &Parameters::none().set("token", token.as_str())));
    let is_active = || server.token(&question).json()["active"] == true;
    full(true);
    let give_back = form("/revoke", &Parameters::of_app().set("token", token.as_str()));
    assert_eq!(server.token(&give_back).status, 503);
    assert!(is_active());
    full(false);
    assert_eq!(server.token(&give_back).status, 200);
    assert!(!is_active());

    let page = browser.open("/logout");
    full(true);
    let before = browser.cookies.clone();
    let failed = browser.press(&page, "sign_out", &[]);
    assert_eq!((failed.status, &browser.cookies), (503, &before), "{failed:?}");
    full(false);
    assert!(browser.press(&page, "sign_out", &[]).text().contains("You are signed out"));
    assert!(browser.authorize(&Parameters::authorization()).asks_for_password());
}
