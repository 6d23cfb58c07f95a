//! `cargo xtask scale`: what many nodes before a shared memory of used proofs need, reckoned from costs that were measured. Each can
//! be given as `name=value`; the table says which were used.

use std::process::ExitCode;

/// What is put in. The costs are those of `cargo xtask figures replay redis`.
struct Inputs {
    /// Requests a second, of all nodes.
    requests: f64,
    nodes: f64,
    /// Requests a second of one client.
    per_client: f64,
    /// For how many seconds a proof is remembered in memory, and in Redis, where clocks may be further apart.
    kept: f64,
    kept_shared: f64,
    /// Octets of a live proof in memory, and in Redis.
    memory: f64,
    redis_memory: f64,
    /// Microseconds of a Redis server for a record, when records come together.
    redis_record: f64,
    /// How much of its time a server may be busy.
    busy: f64,
    /// Octets of a record on the wire, both ways and headers of packets included.
    wire: f64,
    /// Seconds from the death of a primary to the service of the next.
    failover: f64,
}

const HELP: &[(&str, &str)] = &[
    ("requests", "requests a second, all nodes"),
    ("nodes", "gateways"),
    ("per-client", "requests a second of a client"),
    ("kept", "seconds a proof is kept in memory"),
    ("kept-shared", "seconds a proof is kept in Redis"),
    ("memory", "octets of a live proof in memory"),
    ("redis-memory", "octets of a live proof in Redis"),
    ("redis-record", "µs of a Redis server for a record"),
    ("busy", "share of its time a server is busy"),
    ("wire", "octets of a record on the wire"),
    ("failover", "seconds of a failover"),
];

impl Inputs {
    fn new() -> Self {
        Self {
            requests: 1e6,
            nodes: 100.0,
            per_client: 10.0,
            kept: 310.0,
            kept_shared: 320.0,
            memory: 26.0,
            redis_memory: 118.0,
            redis_record: 10.6,
            busy: 0.6,
            wire: 150.0,
            failover: 5.0,
        }
    }

    fn named(&mut self, name: &str) -> Option<&mut f64> {
        Some(match name {
            "requests" => &mut self.requests,
            "nodes" => &mut self.nodes,
            "per-client" => &mut self.per_client,
            "kept" => &mut self.kept,
            "kept-shared" => &mut self.kept_shared,
            "memory" => &mut self.memory,
            "redis-memory" => &mut self.redis_memory,
            "redis-record" => &mut self.redis_record,
            "busy" => &mut self.busy,
            "wire" => &mut self.wire,
            "failover" => &mut self.failover,
            _ => return None,
        })
    }

    /// Primaries, so that none is busier than it may be.
    fn shards(&self) -> f64 {
        (self.requests * self.redis_record / 1e6 / self.busy).ceil()
    }
}

/// Prints the table.
pub(crate) fn print(words: &[&str]) -> ExitCode {
    let mut inputs = Inputs::new();
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite() && *value > 0.0);
        match (inputs.named(name), value) {
            (Some(input), Some(value)) => *input = value,
            _ => {
                let names: Vec<&str> = HELP.iter().map(|(name, _)| *name).collect();
                eprintln!("{word}: write NAME=NUMBER, where NAME is one of {}", names.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    println!("| put in | |\n|---|---|");
    for (name, meaning) in HELP {
        let value = inputs.named(name).map_or(0.0, |value| *value);
        println!("| {meaning} (`{name}`) | {} |", grouped(value));
    }
    println!("\n| comes out | |\n|---|---|");
    for (what, value) in rows(&inputs) {
        println!("| {what} | {value} |");
    }
    ExitCode::SUCCESS
}

fn rows(inputs: &Inputs) -> Vec<(&'static str, String)> {
    let shards = inputs.shards();
    let live = inputs.requests * inputs.kept_shared;
    let each = inputs.requests / shards;
    let waits = queue(each, inputs.redis_record / 1e6);
    let clients = inputs.requests / inputs.per_client;
    // Every client comes once more, while the service lasts: at the rate at which they come anyway.
    let spread = 1.0 / inputs.per_client;
    vec![
        ("live proofs", grouped(live)),
        ("primaries of a Cluster, each with a replica", grouped(shards)),
        ("records a second of a primary", grouped(each)),
        ("memory of a primary for live proofs", bytes(live * inputs.redis_memory / shards)),
        ("memory of all primaries", bytes(live * inputs.redis_memory)),
        ("network of a primary", bits(each * inputs.wire)),
        ("network of a node, to all primaries", bits(inputs.requests / inputs.nodes * inputs.wire)),
        ("wait at a primary, half of the records", micros(waits.0)),
        ("wait at a primary, 99 of 100", micros(waits.1)),
        ("one node alone instead, in memory", bytes(inputs.requests / inputs.nodes * inputs.kept * inputs.memory)),
        (
            "proofs under way when a primary dies, refused or asked for a nonce",
            grouped(inputs.requests * inputs.failover),
        ),
        ("clients that retry once when the new epoch opens", grouped(clients)),
        ("requests a second meanwhile, for the time below", grouped(inputs.requests + clients / spread)),
        ("that time", format!("{} ms", grouped(spread * 1e3))),
        (
            "reserve of a node for nonce-only over a failover",
            bytes(inputs.requests / inputs.nodes * inputs.failover * inputs.memory),
        ),
    ]
}

/// How long records wait at a server that takes `service` seconds for each, in the middle and at the 99th percentile: half a million
/// arrivals at random, one after another.
fn queue(rate: f64, service: f64) -> (f64, f64) {
    let (mut clock, mut free, mut seed) = (0.0_f64, 0.0_f64, 0x9e37_79b9_7f4a_7c15_u64);
    let mut waits: Vec<f64> = (0..500_000)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let random = ((seed >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
            clock -= random.ln() / rate;
            let begins = clock.max(free);
            free = begins + service;
            free - clock
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    (waits[waits.len() / 2], waits[waits.len() / 100 * 99])
}

fn grouped(value: f64) -> String {
    if value.fract() != 0.0 && value < 1000.0 {
        return format!("{}", (value * 10.0).round() / 10.0);
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(value: f64) -> String {
    let (unit, name) = if value < 1e9 { (1e6, "MB") } else { (1e9, "GB") };
    format!("{:.1} {name}", value / unit)
}

fn bits(bytes_a_second: f64) -> String {
    format!("{:.0} Mbit/s", bytes_a_second * 8.0 / 1e6)
}

fn micros(seconds: f64) -> String {
    format!("{:.0} µs", seconds * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_is_printed() {
        let page = include_str!("../../docs/scale.md");
        for (what, value) in rows(&Inputs::new()) {
            let row = format!("| {what} | {value} |");
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_queue_is_as_theory_has_it() {
        // M/D/1 at half load waits half a service on average, so that the middle lies between one and two of them.
        let (half, most) = queue(50_000.0, 10e-6);
        assert!((10e-6..15e-6).contains(&half) && (20e-6..60e-6).contains(&most), "{half} {most}");
    }
}
