//! Which clients are counted by name. A token has named each of them, but one issuer can have very many.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// So many names; all others are counted together.
pub(super) const MOST_CLIENTS: usize = 100;

/// Longer names would be a burden on every scrape.
const LONGEST: usize = 128;

/// The name of all those that have none of their own.
const OTHER: &str = "other";

/// The names that are counted.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashSet<Arc<str>>>);

impl Clients {
    /// The label of this client, from now on and for the life of the process.
    pub(super) fn label(&self, client: &str) -> Arc<str> {
        let mut known = self.0.lock();
        if let Some(name) = known.get(client) {
            return Arc::clone(name);
        }
        if known.len() >= MOST_CLIENTS || client.len() > LONGEST {
            return OTHER.into();
        }
        let name: Arc<str> = client.into();
        known.insert(Arc::clone(&name));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_run_out() {
        let clients = Clients::default();
        for number in 0..MOST_CLIENTS {
            let name = format!("client-{number}");
            assert_eq!(&*clients.label(&name), name);
        }
        assert_eq!(&*clients.label("one too many"), "other");
        assert_eq!(&*clients.label("client-7"), "client-7");
        assert_eq!(&*Clients::default().label(&"x".repeat(LONGEST + 1)), "other");
    }
}
