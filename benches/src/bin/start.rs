//! How long `keybound serve` takes from its start to its first answer, and what memory and processor time it has taken once
//! idle. Argument: the program to start.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keybound_benches::{Figure, resident_of, spent_by};

/// How often it is started.
const RUNS: usize = 15;

/// It is idle when nobody has asked it anything for so long.
const REST: Duration = Duration::from_millis(500);

/// Longer than this it must not take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it was running");
    }
}

struct Run {
    started: Duration,
    spent: Duration,
    resident: f64,
}

fn main() {
    let program = std::env::args().nth(1).expect("the program to start is the argument");
    // Once to have the program's file in memory, as it is on a machine that restarts a service.
    run(&program);
    let runs: Vec<Run> = (0..RUNS).map(|_| run(&program)).collect();
    let started = median(runs.iter().map(|run| run.started.as_secs_f64() * 1000.0));
    let spent = median(runs.iter().map(|run| run.spent.as_secs_f64() * 1000.0));
    let resident = median(runs.iter().map(|run| run.resident));
    println!("{}", Figure::new("start", "ms", started).aim_at(100.0));
    println!("{}", Figure::new("start.processor", "ms CPU", spent));
    println!("{}", Figure::new("start.memory", "MiB resident", resident).aim_at(20.0));
}

fn run(program: &str) -> Run {
    let address = free_address();
    let start = Instant::now();
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &address.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server(command.spawn().expect("the program starts"));
    while ask(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "{program} did not answer");
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = start.elapsed();
    std::thread::sleep(REST);
    let process = server.0.id();
    Run { started, spent: spent_by(process), resident: resident_of(process) as f64 / f64::from(1 << 20) }
}

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address")
}

/// Whether an ordinary request without credentials is refused as it should be.
fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /hello HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status)?;
    assert!(status.starts_with("HTTP/1.1 401"), "{status:?}");
    reader.read_to_end(&mut Vec::new()).map(drop)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
