//! The outcome of a load, for a person or as JSON.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use keybound_probe::load::Report;
use serde_json::{Map, Value, json};

use super::Load;
use crate::outcome::Failure;
use crate::output;
use crate::style::{BAD, FAINT, GOOD, PLAIN, STRONG};

/// The parts of all answers whose time is told.
const QUANTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)];

pub(super) fn print(load: &Load, report: &Report) -> Result<(), Failure> {
    if load.json {
        return output::line(format_args!("{:#}", as_json(load, report)));
    }
    let mut stdout = anstream::stdout().lock();
    let written = stdout.write_all(text(load, report).as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|why| output::failure("standard output", &why))
}

fn text(load: &Load, report: &Report) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{FAINT}{name:<10}{PLAIN}{value}");
    };
    let rate = report.rate();
    let asked = load.rate.map_or(String::new(), |rate| format!(" of {rate} asked for"));
    let (answers, seconds) = (report.answers(), report.elapsed().as_secs_f64());
    row("answers", format_args!("{answers} in {seconds:.2} s: {STRONG}{rate:.1}/s{PLAIN}{asked}"));
    let times: Vec<_> =
        QUANTILES.iter().map(|(name, part)| format!("{name} {}", time(report.quantile(*part)))).collect();
    row("time", format_args!("{}", times.join("  ")));
    for (status, count) in report.statuses() {
        let colour = if (200..300).contains(&status) { GOOD } else { BAD };
        row("status", format_args!("{colour}{status}{PLAIN} {count}"));
    }
    for (reason, count) in report.reasons() {
        row("reason", format_args!("{reason} {count}"));
    }
    for (failure, count) in report.failures() {
        row("no answer", format_args!("{BAD}{failure}{PLAIN} {count}"));
    }
    for (count, meaning) in [
        (report.overdue(), "requests were due and not sent: all connections waited for answers"),
        (report.nonce_retries(), "requests were repeated because the server wanted a nonce"),
        (report.reconnects(), "connections were opened anew"),
    ] {
        if count > 0 {
            row("also", format_args!("{count} {meaning}"));
        }
    }
    if is_bound_by_signing(report) {
        row("beware", format_args!("proofs could not be signed fast enough; it is this program that was measured"));
    }
    text
}

/// Whether senders had to wait for proofs for more than a twentieth of the time.
fn is_bound_by_signing(report: &Report) -> bool {
    report.waited_for_proofs() > report.elapsed() / 20
}

fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

fn as_json(load: &Load, report: &Report) -> Value {
    let mut latency = Map::new();
    latency.insert("mean".to_owned(), report.mean().as_secs_f64().into());
    for (name, part) in QUANTILES {
        latency.insert(name.to_owned(), report.quantile(part).as_secs_f64().into());
    }
    let statuses: Map<_, _> = report.statuses().map(|(status, count)| (status.to_string(), count.into())).collect();
    let reasons: Map<_, _> = report.reasons().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    let failures: Map<_, _> = report.failures().map(|(why, count)| (why.to_string(), count.into())).collect();
    json!({
        "url": load.url,
        "connections": load.connections,
        "asked_rate": load.rate,
        "seconds": report.elapsed().as_secs_f64(),
        "answers": report.answers(),
        "rate": report.rate(),
        "latency": latency,
        "statuses": statuses,
        "reasons": reasons,
        "failures": failures,
        "overdue": report.overdue(),
        "nonce_retries": report.nonce_retries(),
        "reconnects": report.reconnects(),
        "warm_up_requests": report.warm_up(),
        "waited_for_proofs": report.waited_for_proofs().as_secs_f64(),
        "body_octets": report.body_octets(),
        "good": report.is_good(),
    })
}
