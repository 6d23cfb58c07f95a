//! The client side: one listener, a runtime for each worker, connections that are bounded in every direction, and requests
//! that are well formed before anybody looks at them.

use core::future::Future;

use http::request::Parts;
use http::{Method, Response};

use crate::answer::Problem;
use crate::body::{Body, RequestBody};

mod arrival;
mod bind;
mod certificates;
mod connection;
mod descriptors;
mod guard;
mod head;
mod hygiene;
mod multiplexed;
mod opening;
mod peer;
mod proxy_header;
mod sockets;
mod stop;
mod worker;

pub use bind::BindError;
pub(crate) use bind::Port;
pub use certificates::Certificates;
pub(crate) use connection::{Deadline, Ended};
pub use peer::Peer;
pub use sockets::{Sockets, SocketsError};
pub use stop::Stop;
pub use worker::{Connections, Drained, Front};

/// A request that is well formed: one valid `Host`, a target that is a path (or `*`), one way to tell its length. Everything
/// else about it is what the client says.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inbound {
    /// The head of the request. Its target is in origin form; `Host` holds the authority. It is handed on many times, so it has
    /// a place of its own.
    pub head: Box<Parts>,
    /// The body of the request.
    pub body: RequestBody,
    /// Where it came from.
    pub peer: Peer,
}

/// Answers requests. Each worker makes one of its own, inside its runtime, so it needs no locks.
pub trait Handler: 'static {
    /// Answers one request. It is dropped where it stands when the client goes away.
    fn handle(&self, inbound: Inbound) -> impl Future<Output = Response<Body>>;

    /// Hears of a request that was answered with this before it could be handled; without a method, of octets that are none.
    fn turned_away(&self, _method: Option<&Method>, _problem: Problem) {}

    /// Hears of a request whose client was gone before it could be handled.
    fn given_up(&self) {}
}
