//! Where in a Cluster a proof is recorded: in one of 256 lanes, by the key that signed it. A lane is one key of Redis, with the marker
//! of the epoch in it, and a hash tag, so that the tallies of its clients are in the same slot and one script may touch them too.

use std::sync::LazyLock;

/// How many lanes a Cluster has. One server alone has one, without a tag.
pub(crate) const LANES: usize = 256;

/// How many slots a Cluster has.
pub(crate) const SLOTS: usize = 16384;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

/// Tag and slot of each lane. Lane `n` is somewhere in the `n`th of 256 equal parts of the slots: however slots are dealt out in
/// ranges, lanes are with them.
static TAGS: LazyLock<Vec<([u8; 2], u16)>> = LazyLock::new(|| {
    let all = || LETTERS.iter().flat_map(|one| LETTERS.iter().map(move |other| [*one, *other]));
    let width = SLOTS / LANES;
    let in_part = |lane: usize, tag: &[u8; 2]| usize::from(slot_of(tag)) / width == lane;
    let found = (0..LANES).map(|lane| all().find(|tag| in_part(lane, tag)).map(|tag| (tag, slot_of(&tag))));
    found.map(|tag| tag.expect("4096 tags reach each of 256 parts; a test has looked")).collect()
});

/// The hash tag of a lane, without its braces.
pub(crate) fn tag(lane: usize) -> [u8; 2] {
    TAGS[lane].0
}

/// The slot of a lane.
pub(crate) fn slot(lane: usize) -> u16 {
    TAGS[lane].1
}

/// The slot of a hash tag: CRC-16 (XMODEM) modulo 16384.
fn slot_of(tag: &[u8]) -> u16 {
    let shift = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
    let crc = tag.iter().fold(0_u16, |crc, octet| (0..8).fold(crc ^ (u16::from(*octet) << 8), |crc, _| shift(crc)));
    crc % 16384
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // CLUSTER KEYSLOT hello, and the value of the specification.
        assert_eq!(slot_of(b"hello"), 866);
        assert_eq!(slot_of(b"123456789"), 0x31c3);
    }

    #[test]
    fn lanes_lie_evenly_over_the_slots() {
        for lane in 0..LANES {
            assert_eq!(usize::from(slot(lane)) / 64, lane);
        }
    }
}
