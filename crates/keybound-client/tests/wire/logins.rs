//! Logins with a browser and on another device.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use keybound_client::{Access, Client, DeviceCode, Error, Login, Prompt, Show};
use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::{METADATA, Seen, Server, answer, key, metadata, part, token_response};
use crate::tokens::value;

/// A browser whose user is quick: it asks the issuer, and follows where that leads.
#[derive(Clone, Debug, Default)]
struct Browser(Arc<Mutex<Vec<String>>>);

impl Show for Browser {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        self.0.lock().push(prompt.url.to_owned());
        let url = prompt.url.to_owned();
        tokio::spawn(async move { reqwest::get(url).await.unwrap() });
        Ok(())
    }
}

/// With which query the browser comes back, given the parameters of the request and the issuer.
type Back = fn(&dyn Fn(&str) -> String, &str) -> String;

/// Whether the error is the one that was expected.
type Expected = fn(&Error) -> bool;

/// An issuer that lets everybody in: `back` says with which query the browser comes back, given the request's.
async fn issuer(pushed: bool, back: Back) -> Server {
    let kept: Mutex<Option<String>> = Mutex::new(None);
    Server::start(move |seen, _| {
        let issuer = format!("http://{}", seen.field("host").unwrap());
        match seen.target.split('?').next().unwrap() {
            METADATA => {
                let mut metadata = metadata(&issuer);
                metadata["authorization_endpoint"] = json!(format!("{issuer}/authorize"));
                metadata["code_challenge_methods_supported"] = json!(["S256"]);
                metadata["authorization_response_iss_parameter_supported"] = json!(true);
                if pushed {
                    metadata["pushed_authorization_request_endpoint"] = json!(format!("{issuer}/par"));
                }
                answer(200, &[], metadata.to_string())
            }
            "/par" if seen.nonce().is_none() => {
                answer(400, &[("dpop-nonce", "n")], json!({"error": "use_dpop_nonce"}).to_string())
            }
            "/par" => {
                *kept.lock() = Some(seen.body.clone());
                answer(201, &[], json!({"request_uri": "urn:x:1", "expires_in": 60}).to_string())
            }
            "/authorize" => {
                let query = seen.target.split_once('?').unwrap().1.to_owned();
                let request = kept.lock().clone().unwrap_or(query);
                let asked = |name: &str| value(&request, name).unwrap();
                let location = format!("{}?{}", asked("redirect_uri"), back(&asked, &issuer));
                answer(302, &[("location", &location)], "")
            }
            _ => token_response("t", 300),
        }
    })
    .await
}

fn client(server: &Server, login: Login) -> Client {
    let access =
        Access::authorization_code(server.url(""), "app", login).scope("read").resource("https://api.example.com");
    key().access(access).build().unwrap()
}

fn asked(server: &Server, path: &str) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| seen.target.split('?').next() == Some(path)).collect()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn welcome(asked: &dyn Fn(&str) -> String, issuer: &str) -> String {
    format!("code=c-1&state={}&iss={}", asked("state"), encoded(issuer))
}

// R-CLI-21, R-CLI-22, R-CLI-27: by way of the browser or pushed
#[tokio::test]
async fn a_user_logs_in_with_a_browser() {
    for pushed in [false, true] {
        let server = issuer(pushed, welcome).await;
        let browser = Browser::default();
        let login = Login::new(browser.clone()).parameter("prompt", "login").parameter("state", "mine");
        let client = client(&server, login);
        assert_eq!(client.token().await.unwrap().secret(), "t");

        let url = browser.0.lock()[0].clone();
        let query = url.split_once('?').unwrap().1.to_owned();
        let request = match asked(&server, "/par").last() {
            Some(seen) => {
                assert!(value(&query, "request_uri").is_some() && value(&query, "state").is_none(), "{url}");
                assert_eq!(seen.proof()["htu"], server.url("/par"));
                assert!(seen.proof().get("ath").is_none());
                seen.body.clone()
            }
            None => query,
        };
        let said = |name| value(&request, name);
        assert_eq!(said("dpop_jkt"), Some(client.jkt().to_string()));
        assert_eq!(said("code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(said("prompt").as_deref(), Some("login"));
        assert_ne!(said("state").as_deref(), Some("mine"), "what is this client's own is not replaced");
        assert_eq!(request.matches("state=").count(), 1);
        let redirect = said("redirect_uri").unwrap();
        assert!(redirect.starts_with("http://127.0.0.1:") && redirect.ends_with("/callback"), "{redirect}");

        let token = &asked(&server, "/token")[0].body;
        assert_eq!(value(token, "code").as_deref(), Some("c-1"));
        assert_eq!(value(token, "redirect_uri"), Some(redirect));
        let verifier = value(token, "code_verifier").unwrap();
        assert_eq!(said("code_challenge"), Some(BASE64URL_NOPAD.encode(&Sha256::digest(&verifier))));
        assert!(verifier.len() >= 43);
    }
}

// RFC 9207: an answer of another issuer, or of none; and what the issuer itself refuses
#[tokio::test]
async fn an_answer_that_is_not_the_issuers() {
    let cases: [(Back, Expected); 4] = [
        (
            |asked, _| format!("code=c&state={}&iss=https%3A%2F%2Fevil.example", asked("state")),
            |error| matches!(error, Error::OtherIssuer { found, .. } if **found == *"https://evil.example"),
        ),
        (|asked, _| format!("code=c&state={}", asked("state")), |error| matches!(error, Error::TokenResponse { .. })),
        (
            |asked, issuer| format!("error=access_denied&state={}&iss={}", asked("state"), encoded(issuer)),
            |error| matches!(error, Error::LoginRefused { error, .. } if **error == *"access_denied"),
        ),
        (
            |asked, issuer| format!("code=a&code=b&state={}&iss={}", asked("state"), encoded(issuer)),
            |error| matches!(error, Error::TokenResponse { .. }),
        ),
    ];
    for (back, expected) in cases {
        let server = issuer(false, back).await;
        let error = client(&server, Login::new(Browser::default())).token().await.unwrap_err();
        let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
        assert!(expected(why), "{error:?}");
        assert_eq!(server.count("/token"), 0);
    }
}

// What comes with another state is not the answer; it neither logs in nor ends the wait.
#[tokio::test]
async fn an_answer_with_another_state_is_none() {
    let server = issuer(false, |_, issuer| format!("code=c&state=guessed&iss={}", encoded(issuer))).await;
    let login = Login::new(Browser::default()).patience(Duration::from_millis(500));
    let error = client(&server, login).token().await.unwrap_err();
    let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
    assert!(matches!(**why, Error::LoginLate { .. }), "{error:?}");
    assert_eq!(server.count("/token"), 0);
}

// R-CLI-28: a key of its own for each login
#[tokio::test]
async fn a_fresh_key_for_each_login() {
    let server = issuer(false, welcome).await;
    let client = client(&server, Login::new(Browser::default()).fresh_key());
    client.token().await.unwrap();
    let query = asked(&server, "/authorize")[0].target.split_once('?').unwrap().1.to_owned();
    let jkt = value(&query, "dpop_jkt").unwrap();
    assert_ne!(jkt, client.jkt().to_string());
    let jwk = part(asked(&server, "/token")[0].field("dpop").unwrap(), 0)["jwk"].to_string();
    assert_eq!(keybound::jwk::PublicJwk::from_json(jwk.as_bytes()).unwrap().thumbprint().to_string(), jkt);
}

/// Keeps what it is to show.
#[derive(Clone, Debug, Default)]
struct Screen(Arc<Mutex<Vec<(String, String)>>>);

impl Show for Screen {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        self.0.lock().push((prompt.url.to_owned(), prompt.user_code.unwrap().to_owned()));
        Ok(())
    }
}

/// An issuer that answers the questions about a device one after the other.
async fn devices(answers: &'static [&'static str], uri: &'static str) -> Server {
    let asked = Mutex::new(0);
    Server::start(move |seen, _| {
        let issuer = format!("http://{}", seen.field("host").unwrap());
        match &*seen.target {
            METADATA => {
                let mut metadata = metadata(&issuer);
                metadata["device_authorization_endpoint"] = json!(format!("{issuer}/device"));
                answer(200, &[], metadata.to_string())
            }
            "/device" => {
                let begun = json!({
                    "device_code": "d-1", "user_code": "ABCD\u{1b}-EFGH", "verification_uri": uri, "expires_in": 60,
                    "interval": 1,
                });
                answer(200, &[], begun.to_string())
            }
            _ => {
                let mut asked = asked.lock();
                *asked += 1;
                match answers.get(*asked - 1) {
                    Some(error) => answer(400, &[("dpop-nonce", "n")], json!({"error": error}).to_string()),
                    None => token_response("t", 300),
                }
            }
        }
    })
    .await
}

// RFC 8628
#[tokio::test]
async fn a_user_logs_in_on_another_device() {
    let server = devices(&["use_dpop_nonce", "authorization_pending"], "https://id.example.com/device").await;
    let screen = Screen::default();
    let access = Access::device_code(server.url(""), "tv", DeviceCode::new(screen.clone())).scope("read");
    let client = key().access(access).build().unwrap();
    assert_eq!(client.token().await.unwrap().secret(), "t");
    assert_eq!(*screen.0.lock(), [("https://id.example.com/device".to_owned(), "ABCD-EFGH".to_owned())]);
    let asked = asked(&server, "/token");
    assert_eq!(asked.len(), 3);
    assert!(asked[1..].iter().all(|seen| seen.nonce().as_deref() == Some("n")));
    assert!(asked.iter().all(|seen| value(&seen.body, "device_code").as_deref() == Some("d-1")));
}

#[tokio::test]
async fn a_device_that_is_turned_away() {
    let server = devices(&["access_denied"], "https://id.example.com/device").await;
    let access = Access::device_code(server.url(""), "tv", DeviceCode::new(Screen::default()));
    let error = key().access(access).build().unwrap().token().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} gave no token: 400 access_denied", server.url("")));

    let server = devices(&[], "file:///etc/passwd").await;
    let screen = Screen::default();
    let access = Access::device_code(server.url(""), "tv", DeviceCode::new(screen.clone()));
    key().access(access).build().unwrap().token().await.unwrap_err();
    assert!(screen.0.lock().is_empty(), "only web pages are shown");
}
