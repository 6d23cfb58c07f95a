//! What is decided about a request before anybody looks at its body, the same for the gateway and for the decision listener:
//! public origin, path, route, policy, and the answer to who is kept out.

mod lenient;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_METHODS, ALLOW, CONTENT_ENCODING, ORIGIN};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use keybound::refusal::{Denial, Reason, Refusal};
use keybound::request::{Origin, Presented, RequestPath, authority};
use keybound_tower::{Access, Cors, Judgement, Policy};

use crate::answer::Problem;
use crate::attestation::Statement;
use crate::body::Body;
use crate::config::{AmbiguousPaths, ProofHandling, Route};
use crate::engine::Engine;
use crate::observe::Watch;
use crate::proxy::Identity;

pub(crate) use self::lenient::Lenient;

/// Where a request goes by its path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage<'e> {
    /// The position of the route.
    pub(crate) number: usize,
    pub(crate) route: &'e Route,
    pub(crate) policy: &'e Policy,
    /// Whether servers that read the path in another way would take it for that of another route.
    pub(crate) disputed: bool,
}

impl Engine {
    /// The position of the origin that a request came to, and its path in normal form. `forwarded` is the host that a trusted
    /// peer says the client aimed at; without one, `Host` chooses among several origins.
    pub(crate) fn arrival<'p>(
        &self,
        parts: &'p Parts,
        forwarded: Option<&str>,
    ) -> Result<(usize, RequestPath<'p>), Refusal> {
        let origins = self.server.origins();
        let origin = match forwarded {
            Some(host) => authority(parts).and_then(|_| origins.choose_by(host))?,
            None => origins.choose(parts)?,
        };
        let position = origins.iter().position(|one| one == origin).unwrap_or_default();
        Ok((position, RequestPath::parse(parts.uri.path())?))
    }

    /// The route for a path at an origin.
    pub(crate) fn passage(&self, origin: usize, path: &RequestPath<'_>) -> Option<Passage<'_>> {
        let number = self.config.routes.iter().position(|route| route.path.covers(path.as_str()))?;
        let disputed = self.lenient.disputes(number, path);
        Some(Passage { number, route: &self.config.routes[number], policy: &self.policies[origin][number], disputed })
    }

    /// Decides about credentials, for a request to the origin at this position.
    pub(crate) async fn judge(&self, parts: &Parts, origin: usize, policy: &Policy) -> Judgement {
        self.server.decide(parts, self.origin(origin), policy).await
    }

    /// What is found where nobody is refused: the client, too, of whoever would have been before it was known.
    pub(crate) async fn report(&self, parts: &Parts, judgement: Judgement) -> Judgement {
        self.server.name_client(parts, judgement).await
    }

    fn origin(&self, position: usize) -> &Origin {
        self.server.origins().iter().nth(position).expect("the position is of this very list")
    }

    /// The answer to who is denied.
    pub(crate) fn deny(&self, denial: &Denial, judgement: &Judgement, policy: &Policy) -> Response<Body> {
        self.server.answer(denial, judgement, policy).map(|text| Body::from(Bytes::from(text)))
    }

    /// A refusal that has to do with neither token nor proof.
    pub(crate) fn refuse(
        &self,
        parts: &Parts,
        refusal: Refusal,
        policy: &Policy,
        cors: &Cors,
        watch: &Watch<'_>,
    ) -> Response<Body> {
        watch.refused(refusal.clone());
        let denial = Denial::from(refusal);
        let judgement = Judgement::denied(&parts.headers, denial.clone());
        let mut response = self.deny(&denial, &judgement, policy);
        cors.expose(response.headers_mut(), parts.headers.get(ORIGIN));
        response
    }
}

/// Browsers are told of the method that they ask about, if the route serves it.
pub(crate) fn answer_preflight(cors: &Cors, parts: &Parts, route: &Route) -> Response<Body> {
    let mut response = cors.answer_preflight(parts).map(|()| Body::empty());
    let fields = response.headers_mut();
    let asked = fields.get(ACCESS_CONTROL_ALLOW_METHODS).map(|method| Method::from_bytes(method.as_bytes()));
    if asked.is_some_and(|method| method.is_ok_and(|method| !route.serves(&method))) {
        fields.remove(ACCESS_CONTROL_ALLOW_METHODS);
    }
    response
}

impl Route {
    /// Whether requests with this method are served. `HEAD` is `GET` without the body (RFC 9110 section 9.3.2).
    fn serves(&self, method: &Method) -> bool {
        let has = |method: &Method| self.methods.contains(method);
        self.methods.is_empty() || has(method) || (*method == Method::HEAD && has(&Method::GET))
    }
}

impl Passage<'_> {
    /// The answer to a method that the route does not serve (RFC 9110 section 15.5.6), unless a browser asks which it does.
    pub(crate) fn method_unlisted(&self, parts: &Parts, cors: &Cors) -> Option<Response<Body>> {
        if self.route.serves(&parts.method) || cors.asks(parts).is_some() {
            return None;
        }
        let mut allowed: Vec<&str> = self.route.methods.iter().map(Method::as_str).collect();
        if self.route.serves(&Method::HEAD) && !allowed.contains(&"HEAD") {
            allowed.push("HEAD");
        }
        let mut response = Problem::MethodUnlisted.answer();
        let value = HeaderValue::try_from(allowed.join(", ")).expect("methods are tokens");
        response.headers_mut().insert(ALLOW, value);
        Some(response)
    }

    /// The very form that the route was chosen by, and the query as it came.
    pub(crate) fn target(&self, uri: &Uri, path: RequestPath<'_>) -> Result<Uri, Refusal> {
        let path = match self.route.ambiguous_paths {
            AmbiguousPaths::Allow => path,
            AmbiguousPaths::Refuse if self.disputed => {
                let detail = "servers that decode it, or drop parameters and empty segments, would take the path for another route's";
                return Err(Refusal::with_detail(Reason::PathAmbiguous, detail));
            }
            AmbiguousPaths::Refuse => path.unambiguous()?,
        };
        if uri.path() == path.as_str() {
            return Ok(uri.clone());
        }
        let target = match uri.query() {
            Some(query) => format!("{}?{query}", path.as_str()),
            None => path.as_str().to_owned(),
        };
        Ok(PathAndQuery::try_from(target).map_or_else(|_| uri.clone(), Uri::from))
    }
}

impl Engine {
    /// What an upstream is told of who got in, with a signed statement where the route wants one.
    pub(crate) fn identity(
        &self,
        access: &Access,
        parts: &Parts,
        origin: usize,
        route: &Route,
    ) -> Result<Identity, Problem> {
        let identity = identity(access);
        let Some(attestor) = self.attestor.as_ref().filter(|_| route.proof == ProofHandling::Attest) else {
            return Ok(identity);
        };
        let origin = self.origin(origin);
        let path = RequestPath::parse(parts.uri.path()).map_err(|_| Problem::AttestationFailed)?;
        let token = Presented::token_of(&parts.headers).ok_or(Problem::AttestationFailed)?;
        let statement = attestor.sign(&Statement {
            issuer: origin.as_str(),
            audience: &route.attestation_audience,
            method: &parts.method,
            target: origin.target(&path).as_str(),
            token_hash: token.hash(),
            facts: access.facts(),
            jkt: access.admission().map(|admission| admission.jkt()),
        })?;
        Ok(identity.attestation(&statement))
    }
}

fn identity(access: &Access) -> Identity {
    let facts = access.facts();
    let scope = facts.scopes().collect::<Vec<_>>().join(" ");
    let identity =
        Identity::default().subject(facts.subject()).client(facts.client_id()).scope(&scope).issuer(facts.issuer());
    match access.admission() {
        Some(admission) => identity.jkt(&admission.jkt().to_string()),
        None => identity,
    }
}

/// Whether the body is compressed or otherwise not what it will be once somebody reads it.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|field| !field.as_bytes().eq_ignore_ascii_case(b"identity"))
}
