//! What the issuer answers at which path. A file for each endpoint; here is the way to them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use http::Method;
use http::request::Parts;

use crate::State;
use crate::answer;
use crate::exchange;

mod authorize;
mod par;
mod token;

/// How long caches may keep metadata and keys.
const PUBLIC_CACHE: &str = "public, max-age=300";

/// Routes at the public paths of the issuer.
pub(crate) fn router(state: &Arc<State>) -> Router {
    let at = &state.endpoints;
    let route = |endpoint: Endpoint| endpoint.route(state);
    let mut router = Router::new()
        // A path by RFC 3986 may begin a segment with a colon or a star.
        .without_v07_checks()
        .route(at.token.path(), route(Endpoint::Token))
        .route(at.authorize.path(), route(Endpoint::Authorize))
        .route(at.par.path(), route(Endpoint::Par))
        .route(at.jwks.path(), route(Endpoint::Jwks))
        .route(&at.metadata, route(Endpoint::Metadata))
        .route(&at.openid, route(Endpoint::Metadata));
    if !at.prefix.is_empty() {
        let below = [&*at.prefix, "/{*rest}"].concat();
        router = router.route(&at.prefix, route(Endpoint::Unknown)).route(&below, route(Endpoint::Unknown));
    }
    router
}

#[derive(Clone, Copy)]
enum Endpoint {
    Token,
    Authorize,
    Par,
    Jwks,
    Metadata,
    Unknown,
}

impl Endpoint {
    fn route(self, state: &Arc<State>) -> MethodRouter {
        let state = Arc::clone(state);
        any(move |request: Request| {
            let state = Arc::clone(&state);
            async move { self.answer(&state, request).await }
        })
    }

    async fn answer(self, state: &State, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let asks_first = parts.method == Method::OPTIONS && self.is_for_scripts();
        let mut response = match state.origins.choose(&parts) {
            Ok(_) if asks_first => answer::preflight(self.methods()),
            Ok(_) => self.dispatch(state, parts, body).await,
            Err(refusal) => exchange::refused_as_http(refusal),
        };
        if self.is_for_scripts() {
            answer::readable_anywhere(&mut response);
        }
        response
    }

    async fn dispatch(self, state: &State, parts: Parts, body: Body) -> Response {
        match (self, &parts.method) {
            (Self::Unknown, _) => answer::not_found(),
            (Self::Token, &Method::POST) => token::post(state, parts, body).await,
            (Self::Authorize, &Method::GET | &Method::POST) => authorize::visit(state, parts, body).await,
            (Self::Par, &Method::POST) => par::post(state, parts, body).await,
            (Self::Jwks, &Method::GET | &Method::HEAD) => answer::public(state.jwks.clone(), PUBLIC_CACHE),
            (Self::Metadata, &Method::GET | &Method::HEAD) => answer::public(state.metadata.clone(), PUBLIC_CACHE),
            _ => answer::method_not_allowed(self.methods()),
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Token | Self::Par => "POST, OPTIONS",
            Self::Authorize => "GET, POST",
            Self::Jwks | Self::Metadata => "GET, HEAD, OPTIONS",
            Self::Unknown => "OPTIONS",
        }
    }

    /// Where scripts of any page may call (R-AS-31); pages for people are for people alone.
    const fn is_for_scripts(self) -> bool {
        !matches!(self, Self::Authorize)
    }
}
