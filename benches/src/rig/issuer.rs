//! Issuers: the program that is shipped, on a store, and the yardstick `oidc-provider`.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use keybound_issuer::store::Location;
use keybound_probe::load::{Caller, Load};
use tempfile::TempDir;

use super::{BASIC, Child, SECRET, Side, await_listener, free_address, gateway, on};

/// One of them.
#[derive(Debug)]
pub struct Issuer {
    process: Child,
    address: SocketAddr,
    store: Option<Location>,
    _folder: TempDir,
}

/// Where its codes are sent, though nobody listens there.
pub(super) const REDIRECT: &str = "http://127.0.0.1/callback";

/// So many that none of them is what an issuer waits for: an answer waits for a disk.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

const AUDIENCE: &str = "https://api.example.com";

impl Issuer {
    /// Ours on a SQLite database in a folder of its own.
    pub fn on_sqlite() -> Self {
        Self::ours(None)
    }

    /// Ours on this PostgreSQL database.
    pub fn on_postgres(url: &str) -> Self {
        Self::ours(Some(url))
    }

    fn ours(database: Option<&str>) -> Self {
        let program = gateway::build();
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let address = free_address();
        let store = match database {
            None => format!("sqlite:{}", folder.path().join("issuer.db").display()),
            Some(url) => url.to_owned(),
        };
        let text = format!(
            r#"
[listen]
address = "{address}"
[replay]
per_key = 16000000
memory = "2GiB"
[authorization_server]
url = "http://{address}"
audience = ["{AUDIENCE}"]
store = "{store}"
auto_approve = "alice"
[authorization_server.keys]
sealing_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
[[authorization_server.client]]
client_id = "bench"
client_secret = "{SECRET}"
grant_types = ["client_credentials", "authorization_code", "refresh_token"]
redirect_uris = ["{REDIRECT}"]
scope = ["read"]
dpop_bound_access_tokens = true
"#
        );
        let file = folder.path().join("keybound.toml");
        fs::write(&file, &text).expect("a file in a folder of our own");
        let mut command = on(Side::Subject, program.to_str().expect("cargo's folders are UTF-8"));
        command.arg("issuer").arg("--config").arg(&file).env("KEYBOUND_LOG", "warn");
        let process = Child::start(command);
        await_listener(address);
        let store = store.parse().expect("a store that the issuer knows");
        Self { process, address, store: Some(store), _folder: folder }
    }

    /// `oidc-provider` with its memory, as `interop/node` has it installed for this Node.
    pub fn yardstick(node: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let address = free_address();
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/node/yardstick.js");
        let mut command = on(Side::Subject, node);
        command.arg(script).args([&address.port().to_string(), SECRET, AUDIENCE]).env("NODE_ENV", "production");
        let process = Child::start(command);
        await_listener(address);
        Self { process, address, store: None, _folder: folder }
    }

    /// The process, to be measured.
    pub const fn process(&self) -> &Child {
        &self.process
    }

    /// A URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it keeps its records in.
    ///
    /// # Panics
    ///
    /// If it is the yardstick.
    pub const fn store(&self) -> &Location {
        self.store.as_ref().expect("an issuer of ours")
    }

    /// Requests for tokens by `client_credentials`, each with a proof of its own.
    pub fn asked_for_tokens(&self, caller: &Caller) -> Load {
        let load = Load::new(&self.url("/token")).expect("a URL of loopback").method(Method::POST);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        load.field(AUTHORIZATION, HeaderValue::from_static(BASIC))
            .field(CONTENT_TYPE, form)
            .body("grant_type=client_credentials&scope=read")
            .caller(caller.clone())
            .connections(CONNECTIONS)
    }
}
