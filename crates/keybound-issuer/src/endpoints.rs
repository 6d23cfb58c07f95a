//! What the issuer answers at which path. A file for each endpoint; here is the way to them.

use core::time::Duration;
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
use crate::audit::{Entry, Refused};
use crate::config::Registration;
use crate::exchange;
use crate::metadata;
use crate::people::Connection;

mod account;
mod authorize;
pub(crate) mod device;
mod end_session;
mod introspect;
mod par;
mod register;
mod revoke;
mod sign_in;
mod token;
pub(crate) mod userinfo;

/// How long a pushed request is kept.
pub(crate) const PUSHED: Duration = par::LIFETIME;

/// How long a device's code is kept.
pub(crate) const DEVICES: Duration = device::KEPT;

/// How long caches may keep metadata.
const PUBLIC_CACHE: Duration = Duration::from_secs(300);

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
        .route(at.device_authorization.path(), route(Endpoint::DeviceAuthorization))
        .route(at.device.path(), route(Endpoint::Device))
        .route(at.introspect.path(), route(Endpoint::Introspect))
        .route(at.revoke.path(), route(Endpoint::Revoke))
        .route(at.userinfo.path(), route(Endpoint::Userinfo))
        .route(at.end_session.path(), route(Endpoint::EndSession))
        .route(&[at.sign_in.path(), "/{interaction}"].concat(), route(Endpoint::SignIn))
        .route(&[at.sign_in.path(), "/from/{provider}"].concat(), route(Endpoint::SignInFrom))
        .route(at.account.path(), route(Endpoint::Account))
        .route(at.passkeys.path(), route(Endpoint::Passkeys))
        .route(at.jwks.path(), route(Endpoint::Jwks))
        .route(&at.metadata, route(Endpoint::Metadata))
        .route(&at.openid, route(Endpoint::Metadata));
    if !matches!(state.config.registration, Registration::Off) {
        let one = [at.register.path(), "/{client}"].concat();
        router = router.route(at.register.path(), route(Endpoint::Register)).route(&one, route(Endpoint::Registered));
    }
    if !at.prefix.is_empty() {
        let below = [&*at.prefix, "/{*rest}"].concat();
        router = router.route(&at.prefix, route(Endpoint::Unknown)).route(&below, route(Endpoint::Unknown));
    }
    // Without it, handlers are put together anew for each request.
    router.with_state(())
}

#[derive(Clone, Copy)]
enum Endpoint {
    Token,
    Authorize,
    Par,
    DeviceAuthorization,
    Device,
    Introspect,
    Revoke,
    Register,
    Registered,
    Userinfo,
    EndSession,
    SignIn,
    SignInFrom,
    Account,
    Passkeys,
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
        let peer = parts.extensions.get::<Connection>().map(Connection::peer);
        let asks_first = parts.method == Method::OPTIONS && self.is_for_scripts();
        let mut response = match state.origins.choose(&parts) {
            Ok(_) if asks_first => answer::preflight(self.methods()),
            Ok(_) => self.dispatch(state, parts, body).await,
            Err(refusal) => exchange::refused_as_http(refusal),
        };
        // Whichever way the refusal was found, this is the one place where it is noted.
        if let Some(Refused { entry, detail, is_known }) = response.extensions_mut().remove() {
            let entry = entry.at(self.name(), peer);
            let entry = Entry { time: state.clock.now().as_secs(), ..entry };
            state.audit.refused(&state.store, Refused { entry, detail, is_known }).await;
        }
        if self.is_for_scripts() {
            answer::readable_anywhere(&mut response);
        }
        response
    }

    async fn dispatch(self, state: &State, parts: Parts, body: Body) -> Response {
        match (self, &parts.method) {
            (Self::Unknown, _) => answer::not_found(),
            (Self::Token, &Method::POST) => token::post(state, parts, body).await,
            (Self::Par, &Method::POST) => par::post(state, parts, body).await,
            (Self::DeviceAuthorization, &Method::POST) => device::post(state, parts, body).await,
            (Self::Introspect, &Method::POST) => introspect::post(state, parts, body).await,
            (Self::Revoke, &Method::POST) => revoke::post(state, parts, body).await,
            (Self::Register, &Method::POST) => register::post(state, parts, body).await,
            (Self::Registered, &Method::GET | &Method::PUT | &Method::DELETE) => {
                register::manage(state, parts, body).await
            }
            (Self::Userinfo, &Method::GET | &Method::POST) => userinfo::show(state, parts, body).await,
            (Self::Jwks, &Method::GET | &Method::HEAD) => match state.keys.jwks(state.clock.now()) {
                Ok((keys, fresh)) => answer::public(keys, fresh),
                Err(fault) => answer::failed(fault),
            },
            (Self::Metadata, &Method::GET | &Method::HEAD) => answer::public(metadata::of(state), PUBLIC_CACHE),
            // By themselves: what they hold is several times as much, and would be moved with each token request.
            _ if self.is_for_people() => Box::pin(self.show(state, parts, body)).await,
            _ => answer::method_not_allowed(self.methods()),
        }
    }

    /// Pages.
    async fn show(self, state: &State, parts: Parts, body: Body) -> Response {
        match (self, &parts.method) {
            (Self::Authorize, &Method::GET | &Method::POST) => authorize::visit(state, parts, body).await,
            (Self::Device, &Method::GET) => device::visit(state, parts).await,
            (Self::EndSession, &Method::GET | &Method::POST) => end_session::visit(state, parts, body).await,
            (Self::SignIn, &Method::GET | &Method::POST) => sign_in::visit(state, parts, body).await,
            (Self::SignInFrom, &Method::GET) => sign_in::come_back(state, parts).await,
            (Self::Account, &Method::GET | &Method::POST) => account::visit(state, parts, body).await,
            (Self::Passkeys, &Method::GET | &Method::HEAD) => account::script(),
            _ => answer::method_not_allowed(self.methods()),
        }
    }

    /// What it is called in the audit log and in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Authorize => "authorize",
            Self::Par => "par",
            Self::DeviceAuthorization => "device_authorization",
            Self::Device => "device",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Register | Self::Registered => "register",
            Self::Userinfo => "userinfo",
            Self::EndSession => "logout",
            Self::SignIn | Self::SignInFrom => "sign-in",
            Self::Account => "account",
            Self::Passkeys => "passkeys",
            Self::Jwks => "jwks",
            Self::Metadata => "metadata",
            Self::Unknown => "unknown",
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Token | Self::Par | Self::DeviceAuthorization | Self::Introspect | Self::Revoke | Self::Register => {
                "POST, OPTIONS"
            }
            Self::Registered => "GET, PUT, DELETE, OPTIONS",
            Self::Userinfo => "GET, POST, OPTIONS",
            Self::Authorize | Self::EndSession | Self::SignIn | Self::Account => "GET, POST",
            Self::Device | Self::SignInFrom => "GET",
            Self::Passkeys => "GET, HEAD",
            Self::Jwks | Self::Metadata => "GET, HEAD, OPTIONS",
            Self::Unknown => "OPTIONS",
        }
    }

    /// Where scripts of any page may call (R-AS-31); pages for people are for people alone.
    const fn is_for_scripts(self) -> bool {
        !self.is_for_people()
    }

    const fn is_for_people(self) -> bool {
        matches!(
            self,
            Self::Authorize
                | Self::Device
                | Self::EndSession
                | Self::SignIn
                | Self::SignInFrom
                | Self::Account
                | Self::Passkeys
        )
    }
}
