//! What was sent, what came through, and what was done to whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One request with one proof, in octets, to be sent any number of times.
pub(crate) type Request = Arc<(u64, String)>;

#[derive(Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug)]
struct Book {
    began: Instant,
    /// By the number of the proof: the gateways that let it through, and when.
    admitted: HashMap<u64, Vec<(usize, f32)>>,
    twice: Vec<u64>,
    sent: Vec<Request>,
    statuses: HashMap<u16, u64>,
    story: Vec<String>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            admitted: HashMap::new(),
            twice: Vec::new(),
            sent: Vec::new(),
            statuses: HashMap::new(),
            story: Vec::new(),
        }
    }
}

impl Clone for Ledger {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream of this gateway got a request with this proof.
    pub(crate) fn came_through(&self, proof: u64, gateway: usize) {
        let mut book = self.book();
        let at = book.began.elapsed().as_secs_f32();
        let ways = book.admitted.entry(proof).or_default();
        ways.push((gateway, at));
        if ways.len() == 2 {
            book.twice.push(proof);
        }
    }

    /// A request that any number of gateways may be sent.
    pub(crate) fn file(&self, request: &Request) {
        self.book().sent.push(Arc::clone(request));
    }

    /// One of those sent so far: `choice` is any number.
    pub(crate) fn old(&self, choice: usize) -> Option<Request> {
        let book = self.book();
        (!book.sent.is_empty()).then(|| Arc::clone(&book.sent[choice % book.sent.len()]))
    }

    /// The newest of them.
    pub(crate) fn newest(&self, most: usize) -> Vec<Request> {
        self.book().sent.iter().rev().take(most).cloned().collect()
    }

    /// What a gateway answered; 0 for nothing.
    pub(crate) fn answered(&self, status: u16) {
        *self.book().statuses.entry(status).or_default() += 1;
    }

    /// Something was done.
    pub(crate) fn tell(&self, what: &str) {
        let mut book = self.book();
        let line = format!("{:8.3} {what}", book.began.elapsed().as_secs_f32());
        book.story.push(line);
    }

    /// The proofs that were admitted more than once, and where.
    pub(crate) fn twice(&self) -> Vec<(u64, Vec<(usize, f32)>)> {
        let book = self.book();
        book.twice.iter().map(|proof| (*proof, book.admitted[proof].clone())).collect()
    }

    pub(crate) fn admitted(&self) -> usize {
        self.book().admitted.len()
    }

    pub(crate) fn summary(&self) -> String {
        let book = self.book();
        let mut statuses: Vec<_> = book.statuses.iter().collect();
        statuses.sort_unstable();
        let (proofs, admitted, faults) = (book.sent.len(), book.admitted.len(), book.story.len());
        format!("{proofs} proofs, {admitted} admitted, answers {statuses:?}, {faults} events")
    }

    pub(crate) fn story(&self) -> String {
        self.book().story.join("\n")
    }
}
