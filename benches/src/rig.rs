//! What gateways and issuers are measured in: an upstream, nginx as a proxy to it, the gateway, the issuer, each a process of its
//! own. Whatever is measured runs on one processor, and everything else, this process included, on another, if there are two.

mod checking;
mod child;
mod gateway;
mod issuer;
mod lost;
mod nginx;
mod postgres;
mod refreshing;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use keybound_probe::load::{Load, Report};

pub use checking::Checking;
pub use child::Child;
pub use gateway::Gateway;
pub use issuer::Issuer;
pub use lost::Lost;
pub use nginx::Nginx;
pub use postgres::Postgres;
pub use refreshing::{Refreshed, Refreshing};

/// Of a client that lives as long as a measurement.
const SECRET: &str = "known-to-this-benchmark-alone";

/// The same as its client sends it.
const BASIC: &str = "Basic YmVuY2g6a25vd24tdG8tdGhpcy1iZW5jaG1hcmstYWxvbmU=";

/// The processor for what is measured, and the one for all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Subject,
    Rest,
}

impl Side {
    const fn processor(self) -> &'static str {
        match self {
            Self::Subject => "1",
            Self::Rest => "0",
        }
    }
}

/// How long one measurement lasts.
const DURATION: Duration = Duration::from_secs(2);

/// And how long the same goes on before it.
const WARM_UP: Duration = Duration::from_millis(300);

/// How long a process may take to listen.
const START: Duration = Duration::from_secs(10);

/// Moves this process out of the way of what is measured, and lets it have as many descriptors as it needs.
pub fn prepare() {
    let process = std::process::id().to_string();
    if has_two_processors() {
        run("taskset", &["-acp", Side::Rest.processor(), &process]);
    }
    // Both help where they are allowed: without the first the limit has to be high enough already, and without the second the
    // figures of a machine that does other work too are further off.
    let _ = Command::new("prlimit").args(["--pid", &process, "--nofile=65536:65536"]).output();
    let _ = Command::new("renice").args(["-n", "-10", "-p", &process]).output();
}

/// A load on this server, and the processor time it took of it for each request, in nanoseconds.
pub fn measure(server: &Child, load: &Load) -> (f64, Report) {
    let before = server.cpu_time();
    let report = load.clone().warm_up(WARM_UP).duration(DURATION).start().and_then(|running| running.finish());
    let report = report.expect("a load on loopback");
    let spent = server.cpu_time().saturating_sub(before);
    assert!(report.is_good(), "{report:?}");
    let requests = report.answers() + report.warm_up() + report.nonce_retries();
    (spent.as_nanos() as f64 / requests as f64, report)
}

/// Asked once, and before anything else: of a process that has moved to one of them, the system says that it has one.
fn has_two_processors() -> bool {
    static HAS: LazyLock<bool> =
        LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    *HAS
}

/// A command that begins with `program` on this side.
fn on(side: Side, program: &str) -> Command {
    if !has_two_processors() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", side.processor(), program]);
    command
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A port of loopback where nobody listens.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a listener has an address")
}

/// Returns when somebody listens there.
fn await_listener(address: SocketAddr) {
    let begun = Instant::now();
    while let Err(error) = TcpStream::connect(address) {
        assert!(begun.elapsed() < START, "nobody listens at {address}: {error}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
