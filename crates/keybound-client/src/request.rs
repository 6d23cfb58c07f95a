//! A request and all that may come of it: a nonce demanded, a token refused, a redirect.

use std::convert::Infallible;

use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use keybound::challenge::DpopChallenge;
use keybound::client::{Answer, Attempt, Replay, Sent, Verdict, same_origin};

use crate::body::Body;
use crate::client::{Client, Core, jti, now};
use crate::error::{Demand, Error, Refused};
use crate::metadata::accept;
use crate::response::Response;
use crate::token::Token;
use crate::transport::{RESERVED, Target};

/// A request to a protected resource, made by [`Client::request`].
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Client,
    method: Method,
    url: String,
    fields: HeaderMap,
    body: Body,
}

impl RequestBuilder {
    pub(crate) fn new(client: Client, method: Method, url: &str) -> Self {
        Self {
            client,
            method,
            url: url.to_owned(),
            fields: HeaderMap::new(),
            body: Body::empty(),
        }
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
        let mut exchange = Exchange {
            core,
            method: self.method,
            fields: self.fields,
            body: self.body,
            tries: 0,
        };
        let mut hops = 0;
        loop {
            let response = exchange.with(&target).await?;
            if core.redirects == 0 || !is_redirect(response.status()) {
                return Ok(exchange.finish(response, target));
            }
            let next = target.join(response.headers())?;
            exchange.follow(response.status(), &target, &next, hops)?;
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
    /// The answer of one target, with a new token if it refuses the first (R-CLI-16).
    async fn with(&mut self, target: &Target) -> Result<reqwest::Response, Error> {
        let core = self.core;
        target.permitted(core.plain)?; // before a token is asked for in vain
        let token = core.tokens.current(core).await?;
        let (response, demand) = self.attempt(target, &token).await?;
        let (response, demand) = match demand {
            Some(Demand::Token) if self.body.replay() == Replay::Possible => {
                match core.tokens.renewed(&token, core).await? {
                    Some(token) => {
                        core.transport.discard(response).await;
                        self.attempt(target, &token).await?
                    }
                    None => (response, demand),
                }
            }
            _ => (response, demand),
        };
        match demand {
            None => Ok(response),
            Some(demand) => {
                let response = self.finish(response, target.clone());
                Err(Error::Refused(Box::new(Refused::new(demand, response))))
            }
        }
    }

    /// One request with this token, and a second one if a nonce is demanded (R-NONCE-19).
    async fn attempt(&mut self, target: &Target, token: &Token) -> Result<(reqwest::Response, Option<Demand>), Error> {
        let core = self.core;
        let method = self.method.clone();
        let first = Attempt::at_resource(&method, target.permitted(core.plain)?, token.credentials());
        let (sent, response) = self.send(target, first).await?;
        let answer = Answer::new(response.status(), response.headers());
        let retry = match sent.learn(&core.servers, answer, self.body.replay(), now()) {
            Verdict::RetryOnce(retry) => retry,
            other => return Ok((response, demand(&other))),
        };
        let algs = DpopChallenge::find(response.headers()).and_then(|challenge| challenge.algs());
        accept(target.uri().origin(), core.key.alg(), algs)?;
        core.transport.discard(response).await;
        let (sent, response) = self.send(target, retry).await?;
        let answer = Answer::new(response.status(), response.headers());
        let verdict: Verdict<Infallible> = sent.learn(&core.servers, answer, now());
        Ok((response, demand(&verdict)))
    }

    async fn send<'r, T>(
        &mut self,
        target: &Target,
        attempt: Attempt<'r, T>,
    ) -> Result<(Sent<'r, T>, reqwest::Response), Error> {
        let core = self.core;
        let sent = attempt
            .prove(&core.prover, &core.servers, jti()?, now())
            .sign(&*core.key)?;
        let mut fields = self.fields.clone();
        sent.apply(&mut fields);
        let gone = || Error::BodyGone(target.uri().clone());
        let body = self.body.emit().ok_or_else(gone)?;
        self.tries += 1;
        let response = core.transport.send(&self.method, target, fields, body).await?;
        Ok((sent, response))
    }

    /// Makes this the request of the next hop (RFC 9110 section 15.4, R-CLI-18).
    fn follow(&mut self, status: StatusCode, from: &Target, to: &Target, hops: usize) -> Result<(), Error> {
        if !same_origin(from.uri(), to.uri()) {
            return Err(Error::RedirectAcross {
                from: from.uri().clone(),
                to: to.uri().origin().into(),
            });
        }
        if hops >= self.core.redirects {
            return Err(Error::Redirects {
                limit: self.core.redirects,
                at: from.uri().clone(),
            });
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

/// What is left for the caller to deal with.
fn demand<R>(verdict: &Verdict<R>) -> Option<Demand> {
    match verdict {
        Verdict::Challenged(why) => Some(Demand::Nonce(*why)),
        Verdict::TokenRefused => Some(Demand::Token),
        Verdict::ProofRefused => Some(Demand::Proof),
        Verdict::ScopeInsufficient => Some(Demand::Scope),
        _ => None,
    }
}
