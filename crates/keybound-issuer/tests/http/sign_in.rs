//! The account page, and providers that users come from, as whoever means ill uses them. With a browser of its own and a real
//! provider they are in `interop/node`.

use keybound::client::Secret;
use keybound_issuer::{IssuerConfig, SignInAuthentication, SignInProvider};

use crate::browser::{Browser, with_users};
use crate::people::{Parameters, encoded};
use crate::support::{Server, Setup};

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
