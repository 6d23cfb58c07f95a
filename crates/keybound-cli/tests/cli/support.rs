//! A place of its own for each test, commands that run to their end in it, and services that are waited for by what they say.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) use crate::address::free_address;

/// No wait in a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Directories for one test: where it works, what the user keeps, what is temporary.
pub(crate) struct Place {
    folder: TempDir,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// What it said on standard output, if it ended well.
    #[track_caller]
    pub(crate) fn good(&self) -> &str {
        assert_eq!(self.status, 0, "{self:#?}");
        &self.stdout
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["work", "home", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// The working directory of every command.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Where commands find `TMPDIR`.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the working directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The command, with nothing of the surrounding environment that it reads.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KEYBOUND_") {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.work()).env("KEYBOUND_HOME", self.folder.path().join("home"));
        command.env("TMPDIR", self.tmp()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        finish(self.command(args), "")
    }

    /// The same, with these variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Said {
        let mut command = self.command(args);
        command.envs(variables.iter().copied());
        finish(command, "")
    }

    /// The same, with this for standard input.
    pub(crate) fn run_on(&self, input: &str, args: &[&str]) -> Said {
        finish(self.command(args), input)
    }

    /// Starts what runs until it is stopped.
    pub(crate) fn start(&self, args: &[&str]) -> Service {
        self.start_into(args, Stdio::piped())
    }

    /// The same, with this for standard output.
    pub(crate) fn start_into(&self, args: &[&str], stdout: Stdio) -> Service {
        let mut command = self.command(args);
        command.stdout(stdout);
        Service::start(command)
    }
}

#[track_caller]
fn finish(mut command: Command, input: &str) -> Said {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    // A command that reads nothing may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (stdout, stderr) = (whole(child.stdout.take().unwrap()), whole(child.stderr.take().unwrap()));
    let (Ok(stdout), Ok(stderr)) = (stdout.recv_timeout(PATIENCE), stderr.recv_timeout(PATIENCE)) else {
        child.kill().unwrap();
        panic!("{command:?} does not end");
    };
    let status = child.wait().unwrap().code().unwrap_or(-1);
    Said { status, stdout, stderr }
}

fn whole(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        sender.send(text)
    });
    receiver
}

/// A process that runs until it is stopped; killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Service {
    /// Of a command that runs until it is stopped.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            read_lines(stdout, sender.clone());
        }
        read_lines(child.stderr.take().unwrap(), sender);
        Self { child, lines, said: Vec::new() }
    }

    /// Waits for a line that holds `text`, and gives it.
    #[track_caller]
    pub(crate) fn line(&mut self, text: &str) -> String {
        if let Some(line) = self.said.iter().find(|line| line.contains(text)) {
            return line.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("never said {text:?}: {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {text:?}: {:#?}", self.said),
            }
        }
    }

    /// Where it listens, as it says.
    #[track_caller]
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.line("listening address=");
        let (_, rest) = line.split_once("address=").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let number = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {number}")]).status().unwrap();
        assert!(sent.success());
    }

    /// From now on its files may be so long and no longer, until there is `unlimited` room.
    pub(crate) fn limit_files(&self, octets: &str) {
        let (pid, limit) = (self.child.id().to_string(), format!("--fsize={octets}:unlimited"));
        let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit");
        assert!(limited.success());
    }

    /// The most memory it has had so far, in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        after(&status, "VmHWM:").trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Its exit status, once it has ended and said everything.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => panic!("does not end: {:#?}", self.said),
            }
        }
    }

    /// What it has said so far, as far as that was waited for.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// Asks it to end by SIGTERM, and says with which status it did.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended().code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // What has ended cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}

/// The whole answer to a plain GET, as text.
pub(crate) fn get(address: SocketAddr, path: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// One connection with this on it, to its end; what came.
pub(crate) fn say(address: SocketAddr, octets: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who does not take all of it has answered already.
    let _ = stream.write_all(octets.as_ref());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The JSON body of such an answer.
#[track_caller]
pub(crate) fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The claims of a JWT, believed by nobody.
pub(crate) fn claims(jwt: &str) -> Value {
    let payload = jwt.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&keybound::jws::decode_base64url(payload).unwrap()).unwrap()
}

/// What stands between `before` and the end of the line it is in.
#[track_caller]
pub(crate) fn after<'t>(text: &'t str, before: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    rest.lines().next().unwrap()
}
