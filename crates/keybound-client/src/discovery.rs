//! Which issuer a resource takes tokens from (RFC 9728): from the challenge of a 401, or from where its metadata is known to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Those of one server: it may call each of its addresses a resource, and those of others stay.
const MAX_OF_SERVER: usize = 64;

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
    resources: RwLock<Vec<Known>>,
    /// Counts what is looked up, to tell what was used last.
    turn: AtomicU64,
    asking: tokio::sync::Mutex<()>,
}

struct Known {
    resource: Target,
    tokens: Arc<Tokens>,
    /// At which turn they were used last.
    used: AtomicU64,
}

/// What metadata says that a client needs.
struct Found {
    resource: Target,
    /// As it is spelled there: that is what its issuers know it by.
    name: Box<str>,
    issuers: Vec<Box<str>>,
    scopes: Option<String>,
    algs: Option<AlgSet>,
}

impl Discovered {
    pub(crate) fn new(choose: Box<dyn Choose>, store: Option<Arc<dyn TokenStore>>) -> Self {
        let (resources, turn) = (RwLock::default(), AtomicU64::default());
        Self { choose, store, resources, turn, asking: tokio::sync::Mutex::default() }
    }

    /// The tokens for the resource that `target` belongs to; of several, the one with the longest name.
    pub(crate) fn of(&self, target: &Target) -> Option<Arc<Tokens>> {
        let resources = self.resources.read();
        let known = resources.iter().filter(|known| covers(&known.resource, target));
        let known = known.max_by_key(|known| known.resource.uri().path().len())?;
        known.used.store(self.turn.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(Arc::clone(&known.tokens))
    }

    /// Keeps tokens for this resource: in place of those that were used least lately, of the same server if it has its part.
    fn keep(&self, resource: Target, tokens: Arc<Tokens>) {
        let mut resources = self.resources.write();
        let is_of_it = |known: &Known| same_origin(known.resource.uri(), resource.uri());
        let has_its_part = resources.iter().filter(|known| is_of_it(known)).count() >= MAX_OF_SERVER;
        if has_its_part || resources.len() >= MAX_RESOURCES {
            let others = resources.iter().enumerate().filter(|(_, known)| !has_its_part || is_of_it(known));
            let least = others.min_by_key(|(_, known)| known.used.load(Ordering::Relaxed)).map(|(at, _)| at);
            least.map(|at| resources.swap_remove(at));
        }
        let used = self.turn.fetch_add(1, Ordering::Relaxed).into();
        resources.push(Known { resource, tokens, used });
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
        if let Some(algs) = found.algs {
            core.keys.choose(found.resource.uri().origin(), &[algs])?; // or no issuer can help
        }
        let Some(mut access) = found.issuers.iter().find_map(|issuer| self.choose.choose(issuer)) else {
            let at = found.resource.uri().as_str().into();
            return Err(Error::Resource { at, fault: ResourceFault::NoIssuer(found.issuers) });
        };
        if access.scope.is_none() {
            access.scope = scope.or(found.scopes).map(Into::into);
        }
        if access.resources.is_empty() {
            access.resources.push(found.name);
        }
        let tokens = Arc::new(Tokens::issued(access, self.store.clone(), found.algs));
        self.keep(found.resource, Arc::clone(&tokens));
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
        name: name.into(),
        resource,
    })
}

/// Whether metadata of `resource` stands at `place` (section 3.1).
fn stands_at(resource: &Target, place: &Target) -> bool {
    let path = place.uri().path().strip_prefix(WELL_KNOWN);
    same_origin(resource.uri(), place.uri())
        && path.is_some_and(|path| path.trim_end_matches('/') == resource.uri().path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(server: &str, path: usize) -> Target {
        Target::parse(&format!("https://{server}.example/{path}")).unwrap()
    }

    fn keep(discovered: &Discovered, target: Target) {
        let access = Access::client_credentials("https://id.example.com", "job");
        discovered.keep(target, Arc::new(Tokens::issued(access, None, None)));
    }

    #[test]
    fn a_server_of_many_resources_leaves_those_of_others() {
        let discovered = Discovered::new(Box::new(|_: &str| None), None);
        keep(&discovered, target("good", 0));
        for path in 0..2 * MAX_RESOURCES {
            keep(&discovered, target("many", path));
            assert!(discovered.of(&target("many", 0)).is_some(), "what is in use stays");
        }
        assert!(discovered.of(&target("good", 0)).is_some());
        assert!(discovered.of(&target("many", 1)).is_none());
        assert_eq!(discovered.resources.read().len(), 1 + MAX_OF_SERVER);
    }

    #[test]
    fn what_was_used_least_lately_makes_room() {
        let discovered = Discovered::new(Box::new(|_: &str| None), None);
        for server in 0..MAX_RESOURCES {
            keep(&discovered, target(&format!("s{server}"), 0));
        }
        assert!(discovered.of(&target("s0", 0)).is_some());
        keep(&discovered, target("new", 0));
        assert_eq!(discovered.resources.read().len(), MAX_RESOURCES);
        let [first, second, new] = ["s0", "s1", "new"].map(|server| discovered.of(&target(server, 0)).is_some());
        assert_eq!((first, second, new), (true, false, true));
    }
}
