//! Calls a protected API. Against `keybound serve`, with the secret that it prints:
//! `KEYBOUND_CLIENT_SECRET=… cargo run -p keybound-client --example orders`.

use std::error::Error;
use std::sync::Arc;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Authentication, Client, PlainHttp, Secret};

// ANCHOR: call
/// Calls `url` twice, as `client_id` of `issuer`.
async fn call(issuer: &str, client_id: &str, secret: String, url: &str) -> Result<(), Box<dyn Error>> {
    // Kept in memory: the token is bound to it, and both end with the process.
    let key = Arc::new(SoftwareKey::generate(Alg::Es256)?);
    let access = Access::client_credentials(issuer, client_id)
        .authentication(Authentication::Secret(Secret::new(secret)))
        .scope("read");
    // Plain http is for this machine alone; leave that line out.
    let client = Client::builder(key).access(access).plain_http(PlainHttp::Loopback).build()?;
    println!("the key is {}", client.jkt());

    for _ in 0..2 {
        let answer = client.get(url).send().await?;
        println!("{} after {} tries", answer.status(), answer.tries());
    }
    Ok(())
}
// ANCHOR_END: call

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::var("KEYBOUND_CLIENT_SECRET")
        .map_err(|_| "start `keybound serve`, and put the secret that it prints into KEYBOUND_CLIENT_SECRET")?;
    call("http://127.0.0.1:8080/issuer", "demo", secret, "http://127.0.0.1:8080/hello").await
}
