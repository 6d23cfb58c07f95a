//! Registration of a client with an issuer that lets anybody register (RFC 7591).

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keybound::client::Secret;
use keybound::jws::json::{Object, Value};
use keybound::nonce::Role;
use serde_json::json;

use crate::client::{Core, now};
use crate::error::{Error, visible};
use crate::metadata::Metadata;
use crate::transport::To;

/// The largest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What a client says of itself. It says that all its tokens are bound (R-CLI-23).
#[derive(Clone, Debug)]
#[must_use = "to be given to Client::register"]
pub struct Registration {
    name: Box<str>,
    redirect_uris: Vec<Box<str>>,
    grants: Vec<Box<str>>,
    scope: Option<Box<str>>,
    method: Box<str>,
}

/// A client that is registered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registered {
    /// Its identifier.
    pub client_id: Box<str>,
    /// Its secret, if it has one.
    pub secret: Option<Secret>,
}

impl Registration {
    /// A public client of this name for logins with a browser: authorization code and refresh tokens, answered at these URIs.
    pub fn native(name: impl Into<Box<str>>, redirect_uris: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        Self {
            name: name.into(),
            redirect_uris: redirect_uris.into_iter().map(Into::into).collect(),
            grants: ["authorization_code", "refresh_token"].map(Into::into).to_vec(),
            scope: None,
            method: "none".into(),
        }
    }

    /// The grants it uses, by their names in `grant_types`.
    pub fn grants(mut self, grants: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        self.grants = grants.into_iter().map(Into::into).collect();
        self
    }

    /// The scope it may ask for.
    pub fn scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How it authenticates, by the name in `token_endpoint_auth_method`; `none` unless set.
    pub fn authentication_method(mut self, method: impl Into<Box<str>>) -> Self {
        self.method = method.into();
        self
    }

    pub(crate) async fn send(&self, issuer: &str, core: &Core) -> Result<Registered, Error> {
        let metadata = Metadata::discover(issuer, &core.transport, &core.servers, core.plain).await?;
        let endpoint = metadata.registration_endpoint()?;
        let mut fields = HeaderMap::new();
        fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Bytes::from(self.document().to_string());
        let response = core.transport.send(To::Issuer, &Method::POST, endpoint, fields, body.into()).await?;
        let (status, origin) = (response.status(), endpoint.uri().origin());
        core.servers.learn(origin, Role::AuthorizationServer, response.headers(), now());
        let text = core.transport.read(response, origin, MAX_ANSWER).await?;
        let fault = |fault| Error::TokenResponse { issuer: issuer.into(), fault };
        let object =
            Object::parse(&text).map_err(|_| fault("its answer to the registration is not one JSON object"))?;
        let member = |name| object.get(name).and_then(Value::as_str);
        if !matches!(status, StatusCode::CREATED | StatusCode::OK) {
            let shown = |name| member(name).map(|text| visible(text).into());
            let (error, description) = (shown("error"), shown("error_description"));
            return Err(Error::TokenRefused { issuer: issuer.into(), status, error, description });
        }
        let client_id = member("client_id").ok_or_else(|| fault("its answer to the registration has no client_id"))?;
        Ok(Registered { client_id: client_id.into(), secret: member("client_secret").map(Secret::new) })
    }

    fn document(&self) -> serde_json::Value {
        let mut document = json!({
            "client_name": self.name,
            "application_type": "native",
            "redirect_uris": self.redirect_uris,
            "grant_types": self.grants,
            "response_types": if self.redirect_uris.is_empty() { json!([]) } else { json!(["code"]) },
            "token_endpoint_auth_method": self.method,
            "dpop_bound_access_tokens": true,
        });
        if let Some(scope) = &self.scope {
            document["scope"] = json!(scope);
        }
        document
    }
}
