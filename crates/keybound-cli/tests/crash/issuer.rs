//! The program `keybound issuer`, to be killed, and what it has left in its store.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer as _};
use keybound::time::UnixTime;
use keybound_issuer::store::{Kind, Location, open};
use serde_json::Value;

use crate::address::free_address;
use crate::story::REDIRECT;

/// An issuer with a client of people and one that asserts.
pub(crate) struct Issuer {
    folder: PathBuf,
    address: SocketAddr,
    signer: SoftwareKey,
    process: Option<Process>,
}

/// The program, which is killed when this is dropped.
pub(crate) struct Process(Child);

impl Issuer {
    pub(crate) fn new(folder: &Path, location: &Location) -> Self {
        // A store that is new takes no assertions for a while, for it cannot know what was used before.
        let an_hour_ago = UnixTime::from_secs(now().as_secs() - 3600);
        drop(open(location, an_hour_ago).expect("a new store"));
        let store = match location {
            Location::Postgres(url) => url.to_string(),
            Location::Sqlite(file) => format!("sqlite:{}", file.display()),
            other => panic!("{other:?} would be gone"),
        };
        let signer = SoftwareKey::generate(Alg::Es256).unwrap();
        let address = free_address();
        fs::write(folder.join("jwks.json"), format!(r#"{{"keys":[{}]}}"#, signer.public_jwk().to_json())).unwrap();
        fs::write(folder.join("issuer.toml"), configuration(address, &store)).unwrap();
        Self { folder: folder.to_owned(), address, signer, process: None }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The key of the client that asserts.
    pub(crate) const fn signer(&self) -> &SoftwareKey {
        &self.signer
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn spawn(&mut self) -> &mut Child {
        self.process = Some(Process(self.command().spawn().expect("the program starts")));
        &mut self.process.as_mut().expect("it was put there").0
    }

    /// The program, with nothing of the surrounding environment that it reads.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("sh");
        // For a file that may grow no more: a full disk sends no signal, and the limit that plays it does.
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_keybound")]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYBOUND_")) {
            command.env_remove(name);
        }
        command.args(["issuer", "--config", "issuer.toml"]).current_dir(&self.folder);
        command.env("KEYBOUND_HOME", self.folder.join("home")).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// From now on its files may be so long and no longer, until there is `unlimited` room.
    pub(crate) fn limit_files(&self, octets: &str) {
        let process = self.process.as_ref().expect("it was started");
        let (pid, limit) = (process.0.id().to_string(), format!("--fsize={octets}:unlimited"));
        let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).status().expect("prlimit");
        assert!(limited.success());
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&mut self) {
        let said = BufReader::new(self.spawn().stderr.take().expect("it is piped"));
        let mut lines = said.lines().map_while(Result::ok);
        let mut heard = Vec::new();
        while !heard.last().is_some_and(|line: &String| line.contains("listening")) {
            heard.push(lines.next().unwrap_or_else(|| panic!("it ended: {heard:#?}")));
        }
        // It goes on talking, and must not wait for somebody who listens.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// The process that runs.
    pub(crate) fn take(&mut self) -> Process {
        self.process.take().expect("it was started")
    }
}

impl Process {
    /// By SIGKILL.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it was running");
    }
}

/// A database on the network holds keys only sealed, under one that is not in it.
const SEALING: &str = r#"
[authorization_server.keys]
sealing_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"#;

fn configuration(address: SocketAddr, store: &str) -> String {
    let keys = if store.starts_with("sqlite:") { "" } else { SEALING };
    format!(
        r#"
[listen]
address = "{address}"
workers = 2
[replay]
per_key = 1000000
[authorization_server]
url = "http://{address}"
audience = ["https://api.example.com"]
store = "{store}"
auto_approve = "alice"
{keys}
[[authorization_server.client]]
client_id = "app"
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
redirect_uris = ["{REDIRECT}"]
scope = ["read"]
[[authorization_server.client]]
client_id = "service"
token_endpoint_auth_method = "private_key_jwt"
grant_types = ["client_credentials"]
jwks_file = "jwks.json"
scope = ["read"]
"#
    )
}

/// The names of all access tokens that the issuer has noted.
pub(crate) fn issued(location: &Location) -> Vec<String> {
    const PAGE: u32 = 500;
    let now = now();
    let store = open(location, now).expect("a store that was left in order");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut issued, mut after) = (Vec::new(), String::new());
    loop {
        let page = runtime.block_on(store.list(Kind::AUDIT, &after, PAGE, now)).expect("a store that works");
        let Some((last, _)) = page.last() else { return issued };
        after = last.to_string();
        for (_, record) in page {
            let entry: Value = serde_json::from_str(&record.body).expect("JSON");
            if entry["event"] == "token.issued" {
                issued.push(entry["jti"].as_str().expect("a name").to_owned());
            }
        }
    }
}

fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}
