//! The account page, and providers that users come from, as whoever means ill uses them. With a browser of its own and a real
//! provider they are in `interop/node`.

use std::sync::Arc;

use keybound::client::Secret;
use keybound::time::UnixTime;
use keybound_issuer::store::{Change, Kind, NEVER, Written};
use keybound_issuer::users::NewUser;
use keybound_issuer::{IssuerConfig, SignInAuthentication, SignInProvider};
use serde_json::{Value, json};

use crate::browser::{Browser, HASH, with_users};
use crate::people::{Parameters, encoded, form, of_web, proof_for};
use crate::provider::{PROVIDER, Sent};
use crate::support::{HOLDER, Place, START, Server, Setup};

/// A port that nobody listens on: the discard service.
const NOBODY: &str = "http://127.0.0.1:9";

fn with_provider(config: IssuerConfig) -> IssuerConfig {
    let secret = SignInAuthentication::SecretBasic(Secret::new("a secret of ours"));
    with_users(config).sign_in(SignInProvider::new("work", NOBODY, "us", secret).shown("Example <b>Inc.</b>"))
}

fn started() -> Server {
    Setup::new().registering(with_provider).nonces(keybound::verify::NoncePolicy::Offer).start()
}

#[test]
fn the_account_page_is_for_whoever_has_just_signed_in() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.open("/account");
    assert!(page.asks_for_password(), "{page:?}");
    let page = browser.sign_in(&page, "alice");
    assert_eq!(browser.at, "/account");
    assert!(page.text().contains("Your account") && page.text().contains("Connect"), "{page:?}");
    assert!(!page.text().contains("<b>"), "names are no markup");
    assert!(page.policy.contains("script-src http://localhost:8090/passkeys.js;"), "one script: {}", page.policy);
    let script = browser.ask("GET /passkeys.js", &[], "");
    assert_eq!((script.status, script.field("content-type")), (200, Some("text/javascript; charset=utf-8")));
    assert!(browser.open("/account?said=connected").text().contains("The account is connected."));
    assert!(!browser.open("/account?said=%3Cb%3E").text().contains("<b>"));
    server.turn(901);
    let page = browser.open("/account");
    assert!(page.asks_for_password(), "a browser that was left alone: {page:?}");
    let page = browser.sign_in(&page, "alice");
    assert!(page.text().contains("Your account"), "{page:?}");
}

#[test]
fn a_form_of_elsewhere_changes_no_account() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.open("/account");
    let page = browser.sign_in(&page, "alice");
    let ours: &[&str] = &["Sec-Fetch-Site: same-origin", "Origin: null"];
    let form = page.form("connect", &[]);
    for (what, body, fields) in [
        ("no token", "step=connect&provider=work".to_owned(), ours),
        ("another token", format!("step=connect&provider=work&csrf={}", "A".repeat(43)), ours),
        ("another site", form.clone(), &["Sec-Fetch-Site: cross-site", "Origin: https://evil.example.com"]),
        ("another origin", form.clone(), &["Origin: https://evil.example.com"]),
    ] {
        let answer = browser.send(&body, fields);
        assert_eq!(answer.status, 403, "{what}: {answer:?}");
        assert!(answer.body.contains("(login.forged)"), "{what}: {answer:?}");
    }
    let mut other = Browser::of(&server);
    let page = other.open("/account");
    other.sign_in(&page, "bob");
    assert_eq!(other.send(&form, ours).status, 403, "the form of another user");
    // The last way to sign in stays.
    let kept = browser.press(&browser.clone().open("/account"), "disconnect", &[]);
    assert!(kept.text().contains("the only way left"), "{kept:?}");
}

#[test]
fn a_provider_that_is_away_is_said_so_and_the_others_go_on() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&Parameters::authorization());
    let page = browser.press(&page, "provider", &[("provider", "work")]);
    assert!(page.asks_for_password(), "{page:?}");
    assert!(page.problem().contains("does not answer at the moment"), "{page:?}");
    assert!(!page.text().contains("<b>"), "names are no markup");
    assert!(browser.sign_in(&page, "alice").asks_for_consent());
    let account = browser.open("/account");
    let away = browser.press(&account, "connect", &[]);
    assert!(away.text().contains("It does not answer at the moment."), "{away:?}");
}

#[test]
fn nobody_comes_back_who_was_not_sent() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&Parameters::authorization());
    let interaction = browser.at.rsplit('/').next().unwrap().to_owned();
    assert!(page.asks_for_password());
    let issuer = encoded(NOBODY);
    for query in [
        String::new(),
        "code=a".to_owned(),
        format!("code=a&iss={issuer}&state="),
        format!("code=a&iss={issuer}&state={interaction}"),
        format!("code=a&iss={issuer}&state={interaction}."),
        format!("code=a&iss={issuer}&state={interaction}.{}", "A".repeat(43)),
        format!("code=a&code=b&state={interaction}.a"),
        format!("error=access_denied&state={interaction}.a"),
    ] {
        let page = browser.open(&format!("/sign-in/from/work?{query}"));
        assert_eq!(page.status, 400, "{query}: {page:?}");
        assert_eq!(page.left_for, None);
    }
    assert_eq!(browser.open(&format!("/sign-in/from/other?code=a&state={interaction}.a")).status, 400);
}

/// A provider that answers, and whose users are users here.
fn work_that_creates() -> SignInProvider {
    let secret = SignInAuthentication::SecretBasic(Secret::new("a secret of ours"));
    SignInProvider::new("work", &*PROVIDER.issuer, "us", secret).creates_users()
}

/// With that, and users of the issuer's own.
fn creating() -> Setup {
    let change = |config| with_users(config).sign_in(work_that_creates());
    Setup::new().registering(change).nonces(keybound::verify::NoncePolicy::Offer)
}

/// Of a client that is asked for once.
fn of_web_asked() -> Parameters {
    Parameters::authorization().set("client_id", "web").set("scope", "read")
}

/// Whoever has the browser for a minute is let in by the provider's own session, and has shown nothing.
#[test]
fn a_silent_sign_in_elsewhere_opens_no_account() {
    let server = creating().start();
    let now = server.now();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&of_web_asked());
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    assert_eq!(sent.parameter("prompt"), None, "the client asked for nothing of the kind");
    let page = sent.back(&mut browser, "them", now, &json!({}));
    assert!(page.asks_for_consent(), "{page:?}");
    let code = browser.press(&page, "allow", &[]).back("code").expect("a code");
    let redemption = form("/token", &Parameters::redemption(&code).without("client_id"));
    let answer = server.token(&of_web(redemption).dpop(&proof_for(&server, &HOLDER, "/token")));
    assert_eq!(answer.access_token().claims.get("auth_time"), None, "nobody knows when they showed who they are");
    // Neither is that recent enough for a client that wants it recent.
    assert!(browser.authorize(&of_web_asked().set("max_age", "600")).asks_for_password());
    let page = browser.open("/account");
    assert!(page.asks_for_password() && !page.text().contains("Your account"), "{page:?}");
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    assert_eq!((sent.parameter("prompt").as_deref(), sent.parameter("max_age").as_deref()), (Some("login"), Some("0")));
    let page = sent.back(&mut browser, "them", now, &json!({}));
    assert!(page.asks_for_password(), "{page:?}");
    assert!(page.problem().contains("work does not say when you signed in there"), "{page:?}");
    for (auth_time, problem) in [(now - 60, "did not ask you again"), (now + 120, "cannot be trusted")] {
        let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
        let page = sent.back(&mut browser, "them", now, &json!({ "auth_time": auth_time }));
        assert!(page.problem().contains(problem), "{auth_time}: {page:?}");
    }
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    let page = sent.back(&mut browser, "them", now, &json!({ "auth_time": now }));
    assert!(page.text().contains("Your account"), "{page:?}");
}

/// Where a provider's users are users here, the form for a password is for those that have one: not even an empty one fits the others,
/// and nobody is told which these are.
#[test]
fn a_user_of_a_provider_has_no_password() {
    let server = creating().start();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&of_web_asked());
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    assert!(sent.back(&mut browser, "them", server.now(), &json!({})).asks_for_consent());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let users = runtime.block_on(server.issuer.users().list("", 9, UnixTime::from_secs(server.now()))).unwrap();
    let [theirs] = &users[..] else { panic!("{users:?}") };
    assert!(!theirs.has_password());
    let problem = |name: &str, password: &str| {
        let mut browser = Browser::of(&server);
        let page = browser.authorize(&of_web_asked());
        assert!(page.asks_for_password(), "{page:?}");
        let page = browser.press(&page, "password", &[("username", name), ("password", password)]);
        assert!(page.asks_for_password(), "{page:?}");
        server.turn(60);
        page.problem()
    };
    for password in ["", "x", "correct horse"] {
        assert_eq!(problem(theirs.name(), password), problem("nobody", password), "{password:?}");
    }
    // One of the issuer's own signs in there as ever.
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&of_web_asked());
    assert!(browser.sign_in(&page, "alice").asks_for_consent());
}

/// Where users come from elsewhere, a page asks for a password once there is somebody who has one.
#[test]
fn nobody_is_asked_for_a_password_where_nobody_has_one() {
    let now = UnixTime::from_secs(START);
    let place = Place::new();
    let store = place.open(now);
    let started =
        || Setup::new().registering(|config| config.sign_in(work_that_creates())).keeping(Arc::clone(&store)).start();
    let asks = |server: &Server| Browser::of(server).authorize(&of_web_asked()).asks_for_password();
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&of_web_asked());
    let text = page.text();
    assert!(text.contains("Sign in with work") && !text.contains("username") && !text.contains("passkey"), "{page:?}");
    let left = browser.clone().press(&page, "leave", &[]);
    assert_eq!(left.back("error").as_deref(), Some("access_denied"), "{left:?}");
    let page = browser.authorize(&of_web_asked());
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    let denied = browser
        .clone()
        .open(&format!("/sign-in/from/work?error=access_denied&state={}", sent.parameter("state").unwrap()));
    assert_eq!(denied.problem(), "You did not sign in with work. Try again.");
    let page = browser.authorize(&of_web_asked());
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    assert!(sent.back(&mut browser, "them", START, &json!({})).asks_for_consent());
    assert!(!asks(&server), "a user of theirs has none");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let users = server.issuer.users();
    runtime.block_on(users.create(NewUser::new("late"), now)).unwrap();
    assert!(!asks(&server), "a user of ours has none yet");
    for (hash, expected) in [(Some(HASH), true), (Some(HASH), true), (None, false), (Some(HASH), true)] {
        runtime.block_on(users.set_password("late", hash.map(|hash| hash.parse().unwrap()), now)).unwrap();
        assert_eq!(asks(&started()), expected, "{hash:?}");
    }
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&of_web_asked());
    assert!(browser.sign_in(&page, "late").asks_for_consent(), "{page:?}");
    runtime.block_on(users.delete("late", now)).unwrap();
    assert!(!asks(&started()));
    runtime.block_on(users.create(NewUser::new("later").password(HASH.parse().unwrap()), now)).unwrap();
    assert!(asks(&started()));
}

/// Nobody signs in any more through a provider that is none of the issuer's any more.
#[test]
fn a_provider_that_is_gone_is_no_way_left() {
    let start = UnixTime::from_secs(START);
    let place = Place::new();
    let store = place.open(start);
    let server = creating().keeping(Arc::clone(&store)).start();
    let mut browser = Browser::of(&server);
    let page = browser.open("/account");
    let sent = Sent::by(&browser.press(&page, "provider", &[("provider", "work")]));
    let page = sent.back(&mut browser, "their own", START, &json!({ "auth_time": START }));
    assert!(page.text().contains("Your account"), "{page:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let users = runtime.block_on(server.issuer.users().list("", 2, start)).unwrap();
    let subject = users[0].subject();
    let record = runtime.block_on(store.read(Kind::CONNECTIONS, subject, start)).unwrap().unwrap();
    let mut kept: Value = serde_json::from_str(&record.body).unwrap();
    kept["listed"].as_array_mut().unwrap().push(json!(["https://gone.example.com", "an account there"]));
    let changes = vec![Change::Replace {
        kind: Kind::CONNECTIONS,
        id: subject.into(),
        version: record.version,
        expires: NEVER,
        body: kept.to_string().into(),
    }];
    assert_eq!(runtime.block_on(store.write(changes, start)), Ok(Written::Done));
    let page = browser.open("/account");
    let kept = browser.press(&page, "disconnect", &[("provider", "work")]);
    assert!(kept.text().contains("the only way left"), "{kept:?}");
}
