//! A text that nodes share beside the records, compared and set in one step: a ring of keys, say. Whoever may read the servers reads it.

use keybound::refusal::Fault;
use tokio::time::timeout;

use super::{Pinned as _, PinnedStore, Servers, Settings as _};

impl<S: Servers> PinnedStore<S> {
    /// What all nodes that record together have there; `None` if nobody has put anything there.
    ///
    /// It takes the runtime of its caller. The text is as lasting as the servers: it may be gone, or an older one, after one
    /// has restarted or another has taken over.
    ///
    /// # Errors
    ///
    /// [`Fault::ReplayUnreachable`] if the servers are away, are not what they were, or their clock is more than 10 s from ours.
    pub async fn shared_text(&self) -> Result<Option<Vec<u8>>, Fault> {
        let held = self.text(None).await?;
        Ok((!held.is_empty()).then_some(held))
    }

    /// Puts `new` there in one step if what is there is `old`, or nothing where that is `None`; whether it was. It may be there after a
    /// fault too.
    ///
    /// # Errors
    ///
    /// As [`PinnedStore::shared_text`].
    pub async fn replace_shared_text(&self, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Fault> {
        self.text(Some((old.unwrap_or_default(), new))).await.map(|held| held == new)
    }

    async fn text(&self, change: Option<(&[u8], &[u8])>) -> Result<Vec<u8>, Fault> {
        let pinned = self.pinned();
        let answer = timeout(self.settings().timeout(), pinned.text(change)).await;
        answer.map_err(|_| Fault::ReplayUnreachable)?.map_err(|trouble| {
            tracing::debug!(?trouble, "the text that nodes share");
            Fault::ReplayUnreachable
        })
    }
}
