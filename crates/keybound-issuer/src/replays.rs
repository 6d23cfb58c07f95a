//! The replay store behind one type, whichever it is: an issuer asks it once or twice a token.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::sync::Arc;

use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;

type Recording<'a> = Pin<Box<dyn Future<Output = Result<Seen, Fault>> + Send + 'a>>;

/// [`ReplayStore`] with its future boxed, so that an issuer need not carry the type of its store.
trait Replays: Send + Sync + fmt::Debug {
    fn epoch(&self) -> Epoch;
    fn record<'a>(&'a self, entry: &'a ReplayEntry<'a>, now: UnixTime) -> Recording<'a>;
}

#[derive(Debug)]
struct AnyStore<S>(Arc<S>);

impl<S: ReplayStore> Replays for AnyStore<S> {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn record<'a>(&'a self, entry: &'a ReplayEntry<'a>, now: UnixTime) -> Recording<'a> {
        Box::pin(self.0.record(entry, now))
    }
}

/// The store of the issuer and of its own protected resource.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<dyn Replays>);

impl Shared {
    pub(crate) fn new(store: Arc<impl ReplayStore + 'static>) -> Self {
        Self(Arc::new(AnyStore(store)))
    }
}

impl ReplayStore for Shared {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        self.0.record(entry, now).await
    }
}
