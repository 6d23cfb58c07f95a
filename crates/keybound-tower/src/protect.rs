//! The layer: every request is decided about before the service behind sees it, and every answer leaves complete.

mod body;
mod future;

use core::fmt;
use core::mem;
use core::task::{Context, Poll};
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use keybound::nonce::Nonce;
use keybound::refusal::Denial;
use keybound::replay::ReplayStore;
use tower_layer::Layer;
use tower_service::Service;

pub use self::body::ProtectBody;
pub use self::future::ProtectFuture;
use crate::answer::complete;
use crate::{Cors, Judgement, Policy, Preflight, ProofHandling, ResourceServer};

/// Protects the service behind it, under one policy. The same layer serves axum, hyper and tonic.
///
/// An admitted request carries [`Admission`](keybound::token::Admission) in its extensions, or
/// [`UnboundToken`](keybound::token::UnboundToken) where the policy serves bearer tokens; any that were there before are
/// taken out. A refused one never reaches the service: it is answered here, and the answer's extensions hold the
/// [`Denial`]. A proof covers neither the body nor other fields of a request (RFC 9449 section 11.7). Bodies are not read,
/// for what type they have is the service's to say: a token that is sent in a form is not noticed here, and a service that
/// reads forms refuses it ([`form_holds_token`](keybound::request::form_holds_token)).
///
/// Routers that strip a prefix from the path before this layer sees it, as axum's `nest` does, must say what the client
/// aimed at: see [`ProtectLayer::target`].
pub struct ProtectLayer<S> {
    settings: Arc<Settings<S>>,
}

struct Settings<S> {
    server: ResourceServer<S>,
    policy: Policy,
    cors: Arc<Cors>,
    target: Option<fn(&Parts) -> Option<Uri>>,
}

impl<S> ProtectLayer<S> {
    /// Protects by this server, under this policy. Pages of any origin may ask: see [`ProtectLayer::cors`].
    pub fn new(server: ResourceServer<S>, policy: Policy) -> Self {
        Self { settings: Arc::new(Settings { server, policy, cors: Arc::new(Cors::any()), target: None }) }
    }

    /// Which pages may use this resource from a browser; [`Cors::any`] unless set.
    #[must_use]
    pub fn cors(self, cors: Cors) -> Self {
        self.with(|settings| settings.cors = Arc::new(cors))
    }

    /// Where to find the target of the request as it arrived, if something in front has rewritten it. In axum:
    ///
    /// ```
    /// # use http::request::Parts;
    /// # struct OriginalUri(http::Uri);
    /// # impl Clone for OriginalUri { fn clone(&self) -> Self { Self(self.0.clone()) } }
    /// # fn layer(layer: keybound_tower::ProtectLayer<keybound::replay::MemoryStore>) {
    /// // use axum::extract::OriginalUri;
    /// let layer = layer.target(|parts| parts.extensions.get::<OriginalUri>().map(|uri| uri.0.clone()));
    /// # }
    /// ```
    #[must_use]
    pub fn target(self, find: fn(&Parts) -> Option<Uri>) -> Self {
        self.with(|settings| settings.target = Some(find))
    }

    fn with(self, change: impl FnOnce(&mut Settings<S>)) -> Self {
        let mut settings = Arc::unwrap_or_clone(self.settings);
        change(&mut settings);
        Self { settings: Arc::new(settings) }
    }
}

/// What to do to the answer of the service behind.
#[derive(Debug)]
struct Finish {
    nonce: Option<Nonce>,
    proof: ProofHandling,
    cors: Arc<Cors>,
    origin: Option<HeaderValue>,
}

impl Finish {
    fn apply(&self, headers: &mut HeaderMap) {
        complete(headers, self.nonce.as_ref(), self.proof);
        self.cors.expose(headers, self.origin.as_ref());
    }
}

impl<S: ReplayStore> Settings<S> {
    /// The request for the service behind and what its answer needs, or the answer at once.
    async fn decide(&self, mut parts: Parts) -> Result<(Parts, Finish), Response<String>> {
        let aimed = self.target.and_then(|find| find(&parts));
        let arrived = aimed.map(|aimed| mem::replace(&mut parts.uri, aimed));
        let judgement = match self.server.origins().choose(&parts) {
            Ok(origin) => self.server.decide(&parts, origin, &self.policy).await,
            Err(refusal) => Judgement::denied(&parts.headers, refusal),
        };
        if let Some(arrived) = arrived {
            parts.uri = arrived;
        }
        let origin = parts.headers.get(http::header::ORIGIN).cloned();
        if let Err(denial) = judgement.result() {
            log(denial, &judgement);
            let mut response = self.server.answer(denial, &judgement, &self.policy);
            self.cors.expose(response.headers_mut(), origin.as_ref());
            return Err(response);
        }
        let finish = Finish {
            nonce: judgement.nonce().cloned(),
            proof: self.policy.proof_handling(),
            cors: Arc::clone(&self.cors),
            origin,
        };
        if let Ok(access) = judgement.into_result() {
            access.attach(&mut parts.extensions);
        }
        Ok((parts, finish))
    }
}

/// The detail is for the operator: it is said here and to nobody else.
fn log(denial: &Denial, judgement: &Judgement) {
    match denial {
        Denial::Failed(fault) => tracing::warn!(code = fault.code(), "a request could not be decided about"),
        _ => tracing::info!(
            code = denial.code(),
            detail = match denial {
                Denial::Refused(refusal) => refusal.detail(),
                _ => None,
            },
            client = judgement.client_id(),
            jkt = judgement.jkt().map(tracing::field::display),
            iat_offset = judgement.iat_offset(),
            "refused a request"
        ),
    }
}

impl<S, I> Layer<I> for ProtectLayer<S> {
    type Service = Protect<I, S>;

    fn layer(&self, inner: I) -> Protect<I, S> {
        Protect { inner, settings: Arc::clone(&self.settings) }
    }
}

/// A service behind a [`ProtectLayer`].
pub struct Protect<I, S> {
    inner: I,
    settings: Arc<Settings<S>>,
}

impl<I, S, B, R> Service<Request<B>> for Protect<I, S>
where
    I: Service<Request<B>, Response = Response<R>> + Clone,
    S: ReplayStore + 'static,
{
    type Response = Response<ProtectBody<R>>;
    type Error = I::Error;
    type Future = ProtectFuture<I, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> ProtectFuture<I, B> {
        let (parts, body) = request.into_parts();
        let settings = &self.settings;
        match settings.cors.asks(&parts) {
            Some(Preflight::Here) => {
                return ProtectFuture::answered(settings.cors.answer_preflight(&parts).map(|()| String::new()));
            }
            Some(Preflight::Inner) => {
                let finish = Finish {
                    nonce: None,
                    proof: ProofHandling::Check,
                    cors: Arc::clone(&settings.cors),
                    origin: parts.headers.get(http::header::ORIGIN).cloned(),
                };
                let future = self.inner.call(Request::from_parts(parts, body));
                return ProtectFuture::serving(future, finish);
            }
            None => {}
        }
        let settings = Arc::clone(settings);
        // The service that said it was ready is the one to call.
        let next = self.inner.clone();
        let ready = mem::replace(&mut self.inner, next);
        ProtectFuture::deciding(Box::pin(async move { settings.decide(parts).await }), body, ready)
    }
}

impl<S> Clone for Settings<S> {
    fn clone(&self) -> Self {
        Self {
            server: self.server.clone(),
            policy: self.policy.clone(),
            cors: Arc::clone(&self.cors),
            target: self.target,
        }
    }
}

impl<S> Clone for ProtectLayer<S> {
    fn clone(&self) -> Self {
        Self { settings: Arc::clone(&self.settings) }
    }
}

impl<I: Clone, S> Clone for Protect<I, S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: Arc::clone(&self.settings) }
    }
}

impl<S> fmt::Debug for Settings<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("server", &self.server)
            .field("policy", &self.policy)
            .field("cors", &self.cors)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for ProtectLayer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProtectLayer").field(&self.settings).finish()
    }
}

impl<I: fmt::Debug, S> fmt::Debug for Protect<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protect").field("inner", &self.inner).field("settings", &self.settings).finish()
    }
}
