//! Entries of the store, the latest first, as far as they are asked for.

use core::fmt;
use core::str::FromStr;

use keybound::refusal::Fault;
use keybound::time::UnixTime;

use super::{Entry, Event, name_of_second};
use crate::store::{Kind, Store, parse};

/// Entries of one page at most.
pub const MOST_LISTED: usize = 500;

/// Entries that are read at once.
const STEP: u32 = 500;

/// So many steps a page: where few entries fit, it ends early, and says where to go on.
const STEPS: usize = 20;

/// Which entries. What is `None` may be anything.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Query {
    /// What happened.
    pub event: Option<Events>,
    /// The client.
    pub client: Option<Box<str>>,
    /// `sub`.
    pub subject: Option<Box<str>>,
    /// The reason code.
    pub reason: Option<Box<str>>,
    /// Not before this second.
    pub since: Option<u64>,
    /// Not after this second.
    pub until: Option<u64>,
    /// Where the page before ended: its [`Page::next`].
    pub after: Option<Box<str>>,
    /// So many at most, and never more than [`MOST_LISTED`].
    pub limit: Option<usize>,
}

/// Some of what can happen: one [`Event`] by its code, or all whose codes begin so, with the full stop at its end.
///
/// ```
/// use keybound_issuer::audit::Events;
///
/// assert!("client.".parse::<Events>().unwrap().contain("client.secret"));
/// assert!(!"client.secret".parse::<Events>().unwrap().contain("client.deleted"));
/// assert!("client".parse::<Events>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events(Box<str>);

impl Events {
    /// Whether the event of this code is among them.
    pub fn contain(&self, code: &str) -> bool {
        *code == *self.0 || self.0.ends_with('.') && code.starts_with(&*self.0)
    }
}

impl FromStr for Events {
    type Err = UnknownEvents;

    fn from_str(text: &str) -> Result<Self, UnknownEvents> {
        let events = Self(text.into());
        if Event::ALL.iter().any(|event| events.contain(event.code())) { Ok(events) } else { Err(UnknownEvents) }
    }
}

/// No event is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownEvents;

impl fmt::Display for UnknownEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event; there are ")?;
        for (position, event) in Event::ALL.iter().enumerate() {
            f.write_str(if position == 0 { "" } else { ", " })?;
            f.write_str(event.code())?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownEvents {}

/// An entry with its name.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Noted {
    /// Of 34 digits; the later an entry, the smaller.
    pub id: Box<str>,
    /// What it says.
    pub entry: Entry,
}

/// Some entries, the latest first. Those of one second are in the order in which they were begun, as far as clocks of several machines agree.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// Those that fit.
    pub entries: Vec<Noted>,
    /// Where to go on; `None` if that is all.
    pub next: Option<Box<str>>,
}

impl Query {
    fn fits(&self, entry: &Entry) -> bool {
        let same = |wanted: &Option<Box<str>>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        self.event.as_ref().is_none_or(|events| events.contain(&entry.event))
            && same(&self.client, entry.client.as_deref())
            && same(&self.subject, entry.subject.as_deref())
            && same(&self.reason, entry.reason.as_deref())
            && self.until.is_none_or(|until| entry.time <= until)
    }

    /// Behind which name the list begins.
    fn beginning(&self) -> Box<str> {
        let of_time = self.until.map(|until| name_of_second(UnixTime::from_secs(until)));
        let of_time = of_time.unwrap_or_default();
        match &self.after {
            Some(after) if **after > *of_time => after.clone(),
            _ => of_time.into(),
        }
    }
}

/// One page.
pub(crate) async fn list(store: &dyn Store, query: &Query, now: UnixTime) -> Result<Page, Fault> {
    let limit = query.limit.unwrap_or(MOST_LISTED).clamp(1, MOST_LISTED);
    let mut entries = Vec::new();
    let mut after = query.beginning();
    for _ in 0..STEPS {
        let found = store.list(Kind::AUDIT, &after, STEP, now).await?;
        let is_last = found.len() < STEP as usize;
        for (id, record) in found {
            let entry: Entry = parse(&record)?;
            after = id.clone();
            if query.since.is_some_and(|since| entry.time < since) {
                return Ok(Page { entries, next: None });
            }
            if query.fits(&entry) {
                entries.push(Noted { id, entry });
            }
            if entries.len() == limit {
                return Ok(Page { entries, next: Some(after) });
            }
        }
        if is_last {
            return Ok(Page { entries, next: None });
        }
    }
    Ok(Page { entries, next: Some(after) })
}
