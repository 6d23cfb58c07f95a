//! A connection to one server, logged in. It breaks once and for all: nothing here connects again by itself.

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use keybound_tower::pinned::ConnectError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisResult, Script, ServerErrorKind, Value};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::{answered, on};
use crate::settings::{Address, Login, RedisSettings, Tls, Topology};

/// For a connection to be there, TLS and login each.
const CONNECT: Duration = Duration::from_secs(2);

/// Connects by the settings.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) settings: RedisSettings,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.settings).finish()
    }
}

/// A connection, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Dialer {
    pub(crate) fn new(settings: RedisSettings) -> Result<Self, ConnectError> {
        let tls = settings.tls.as_ref().map(connector).transpose()?;
        Ok(Self { settings, tls })
    }

    /// To a server that keeps records.
    pub(crate) async fn server(&self, address: &Address) -> Result<Link, ConnectError> {
        let database = if self.settings.topology == Topology::Cluster { 0 } else { self.settings.database };
        self.dial(address, &self.settings.login, database).await.map_err(|error| error.at(on(address)))
    }

    /// To a Sentinel.
    pub(crate) async fn sentinel(&self, address: &Address) -> Result<Link, ConnectError> {
        self.dial(address, &self.settings.sentinel_login, 0).await.map_err(|error| error.at(on(address)))
    }

    async fn dial(&self, address: &Address, login: &Login, database: u32) -> Result<Link, ConnectError> {
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = within(connecting).await?.map_err(|error| match error.raw_os_error() {
            None => ConnectError::passing(format!("there is no address for this name: {error}")),
            Some(_) => ConnectError::passing(format!("cannot be reached: {error}")),
        })?;
        // Without it small pieces would wait for each other; it still works without.
        let _ = stream.set_nodelay(true);
        let mut info = RedisConnectionInfo::default().set_db(database.into()).set_skip_set_lib_name();
        if let Some(username) = &login.username {
            info = info.set_username(username);
        }
        if let Some(password) = &login.password {
            info = info.set_password(password.as_str());
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.settings.timeout));
        let Some(tls) = &self.tls else {
            let entering = MultiplexedConnection::new_with_config(&info, stream, config);
            return within(entering).await?.map(Link::drive).map_err(|error| answered(&error));
        };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| ConnectError::setting("TLS needs a name or an IP address that a certificate can name"))?;
        let shaking_hands = tls.connect(name, stream);
        let silent =
            "does not answer in time when TLS is begun; if it does not speak TLS, write redis for rediss in the URL";
        let stream = timeout(CONNECT, shaking_hands).await.map_err(|_| ConnectError::passing(silent))?;
        let stream = stream.map_err(|error| not_by_tls(&error))?;
        let entering = MultiplexedConnection::new_with_config(&info, stream, config);
        within(entering).await?.map(Link::drive).map_err(|error| answered(&error))
    }
}

fn not_by_tls(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::InvalidData if error.to_string().contains("corrupt message") => {
            ConnectError::setting("does not speak TLS; write redis for rediss in the URL, or have it listen with TLS")
        }
        io::ErrorKind::InvalidData => ConnectError::setting(format!("TLS fails: {error}")),
        _ => ConnectError::passing(format!("TLS fails: {error}")),
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T, ConnectError> {
    timeout(CONNECT, work).await.map_err(|_| ConnectError::passing("does not answer in time"))
}

fn connector(tls: &Tls) -> Result<TlsConnector, ConnectError> {
    let fault = |error: rustls::Error| ConnectError::setting(format!("TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(fault)?;
    let builder = if tls.authorities.is_empty() {
        builder.with_platform_verifier().map_err(fault)?
    } else {
        let mut roots = RootCertStore::empty();
        for authority in &tls.authorities {
            roots.add(authority.clone()).map_err(fault)?;
        }
        builder.with_root_certificates(roots)
    };
    let config = match &tls.identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(fault)?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Link {
    fn drive((connection, driver): (MultiplexedConnection, impl Future<Output = ()> + Send + 'static)) -> Self {
        Self { connection, driver: tokio::spawn(driver) }
    }

    pub(crate) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        command.query_async(&mut self.connection.clone()).await
    }

    /// The answer as a text.
    pub(crate) async fn text(&self, words: &[&str]) -> RedisResult<String> {
        let mut command = Cmd::new();
        command.arg(words);
        command.query_async(&mut self.connection.clone()).await
    }

    /// Runs a script, which the server is told if it does not know it: a script it does not know it has not begun.
    pub(crate) async fn run(&self, script: &Script, text: &str, operands: &Operands) -> RedisResult<Value> {
        match self.ask(&operands.command("EVALSHA", script.get_hash())).await {
            Err(error) if error.kind() == ServerErrorKind::NoScript.into() => {
                self.ask(&operands.command("EVAL", text)).await
            }
            answer => answer,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Keys and arguments of a script.
#[derive(Default)]
pub(crate) struct Operands {
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Operands {
    pub(crate) fn key(&mut self, key: Vec<u8>) -> &mut Self {
        self.keys.push(key);
        self
    }

    pub(crate) fn argument(&mut self, argument: impl Into<Vec<u8>>) -> &mut Self {
        self.arguments.push(argument.into());
        self
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = Cmd::with_capacity(3 + self.keys.len() + self.arguments.len(), 256);
        command.arg(name).arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
