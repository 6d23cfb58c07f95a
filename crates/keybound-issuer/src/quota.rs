//! How many assertions of one client are kept. A client that authenticates by a key leaves them here, and has a number to itself.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use parking_lot::Mutex;

use crate::store::Written;

/// How many things of one client are kept at once, so that one with a good key leaves room for all others. Counted by steps as a
/// [`Room`](crate::room::Room), and by each process for itself.
pub(crate) struct Quota {
    span: u64,
    /// In each step.
    most: u32,
    counted: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    step: u64,
    of: HashMap<Box<str>, u32>,
}

impl Quota {
    /// For things that are kept for `span`, so many of one client.
    pub(crate) fn of(span: Duration, most: u32) -> Arc<Self> {
        Arc::new(Self { span: span.as_secs().max(1), most: most.div_ceil(2), counted: Mutex::default() })
    }

    /// A place for one more.
    ///
    /// # Errors
    ///
    /// In how many seconds there will be one.
    pub(crate) fn take(self: &Arc<Self>, client: &str, now: UnixTime) -> Result<Place, u32> {
        let step = now.as_secs() / self.span;
        let mut counts = self.counted.lock();
        if step != counts.step {
            *counts = Counts { step, of: HashMap::new() };
        }
        // Only clients that are known come here, so there are not more names than clients.
        let count = match counts.of.get_mut(client) {
            Some(count) => count,
            None => counts.of.entry(client.into()).or_default(),
        };
        if *count >= self.most {
            return Err(u32::try_from(self.span - now.as_secs() % self.span).unwrap_or(u32::MAX));
        }
        *count += 1;
        Ok(Place { quota: Arc::clone(self), client: client.into(), step, is_kept: false })
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quota({} in {} s)", self.most, self.span)
    }
}

/// One thing of a client that is counted until this is dropped, and beyond that if it was kept.
#[derive(Debug)]
pub(crate) struct Place {
    quota: Arc<Quota>,
    client: Box<str>,
    step: u64,
    is_kept: bool,
}

impl Place {
    /// For what this writes. It comes to its end and is counted as what it was, though whoever asked hangs up: so nobody takes the
    /// places of a client by sending an assertion of it once more and leaving, nor leaves assertions that do not count.
    pub(crate) async fn write(
        self,
        writing: impl Future<Output = Result<Written, Fault>> + Send + 'static,
    ) -> Result<Written, Fault> {
        let counted = tokio::spawn(async move {
            let written = writing.await;
            if written == Ok(Written::Done) {
                self.keep();
            }
            written
        });
        counted.await.unwrap_or(Err(Fault::StoreUnavailable))
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.quota.counted.lock();
        if !self.is_kept
            && self.step == counts.step
            && let Some(count) = counts.of.get_mut(&self.client)
        {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(3200 + seconds)
    }

    #[test]
    fn a_client_has_its_quota_and_no_other_one_s() {
        let quota = Quota::of(Duration::from_secs(320), 4);
        let first = quota.take("one", at(0)).unwrap();
        quota.take("one", at(10)).unwrap().keep();
        assert_eq!(quota.take("one", at(20)).unwrap_err(), 300);
        quota.take("other", at(20)).unwrap().keep();
        drop(first);
        let before = quota.take("one", at(319)).unwrap();
        assert_eq!(quota.take("one", at(319)).unwrap_err(), 1);
        quota.take("one", at(320)).unwrap().keep();
        // That was of another step.
        drop(before);
        quota.take("one", at(320)).unwrap().keep();
        quota.take("one", at(320)).unwrap_err();
    }

    /// What counts for a client of one place when the sender has hung up, and the store then says this.
    async fn counts(written: Result<Written, Fault>) -> bool {
        let quota = Quota::of(Duration::from_secs(320), 1);
        let (answer, answered) = oneshot::channel();
        let (ended, end) = oneshot::channel::<()>();
        let writing = async move {
            let _ended = ended;
            answered.await.unwrap()
        };
        let mut asked = Box::pin(quota.take("one", at(0)).unwrap().write(writing));
        assert!((&mut asked).now_or_never().is_none());
        drop(asked);
        quota.take("one", at(1)).unwrap_err();
        answer.send(written).unwrap();
        end.await.unwrap_err();
        quota.take("one", at(1)).is_err()
    }

    #[tokio::test]
    async fn whoever_hangs_up_is_counted_by_what_was_written() {
        assert!(counts(Ok(Written::Done)).await, "it is stored");
        assert!(!counts(Ok(Written::Conflict(0))).await, "it was used before");
        assert!(!counts(Err(Fault::StoreUnavailable)).await);
    }
}
