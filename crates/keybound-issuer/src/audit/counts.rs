//! What is counted of entries, for metrics. Names are of tables in the code, so that there are few.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::{Entry, Event};

/// A number of things that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Count {
    /// Tokens issued.
    Issued {
        /// By which grant.
        grant_type: Box<str>,
        /// `DPoP` or `Bearer`.
        token_type: Box<str>,
        /// How many.
        count: u64,
    },
    /// Requests refused.
    Refused {
        /// At which endpoint.
        endpoint: Box<str>,
        /// The reason code.
        reason: Box<str>,
        /// How many.
        count: u64,
    },
}

type Numbers = BTreeMap<(Box<str>, Box<str>), u64>;

#[derive(Debug, Default)]
pub(super) struct Counts {
    issued: Mutex<Numbers>,
    refused: Mutex<Numbers>,
    failures: AtomicU64,
}

impl Counts {
    pub(super) fn count(&self, entry: &Entry) {
        let (numbers, names) = if *entry.event == *Event::TokenIssued.code() {
            (&self.issued, [&entry.grant_type, &entry.token_type])
        } else if [Event::RequestRefused, Event::UserNotSignedIn, Event::AdminRefused]
            .iter()
            .any(|event| *entry.event == *event.code())
        {
            (&self.refused, [&entry.endpoint, &entry.reason])
        } else {
            return;
        };
        let [first, second] = names.map(|name| name.clone().unwrap_or_default());
        *numbers.lock().entry((first, second)).or_default() += 1;
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(super) fn all(&self) -> Vec<Count> {
        let issued = self.issued.lock().clone().into_iter();
        let issued = issued.map(|((grant_type, token_type), count)| Count::Issued { grant_type, token_type, count });
        let refused = self.refused.lock().clone().into_iter();
        let refused = refused.map(|((endpoint, reason), count)| Count::Refused { endpoint, reason, count });
        issued.chain(refused).collect()
    }
}
