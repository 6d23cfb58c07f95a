//! One fault at a time, or several that overlap, and their end.

use std::thread;
use std::time::Duration;

use crate::chance::Chance;
use crate::gateways::Gateways;
use crate::ledger::Ledger;
use crate::servers::Servers;

/// The longest that a gateway may take to take connections again, once its servers do.
const START: Duration = Duration::from_secs(30);

/// What was done, to be undone.
enum Hit {
    ServerKilled(usize),
    ServerStopped(usize),
    ServerCutOff(usize),
    GatewayKilled(usize),
    GatewayStopped(usize),
}

/// One fault or two, for a while.
pub(crate) fn one(servers: &mut impl Servers, gateways: &Gateways, chance: &mut Chance, ledger: &Ledger) {
    thread::sleep(chance.pause(50, 800));
    let mut hits = vec![hit(servers, gateways, chance, ledger)];
    if chance.once_in(3) {
        thread::sleep(chance.pause(10, 300));
        hits.push(hit(servers, gateways, chance, ledger));
    }
    thread::sleep(chance.pause(20, 2500));
    for hit in hits.into_iter().flatten() {
        mend(&hit, servers, gateways, ledger);
    }
}

/// Waits until the servers are one again and every gateway runs.
pub(crate) fn over(servers: &mut impl Servers, gateways: &Gateways, ledger: &Ledger) {
    servers.settled();
    for gateway in gateways.all() {
        assert!(gateway.answers_within(START), "a gateway does not start again\n{}", ledger.story());
    }
    ledger.tell("all is well");
}

fn hit(servers: &mut impl Servers, gateways: &Gateways, chance: &mut Chance, ledger: &Ledger) -> Option<Hit> {
    let number = chance.below(servers.count());
    let (gateway, kind) = (chance.below(gateways.all().len()), chance.below(10));
    let node = servers.node(number);
    if kind < 6 && (!node.server.is_running() || node.server.is_stopped()) {
        return None;
    }
    let (what, hit) = match kind {
        0 | 1 => {
            node.server.kill();
            (format!("server {number} is killed"), Some(Hit::ServerKilled(number)))
        }
        2 => {
            node.server.stop();
            (format!("server {number} stands still"), Some(Hit::ServerStopped(number)))
        }
        3 => {
            node.ways.iter().for_each(|way| way.bar_servers());
            (format!("server {number} is cut off from the others"), Some(Hit::ServerCutOff(number)))
        }
        4 => {
            node.ways.iter().for_each(|way| way.bar());
            (format!("server {number} is cut off from all"), Some(Hit::ServerCutOff(number)))
        }
        5 => {
            node.ways.iter().for_each(|way| way.reset());
            (format!("connections to server {number} break off"), None)
        }
        6 | 7 => {
            gateways.all()[gateway].kill();
            (format!("gateway {gateway} is killed"), Some(Hit::GatewayKilled(gateway)))
        }
        8 => {
            gateways.all()[gateway].signal("-STOP");
            (format!("gateway {gateway} stands still"), Some(Hit::GatewayStopped(gateway)))
        }
        _ => (servers.turn_over(chance)?, None),
    };
    ledger.tell(&what);
    hit
}

fn mend(hit: &Hit, servers: &mut impl Servers, gateways: &Gateways, ledger: &Ledger) {
    let what = match *hit {
        Hit::ServerKilled(number) => {
            servers.node(number).server.restart();
            format!("server {number} runs again")
        }
        Hit::ServerStopped(number) => {
            let server = servers.node(number).server;
            if server.is_stopped() {
                server.go_on();
            }
            format!("server {number} goes on")
        }
        Hit::ServerCutOff(number) => {
            servers.node(number).ways.iter().for_each(|way| way.open());
            format!("the way to server {number} is open")
        }
        Hit::GatewayKilled(number) => {
            gateways.all()[number].begin();
            format!("gateway {number} starts")
        }
        Hit::GatewayStopped(number) => {
            gateways.all()[number].signal("-CONT");
            format!("gateway {number} goes on")
        }
    };
    ledger.tell(&what);
}
