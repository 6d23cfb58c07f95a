//! The bytes a store may allocate, and those it has.

use core::sync::atomic::Ordering;

use super::sync::AtomicUsize;
use crate::refusal::Fault;

/// Everything a store allocates is taken from here first and given back here last.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    used: AtomicUsize,
}

impl Room {
    pub(super) fn new(limit: usize, used: usize) -> Self {
        Self { limit, used: AtomicUsize::new(used) }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// How much may be taken until half of it is.
    pub(super) fn left_of_half(&self) -> usize {
        (self.limit / 2).saturating_sub(self.used())
    }

    /// That many zeros.
    pub(super) fn zeros<T: Clone + Default>(&self, len: usize) -> Result<Vec<T>, Fault> {
        let mut zeros = Vec::new();
        self.set_capacity(&mut zeros, len)?;
        zeros.resize(len, T::default());
        Ok(zeros)
    }

    /// Makes room for one more element.
    pub(super) fn extend<T>(&self, vec: &mut Vec<T>) -> Result<(), Fault> {
        if vec.len() < vec.capacity() {
            return Ok(());
        }
        self.set_capacity(vec, vec.len().saturating_add(vec.len() / 4).saturating_add(4))
    }

    /// Gives back what is not needed, once that is most of it.
    pub(super) fn trim<T>(&self, vec: &mut Vec<T>) {
        if vec.len() < vec.capacity() / 4 || vec.is_empty() {
            let before = bytes_of(vec);
            vec.shrink_to_fit();
            self.give(before.saturating_sub(bytes_of(vec)));
        }
    }

    /// Puts `new` in place of `old`, whose bytes are free again.
    pub(super) fn replace<T>(&self, old: &mut Vec<T>, new: Vec<T>) {
        self.give(bytes_of(old));
        *old = new;
    }

    /// While a vector grows, the old one and the new one are there.
    fn set_capacity<T>(&self, vec: &mut Vec<T>, capacity: usize) -> Result<(), Fault> {
        let old = bytes_of(vec);
        let new = capacity.saturating_mul(size_of::<T>());
        self.take(new)?;
        if vec.try_reserve_exact(capacity.saturating_sub(vec.len())).is_err() {
            self.give(new);
            return Err(Fault::ReplayFull);
        }
        self.give(old);
        // The allocator may have given more than it was asked for.
        self.used.fetch_add(bytes_of(vec).saturating_sub(new), Ordering::Relaxed);
        Ok(())
    }

    fn take(&self, bytes: usize) -> Result<(), Fault> {
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(Fault::ReplayFull),
        }
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn bytes_of<T>(vec: &Vec<T>) -> usize {
    vec.capacity().saturating_mul(size_of::<T>())
}
