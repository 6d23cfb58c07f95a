//! Choices at random that a seed repeats.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Chance {
    begun_with: u64,
    state: u64,
}

impl Chance {
    pub(crate) const fn of(seed: u64) -> Self {
        Self { begun_with: seed, state: seed }
    }

    /// One that nobody chose.
    pub(crate) fn seed() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::from(since.subsec_nanos()) ^ since.as_secs()
    }

    pub(crate) const fn begun_with(&self) -> u64 {
        self.begun_with
    }

    /// One for somebody else.
    pub(crate) const fn another(&mut self) -> Self {
        Self::of(self.next())
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Less than `most`.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).expect("less than a usize")
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pause(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.next() % (most - least))
    }
}
