use super::*;
use crate::jwk::Thumbprint;

const START: u64 = 1_700_000_000;

fn at(second: u64) -> UnixTime {
    UnixTime::from_secs(START + second)
}

#[test]
fn once() {
    let store = MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, at(0))).unwrap();
    let entry = ReplayEntry::new(Thumbprint::from_bytes([1; 32]), "a", "b", store.epoch(), at(306));
    assert_eq!(store.record_now(&entry, at(0)), Ok(Seen::Never));
    assert_eq!(store.record_now(&entry, at(306)), Ok(Seen::Before));
}
