//! Metadata of authorization servers (RFC 8414, OpenID Connect Discovery).

use http::{HeaderMap, HeaderValue, Method, StatusCode, header::ACCEPT};
use keybound::client::{PlainHttp, ServerMemory, choose_alg};
use keybound::crypto::{Alg, AlgSet};
use keybound::jws::json::{Object, Value};
use keybound::nonce::Role;

use crate::client::now;
use crate::error::{Error, MetadataFault, visible};
use crate::transport::{Target, Transport};

/// The largest metadata that is read.
const MAX_METADATA: usize = 256 * 1024;

/// What a client needs of it.
#[derive(Clone)]
pub(crate) struct Metadata {
    issuer: Box<str>,
    token_endpoint: Target,
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
            let response = transport
                .send(&Method::GET, &target, fields, reqwest::Body::default())
                .await?;
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
        Ok(Self {
            issuer: issuer.into(),
            token_endpoint,
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

    /// Whether the issuer takes proofs signed with `alg`, as far as it says (R-CLI-13).
    pub(crate) fn accept(&self, alg: Alg) -> Result<(), Error> {
        accept(self.token_endpoint.uri().origin(), alg, self.algs)
    }
}

/// Whether `alg` is on the list of `server`, if it has one.
pub(crate) fn accept(server: &str, alg: Alg, theirs: Option<AlgSet>) -> Result<(), Error> {
    match choose_alg([alg].into_iter().collect(), theirs.as_slice()) {
        Ok(_) => Ok(()),
        Err(lists) => Err(Error::NoCommonAlg {
            server: server.into(),
            lists,
        }),
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
fn names<'o>(object: &'o Object<'_>, name: &str) -> Option<Vec<&'o str>> {
    let array = object.get(name)?.as_array()?;
    Some(array.iter().filter_map(Value::as_str).collect())
}

fn fault(issuer: &str, fault: MetadataFault) -> Error {
    let issuer = issuer.into();
    Error::Metadata { issuer, fault }
}
