//! The issuer alone behind the front: nothing is protected and nothing forwarded.

use core::net::SocketAddr;

use axum::Router;
use axum::response::IntoResponse;
use http::Response;
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
    (problem.answer().into_parts().0, problem.json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_there_is_answered_as_by_the_gateway() {
        let (ours, theirs) = (not_found().await.into_response(), Problem::RouteUnknown.answer());
        assert_eq!((ours.status(), ours.headers()), (theirs.status(), theirs.headers()));
        assert_eq!(ours.headers()["cache-control"], "no-store");
    }
}
