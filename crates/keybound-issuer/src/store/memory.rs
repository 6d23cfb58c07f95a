//! The store that ends with the process.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use parking_lot::Mutex;

use super::{Change, Found, Kind, Pending, Record, Store, Written};

/// More records than this are refused: some hundred MiB.
const MAX_RECORDS: usize = 1_000_000;

/// And more octets in them: a record is what clients make it.
const MAX_OCTETS: usize = 512 << 20;

/// How many expired records each write drops: more than it adds, so that they never pile up.
const SWEPT: usize = 8;

/// Entries of the audit log; of more, the earliest are forgotten, for nothing depends on them.
const MOST_AUDIT: usize = 10_000;

type Name = (Kind, Box<str>);

/// Keeps records in this process. Bounded: when it is full, it refuses and forgets nothing.
///
/// ```
/// use keybound::time::UnixTime;
/// use keybound_issuer::store::MemoryStore;
///
/// let store = MemoryStore::new(UnixTime::from_secs(1_700_000_000));
/// # let _ = store;
/// ```
pub struct MemoryStore {
    opened: UnixTime,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    by_name: BTreeMap<Name, Record>,
    by_expiry: BTreeSet<(UnixTime, Kind, Box<str>)>,
    by_family: HashMap<Box<str>, HashSet<Name>>,
    /// Of all bodies.
    octets: usize,
    /// Entries of the audit log.
    audit: usize,
}

impl MemoryStore {
    /// An empty one.
    pub fn new(now: UnixTime) -> Self {
        Self { opened: now, records: Mutex::default() }
    }
}

impl Store for MemoryStore {
    fn opened(&self) -> UnixTime {
        self.opened
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        let records = self.records.lock();
        let found = records.by_name.get(&(kind, id.into())).filter(|record| record.expires >= now).cloned();
        Box::pin(core::future::ready(Ok(found)))
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        let records = self.records.lock();
        let behind = records.by_name.range((kind, after.into())..);
        let found = behind
            .take_while(|((found, _), _)| *found == kind)
            .filter(|((_, id), record)| **id != *after && record.expires >= now)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|((_, id), record)| (id.clone(), record.clone()))
            .collect();
        Box::pin(core::future::ready(Ok(found)))
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        let mut records = self.records.lock();
        records.sweep(now);
        records.forget_audit();
        let full = records.by_name.len().saturating_add(changes.len()) > MAX_RECORDS
            || records.octets.saturating_add(added(&changes)) > MAX_OCTETS;
        let written = if full { Err(Fault::StoreFull) } else { Ok(records.write(changes)) };
        Box::pin(core::future::ready(written))
    }
}

/// The octets that these changes bring.
fn added(changes: &[Change]) -> usize {
    let body = |change: &Change| match change {
        Change::Insert { body, .. } | Change::Replace { body, .. } => body.len(),
        _ => 0,
    };
    changes.iter().map(body).sum()
}

impl Records {
    fn write(&mut self, changes: Vec<Change>) -> Written {
        let mut undo = Vec::new();
        for (position, change) in changes.into_iter().enumerate() {
            if !self.apply(change, &mut undo) {
                // Backwards, so that what was changed twice ends as it began.
                while let Some((name, before)) = undo.pop() {
                    self.set(name, before);
                }
                return Written::Conflict(position);
            }
        }
        Written::Done
    }

    /// Whether the change found what it needs. What was there before goes to `undo`.
    fn apply(&mut self, change: Change, undo: &mut Vec<(Name, Option<Record>)>) -> bool {
        let (name, after) = match change {
            Change::Insert { kind, id, family, expires, body } => {
                let name = (kind, id);
                if self.by_name.contains_key(&name) {
                    return false;
                }
                (name, Some(Record { family, expires, version: 1, body }))
            }
            Change::Replace { kind, id, version, expires, body } => {
                let name = (kind, id);
                let Some(before) = self.by_name.get(&name).filter(|record| record.version == version) else {
                    return false;
                };
                let family = before.family.clone();
                (name, Some(Record { family, expires, version: version + 1, body }))
            }
            Change::Extend { kind, id, expires } => {
                let name = (kind, id);
                let Some(before) = self.by_name.get(&name) else { return false };
                (name, Some(Record { expires, version: before.version + 1, ..before.clone() }))
            }
            Change::Take { kind, id } => {
                let name = (kind, id);
                if !self.by_name.contains_key(&name) {
                    return false;
                }
                (name, None)
            }
            Change::Delete { kind, id } => ((kind, id), None),
            Change::DeleteFamily { family } => {
                for name in self.by_family.get(&family).cloned().unwrap_or_default() {
                    undo.push((name.clone(), self.set(name, None)));
                }
                return true;
            }
        };
        undo.push((name.clone(), self.set(name, after)));
        true
    }

    /// The record of this name from now on; what it was before.
    fn set(&mut self, name: Name, record: Option<Record>) -> Option<Record> {
        let before = self.by_name.remove(&name);
        if name.0 == Kind::AUDIT {
            self.audit = self.audit + usize::from(record.is_some()) - usize::from(before.is_some());
        }
        if let Some(before) = &before {
            self.octets -= before.body.len();
            self.by_expiry.remove(&(before.expires, name.0, name.1.clone()));
            if let Some(members) = self.by_family.get_mut(&before.family) {
                members.remove(&name);
                if members.is_empty() {
                    self.by_family.remove(&before.family);
                }
            }
        }
        if let Some(record) = record {
            self.octets += record.body.len();
            self.by_expiry.insert((record.expires, name.0, name.1.clone()));
            if !record.family.is_empty() {
                self.by_family.entry(record.family.clone()).or_default().insert(name.clone());
            }
            self.by_name.insert(name, record);
        }
        before
    }

    /// Makes room for entries of the audit log: the earliest come last in their order.
    fn forget_audit(&mut self) {
        while self.audit > MOST_AUDIT {
            // Their names are digits, which a colon follows.
            let Some((name, _)) = self.by_name.range(..(Kind::AUDIT, Box::from(":"))).next_back() else { return };
            let name = name.clone();
            self.set(name, None);
        }
    }

    fn sweep(&mut self, now: UnixTime) {
        for _ in 0..SWEPT {
            match self.by_expiry.first() {
                Some((expires, kind, id)) if *expires < now => {
                    let name = (*kind, id.clone());
                    self.set(name, None);
                }
                _ => return,
            }
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} records)", self.records.lock().by_name.len())
    }
}
