//! Which issuer a resource takes tokens from (RFC 9728): from the challenge of a 401, or from where its metadata is known to be.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keybound::client::same_origin;
use keybound::crypto::{Alg, AlgSet};
use keybound::jws::json::{Object, Value};
use keybound::nonce::Role;
use parking_lot::RwLock;

use crate::access::Access;
use crate::bearer::challenges;
use crate::client::{Core, now};
use crate::error::{Error, ResourceFault, visible};
use crate::metadata::names;
use crate::token::TokenStore;
use crate::tokens::Tokens;
use crate::transport::{Target, To};

/// The largest metadata that is read.
const MAX_METADATA: usize = 256 * 1024;

/// Resources that one client keeps tokens for.
const MAX_RESOURCES: usize = 1024;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Says how to get tokens from an issuer that a resource names, if it is to be trusted.
pub trait Choose: Send + Sync {
    /// `None` if tokens are not to be got there.
    fn choose(&self, issuer: &str) -> Option<Access>;
}

impl<F: Fn(&str) -> Option<Access> + Send + Sync> Choose for F {
    fn choose(&self, issuer: &str) -> Option<Access> {
        self(issuer)
    }
}

/// What was found so far.
pub(crate) struct Discovered {
    choose: Box<dyn Choose>,
    store: Option<Arc<dyn TokenStore>>,
    resources: RwLock<Vec<(Target, Arc<Tokens>)>>,
    asking: tokio::sync::Mutex<()>,
}

/// What metadata says that a client needs.
struct Found {
    resource: Target,
    issuers: Vec<Box<str>>,
    scopes: Option<String>,
    algs: Option<AlgSet>,
}

impl Discovered {
    pub(crate) fn new(choose: Box<dyn Choose>, store: Option<Arc<dyn TokenStore>>) -> Self {
        Self { choose, store, resources: RwLock::default(), asking: tokio::sync::Mutex::default() }
    }

    /// The tokens for the resource that `target` belongs to; of several, the one with the longest name.
    pub(crate) fn of(&self, target: &Target) -> Option<Arc<Tokens>> {
        let resources = self.resources.read();
        let known = resources.iter().filter(|(resource, _)| covers(resource, target));
        known.max_by_key(|(resource, _)| resource.uri().path().len()).map(|(_, tokens)| Arc::clone(tokens))
    }

    /// Finds out where tokens for `target` come from, which answered 401 with these fields. `None` if nobody says.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        headers: &HeaderMap,
        core: &Core,
    ) -> Result<Option<Arc<Tokens>>, Error> {
        let _turn = self.asking.lock().await; // many requests at once ask once
        if let Some(tokens) = self.of(target) {
            return Ok(Some(tokens));
        }
        let named = challenges(headers).find_map(|challenge| challenge.param("resource_metadata").map(str::to_owned));
        let scope = challenges(headers).find_map(|challenge| challenge.param("scope").map(str::to_owned));
        let found = match named {
            Some(at) => Some(fetch(&at, target, core).await?),
            None => look(target, core).await?,
        };
        let Some(found) = found else { return Ok(None) };
        let at: Box<str> = found.resource.uri().as_str().into();
        let Some(mut access) = found.issuers.iter().find_map(|issuer| self.choose.choose(issuer)) else {
            return Err(Error::Resource { at, fault: ResourceFault::NoIssuer(found.issuers) });
        };
        if access.scope.is_none() {
            access.scope = scope.or(found.scopes).map(Into::into);
        }
        if access.resources.is_empty() {
            access.resources.push(found.resource.url().as_str().into());
        }
        let tokens = Arc::new(Tokens::issued(access, self.store.clone(), found.algs));
        let mut resources = self.resources.write();
        if resources.len() >= MAX_RESOURCES {
            return Err(Error::Resource { at, fault: ResourceFault::TooMany });
        }
        resources.push((found.resource, Arc::clone(&tokens)));
        Ok(Some(tokens))
    }
}

/// Whether `resource` is an ancestor of `target`, or it itself.
fn covers(resource: &Target, target: &Target) -> bool {
    let (above, below) = (resource.uri().path().trim_end_matches('/'), target.uri().path());
    let rest = below.strip_prefix(above);
    same_origin(resource.uri(), target.uri()) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Looks where metadata of `target` would be: for its path, then for all of its server.
async fn look(target: &Target, core: &Core) -> Result<Option<Found>, Error> {
    let (origin, path) = (target.uri().origin(), target.uri().path().trim_end_matches('/'));
    let mut places = vec![format!("{origin}{WELL_KNOWN}{path}")];
    if !path.is_empty() {
        places.push(format!("{origin}{WELL_KNOWN}"));
    }
    for place in places {
        match fetch(&place, target, core).await {
            Err(Error::Resource { fault: ResourceFault::Status(_), .. }) => {}
            found => return found.map(Some),
        }
    }
    Ok(None)
}

/// Reads the metadata at `at`, which must be about `target` (R-CLI-24).
async fn fetch(at: &str, target: &Target, core: &Core) -> Result<Found, Error> {
    let place = Target::parse(at)?;
    let fault = |fault| Error::Resource { at: visible(place.uri().as_str()).into(), fault };
    if !same_origin(place.uri(), target.uri()) {
        return Err(fault(ResourceFault::Elsewhere));
    }
    place.permitted(core.plain)?;
    let mut fields = HeaderMap::new();
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let response = core.transport.send(To::Resource, &Method::GET, &place, fields, reqwest::Body::default()).await?;
    let origin = place.uri().origin();
    core.servers.learn(origin, Role::ResourceServer, response.headers(), now());
    if response.status() != StatusCode::OK {
        let status = response.status();
        core.transport.discard(response).await;
        return Err(fault(ResourceFault::Status(status)));
    }
    let text = core.transport.read(response, origin, MAX_METADATA).await?;
    let object = Object::parse(&text).map_err(|_| fault(ResourceFault::Json))?;
    let name = object.get("resource").and_then(Value::as_str).unwrap_or_default();
    let other = || fault(ResourceFault::OtherResource(visible(name).into()));
    let resource = Target::parse(name).map_err(|_| other())?;
    // Section 3.3: what was asked for, which is the resource whose metadata stands there, or the very URL of the request.
    if name != target.url().as_str() && !(stands_at(&resource, &place) && covers(&resource, target)) {
        return Err(other());
    }
    Ok(Found {
        issuers: names(&object, "authorization_servers").unwrap_or_default().into_iter().map(Into::into).collect(),
        scopes: names(&object, "scopes_supported").map(|scopes| scopes.join(" ")).filter(|scopes| !scopes.is_empty()),
        algs: names(&object, "dpop_signing_alg_values_supported")
            .map(|names| names.into_iter().filter_map(Alg::from_name).collect()),
        resource,
    })
}

/// Whether metadata of `resource` stands at `place` (section 3.1).
fn stands_at(resource: &Target, place: &Target) -> bool {
    let path = place.uri().path().strip_prefix(WELL_KNOWN);
    same_origin(resource.uri(), place.uri())
        && path.is_some_and(|path| path.trim_end_matches('/') == resource.uri().path().trim_end_matches('/'))
}
