//! What the gateway says of the resources behind it (RFC 9728): which issuers' tokens they take, with which scopes, and that
//! tokens are bound to keys.
//!
//! A resource goes by the name that tokens have in `aud`, and by RFC 9728 section 3.3 that name is the address its metadata
//! was found under. So every name in an `audience` of the configuration that is a URL at a declared origin is a resource,
//! octet for octet; and every declared origin is one, by the name an audience has for it, else as it is declared.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use keybound::crypto::AlgSet;
use keybound::request::{Origin, TargetUri};
use keybound_tower::Cors;
use serde_json::{Map, Value};

use crate::body::Body;
use crate::config::{Config, Issuer, Mode, Route};

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// How long caches may keep metadata: a reload may change it.
const PUBLIC_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Whose tokens are accepted, and what `aud` may say in them.
#[derive(Clone, Debug)]
pub(crate) struct Accepted<'c> {
    pub(crate) issuer: &'c str,
    pub(crate) audience: Vec<&'c str>,
}

impl<'c> Accepted<'c> {
    pub(crate) fn of(issuer: &'c Issuer) -> Self {
        Self { issuer: issuer.url.as_str(), audience: issuer.audience.iter().map(String::as_str).collect() }
    }

    fn is_taken_by_any(&self, routes: &[&Route]) -> bool {
        let takes = |route: &&Route| route.issuers.is_empty() || route.issuers.iter().any(|name| name == self.issuer);
        routes.iter().any(takes)
    }
}

/// One resource at one of the declared origins.
#[derive(Debug)]
pub(crate) struct Resource {
    /// The position of its origin.
    origin: usize,
    /// As in `aud`.
    name: Box<str>,
    /// Below the origin and the prefix that a front proxy strips, as routes see it; empty for the origin itself.
    below: Box<str>,
    /// Where its metadata is.
    path: Box<str>,
    location: Box<str>,
    document: Bytes,
}

impl Resource {
    /// Every resource at `origin`, itself first; none if nothing is checked.
    pub(crate) fn at(
        origin: &Origin,
        position: usize,
        config: &Config,
        accepted: &[Accepted<'_>],
        algs: AlgSet,
    ) -> Vec<Self> {
        let checked: Vec<&Route> = config.routes.iter().filter(|route| route.mode != Mode::Open).collect();
        if checked.is_empty() {
            return Vec::new();
        }
        let of_issuers = accepted.iter().flat_map(|accepted| accepted.audience.iter().copied());
        let of_routes = checked.iter().flat_map(|route| route.audience.iter().map(String::as_str));
        let mut names: Vec<Name<'_>> = Vec::new();
        for name in of_issuers.chain(of_routes).filter_map(|name| Name::at(origin, name)) {
            if names.iter().all(|known| known.path != name.path) {
                names.push(name);
            }
        }
        if !names.iter().any(Name::is_origin) {
            let declared = config.origins.get(position).map_or(origin.as_str(), |url| url.as_str());
            names.extend(Name::at(origin, declared));
            tracing::warn!(
                resource = declared,
                "no audience names this origin: tokens that clients get for it pass only if their issuer gives them an \
                 audience of the configuration; otherwise name it in issuer.audience"
            );
        }
        names.sort_by_key(|name| name.below.len());
        let own = |name: Name<'_>| {
            // The longest prefix serves it, and no shorter one.
            let serving = config.routes.iter().find(|route| route.path.covers(&name.below));
            let routes: Vec<&Route> = checked.iter().copied().filter(|route| name.is_of(route, serving)).collect();
            (name.is_origin() || !routes.is_empty()).then(|| name.describe(origin, position, &routes, accepted, algs))
        };
        names.into_iter().filter_map(own).collect()
    }

    /// Whether this path at this origin is where its metadata is.
    pub(crate) fn is_described_at(&self, origin: usize, path: &str) -> bool {
        self.origin == origin && *self.path == *path
    }

    /// What the challenges of `route` name, of the resources at its origin.
    pub(crate) fn of_route<'r>(resources: &'r [Self], origin: usize, route: &Route) -> Option<&'r Self> {
        let fits = |resource: &&Self| {
            let named = route.audience.iter().any(|name| **name == *resource.name);
            let covers = route.audience.is_empty() && lies_under(route.path.as_str(), &resource.below);
            resource.origin == origin && (named || covers || resource.below.is_empty())
        };
        resources.iter().filter(fits).max_by_key(|resource| resource.below.len())
    }

    /// The whole address of its metadata.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// The answer to a request for its metadata, which anybody may read and keep.
    pub(crate) fn answer(&self, parts: &Parts, cors: &Cors) -> Response<Body> {
        published(parts, cors, self.document.clone(), HeaderValue::from_static("application/json"))
    }
}

/// The answer to a request for what anybody may read and keep.
pub(crate) fn published(parts: &Parts, cors: &Cors, document: Bytes, media_type: HeaderValue) -> Response<Body> {
    if cors.asks(parts).is_some() {
        return cors.answer_preflight(parts).map(|()| Body::empty());
    }
    let mut response = if matches!(parts.method, Method::GET | Method::HEAD) {
        let mut response = Response::new(Body::from(document));
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response.headers_mut().insert(CACHE_CONTROL, PUBLIC_CACHE);
        response
    } else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        response
    };
    cors.expose(response.headers_mut(), parts.headers.get(ORIGIN));
    response
}

/// A name in `aud` that is a URL at an origin.
#[derive(Debug)]
struct Name<'n> {
    text: &'n str,
    /// In normal form; empty instead of a lone slash, which goes before the path is inserted (RFC 9728 section 3.1).
    path: Box<str>,
    below: Box<str>,
}

impl<'n> Name<'n> {
    fn at(origin: &Origin, text: &'n str) -> Option<Self> {
        let uri = TargetUri::parse(text).ok().filter(|uri| uri.origin() == origin.as_str())?;
        if text.contains(['?', '#']) || !lies_under(uri.path(), origin.prefix()) {
            return None;
        }
        let path = if uri.path() == "/" { "" } else { uri.path() };
        let below = path.strip_prefix(origin.prefix()).unwrap_or_default().trim_end_matches('/');
        Some(Self { text, below: below.into(), path: path.into() })
    }

    fn is_origin(&self) -> bool {
        self.below.is_empty()
    }

    /// Whether a route serves this resource, or some of it; `serving` is the one for its own path.
    fn is_of(&self, route: &Route, serving: Option<&Route>) -> bool {
        let named = route.audience.iter().any(|name| name == self.text);
        let path = route.path.as_str();
        let near = route.audience.is_empty()
            && (lies_under(path, &self.below) || serving.is_some_and(|serving| core::ptr::eq(serving, route)));
        self.is_origin() || named || near
    }

    fn describe(
        &self,
        origin: &Origin,
        position: usize,
        routes: &[&Route],
        accepted: &[Accepted<'_>],
        algs: AlgSet,
    ) -> Resource {
        let path = [WELL_KNOWN, &*self.path].concat();
        let location = [origin.as_str(), &*path].concat();
        let document = Value::Object(self.document(routes, accepted, algs)).to_string().into();
        Resource {
            origin: position,
            name: self.text.into(),
            below: self.below.clone(),
            path: path.into(),
            location: location.into(),
            document,
        }
    }

    /// The members of RFC 9728 section 2. A list with nothing in it is left out (R-MD-04).
    fn document(&self, routes: &[&Route], accepted: &[Accepted<'_>], algs: AlgSet) -> Map<String, Value> {
        let accepted = || accepted.iter().filter(|accepted| accepted.is_taken_by_any(routes));
        let takes = |issuer: &&Accepted<'_>| issuer.audience.contains(&self.text);
        let named = accepted().any(|issuer| takes(&issuer));
        let issuers: Vec<&str> =
            accepted().filter(|issuer| !named || takes(issuer)).map(|accepted| accepted.issuer).collect();
        let mut scopes: Vec<&str> = routes.iter().flat_map(|route| route.scope.iter().map(String::as_str)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let algs: Vec<&str> = algs.iter().map(|alg| alg.name()).collect();
        let mut members = Map::new();
        members.insert("resource".to_owned(), self.text.into());
        for (name, list) in [
            ("authorization_servers", issuers),
            ("scopes_supported", scopes),
            ("bearer_methods_supported", vec!["header"]),
            ("dpop_signing_alg_values_supported", algs),
        ] {
            if !list.is_empty() {
                members.insert(name.to_owned(), list.into());
            }
        }
        // R-RS-26: `optional` and `report` take unbound tokens.
        let required = routes.iter().all(|route| route.mode == Mode::Required);
        members.insert("dpop_bound_access_tokens_required".to_owned(), required.into());
        members
    }
}

/// Whether `path` is `prefix` or lies below it, in whole segments.
fn lies_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}
