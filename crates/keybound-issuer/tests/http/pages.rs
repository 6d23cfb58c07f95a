//! The pages on which people sign in and decide, as a browser sees them, and as whoever means ill uses them.

use keybound_issuer::{IssuerConfig, Registration};
use serde_json::json;

use crate::browser::{Browser, PASSWORD, Shown, with_users};
use crate::people::{Parameters, form, of_web, proof_for};
use crate::support::{HOLDER, LOCAL, MARK, REDIRECT, Server, Setup};

fn asked() -> Parameters {
    Parameters::authorization().set("scope", "openid read")
}

fn of_web_asked() -> Parameters {
    Parameters::authorization().set("client_id", "web").set("scope", "read")
}

fn started() -> Server {
    Setup::new().of_people().start()
}

#[test]
fn a_person_signs_in_and_agrees() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&asked());
    assert!(page.asks_for_password() && page.text().contains("<strong>app</strong>"), "{page:?}");
    assert!(!page.text().contains("role=\"alert\""), "nothing is wrong yet");
    let page = browser.sign_in(&page, "Alice");
    assert!(page.asks_for_consent(), "{page:?}");
    assert!(page.text().contains("<code>read</code>") && page.text().contains("https://api.example.com"), "{page:?}");
    assert!(page.text().contains("app.example.com"), "where the browser goes: {page:?}");
    let back = browser.press(&page, "allow", &[]);
    assert!(back.left_for.as_ref().unwrap().starts_with(REDIRECT));
    assert_eq!(back.back("state").as_deref(), Some("st&te"));
    assert_eq!(back.back("iss").as_deref(), Some(LOCAL));
    let code = back.back("code").unwrap();
    let answer = server.redeem(&Parameters::redemption(&code), Some(&HOLDER));
    assert_eq!(answer.access_token().claims["sub"], "alice");
    assert_eq!(answer.jwt("id_token").claims["auth_time"], server.now());
    // Signed in, and asked only whether the client may: it is a program that anybody may pretend to be.
    server.turn(60);
    let page = browser.authorize(&asked().set("redirect_uri", "http://127.0.0.1:4000/back"));
    assert!(page.asks_for_consent(), "{page:?}");
}

#[test]
fn what_was_allowed_is_remembered_of_clients_that_are_known_again() {
    let server = started();
    let mut browser = Browser::of(&server);
    browser.code(&of_web_asked());
    assert!(browser.authorize(&of_web_asked()).back("code").is_some(), "not asked twice");
    for (more, why) in [
        (of_web_asked().set("scope", "read write"), "more than before"),
        (of_web_asked().set("resource", "https://billing.example.com"), "for something else"),
        (of_web_asked().set("prompt", "consent"), "the client wants it so"),
        (asked(), "another client"),
    ] {
        assert!(browser.authorize(&more).asks_for_consent(), "{why}");
    }
    browser.code(&of_web_asked().set("scope", "write"));
    assert!(browser.authorize(&of_web_asked().set("scope", "write read")).back("code").is_some(), "both by now");
    let mut other = Browser::of(&server);
    let page = other.authorize(&of_web_asked());
    assert!(other.sign_in(&page, "bob").asks_for_consent(), "another user");
    // The address of an app, or of loopback, may be anybody's (RFC 8252 section 8.6).
    let native = asked().set("redirect_uri", "http://127.0.0.1:4000/back");
    browser.code(&native);
    assert!(browser.authorize(&native).asks_for_consent());
    browser.code(&asked());
    assert!(browser.authorize(&asked()).back("code").is_some(), "by https it is the client's own");
    server.turn(12 * 3600 + 1);
    assert!(browser.authorize(&asked()).asks_for_password(), "a session ends");
}

#[test]
fn a_person_says_no() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&asked());
    let back = browser.press(&page, "leave", &[]);
    assert_eq!(back.back("error").as_deref(), Some("access_denied"), "before anybody has signed in");
    let page = browser.authorize(&asked());
    let page = browser.sign_in(&page, "alice");
    let back = browser.press(&page, "deny", &[]);
    assert_eq!(back.back("error_description").as_deref(), Some("login.denied"));
    assert_eq!((back.back("state").as_deref(), back.back("code")), (Some("st&te"), None));
    let again = browser.press(&page, "allow", &[]);
    assert_eq!((again.status, again.left_for.clone()), (400, None));
    assert!(again.text().contains("(login.over)"), "no is no: {again:?}");
}

#[test]
fn a_wrong_password_tells_nothing() {
    let server = started();
    let mut said = Vec::new();
    for (name, password) in [("alice", "wrong"), (MARK, PASSWORD), ("", ""), ("alice", ""), ("al ice", PASSWORD)] {
        let mut browser = Browser::of(&server);
        let page = browser.authorize(&asked());
        let page = browser.press(&page, "password", &[("username", name), ("password", password)]);
        assert!(page.asks_for_password() && page.text().contains("aria-invalid=\"true\""), "{page:?}");
        assert!(!browser.cookies.contains_key("keybound-session"), "{name}");
        said.push(page.problem());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(!said[0].is_empty());
}

// OpenID Connect Core section 3.1.2.1
#[test]
fn what_prompt_and_max_age_want() {
    let server = started();
    let mut browser = Browser::of(&server);
    let error = |page: &Shown| page.back("error").unwrap_or_else(|| panic!("{page:?}"));
    let quiet = of_web_asked().set("prompt", "none");
    assert_eq!(error(&browser.authorize(&quiet)), "login_required");
    let page = browser.authorize(&of_web_asked());
    let page = browser.sign_in(&page, "alice");
    let at = browser.at.clone();
    assert_eq!(error(&browser.authorize(&quiet)), "consent_required");
    browser.at = at;
    browser.press(&page, "allow", &[]);
    assert!(browser.authorize(&quiet).back("code").is_some());
    for both in ["none login", "consent none"] {
        assert_eq!(error(&browser.authorize(&of_web_asked().set("prompt", both))), "invalid_request");
    }
    server.turn(100);
    let since = |age: &str| of_web_asked().set("max_age", age);
    assert!(browser.authorize(&since("100")).back("code").is_some());
    assert_eq!(error(&browser.authorize(&since("99").set("prompt", "none"))), "login_required");
    for parameters in [since("99"), since("0"), of_web_asked().set("prompt", "login")] {
        let session = browser.cookies["keybound-session"].clone();
        let page = browser.authorize(&parameters);
        assert!(page.asks_for_password(), "{page:?}");
        let back = browser.sign_in(&page, "alice");
        let code = back.back("code").expect("a code, for the session is new");
        let redemption = form("/token", &Parameters::redemption(&code).without("client_id"));
        let answer = server.token(&of_web(redemption).dpop(&proof_for(&server, &HOLDER, "/token")));
        assert_eq!(answer.access_token().claims["auth_time"], server.now());
        assert_ne!(browser.cookies["keybound-session"], session, "and so is its name");
        server.turn(100);
    }
    let page = browser.authorize(&of_web_asked().set("prompt", "select_account"));
    assert!(browser.sign_in(&page, "bob").asks_for_consent(), "somebody else");
}

#[test]
fn a_form_is_good_on_its_own_page_alone() {
    let server = started();
    let mut browser = Browser::of(&server);
    let first = browser.authorize(&asked());
    let there = browser.at.clone();
    let second = browser.authorize(&asked());
    assert_ne!(first.token(), second.token());
    let mut stranger = Browser::of(&server);
    let foreign = stranger.authorize(&asked());
    let good = [("username", "alice"), ("password", PASSWORD)];
    let here = ["Sec-Fetch-Site: same-origin"];
    let refused = |browser: &mut Browser<'_>, body: &str, fields: &[&str], status, reason: &str| {
        let answer = browser.send(body, fields);
        assert_eq!((answer.status, answer.field("location")), (status, None), "{reason}: {answer:?}");
        assert!(answer.body.contains(&format!("({reason})")), "{answer:?}");
        assert!(answer.cookies().is_empty(), "{answer:?}");
    };
    let body = second.form("password", &good);
    let without = body.replace(&second.token(), "");
    refused(&mut browser, &without, &here, 403, "login.forged");
    refused(&mut browser, &body.replace(&second.token(), &first.token()), &here, 403, "login.forged");
    refused(&mut browser, &body.replace(&second.token(), &foreign.token()), &here, 403, "login.forged");
    refused(&mut browser, &body.replace(&second.token(), MARK), &here, 403, "login.forged");
    for fields in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site"],
        &["Sec-Fetch-Site: none"],
        &["Origin: https://zebra7.example"],
        &["Origin: http://localhost:8091", "Sec-Fetch-Site: same-origin"],
        &["Origin: http://localhost:8090", "Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
    ] {
        refused(&mut browser, &body, fields, 403, "login.forged");
    }
    // In another browser it is no page at all.
    stranger.at = browser.at.clone();
    refused(&mut stranger, &body, &here, 400, "login.over");
    let opened = stranger.open(&there);
    assert!(opened.status == 400 && opened.text().contains("(login.over)"), "{opened:?}");
    let nobody = Browser::of(&server).open(&there);
    assert!(nobody.status == 400 && nobody.text().contains("(login.over)"), "{nobody:?}");
    // And after all that, as good as ever; in a browser that says where a form is from by one field, both, or none.
    for fields in [&[][..], &["Origin: http://localhost:8090"], &["Origin: null", "Sec-Fetch-Site: same-origin"]] {
        let page = browser.open(&there);
        let answer = browser.send(&page.form("switch", &[]), fields);
        assert_eq!(answer.status, 303, "{answer:?}");
    }
}

/// A page that was shown to one is not answered by another, nor is one answered twice.
#[test]
fn a_decision_is_made_once_by_the_one_who_was_asked() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&asked());
    let decide = browser.sign_in(&page, "alice");
    let (at, body) = (browser.at.clone(), decide.form("allow", &[]));
    // Somebody else signs in, in another tab.
    let page = browser.authorize(&asked().set("prompt", "login"));
    browser.sign_in(&page, "bob");
    browser.at = at;
    let answer = browser.send(&body, &[]);
    assert_eq!(answer.status, 403, "alice was asked, not bob: {answer:?}");
    let page = browser.open(&browser.at.clone());
    assert!(page.asks_for_consent() && page.text().contains("Bob"), "{page:?}");
    let page = browser.press(&page, "switch", &[]);
    assert!(page.asks_for_password(), "{page:?}");
    let page = browser.sign_in(&page, "alice");
    let body = page.form("allow", &[]);
    let first = browser.send(&body, &[]);
    let code = first.back("code").unwrap_or_else(|| panic!("{first:?}"));
    // A double click: the browser shows what the second one gets, and nothing is issued for it.
    let second = browser.send(&body, &[]);
    assert_eq!((second.field("location"), second.status), (first.field("location"), 303), "{second:?}");
    let said = browser.send(&body.replace("step=allow", "step=deny"), &[]);
    assert_eq!((said.status, said.field("location")), (400, None), "yes is yes: {said:?}");
    let again = browser.open(&browser.at.clone());
    assert!(again.status == 400 && again.text().contains("(login.over)"), "{again:?}");
    server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).access_token();
    let late = browser.send(&body, &[]);
    assert_eq!((late.status, late.field("location")), (200, None), "{late:?}");
    assert!(late.body.contains("That is done"), "{late:?}");
    let issued = |event: &str| {
        let query = keybound_issuer::audit::Query::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let page = runtime.block_on(server.issuer.administration().entries(&query)).unwrap();
        page.entries.iter().filter(|noted| *noted.entry.event == *event).count()
    };
    assert_eq!((issued("code.issued"), issued("token.issued"), issued("grant.reused")), (1, 1, 0));
}

/// Of several presses at the very same moment each has the one answer.
#[test]
fn every_press_of_one_button_has_the_same_answer() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&asked());
    let page = browser.sign_in(&page, "alice");
    let body = page.form("allow", &[]);
    let locations: Vec<_> = std::thread::scope(|scope| {
        let presses: Vec<_> = (0..4)
            .map(|_| {
                let (mut browser, body) = (browser.clone(), &body);
                scope.spawn(move || browser.send(body, &[]).field("location").map(str::to_owned))
            })
            .collect();
        presses.into_iter().map(|press| press.join().unwrap()).collect()
    });
    assert!(locations[0].as_ref().is_some_and(|location| location.contains("code=")), "{locations:?}");
    assert!(locations.iter().all(|location| *location == locations[0]), "{locations:?}");
    // And of a no.
    let page = browser.authorize(&asked().set("prompt", "consent"));
    let body = page.form("deny", &[]);
    let answers = [browser.send(&body, &[]), browser.send(&body, &[])];
    assert_eq!(answers[0].back("error").as_deref(), Some("access_denied"));
    assert_eq!(answers[0].field("location"), answers[1].field("location"));
}

/// Who gives a browser a session to sign in with has nothing of it afterwards.
#[test]
fn a_session_has_a_name_that_nobody_knew_before() {
    let server = started();
    let mut attacker = Browser::of(&server);
    attacker.code(&of_web_asked());
    let planted = attacker.cookies.clone();
    let mut victim = Browser::of(&server);
    victim.cookies.clone_from(&planted);
    let page = victim.authorize(&of_web_asked().set("prompt", "login"));
    victim.sign_in(&page, "bob");
    assert_ne!(victim.cookies["keybound-session"], planted["keybound-session"]);
    let page = attacker.authorize(&of_web_asked());
    assert!(page.asks_for_password(), "the planted session is over: {page:?}");
    for name in ["keybound-session=x", "keybound-session=", "keybound-session=a; keybound-session=b"] {
        let mut odd = Browser::of(&server);
        let (name, value) = name.split_once('=').unwrap();
        odd.cookies.insert(name.to_owned(), value.to_owned());
        assert!(odd.authorize(&of_web_asked()).asks_for_password());
    }
}

#[test]
fn nobody_frames_stores_or_scripts_a_page() {
    let server = started();
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&asked());
    let at = browser.at.clone();
    let decide = browser.sign_in(&page, "alice");
    for (path, back) in [(at.as_str(), true), ("/logout", false), ("/authorize", false), ("/sign-in/nobody", false)] {
        let answer = browser.ask(&format!("GET {path}"), &[], "");
        let policy = answer.field("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'sha256-"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        let forms = if back { "form-action 'self' https:;" } else { "form-action 'self';" };
        assert!(policy.contains(forms), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script"), "{policy}");
        assert_eq!(answer.field("x-frame-options"), Some("DENY"));
        assert_eq!(answer.field("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert_eq!(answer.field("access-control-allow-origin"), None);
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{path}");
    }
    assert!(decide.policy.contains("form-action 'self' https:;"), "{}", decide.policy);
    let native = browser.authorize(&asked().set("redirect_uri", "http://127.0.0.1:4000/back"));
    let forms = "form-action 'self' http://127.0.0.1:* http://localhost:* https:;";
    assert!(native.policy.contains(forms), "{}", native.policy);
}

#[test]
fn what_others_call_themselves_is_text() {
    let evil = "<script>alert(1)</script>\u{202e}\"'>";
    let open = |config: IssuerConfig| with_users(config.registration(Registration::Open, "openid read write"));
    let server = Setup::new().registering(open).start();
    let metadata = json!({
        "client_name": evil, "redirect_uris": ["https://zebra7.example/back"], "token_endpoint_auth_method": "none"
    });
    let request = crate::people::to_local("POST /register").field("Content-Type: application/json");
    let client = server.raw(request.body(metadata.to_string()).octets()).json();
    let id = client["client_id"].as_str().unwrap();
    let mut browser = Browser::of(&server);
    let parameters = asked().set("client_id", id).set("redirect_uri", "https://zebra7.example/back").set("state", evil);
    let parameters = parameters.set("login_hint", "\"><b>").set("nonce", evil);
    let page = browser.authorize(&parameters);
    assert!(page.asks_for_password());
    let failed = browser.press(&page, "password", &[("username", "\"><script>x"), ("password", "x")]);
    let decide = browser.sign_in(&failed, "bob");
    for page in [&page, &failed, &decide] {
        let text = page.text().replace(r#"<script src="http://localhost:8090/passkeys.js" defer>"#, "");
        assert!(!text.contains("<script") && !text.contains("<b>"), "{page:?}");
        assert!(!page.text().contains('\u{202e}'), "{page:?}");
        assert!(page.text().contains("&#60;script&#62;alert(1)"), "{page:?}");
    }
    assert!(decide.text().contains("Nobody here knows this application"), "{decide:?}");
    assert!(decide.text().contains("zebra7.example"), "where it is: {decide:?}");
    assert!(decide.text().contains("Bob &#60;b&#62;"), "{decide:?}");
    // Who says no is not sent there, unasked (RFC 9700 section 4.11.2).
    let denied = browser.press(&decide, "deny", &[]);
    assert_eq!((denied.status, denied.left_for.clone()), (400, None), "{denied:?}");
    let quiet = browser.authorize(&parameters.clone().set("prompt", "none"));
    assert_eq!((quiet.status, quiet.left_for.clone()), (400, None), "{quiet:?}");
    let page = browser.authorize(&parameters);
    assert!(browser.press(&page, "allow", &[]).back("code").is_some(), "who says yes is");
}

/// RFC 9700 section 4.11.2, at the end of a session.
#[test]
fn nobody_signs_out_to_a_stranger_unasked() {
    let open = |config: IssuerConfig| with_users(config.registration(Registration::Open, "openid read write"));
    let server = Setup::new().registering(open).start();
    let metadata = json!({
        "redirect_uris": ["https://zebra7.example/back"], "post_logout_redirect_uris": ["https://zebra7.example/bye"],
        "token_endpoint_auth_method": "none"
    });
    let request = crate::people::to_local("POST /register").field("Content-Type: application/json");
    let client = server.raw(request.body(metadata.to_string()).octets()).json();
    let id = client["client_id"].as_str().unwrap();
    let end = format!("/logout?client_id={id}&post_logout_redirect_uri=https%3A%2F%2Fzebra7.example%2Fbye");
    let told = Browser::of(&server).open(&end);
    assert_eq!((told.status, told.left_for.clone()), (200, None), "{told:?}");

    // A person who is signed in is asked, and goes where the page said.
    let mut browser = Browser::of(&server);
    browser.code(&of_web_asked());
    let page = browser.open(&end);
    assert!(page.left_for.is_none() && page.text().contains("zebra7.example"), "{page:?}");
    let done = browser.press(&page, "sign_out", &[]);
    assert_eq!(done.left_for.as_deref(), Some("https://zebra7.example/bye"));
}

/// No parameter of a page leads out of it.
#[test]
fn pages_send_nobody_elsewhere() {
    let server = started();
    let mut browser = Browser::of(&server);
    browser.code(&of_web_asked());
    let page = browser.authorize(&asked());
    let at = browser.at.clone();
    for query in
        ["?redirect_uri=https://zebra7.example", "?next=//zebra7.example", "?return_to=https%3A%2F%2Fzebra7.example"]
    {
        let shown = browser.open(&format!("{at}{query}"));
        assert!(shown.asks_for_consent() && !shown.body.contains("zebra7"), "{shown:?}");
    }
    let more = [("redirect_uri", "https://zebra7.example"), ("client_id", "web"), ("scope", "write")];
    browser.at = at;
    let back = browser.press(&page, "allow", &more);
    assert!(back.left_for.as_ref().unwrap().starts_with(REDIRECT), "{back:?}");
    let code = back.back("code").unwrap();
    assert_eq!(server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).json()["scope"], "openid read");
}

/// Strangers wait, and whoever has signed in with this browser before does not.
#[test]
fn tries_are_bounded_and_the_owner_is_not_locked_out() {
    let server = started();
    let mut owner = Browser::of(&server);
    owner.code(&of_web_asked());
    let mut stranger = Browser::of(&server);
    let mut page = stranger.authorize(&of_web_asked());
    let wrong = [("username", "alice"), ("password", "wrong")];
    for _ in 0..5 {
        page = stranger.press(&page, "password", &wrong);
        assert!(page.problem().starts_with("That name and password"), "{page:?}");
    }
    page = stranger.press(&page, "password", &wrong);
    assert_eq!(page.problem(), "There were too many tries. Wait a second, then try again.");
    page = stranger.sign_in(&page, "alice");
    assert!(page.asks_for_password() && page.problem().contains("too many"), "the right one waits, too");
    let mut elsewhere = Browser::of(&server);
    let other = elsewhere.authorize(&of_web_asked());
    assert!(elsewhere.sign_in(&other, "bob").asks_for_consent(), "another user does not");
    // The cookie says which browser it is, and is no password.
    let again = owner.authorize(&of_web_asked().set("prompt", "login"));
    assert!(owner.sign_in(&again, "alice").back("code").is_some(), "nor does the owner");
    for _ in 0..5 {
        let page = owner.authorize(&of_web_asked().set("prompt", "login"));
        owner.press(&page, "password", &wrong);
    }
    let page = owner.authorize(&of_web_asked().set("prompt", "login"));
    assert!(owner.sign_in(&page, "alice").problem().contains("too many"), "a thief of the browser does");
    server.turn(61);
    let page = stranger.authorize(&of_web_asked());
    assert!(stranger.sign_in(&page, "alice").back("code").is_some(), "and nobody waits longer than a minute");
}

/// What was pushed waits for the person (RFC 9126), and is used up by the decision.
#[test]
fn a_pushed_request_waits_for_the_person() {
    let server = started();
    let push = form("/par", &asked()).dpop(&proof_for(&server, &HOLDER, "/par"));
    let pushed = server.raw(push.octets()).json();
    let parameters = Parameters::of_app().set("request_uri", pushed["request_uri"].as_str().unwrap());
    let mut browser = Browser::of(&server);
    let page = browser.authorize(&parameters);
    server.turn(600);
    let page = browser.sign_in(&page, "alice");
    assert!(page.asks_for_consent(), "{page:?}");
    let back = browser.press(&page, "allow", &[]);
    let code = back.back("code").expect("a code");
    assert_eq!(server.redeem(&Parameters::redemption(&code), None).error().1, "proof.required", "it is bound");
    assert_eq!(server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).access_token().claims["sub"], "alice");
    let again = browser.authorize(&parameters);
    assert!(again.status == 400 && again.text().contains("(request.uri)"), "{again:?}");
}

#[test]
fn a_person_signs_out() {
    let server = started();
    let mut browser = Browser::of(&server);
    browser.code(&of_web_asked());
    let end = "/logout?client_id=web&post_logout_redirect_uri=https%3A%2F%2Fapp.example.com%2Fbye&state=s";
    let page = browser.open(end);
    assert!(page.text().contains("Sign out?") && page.text().contains("<strong>web</strong>"), "{page:?}");
    assert!(page.policy.contains("form-action 'self' https:;"));
    let stayed = browser.press(&page, "stay", &[]);
    assert!(stayed.text().contains("You are still signed in"), "{stayed:?}");
    let body = page.form("sign_out", &[]);
    for (body, fields) in [
        (body.replace(&page.token(), MARK), vec![]),
        (body.clone(), vec!["Sec-Fetch-Site: cross-site"]),
        (body.replace("bye", "elsewhere"), vec![]),
    ] {
        let answer = browser.send(&body, &fields);
        assert!(matches!(answer.status, 400 | 403) && answer.field("location").is_none(), "{answer:?}");
    }
    assert!(browser.authorize(&of_web_asked()).back("code").is_some(), "still signed in");
    browser.at = "/logout".to_owned();
    let session = browser.cookies["keybound-session"].clone();
    let done = browser.press(&page, "sign_out", &[]);
    assert_eq!(done.left_for.as_deref(), Some("https://app.example.com/bye?state=s"));
    assert!(!browser.cookies.contains_key("keybound-session"));
    browser.cookies.insert("keybound-session".to_owned(), session);
    assert!(browser.authorize(&of_web_asked()).asks_for_password(), "it is over here, too");
    assert!(browser.open(end).left_for.is_some(), "and nobody is asked who is not signed in");
}

/// Whoever is disabled or deleted is signed in nowhere, and gets no tokens either.
#[test]
fn a_user_who_is_none_any_more_gets_nothing() {
    let server = Setup::new().registering(|config| config).start();
    let users = server.issuer.users();
    let now = || keybound::time::UnixTime::from_secs(server.now());
    assert_eq!(Browser::of(&server).authorize(&asked()).back("error").as_deref(), Some("access_denied"), "no users");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let new = keybound_issuer::users::NewUser::new("carol").password(crate::browser::HASH.parse().unwrap());
    let carol = runtime.block_on(users.create(new, now())).unwrap();
    let mut browser = Browser::of(&server);
    let enter = |browser: &mut Browser<'_>| {
        let page = browser.authorize(&asked());
        let page = browser.sign_in(&page, "carol");
        browser.press(&page, "allow", &[]).back("code")
    };
    let code = enter(&mut browser).unwrap();
    let token = server.redeem(&Parameters::redemption(&code), Some(&HOLDER));
    assert_eq!(token.access_token().claims["sub"], carol.subject());
    let refresh = token.refresh_token();
    let code = browser.authorize(&asked()).back("code").unwrap();
    runtime.block_on(users.disable("carol", now())).unwrap();
    assert_eq!(server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).error().1, "grant.invalid");
    assert_eq!(server.redeem(&Parameters::refresh(&refresh), Some(&HOLDER)).error().1, "grant.invalid");
    let page = browser.authorize(&asked());
    assert!(page.asks_for_password());
    assert!(browser.sign_in(&page, "carol").problem().starts_with("That name and password"));
    runtime.block_on(users.enable("carol", now())).unwrap();
    let refresh = server.redeem(&Parameters::refresh(&refresh), Some(&HOLDER)).refresh_token();
    let page = browser.authorize(&asked());
    assert!(browser.sign_in(&page, "carol").back("code").is_some(), "what was allowed still is");
    runtime.block_on(users.delete("carol", now())).unwrap();
    assert_eq!(server.redeem(&Parameters::refresh(&refresh), Some(&HOLDER)).error().1, "grant.invalid");
    let after = browser.authorize(&asked());
    assert!(after.asks_for_password(), "signed in as nobody: {after:?}");
}

/// By https a cookie is this host's alone, and goes by https alone.
#[test]
fn cookies_are_the_hosts_own() {
    let server = Setup::new().registering(crate::browser::with_users).issuer("https://id.example.com/tenant").start();
    let line = format!("GET /tenant/authorize?{}", asked().text());
    let answer = server.raw(crate::support::Request::new(&line).octets());
    let cookies = answer.cookies();
    assert_eq!(cookies.len(), 1, "{answer:?}");
    let secret = cookies[0].strip_prefix("__Host-keybound-browser=").unwrap().split(';').next().unwrap();
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=15552000";
    assert_eq!(cookies[0], format!("__Host-keybound-browser={secret}; {attributes}"));
    assert!(answer.field("location").unwrap().starts_with("https://id.example.com/tenant/sign-in/"));
}
