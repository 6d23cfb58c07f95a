//! The gateways: processes of the real program, each before an upstream of its own that keeps the ledger.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer as _};
use keybound::nonce::NonceRing;
use keybound_issuer::keys::SealingKeys;
use tempfile::TempDir;

use crate::client::{ISSUER, ORIGIN};
use crate::exchange::exchange;
use crate::ledger::Ledger;

/// Which field tells the upstream what proof a request had.
pub(crate) const PROOF_NUMBER: &str = "x-proof-number";

/// `replay.when_unavailable`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WhenUnavailable {
    Refuse,
    NonceOnly,
}

/// Where the nonce ring is that all gateways have.
pub(crate) enum Ring {
    /// In this file.
    File(PathBuf),
    /// Beside the used proofs, sealed by this.
    Kept(SealingKeys),
}

pub(crate) struct Gateways {
    pub(crate) issuer: SoftwareKey,
    pub(crate) ring: Ring,
    all: Vec<Gateway>,
    _folder: TempDir,
}

/// One of them, whether it runs or not.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    config: PathBuf,
    /// The level of its log.
    level: &'static str,
    process: Mutex<Option<Child>>,
}

impl Gateways {
    /// Starts so many, all with these servers for their memory of used proofs: their address, and what else is said of them.
    pub(crate) fn start(count: usize, store: (&str, &str), when_unavailable: WhenUnavailable, ledger: &Ledger) -> Self {
        Self::start_with(count, store, when_unavailable, ledger, "warn")
    }

    /// The same with this level of their logs.
    pub(crate) fn start_with(
        count: usize,
        store: (&str, &str),
        when_unavailable: WhenUnavailable,
        ledger: &Ledger,
        level: &'static str,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = SoftwareKey::generate(Alg::Es256).unwrap();
        let jwks = format!(r#"{{"keys":[{}]}}"#, issuer.public_jwk().to_json());
        std::fs::write(folder.path().join("jwks.json"), jwks).unwrap();
        let (ring, nonces) = share_nonce_keys(folder.path(), when_unavailable);
        let rest = format!(
            "[proof]\n{nonces}\n[replay]\nstore = {:?}\nwhen_unavailable = {:?}\n{}",
            store.0,
            match when_unavailable {
                WhenUnavailable::Refuse => "refuse",
                WhenUnavailable::NonceOnly => "nonce-only",
            },
            store.1
        );
        let new = |number| Gateway::new(number, folder.path(), &rest, ledger, level);
        let all: Vec<Gateway> = (0..count).map(new).collect();
        all.iter().for_each(Gateway::begin);
        for gateway in &all {
            assert!(gateway.answers_within(Duration::from_secs(30)), "a gateway does not start");
        }
        Self { issuer, ring, all, _folder: folder }
    }

    pub(crate) fn all(&self) -> &[Gateway] {
        &self.all
    }

    /// Turns the ring in the file, which the gateways notice.
    pub(crate) fn turn_ring(&self, path: &Path) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        let turning = command.args(["config", "nonce-keys", "--turn"]).arg(path).stdout(Stdio::null()).status();
        assert!(turning.expect("the binary starts").success(), "the ring is not turned");
    }
}

impl Gateway {
    fn new(number: usize, folder: &Path, rest: &str, ledger: &Ledger, level: &'static str) -> Self {
        let (address, admin) = own_addresses();
        let upstream = upstream(number, ledger.clone());
        let mut text = String::new();
        let _ = write!(
            text,
            "[listen]\naddress = \"{address}\"\nadmin = \"{admin}\"\nworkers = 2\n\
             [[origin]]\nurl = {ORIGIN:?}\n\
             [[issuer]]\nurl = {ISSUER:?}\naudience = [{ORIGIN:?}]\njwks_file = \"jwks.json\"\n\
             [[route]]\npath = \"/\"\nupstream = [\"http://{upstream}\"]\n{rest}"
        );
        let config = folder.join(format!("gateway-{number}.toml"));
        std::fs::write(&config, text).unwrap();
        Self { address, admin, config, level, process: Mutex::default() }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it, unless it runs. One that cannot reach its servers ends, and has to be started again.
    pub(crate) fn begin(&self) {
        let mut process = self.process();
        if process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None))) {
            return;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        command.arg("serve").arg("--config").arg(&self.config).env("KEYBOUND_LOG", self.level);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if std::env::var_os("KEYBOUND_NODES_LOUD").is_none() {
            let log = OpenOptions::new().append(true).create(true).open(self.log()).expect("a file");
            command.stderr(log);
        }
        *process = Some(command.spawn().expect("the binary starts"));
    }

    fn log(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    /// What it has logged since it was made, however often it was started.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).expect("it has been started")
    }

    /// The value of a line of its metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let asked = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin);
        let text = exchange(self.admin, &asked).expect("an answer").text;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Sends its process a signal.
    pub(crate) fn signal(&self, name: &str) {
        if let Some(process) = &*self.process() {
            let sent = Command::new("kill").arg(name).arg(process.id().to_string()).status();
            assert!(sent.is_ok_and(|status| status.success()), "no signal {name}");
        }
    }

    /// Whether it takes connections, before so long; started again as often as it ends.
    pub(crate) fn answers_within(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if TcpStream::connect_timeout(&self.address, Duration::from_millis(200)).is_ok() {
                return true;
            }
            self.begin();
            thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Any gateway takes any other's nonces: what keeps them from admitting the same proof is their servers alone. Where nothing goes on
/// without those, they keep the ring there, and turn it.
fn share_nonce_keys(folder: &Path, when_unavailable: WhenUnavailable) -> (Ring, &'static str) {
    let private = |name: &str, text: &str| {
        let path = folder.join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    };
    match when_unavailable {
        WhenUnavailable::Refuse => {
            let keys = SealingKeys::generate().unwrap();
            private("nonce-sealing.key", &keys.to_text());
            let nonces = "nonce_sealing_key_file = \"nonce-sealing.key\"\nnonce_rotate_every = \"60s\"\nnonce_lifetime = \"30s\"";
            (Ring::Kept(keys), nonces)
        }
        WhenUnavailable::NonceOnly => {
            let ring = NonceRing::generate(random_array().unwrap(), random_array().unwrap(), SystemTime::now().into());
            let path = private("nonce-ring.json", &ring.to_text());
            (Ring::File(path), "nonce_keys = \"nonce-ring.json\"")
        }
    }
}

/// Two addresses on an interface of its own: on 127.0.0.1, a connection of a client may take the port while a gateway is down.
fn own_addresses() -> (SocketAddr, SocketAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let own = Ipv4Addr::new(127, 77, NEXT.fetch_add(1, Ordering::Relaxed), 1);
    let (one, other) = (TcpListener::bind((own, 0)).unwrap(), TcpListener::bind((own, 0)).unwrap());
    (one.local_addr().unwrap(), other.local_addr().unwrap())
}

/// Answers everything, and notes which proof came with it.
fn upstream(gateway: usize, ledger: Ledger) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let ledger = ledger.clone();
            thread::spawn(move || serve(gateway, connection, &ledger));
        }
    });
    address
}

fn serve(gateway: usize, connection: TcpStream, ledger: &Ledger) {
    let Ok(mut answers) = connection.try_clone() else { return };
    let mut line = String::new();
    let mut lines = BufReader::new(connection);
    while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
        if line == "\r\n" && answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case(PROOF_NUMBER)
        {
            ledger.came_through(value.trim().parse().expect("a number"), gateway);
        }
        line.clear();
    }
}
