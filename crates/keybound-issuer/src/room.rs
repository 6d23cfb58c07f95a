//! How much strangers may leave here. Who does not authenticate may still have something stored: a pushed request, a device's
//! code, a registration. So many octets in a while, however many strangers there are; above it they wait, and nobody else does.

use core::time::Duration;

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use parking_lot::Mutex;

/// The most octets of one kind in its time: a hundred thousand of the usual size.
const MOST: usize = 128 << 20;

/// What a record takes besides its body: names, and places in three tables.
const AROUND: usize = 512;

/// Counts by steps of `span`. What is kept for one step reaches into the next, so each may have half of [`MOST`].
#[derive(Debug)]
pub(crate) struct Room {
    span: Duration,
    most: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    step: u64,
    octets: usize,
}

impl Room {
    /// For things that are kept for `span`.
    pub(crate) fn of(span: Duration) -> Self {
        Self { span, most: MOST / 2, counted: Mutex::default() }
    }

    /// A place for a body of so many octets.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreFull`] if there is none.
    pub(crate) fn take(&self, octets: usize, now: UnixTime) -> Result<(), Fault> {
        let step = now.as_secs() / self.span.as_secs().max(1);
        let mut counted = self.counted.lock();
        if step != counted.step {
            *counted = Counted { step, octets: 0 };
        }
        let after = counted.octets + octets + AROUND;
        if after > self.most {
            return Err(Fault::StoreFull);
        }
        counted.octets = after;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_until_time_has_gone_by() {
        let room = Room { span: Duration::from_secs(90), most: 2048, counted: Mutex::default() };
        let take = |seconds| room.take(512, UnixTime::from_secs(seconds)).is_ok();
        assert_eq!([take(900), take(900), take(900), take(989)], [true, true, false, false]);
        assert_eq!([take(990), take(990), take(990)], [true, true, false]);
        assert_eq!([take(1800), take(1800), take(1800)], [true, true, false]);
        assert!(room.take(2048, UnixTime::from_secs(1890)).is_err());
    }
}
