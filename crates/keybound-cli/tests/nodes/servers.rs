//! The Redis servers, and what can be done to them and to others.

use std::thread;
use std::time::Duration;

use redis_rig::{Cluster, Proxy, Sentinels, Server, Settings, wait_until};

use crate::chance::Chance;
use crate::looks;
use crate::watch::Look;

/// What can be done to a server.
pub(crate) trait Process {
    fn is_running(&mut self) -> bool;
    fn is_stopped(&self) -> bool;
    fn kill(&mut self);
    fn stop(&mut self);
    fn go_on(&mut self);
    fn restart(&mut self);
}

impl Process for Server {
    fn is_running(&mut self) -> bool {
        Self::is_running(self)
    }

    fn is_stopped(&self) -> bool {
        Self::is_stopped(self)
    }

    fn kill(&mut self) {
        Self::kill(self).expect("an end");
    }

    fn stop(&mut self) {
        Self::stop(self).expect("a process");
    }

    fn go_on(&mut self) {
        Self::go_on(self).expect("a process");
    }

    fn restart(&mut self) {
        Self::restart(self).expect("redis-server");
    }
}

/// One of the servers, and the ways to it.
pub(crate) struct Node<'s> {
    pub(crate) server: &'s mut dyn Process,
    pub(crate) ways: Vec<&'s Proxy>,
}

/// Some arrangement of servers.
pub(crate) trait Servers {
    fn url(&self) -> String;

    /// What else the gateways' configuration says of them.
    fn settings(&self) -> &'static str {
        ""
    }

    /// How many servers there are that may be hit.
    fn count(&self) -> usize;

    fn node(&mut self, number: usize) -> Node<'_>;

    /// Something that is done to the whole, and what it was.
    fn turn_over(&mut self, _chance: &mut Chance) -> Option<String> {
        None
    }

    /// Waits until they are one again; everything runs by now.
    fn settled(&mut self);

    /// Sees whether they answer, over the ways that gateways have.
    fn look(&self) -> Look;

    /// Whether another server can take over.
    fn can_fail_over(&self) -> bool {
        false
    }

    /// Has another server take over, where one can: who was first ends at once and comes back later.
    fn fail_over(&mut self, _chance: &mut Chance) -> Option<String> {
        None
    }

    /// Puts another text in place of the one that processes share, unless somebody else does; whether it is there now.
    fn change_shared_text(&mut self, change: Change<'_>) -> bool;
}

/// What comes in place of a text, if anything.
pub(crate) type Change<'c> = &'c dyn Fn(&str) -> Option<String>;

/// The shared text, which has a short name of its own in each lane of a Cluster.
const TEXT: &str = "local key for _, one in ipairs(redis.call('KEYS', 'kb:*n')) do if #one < 12 then key = one end end \
                    if not key then return '' end local held = redis.call('GET', key) \
                    if ARGV[1] == held then redis.call('SET', key, ARGV[2]) return ARGV[2] end return held";

fn change_text_at(server: &Server, change: Change<'_>) -> bool {
    let Ok(held) = server.ask(&["EVAL", TEXT, "0"]) else { return false };
    change(&held).is_some_and(|new| server.ask(&["EVAL", TEXT, "0", &held, &new]).is_ok_and(|now| now == new))
}

/// One server.
pub(crate) struct Alone {
    server: Server,
    proxy: Proxy,
}

impl Alone {
    pub(crate) fn start(keeps_a_log: bool) -> Self {
        let settings = Settings::new().own_clock();
        let settings = if keeps_a_log { settings.append_only() } else { settings };
        let server = Server::start(settings).expect("redis-server");
        let proxy = Proxy::to(server.address()).expect("a proxy");
        Self { server, proxy }
    }
}

impl Servers for Alone {
    fn url(&self) -> String {
        format!("redis://{}", self.proxy.address())
    }

    fn count(&self) -> usize {
        1
    }

    fn node(&mut self, _: usize) -> Node<'_> {
        Node { server: &mut self.server, ways: vec![&self.proxy] }
    }

    /// Its clock goes ahead and comes back.
    fn turn_over(&mut self, chance: &mut Chance) -> Option<String> {
        if !self.server.is_running() || self.server.is_stopped() {
            return None;
        }
        let ahead = i64::try_from(chance.below(8000)).expect("a span");
        let outcome = self.server.turn_clock(ahead).map(|()| thread::sleep(chance.pause(1, 1500)));
        let outcome = outcome.and_then(|()| self.server.turn_clock(0));
        Some(format!("the clock was {ahead} s ahead: {outcome:?}"))
    }

    fn settled(&mut self) {}

    fn look(&self) -> Look {
        looks::one(self.proxy.address())
    }

    fn change_shared_text(&mut self, change: Change<'_>) -> bool {
        change_text_at(&self.server, change)
    }
}

pub(crate) fn sentinels() -> Sentinels {
    Sentinels::start(2, &Settings::new().silence(Duration::from_millis(500))).expect("redis-server")
}

/// The servers first, then the Sentinels.
impl Servers for Sentinels {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn count(&self) -> usize {
        6
    }

    fn node(&mut self, number: usize) -> Node<'_> {
        let watcher = if number < 3 { &mut self.nodes()[number] } else { &mut self.sentinels()[number - 3] };
        Node { server: &mut watcher.server, ways: vec![&watcher.proxy] }
    }

    fn turn_over(&mut self, chance: &mut Chance) -> Option<String> {
        let sentinel = chance.below(3);
        let answer = self.sentinels()[sentinel].server.ask(&["SENTINEL", "FAILOVER", "proofs"]);
        Some(format!("a failover is asked for: {answer:?}"))
    }

    fn settled(&mut self) {
        Self::settled(self).expect("one primary");
    }

    fn look(&self) -> Look {
        looks::sentinels(self.sentinel_addresses(), self.name())
    }

    fn can_fail_over(&self) -> bool {
        true
    }

    fn fail_over(&mut self, _: &mut Chance) -> Option<String> {
        let first = self.primary().expect("a primary");
        self.nodes()[first].server.kill().expect("an end");
        let next = self.wait_for_another(first).expect("another primary");
        self.nodes()[first].server.restart().expect("redis-server");
        Some(format!("server {first} was killed, and server {next} has taken over"))
    }

    fn change_shared_text(&mut self, change: Change<'_>) -> bool {
        self.primary().is_ok_and(|primary| change_text_at(&self.nodes()[primary].server, change))
    }
}

pub(crate) fn cluster() -> Cluster {
    Cluster::start(3, &Settings::new().silence(Duration::from_secs(1))).expect("redis-server")
}

impl Servers for Cluster {
    fn url(&self) -> String {
        Self::url(self)
    }

    fn count(&self) -> usize {
        6
    }

    fn node(&mut self, number: usize) -> Node<'_> {
        let member = &mut self.nodes()[number];
        Node { server: &mut member.server, ways: vec![&member.proxy, &member.bus] }
    }

    fn turn_over(&mut self, chance: &mut Chance) -> Option<String> {
        let primaries = self.primaries();
        let [from, to] = [(); 2].map(|()| primaries.get(chance.below(primaries.len().max(1))).copied());
        let (from, to) = (from?, to?);
        // One that has something in it.
        let script = "return redis.call('CLUSTER', 'KEYSLOT', redis.call('RANDOMKEY'))";
        let slot = self.nodes()[from].server.ask(&["EVAL", script, "0"]).ok()?.parse().ok()?;
        if from == to || chance.once_in(2) {
            let moved = self.move_slot(slot, to);
            return Some(format!("slot {slot} moves to {to}: {moved:?}"));
        }
        let begun = self.begin_move(slot, from, to).and_then(|()| self.move_keys(slot, from, to, "*"));
        thread::sleep(chance.pause(1, 1500));
        let ended = self.give_up_move(slot, from, to);
        Some(format!("slot {slot} was to move from {from} to {to}, and does not: {begun:?} {ended:?}"))
    }

    fn settled(&mut self) {
        Self::settled(self).expect("a whole cluster");
    }

    fn look(&self) -> Look {
        looks::cluster(self.addresses())
    }

    fn can_fail_over(&self) -> bool {
        true
    }

    fn fail_over(&mut self, chance: &mut Chance) -> Option<String> {
        let primaries = self.primaries();
        let first = primaries[chance.below(primaries.len())];
        self.nodes()[first].server.kill().expect("an end");
        let is_whole = || self.primaries().len() == primaries.len();
        wait_until("another primary", is_whole).expect("another primary");
        self.nodes()[first].server.restart().expect("redis-server");
        Some(format!("server {first} was killed, and its replica has taken over"))
    }

    fn change_shared_text(&mut self, change: Change<'_>) -> bool {
        self.primaries().into_iter().any(|primary| change_text_at(&self.nodes()[primary].server, change))
    }
}
