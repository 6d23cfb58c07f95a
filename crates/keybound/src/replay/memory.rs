//! The store of one process.

/// TODO by the store's author.
#[derive(Debug)]
pub struct MemoryStore {}
