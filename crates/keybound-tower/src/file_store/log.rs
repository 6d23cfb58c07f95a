//! A file of used proofs: lines of one length, each with a check, for proofs that expire at about the same time; in front of them
//! how many there were when somebody was answered last.

use core::hash::Hasher as _;

use keybound::time::UnixTime;
use siphasher::sip::SipHasher13;

/// A file is for 2^8 seconds.
const WIDTH_BITS: u32 = 8;

/// How many octets a line takes.
pub(super) const LINE: usize = 48;

/// Of which the beginning takes as many.
pub(super) const BEGINNING: usize = LINE;

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
    /// Whether a line may be gone that was answered: something is broken that a line follows, or there are fewer than there were.
    pub(super) damaged: bool,
    /// How much of the file is good; what follows was being written when the process ended, and nobody was answered.
    pub(super) good: usize,
    /// Whether that is all of it.
    pub(super) is_whole: bool,
}

/// What stands in front of so many lines. It is written behind them and not waited for: after a power failure it may say fewer.
pub(super) fn beginning(lines: u64, key: &[u8; 16]) -> [u8; BEGINNING] {
    let mut octets = [0; BEGINNING];
    let text = lines.to_be_bytes().into_iter().chain(check_of(lines, key).to_be_bytes());
    octets.iter_mut().zip(text).for_each(|(to, from)| *to = from);
    octets
}

fn check_of(lines: u64, key: &[u8; 16]) -> u64 {
    let mut check = SipHasher13::new_with_key(key);
    check.write(&lines.to_be_bytes());
    check.finish()
}

/// How many lines there were; none if that is not said.
fn answered(beginning: &[u8; BEGINNING], key: &[u8; 16]) -> Option<u64> {
    let (lines, rest) = beginning.split_first_chunk::<8>()?;
    let (check, _) = rest.split_first_chunk::<8>()?;
    let lines = u64::from_be_bytes(*lines);
    (*check == check_of(lines, key).to_be_bytes()).then_some(lines)
}

pub(super) fn read(octets: &[u8], key: &[u8; 16]) -> Found {
    let mut found = Found { good: BEGINNING, ..Found::default() };
    let (beginning, lines) = octets.split_at(octets.len().min(BEGINNING));
    let answered = beginning.try_into().ok().and_then(|beginning| answered(beginning, key));
    let (mut at, mut is_broken) = (BEGINNING, false);
    for chunk in lines.as_chunks::<LINE>().0 {
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
    found.damaged |= answered.is_none_or(|answered| answered > count(found.lines.len()));
    found.is_whole = !found.damaged && found.good == octets.len();
    found
}

/// A whole file of what was found.
pub(super) fn whole(lines: &[Line], key: &[u8; 16]) -> Vec<u8> {
    let lines_of = lines.iter().flat_map(|line| line.to_octets(key));
    beginning(count(lines.len()), key).into_iter().chain(lines_of).collect()
}

pub(super) fn count(lines: usize) -> u64 {
    u64::try_from(lines).unwrap_or(u64::MAX)
}

/// The file for this second.
pub(super) const fn number_of(time: UnixTime) -> u64 {
    time.as_secs() >> WIDTH_BITS
}

/// The first second after those of this file.
pub(super) const fn end_of(number: u64) -> UnixTime {
    UnixTime::from_secs(number.saturating_add(1).saturating_mul(1 << WIDTH_BITS))
}

pub(super) fn name_of(number: u64) -> String {
    format!("{number}.proofs")
}

/// The number in the name of a file.
pub(super) fn number_in(name: &str) -> Option<u64> {
    name.strip_suffix(".proofs")?.parse().ok()
}
