//! What was found in the files, into memory.

use core::time::Duration;

use keybound::jwk::Thumbprint;
use keybound::jws::encode_base64url;
use keybound::refusal::Fault;
use keybound::replay::{Epoch, MemoryStore, ReplayEntry, Seen};
use keybound::time::UnixTime;

use super::folder::Contents;
use super::log::Line;

/// Records all that fits, and takes the rest out of `contents`. Whether all did: a table may need more room than the time before, and limits
/// may be other ones.
pub(super) fn fill(memory: &MemoryStore, contents: &mut Contents, now: UnixTime) -> bool {
    let (epoch, mut all_fit) = (memory.epoch(), true);
    for (_, found) in &mut contents.files {
        let before = found.lines.len();
        found.lines.retain(|line| match put(memory, line, epoch, now) {
            // Some stand there twice because their answer was lost.
            Ok(Seen::Never | Seen::Before) => true,
            // It has expired by a clock that may be wrong.
            Ok(Seen::Forgotten) => {
                contents.floor = contents.floor.max(line.expires.plus(Duration::from_secs(1)));
                true
            }
            _ => false,
        });
        found.is_whole &= found.lines.len() == before;
        all_fit &= found.lines.len() == before;
    }
    all_fit
}

/// Records what a line says of a proof, which is less than the proof and as good.
pub(super) fn put(memory: &MemoryStore, line: &Line, epoch: Epoch, now: UnixTime) -> Result<Seen, Fault> {
    let mut jkt = [0; 32];
    jkt.iter_mut().zip(line.jkt).for_each(|(to, from)| *to = from);
    let jti = encode_base64url(&line.digest);
    memory.record_now(&ReplayEntry::new(Thumbprint::from_bytes(jkt), &jti, "", epoch, line.expires), now)
}
