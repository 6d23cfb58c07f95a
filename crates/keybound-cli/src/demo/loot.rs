//! What a thief has: the token, everything that went over the wire, and a key of its own. Never the client's key; where a
//! proof of the client's is asked for here, it is one that was captured somewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, request};
use http_body_util::Full;
use keybound::challenge::DPOP;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer};

use super::cast::{AUDIENCE, Cast, no_body};
use super::draft::{Draft, now};
use super::wire::{self, Answer};
use crate::outcome::Failure;

type Result<T> = std::result::Result<T, Failure>;

/// What an attack makes: the request to send.
pub(super) type Sent = Request<Full<Bytes>>;

pub(super) struct Loot {
    gateway: SocketAddr,
    issuer: SocketAddr,
    /// The client's token.
    pub(super) token: String,
    /// Another one of the same client and key.
    pub(super) second_token: String,
    /// One for another service.
    pub(super) token_for_elsewhere: String,
    /// One that is bound to no key.
    pub(super) bearer_token: String,
    /// The proof of the client's last request, `GET /hello`, which got in.
    pub(super) captured: String,
    /// A proof with no nonce, signed by a clock that is ahead.
    pub(super) ahead: Option<String>,
    /// A nonce of the gateway, which gives one to everybody.
    pub(super) nonce: String,
    /// The thief's own key.
    pub(super) thief: SoftwareKey,
    client: Arc<SoftwareKey>,
    signing_key: SoftwareKey,
}

impl Loot {
    /// Everything there is to steal now.
    pub(super) async fn gather(cast: &Cast) -> Result<Self> {
        let captured = cast.captured("/hello").ok_or_else(|| Failure::failed("no request of the client was seen"))?;
        let mut loot = Self {
            gateway: cast.gateway(),
            issuer: cast.issuer(),
            token: cast.token().await?,
            second_token: cast.second_token().await?,
            token_for_elsewhere: cast.token_for_elsewhere().await?,
            bearer_token: cast.bearer_token().await?,
            captured: captured.proof,
            ahead: None,
            nonce: String::new(),
            thief: SoftwareKey::generate(Alg::Es256).map_err(Failure::failed)?,
            client: cast.key(),
            signing_key: cast.signing_key()?,
        };
        loot.nonce = loot.ask_for_nonce().await?;
        Ok(loot)
    }

    /// A nonce costs a proof by any key.
    async fn ask_for_nonce(&self) -> Result<String> {
        let proof = Draft::proof(&self.thief, "GET", &self.url("/hello"))?.for_token(&self.token);
        let answer = self.send(self.with_proof(&proof.signed(&self.thief)?)?).await?;
        answer.nonce.ok_or_else(|| Failure::failed("the gateway gave no nonce"))
    }

    pub(super) async fn send(&self, request: Sent) -> Result<Answer> {
        wire::send(self.gateway, request).await
    }

    /// A URL of the gateway.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway)
    }

    /// A request to the gateway, still without credentials.
    pub(super) fn request(&self, method: Method, path: &str) -> request::Builder {
        Request::builder().method(method).uri(path).header(HOST, self.gateway.to_string())
    }

    /// `GET /hello` with the stolen token and this proof.
    pub(super) fn with_proof(&self, proof: &str) -> Result<Sent> {
        self.with(&self.token, proof)
    }

    /// `GET /hello` with this token and this proof.
    pub(super) fn with(&self, token: &str, proof: &str) -> Result<Sent> {
        self.presenting(Method::GET, "/hello", token, proof)
    }

    /// Any request with a token and a proof.
    pub(super) fn presenting(&self, method: Method, path: &str, token: &str, proof: &str) -> Result<Sent> {
        let request = self.request(method, path).header(AUTHORIZATION, format!("DPoP {token}")).header(&DPOP, proof);
        request.body(no_body()).map_err(Failure::failed)
    }

    /// What the thief would sign for `GET /hello` with the stolen token: all of it right, but by another key.
    pub(super) fn own(&self) -> Result<Draft> {
        self.own_for(&self.token)
    }

    /// The same, with another token.
    pub(super) fn own_for(&self, token: &str) -> Result<Draft> {
        let draft = Draft::proof(&self.thief, "GET", &self.url("/hello"))?;
        Ok(draft.for_token(token).claim("nonce", &*self.nonce))
    }

    /// A proof for this URL that the client signed itself, after `change`: made for something else, or long ago.
    pub(super) fn of_client(&self, url: &str, token: &str, change: impl FnOnce(Draft) -> Draft) -> Result<String> {
        let draft = Draft::proof(&*self.client, "GET", url)?.for_token(token);
        change(draft).signed(&*self.client)
    }

    /// The client's public key, as every one of its proofs shows it.
    pub(super) fn client_key(&self) -> &dyn Signer {
        &*self.client
    }

    /// The right client's right request, by a clock that is ahead and without a nonce; the thief sees it too.
    pub(super) fn sign_ahead(&mut self, ahead: Duration) -> Result<Sent> {
        let iat = now().plus(ahead).as_secs();
        let proof = self.of_client(&self.url("/hello"), &self.token, |draft| draft.claim("iat", iat))?;
        let request = self.with_proof(&proof)?;
        self.ahead = Some(proof);
        Ok(request)
    }

    /// A token bound to the client's key that was good until an hour ago.
    pub(super) fn expired_token(&self) -> Result<String> {
        let ago = |hours: u64| now().minus(Duration::from_secs(3600 * hours)).as_secs();
        let token = self.draft_of_token(&self.signing_key, &self.client.thumbprint().to_string())?;
        token.claim("iat", ago(2)).claim("exp", ago(1)).signed(&self.signing_key)
    }

    /// A token that names the thief's key, signed by the thief.
    pub(super) fn homemade_token(&self) -> Result<String> {
        self.draft_of_token(&self.thief, &self.thief.thumbprint().to_string())?.signed(&self.thief)
    }

    fn draft_of_token(&self, key: &dyn Signer, jkt: &str) -> Result<Draft> {
        Draft::token(key, &format!("http://{}", self.issuer), AUDIENCE, jkt)
    }
}
