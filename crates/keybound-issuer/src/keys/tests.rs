//! Many turns under clocks that are set by hand; what is in the database, and what happens if it is not what it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use keybound::crypto::Crypto as _;
use keybound::jws::decode_base64url;
use proptest::prelude::*;
use serde_json::from_slice;

use super::*;
use crate::Clock;
use crate::store::tests::server::OwnDatabase;
use crate::store::{Change, Kind, Location, MemoryStore, NEVER, Record, Store, Written, open};

const START: u64 = 1_700_000_000;
const HOUR: u64 = 3600;

#[derive(Clone)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A clock that goes wrong by so many seconds.
    fn clock(&self, offset: i64) -> Clock {
        let time = self.clone();
        Clock::new(move || UnixTime::from_secs(time.now().as_secs().saturating_add_signed(offset)))
    }
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(UnixTime::from_secs(START)))
}

fn sqlite(file: &Path) -> Arc<dyn Store> {
    open(&Location::Sqlite(file.into()), UnixTime::from_secs(START)).unwrap()
}

fn settings() -> KeySettings {
    KeySettings::new()
}

fn kids(jwks: &[u8]) -> BTreeSet<String> {
    let set: Value = from_slice(jwks).unwrap();
    set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn header(token: &str) -> Value {
    from_slice(&decode_base64url(token.split('.').next().unwrap()).unwrap()).unwrap()
}

async fn kid_of_token(keys: &Keys, now: UnixTime) -> Result<String, Fault> {
    let token = keys.sign("at+jwt", &json!({}), now).await?;
    Ok(header(&token)["kid"].as_str().unwrap().to_owned())
}

async fn record(store: &Arc<dyn Store>, kind: Kind, id: &str) -> Record {
    store.read(kind, id, UnixTime::from_secs(START)).await.unwrap().unwrap()
}

async fn overwrite(store: &Arc<dyn Store>, kind: Kind, id: &str, body: &str) {
    let version = record(store, kind, id).await.version;
    let change = Change::Replace { kind, id: id.into(), version, expires: NEVER, body: body.into() };
    assert_eq!(store.write(vec![change], UnixTime::from_secs(START)).await, Ok(Written::Done));
}

/// What happens to two replicas and whoever verifies.
#[derive(Clone, Debug)]
enum Event {
    /// So many looks at the schedule later.
    Later(u16),
    /// Somebody fetches the set of this replica, and keeps it for as long as it is allowed.
    Fetch(bool),
    /// This replica signs.
    Sign(bool),
    /// This replica does not reach the store, or does again.
    Cut(bool),
    /// This replica starts anew, with a clock that is off by so much, and other settings.
    Restart(bool, i64, u64, u64, bool),
    /// Somebody wants the next key.
    Rotate(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_u16..90).prop_map(Event::Later),
        4 => any::<bool>().prop_map(Event::Fetch),
        4 => any::<bool>().prop_map(Event::Sign),
        1 => any::<bool>().prop_map(Event::Cut),
        1 => (any::<bool>(), -60_i64..=60, 510_u64..2 * HOUR, HOUR..6 * HOUR, any::<bool>())
            .prop_map(|(which, offset, ahead, every, ed)| Event::Restart(which, offset, ahead, every.max(ahead), ed)),
        1 => any::<bool>().prop_map(Event::Rotate),
    ]
}

struct Replica {
    keys: Keys,
    clock: Clock,
    is_cut: bool,
}

struct World {
    time: Time,
    /// That of each replica: one, or two ways to the same database.
    stores: [Arc<dyn Store>; 2],
    sealing: SealingKeys,
    replicas: [Replica; 2],
    /// Key sets that somebody holds, and until when.
    held: Vec<(BTreeSet<String>, u64)>,
    /// Keys of tokens that are good, and until when.
    tokens: Vec<(String, u64)>,
}

/// The longest life of a token here.
const LIFETIME: u64 = HOUR;

impl World {
    async fn new() -> Self {
        let store = memory();
        Self::on([store.clone(), store]).await
    }

    async fn on(stores: [Arc<dyn Store>; 2]) -> Self {
        let (time, sealing) = (Time::new(), SealingKeys::generate().unwrap());
        let replica = async |store: &Arc<dyn Store>, offset| {
            let clock = time.clock(offset);
            let settings = settings().token_lifetime(Duration::from_secs(LIFETIME));
            let keys = Keys::open(store.clone(), sealing.clone(), &settings, clock.clone()).await.unwrap();
            Replica { keys, clock, is_cut: false }
        };
        let replicas = [replica(&stores[0], 0).await, replica(&stores[1], 30).await];
        Self { time: time.clone(), stores, sealing: sealing.clone(), replicas, held: vec![], tokens: vec![] }
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Later(looks) => {
                for _ in 0..looks {
                    self.time.pass(10);
                    for replica in self.replicas.iter().filter(|replica| !replica.is_cut) {
                        replica.keys.tend().await.unwrap();
                    }
                }
                let now = self.time.now().as_secs();
                self.held.retain(|(_, until)| *until >= now);
                self.tokens.retain(|(_, until)| *until > now);
            }
            Event::Fetch(which) => {
                let Replica { keys, clock, is_cut } = &self.replicas[usize::from(which)];
                match keys.jwks(clock.now()) {
                    Ok((set, fresh)) => {
                        let set = kids(&set);
                        for (kid, _) in &self.tokens {
                            assert!(set.contains(kid), "a token that is good, by a key that is not published");
                        }
                        self.held.push((set, self.time.now().as_secs() + fresh.as_secs()));
                    }
                    Err(fault) => assert!(*is_cut, "{fault:?}"),
                }
            }
            Event::Sign(which) => {
                let Replica { keys, clock, is_cut } = &self.replicas[usize::from(which)];
                match kid_of_token(keys, clock.now()).await {
                    Ok(kid) => {
                        for (set, until) in &self.held {
                            assert!(set.contains(&kid), "unknown to a set that may be held until {until}");
                        }
                        self.tokens.push((kid, self.time.now().as_secs() + LIFETIME));
                    }
                    Err(fault) => assert!(*is_cut, "{fault:?}"),
                }
            }
            Event::Cut(which) => {
                let replica = &mut self.replicas[usize::from(which)];
                replica.is_cut = !replica.is_cut;
                if !replica.is_cut {
                    replica.keys.tend().await.unwrap();
                }
            }
            Event::Restart(which, offset, ahead, every, is_ed) => {
                let clock = self.time.clock(offset);
                let settings = settings()
                    .algorithm(if is_ed { Alg::EdDsa } else { Alg::Es256 })
                    .published_ahead(Duration::from_secs(ahead))
                    .rotate_every(Duration::from_secs(every))
                    .token_lifetime(Duration::from_secs(LIFETIME));
                let store = self.stores[usize::from(which)].clone();
                let keys = Keys::open(store, self.sealing.clone(), &settings, clock.clone()).await.unwrap();
                self.replicas[usize::from(which)] = Replica { keys, clock, is_cut: false };
            }
            Event::Rotate(which) => {
                let replica = &self.replicas[usize::from(which)];
                if !replica.is_cut {
                    // Too many at a time are refused.
                    let _ = replica.keys.rotate().await;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    // Whoever holds a set for as long as it was allowed to never meets a key that is not in it, whichever replica gave the set
    // and whichever signs; and a set that is fetched has the key of every token that is good.
    #[test]
    fn no_verifier_meets_an_unknown_key(events in proptest::collection::vec(event(), 1..160)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in events {
                world.happens(event).await;
            }
        });
    }
}

// The same on a real PostgreSQL, through two connections of their own: what one replica turns, the other has signed and published in
// time, whichever is asked.
#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres_with_two_replicas_has_no_verifier_meet_an_unknown_key() {
    let database = OwnDatabase::new("keys").await;
    let connect = || open(&database.location(), UnixTime::from_secs(START)).unwrap();
    let mut world = World::on([connect(), connect()]).await;
    let mut seen = BTreeSet::new();
    for turn in 0..8 {
        let one = turn % 2 == 0;
        let around = [Event::Fetch(one), Event::Fetch(!one), Event::Sign(one), Event::Sign(!one)];
        for event in around.clone().into_iter().chain([Event::Rotate(one)]).chain(around.clone()) {
            world.happens(event).await;
        }
        // Past the hour for which the next key is published before it signs, in steps of ten seconds, with others asking.
        for _ in 0..8 {
            world.happens(Event::Later(60)).await;
            for event in around.clone() {
                world.happens(event).await;
            }
        }
        let lists = world.replicas.each_ref().map(|replica| replica.keys.list(world.time.now()));
        assert_eq!(lists[0], lists[1]);
        let signing = lists[0].iter().find(|key| key.state.as_str() == "signing").unwrap();
        seen.insert(signing.kid.clone());
    }
    assert_eq!(seen.len(), 8, "each turn had a key of its own");
}

#[tokio::test]
async fn two_replicas_make_one_key_for_each_turn() {
    let (time, store, sealing) = (Time::new(), memory(), SealingKeys::generate().unwrap());
    let settings = settings();
    let open = || Keys::open(store.clone(), sealing.clone(), &settings, time.clock(0));
    let (one, other) = tokio::join!(open(), open());
    let (one, other) = (one.unwrap(), other.unwrap());
    let mut seen = BTreeSet::new();
    for _ in 0..12 {
        let (first, second) = tokio::join!(one.tend(), other.tend());
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!(one.list(time.now()), other.list(time.now()));
        seen.extend(one.list(time.now()).into_iter().map(|key| key.kid));
        time.pass(30 * 86_400);
    }
    assert_eq!(seen.len(), 13, "one that signs, and eleven turns with the next one each");
}

#[tokio::test]
async fn keys_go_the_way_of_all_keys() {
    let (time, store, sealing) = (Time::new(), memory(), SealingKeys::generate().unwrap());
    let keys = Keys::open(store.clone(), sealing, &settings(), time.clock(0)).await.unwrap();
    let states = |keys: &Keys| keys.list(time.now()).into_iter().map(|key| key.state.as_str()).collect::<Vec<_>>();
    assert_eq!(states(&keys), ["signing", "next"]);
    let first = kid_of_token(&keys, time.now()).await.unwrap();
    let has_private = async |kid: &str| store.read(Kind::KEY, kid, time.now()).await.unwrap().is_some();
    time.pass(30 * 86_400);
    keys.tend().await.unwrap();
    assert_eq!(states(&keys), ["retired", "signing", "next"]);
    assert!(has_private(&first).await);
    time.pass(420);
    keys.tend().await.unwrap();
    assert!(!has_private(&first).await, "nobody signs with it any more");
    assert!(kids(&keys.jwks(time.now()).unwrap().0).contains(&first), "what it signed is still about");
    time.pass(HOUR);
    keys.tend().await.unwrap();
    assert_eq!(states(&keys), ["signing", "next"]);
    assert!(!kids(&keys.jwks(time.now()).unwrap().0).contains(&first));
}

#[tokio::test]
async fn a_key_that_is_revoked_is_followed_by_one_that_is_known() {
    let (time, store, sealing) = (Time::new(), memory(), SealingKeys::generate().unwrap());
    let keys = Keys::open(store.clone(), sealing, &settings(), time.clock(0)).await.unwrap();
    let (set, _) = keys.jwks(time.now()).unwrap();
    let stolen = kid_of_token(&keys, time.now()).await.unwrap();
    keys.revoke(&stolen).await.unwrap();
    let next = kid_of_token(&keys, time.now()).await.unwrap();
    assert!(next != stolen && kids(&set).contains(&next), "every verifier has it");
    assert!(!kids(&keys.jwks(time.now()).unwrap().0).contains(&stolen));
    assert!(store.read(Kind::KEY, &stolen, time.now()).await.unwrap().is_none());
    assert_eq!(keys.revoke(&stolen).await.unwrap_err().to_string(), "there is no key of this name");
    // All of them, one after the other: there is always one that signs.
    for _ in 0..5 {
        let kid = kid_of_token(&keys, time.now()).await.unwrap();
        keys.revoke(&kid).await.unwrap();
        assert_ne!(kid_of_token(&keys, time.now()).await.unwrap(), kid);
    }
}

#[tokio::test]
async fn a_rotation_waits_until_the_next_key_is_known() {
    let (time, store, sealing) = (Time::new(), memory(), SealingKeys::generate().unwrap());
    let keys = Keys::open(store, sealing, &settings(), time.clock(0)).await.unwrap();
    let first = kid_of_token(&keys, time.now()).await.unwrap();
    keys.rotate().await.unwrap();
    assert_eq!(kid_of_token(&keys, time.now()).await.unwrap(), first, "the next one was published a moment ago");
    time.pass(HOUR);
    keys.tend().await.unwrap();
    let second = kid_of_token(&keys, time.now()).await.unwrap();
    assert_ne!(second, first);
    time.pass(2 * HOUR);
    keys.rotate().await.unwrap();
    assert_ne!(kid_of_token(&keys, time.now()).await.unwrap(), second, "this time it is known");
}

#[tokio::test]
async fn another_algorithm_is_a_rotation() {
    let (time, store, sealing) = (Time::new(), memory(), SealingKeys::generate().unwrap());
    for (alg, before) in [(Alg::Es256, None), (Alg::Ps256, Some("ES256")), (Alg::EdDsa, Some("PS256"))] {
        let settings = settings().algorithm(alg);
        let keys = Keys::open(store.clone(), sealing.clone(), &settings, time.clock(0)).await.unwrap();
        let alg_now = async || header(&keys.sign("JWT", &json!({}), time.now()).await.unwrap())["alg"].clone();
        if let Some(before) = before {
            assert_eq!(alg_now().await, before);
            assert!(keys.algs().contains(&alg), "the metadata has both");
            time.pass(HOUR);
        }
        keys.tend().await.unwrap();
        assert_eq!(alg_now().await, alg.name());
        let token = keys.sign("JWT", &json!({}), time.now()).await.unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let held = keys.0.now.load();
        let key = held.ring.signing(time.now()).unwrap();
        let prepared = AwsLc.prepare(&key.jwk, alg).unwrap();
        assert_eq!(prepared.verify(signed.as_bytes(), &decode_base64url(signature).unwrap()), Ok(()));
    }
}

#[tokio::test]
async fn a_replica_that_is_cut_off_stops_in_time() {
    let (time, store, sealing) = (Time::new(), memory(), SealingKeys::generate().unwrap());
    let settings = settings().published_ahead(Duration::from_secs(510));
    let keys = Keys::open(store, sealing, &settings, time.clock(0)).await.unwrap();
    let fresh = |keys: &Keys| keys.jwks(time.now()).map(|(_, fresh)| fresh.as_secs());
    assert_eq!(fresh(&keys), Ok(300));
    time.pass(61);
    assert_eq!(fresh(&keys), Ok(299), "a key that it does not know of may sign then");
    time.pass(240);
    assert_eq!(fresh(&keys), Ok(59));
    assert_eq!(kid_of_token(&keys, time.now()).await, Err(Fault::StoreUnavailable));
    time.pass(59);
    assert_eq!(fresh(&keys), Err(Fault::StoreUnavailable));
    keys.tend().await.unwrap();
    assert_eq!(fresh(&keys), Ok(300));
    assert!(kid_of_token(&keys, time.now()).await.is_ok());
}

#[tokio::test]
async fn a_wrong_sealing_key_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id.db");
    let (time, right) = (Time::new(), SealingKeys::generate().unwrap());
    let wrong = SealingKeys::generate().unwrap();
    let start = |sealing: &SealingKeys| {
        let sealing = sealing.clone();
        Keys::start(sqlite(&file), move |_| Ok(sealing), &settings(), time.clock(0), None)
    };
    let kid = kid_of_token(&start(&right).unwrap(), time.now()).await.unwrap();
    let before = record(&sqlite(&file), Kind::KEY_RING, "ring").await;
    let error = start(&wrong).unwrap_err().to_string();
    assert!(error.contains("was sealed under another key") && error.contains("Nothing was changed"), "{error}");
    for keys in [&right, &wrong] {
        assert!(!error.contains(keys.to_text().trim()), "{error}");
    }
    assert_eq!(record(&sqlite(&file), Kind::KEY_RING, "ring").await, before);
    assert_eq!(kid_of_token(&start(&right).unwrap(), time.now()).await.unwrap(), kid);
    // Both, the new one first: from then on, the new one alone will do.
    let both = SealingKeys::parse(&[&**wrong.to_text(), &right.to_text()].concat()).unwrap();
    for sealing in [&both, &wrong] {
        assert_eq!(kid_of_token(&start(sealing).unwrap(), time.now()).await.unwrap(), kid);
    }
    assert!(start(&right).is_err());
}

#[tokio::test]
async fn what_was_changed_or_moved_does_not_open() {
    let (time, sealing) = (Time::new(), SealingKeys::generate().unwrap());
    let made = async || {
        let store = memory();
        let keys = Keys::open(store.clone(), sealing.clone(), &settings(), time.clock(0)).await.unwrap();
        let kids: Vec<_> = keys.list(time.now()).into_iter().map(|key| key.kid).collect();
        (store, kids)
    };
    let refused = async |store: &Arc<dyn Store>, why: &str| {
        let error = Keys::open(store.clone(), sealing.clone(), &settings(), time.clock(0)).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    let (store, kids) = made().await;
    let [first, second] = [&kids[0], &kids[1]];
    let bodies = [record(&store, Kind::KEY, first).await.body, record(&store, Kind::KEY, second).await.body];
    overwrite(&store, Kind::KEY, first, &bodies[1]).await;
    refused(&store, &format!("the signing key {first} is damaged, or is not where it was")).await;
    overwrite(&store, Kind::KEY, first, &bodies[0]).await;
    overwrite(&store, Kind::KEY, second, "{\"sealed\"").await;
    refused(&store, &format!("the signing key {second} is damaged")).await;

    // A key of somebody who writes to the database.
    let (store, _) = made().await;
    let foreign = SoftwareKey::generate(Alg::Es256).unwrap();
    let body: Value = serde_json::from_str(&record(&store, Kind::KEY_RING, "ring").await.body).unwrap();
    let mut ring: Value = serde_json::from_str(body["ring"].as_str().unwrap()).unwrap();
    ring["keys"][1]["jwk"] = foreign.public_jwk().to_json().into();
    ring["keys"][1]["kid"] = foreign.thumbprint().to_string().into();
    let changed = json!({ "ring": ring.to_string(), "seal": body["seal"] });
    overwrite(&store, Kind::KEY_RING, "ring", &changed.to_string()).await;
    refused(&store, "the schedule of signing keys is damaged").await;

    let (store, _) = made().await;
    let take = Change::Take { kind: Kind::KEY_RING, id: "ring".into() };
    assert_eq!(store.write(vec![take], time.now()).await, Ok(Written::Done));
    refused(&store, "lacks their schedule").await;
}

#[tokio::test]
async fn no_private_key_is_in_the_file_or_in_debug() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id.db");
    let (time, sealing) = (Time::new(), SealingKeys::generate().unwrap());
    let store = sqlite(&file);
    let keys = Keys::open(store.clone(), sealing.clone(), &settings(), time.clock(0)).await.unwrap();
    let mut secrets = Vec::new();
    for key in keys.list(time.now()) {
        let row: Value = serde_json::from_str(&record(&store, Kind::KEY, &key.kid).await.body).unwrap();
        let sealed = serde_json::from_value(row["sealed"].clone()).unwrap();
        let text = sealing.open(&["keybound signing key 1", &key.kid, key.alg.name()], &sealed).unwrap();
        let jwk: Value = from_slice(&text).unwrap();
        let d = jwk["d"].as_str().unwrap().to_owned();
        secrets.push(decode_base64url(&d).unwrap());
        secrets.push(d.into_bytes());
    }
    assert_eq!(secrets.len(), 4);
    secrets.push(sealing.to_text().trim().as_bytes().to_vec());
    let shown = format!("{keys:?} {store:?} {sealing:?} {:?}", keys.list(time.now()));
    let files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    let public = keys.list(time.now())[0].kid.clone();
    assert!(files.iter().any(|octets| contains(octets, public.as_bytes())), "what is looked through has the keys");
    for secret in &secrets {
        assert!(!contains(shown.as_bytes(), secret));
        assert!(files.iter().all(|octets| !contains(octets, secret)));
    }
}

fn contains(octets: &[u8], part: &[u8]) -> bool {
    octets.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_key_of_somebodys_own_is_followed_with_overlap() {
    let now = UnixTime::from_secs;
    let [first, second] = [Alg::Es256, Alg::Ed25519].map(|alg| SoftwareKey::generate(alg).unwrap());
    let again = SoftwareKey::from_jwk(second.to_private_jwk().unwrap().as_bytes()).unwrap();
    let [one, two] = [&first, &second].map(|key| key.thumbprint().to_string());
    let keys = Keys::new(first);
    let hour = Duration::from_secs(HOUR);
    keys.follow_with(second, hour, now(START));
    keys.follow_with(again, hour, now(START + 60));
    assert_eq!(kids(&keys.jwks(now(START)).unwrap().0), BTreeSet::from([one.clone(), two.clone()]));
    assert_eq!(kid_of_token(&keys, now(START + HOUR - 1)).await.unwrap(), one);
    assert_eq!(kid_of_token(&keys, now(START + HOUR)).await.unwrap(), two);
    assert_eq!(kids(&keys.jwks(now(START + 25 * HOUR)).unwrap().0), BTreeSet::from([one, two.clone()]));
    assert_eq!(kids(&keys.jwks(now(START + 26 * HOUR)).unwrap().0), BTreeSet::from([two]));
}
