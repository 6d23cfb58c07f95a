//! A turn of the nonce ring while clients go on: what any gateway has made before it is good at all of them after it.

use std::time::{Duration, Instant};

use keybound_issuer::keys::SealingKeys;
use redis_rig::wait_until;

use crate::callers::Callers;
use crate::gateways::{Gateway, Gateways, Ring};
use crate::ledger::Ledger;
use crate::servers::Servers;

/// For how long a nonce is good where gateways keep the ring.
const LIFE: Duration = Duration::from_secs(30);

/// What a nonce says of itself: the number of the key that has made it, and the epoch.
type Marks = (u8, [u8; 8]);

fn marks(nonce: &str) -> Option<Marks> {
    let octets = keybound::jws::decode_base64url(nonce).ok()?;
    Some((*octets.first()?, octets.get(9..17)?.try_into().ok()?))
}

/// A nonce of each gateway, if they all make them by one key and in one epoch.
fn nonces(callers: &Callers<'_>, gateways: &Gateways) -> Option<(Marks, Vec<String>)> {
    let nonces: Vec<String> = (0..gateways.all().len()).map(|at| callers.nonce(at)).collect::<Option<_>>()?;
    let first = marks(nonces.first()?)?;
    nonces.iter().all(|nonce| marks(nonce) == Some(first)).then_some((first, nonces))
}

/// Turns the ring while all is well. Where servers fail over meanwhile or do not answer in time, as on a machine that stands still for a while, it
/// is done once more.
pub(crate) fn turn(servers: &mut impl Servers, gateways: &Gateways, callers: &Callers<'_>, ledger: &Ledger) {
    for _ in 0..5 {
        if is_turned(servers, gateways, callers, ledger) {
            ledger.tell("the ring is turned");
            return;
        }
    }
    panic!("the servers never stay what they are for long enough\n{}", ledger.story());
}

/// By the command where it is a file, and else by a gateway that begins and finds it old. Whether nothing else happened meanwhile.
fn is_turned(servers: &mut impl Servers, gateways: &Gateways, callers: &Callers<'_>, ledger: &Ledger) -> bool {
    let mut made = None;
    let mut until = |what: &str, done: &dyn Fn(Marks) -> bool| {
        let all = || {
            // One whose servers were not there yet has ended.
            gateways.all().iter().for_each(Gateway::begin);
            made = nonces(callers, gateways).filter(|(marks, _)| done(*marks));
            made.is_some()
        };
        wait_until(what, all).unwrap_or_else(|error| panic!("{error}\n{}", ledger.story()));
        made.take().expect("it was waited for")
    };
    let began = Instant::now();
    let ((key, epoch), before) = until("one ring", &|_| true);
    match &gateways.ring {
        Ring::File(path) => gateways.turn_ring(path),
        Ring::Kept(sealing) => {
            // Somebody may change it at the same moment.
            wait_until("an old ring", || servers.change_shared_text(&|sealed| aged(sealing, sealed))).expect("a ring");
            gateways.all()[0].kill();
            gateways.all()[0].begin();
        }
    }
    let ((_, after), _) = until("a turn", &|marks| marks.0 != key);
    let answers = before.iter().flat_map(|nonce| (0..gateways.all().len()).map(|at| callers.status_with(nonce, at)));
    let answers: Vec<u16> = answers.collect();
    let ((_, last), _) = until("the same ring", &|marks| marks.0 != key);
    let is_undisturbed = epoch == after && after == last && began.elapsed() < LIFE;
    if !is_undisturbed || answers.iter().any(|status| [0, 503].contains(status)) {
        return false;
    }
    assert!(answers.iter().all(|status| *status == 200), "nonces of before the turn: {answers:?}\n{}", ledger.story());
    true
}

/// As if it had been turned long ago.
fn aged(sealing: &SealingKeys, sealed: &str) -> Option<String> {
    let text = sealing.open_text(&["nonce ring"], sealed)?;
    let mut ring: serde_json::Value = serde_json::from_slice(&text).ok()?;
    ring["turned"] = 1_700_000_000.into();
    sealing.seal_text(&["nonce ring"], ring.to_string().as_bytes()).ok()
}
