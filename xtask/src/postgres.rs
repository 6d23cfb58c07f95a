//! A PostgreSQL server on a port and in a folder of its own, gone when dropped.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::run;
use crate::test::installed;

/// Where Debian has the programs of this version.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A server that runs.
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
}

/// Makes a cluster and starts its server, which is installed where it is missing.
pub(crate) fn start() -> io::Result<Server> {
    installed(&program("postgres"), "--version", &["postgresql-15"])?;
    let folder = std::env::temp_dir().join(format!("keybound-postgres-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let mut server = Server { folder, port: 0 };
    if is_root() && !run::succeeds(Command::new("chown").arg("postgres").arg(&server.folder)) {
        return Err(io::Error::other("the folder cannot be given to the user postgres"));
    }
    let data = server.data();
    let made = run::succeeds(
        as_its_user(&program("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", "keybound", "-A", "trust"])
            .stdout(Stdio::null()),
    );
    // No sooner: meanwhile another might take it.
    server.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    if made && run::succeeds(Command::new("sh").args(["-c", &server.starting()])) {
        Ok(server)
    } else {
        let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("PostgreSQL does not start: {log}")))
    }
}

impl Server {
    /// The address of a database on it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://keybound@127.0.0.1:{}/postgres", self.port)
    }

    /// The number of its first process.
    pub(crate) fn process(&self) -> io::Result<String> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        Ok(file.lines().next().unwrap_or_default().to_owned())
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A line for the shell that starts it, also after it was killed, and waits until it takes connections.
    pub(crate) fn starting(&self) -> String {
        let user = if is_root() { "cd / && exec runuser -u postgres -- " } else { "exec " };
        let (folder, data) = (self.folder.display(), self.data());
        let options = format!("-p {} -h 127.0.0.1 -k {folder}", self.port);
        let (program, data) = (program("pg_ctl"), data.display());
        format!("{user}'{program}' start -w -t 60 -D '{data}' -o '{options}' -l '{folder}/log' >/dev/null")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stopping = as_its_user(&program("pg_ctl"));
        stopping.args(["stop", "-m", "immediate", "-D"]).arg(self.data()).stdout(Stdio::null());
        // One that never ran needs no end.
        run::succeeds(&mut stopping);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

fn program(name: &str) -> String {
    Path::new(PROGRAMS).join(name).display().to_string()
}

/// PostgreSQL refuses to run as root.
fn as_its_user(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", program]).current_dir("/");
    command
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}
