//! The gateway: the program that is shipped, with one worker, an open and a protected route, and its own issuer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Authentication, Client, PlainHttp, Secret};
use keybound_probe::load::Caller;
use tempfile::TempDir;

use super::{Child, SECRET, START, Side, await_listener, free_address, on};

/// One gateway.
#[derive(Debug)]
pub struct Gateway {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
    /// What its file holds.
    text: String,
}

impl Gateway {
    /// In front of this upstream.
    pub fn start(upstream: SocketAddr) -> Self {
        let program = build();
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let address = free_address();
        let text = format!(
            r#"
[listen]
address = "{address}"
workers = 1
admin = "127.0.0.1:0"
[limits]
connections = 20000
upstream_idle = 1024
idle_timeout = "1h"
[replay]
per_key = 10000000
memory = "1GiB"
[[origin]]
url = "http://{address}"
[[route]]
path = "/open"
mode = "open"
upstream = ["http://{upstream}"]
[[route]]
path = "/required"
upstream = ["http://{upstream}"]
[authorization_server]
url = "http://{address}/issuer"
store = "memory"
[[authorization_server.client]]
client_id = "bench"
client_secret = "{SECRET}"
grant_types = ["client_credentials"]
scope = ["read"]
dpop_bound_access_tokens = true
"#
        );
        let file = folder.path().join("keybound.toml");
        fs::write(&file, &text).expect("a file in a folder of our own");
        let mut command = on(Side::Subject, program.to_str().expect("cargo's folders are UTF-8"));
        command.arg("serve").arg("--config").arg(&file).env("KEYBOUND_LOG", "warn");
        let process = Child::start(command);
        await_listener(address);
        Self { process, address, folder, text }
    }

    /// The process, to be measured.
    pub const fn process(&self) -> &Child {
        &self.process
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of its.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Has it read its file again, with one more route, which is open; returns once that is in force.
    pub fn reload(&mut self, route: &str, upstream: SocketAddr) {
        let more = format!("[[route]]\npath = \"{route}\"\nmode = \"open\"\nupstream = [\"http://{upstream}\"]\n");
        self.text = self.text.replacen("[[route]]", &(more + "[[route]]"), 1);
        fs::write(self.folder.path().join("keybound.toml"), &self.text).expect("a file in a folder of our own");
        self.process.signal("HUP");
        let begun = Instant::now();
        while self.status(route) != "200" {
            assert!(begun.elapsed() < START, "the gateway did not read its file again");
        }
    }

    /// The status of an answer, for which a connection is made.
    fn status(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("somebody listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).expect("a connection that lasts");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a whole answer");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.ended()
    }

    /// Somebody with a new ES256 key and a token of its issuer.
    pub fn caller(&self) -> Caller {
        let key = Arc::new(SoftwareKey::generate(Alg::Es256).expect("the library makes keys"));
        let access = Access::client_credentials(self.url("/issuer"), "bench")
            .authentication(Authentication::Secret(Secret::new(SECRET.to_owned())));
        let client = Client::builder(Arc::clone(&key)).access(access);
        let client = client.plain_http(PlainHttp::Loopback).build().expect("settings that fit");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let token = runtime.block_on(client.token()).expect("a token of our own issuer");
        Caller::new(key, token.secret()).expect("a token68")
    }
}

/// The program, as it is in the work tree now.
pub(super) fn build() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(build_anew);
    &BUILT
}

fn build_anew() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["build", "--release", "--quiet", "-p", "keybound-cli"]).status();
    assert!(status.is_ok_and(|status| status.success()), "the gateway cannot be built");
    let own = std::env::current_exe().expect("this program is a file");
    own.parent().expect("a file lies in a folder").join("keybound")
}
