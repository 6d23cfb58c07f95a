//! A provider that is honest, and then one that lies in one way at a time, each over HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body as Answer, Bytes};
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::StatusCode;
use http::request::Parts;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};
use keybound::jws::decode_base64url;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const JOURNEY: Journey<'static> = Journey {
    browser: "the-secret-of-the-cookie-of-this-browser-00",
    state: "the-state-of-this-journey-there-and-back-00",
};
const REDIRECT: &str = "https://id.example.com/sign-in/from/work";

/// What may be changed of the answers: the path, what an honest provider says there, and what this one says.
type Lie = fn(&Provided, &str, Response) -> Response;

struct Provided {
    base: String,
    key: SoftwareKey,
    lie: Lie,
    fetches: AtomicUsize,
}

impl Provided {
    fn claims(&self) -> Value {
        json!({
            "iss": self.base, "aud": "keybound", "sub": "248289761001", "nonce": JOURNEY.nonce(),
            "iat": NOW.as_secs(), "exp": NOW.as_secs() + 300, "auth_time": NOW.as_secs(), "name": "Alice",
        })
    }

    fn id_token(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| encode_base64url(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        format!("{signed}.{}", encode_base64url(&self.key.sign(signed.as_bytes()).unwrap()))
    }

    fn with(&self, name: &str, value: Value) -> Response {
        let mut claims = self.claims();
        claims[name] = value;
        said(&json!({"id_token": self.id_token(&json!({"alg": "ES256"}), &claims)}))
    }

    fn metadata(&self) -> Value {
        let base = &self.base;
        json!({
            "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"), "jwks_uri": format!("{base}/jwks"),
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn honest(&self, parts: &Parts, body: &[u8]) -> Response {
        match parts.uri.path() {
            "/.well-known/openid-configuration" => said(&self.metadata()),
            "/jwks" => {
                let jwk: Value = serde_json::from_str(&self.key.public_jwk().to_json()).unwrap();
                said(&json!({"keys": [jwk]}))
            }
            "/token" => {
                let form = Form::parse(body).unwrap();
                assert_eq!(form.get("grant_type"), Some("authorization_code"));
                assert_eq!(form.get("redirect_uri"), Some(REDIRECT));
                assert_eq!(form.get("code_verifier"), Some(&*JOURNEY.verifier()));
                if form.get("code") != Some("the code") {
                    return status(400);
                }
                said(
                    &json!({"access_token": "of no use", "token_type": "Bearer", "id_token": self.id_token(&json!({"alg": "ES256"}), &self.claims())}),
                )
            }
            _ => status(404),
        }
    }
}

fn said(document: &Value) -> Response {
    Response::new(document.to_string().into())
}

fn status(status: u16) -> Response {
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// Starts a provider that lies so.
async fn provide(lie: Lie) -> Arc<Provided> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let provided = Arc::new(Provided { base, key, lie, fetches: AtomicUsize::new(0) });
    let shared = Arc::clone(&provided);
    let app = Router::new().fallback(move |request: Request| {
        let provided = Arc::clone(&shared);
        async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = axum::body::to_bytes(body, 64 * 1024).await.unwrap();
            provided.fetches.fetch_add(1, Ordering::Relaxed);
            let honest = provided.honest(&parts, &body);
            (provided.lie)(&provided, parts.uri.path(), honest)
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    provided
}

fn client(base: &str) -> Provider {
    let secret = SignInAuthentication::SecretBasic(Secret::new("a secret of ours"));
    Provider::new(SignInProvider::new("work", base, "keybound", secret).scope("profile"), REDIRECT)
}

fn back(base: &str, parameters: &str) -> Form {
    let iss = base.replace(':', "%3A").replace('/', "%2F");
    Form::parse(format!("iss={iss}&{parameters}").as_bytes()).unwrap()
}

async fn signed_in(lie: Lie) -> Result<IdClaims, Trouble> {
    let provided = provide(lie).await;
    let answer = back(&provided.base, "code=the+code&state=s");
    client(&provided.base).finish(&JOURNEY, &answer, None, NOW).await
}

#[tokio::test]
async fn an_honest_provider() {
    let provided = provide(|_, _, honest| honest).await;
    let client = client(&provided.base);
    let location = client.begin(&JOURNEY, false, NOW).await.unwrap();
    let (endpoint, query) = location.split_once('?').unwrap();
    assert_eq!(endpoint, format!("{}/authorize", provided.base));
    let sent = Form::parse(query.as_bytes()).unwrap();
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "keybound"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile"),
        ("state", JOURNEY.state),
        ("nonce", &JOURNEY.nonce()),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(sent.get(name), Some(value), "{name}");
    }
    assert_eq!(decode_base64url(sent.get("code_challenge").unwrap()).unwrap().len(), 32);
    assert_eq!(sent.get("prompt"), None);
    assert_eq!(&*client.settings().shown, "work");
    let fresh = client.begin(&JOURNEY, true, NOW).await.unwrap();
    assert!(fresh.contains("&prompt=login&max_age=0"), "{fresh}");
    let claims = client.finish(&JOURNEY, &back(&provided.base, "code=the+code"), Some(NOW), NOW).await.unwrap();
    assert_eq!((claims.subject(), claims.text("name")), ("248289761001", Some("Alice")));
    assert_eq!(provided.fetches.load(Ordering::Relaxed), 3, "metadata and keys once, and one code");
}

#[tokio::test]
async fn what_the_browser_brings() {
    let provided = provide(|_, _, honest| honest).await;
    let client = client(&provided.base);
    for (what, answer, trouble) in [
        ("another provider", back("https://evil.example.com", "code=the+code"), Trouble::MixedUp),
        ("no provider, though it would say", Form::parse(b"code=the+code").unwrap(), Trouble::MixedUp),
        ("another provider's error", back("https://evil.example.com", "error=access_denied"), Trouble::MixedUp),
        ("a no", back(&provided.base, "error=access_denied&error_description=%3Cb%3E"), Trouble::Denied),
        ("an error", back(&provided.base, "error=%3Cscript%3E&code=the+code"), Trouble::Refused),
        ("nothing", back(&provided.base, ""), Trouble::Refused),
        ("a long code", back(&provided.base, &format!("code={}", "a".repeat(MAX_CODE + 1))), Trouble::Refused),
        ("another code", back(&provided.base, "code=injected"), Trouble::Token(400)),
    ] {
        assert_eq!(client.finish(&JOURNEY, &answer, None, NOW).await.err(), Some(trouble), "{what}");
    }
    let answer = back(&provided.base, "code=the+code");
    let later = UnixTime::from_secs(NOW.as_secs() + 60);
    assert_eq!(
        client.finish(&JOURNEY, &answer, Some(later), NOW).await.err(),
        Some(Trouble::Old),
        "a session of before"
    );
}

// Code injection: a code of another browser's journey brings an ID token with that journey's nonce.
#[tokio::test]
async fn a_code_is_good_in_one_browser() {
    let other = Journey { browser: "another-secret", ..JOURNEY };
    assert_ne!((other.nonce(), other.verifier()), (JOURNEY.nonce(), JOURNEY.verifier()));
    let found = signed_in(|provided, path, honest| match path {
        "/token" => provided.with("nonce", json!(Journey { browser: "another-secret", ..JOURNEY }.nonce())),
        _ => honest,
    });
    assert_eq!(found.await.err(), Some(Trouble::IdToken(IdTokenError::Nonce)));
}

#[tokio::test]
async fn one_lie_at_a_time() {
    let lies: [(&str, Lie, Trouble); 17] = [
        (
            "another issuer in the metadata",
            |provided, path, honest| match path {
                "/.well-known/openid-configuration" => {
                    let mut metadata = provided.metadata();
                    metadata["issuer"] = json!("https://evil.example.com");
                    said(&metadata)
                }
                _ => honest,
            },
            Trouble::Metadata,
        ),
        (
            "no metadata",
            |_, path, honest| match path {
                "/.well-known/openid-configuration" => Response::new("<html>".into()),
                _ => honest,
            },
            Trouble::Metadata,
        ),
        (
            "metadata at another place",
            |provided, path, honest| match path {
                "/.well-known/openid-configuration" => redirect(&format!("{}/elsewhere", provided.base)),
                _ => honest,
            },
            Trouble::Fetch(FetchError::Status(302)),
        ),
        (
            "metadata that never end",
            |_, path, honest| match path {
                "/.well-known/openid-configuration" => endless(),
                _ => honest,
            },
            Trouble::Fetch(FetchError::Oversized),
        ),
        (
            "keys that never end",
            |_, path, honest| if path == "/jwks" { endless() } else { honest },
            Trouble::Fetch(FetchError::Oversized),
        ),
        ("no keys", |_, path, honest| if path == "/jwks" { said(&json!({"keys": []})) } else { honest }, Trouble::Keys),
        (
            "a token that never ends",
            |_, path, honest| if path == "/token" { endless() } else { honest },
            Trouble::Fetch(FetchError::Oversized),
        ),
        (
            "a token at another place",
            |_, path, honest| if path == "/token" { redirect("/token") } else { honest },
            Trouble::Fetch(FetchError::Status(302)),
        ),
        (
            "no ID token",
            |_, path, honest| if path == "/token" { said(&json!({"access_token": "a"})) } else { honest },
            Trouble::TokenMalformed,
        ),
        (
            "the failure of the token endpoint",
            |_, path, honest| if path == "/token" { status(500) } else { honest },
            Trouble::Fetch(FetchError::Status(500)),
        ),
        (
            "alg none",
            |provided, path, honest| match path {
                "/token" => {
                    let text = provided.id_token(&json!({"alg": "none"}), &provided.claims());
                    said(&json!({"id_token": text}))
                }
                _ => honest,
            },
            Trouble::IdToken(IdTokenError::Algorithm),
        ),
        (
            "another key",
            |provided, path, honest| match path {
                "/token" => {
                    let other = Provided {
                        base: provided.base.clone(),
                        key: SoftwareKey::generate(Alg::Es256).unwrap(),
                        lie: provided.lie,
                        fetches: AtomicUsize::new(0),
                    };
                    said(&json!({"id_token": other.id_token(&json!({"alg": "ES256"}), &other.claims())}))
                }
                _ => honest,
            },
            Trouble::IdToken(IdTokenError::Signature),
        ),
        ("another issuer in the token", token_with("iss"), Trouble::IdToken(IdTokenError::Issuer)),
        ("another audience", token_with("aud"), Trouble::IdToken(IdTokenError::Audience)),
        ("expired", token_with("exp"), Trouble::IdToken(IdTokenError::Expired)),
        ("another nonce", token_with("nonce"), Trouble::IdToken(IdTokenError::Nonce)),
        ("no user", token_with("sub"), Trouble::IdToken(IdTokenError::Subject)),
    ];
    for (what, lie, trouble) in lies {
        assert_eq!(signed_in(lie).await.err(), Some(trouble), "{what}");
    }
}

/// A lie about one claim. A function pointer holds nothing, so each has its own arm.
fn token_with(name: &str) -> Lie {
    match name {
        "iss" => |provided, path, honest| token(provided, path, honest, "iss", json!("https://evil.example.com")),
        "aud" => |provided, path, honest| token(provided, path, honest, "aud", json!("them")),
        "exp" => |provided, path, honest| token(provided, path, honest, "exp", json!(1)),
        "nonce" => |provided, path, honest| token(provided, path, honest, "nonce", json!("AAAA")),
        _ => |provided, path, honest| token(provided, path, honest, "sub", json!("")),
    }
}

fn token(provided: &Provided, path: &str, honest: Response, name: &str, value: Value) -> Response {
    if path == "/token" { provided.with(name, value) } else { honest }
}

fn redirect(location: &str) -> Response {
    let mut response = status(302);
    response.headers_mut().insert("location", location.parse().unwrap());
    response
}

fn endless() -> Response {
    let chunk = Bytes::from(vec![b' '; 64 * 1024]);
    Response::new(Answer::from_stream(futures_util::stream::repeat(chunk).map(Ok::<_, std::convert::Infallible>)))
}

#[tokio::test]
async fn who_does_not_answer_is_left_alone_for_a_moment() {
    // A port that nobody listens on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = client(&base);
    assert!(matches!(client.begin(&JOURNEY, false, NOW).await, Err(Trouble::Fetch(FetchError::Unreachable(_)))));
    assert_eq!(client.begin(&JOURNEY, false, NOW).await.err(), Some(Trouble::Resting));
    let later = NOW.plus(REST);
    assert!(matches!(client.begin(&JOURNEY, false, later).await, Err(Trouble::Fetch(_))));
}

#[tokio::test]
async fn keys_that_turn_are_looked_for_once() {
    static TURNED: AtomicUsize = AtomicUsize::new(0);
    let provided = provide(|provided, path, honest| match path {
        "/jwks" if TURNED.load(Ordering::Relaxed) == 0 => {
            let mut old: Value =
                serde_json::from_str(&SoftwareKey::generate(Alg::Es256).unwrap().public_jwk().to_json()).unwrap();
            old["kid"] = json!("old");
            said(&json!({"keys": [old]}))
        }
        "/token" => {
            said(&json!({"id_token": provided.id_token(&json!({"alg": "ES256", "kid": "new"}), &provided.claims())}))
        }
        _ => honest,
    })
    .await;
    let client = client(&provided.base);
    client.begin(&JOURNEY, false, NOW).await.unwrap();
    let answer = back(&provided.base, "code=the+code");
    let early = client.finish(&JOURNEY, &answer, None, NOW).await;
    assert_eq!(early.err(), Some(Trouble::IdToken(IdTokenError::Key)), "it has just been looked at");
    TURNED.store(1, Ordering::Relaxed);
    assert!(client.finish(&JOURNEY, &answer, None, NOW.plus(REST)).await.is_ok());
}

#[tokio::test]
async fn every_way_to_authenticate() {
    let key: Arc<dyn keybound::crypto::Signer> = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
    let secret = || Secret::new("a secret of ours");
    for authentication in [
        SignInAuthentication::SecretBasic(secret()),
        SignInAuthentication::SecretPost(secret()),
        SignInAuthentication::PrivateKeyJwt { key, kid: Some("ours".into()) },
        SignInAuthentication::None,
    ] {
        let provider =
            Provider::new(SignInProvider::new("work", "https://up.example.com", "us", authentication), REDIRECT);
        let mut body = Body::new();
        let field = provider.authenticate(&mut body, NOW).unwrap();
        let form = Form::parse(body.as_str().as_bytes()).unwrap();
        match &provider.settings.authentication {
            SignInAuthentication::SecretBasic(_) => assert!(field.is_some() && body.as_str().is_empty()),
            SignInAuthentication::SecretPost(_) => assert_eq!(form.get("client_secret"), Some("a secret of ours")),
            SignInAuthentication::PrivateKeyJwt { .. } => {
                assert_eq!(form.get("client_assertion_type"), Some(CLIENT_ASSERTION_TYPE));
                assert_eq!(form.get("client_assertion").map(|text| text.split('.').count()), Some(3));
            }
            SignInAuthentication::None => assert_eq!((form.get("client_id"), field), (Some("us"), None)),
        }
    }
}

#[test]
fn settings_that_cannot_be() {
    let good = || SignInProvider::new("work", "https://up.example.com", "us", SignInAuthentication::None);
    assert_eq!(good().mistake(), None);
    for (settings, mistake) in [
        (SignInProvider { name: "a/b".into(), ..good() }, SignInError::Name),
        (SignInProvider { name: "".into(), ..good() }, SignInError::Name),
        (SignInProvider { issuer: "http://up.example.com".into(), ..good() }, SignInError::Issuer),
        (SignInProvider { issuer: "https://up.example.com?x".into(), ..good() }, SignInError::Issuer),
        (SignInProvider { client_id: "a b".into(), ..good() }, SignInError::ClientId),
        (good().scope("a b"), SignInError::Scope),
        (good().shown("a\nb"), SignInError::Shown),
    ] {
        assert_eq!(settings.mistake(), Some(mistake));
    }
}
