//! What comes with a browser from elsewhere: requests that another site posts, hints at a user, and what
//! a client asked for that was changed since.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::people::{Parameters, form};
use crate::support::{HOLDER, MARK, REDIRECT, Server, Setup};

/// Of a client that is asked for once.
fn of_web_asked() -> Parameters {
    Parameters::authorization().set("client_id", "web").set("scope", "read")
}

fn started() -> Server {
    Setup::new().of_people().start()
}

/// A form of another site comes without the cookies of this one; what is behind the redirect has them.
#[test]
fn an_authorization_request_may_be_posted() {
    let server = started();
    let mut browser = Browser::of(&server);
    browser.code(&of_web_asked());
    let before = browser.authorize(&of_web_asked().set("prompt", "login"));
    let at = browser.at.clone();
    let mut bare = Browser::of(&server);
    let post = |bare: &mut Browser<'_>| {
        let answer = bare.ask("POST /authorize", &["Sec-Fetch-Site: cross-site"], &of_web_asked().text());
        assert!(answer.cookies().is_empty(), "the browser may have one already: {answer:?}");
        answer
    };
    let answer = post(&mut bare);
    assert!(browser.follow(answer).back("code").is_some());
    browser.at = at;
    assert!(browser.sign_in(&before, "alice").back("code").is_some(), "what was open before goes on");
    // Whoever comes first has it, and nobody else.
    let answer = post(&mut bare);
    let page = bare.follow(answer);
    assert!(page.asks_for_password(), "{page:?}");
    let taken = browser.open(&bare.at);
    assert!(taken.status == 400 && taken.text().contains("(login.over)"), "{taken:?}");
    assert!(bare.sign_in(&page, "bob").asks_for_consent());
}

/// No form of another site says that somebody is signed out who is not: it comes without cookies (RP-Initiated Logout section 2).
#[test]
fn the_end_of_a_session_may_be_posted() {
    let server = started();
    let mut browser = Browser::of(&server);
    browser.code(&of_web_asked());
    let back = Parameters::none()
        .set("client_id", "web")
        .set("post_logout_redirect_uri", "https://app.example.com/bye")
        .set("state", "s:t");
    for (fields, at_the_end) in [(back, Some("https://app.example.com/bye?state=s%3At")), (Parameters::none(), None)] {
        let sent = Parameters::none().set("logout_hint", "alice").text() + "&" + &fields.text();
        let answer = Browser::of(&server).ask("POST /logout", &["Sec-Fetch-Site: cross-site"], &sent);
        let page = browser.follow(answer);
        assert!(page.text().contains("Sign out?"), "{page:?}");
        let done = browser.press(&page, "sign_out", &[]);
        assert_eq!(done.left_for.as_deref(), at_the_end, "{done:?}");
        let page = browser.authorize(&of_web_asked());
        assert!(page.asks_for_password(), "{page:?}");
        browser.sign_in(&page, "alice");
    }
}

// OpenID Connect Core section 3.1.2.2: nothing is issued for another user than the one of the hint.
#[test]
fn a_hint_at_a_user_is_kept_to() {
    let server = started();
    let mut browser = Browser::of(&server);
    let code = browser.code(&Parameters::authorization().set("scope", "openid read"));
    let hint = server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).jwt("id_token").text;
    let hinted = of_web_asked().set("id_token_hint", hint.as_str());
    browser.code(&of_web_asked());
    server.turn(4000);
    assert!(browser.authorize(&hinted.clone().set("prompt", "none")).back("code").is_some(), "over, and hers");
    let mut other = Browser::of(&server);
    let page = other.authorize(&of_web_asked());
    let page = other.sign_in(&page, "bob");
    assert!(other.press(&page, "allow", &[]).back("code").is_some());
    for unfit in [hint.as_str(), "a.b.c", &hint[..hint.len() - 3], MARK] {
        let quiet = of_web_asked().set("id_token_hint", unfit).set("prompt", "none");
        assert_eq!(other.authorize(&quiet).back("error").as_deref(), Some("login_required"), "{unfit}");
    }
    let page = other.authorize(&hinted);
    assert!(page.asks_for_password(), "somebody else is signed in: {page:?}");
    let refused = other.clone().sign_in(&page, "bob");
    assert_eq!(refused.back("error").as_deref(), Some("login_required"), "{refused:?}");
    let page = other.authorize(&hinted);
    assert!(other.sign_in(&page, "alice").back("code").is_some());
    // One that says nothing does not stop whoever can be asked.
    assert!(other.authorize(&of_web_asked().set("id_token_hint", MARK)).back("code").is_some());
}

/// A page may be open for a quarter of an hour; where its client is has to be so when somebody agrees.
#[test]
fn nobody_is_sent_where_a_client_is_no_more() {
    let server = Setup::new().of_people().start();
    let administration = server.issuer.administration();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let metadata = |uris: Value, scope: &str| {
        let grants = ["authorization_code"];
        let members = json!({
            "redirect_uris": uris, "scope": scope, "token_endpoint_auth_method": "none", "grant_types": grants
        });
        members.as_object().unwrap().clone()
    };
    let elsewhere = "https://elsewhere.example.com/back";
    runtime
        .block_on(administration.add_client(Some("late"), &metadata(json!([REDIRECT, elsewhere]), "read write")))
        .unwrap();
    let of_late = Parameters::authorization().set("client_id", "late").set("scope", "read").set("prompt", "consent");
    for (parameters, goes_on) in [
        (of_late.clone(), true),
        (of_late.clone().set("redirect_uri", elsewhere), false),
        (of_late.set("scope", "read write"), false),
    ] {
        let before = metadata(json!([REDIRECT, elsewhere]), "read write");
        runtime.block_on(administration.change_client("late", &before, None)).unwrap();
        let pushed = server.raw(form("/par", &parameters).octets()).json();
        let pushed =
            Parameters::none().set("client_id", "late").set("request_uri", pushed["request_uri"].as_str().unwrap());
        let mut browser = Browser::of(&server);
        let page = browser.authorize(&parameters);
        let page = browser.sign_in(&page, "alice");
        assert!(page.asks_for_consent(), "{page:?}");
        runtime.block_on(administration.change_client("late", &metadata(json!([REDIRECT]), "read"), None)).unwrap();
        let back = browser.press(&page, "allow", &[]);
        assert_eq!(back.left_for.is_some(), goes_on, "{back:?}");
        let page = browser.authorize(&pushed);
        assert_eq!(page.status == 400, !goes_on, "{page:?}");
    }
}
