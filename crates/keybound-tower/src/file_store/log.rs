//! A file of used proofs: lines of one length, each with a check, for proofs that expire at about the same time.

use core::hash::Hasher as _;

use keybound::time::UnixTime;
use siphasher::sip::SipHasher13;

/// A file is for 2^8 seconds.
const WIDTH_BITS: u32 = 8;

/// How many octets a line takes.
pub(super) const LINE: usize = 48;

/// What is kept of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Half of the thumbprint: quotas go by it.
    pub(super) jkt: [u8; 16],
    pub(super) digest: [u8; 16],
    pub(super) expires: UnixTime,
}

impl Line {
    pub(super) fn to_octets(self, key: &[u8; 16]) -> [u8; LINE] {
        let mut octets = [0; LINE];
        let body = self.jkt.into_iter().chain(self.digest).chain(self.expires.as_secs().to_be_bytes());
        octets.iter_mut().zip(body.chain(self.check(key).to_be_bytes())).for_each(|(to, from)| *to = from);
        octets
    }

    fn read(octets: &[u8; LINE], key: &[u8; 16]) -> Option<Self> {
        let (jkt, rest) = octets.split_first_chunk::<16>()?;
        let (digest, rest) = rest.split_first_chunk::<16>()?;
        let (expires, check) = rest.split_first_chunk::<8>()?;
        let expires = UnixTime::from_secs(u64::from_be_bytes(*expires));
        let line = Self { jkt: *jkt, digest: *digest, expires };
        (check == line.check(key).to_be_bytes()).then_some(line)
    }

    /// Keyed, so that what lies about on a disk does not look like a line.
    fn check(&self, key: &[u8; 16]) -> u64 {
        let mut check = SipHasher13::new_with_key(key);
        check.write(&self.jkt);
        check.write(&self.digest);
        check.write(&self.expires.as_secs().to_be_bytes());
        check.finish()
    }
}

/// What was found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) lines: Vec<Line>,
    /// Whether something is broken that a line follows: it may be one that was answered.
    pub(super) damaged: bool,
    /// How much of the file is good; what follows was being written when the process ended, and nobody was answered.
    pub(super) good: usize,
}

pub(super) fn read(octets: &[u8], key: &[u8; 16]) -> Found {
    let mut found = Found::default();
    let (mut at, mut is_broken) = (0, false);
    for chunk in octets.as_chunks::<LINE>().0 {
        at += LINE;
        match Line::read(chunk, key) {
            Some(line) => {
                found.damaged |= is_broken;
                found.lines.push(line);
                found.good = at;
            }
            None => is_broken = true,
        }
    }
    found
}

/// The file for this second.
pub(super) const fn number_of(time: UnixTime) -> u64 {
    time.as_secs() >> WIDTH_BITS
}

pub(super) fn name_of(number: u64) -> String {
    format!("{number}.proofs")
}

/// The number in the name of a file.
pub(super) fn number_in(name: &str) -> Option<u64> {
    name.strip_suffix(".proofs")?.parse().ok()
}
