//! A server whose every answer is a function of the request, and that keeps what it was sent.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, Method, StatusCode};
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Client, ClientBuilder, PlainHttp, Token};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) fields: HeaderMap,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().unwrap())
    }

    /// The claims of the one proof.
    pub(crate) fn proof(&self) -> Value {
        assert_eq!(self.fields.get_all("dpop").iter().count(), 1, "{self:?}");
        part(self.field("dpop").unwrap(), 1)
    }

    pub(crate) fn nonce(&self) -> Option<String> {
        self.proof()["nonce"].as_str().map(str::to_owned)
    }
}

/// A segment of a compact JWS.
pub(crate) fn part(jws: &str, position: usize) -> Value {
    let segment = jws.split('.').nth(position).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(segment.as_bytes()).unwrap()).unwrap()
}

type Script = dyn Fn(&Seen, usize) -> Response + Send + Sync;

/// A server on a port of its own, for as long as the runtime of the test lives.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// `script` is given a request and how many came before it.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, script): (_, Arc<Script>) = (Arc::clone(&seen), Arc::new(script));
        let app = axum::Router::new().fallback(move |request: Request| {
            let (log, script) = (Arc::clone(&log), Arc::clone(&script));
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
                let seen = Seen {
                    method: parts.method,
                    target: parts.uri.to_string(),
                    fields: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                };
                let before = {
                    let mut log = log.lock();
                    log.push(seen.clone());
                    log.len() - 1
                };
                script(&seen, before)
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// How many requests came for this path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen.lock().iter().filter(|seen| seen.target.split('?').next() == Some(path)).count()
    }
}

/// An answer with these fields.
pub(crate) fn answer(status: u16, fields: &[(&'static str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

/// 401 with this challenge.
pub(crate) fn challenge(challenge: &str, nonces: &[&str]) -> Response {
    let mut fields = vec![("www-authenticate", challenge)];
    fields.extend(nonces.iter().map(|nonce| ("dpop-nonce", *nonce)));
    answer(401, &fields, "refused")
}

pub(crate) const USE_NONCE: &str = r#"DPoP error="use_dpop_nonce", algs="ES256""#;

/// A client with a key and a token at hand.
pub(crate) fn with_token() -> ClientBuilder {
    key().token(Token::new("tok.en").unwrap())
}

/// A client with a key.
pub(crate) fn key() -> ClientBuilder {
    Client::builder(Arc::new(SoftwareKey::generate(Alg::Es256).unwrap())).plain_http(PlainHttp::Loopback)
}

/// A client that gets its tokens from the issuer at this address.
pub(crate) fn with_issuer(issuer: &str) -> ClientBuilder {
    key().access(Access::client_credentials(issuer, "job"))
}

/// Metadata of the issuer at `address`.
pub(crate) fn metadata(issuer: &str) -> Value {
    json!({ "issuer": issuer, "token_endpoint": format!("{issuer}/token"), "dpop_signing_alg_values_supported": ["ES256"] })
}

pub(crate) const METADATA: &str = "/.well-known/oauth-authorization-server";

pub(crate) fn token_response(text: &str, lifetime: u64) -> Response {
    let body = json!({ "access_token": text, "token_type": "DPoP", "expires_in": lifetime });
    answer(200, &[("content-type", "application/json")], body.to_string())
}

/// An issuer and a resource on one address: `resource` answers for what is not the issuer's.
pub(crate) async fn world(
    token: impl Fn(&Seen, usize) -> Response + Send + Sync + 'static,
    resource: impl Fn(&Seen, usize) -> Response + Send + Sync + 'static,
) -> Server {
    let asked = Mutex::new([0_usize; 2]);
    let next = move |which: usize| {
        let mut asked = asked.lock();
        asked[which] += 1;
        asked[which] - 1
    };
    Server::start(move |seen, _| match &*seen.target {
        METADATA => {
            let issuer = format!("http://{}", seen.field("host").unwrap());
            answer(200, &[], metadata(&issuer).to_string())
        }
        "/token" => token(seen, next(0)),
        _ => resource(seen, next(1)),
    })
    .await
}
