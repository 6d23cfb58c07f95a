//! A store that goes away and comes back, as operators see it: an answer, figures, and a line in the log for each change.

use redis_rig::wait_until;

use crate::client::Client;
use crate::exchange::{Answer, exchange};
use crate::gateways::{Gateway, Gateways, WhenUnavailable};
use crate::ledger::Ledger;
use crate::postgres::OnItsOwn;
use crate::servers::{Alone, Servers};

const THERE: &str = "keybound_replay_store_there";
const UNREACHABLE: &str = "keybound_replay_store_unreachable_total";
const RECONNECTS: &str = "keybound_replay_store_reconnects_total";
const EPOCHS: &str = "keybound_replay_store_epochs_total";
const NONCE_ONLY: &str = "keybound_replay_nonce_only";
const ENTERED: &str = "keybound_replay_nonce_only_entered_total";
const ADMITTED: &str = "keybound_replay_nonce_only_admitted_total";
const NO_ROOM: &str = "keybound_replay_nonce_only_no_room_total";

const FAILED: &str = "the replay store failed; looking at it again";
const AWAY: &str = "the replay store is away: proofs cannot be recorded";
const BACK: &str = "the replay store is there again";
const FORGOTTEN: &str = "the replay store may have forgotten";
const BEGINS: &str = "from now on only proofs with a nonce of this node are admitted";
const ENDS: &str = "the store of used proofs takes entries again";

/// A gateway and a client of it.
struct Watched {
    gateways: Gateways,
    client: Client,
    nonce: Option<String>,
    /// How often it answered by 503.
    unavailable: u64,
}

impl Watched {
    fn start(servers: &impl Servers, when_unavailable: WhenUnavailable) -> Self {
        let store = (&*servers.url(), servers.settings());
        let gateways = Gateways::start_with(1, store, when_unavailable, &Ledger::default(), "info");
        let client = Client::new(&gateways.issuer);
        Self { gateways, client, nonce: None, unavailable: 0 }
    }

    fn gateway(&self) -> &Gateway {
        &self.gateways.all()[0]
    }

    fn metric(&self, name: &str) -> u64 {
        self.gateway().metric(name)
    }

    /// A request with a proof of its own, and the nonce that was given last.
    fn ask(&mut self) -> Answer {
        let fields = self.client.fields(self.nonce.as_deref());
        let request = format!("GET /a HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n{fields}\r\n");
        let answer = exchange(self.gateway().address, &request).unwrap_or_default();
        self.unavailable += u64::from(answer.status == 503);
        if answer.nonce.is_some() {
            self.nonce.clone_from(&answer.nonce);
        }
        answer
    }

    fn is_served_in_the_end(&mut self) {
        let is_served = || {
            // One whose servers did not answer in time when it started has ended: whoever looks after it starts it again.
            self.gateway().begin();
            self.ask().status == 200
        };
        if let Err(error) = wait_until("a client to be served", is_served) {
            panic!("{error}: {}", self.gateway().said());
        }
    }

    fn becomes(&self, name: &str, value: u64) {
        wait_until(name, || self.metric(name) == value)
            .unwrap_or_else(|error| panic!("{error} to be {value}: {}", self.gateway().said()));
    }

    /// How many lines of its log hold this, each of which names the store.
    fn lines(&self, text: &str, store: Option<&str>) -> u64 {
        let said = self.gateway().said();
        let lines = said.lines().filter(|line| line.contains(text));
        lines.inspect(|line| assert!(store.is_none_or(|store| line.contains(store)), "{line}")).count() as u64
    }

    /// Whether it is there by what was said last; by turns it is said to be away and there again.
    fn said_to_be_there(&self) -> bool {
        let log = self.gateway().said();
        let states = log.lines().filter(|line| line.contains(AWAY) || line.contains(BACK));
        let mut states: Vec<bool> = states.map(|line| line.contains(BACK)).collect();
        // While it is away, other reasons are said as well.
        states.dedup();
        assert!(states.iter().enumerate().all(|(at, is_back)| *is_back == (at % 2 == 1)), "{log}");
        states.last().is_none_or(|is_back| *is_back)
    }

    /// What has changed was said as often as it was counted, and how it stands is what was said last.
    fn is_said(&self, store: &str) {
        let all = || {
            // Each failure ends by a new connection, and so does what was found to be forgotten.
            self.metric(EPOCHS) == self.lines(FORGOTTEN, Some(store))
                && self.metric(RECONNECTS) >= self.lines(FAILED, Some(store))
                && self.said_to_be_there() == (self.metric(THERE) == 1)
        };
        wait_until("the log", all).unwrap_or_else(|error| {
            panic!("{error}: {} epochs, and it says {}", self.metric(EPOCHS), self.gateway().said())
        });
    }
}

/// With a gateway that refuses meanwhile, and one that goes on by its own nonces.
fn is_seen(mut servers: impl Servers, store: &str) {
    let mut refusing = Watched::start(&servers, WhenUnavailable::Refuse);
    let mut alone = Watched::start(&servers, WhenUnavailable::NonceOnly);
    for one in [&mut refusing, &mut alone] {
        one.is_served_in_the_end();
        assert_eq!([THERE, NONCE_ONLY, ENTERED, ADMITTED, NO_ROOM].map(|name| one.metric(name)), [1, 0, 0, 0, 0]);
        assert_eq!([AWAY, BACK, BEGINS, ENDS].map(|text| one.lines(text, None)), [0; 4]);
    }
    for turn in 1..=2 {
        let before = [RECONNECTS, EPOCHS].map(|name| refusing.metric(name));
        servers.node(0).server.kill();
        refusing.becomes(THERE, 0);
        wait_until("a line", || !refusing.said_to_be_there()).expect("a line");
        assert!(refusing.lines(FAILED, Some(store)) >= turn && refusing.lines(AWAY, Some(store)) >= turn);
        for _ in 0..3 {
            let answer = refusing.ask();
            assert_eq!(answer.status, 503);
            assert!(answer.text.contains("replay.unreachable") && answer.text.contains("retry-after: "), "{answer:?}");
        }
        assert_eq!(refusing.metric(UNREACHABLE), refusing.unavailable);
        goes_on(&mut alone);

        servers.node(0).server.restart();
        for one in [&mut refusing, &mut alone] {
            one.becomes(THERE, 1);
            one.becomes(NONCE_ONLY, 0);
            one.is_served_in_the_end();
            one.is_said(store);
        }
        let after = [RECONNECTS, EPOCHS].map(|name| refusing.metric(name));
        assert!(after[0] > before[0] && after[1] > before[1], "{before:?} {after:?}");
        assert!(alone.lines(ENDS, None) == alone.metric(ENTERED), "{}", alone.gateway().said());
    }
    assert_eq!([NONCE_ONLY, ENTERED, ADMITTED].map(|name| refusing.metric(name)), [0; 3]);
    assert_eq!([BEGINS, ENDS].map(|text| refusing.lines(text, None)), [0; 2]);
}

/// While the store is away: one retry, and every proof with the nonce of that is admitted and counted.
fn goes_on(alone: &mut Watched) {
    alone.becomes(THERE, 0);
    let (entered, admitted) = (alone.metric(ENTERED), alone.metric(ADMITTED));
    let first = alone.ask();
    assert!(first.status == 401 && first.text.contains("use_dpop_nonce") && first.nonce.is_some(), "{first:?}");
    for _ in 0..5 {
        assert_eq!(alone.ask().status, 200);
    }
    let figures = [THERE, NONCE_ONLY, ADMITTED, NO_ROOM].map(|name| alone.metric(name));
    assert_eq!(figures, [0, 1, admitted + 5, 0], "{}", alone.gateway().said());
    assert!(alone.metric(ENTERED) > entered && alone.metric(UNREACHABLE) > 0);
    assert_eq!(alone.lines(BEGINS, None), alone.metric(ENTERED));
    assert_eq!(alone.lines(BEGINS, Some("replay.unreachable")), alone.metric(ENTERED));
}

#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_is_away_is_seen_and_said() {
    let servers = Alone::start(false);
    let url = servers.url();
    is_seen(servers, &url);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_postgres_that_is_away_is_seen_and_said() {
    let servers = OnItsOwn::start();
    let url = servers.url().replace("keybound@", "");
    is_seen(servers, &url);
}
