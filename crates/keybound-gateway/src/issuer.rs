//! The issuer alone behind the front: nothing is protected and nothing forwarded.

use core::net::SocketAddr;

use axum::Router;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use keybound_issuer::{Connection, Issuer};

use crate::answer::Problem;
use crate::body::Body;
use crate::front::{Handler, Inbound};
use crate::stack;

/// One worker's way of answering for an issuer.
#[derive(Debug)]
pub struct IssuerStack {
    router: Router,
    listener: SocketAddr,
}

impl IssuerStack {
    /// For one worker of this listener.
    pub fn new(issuer: &Issuer, listener: SocketAddr) -> Self {
        Self { router: issuer.router().fallback(not_found), listener }
    }
}

impl Handler for IssuerStack {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        let connection = Connection::new(self.listener, inbound.peer.address());
        stack::issue(self.router.clone(), connection, inbound.head, inbound.body).await
    }
}

async fn not_found() -> impl IntoResponse {
    let problem = Problem::RouteUnknown;
    (problem.status(), [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], problem.json())
}
