//! Passes a request on to an upstream and its response back, both as streams. What may pass was decided before.

use core::cell::{Cell, OnceCell, RefCell};
use core::future::{Future as _, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode, Uri, Version};
use tokio::time::Instant;

use crate::answer::Problem;
use crate::body::{Body, Progress, RequestBody};
use crate::config::{Limits, Prefix, ProofHandling, PublicUrl, Route, UpstreamAuthorization, UpstreamUrl};
use crate::front::{Inbound, Peer};
use crate::health::Address;

mod dial;
pub(crate) mod fields;
mod http1;
mod identity;
mod pool;
mod received;
mod room;
mod streams;
mod tunnel;

pub(crate) use dial::{Dialled, Octets, dial};
pub use identity::Identity;
pub(crate) use pool::Lease;
use pool::{Server, Unanswered};
pub(crate) use received::Received;
pub(crate) use room::{Place, Room};

use fields::Wish;
use http1::Scratch;

/// How often connections at rest are looked over.
const SWEEP: Duration = Duration::from_secs(1);

/// The upstream side of one worker: a pool of connections of its own.
#[derive(Debug)]
pub struct Proxy {
    limits: Limits,
    room: Room,
    scratch: Rc<Scratch>,
    servers: RefCell<HashMap<UpstreamUrl, Rc<Server>>>,
}

/// The servers of a route, which take turns.
#[derive(Clone, Debug)]
pub struct Upstreams {
    servers: Rc<[Choice]>,
    turn: Rc<Cell<usize>>,
    rewrite: Option<Rc<(Prefix, Prefix)>>,
}

/// One of them, and how it is.
#[derive(Debug)]
struct Choice {
    server: Rc<Server>,
    address: Arc<Address>,
}

/// A public origin, as upstreams are told of it in `X-Forwarded-*` and `Forwarded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: HeaderValue,
    host: HeaderValue,
}

impl Origin {
    /// Of this public URL.
    pub fn new(url: &PublicUrl) -> Self {
        Self {
            scheme: HeaderValue::from_static(url.scheme()),
            host: HeaderValue::from_str(url.authority()).expect("a public URL is ASCII"),
        }
    }
}

/// On what terms one request is passed on.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    origin: &'a Origin,
    authorization: UpstreamAuthorization,
    proof: ProofHandling,
    identity: Option<&'a Identity>,
    /// Where to note which server took it.
    taken_by: Option<&'a OnceCell<Arc<Address>>>,
}

impl<'a> Terms<'a> {
    /// Nothing is vouched for, and `Authorization` and `DPoP` pass unchanged: the modes `report` and `open`.
    pub const fn unchanged(origin: &'a Origin) -> Self {
        Self {
            origin,
            authorization: UpstreamAuthorization::Pass,
            proof: ProofHandling::Check,
            identity: None,
            taken_by: None,
        }
    }

    /// The caller is `identity`; its token and proof are treated as said.
    pub const fn vouched(
        origin: &'a Origin,
        identity: &'a Identity,
        authorization: UpstreamAuthorization,
        proof: ProofHandling,
    ) -> Self {
        Self { origin, authorization, proof, identity: Some(identity), taken_by: None }
    }

    /// The server that takes it is noted here.
    pub(crate) const fn telling(self, taken_by: Option<&'a OnceCell<Arc<Address>>>) -> Self {
        Self { taken_by, ..self }
    }
}

/// Where a request came from, as upstreams are told.
#[derive(Debug)]
pub(crate) struct From<'a> {
    pub(crate) trusted: bool,
    pub(crate) address: &'a HeaderValue,
    pub(crate) forwarded: HeaderValue,
}

impl Proxy {
    /// With nothing connected yet. Make one in each worker, inside its runtime; they share the room for connections.
    pub(crate) fn new(limits: &Limits, room: Room) -> Self {
        Self { limits: *limits, room, scratch: Rc::default(), servers: RefCell::default() }
    }

    /// The servers of a route, which nobody looks after. Routes that name the same server share its connections.
    pub fn upstreams(&self, urls: &[UpstreamUrl]) -> Upstreams {
        let address = |url: &UpstreamUrl| Arc::new(Address::new(url.clone(), None));
        self.upstreams_at(&urls.iter().map(address).collect::<Vec<_>>())
    }

    /// The servers at these addresses.
    pub(crate) fn upstreams_at(&self, addresses: &[Arc<Address>]) -> Upstreams {
        let mut servers = self.servers.borrow_mut();
        let choice = |address: &Arc<Address>| {
            let new = || Rc::new(Server::new(address.url().clone(), &self.limits, &self.scratch));
            let server = Rc::clone(servers.entry(address.url().clone()).or_insert_with(new));
            Choice { server, address: Arc::clone(address) }
        };
        Upstreams { servers: addresses.iter().map(choice).collect(), turn: Rc::default(), rewrite: None }
    }

    /// Closes connections that have rested for too long, and all that rest while there is little room, for ever.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let now = Instant::now();
            let rest = if self.room.is_scarce() { Duration::ZERO } else { self.limits.upstream_idle_timeout };
            // One that no route names any more goes with its last connection.
            self.servers.borrow_mut().retain(|_, server| server.sweep(now, rest) || Rc::strong_count(server) > 1);
        }
    }

    /// Sends the request to one of `upstreams` and returns what it answers, or says why there is no answer.
    ///
    /// The path is sent as it is in the request, but for a prefix that is to be rewritten, and `Host` too. A request is sent a
    /// second time only if nothing of it can have reached a server the first time, or the server says that it took none of it.
    pub async fn forward(&self, inbound: Inbound, upstreams: &Upstreams, terms: &Terms<'_>) -> Response<Body> {
        let Inbound { mut head, body, peer } = inbound;
        let wish = fields::wish(&head, &body);
        let client_side = (wish == Wish::WebSocket).then(|| tunnel::client_side(&mut head));
        fields::onward(&mut head.headers, wish, terms, &peer.as_from(terms.origin));
        head.version = Version::HTTP_11;
        if let Some(rewrite) = &upstreams.rewrite {
            head.uri = rewritten(&head.uri, rewrite);
        }
        match self.exchange(Outbound { head, body }, upstreams, terms).await {
            Err(problem) => problem.answer(),
            Ok((response, lease)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => match client_side {
                Some(client_side) => tunnel::open(response, lease, client_side, &peer, self.limits.tunnel_timeout),
                None => Problem::UpstreamInvalid.answer(),
            },
            Ok((mut response, lease)) => {
                fields::back(response.headers_mut());
                response.map(|body| Body::upstream(body, self.limits.stream_timeout, lease))
            }
        }
    }

    async fn exchange(
        &self,
        mut outbound: Outbound,
        upstreams: &Upstreams,
        terms: &Terms<'_>,
    ) -> Result<(Response<Received>, Lease), Problem> {
        let progress = outbound.body.progress();
        let mut problem = Problem::UpstreamUnreachable;
        for Choice { server, address } in upstreams.in_turn() {
            let mut refused = false;
            loop {
                let (mut lease, used) = match server.resting() {
                    Some(lease) => (lease, true),
                    // Rare, and long to describe: in a place of its own.
                    None => match Box::pin(self.connect(server)).await {
                        Ok(lease) => {
                            address.reached();
                            (lease, false)
                        }
                        // It may be well. Another one may have a connection that can be used.
                        Err(Unconnected::Crowded) => {
                            problem = Problem::UpstreamOverload;
                            break;
                        }
                        Err(Unconnected::Failed(error)) => {
                            address.unreachable();
                            tracing::warn!(upstream = %server.url(), %error, "cannot connect to upstream");
                            break;
                        }
                    },
                };
                let answered = self.answer(&mut lease, outbound, progress.as_ref()).await;
                if let (Some(taken_by), Ok(_) | Err(Failure::Said(_))) = (terms.taken_by, &answered) {
                    let _ = taken_by.set(Arc::clone(address));
                }
                match answered {
                    Ok(response) => {
                        if let Some(progress) = &progress {
                            progress.answer_moved(self.limits.stream_timeout);
                        }
                        return Ok((response, lease));
                    }
                    Err(Failure::Unsent(back)) if used => outbound = back,
                    Err(Failure::Unsent(back)) => {
                        outbound = back;
                        break;
                    }
                    // It may have ended the one connection alone. Twice is enough.
                    Err(Failure::Refused(back)) if !refused => (outbound, refused) = (back, true),
                    Err(Failure::Refused(back)) => {
                        tracing::warn!(upstream = %server.url(), "the upstream takes no request");
                        (outbound, problem) = (back, Problem::UpstreamRefused);
                        break;
                    }
                    Err(Failure::Said(problem)) => {
                        tracing::warn!(upstream = %server.url(), reason = problem.code(), "no answer from upstream");
                        return Err(problem);
                    }
                }
            }
        }
        Err(problem)
    }

    async fn connect(&self, server: &Rc<Server>) -> Result<Lease, Unconnected> {
        let place = self.place().ok_or(Unconnected::Crowded)?;
        server.connect(place).await.map_err(Unconnected::Failed)
    }

    /// For a new connection: one that is free, or that of a connection that rests.
    fn place(&self) -> Option<Place> {
        let closes = || self.servers.borrow().values().any(|server| server.close_resting());
        self.room.place().or_else(|| closes().then(|| self.room.place()).flatten())
    }

    /// Sends on this connection and waits for the header of the response. The time for it runs from the end of the request's
    /// body; until then the body has to make progress.
    async fn answer(
        &self,
        lease: &mut Lease,
        outbound: Outbound,
        progress: Option<&Rc<Progress>>,
    ) -> Result<Response<Received>, Failure> {
        let patience = self.limits.response_timeout;
        let sent = lease.send(outbound, progress.cloned()).map_err(|_unfit| Failure::Said(Problem::HostInvalid))?;
        let mut sent = pin!(sent);
        let deadline = lease.deadline();
        let mut seen = 0;
        let mut due = Instant::now() + patience;
        loop {
            let answered = poll_fn(|cx| match sent.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending => deadline.poll(cx, Some(due)).map(|()| None),
            });
            match answered.await {
                Some(Ok(response)) => return Ok(response),
                Some(Err(unanswered)) => {
                    lease.is_rid_of_it();
                    return Err(Failure::of(unanswered, progress));
                }
                None => {}
            }
            let Some(progress) = progress else {
                return Err(Failure::Said(Problem::UpstreamTimeout));
            };
            let now = Instant::now();
            due = match progress.finished() {
                Some(finished) => finished + patience,
                None if progress.frames() > seen && now < progress.due() => now + patience,
                None => now,
            };
            if due <= now {
                return Err(Failure::Said(Problem::UpstreamTimeout));
            }
            seen = progress.frames();
        }
    }
}

impl Upstreams {
    /// What the path begins with by the route becomes what the route says instead, on the way to these servers.
    #[must_use]
    pub fn rewriting(self, route: &Route) -> Self {
        let instead = route.rewrite.as_ref();
        Self { rewrite: instead.map(|instead| Rc::new((route.path.clone(), instead.clone()))), ..self }
    }

    /// Each server once: those in good health, beginning with the one whose turn it is; then those that were down a moment ago;
    /// and last those that are unhealthy, since that may be an error, and nothing better is left.
    fn in_turn(&self) -> impl Iterator<Item = &Choice> {
        let count = self.servers.len();
        let turn = self.turn.get();
        self.turn.set((turn + 1) % count.max(1));
        let position = move |step: usize| (turn + step) % count.max(1);
        let rank = move |place: &usize| self.servers.get(*place).map(|choice| choice.address.rank());
        let first = (0..count).map(position).min_by_key(|place| if count == 1 { None } else { rank(place) });
        // Most often the first takes the request, and nobody asks for the rest.
        let rest = core::iter::once(()).flat_map(move |()| {
            let mut rest: Vec<usize> = (0..count).map(position).filter(|place| Some(*place) != first).collect();
            rest.sort_by_key(rank);
            rest
        });
        first.into_iter().chain(rest).filter_map(|place| self.servers.get(place))
    }
}

/// A request for an upstream.
pub(crate) struct Outbound {
    head: Box<Parts>,
    body: RequestBody,
}

/// Why there is no connection.
enum Unconnected {
    /// There are as many as there may be.
    Crowded,
    Failed(io::Error),
}

enum Failure {
    Unsent(Outbound),
    Refused(Outbound),
    Said(Problem),
}

impl Failure {
    fn of(unanswered: Unanswered, progress: Option<&Rc<Progress>>) -> Self {
        // Whatever became of the rest.
        if let Some(problem) = progress.and_then(|progress| progress.failed()) {
            return Self::Said(problem);
        }
        match unanswered {
            Unanswered::Unsent(outbound) => Self::Unsent(outbound),
            Unanswered::Refused(Some(outbound)) => Self::Refused(outbound),
            Unanswered::Refused(None) => Self::Said(Problem::UpstreamRefused),
            Unanswered::Failed(problem) => Self::Said(problem),
        }
    }
}

/// The query stays as it is.
fn rewritten(uri: &Uri, (prefix, instead): &(Prefix, Prefix)) -> Uri {
    let mut target = prefix.replaced(uri.path(), instead);
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    PathAndQuery::try_from(target).map_or_else(|_| uri.clone(), Uri::from)
}

impl Peer {
    fn as_from<'p>(&'p self, origin: &Origin) -> From<'p> {
        From {
            trusted: self.is_trusted(),
            address: self.forwarded_for(),
            forwarded: self.forwarded(&origin.scheme, &origin.host),
        }
    }
}
