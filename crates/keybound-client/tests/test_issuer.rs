//! An issuer inside a test: every grant, each in a few lines.

use std::io;
use std::sync::Arc;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{
    Access, Authentication, Client, ClientBuilder, DeviceCode, Login, PlainHttp, Prompt, Secret, Show, TokenExchange,
};
use keybound_issuer::TestIssuer;

/// A client with a key of its own.
fn client() -> ClientBuilder {
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    Client::builder(Arc::new(key)).plain_http(PlainHttp::Loopback)
}

// ANCHOR: grants
#[tokio::test]
async fn a_service_by_client_credentials() {
    let issuer = TestIssuer::start().await.unwrap();
    let secret = Authentication::Secret(Secret::new(issuer.client_secret()));
    let access = Access::client_credentials(issuer.url(), issuer.client_id()).authentication(secret);
    let client = client().access(access.scope("read")).build().unwrap();
    assert!(client.token().await.unwrap().is_bound());
}

/// The browser of a person who is signed in: it goes where it is sent.
#[derive(Debug)]
struct Browser;

impl Show for Browser {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        let url = prompt.complete.unwrap_or(prompt.url).to_owned();
        tokio::spawn(async move { reqwest::get(url).await.unwrap().error_for_status().unwrap() });
        Ok(())
    }
}

#[tokio::test]
async fn a_person_by_an_authorization_code_and_then_by_its_refresh_token() {
    let issuer = TestIssuer::start().await.unwrap();
    let access = Access::authorization_code(issuer.url(), TestIssuer::APP, Login::new(Browser)).scope("openid read");
    let key = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
    let builder = || Client::builder(Arc::clone(&key)).plain_http(PlainHttp::Loopback);
    let token = builder().access(access).build().unwrap().token().await.unwrap();
    assert!(token.is_bound());

    // A public client's refresh token is good with its key alone.
    let refresh = token.refresh().unwrap().clone();
    let access = Access::refresh_bound(issuer.url(), TestIssuer::APP, refresh, key.thumbprint());
    assert!(builder().access(access).build().unwrap().token().await.unwrap().is_bound());
}

#[tokio::test]
async fn a_person_by_a_code_on_another_device() {
    let issuer = TestIssuer::start().await.unwrap();
    let access = Access::device_code(issuer.url(), TestIssuer::APP, DeviceCode::new(Browser)).scope("read");
    assert!(client().access(access).build().unwrap().token().await.unwrap().is_bound());
}

#[tokio::test]
async fn a_bearer_token_exchanged_for_a_bound_one() {
    let issuer = TestIssuer::start().await.unwrap();
    // As a client does that knows nothing of DPoP.
    let request = reqwest::Client::new().post(issuer.token_endpoint());
    let request = request.basic_auth(TestIssuer::LEGACY, Some(issuer.client_secret()));
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body("grant_type=client_credentials&scope=read").send().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["token_type"], "Bearer");

    let bearer = TokenExchange::of_access_token(Secret::new(answer["access_token"].as_str().unwrap()));
    let secret = Authentication::Secret(Secret::new(issuer.client_secret()));
    let access = Access::token_exchange(issuer.url(), TestIssuer::LEGACY, bearer).authentication(secret);
    assert!(client().access(access).build().unwrap().token().await.unwrap().is_bound());
}
// ANCHOR_END: grants

// No barrier stands, so a client that knows nothing of nonces gets its token at the first try.
#[tokio::test]
async fn no_nonce_is_demanded_of_the_first_proof() {
    use http::Method;
    use keybound::client::{ProofClaims, Prover};
    use keybound::request::TargetUri;

    let issuer = TestIssuer::start().await.unwrap();
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    let target = TargetUri::parse(issuer.token_endpoint()).unwrap();
    let claims = ProofClaims::new(&Method::POST, &target, [7; 16], std::time::SystemTime::now().into());
    let proof = Prover::of(&key).unwrap().prepare(&claims).sign(&key).unwrap();
    let request = reqwest::Client::new().post(issuer.token_endpoint());
    let request = request.basic_auth(issuer.client_id(), Some(issuer.client_secret())).header("dpop", proof.as_str());
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.body("grant_type=client_credentials").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}
