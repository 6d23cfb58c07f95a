//! Who takes part: an issuer and a gateway, each a process of its own, an API behind the gateway, and a client with a key.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::Full;
use keybound::challenge::DPOP;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::jws::encode_base64url;
use keybound::time::UnixTime;
use keybound_client::files::read_key;
use keybound_client::{Access, Authentication, Client, Error, PlainHttp, Secret, Url, Watch};
use tempfile::TempDir;

use super::service::Service;
use super::wire::{self, Answer};
use crate::outcome::Failure;
use crate::sample;
use crate::token::failure;

type Result<T> = std::result::Result<T, Failure>;

/// What the tokens are for.
pub(super) const AUDIENCE: &str = "https://api.example.com";

/// What other tokens of the same issuer are for.
pub(super) const OTHER_AUDIENCE: &str = "https://reports.example.com";

/// The longest answer of the sample API.
const MAX_ANSWER: usize = 64 * 1024;

/// Everybody. The processes go before the directory they read from.
pub(super) struct Cast {
    gateway: Service,
    issuer: Service,
    gateway_address: SocketAddr,
    issuer_address: SocketAddr,
    gateway_began: UnixTime,
    secret: String,
    key: Arc<SoftwareKey>,
    client: Client,
    tap: Tap,
    folder: TempDir,
}

impl Cast {
    /// Starts the processes and makes the client.
    pub(super) async fn assemble() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("keybound-demo-").tempdir().map_err(Failure::failed)?;
        let sample = sample::start().map_err(|error| Failure::failed(format!("the sample API: {error}")))?;
        let secret = encode_base64url(&random_array::<16>().map_err(Failure::failed)?);
        let file = folder.path().join("issuer.toml");
        let (issuer, issuer_address) =
            Service::on_free_port("issuer", &file, |address| issuer_config(address, &secret)).await?;
        let file = folder.path().join("gateway.toml");
        let (gateway, gateway_address) =
            Service::on_free_port("serve", &file, |address| gateway_config(address, issuer_address, sample)).await?;
        let key = Arc::new(SoftwareKey::generate(Alg::Es256).map_err(Failure::failed)?);
        let tap = Tap::default();
        let access = access(issuer_address, &secret).scope("read");
        let client = builder(&key).access(access).watch(tap.clone()).build().map_err(Failure::failed)?;
        let gateway_began = SystemTime::now().into();
        Ok(Self { gateway, issuer, gateway_address, issuer_address, gateway_began, secret, key, client, tap, folder })
    }

    /// Where the gateway listens, which is its public origin.
    pub(super) const fn gateway(&self) -> SocketAddr {
        self.gateway_address
    }

    pub(super) const fn issuer(&self) -> SocketAddr {
        self.issuer_address
    }

    /// A moment at which the running gateway had begun.
    pub(super) const fn gateway_began(&self) -> UnixTime {
        self.gateway_began
    }

    /// The client's key.
    pub(super) fn key(&self) -> Arc<SoftwareKey> {
        Arc::clone(&self.key)
    }

    /// The client calls the API. Also says how often the request was sent.
    pub(super) async fn call(&self, method: Method, path: &str) -> Result<(Answer, u32)> {
        let url = format!("http://{}{path}", self.gateway_address);
        let response = match self.client.request(method, &url).send().await {
            Ok(response) => response,
            Err(Error::Refused(refused)) => refused.into_response(),
            Err(error) => return Err(failure(&error)),
        };
        let (status, headers, tries) = (response.status(), response.headers().clone(), response.tries());
        let body = response.bytes(MAX_ANSWER).await.map_err(|error| failure(&error))?;
        Ok((Answer::read(status, &headers, &body), tries))
    }

    /// The client's token.
    pub(super) async fn token(&self) -> Result<String> {
        token_of(&self.client).await
    }

    /// Another token of the same client and key.
    pub(super) async fn second_token(&self) -> Result<String> {
        let access = access(self.issuer_address, &self.secret).scope("read admin");
        token_of(&builder(&self.key).access(access).build().map_err(Failure::failed)?).await
    }

    /// A token of the same client and key, for another service.
    pub(super) async fn token_for_elsewhere(&self) -> Result<String> {
        let access = access(self.issuer_address, &self.secret).scope("read").resource(OTHER_AUDIENCE);
        token_of(&builder(&self.key).access(access).build().map_err(Failure::failed)?).await
    }

    /// A token of the same issuer that is bound to no key, as an older client gets them.
    pub(super) async fn bearer_token(&self) -> Result<String> {
        let credentials = data_encoding::BASE64.encode(format!("legacy:{}", self.secret).as_bytes());
        let request = Request::post("/token")
            .header(HOST, self.issuer_address.to_string())
            .header(AUTHORIZATION, format!("Basic {credentials}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from("grant_type=client_credentials&scope=read"))
            .map_err(Failure::failed)?;
        let (status, _, body) = wire::exchange(self.issuer_address, request).await?;
        let token = serde_json::from_slice(&body)
            .ok()
            .and_then(|body: serde_json::Value| Some(body.get("access_token")?.as_str()?.to_owned()));
        token.ok_or_else(|| Failure::failed(format!("the issuer gave no bearer token: {status}")))
    }

    /// The issuer's own key, for a token that is right in everything but its time.
    pub(super) fn signing_key(&self) -> Result<SoftwareKey> {
        read_key(&self.folder.path().join("issuer-key.json")).map_err(Failure::failed)
    }

    /// What went over the wire last, from the client to this path of the gateway, and got in.
    pub(super) fn captured(&self, path: &str) -> Option<Captured> {
        let wanted = format!("http://{}{path}", self.gateway_address);
        self.tap.0.lock().unwrap_or_else(PoisonError::into_inner).iter().rfind(|seen| seen.url == wanted).cloned()
    }

    /// Kills the gateway and starts it again, on the same port with the same configuration.
    pub(super) async fn restart_gateway(&mut self) -> Result<()> {
        self.gateway.kill().await?;
        self.gateway = Service::start("serve", &self.gateway_file()).await?;
        self.gateway_began = SystemTime::now().into();
        Ok(())
    }

    fn gateway_file(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Ends the processes and waits for their end.
    pub(super) async fn end(mut self) {
        // What cannot be killed has ended already.
        let _ = self.gateway.kill().await;
        let _ = self.issuer.kill().await;
    }
}

async fn token_of(client: &Client) -> Result<String> {
    let token = client.token().await.map_err(|error| failure(&error))?;
    Ok(token.secret().to_owned())
}

fn builder(key: &Arc<SoftwareKey>) -> keybound_client::ClientBuilder {
    Client::builder(Arc::<SoftwareKey>::clone(key)).plain_http(PlainHttp::Loopback)
}

fn access(issuer: SocketAddr, secret: &str) -> Access {
    let secret = Authentication::Secret(Secret::new(secret.to_owned()));
    Access::client_credentials(format!("http://{issuer}"), "demo").authentication(secret)
}

fn issuer_config(address: SocketAddr, secret: &str) -> String {
    format!(
        r#"
[listen]
address = "{address}"
admin = "127.0.0.1:0"
[authorization_server]
url = "http://{address}"
audience = ["{AUDIENCE}", "{OTHER_AUDIENCE}"]
signing_key = "issuer-key.json"
[[authorization_server.client]]
client_id = "demo"
client_secret = "{secret}"
grant_types = ["client_credentials"]
scope = ["read", "admin"]
[[authorization_server.client]]
client_id = "legacy"
client_secret = "{secret}"
grant_types = ["client_credentials"]
scope = ["read"]
dpop_bound_access_tokens = false
"#
    )
}

fn gateway_config(address: SocketAddr, issuer: SocketAddr, sample: SocketAddr) -> String {
    format!(
        r#"
[listen]
address = "{address}"
admin = "127.0.0.1:0"
[[origin]]
url = "http://{address}"
[[issuer]]
url = "http://{issuer}"
audience = ["{AUDIENCE}"]
[[route]]
path = "/"
upstream = ["http://{sample}"]
scope = ["read"]
[[route]]
path = "/admin"
upstream = ["http://{sample}"]
scope = ["admin"]
"#
    )
}

/// A request as it went over the wire.
#[derive(Clone)]
pub(super) struct Captured {
    url: String,
    pub(super) proof: String,
}

/// Sees what the client sends, as a thief on its machine or in a log would.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<Captured>>>);

impl Watch for Tap {
    fn sending(&self, _: &Method, url: &Url, fields: &HeaderMap) {
        if let Some(proof) = fields.get(&DPOP).and_then(|proof| proof.to_str().ok()) {
            let seen = Captured { url: url.to_string(), proof: proof.to_owned() };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        }
    }

    fn answered(&self, _: Version, _: StatusCode, _: &HeaderMap) {}
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap(..)")
    }
}

/// The body of every request the thief sends.
pub(super) fn no_body() -> Full<Bytes> {
    Full::default()
}
