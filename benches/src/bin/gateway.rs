//! The gateway as a plain reverse proxy beside nginx: processor time for each request and throughput at 64 and 512
//! connections, the time it adds under half load, its memory for connections at rest, and the requests that are lost while it
//! reads its file again and when it ends. With the argument `lost`, those alone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;

use keybound_benches::rig::{Child, Gateway, Lost, Nginx, measure, prepare};
use keybound_benches::{Figure, Round, Rounds, interleaved};
use keybound_probe::load::{Load, Report};
use rustix::process::{Resource, getrlimit};

const CONNECTIONS: [usize; 2] = [64, 512];

/// Keep-alive connections at rest; fewer where the limit on open files has no room for so many.
const RESTING: usize = 10_000;

/// How often a gateway reads its file again under load, and how many end under it.
const RELOADS: usize = 40;
const DRAINS: usize = 10;

const KIB: f64 = 1024.0;

fn main() {
    prepare();
    let upstream = Nginx::upstream();
    if std::env::args().nth(1).as_deref() == Some("lost") {
        return print_all_lost(&upstream);
    }
    let nginx = Nginx::proxy(upstream.address());
    let gateway = Gateway::start(upstream.address());
    let rounds = interleaved(|round| {
        for connections in CONNECTIONS {
            pass_through(round, connections, &nginx, &gateway);
        }
    });
    for connections in CONNECTIONS {
        print_pass_through(&rounds, connections);
    }
    let half = half_busy(&gateway, rounds.median("64 ours rate"));
    println!("{}", Figure::new("gateway.half-load", "requests/s", half));
    let rounds = interleaved(|round| added_time(round, half, &upstream, &nginx, &gateway));
    for (name, part) in [("added-p50", "p50"), ("added-p99", "p99")] {
        let milliseconds = |whose: &str| rounds.median(&format!("{whose} {part}"));
        let figure = Figure::new(format!("gateway.{name}"), "ms, half busy", milliseconds("ours"));
        println!("{}", figure.aim_at(1.0));
        println!("{}", Figure::new(format!("gateway.nginx-{name}"), "ms, half busy", milliseconds("nginx")));
    }
    drop(gateway);
    // A process of its own: what it has served before is in its memory too.
    print_memory(&Gateway::start(upstream.address()));
    print_all_lost(&upstream);
}

fn to(url: &str, connections: usize) -> Load {
    let connections = NonZeroUsize::new(connections).expect("above 0");
    Load::new(url).expect("a URL of loopback").connections(connections)
}

fn pass_through(round: &mut Round, connections: usize, nginx: &Nginx, gateway: &Gateway) {
    let load = to(&format!("http://{}/open/64", nginx.address()), connections);
    let (nanos, report) = measure(nginx.process(), &load);
    round.value(&format!("{connections} nginx"), nanos);
    round.value(&format!("{connections} nginx rate"), report.rate());
    let (nanos, report) = measure(gateway.process(), &to(&gateway.url("/open/64"), connections));
    round.value(&format!("{connections} ours"), nanos);
    round.value(&format!("{connections} ours rate"), report.rate());
}

fn print_pass_through(rounds: &Rounds, connections: usize) {
    let median = |what: &str| rounds.median(&format!("{connections} {what}"));
    let name = |what: &str| format!("gateway.{what}.{connections}");
    let figure =
        Figure::new(name("cpu"), "ns CPU per request", median("ours")).beside(median("nginx")).aim_at_ratio(1.15);
    println!("{figure}");
    // The most that a ratio should be: nginx's throughput in units of ours, so that 0.9 times becomes 1 / 0.9.
    let figure = Figure::new(name("nginx-throughput"), "requests/s", median("nginx rate"));
    println!("{}", figure.beside(median("ours rate")).aim_at_ratio(1.0 / 0.9));
}

/// The rate at which the gateway's processor is busy for half of the time. It is less than half of its throughput: at a set rate
/// requests come by twos and threes, where connections that each wait for their answer come together.
fn half_busy(gateway: &Gateway, throughput: f64) -> f64 {
    (0..4).fold(throughput / 2.0, |rate, _| {
        let (nanos, _) = measure(gateway.process(), &to(&gateway.url("/open/64"), 64).rate(rate));
        1e9 / nanos / 2.0
    })
}

/// The same rate straight to the upstream, and through each proxy.
fn added_time(round: &mut Round, rate: f64, upstream: &Nginx, nginx: &Nginx, gateway: &Gateway) {
    let at = |address: SocketAddr, process: &Child| {
        measure(process, &to(&format!("http://{address}/open/64"), 64).rate(rate)).1
    };
    let direct = at(upstream.address(), upstream.process());
    let through = [("nginx", at(nginx.address(), nginx.process())), ("ours", at(gateway.address(), gateway.process()))];
    for (whose, report) in through {
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let milliseconds = |report: &Report| report.quantile(part).as_secs_f64() * 1e3;
            round.value(&format!("{whose} {name}"), milliseconds(&report) - milliseconds(&direct));
        }
    }
}

/// Each of the connections has had a request answered, and then nothing happens on it.
fn print_memory(gateway: &Gateway) {
    // The gateway keeps half of its descriptors for upstreams, and some for files.
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let resting = RESTING.min(usize::try_from(files).unwrap_or(usize::MAX) / 5 * 2);
    let before = gateway.process().resident();
    let connections: Vec<TcpStream> = (0..resting).map(|_| rested(gateway.address())).collect();
    let taken = gateway.process().resident().saturating_sub(before) as f64;
    drop(connections);
    println!("{}", Figure::new("gateway.resting.connections", "connections", resting as f64));
    let figure = Figure::new("gateway.resting", "KiB per connection", taken / KIB / resting as f64);
    println!("{}", figure.aim_at(20.0));
}

fn print_all_lost(upstream: &Nginx) {
    print_lost("reload", Lost::by_reloads(upstream, RELOADS));
    print_lost("drain", Lost::by_drains(upstream, DRAINS));
}

/// Beside all requests of the same time.
fn print_lost(name: &str, lost: Lost) {
    let figure = Figure::new(format!("gateway.{name}-failed"), "requests", lost.failed as f64);
    println!("{}", figure.beside(lost.answered as f64).aim_at(0.0));
}

fn rested(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("room for a connection");
    let request = format!("GET /open/64 HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a connection that lasts");
    let mut answer = Vec::new();
    while !answer.ends_with(b"abcdef") {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).expect("an answer");
        assert!(length > 0, "the gateway closed a connection");
        answer.extend_from_slice(&buffer[..length]);
    }
    stream
}
