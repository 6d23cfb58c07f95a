//! The static binary in a root with nothing but itself and its configuration, as a user who can write nothing there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{fs, io, thread};

use super::{ensure, succeeds};
use crate::package;

/// Whoever that is: it owns nothing.
const USER: &str = "65534:65534";

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Quick to build: nothing is asked of its speed.
const PROFILE: [&str; 4] = ["--config", "profile.dev.package.\"*\".opt-level=0", "--config", "profile.dev.debug=false"];

/// It serves a request there, finds its upstream by name, and finishes the request it is at when it is told to end.
pub(super) fn runs(root: &Path) -> io::Result<()> {
    let program = package::statically(&PROFILE)?;
    let upstream = TcpListener::bind("127.0.0.1:0")?;
    furnish(root, &program, upstream.local_addr()?.port())?;
    let before = contents(root)?;

    let mut chroot = Command::new("chroot");
    chroot.arg(format!("--userspec={USER}")).arg(root).args(["/keybound", "serve", "--config", "/keybound.toml"]);
    let mut gateway = Gateway(chroot.env_clear().env("PATH", "/usr/sbin:/usr/bin").stderr(Stdio::piped()).spawn()?);
    let address = gateway.address()?;
    let asking = thread::spawn(move || get(&address));
    let (arrived, arrivals) = channel();
    thread::spawn(move || arrived.send(upstream.accept()));
    let arrival = arrivals.recv_timeout(PATIENCE).map_err(|_| io::Error::other("no request reached the upstream"))?;
    let (mut stream, _) = arrival?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read_exact(&mut [0; 4])?;
    succeeds(Command::new("kill").arg(gateway.0.id().to_string()))?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished")?;
    let answer = asking.join().map_err(|_| io::Error::other("the client panicked"))??;
    ensure(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("finished"), &format!("answered: {answer}"))?;
    let status = gateway.0.wait()?;
    ensure(status.success(), &format!("it ended with {status}"))?;
    ensure(contents(root)? == before, "something was written")
}

/// A root that is not the user's to write to.
fn furnish(root: &Path, program: &Path, upstream: u16) -> io::Result<()> {
    fs::create_dir_all(root.join("etc"))?;
    fs::copy(program, root.join("keybound"))?;
    let configuration = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\
         [[origin]]\nurl = \"https://api.example.com\"\n\
         [[issuer]]\nurl = \"https://127.0.0.1:9\"\naudience = [\"https://api.example.com\"]\n\
         [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://upstream.internal:{upstream}\"]\n"
    );
    fs::write(root.join("keybound.toml"), configuration)?;
    fs::write(root.join("etc/hosts"), "127.0.0.1 upstream.internal\n")?;
    for (path, mode) in
        [("", 0o555), ("etc", 0o555), ("keybound", 0o555), ("keybound.toml", 0o444), ("etc/hosts", 0o444)]
    {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn contents(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in [root.to_owned(), root.join("etc")] {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.push(format!("{} {}", entry.path().display(), entry.metadata()?.len()));
        }
    }
    names.sort();
    Ok(names)
}

/// Killed when dropped, if it has not ended.
struct Gateway(Child);

impl Gateway {
    /// Where it listens, as it says; what else it says is shown.
    fn address(&mut self) -> io::Result<String> {
        let log = self.0.stderr.take().ok_or_else(|| io::Error::other("there is no log"))?;
        let (found, address) = channel();
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                println!("{line}");
                if let Some((_, rest)) = line.split_once("listening address=") {
                    let _ = found.send(rest.split(' ').next().unwrap_or_default().to_owned());
                }
            }
        });
        address.recv_timeout(PATIENCE).map_err(|_| io::Error::other("it does not say where it listens"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // What has ended cannot be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
