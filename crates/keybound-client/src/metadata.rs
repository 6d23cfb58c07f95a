//! Metadata of authorization servers (RFC 8414, OpenID Connect Discovery).

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::ACCEPT};
use keybound::client::{PlainHttp, ServerMemory};
use keybound::crypto::{Alg, AlgSet};
use keybound::jws::json::{Object, Value};
use keybound::nonce::Role;

use crate::client::now;
use crate::error::{Error, MetadataFault, visible};
use crate::transport::{Target, To, Transport};

/// The largest metadata that is read.
const MAX_METADATA: usize = 256 * 1024;

/// What a client needs of it.
#[derive(Clone)]
pub(crate) struct Metadata {
    issuer: Box<str>,
    token_endpoint: Target,
    authorization_endpoint: Option<Target>,
    pushed_authorization_endpoint: Option<Target>,
    device_authorization_endpoint: Option<Target>,
    registration_endpoint: Option<Target>,
    /// Whether PKCE with S256 is taken, as far as it says.
    s256: bool,
    /// Whether its answers to logins name it (RFC 9207).
    named: bool,
    algs: Option<AlgSet>,
    /// Whether secrets are taken in `Authorization`, which is what silence means (RFC 8414 section 2).
    basic: bool,
}

impl Metadata {
    /// Asks the issuer, at the address of RFC 8414 and then at that of OpenID Connect.
    pub(crate) async fn discover(
        issuer: &str,
        transport: &Transport,
        servers: &ServerMemory,
        plain: PlainHttp,
    ) -> Result<Self, Error> {
        let base = Target::parse(issuer)?;
        base.permitted(plain)?;
        let mut statuses = [StatusCode::OK; 2];
        for (position, address) in addresses(&base).into_iter().enumerate() {
            let target = Target::parse(&address)?;
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
            let response = transport.send(To::Issuer, &Method::GET, &target, fields, reqwest::Body::default()).await?;
            let origin = target.uri().origin();
            servers.learn(origin, Role::AuthorizationServer, response.headers(), now());
            if response.status() != StatusCode::OK {
                statuses[position] = response.status();
                continue;
            }
            let text = transport.read(response, origin, MAX_METADATA).await?;
            return Self::read(issuer, &text, plain);
        }
        let [oauth, openid] = statuses;
        Err(fault(issuer, MetadataFault::Absent { oauth, openid }))
    }

    fn read(issuer: &str, text: &[u8], plain: PlainHttp) -> Result<Self, Error> {
        let object = Object::parse(text).map_err(|_| fault(issuer, MetadataFault::Json))?;
        let member = |name: &'static str| {
            let text = object.get(name).and_then(Value::as_str);
            text.ok_or_else(|| fault(issuer, MetadataFault::Member(name)))
        };
        let found = member("issuer")?;
        if found != issuer {
            return Err(fault(issuer, MetadataFault::OtherIssuer(visible(found).into())));
        }
        let endpoint = member("token_endpoint")?;
        let token_endpoint =
            Target::parse(endpoint).map_err(|_| fault(issuer, MetadataFault::Member("token_endpoint")))?;
        token_endpoint.permitted(plain)?;
        let methods = names(&object, "token_endpoint_auth_methods_supported");
        // What is not there, or cannot be used, is missed when it is needed.
        let endpoint = |name| {
            let target = Target::parse(object.get(name)?.as_str()?).ok()?;
            target.permitted(plain).is_ok().then_some(target)
        };
        Ok(Self {
            issuer: issuer.into(),
            token_endpoint,
            authorization_endpoint: endpoint("authorization_endpoint"),
            pushed_authorization_endpoint: endpoint("pushed_authorization_request_endpoint"),
            device_authorization_endpoint: endpoint("device_authorization_endpoint"),
            registration_endpoint: endpoint("registration_endpoint"),
            s256: names(&object, "code_challenge_methods_supported").is_none_or(|methods| methods.contains(&"S256")),
            named: matches!(object.get("authorization_response_iss_parameter_supported"), Some(Value::Bool(true))),
            algs: names(&object, "dpop_signing_alg_values_supported")
                .map(|names| names.into_iter().filter_map(Alg::from_name).collect()),
            basic: methods.is_none_or(|methods| {
                methods.contains(&"client_secret_basic") || !methods.contains(&"client_secret_post")
            }),
        })
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    pub(crate) const fn token_endpoint(&self) -> &Target {
        &self.token_endpoint
    }

    pub(crate) const fn takes_basic(&self) -> bool {
        self.basic
    }

    /// Where browsers go, if PKCE holds there.
    pub(crate) fn authorization_endpoint(&self) -> Result<&Target, Error> {
        if !self.s256 {
            return Err(fault(&self.issuer, MetadataFault::Member("S256 of code_challenge_methods_supported")));
        }
        self.needed("authorization_endpoint", self.authorization_endpoint.as_ref())
    }

    pub(crate) const fn pushed_authorization_endpoint(&self) -> Option<&Target> {
        self.pushed_authorization_endpoint.as_ref()
    }

    pub(crate) fn device_authorization_endpoint(&self) -> Result<&Target, Error> {
        self.needed("device_authorization_endpoint", self.device_authorization_endpoint.as_ref())
    }

    pub(crate) fn registration_endpoint(&self) -> Result<&Target, Error> {
        self.needed("registration_endpoint", self.registration_endpoint.as_ref())
    }

    fn needed<'t>(&self, name: &'static str, target: Option<&'t Target>) -> Result<&'t Target, Error> {
        target.ok_or_else(|| fault(&self.issuer, MetadataFault::Member(name)))
    }

    /// Whether answers to logins without `iss` are none of this issuer's.
    pub(crate) const fn names_itself(&self) -> bool {
        self.named
    }

    /// The algorithms of proofs that the issuer takes, as far as it says (R-CLI-13).
    pub(crate) const fn algs(&self) -> Option<AlgSet> {
        self.algs
    }
}

/// RFC 8414 section 3.1 puts the well-known part before the path of the issuer, OpenID Connect Discovery behind it.
fn addresses(issuer: &Target) -> [String; 2] {
    let origin = issuer.uri().origin();
    let path = issuer.uri().path().trim_end_matches('/');
    [
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}{path}/.well-known/openid-configuration"),
    ]
}

/// A member that is an array of strings; other elements are passed over.
pub(crate) fn names<'o>(object: &'o Object<'_>, name: &str) -> Option<Vec<&'o str>> {
    let array = object.get(name)?.as_array()?;
    Some(array.iter().filter_map(Value::as_str).collect())
}

fn fault(issuer: &str, fault: MetadataFault) -> Error {
    let issuer = issuer.into();
    Error::Metadata { issuer, fault }
}
