//! A request and all that may come of it: a nonce demanded, a token refused, a redirect.

use std::convert::Infallible;
use std::fmt;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use keybound::challenge::DpopChallenge;
use keybound::client::{Answer, Attempt, Replay, Sent, Verdict, choose_alg, same_origin};
use keybound::crypto::AlgSet;
use keybound::nonce::Role;
use reqwest::Url;

use crate::bearer;
use crate::body::Body;
use crate::client::{Client, Core, Source, now};
use crate::error::{Demand, Error, Refused};
use crate::key::Holder;
use crate::response::Response;
use crate::tokens::{Held, Tokens};
use crate::transport::{RESERVED, Target, To, is_unseen};

/// A request to a protected resource, made by [`Client::request`].
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    method: Method,
    url: String,
    fields: HeaderMap,
    body: Body,
    within: Option<Within>,
}

/// Which redirects are followed.
struct Within(Box<dyn Fn(&Url) -> bool + Send + Sync>);

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Within(..)")
    }
}

impl RequestBuilder {
    pub(crate) fn new(client: Client, method: Method, url: &str) -> Self {
        Self { client, method, url: url.to_owned(), fields: HeaderMap::new(), body: Body::empty(), within: None }
    }

    /// Follows a redirect only to a URL of which `inside` says so, and within the origin as ever. Any other is the answer.
    pub fn redirects_within(mut self, inside: impl Fn(&Url) -> bool + Send + Sync + 'static) -> Self {
        self.within = Some(Within(Box::new(inside)));
        self
    }

    /// Adds a field. `Authorization`, `DPoP`, `Host` and the fields of framing are this client's own.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.append(name, value);
        self
    }

    /// The body: octets, or a [stream](Body::stream), which is sent once only.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it, with a proof of its own each time it is sent: again with a nonce if the server demands one, again with a
    /// new token if the server refuses the one it got, and on to where the server redirects within its origin.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the server refuses the token or the proof for good; others as their names say.
    pub async fn send(self) -> Result<Response, Error> {
        let core = &*self.client.core;
        if let Some(name) = RESERVED.into_iter().find(|name| self.fields.contains_key(name)) {
            return Err(Error::Field(name));
        }
        let mut target = Target::parse(&self.url)?;
        let mut exchange = Exchange { core, method: self.method, fields: self.fields, body: self.body, tries: 0 };
        let mut hops = 0;
        loop {
            let response = exchange.with(&target).await?;
            if core.redirects == 0 || !is_redirect(response.status()) {
                return Ok(exchange.finish(response, target));
            }
            let next = target.join(response.headers())?;
            if !same_origin(target.uri(), next.uri()) {
                let (from, to) = (target.uri().clone(), next.uri().origin().into());
                let response = Box::new(exchange.finish(response, target));
                return Err(Error::RedirectAcross { from, to, response });
            }
            if self.within.as_ref().is_some_and(|Within(inside)| !inside(next.url())) {
                return Ok(exchange.finish(response, target));
            }
            exchange.follow(response.status(), &target, hops)?;
            core.transport.discard(response).await;
            target = next;
            hops += 1;
        }
    }
}

/// Those that name another place; 300 and 304 are answers.
const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What is sent, as it stands after the redirects so far.
struct Exchange<'c> {
    core: &'c Core,
    method: Method,
    fields: HeaderMap,
    body: Body,
    tries: u32,
}

impl Exchange<'_> {
    /// The answer of one target, with a token of its own.
    async fn with(&mut self, target: &Target) -> Result<reqwest::Response, Error> {
        let core = self.core;
        target.permitted(core.plain)?; // before a token is asked for in vain
        let response = match &core.source {
            Source::One(tokens) => return self.authorized(target, tokens).await,
            Source::Discovered(discovered) => match discovered.of(target) {
                Some(tokens) => return self.authorized(target, &tokens).await,
                None => self.bare(target).await?,
            },
        };
        let Source::Discovered(discovered) = &core.source else { return Ok(response) };
        if response.status() != StatusCode::UNAUTHORIZED || self.body.replay() == Replay::Impossible {
            return Ok(response);
        }
        match discovered.ask(target, response.headers(), core).await? {
            None => Ok(response),
            Some(tokens) => {
                core.transport.discard(response).await;
                self.authorized(target, &tokens).await
            }
        }
    }

    /// The same with one of these tokens, and with another one if it is refused (R-CLI-16).
    async fn authorized(&mut self, target: &Target, tokens: &Tokens) -> Result<reqwest::Response, Error> {
        let core = self.core;
        let held = tokens.current(core).await?;
        let (mut response, mut trouble) = self.attempt(target, &held).await?;
        if self.body.replay() == Replay::Possible {
            let another = match &trouble {
                Some(Trouble::Demand(Demand::Token)) => tokens.renewed(&held, core).await?,
                Some(Trouble::Algs(algs)) => tokens.rebound(&held, *algs, target.uri().origin(), core).await?,
                _ => None,
            };
            if let Some(another) = another {
                core.transport.discard(response).await;
                (response, trouble) = self.attempt(target, &another).await?;
            }
        }
        match trouble {
            None => Ok(response),
            Some(Trouble::Demand(demand)) => {
                let response = self.finish(response, target.clone());
                Err(Error::Refused(Box::new(Refused::new(demand, response))))
            }
            Some(Trouble::Algs(theirs)) => {
                let ours = [held.holder.alg()].into_iter().collect();
                match choose_alg(ours, &[theirs]) {
                    Err(lists) => Err(Error::NoCommonAlg { server: target.uri().origin().into(), lists }),
                    Ok(_) => Ok(response), // not so: it was looked at before
                }
            }
        }
    }

    /// The answer to a request with this token; once again, with a new proof (R-CLI-01), if the server did not look at it.
    async fn attempt(&mut self, target: &Target, held: &Held) -> Result<(reqwest::Response, Option<Trouble>), Error> {
        match self.attempt_once(target, held).await {
            Err(error) if is_unseen(&error) && self.body.replay() == Replay::Possible => {
                self.attempt_once(target, held).await
            }
            done => done,
        }
    }

    /// One request with this token, and a second one if a nonce is demanded (R-NONCE-19).
    async fn attempt_once(
        &mut self,
        target: &Target,
        held: &Held,
    ) -> Result<(reqwest::Response, Option<Trouble>), Error> {
        let core = self.core;
        let origin = target.uri().origin();
        if !held.token.is_bound() || core.bearer.wants(origin) {
            return self.as_bearer(target, held).await;
        }
        let method = self.method.clone();
        let first = Attempt::at_resource(&method, target.permitted(core.plain)?, held.token.credentials());
        let (sent, response) = self.prove(target, &held.holder, first).await?;
        let answer = Answer::new(response.status(), response.headers());
        let verdict = sent.learn(&core.servers, answer, self.body.replay(), now());
        let challenge = DpopChallenge::find(response.headers());
        let algs = challenge.as_ref().and_then(DpopChallenge::algs).filter(|algs| !algs.contains(held.holder.alg()));
        let retry = match (verdict, algs) {
            // No proof of this key can do better (R-CLI-13).
            (Verdict::RetryOnce(_) | Verdict::TokenRefused | Verdict::ProofRefused, Some(algs)) => {
                return Ok((response, Some(Trouble::Algs(algs))));
            }
            (Verdict::RetryOnce(retry), None) => retry,
            (Verdict::Done, _) if challenge.is_none() && core.bearer.learn(origin, &response) => {
                if self.body.replay() == Replay::Impossible {
                    return Ok((response, None));
                }
                core.transport.discard(response).await;
                return self.as_bearer(target, held).await;
            }
            (other, _) => return Ok((response, demand(&other))),
        };
        core.transport.discard(response).await;
        let (sent, response) = self.prove(target, &held.holder, retry).await?;
        let answer = Answer::new(response.status(), response.headers());
        let verdict: Verdict<Infallible> = sent.learn(&core.servers, answer, now());
        Ok((response, demand(&verdict)))
    }

    async fn prove<'r, T>(
        &mut self,
        target: &Target,
        holder: &Holder,
        attempt: Attempt<'r, T>,
    ) -> Result<(Sent<'r, T>, reqwest::Response), Error> {
        let sent = holder.prove(attempt, &self.core.servers).await?;
        let mut fields = self.fields.clone();
        sent.apply(&mut fields);
        let response = self.send(target, fields).await?;
        Ok((sent, response))
    }

    /// One request without a proof, for a server that knows of none, by leave of whoever built the client (R-CLI-11).
    async fn as_bearer(&mut self, target: &Target, held: &Held) -> Result<(reqwest::Response, Option<Trouble>), Error> {
        let mut fields = self.fields.clone();
        fields.insert(AUTHORIZATION, held.token.bearer());
        let response = self.send(target, fields).await?;
        self.core.servers.learn(target.uri().origin(), Role::ResourceServer, response.headers(), now());
        let refused = response.status() == StatusCode::UNAUTHORIZED && bearer::refuses_token(response.headers());
        Ok((response, refused.then_some(Trouble::Demand(Demand::Token))))
    }

    /// One request without a token: there is none for this resource yet.
    async fn bare(&mut self, target: &Target) -> Result<reqwest::Response, Error> {
        let response = self.send(target, self.fields.clone()).await?;
        self.core.servers.learn(target.uri().origin(), Role::ResourceServer, response.headers(), now());
        Ok(response)
    }

    async fn send(&mut self, target: &Target, fields: HeaderMap) -> Result<reqwest::Response, Error> {
        let gone = || Error::BodyGone(target.uri().clone());
        let body = self.body.emit().ok_or_else(gone)?;
        self.tries += 1;
        self.core.transport.send(To::Resource, &self.method, target, fields, body).await
    }

    /// Makes this the request of the next hop (RFC 9110 section 15.4, R-CLI-18).
    fn follow(&mut self, status: StatusCode, from: &Target, hops: usize) -> Result<(), Error> {
        if hops >= self.core.redirects {
            return Err(Error::Redirects { limit: self.core.redirects, at: from.uri().clone() });
        }
        let rewrites = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if rewrites {
            self.method = Method::GET;
            self.body = Body::empty();
            for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE] {
                self.fields.remove(name);
            }
        }
        Ok(())
    }

    fn finish(&self, response: reqwest::Response, target: Target) -> Response {
        Response::new(response, target, self.tries, self.core.transport.limits())
    }
}

/// What keeps an answer from being one.
enum Trouble {
    /// For another token or the caller to deal with.
    Demand(Demand),
    /// The server takes proofs by these algorithms, and the key of the token has another.
    Algs(AlgSet),
}

fn demand<R>(verdict: &Verdict<R>) -> Option<Trouble> {
    let demand = match verdict {
        Verdict::Challenged(why) => Demand::Nonce(*why),
        Verdict::TokenRefused => Demand::Token,
        Verdict::ProofRefused => Demand::Proof,
        Verdict::ScopeInsufficient => Demand::Scope,
        _ => return None,
    };
    Some(Trouble::Demand(demand))
}
