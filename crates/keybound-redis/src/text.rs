//! A text that nodes share beside the records, compared and set in one step: a ring of keys, say. Whoever may read Redis reads it.

use keybound::refusal::Fault;
use tokio::time::timeout;

use crate::store::RedisStore;

impl RedisStore {
    /// What all nodes of this prefix have there; `None` if nobody has put anything there.
    ///
    /// It takes the runtime of its caller. The text is as lasting as the server: it may be gone, or an older one, after the server
    /// has restarted or another has taken over.
    ///
    /// # Errors
    ///
    /// [`Fault::ReplayUnreachable`] if the server is away, is not what it was, or its clock is more than 10 s from ours.
    pub async fn shared_text(&self) -> Result<Option<Vec<u8>>, Fault> {
        let held = self.text(None).await?;
        Ok((!held.is_empty()).then_some(held))
    }

    /// Puts `new` there in one step if what is there is `old`, or nothing where that is `None`; whether it was. It may be there after a
    /// fault too.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::shared_text`].
    pub async fn replace_shared_text(&self, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Fault> {
        self.text(Some((old.unwrap_or_default(), new))).await.map(|held| held == new)
    }

    async fn text(&self, change: Option<(&[u8], &[u8])>) -> Result<Vec<u8>, Fault> {
        let pinned = self.pinned();
        let answer = timeout(self.settings().timeout, pinned.text(change)).await;
        answer.map_err(|_| Fault::ReplayUnreachable)?.map_err(|trouble| {
            tracing::debug!(?trouble, "the text that nodes share");
            Fault::ReplayUnreachable
        })
    }
}
