//! Every grant against keybound's own issuer, whose nonces are off, offered and required: both ends are put to the test.

use std::io;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::time::UnixTime;
use keybound::verify::{NoncePolicy, Verifier};
use keybound_client::{
    Access, Authentication, Client, ClientBuilder, DeviceCode, Error, Login, PlainHttp, Prompt, Registration, Secret,
    Show, TokenExchange,
};
use keybound_issuer::{Clock, GrantType, Issuer, IssuerConfig, Keys};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::support::part;

const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";
const AUDIENCE: &str = "https://api.example.com";
const POLICIES: [NoncePolicy; 3] = [NoncePolicy::Off, NoncePolicy::Offer, NoncePolicy::Require];

/// An issuer of this process, where the user `alice` agrees to everything.
async fn issuer(nonces: NoncePolicy) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let source = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
    let verifier = Verifier::builder(Arc::new(AwsLc), source).nonce_policy(nonces).build().unwrap();
    // It has been there for days: no barrier stands, which would demand a nonce whatever the policy is.
    let days_ago = UnixTime::from_secs(Clock::system().now().as_secs() - 2 * 86_400);
    let replays = MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, days_ago)).unwrap();
    let secret = || keybound_issuer::Secret::new(SECRET.to_owned()).unwrap();
    let job = keybound_issuer::Client::new("job", keybound_issuer::Authentication::SecretBasic(secret()))
        .grant_type(GrantType::ClientCredentials)
        .grant_type(GrantType::TokenExchange)
        .scope("read write");
    let app = keybound_issuer::Client::new("app", keybound_issuer::Authentication::None)
        .grant_type(GrantType::AuthorizationCode)
        .grant_type(GrantType::RefreshToken)
        .grant_type(GrantType::DeviceCode)
        .redirect_uri("http://127.0.0.1/callback")
        .scope("read write")
        .dpop_bound_access_tokens();
    let config = IssuerConfig::new(url.as_str(), AUDIENCE).client(job).client(app).auto_approve("alice");
    let server = AuthorizationServer::new(verifier);
    let issuer = Issuer::new(config, Keys::generate().unwrap(), server, Arc::new(replays), Clock::system()).unwrap();
    tokio::spawn(async move { issuer.serve(listener, std::future::pending()).await });
    url
}

fn builder() -> ClientBuilder {
    Client::builder(Arc::new(SoftwareKey::generate(Alg::Es256).unwrap())).plain_http(PlainHttp::Loopback)
}

fn of_job(access: Access) -> Access {
    access.authentication(Authentication::Secret(Secret::new(SECRET)))
}

/// The claims of the client's token, which is bound to its key.
async fn claims(client: &Client, nonces: NoncePolicy) -> Value {
    let token = client.token().await.unwrap_or_else(|error| panic!("{nonces:?}: {error}"));
    assert!(token.is_bound());
    let claims = part(token.secret(), 1);
    assert_eq!(claims["cnf"]["jkt"], client.jkt().to_string(), "{nonces:?}");
    assert_eq!(claims["aud"], AUDIENCE);
    claims
}

/// The browser of a user who is signed in already.
#[derive(Debug)]
struct Browser;

impl Show for Browser {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        let url = prompt.complete.unwrap_or(prompt.url).to_owned();
        tokio::spawn(async move { reqwest::get(url).await.unwrap().error_for_status().unwrap() });
        Ok(())
    }
}

// R-CLI-07, R-CLI-09
#[tokio::test]
async fn client_credentials() {
    for nonces in POLICIES {
        let access = of_job(Access::client_credentials(issuer(nonces).await, "job").scope("read"));
        let claims = claims(&builder().access(access).build().unwrap(), nonces).await;
        assert_eq!((&claims["sub"], &claims["scope"]), (&"job".into(), &"read".into()));
    }
}

// R-CLI-08, R-CLI-21, R-CLI-22: pushed, answered on loopback, and gone on with by the refresh token
#[tokio::test]
async fn a_login_and_what_follows_it() {
    for nonces in POLICIES {
        let url = issuer(nonces).await;
        let login = Access::authorization_code(url.as_str(), "app", Login::new(Browser)).scope("read write");
        let key = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
        let client = Client::builder(Arc::clone(&key)).plain_http(PlainHttp::Loopback).access(login).build().unwrap();
        assert_eq!(claims(&client, nonces).await["sub"], "alice");

        let refresh = client.token().await.unwrap().refresh().unwrap().clone();
        let session = || Access::refresh_bound(url.as_str(), "app", refresh.clone(), key.thumbprint()).scope("read");
        let later =
            Client::builder(Arc::clone(&key)).plain_http(PlainHttp::Loopback).access(session()).build().unwrap();
        let claims = claims(&later, nonces).await;
        assert_eq!((&claims["sub"], &claims["scope"]), (&"alice".into(), &"read".into()));

        // Stolen, it is of no use: neither with another key, nor where the key it is bound to is missing.
        let thief = Access::refresh(url.as_str(), "app", refresh.clone());
        let error = builder().access(thief).build().unwrap().token().await.unwrap_err();
        let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
        assert!(matches!(**why, Error::TokenRefused { .. }), "{error:?}");
        let error = builder().access(session()).build().unwrap().token().await.unwrap_err();
        let Error::TokenRequest(why) = &error else { panic!("{error:?}") };
        assert!(matches!(**why, Error::KeyGone(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_login_on_another_device() {
    let [off, offered, required] = POLICIES.map(|nonces| async move {
        let access = Access::device_code(issuer(nonces).await, "app", DeviceCode::new(Browser)).scope("read");
        assert_eq!(claims(&builder().access(access).build().unwrap(), nonces).await["sub"], "alice");
    });
    // The issuer has its devices wait for seconds.
    tokio::join!(off, offered, required);
}

// From bearer to bound: the subject token was got without a proof.
#[tokio::test]
async fn an_exchange_from_bearer_to_bound() {
    for nonces in POLICIES {
        let url = issuer(nonces).await;
        let bearer = reqwest::Client::new()
            .post(format!("{url}/token"))
            .basic_auth("job", Some(SECRET))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=read+write");
        let bearer: Value = bearer.send().await.unwrap().json().await.unwrap();
        assert_eq!(bearer["token_type"], "Bearer", "{bearer}");
        let exchange = TokenExchange::of_access_token(Secret::new(bearer["access_token"].as_str().unwrap()));
        let access = of_job(Access::token_exchange(url.as_str(), "job", exchange).scope("read"));
        let claims = claims(&builder().access(access).build().unwrap(), nonces).await;
        assert_eq!((&claims["sub"], &claims["scope"]), (&"job".into(), &"read".into()));
    }
}

// An issuer that does not let anybody register is told from one that refused.
#[tokio::test]
async fn a_registration_that_is_not_open() {
    let url = issuer(NoncePolicy::Offer).await;
    let registration = Registration::native("app", ["http://127.0.0.1/callback"]);
    let client = builder().build().unwrap();
    let error = client.register(&url, &registration).await.unwrap_err();
    assert!(matches!(error, Error::Metadata { .. }), "{error:?}");
}
