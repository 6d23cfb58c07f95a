//! The same over any HTTP client that is a tower service: token, proof, nonce, and the retries they ask for.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Empty, Full};
use keybound::challenge::DpopChallenge;
use keybound::client::{Answer, Attempt, Replay, Verdict};
use keybound::crypto::AlgSet;
use keybound::nonce::Role;
use tower_layer::Layer;
use tower_service::Service;

use crate::bearer::refuses_token;
use crate::client::{Client, Source, now};
use crate::error::Error;
use crate::tokens::{Held, Tokens};
use crate::transport::Target;

/// A body that may be sent again from its start (R-CLI-17).
pub trait Again: Sized {
    /// The same body once more; `None` if it is gone once it is sent.
    fn again(&self) -> Option<Self>;
}

impl<D: Buf + Clone> Again for Full<D> {
    fn again(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<D> Again for Empty<D> {
    fn again(&self) -> Option<Self> {
        Some(Self::new())
    }
}

/// A body that is sent once only: a stream.
#[derive(Clone, Copy, Debug)]
pub struct Once<B>(B);

impl<B> Once<B> {
    /// This body, once.
    pub const fn new(body: B) -> Self {
        Self(body)
    }
}

impl<B> Again for Once<B> {
    fn again(&self) -> Option<Self> {
        None
    }
}

impl<B: Body + Unpin> Body for Once<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Puts token and proof of a [`Client`] on the requests of another HTTP client, by the same rules: the newest nonce, one retry on
/// `use_dpop_nonce`, one with another token on `invalid_token` or where proofs by another algorithm are wanted, and a resource asked
/// for its issuer where the [`Client`] discovers that. Tokens are got by the [`Client`] itself. The answer comes back whatever it is,
/// also where no key of the [`Client`] has an algorithm that is wanted; but for a token that was called for and could not be got.
///
/// # Security
///
/// The inner client must neither follow redirects nor send a request again by itself: token and proof would go along.
#[derive(Clone, Debug)]
pub struct ProveLayer {
    client: Client,
}

impl ProveLayer {
    /// With the keys, tokens and nonces of `client`.
    pub const fn new(client: Client) -> Self {
        Self { client }
    }
}

impl<S> Layer<S> for ProveLayer {
    type Service = Prove<S>;

    fn layer(&self, inner: S) -> Prove<S> {
        Prove { client: self.client.clone(), inner }
    }
}

/// An HTTP client whose requests have token and proof. It is made by [`ProveLayer`].
#[derive(Clone, Debug)]
pub struct Prove<S> {
    client: Client,
    inner: S,
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// There is no token, or no proof, or the target is none they may go to.
    Client(Error),
    /// The inner client failed.
    Inner(E),
}

impl<E> From<Error> for ProveError<E> {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl<E: fmt::Display> fmt::Display for ProveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ProveError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(_) => None,
            Self::Inner(error) => Some(error),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Prove<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Again + Send + Sync + 'static,
    R: Send + 'static,
{
    type Response = Response<R>;
    type Error = ProveError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(ProveError::Inner)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is the one to use.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        let calling = Calling { client: self.client.clone(), inner: Some(inner), next: self.inner.clone() };
        Box::pin(calling.run(request))
    }
}

/// One request and its retries.
struct Calling<S> {
    client: Client,
    /// Ready for the first request.
    inner: Option<S>,
    /// For those after it.
    next: S,
}

impl<S> Calling<S> {
    async fn run<B, R>(mut self, request: Request<B>) -> Result<Response<R>, ProveError<S::Error>>
    where
        S: Service<Request<B>, Response = Response<R>>,
        B: Again,
    {
        let client = self.client.clone();
        let core = &*client.core;
        let target = Target::parse(&request.uri().to_string())?;
        target.permitted(core.plain)?;
        let discovered = match &core.source {
            Source::One(tokens) => return self.authorized(request, &target, tokens).await,
            Source::Discovered(discovered) => discovered,
        };
        if let Some(tokens) = discovered.of(&target) {
            return self.authorized(request, &target, &tokens).await;
        }
        let spare = copy(&request);
        let (head, body) = self.send(request, |_| {}).await?.into_parts();
        core.servers.learn(target.uri().origin(), Role::ResourceServer, &head.headers, now());
        if let Some(spare) = spare.filter(|_| head.status == StatusCode::UNAUTHORIZED)
            && let Some(tokens) = discovered.ask(&target, &head.headers, core).await?
        {
            return self.authorized(spare, &target, &tokens).await;
        }
        Ok(Response::from_parts(head, body))
    }

    /// The answer to a request with one of these tokens, and with another one if it is refused (R-CLI-16).
    async fn authorized<B, R>(
        &mut self,
        request: Request<B>,
        target: &Target,
        tokens: &Tokens,
    ) -> Result<Response<R>, ProveError<S::Error>>
    where
        S: Service<Request<B>, Response = Response<R>>,
        B: Again,
    {
        let client = self.client.clone();
        let core = &*client.core;
        let held = tokens.current(core).await?;
        let spare = copy(&request);
        let (response, next) = self.attempt(request, target, &held).await?;
        let Some(spare) = spare else { return Ok(response) };
        let another = match next {
            Next::Done => None,
            Next::Token => tokens.renewed(&held, core).await?,
            Next::Algs(algs) => match tokens.rebound(&held, algs, target.uri().origin(), core).await {
                // The answer names those that are wanted.
                Err(Error::NoCommonAlg { .. }) => None,
                another => another?,
            },
        };
        let Some(another) = another else { return Ok(response) };
        drop(response);
        self.attempt(spare, target, &another).await.map(|(response, _)| response)
    }

    /// One request with this token, and a second one if a nonce is demanded (R-NONCE-19).
    async fn attempt<B, R>(
        &mut self,
        request: Request<B>,
        target: &Target,
        held: &Held,
    ) -> Result<(Response<R>, Next), ProveError<S::Error>>
    where
        S: Service<Request<B>, Response = Response<R>>,
        B: Again,
    {
        let client = self.client.clone();
        let core = &*client.core;
        let method: Method = request.method().clone();
        let spare = copy(&request);
        if !held.token.is_bound() {
            let bearer = |fields: &mut HeaderMap| drop(fields.insert(AUTHORIZATION, held.token.bearer()));
            let response = self.send(request, bearer).await?;
            core.servers.learn(target.uri().origin(), Role::ResourceServer, response.headers(), now());
            let refused = response.status() == StatusCode::UNAUTHORIZED && refuses_token(response.headers());
            return Ok((response, if refused { Next::Token } else { Next::Done }));
        }
        let permitted = target.permitted(core.plain)?;
        let first = Attempt::at_resource(&method, permitted, held.token.credentials());
        let sent = held.holder.prove(first, &core.servers).await?;
        let response = self.send(request, |fields| sent.apply(fields)).await?;
        let answer = Answer::new(response.status(), response.headers());
        let replay = if spare.is_some() { Replay::Possible } else { Replay::Impossible };
        let verdict = sent.learn(&core.servers, answer, replay, now());
        let algs = DpopChallenge::find(response.headers()).and_then(|challenge| challenge.algs());
        let (retry, spare) = match (verdict, algs.filter(|algs| !algs.contains(held.holder.alg())), spare) {
            // No proof of this key can do better (R-CLI-13).
            (Verdict::RetryOnce(_) | Verdict::TokenRefused | Verdict::ProofRefused, Some(algs), _) => {
                return Ok((response, Next::Algs(algs)));
            }
            (Verdict::RetryOnce(retry), None, Some(spare)) => (retry, spare),
            (Verdict::TokenRefused, ..) => return Ok((response, Next::Token)),
            _ => return Ok((response, Next::Done)),
        };
        drop(response);
        let sent = held.holder.prove(retry, &core.servers).await?;
        let response = self.send(spare, |fields| sent.apply(fields)).await?;
        let answer = Answer::new(response.status(), response.headers());
        let verdict: Verdict<Infallible> = sent.learn(&core.servers, answer, now());
        let next = if verdict == Verdict::TokenRefused { Next::Token } else { Next::Done };
        Ok((response, next))
    }

    async fn send<B, R>(
        &mut self,
        mut request: Request<B>,
        apply: impl FnOnce(&mut HeaderMap),
    ) -> Result<Response<R>, ProveError<S::Error>>
    where
        S: Service<Request<B>, Response = Response<R>>,
    {
        apply(request.headers_mut());
        if let Some(mut ready) = self.inner.take() {
            return ready.call(request).await.map_err(ProveError::Inner);
        }
        std::future::poll_fn(|context| self.next.poll_ready(context)).await.map_err(ProveError::Inner)?;
        self.next.call(request).await.map_err(ProveError::Inner)
    }
}

/// What an answer asks for.
enum Next {
    Done,
    /// Another token.
    Token,
    /// Proofs by one of these algorithms, which the key of the token does not have.
    Algs(AlgSet),
}

/// The same request once more, if its body can be sent again.
fn copy<B: Again>(request: &Request<B>) -> Option<Request<B>> {
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
