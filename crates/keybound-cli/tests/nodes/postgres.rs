//! PostgreSQL servers: one, and one with a replica that takes over while the other goes on for a while.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use redis_rig::{Proxy, wait_until};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::chance::Chance;
use crate::servers::{Change, Node, Process, Servers};
use crate::watch::{Look, PATIENCE};

/// A server with data of its own, gone when dropped.
pub(crate) struct Database {
    folder: PathBuf,
    port: u16,
    stopped: bool,
}

fn named(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is of a PostgreSQL server"))
}

/// A line for the shell, as the user that servers run as; `BIN` is where their programs are.
fn shell(line: &str) -> bool {
    let start = named("KEYBOUND_TEST_POSTGRES_START");
    let (user, rest) = start.split_once('\'').expect("the program in quotes");
    let programs = rest.split_once("/pg_ctl").expect("pg_ctl").0;
    let line = format!("{user} sh -c '{}'", line.replace("BIN", programs));
    Command::new("sh").args(["-c", &line]).status().expect("a shell").success()
}

impl Database {
    /// Room for one, beside that of the server whose programs are used.
    fn new() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let name = format!("nodes-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(named("KEYBOUND_TEST_POSTGRES_DATA")).with_file_name(name);
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address").port();
        Self { folder, port, stopped: false }
    }

    fn empty() -> Self {
        let new = Self::new();
        let path = new.folder.display();
        assert!(shell(&format!("BIN/initdb -D {path} -U keybound -A trust >/dev/null")));
        new.begin();
        new
    }

    /// A copy of another, which it follows.
    fn copy_of(primary: &Self) -> Self {
        let new = Self::new();
        let (path, url) = (new.folder.display(), primary.url());
        assert!(shell(&format!("BIN/pg_basebackup -d {url} -D {path} -R -X stream -c fast")));
        new.begin();
        new
    }

    fn url(&self) -> String {
        format!("postgres://keybound@127.0.0.1:{}/postgres", self.port)
    }

    fn begin(&self) {
        let (path, port) = (self.folder.display(), self.port);
        let sockets = self.folder.parent().expect("a folder").display();
        let options = format!("-p {port} -h 127.0.0.1 -k {sockets}");
        let line = format!("BIN/pg_ctl start -w -t 60 -D {path} -l {path}/log -o \"{options}\" >/dev/null 2>&1");
        // What was killed is cleared away by the system, after a while.
        wait_until("PostgreSQL", || shell(&line)).expect("a server");
    }

    /// Whether these statements went through.
    fn run(&self, text: &str) -> bool {
        shell(&format!("BIN/psql -q -d {} -c \"{text}\" >/dev/null 2>&1", self.url()))
    }

    fn process(&self) -> Option<u32> {
        let text = fs::read_to_string(self.folder.join("postmaster.pid")).ok()?;
        text.lines().next()?.parse().ok()
    }

    /// To all of its processes.
    fn signal(&self, name: &str) {
        let pid = self.process().expect("it runs");
        let line = format!("children=$(pgrep -P {pid}); kill -{name} {pid} $children");
        // A process that ends meanwhile gets none.
        assert!(Command::new("sh").args(["-c", &line]).status().is_ok());
    }

    /// Something that happens inside of it, and what it was.
    fn upset(&self, chance: &mut Chance) -> String {
        let ours = "FROM pg_stat_activity WHERE application_name = \\$\\$keybound\\$\\$";
        match chance.below(4) {
            0 => format!("all connections end: {}", self.run(&format!("SELECT pg_terminate_backend(pid) {ours}"))),
            1 => {
                let pid = self.process().expect("it runs");
                let line = format!("kill -9 $(pgrep -P {pid} | tail -n 1)");
                let killed = Command::new("sh").args(["-c", &line]).status();
                format!("one of its processes is killed: {killed:?}")
            }
            2 => {
                let path = self.folder.display();
                format!("it ends in order: {}", shell(&format!("BIN/pg_ctl stop -m fast -D {path} >/dev/null 2>&1")))
            }
            _ => format!("it is emptied: {}", self.run("TRUNCATE keybound.proofs")),
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A server that may be gone, on a connection of its own.
async fn connect(url: &str) -> Result<PgConnection, sqlx::Error> {
    url.parse::<PgConnectOptions>()?.disable_statement_logging().connect().await
}

/// Which server it is that records can be made on, asked anew each time.
fn look(url: String) -> Look {
    let runtime = runtime();
    let question = "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE inet_server_port()::text END";
    Box::new(move || {
        let asking = async {
            let mut connection = connect(&url).await.ok()?;
            sqlx::query_scalar::<_, Option<String>>(question).fetch_one(&mut connection).await.ok()?
        };
        runtime.block_on(async { timeout(PATIENCE, asking).await.ok().flatten() })
    })
}

/// The text that processes share.
fn change_text(url: &str, change: Change<'_>) -> bool {
    let changing = async {
        let mut connection = connect(url).await.ok()?;
        let held = "SELECT convert_from(held, 'UTF8') FROM keybound.shared";
        let held: String = sqlx::query_scalar(held).fetch_one(&mut connection).await.ok()?;
        let (new, held) = (change(&held)?, held);
        let setting = format!(
            "UPDATE keybound.shared SET held = convert_to('{new}', 'UTF8') WHERE held = convert_to('{held}', 'UTF8')"
        );
        Some(connection.execute(AssertSqlSafe(setting)).await.ok()?.rows_affected() == 1)
    };
    runtime().block_on(changing).unwrap_or_default()
}

impl Process for Database {
    fn is_running(&mut self) -> bool {
        let state = self.process().and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        state.is_some_and(|state| !state.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }

    fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn kill(&mut self) {
        self.signal("KILL");
        self.stopped = false;
    }

    fn stop(&mut self) {
        self.signal("STOP");
        self.stopped = true;
    }

    fn go_on(&mut self) {
        self.signal("CONT");
        self.stopped = false;
    }

    fn restart(&mut self) {
        if !self.is_running() {
            self.begin();
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.stopped {
            self.go_on();
        }
        let path = self.folder.display();
        shell(&format!("BIN/pg_ctl stop -m immediate -D {path} >/dev/null 2>&1"));
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{path}: {error}");
        }
    }
}

/// A server, and the way to it.
pub(crate) struct OnItsOwn {
    database: Database,
    proxy: Proxy,
}

impl OnItsOwn {
    pub(crate) fn start() -> Self {
        Self::before(Database::empty())
    }

    fn before(database: Database) -> Self {
        let proxy = Proxy::to((Ipv4Addr::LOCALHOST, database.port).into()).expect("a proxy");
        Self { database, proxy }
    }

    fn is_well(&mut self) -> bool {
        self.database.is_running() && !self.database.is_stopped()
    }
}

fn url(address: SocketAddr) -> String {
    format!("postgres://keybound@{address}/postgres")
}

impl Servers for OnItsOwn {
    fn url(&self) -> String {
        url(self.proxy.address())
    }

    fn count(&self) -> usize {
        1
    }

    fn node(&mut self, _: usize) -> Node<'_> {
        Node { server: &mut self.database, ways: vec![&self.proxy] }
    }

    fn turn_over(&mut self, chance: &mut Chance) -> Option<String> {
        self.is_well().then(|| self.database.upset(chance))
    }

    fn settled(&mut self) {
        self.database.restart();
    }

    fn look(&self) -> Look {
        look(self.url())
    }

    fn change_shared_text(&mut self, change: Change<'_>) -> bool {
        change_text(&self.database.url(), change)
    }
}

/// Two, of which one follows the other until it takes its place.
pub(crate) struct Pair {
    primary: OnItsOwn,
    replica: OnItsOwn,
    switch: Switch,
}

impl Pair {
    pub(crate) fn start() -> Self {
        let primary = OnItsOwn::start();
        let replica = OnItsOwn::before(Database::copy_of(&primary.database));
        let switch = Switch::to(primary.proxy.address());
        Self { primary, replica, switch }
    }
}

impl Servers for Pair {
    fn url(&self) -> String {
        url(self.switch.address)
    }

    fn settings(&self) -> &'static str {
        "[replay.postgres]\nfailover = \"possible\"\n"
    }

    fn count(&self) -> usize {
        2
    }

    fn node(&mut self, number: usize) -> Node<'_> {
        let server = if number == 0 { &mut self.primary } else { &mut self.replica };
        Node { server: &mut server.database, ways: vec![&server.proxy] }
    }

    /// The replica takes over, also from one that does not know of it: who is connected to that stays so.
    fn turn_over(&mut self, chance: &mut Chance) -> Option<String> {
        if !self.replica.is_well() || chance.once_in(3) {
            return self.primary.turn_over(chance);
        }
        self.fail_over(chance)
    }

    fn settled(&mut self) {
        self.primary.database.restart();
        self.replica.database.restart();
    }

    fn look(&self) -> Look {
        look(self.url())
    }

    fn can_fail_over(&self) -> bool {
        true
    }

    fn fail_over(&mut self, chance: &mut Chance) -> Option<String> {
        let path = self.replica.database.folder.display().to_string();
        if !shell(&format!("BIN/pg_ctl promote -w -D {path} >/dev/null 2>&1")) {
            return Some("the replica cannot take over".to_owned());
        }
        self.replica.proxy.open();
        self.switch.turn(self.replica.proxy.address());
        self.switch.end_one(chance);
        let both = chance.pause(1, 3000);
        thread::sleep(both);
        let fresh = OnItsOwn::before(Database::copy_of(&self.replica.database));
        let heir = std::mem::replace(&mut self.replica, fresh);
        // The one before ends here.
        self.primary = heir;
        Some(format!("the replica has taken over; both were primaries for {both:?} and as long as a copy takes"))
    }

    fn change_shared_text(&mut self, change: Change<'_>) -> bool {
        change_text(&self.primary.database.url(), change)
    }
}

/// An address that leads elsewhere one day. Connections that are there stay where they are.
struct Switch {
    address: SocketAddr,
    port: Arc<AtomicU16>,
    open: Arc<Mutex<BTreeMap<u16, TcpStream>>>,
}

impl Switch {
    fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (port, open) = (Arc::new(AtomicU16::new(target.port())), Arc::<Mutex<BTreeMap<_, _>>>::default());
        let (ours, all) = (Arc::clone(&port), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, ours.load(Ordering::Acquire))) else {
                    continue;
                };
                // One whose client has gone already is no loss.
                drop(through(client, server, &all));
            }
        });
        Self { address, port, open }
    }

    fn turn(&self, target: SocketAddr) {
        self.port.store(target.port(), Ordering::Release);
    }

    /// Whoever has it comes again, to where the address leads now.
    fn end_one(&self, chance: &mut Chance) {
        let open = self.open.lock().expect("a list");
        if let Some(one) = open.values().nth(chance.below(open.len().max(1))) {
            let _ = one.shutdown(Shutdown::Both);
        }
    }
}

fn through(client: TcpStream, server: TcpStream, all: &Arc<Mutex<BTreeMap<u16, TcpStream>>>) -> io::Result<()> {
    let from = client.peer_addr()?.port();
    all.lock().expect("a list").insert(from, client.try_clone()?);
    let (client_too, server_too, all) = (client.try_clone()?, server.try_clone()?, Arc::clone(all));
    thread::spawn(move || {
        pass(client, server);
        all.lock().expect("a list").remove(&from);
    });
    thread::spawn(move || pass(server_too, client_too));
    Ok(())
}

/// Until one of them ends, and then neither goes on.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
