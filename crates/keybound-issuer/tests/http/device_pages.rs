//! The pages on which a person connects a device (RFC 8628).

use keybound_issuer::{IssuerConfig, Registration};
use serde_json::json;

use crate::browser::{Browser, with_users};
use crate::people::{Parameters, form, proof_for};
use crate::support::{HOLDER, LOCAL, Server, Setup};

fn started() -> Server {
    Setup::new().of_people().start()
}

fn device(server: &Server) -> serde_json::Value {
    let begun = Parameters::of_app().set("scope", "read");
    server
        .token(&form("/device_authorization", &begun).dpop(&proof_for(server, &HOLDER, "/device_authorization")))
        .json()
}

fn ask(server: &Server, codes: &serde_json::Value) -> crate::support::Answer {
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let code = codes["device_code"].as_str().unwrap();
    server.turn(20);
    server.redeem(&Parameters::of_app().set("grant_type", grant).set("device_code", code), Some(&HOLDER))
}

// RFC 8628 sections 3.3 and 5.4
#[test]
fn a_person_connects_a_device() {
    let server = started();
    let codes = device(&server);
    let shown = codes["user_code"].as_str().unwrap();
    let mut browser = Browser::of(&server);
    let complete = codes["verification_uri_complete"].as_str().unwrap().strip_prefix(LOCAL).unwrap();
    let page = browser.open(complete);
    assert!(
        page.asks_for_password() && !page.text().contains("<strong>app</strong>"),
        "no word of the device: {page:?}"
    );
    let page = browser.sign_in(&page, "alice");
    assert!(page.asks_for_code() && page.text().contains(&format!("value=\"{shown}\"")), "to be confirmed: {page:?}");
    let typed = shown.to_lowercase().replace('-', " ");
    let page = browser.press(&page, "code", &[("user_code", &typed)]);
    assert!(page.asks_for_consent(), "{page:?}");
    for said in ["<em>app</em>", shown, "Is it a device in front of you?", "If somebody sent you the code", "read"] {
        assert!(page.text().contains(said), "{said}: {page:?}");
    }
    assert_eq!(ask(&server, &codes).error().1, "device.pending", "nobody has decided");
    let told = browser.press(&page, "allow", &[]);
    assert!(told.status == 200 && told.text().contains("Your device is connected"), "{told:?}");
    assert_eq!(ask(&server, &codes).access_token().claims["sub"], "alice");
    let mut late = browser.clone();
    let page = late.open(complete);
    let page = late.press(&page, "code", &[("user_code", shown)]);
    assert!(page.problem().starts_with("No device is waiting"), "the code is good once: {page:?}");
    // And one who says no.
    let codes = device(&server);
    let page = browser.open("/device");
    let page = browser.press(&page, "code", &[("user_code", codes["user_code"].as_str().unwrap())]);
    let told = browser.press(&page, "deny", &[]);
    assert!(told.text().contains("Nothing was connected"), "{told:?}");
    assert_eq!(ask(&server, &codes).error(), ("access_denied".into(), "login.denied".into()));
}

/// Nobody finds out codes: not without having signed in, and not many then. RFC 8628 section 5.1.
#[test]
fn codes_of_devices_are_not_guessed() {
    let server = started();
    let codes = device(&server);
    let right = codes["user_code"].as_str().unwrap();
    let mut stranger = Browser::of(&server);
    let with = stranger.open(&format!("/device?user_code={right}"));
    let without = stranger.open("/device?user_code=BBBB-BBBB");
    assert!(with.asks_for_password() && without.asks_for_password());
    let answer = stranger.send(&without.form("code", &[("user_code", right)]), &[]);
    assert!(stranger.follow(answer).asks_for_password(), "the form of a page that is not there yet");
    let mut browser = Browser::of(&server);
    let page = browser.open("/device");
    let mut page = browser.sign_in(&page, "alice");
    for _ in 0..5 {
        page = browser.press(&page, "code", &[("user_code", "BBBB-BBBB")]);
        assert!(page.problem().starts_with("No device is waiting"), "{page:?}");
    }
    page = browser.press(&page, "code", &[("user_code", right)]);
    assert!(page.problem().contains("too many"), "{page:?}");
    let mut other = Browser::of(&server);
    let page = other.open("/device");
    let page = other.sign_in(&page, "alice");
    let page = other.press(&page, "code", &[("user_code", right)]);
    assert!(page.problem().contains("too many"), "another browser of the same user: {page:?}");
    // In the ten minutes of a code: five tries, and one for each wait that doubles to a minute.
    let mut tries = 5;
    for _ in 0..600 {
        server.turn(1);
        let page = browser.open(&browser.at.clone());
        let page = browser.press(&page, "code", &[("user_code", "CCCC-CCCC")]);
        tries += usize::from(page.problem().starts_with("No device"));
    }
    assert!((10..=20).contains(&tries), "{tries} of 20^8");
}

/// Whoever has a device can always enter its code, and be right.
#[test]
fn a_code_of_one_s_own_buys_no_tries_at_others() {
    let server = started();
    let codes = device(&server);
    let mut browser = Browser::of(&server);
    let page = browser.open("/device");
    browser.sign_in(&page, "alice");
    let mut enter = |code: &str| {
        let page = browser.open("/device");
        browser.press(&page, "code", &[("user_code", code)])
    };
    let mut tries = 0;
    for _ in 0..20 {
        tries += usize::from(enter("BBBB-BBBB").problem().starts_with("No device"));
        enter(codes["user_code"].as_str().unwrap());
    }
    assert_eq!(tries, 5);
    server.turn(1);
    assert!(enter(codes["user_code"].as_str().unwrap()).asks_for_consent(), "whoever waits is let in");
}

/// Who chose its name itself is said to have done so, wherever it asks.
#[test]
fn a_device_of_a_stranger_is_said_to_be_one() {
    let open = |config: IssuerConfig| with_users(config.registration(Registration::Open, "read"));
    let server = Setup::new().registering(open).start();
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let metadata = json!({ "client_name": "app", "grant_types": [grant], "token_endpoint_auth_method": "none" });
    let request = crate::people::to_local("POST /register").field("Content-Type: application/json");
    let client = server.raw(request.body(metadata.to_string()).octets()).json();
    let begun = Parameters::none().set("client_id", client["client_id"].as_str().unwrap()).set("scope", "read");
    let proof = proof_for(&server, &HOLDER, "/device_authorization");
    let codes = server.token(&form("/device_authorization", &begun).dpop(&proof)).json();
    for (codes, is_known) in [(codes, false), (device(&server), true)] {
        let mut browser = Browser::of(&server);
        let page = browser.open("/device");
        let page = browser.sign_in(&page, "alice");
        let page = browser.press(&page, "code", &[("user_code", codes["user_code"].as_str().unwrap())]);
        assert!(page.asks_for_consent() && page.text().contains("Is it a device in front of you?"), "{page:?}");
        assert_eq!(page.text().contains("Nobody here knows this application"), !is_known, "{page:?}");
    }
}
