//! One `redis-server`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::wait_until;

/// The last octets of the loopback address of the next server. Those before it are of this process, so that nobody else takes a
/// port there that was found free.
static NEXT: AtomicU16 = AtomicU16::new(2);

/// How a server is started, beyond what every one is.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Settings {
    lines: Vec<String>,
    for_cli: Vec<String>,
    /// What TLS needs, if it is used.
    tls: Vec<String>,
    keeps: bool,
    own_clock: bool,
    silence: Option<Duration>,
}

/// Longer than a machine stands still that has much to do: nobody is replaced who was not meant to be.
const SILENCE: Duration = Duration::from_secs(5);

impl Settings {
    /// A server that writes nothing to disk and never evicts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A line of its configuration, after those of the rig.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Keeps an append-only file, written at every command, so that it remembers over a restart.
    pub fn append_only(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// Under Sentinel or in a Cluster, a primary is replaced that has been silent for so long. Unless set, that is five seconds.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = Some(silence);
        self
    }

    /// In milliseconds.
    pub(crate) fn silent_for(&self) -> u128 {
        self.silence.unwrap_or(SILENCE).as_millis()
    }

    /// Has a clock of its own, for [`Server::turn_clock`]. Needs `cc`, as every build does.
    pub fn own_clock(mut self) -> Self {
        self.own_clock = true;
        self
    }

    /// Listens with TLS alone, with this certificate and authority; `cli` names what `redis-cli` needs beyond `--cacert`.
    pub fn tls(mut self, certificate: &Path, key: &Path, authority: &Path, clients: &str, cli: &[&str]) -> Self {
        let [certificate, key, authority] = [certificate, key, authority].map(|path| path.display().to_string());
        self.for_cli = ["--tls", "--cacert", &authority].map(str::to_owned).to_vec();
        self.for_cli.extend(cli.iter().map(|word| (*word).to_owned()));
        self.tls = vec![
            format!("tls-cert-file {certificate}"),
            format!("tls-key-file {key}"),
            format!("tls-ca-cert-file {authority}"),
            format!("tls-auth-clients {clients}"),
            "tls-replication yes".to_owned(),
        ];
        self
    }

    /// Whether servers speak TLS alone.
    pub(crate) const fn has_tls(&self) -> bool {
        !self.tls.is_empty()
    }

    /// What a Sentinel needs to watch such a server.
    pub(crate) fn of_sentinel(&self) -> Self {
        let for_cli = if self.has_tls() { self.for_cli.clone() } else { Vec::new() };
        Self { tls: self.tls.clone(), for_cli, silence: self.silence, ..Self::default() }
    }

    /// What `redis-cli` needs to get in: `-a` and `--user`, say.
    pub fn cli(mut self, words: &[&str]) -> Self {
        self.for_cli.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }
}

/// A server that runs, or did until it was killed.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    folder: TempDir,
    address: SocketAddr,
    spare: u16,
    settings: Settings,
    sentinel: bool,
    stopped: bool,
}

impl Server {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let mut server = Self::prepare(settings, false)?;
        server.spawn()?;
        Ok(server)
    }

    /// One that has its address and does not run yet, so that it can be told by what proxy others reach it.
    pub(crate) fn prepare(settings: Settings, sentinel: bool) -> io::Result<Self> {
        let ([.., process], [high, low]) =
            (std::process::id().to_be_bytes(), NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let ip = Ipv4Addr::new(127, process | 1, high, low);
        // Both are held until both are known.
        let (own, spare) = (TcpListener::bind((ip, 0))?, TcpListener::bind((ip, 0))?);
        let (address, spare) = (own.local_addr()?, spare.local_addr()?.port());
        let folder = tempfile::Builder::new().prefix("redis-rig-").tempdir()?;
        Ok(Self { child: None, folder, address, spare, settings, sentinel, stopped: false })
    }

    /// A port of its address that it does not listen on.
    pub(crate) const fn spare_port(&self) -> u16 {
        self.spare
    }

    /// Starts it with these lines as well.
    pub(crate) fn begin(&mut self, lines: impl IntoIterator<Item = String>) -> io::Result<()> {
        self.settings.lines.extend(lines);
        self.spawn()
    }

    /// Where it listens, without any proxy.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// `redis://` and its address.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The folder it works in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs, stopped or not.
    pub const fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    ///
    /// If the process cannot be ended.
    pub fn kill(&mut self) -> io::Result<()> {
        self.stopped = false;
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Stops its process, which keeps every connection and answers none, until [`Server::go_on`].
    ///
    /// # Errors
    ///
    /// If there is no process.
    pub fn stop(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        self.stopped = true;
        Ok(())
    }

    /// Lets it run again.
    ///
    /// # Errors
    ///
    /// If there is no process.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)?;
        self.stopped = false;
        Ok(())
    }

    /// Puts its clock so many seconds ahead of everybody else's, or behind. It has to have one of its own.
    ///
    /// # Errors
    ///
    /// If it does not tell that time.
    pub fn turn_clock(&self, ahead: i64) -> io::Result<()> {
        let new = self.folder().join("clock.new");
        std::fs::write(&new, format!("{ahead:+}"))?;
        std::fs::rename(new, self.clock())?;
        wait_until("its clock to be turned", || {
            let time = self.ask(&["TIME"]).unwrap_or_default();
            let told = time.lines().next().and_then(|seconds| seconds.parse::<i64>().ok());
            let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            told.zip(i64::try_from(here.as_secs()).ok()).is_some_and(|(told, here)| (told - here - ahead).abs() <= 1)
        })
    }

    /// Whether it was stopped.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Starts it again on the same port and folder, killing it first if it runs.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill()?;
        self.spawn()
    }

    /// Puts a question by `redis-cli` and returns the answer as that prints it, without the last line end.
    ///
    /// # Errors
    ///
    /// If it cannot be reached, or answers by an error.
    pub fn ask(&self, words: &[&str]) -> io::Result<String> {
        let output = self.cli().args(words).stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() && !text.starts_with("(error)") {
            return Ok(text);
        }
        let also = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        Err(io::Error::other(format!("{words:?}: {text}{also}")))
    }

    /// `redis-cli` with what it needs to reach this server.
    pub fn cli(&self) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-h", &self.address.ip().to_string(), "-p", &self.port().to_string()]);
        command.args(&self.settings.for_cli).env_remove("REDISCLI_AUTH");
        command
    }

    /// A field of `INFO`.
    ///
    /// # Errors
    ///
    /// As [`Server::ask`], and if there is no such field.
    pub fn info(&self, section: &str, field: &str) -> io::Result<String> {
        let all = self.ask(&["INFO", section])?;
        let found = all.lines().find_map(|line| line.trim_end().strip_prefix(field)?.strip_prefix(':'));
        found.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no {field} in {all}")))
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let none = || io::Error::other("the server does not run");
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).ok_or_else(none)?;
        Ok(kill_process(pid, signal)?)
    }

    fn file(&self) -> PathBuf {
        self.folder().join("redis.conf")
    }

    fn clock(&self) -> PathBuf {
        self.folder().join("clock")
    }

    fn configuration(&self) -> String {
        let (ip, port) = (self.address.ip(), self.port());
        let ports = if self.settings.has_tls() { format!("port 0\ntls-port {port}") } else { format!("port {port}") };
        let disk = if self.settings.keeps { "appendonly yes\nappendfsync always" } else { "appendonly no" };
        let data = format!("save \"\"\n{disk}\nmaxmemory-policy noeviction\nrepl-diskless-sync-delay 0\n");
        let data = if self.sentinel { String::new() } else { data };
        let rest = [&self.settings.tls[..], &self.settings.lines[..]].concat().join("\n");
        let folder = self.folder().display();
        format!(
            "bind {ip}\nbind-source-addr {ip}\n{ports}\ndir {folder}\nlogfile {folder}/log\nprotected-mode no\n{data}{rest}\n"
        )
    }

    fn spawn(&mut self) -> io::Result<()> {
        // The server itself writes there what it has learnt, so a second start finds it.
        if !self.file().exists() {
            std::fs::write(self.file(), self.configuration())?;
        }
        let mut command = Command::new("redis-server");
        command.arg(self.file()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if self.sentinel {
            command.arg("--sentinel");
        }
        if self.settings.own_clock {
            if !self.clock().exists() {
                std::fs::write(self.clock(), "+0")?;
            }
            command.env("LD_PRELOAD", clock_library(self.folder())?).env("CLOCK", self.clock());
        }
        self.child = Some(command.spawn()?);
        self.stopped = false;
        let mut is_over = false;
        let ready = wait_until("redis-server", || {
            is_over = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            is_over || self.answers()
        });
        let ready = if is_over { Err(io::Error::other("redis-server ended")) } else { ready };
        ready.map_err(|error| {
            let log = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
            let end: Vec<&str> = log.lines().rev().take(5).collect();
            io::Error::other(format!("{error}: {}", end.join("\n")))
        })
    }

    /// Whoever asks for a password or for patience does, too.
    fn answers(&self) -> bool {
        self.cli().arg("PING").output().is_ok_and(|output| {
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.starts_with("PONG") || ["NOAUTH", "NOPERM", "LOADING"].iter().any(|word| text.contains(word))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Builds the library that is put before every other.
fn clock_library(folder: &Path) -> io::Result<PathBuf> {
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    std::fs::write(&source, include_str!("clock.c"))?;
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status()?;
    built.success().then_some(library).ok_or_else(|| io::Error::other("cc did not build the clock"))
}
