//! Every way to a token, and what there is around it; `docs/libraries/client.md` shows the pieces.
//!
//! ```text
//! cargo run -p keybound-client --example ways -- client|signed|login|device|refresh|exchange ISSUER CLIENT-ID URL
//! ```
//!
//! Secrets and tokens come from the environment: `SECRET`, `TOKEN`.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use http::Method;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::files::{KeyStore, TokenFiles, read_key};
use keybound_client::{
    Access, Authentication, Body, Client, Demand, DeviceCode, Error as Failure, Login, PlainHttp, Prompt, Response,
    Secret, Show, SystemBrowser, TokenExchange,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

// ANCHOR: client
fn for_itself(issuer: &str, client_id: &str, secret: String) -> Access {
    Access::client_credentials(issuer, client_id).authentication(Authentication::Secret(Secret::new(secret)))
}

/// The same with a key instead of a secret (`private_key_jwt`): each try has an assertion of its own.
fn signed(issuer: &str, client_id: &str, key: &Path) -> Result<Access> {
    let key = Arc::new(read_key(key)?);
    let authentication = Authentication::PrivateKeyJwt { key, kid: None };
    Ok(Access::client_credentials(issuer, client_id).authentication(authentication))
}
// ANCHOR_END: client

// ANCHOR: login
fn login(issuer: &str, client_id: &str) -> Access {
    // PKCE, dpop_jkt, a pushed request where the issuer takes one, and an answer on a free port of 127.0.0.1.
    Access::authorization_code(issuer, client_id, Login::new(SystemBrowser::new()))
}
// ANCHOR_END: login

// ANCHOR: device
/// Shows a code on whatever this device has.
#[derive(Debug)]
struct Terminal;

impl Show for Terminal {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        println!("open {} and type {}", prompt.url, prompt.user_code.unwrap_or_default());
        Ok(())
    }
}

fn device(issuer: &str, client_id: &str) -> Access {
    Access::device_code(issuer, client_id, DeviceCode::new(Terminal))
}
// ANCHOR_END: device

// ANCHOR: refresh
fn session(issuer: &str, client_id: &str, refresh_token: String) -> Access {
    Access::refresh(issuer, client_id, Secret::new(refresh_token))
}

fn exchanged(issuer: &str, client_id: &str, token: String) -> Access {
    let exchange = TokenExchange::of_access_token(Secret::new(token)).audience("orders");
    Access::token_exchange(issuer, client_id, exchange)
}
// ANCHOR_END: refresh

// ANCHOR: kept
/// A client whose key and tokens outlive the program.
fn kept(access: Access) -> Result<Client> {
    let keys = KeyStore::of_user().ok_or("there is no home")?;
    if !keys.contains("orders") {
        keys.add("orders", &SoftwareKey::generate(Alg::Es256)?)?;
    }
    let mut builder = Client::builder(Arc::new(keys.load("orders")?)).access(access);
    for former in keys.former("orders")? {
        builder = builder.former_key(Arc::new(former)); // after a rotation, for the tokens they have
    }
    let tokens = TokenFiles::of_user().ok_or("there is no home")?;
    Ok(builder.store(Arc::new(tokens)).plain_http(PlainHttp::Loopback).build()?)
}
// ANCHOR_END: kept

// ANCHOR: failed
/// What to tell whoever asked, if a request does not go through.
fn advice(failed: &Failure) -> &'static str {
    match failed {
        Failure::Refused(refused) => match refused.demand() {
            Demand::Scope => "ask for more scope, or for less",
            Demand::Nonce(_) => "send it again: the nonce is known by now, and the body was a stream",
            _ => "the server says why: refused.challenge()",
        },
        Failure::TokenRequest(_) => "the issuer gives no token; it says why, too",
        Failure::RedirectAcross { .. } => "another server: neither token nor proof goes there",
        Failure::Timeout { .. } | Failure::Network { .. } => "try again later",
        _ => "mend the program or its settings",
    }
}
// ANCHOR_END: failed

// ANCHOR: stream
/// Copies what is there to somewhere else, piece by piece.
async fn copy(client: &Client, from: &str, to: &str) -> Result<Response> {
    let answer: http::Response<_> = client.get(from).send().await?.into();
    Ok(client.request(Method::PUT, to).body(Body::stream(answer.into_body())).send().await?)
}
// ANCHOR_END: stream

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, issuer, client_id, url, more @ ..] = &words[..] else {
        return Err("usage: ways client|signed|login|device|refresh|exchange ISSUER CLIENT-ID URL [COPY-TO]".into());
    };
    let secret = |name| std::env::var(name).map_err(|_| format!("set {name}"));
    let access = match way.as_str() {
        "client" => for_itself(issuer, client_id, secret("SECRET")?),
        "signed" => signed(issuer, client_id, Path::new("client.pem"))?,
        "login" => login(issuer, client_id),
        "device" => device(issuer, client_id),
        "refresh" => session(issuer, client_id, secret("TOKEN")?),
        "exchange" => exchanged(issuer, client_id, secret("TOKEN")?),
        other => return Err(format!("{other} is no way to a token").into()),
    };
    let client = kept(access)?;
    if let [to] = more {
        println!("{}", copy(&client, url, to).await?.status());
        return Ok(());
    }
    match client.get(url).send().await {
        Ok(answer) => println!("{}", answer.status()),
        Err(why) => println!("{why}: {}", advice(&why)),
    }
    Ok(())
}
