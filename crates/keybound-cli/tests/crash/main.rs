//! `kill -9` at any instant: nothing acknowledged is lost, and nothing is issued twice. The issuer is killed over its own SQLite
//! file and over PostgreSQL; and, beside an issuer that stays, a PostgreSQL server is.
//!
//! The instants come of a seed that is printed; `KEYBOUND_CRASH_SEED` has a run again, as far as threads allow.

#[path = "../cli/address.rs"]
mod address;
mod check;
mod disk;
mod faults;
mod http;
mod issuer;
mod postgres;
mod random;
mod story;

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use keybound::crypto::aws_lc::random_array;
use keybound_issuer::store::Location;

use crate::check::Ledger;
use crate::http::Peer;
use crate::issuer::Issuer;
use crate::random::Random;
use crate::story::{Lost, Once, Story};

/// Clients at once.
const CLIENTS: usize = 6;

/// How often the issuer is killed under load.
const KILLS: usize = 100;

/// How long it goes on being killed over PostgreSQL, and how often at least.
const LONG: Duration = Duration::from_secs(60);
const FEW: usize = 10;

/// How often the database server is.
const SERVER_KILLS: usize = 12;

/// What is spent stays so: this many of it are tried again after each crash.
const REMEMBERED: usize = 8;

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Loads last up to so long once something was acknowledged, in microseconds.
const LONGEST: u64 = 150_000;

/// A run: what to kill, and what is known so far.
struct Run {
    random: Random,
    ledger: Ledger,
    spent: Vec<String>,
    /// Access tokens that were revoked.
    revoked: Vec<String>,
    crashes: usize,
}

impl Run {
    fn new() -> Self {
        let seed = match std::env::var("KEYBOUND_CRASH_SEED") {
            Ok(seed) => seed.parse().expect("KEYBOUND_CRASH_SEED is a number"),
            Err(_) => u64::from_be_bytes(random_array().unwrap()),
        };
        println!("KEYBOUND_CRASH_SEED={seed}");
        Self {
            random: Random::new(seed),
            ledger: Ledger::default(),
            spent: Vec::new(),
            revoked: Vec::new(),
            crashes: 0,
        }
    }

    /// Clients do what they do until `crash` has happened at an instant that the seed has chosen.
    fn load(&mut self, issuer: &Issuer, crash: impl FnOnce()) -> Vec<Story> {
        let seeds: Vec<Random> = (0..CLIENTS).map(|_| Random::new(self.random.next())).collect();
        let instant = Duration::from_micros(self.random.below(LONGEST));
        self.crashes += 1;
        let (done, first) = mpsc::channel();
        thread::scope(|scope| {
            let begin = |mut random: Random| {
                let make = || Peer::new(issuer.address());
                let done = done.clone();
                // Nobody listens after the first time.
                let acknowledged = move || {
                    let _ = done.send(());
                };
                scope.spawn(move || Story::of(make, issuer.signer(), &issuer.url(), &mut random, acknowledged))
            };
            let clients: Vec<_> = seeds.into_iter().map(begin).collect();
            first.recv_timeout(PATIENCE).expect("something that is done");
            thread::sleep(instant);
            crash();
            clients.into_iter().map(|client| client.join().expect("a story without faults")).collect()
        })
    }

    /// Whether all is as it was acknowledged, now that the issuer answers again.
    fn check(&mut self, issuer: &Issuer, stories: Vec<Story>) {
        let checked = thread::scope(|scope| {
            let checks: Vec<_> = stories.into_iter().map(|story| scope.spawn(|| checked(issuer, story))).collect();
            checks.into_iter().map(|check| check.join().expect("nothing lost, nothing twice")).collect::<Vec<_>>()
        });
        for (ledger, spent, revoked) in checked {
            self.ledger.add(ledger);
            self.spent.extend(spent);
            self.revoked.extend(revoked);
        }
        let mut peer = Peer::new(issuer.address());
        for _ in 0..REMEMBERED.min(self.spent.len()) {
            let one = self.random.below(self.spent.len() as u64) as usize;
            check::assert_refused(&mut peer, &self.spent[one]);
        }
        for _ in 0..REMEMBERED.min(self.revoked.len()) {
            let one = self.random.below(self.revoked.len() as u64) as usize;
            assert!(!check::is_active(&mut peer, issuer, &self.revoked[one]), "a revoked token is good again");
        }
    }

    /// What the issuer has noted is what clients got, and of what they did not get at most as much as they asked for.
    fn audit(self, location: &Location) {
        let issued = issuer::issued(location);
        for jti in &self.ledger.issued {
            assert_eq!(issued.iter().filter(|noted| *noted == jti).count(), 1, "{jti}");
        }
        for (grant, (came, lost)) in &self.ledger.grants {
            let prefix = format!("{grant}.");
            let noted = issued.iter().filter(|noted| noted.starts_with(&prefix)).count();
            assert!(
                (*came..=came + lost).contains(&noted),
                "{grant}: {came} came, {lost} were lost, {noted} are noted"
            );
        }
        println!(
            "{} crashes, {} tokens acknowledged, {} grants, {} tokens noted",
            self.crashes,
            self.ledger.issued.len(),
            self.ledger.grants.len(),
            issued.len()
        );
        assert!(self.ledger.issued.len() > self.crashes, "there was hardly any load");
    }
}

/// One story: what was issued, what is spent, and what is revoked.
fn checked(issuer: &Issuer, story: Story) -> (Ledger, Vec<String>, Vec<String>) {
    let mut ledger = Ledger { issued: story.issued, ..Ledger::default() };
    let mut peer = Peer::new(issuer.address());
    let mut spent: Vec<String> = Vec::new();
    for once in story.assertions {
        check::assertion(&mut peer, &once, &mut ledger);
        spent.push(once.form);
    }
    for pushed in &story.pushed {
        check::pushed(&mut peer, pushed);
    }
    for token in &story.tokens {
        check::token(&mut peer, issuer, token);
    }
    for waiting in story.waiting {
        spent.push(waiting.form.clone());
        check::waiting(waiting, &mut ledger);
    }
    for chain in story.chains {
        let forms = chain.links.iter().map(|link: &Once| link.form.clone());
        spent.extend(forms);
        check::chain(chain, &mut ledger);
    }
    (ledger, spent, story.tokens.into_iter().map(|token| token.text).collect())
}

/// Kills the issuer under load again and again.
fn kill_issuer(location: &Location, is_enough: impl Fn(usize) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let mut issuer = Issuer::new(folder.path(), location);
    let mut run = Run::new();
    issuer.start();
    while !is_enough(run.crashes) {
        let process = issuer.take();
        let stories = run.load(&issuer, || process.kill());
        // Now and then also while it starts.
        if run.random.below(8) == 0 {
            issuer.spawn();
            thread::sleep(Duration::from_micros(run.random.below(LONGEST / 2)));
            issuer.take().kill();
        }
        issuer.start();
        run.check(&issuer, stories);
    }
    issuer.take().kill();
    run.audit(location);
}

#[test]
fn a_killed_issuer_loses_nothing_and_issues_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    kill_issuer(&Location::Sqlite(folder.path().join("id.db")), |crashes| crashes >= KILLS);
}

#[test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
fn an_issuer_killed_over_postgres_loses_nothing_and_issues_nothing_twice() {
    let _alone = alone();
    let server = postgres::Server::named();
    let begun = Instant::now();
    kill_issuer(&Location::Postgres(server.url().into()), |crashes| crashes >= FEW && begun.elapsed() > LONG);
}

#[test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
fn killed_postgres_loses_nothing_and_issues_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let _alone = alone();
    let server = postgres::Server::named();
    let location = Location::Postgres(server.url().into());
    let mut issuer = Issuer::new(folder.path(), &location);
    let mut run = Run::new();
    issuer.start();
    for _ in 0..SERVER_KILLS {
        let stories = run.load(&issuer, || server.kill());
        server.start();
        recovered(&issuer);
        run.check(&issuer, stories);
    }
    issuer.take().kill();
    run.audit(&location);
}

/// What one test does to the PostgreSQL server, the others would see as well.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the issuer works again, which it does by itself.
fn recovered(issuer: &Issuer) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(Lost) = story::code(&mut Peer::new(issuer.address())) {
        assert!(Instant::now() < deadline, "it does not recover");
    }
}
