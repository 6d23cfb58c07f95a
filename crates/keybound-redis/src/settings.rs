//! Where the servers are and how to get in.

use core::fmt;
use core::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use keybound_tower::pinned::SettingsError;

/// How long one record may take unless set otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);

/// How many live proofs one key may have unless set otherwise.
pub const DEFAULT_PER_KEY: u32 = 100_000;

/// With what every key begins unless set otherwise.
pub const DEFAULT_PREFIX: &str = "kb:";

/// Longer ones would take a larger block for each key.
const LONGEST_PREFIX: usize = 8;

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Topology {
    /// One server.
    Single,
    /// A primary that Sentinels know by this name, at the addresses of the Sentinels.
    Sentinel {
        /// Its name.
        master: String,
    },
    /// A Cluster, some of whose nodes are known.
    Cluster,
}

/// Host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Zeroizing<String>>,
}

/// Whom to believe, and what to show.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Clone for Tls {
    fn clone(&self) -> Self {
        let identity = self.identity.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
        Self { authorities: self.authorities.clone(), identity }
    }
}

/// Where the servers are, how to get in, and what may be asked of them.
///
/// | URL | what |
/// |---|---|
/// | `redis://HOST:PORT/DATABASE` | one server |
/// | `redis-sentinel://HOST:PORT,HOST:PORT/DATABASE?master=NAME` | the primary that these Sentinels name |
/// | `redis-cluster://HOST:PORT,HOST:PORT` | the Cluster that these nodes are of |
///
/// With `rediss` for `redis` it goes through TLS. `USER:PASSWORD@` may stand before the first host.
///
/// ```
/// use keybound_redis::RedisSettings;
///
/// let settings = RedisSettings::from_url("rediss://replays:secret@redis.internal:6380/1")?;
/// assert_eq!(format!("{settings:?}"), "RedisSettings(rediss://redis.internal:6380/1)");
/// # Ok::<(), keybound_redis::SettingsError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct RedisSettings {
    pub(crate) addresses: Vec<Address>,
    pub(crate) topology: Topology,
    pub(crate) login: Login,
    pub(crate) sentinel_login: Login,
    pub(crate) database: u32,
    pub(crate) tls: Option<Tls>,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) per_key: u32,
    pub(crate) max_age: Duration,
    pub(crate) nonce_lifetime: Duration,
}

impl RedisSettings {
    /// The settings of a URL, and for the rest what each method says.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL. The message does not repeat it, for it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, SettingsError> {
        let fault = |text: &str| Err(SettingsError::new(text));
        let Some((scheme, rest)) = url.split_once("://") else {
            return fault("is no URL; write redis://HOST:PORT");
        };
        let (tls, kind) = match scheme.strip_prefix("rediss") {
            Some(kind) => (true, kind),
            None => (false, scheme.strip_prefix("redis").unwrap_or("?")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user_info, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let topology = match (kind, query.strip_prefix("master=")) {
            ("", None) if query.is_empty() => Topology::Single,
            ("-cluster", None) if query.is_empty() => Topology::Cluster,
            ("-sentinel", Some(master)) if !master.is_empty() && !master.contains('&') => {
                Topology::Sentinel { master: decoded(master)? }
            }
            ("-sentinel", _) => {
                return fault("does not name the primary; write redis-sentinel://HOST:PORT?master=NAME");
            }
            ("" | "-cluster", _) => return fault("has something behind ?, where nothing belongs"),
            _ => return fault("is of no scheme of Redis; use redis, redis-sentinel, redis-cluster, or rediss for TLS"),
        };
        let database = match database {
            "" => 0,
            number => match number.parse() {
                Ok(number) if topology != Topology::Cluster || number == 0 => number,
                Ok(_) => return fault("names a database, and a Cluster has none but 0"),
                Err(_) => return fault("has a database that is no number"),
            },
        };
        let port = if matches!(topology, Topology::Sentinel { .. }) { 26379 } else { 6379 };
        let addresses = hosts.split(',').map(|host| address(host, port)).collect::<Result<Vec<_>, _>>()?;
        if topology == Topology::Single && addresses.len() > 1 {
            return fault("names several servers; of what kind? use redis-sentinel or redis-cluster");
        }
        Ok(Self {
            addresses,
            topology,
            login: user_info.map_or_else(|| Ok(Login::default()), login)?,
            sentinel_login: Login::default(),
            database,
            tls: tls.then(Tls::default),
            prefix: DEFAULT_PREFIX.to_owned(),
            timeout: DEFAULT_TIMEOUT,
            per_key: DEFAULT_PER_KEY,
            max_age: Duration::from_secs(300),
            nonce_lifetime: Duration::from_secs(300),
        })
    }

    /// The windows by which proofs are judged, in whole seconds: the longest `max_age` and life of nonces of any verifier whose
    /// proofs are recorded. 300 s each unless set. Where nodes differ, records are kept for the longest of all, and a node that
    /// brings a longer one opens a new epoch.
    pub const fn windows(mut self, max_age: Duration, nonce_lifetime: Duration) -> Self {
        self.max_age = max_age;
        self.nonce_lifetime = nonce_lifetime;
        self
    }

    /// How many live entries one key (`jkt`) may have; [`DEFAULT_PER_KEY`] unless set. Counted by the store, over all nodes: a
    /// key is never admitted beyond it, and an entry counts up to half a minute longer than it lives.
    pub const fn per_key(mut self, entries: u32) -> Self {
        self.per_key = entries;
        self
    }

    /// How long one record may take; [`DEFAULT_TIMEOUT`] unless set. One that takes longer is
    /// [`Fault::ReplayUnreachable`](keybound::refusal::Fault::ReplayUnreachable), and may have been recorded.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// User and password of the servers, in place of what the URL says. No user is the one called `default`.
    pub fn login(mut self, username: Option<&str>, password: Option<&str>) -> Self {
        self.login = Login::of(username, password);
        self
    }

    /// User and password of the Sentinels, which have their own. None unless set.
    pub fn sentinel_login(mut self, username: Option<&str>, password: Option<&str>) -> Self {
        self.sentinel_login = Login::of(username, password);
        self
    }

    /// With what every key begins; [`DEFAULT_PREFIX`] unless set.
    ///
    /// # Errors
    ///
    /// If it is longer than 8 octets or has a brace, which in a Cluster would move every key to one slot.
    pub fn prefix(mut self, prefix: &str) -> Result<Self, SettingsError> {
        if prefix.len() > LONGEST_PREFIX || prefix.contains(['{', '}']) {
            return Err(SettingsError::new(format!("is not at most {LONGEST_PREFIX} octets without braces")));
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// The authorities that a server's certificate may come from, in PEM form; those of the system unless set.
    ///
    /// # Errors
    ///
    /// If there is none in it, or the URL is not one for TLS.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self, SettingsError> {
        let authorities = certificates(pem)?;
        self.with_tls()?.authorities = authorities;
        Ok(self)
    }

    /// The certificate to show and its key, in PEM form; none unless set.
    ///
    /// # Errors
    ///
    /// If they are none, or the URL is not one for TLS.
    pub fn identity(mut self, certificate: &[u8], key: &[u8]) -> Result<Self, SettingsError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| SettingsError::new(error.to_string()))?;
        self.with_tls()?.identity = Some((chain, key));
        Ok(self)
    }

    /// How the servers belong together.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether connections go through TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether another server may take over from the one a node speaks to. Every proof needs a nonce then: two servers that both
    /// take themselves for the primary are told apart by the epoch in it and by nothing else.
    pub const fn needs_nonces(&self) -> bool {
        !matches!(self.topology, Topology::Single)
    }

    fn with_tls(&mut self) -> Result<&mut Tls, SettingsError> {
        self.tls.as_mut().ok_or_else(|| SettingsError::new("goes with TLS alone; write rediss for redis in the URL"))
    }
}

impl Login {
    fn of(username: Option<&str>, password: Option<&str>) -> Self {
        let password = password.map(|password| Zeroizing::new(password.to_owned()));
        Self { username: username.map(str::to_owned), password }
    }
}

impl fmt::Display for RedisSettings {
    /// The URL, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tls, kind) = (
            if self.is_tls() { "s" } else { "" },
            match &self.topology {
                Topology::Single => "",
                Topology::Sentinel { .. } => "-sentinel",
                Topology::Cluster => "-cluster",
            },
        );
        let hosts: Vec<_> = self.addresses.iter().map(Address::to_string).collect();
        write!(f, "redis{tls}{kind}://{}", hosts.join(","))?;
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        if let Topology::Sentinel { master } = &self.topology {
            write!(f, "?master={master}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisSettings({self})")
    }
}

fn login(user_info: &str) -> Result<Login, SettingsError> {
    let (username, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let given = |text: &str| (!text.is_empty()).then(|| decoded(text)).transpose();
    let (username, password) = (given(username)?, given(password)?.map(Zeroizing::new));
    Ok(Login { username, password })
}

fn decoded(text: &str) -> Result<String, SettingsError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| SettingsError::new("holds percent-encoded octets that are no UTF-8"))
}

fn address(text: &str, default_port: u16) -> Result<Address, SettingsError> {
    let fault = || SettingsError::new("names no host, or a port that is none");
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(fault)?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(fault)?,
        None if rest.is_empty() => default_port,
        None => return Err(fault()),
    };
    let fine = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(fine) {
        return Err(fault());
    }
    Ok(Address { host: host.to_owned(), port })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(SettingsError::new("holds no certificate in PEM form")),
        Err(error) => Err(SettingsError::new(format!("is not a PEM file: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_whole() {
        for (url, shown) in [
            ("redis://h", "redis://h:6379"),
            ("redis://:p%40ss@h:1/3", "redis://h:1/3"),
            ("rediss://[::1]:7000", "rediss://[::1]:7000"),
            ("redis-sentinel://a,b:1?master=m", "redis-sentinel://a:26379,b:1?master=m"),
            ("rediss-sentinel://a/2?master=m", "rediss-sentinel://a:26379/2?master=m"),
            ("redis-cluster://u:p@a:7000,b:7001", "redis-cluster://a:7000,b:7001"),
            ("rediss-cluster://a", "rediss-cluster://a:6379"),
        ] {
            assert_eq!(RedisSettings::from_url(url).map(|settings| settings.to_string()), Ok(shown.to_owned()));
        }
        let settings = RedisSettings::from_url("redis://us%65r:p%40:ss@h").expect("a URL");
        assert_eq!(settings.login.username.as_deref(), Some("user"));
        assert_eq!(settings.login.password.as_deref().map(String::as_str), Some("p@:ss"));
    }

    #[test]
    fn what_is_no_url_is_said_without_its_secrets() {
        for url in [
            "h:6379",
            "http://hunter2@h",
            "redis://",
            "redis://hunter2@",
            "redis://h:0",
            "redis://h:x",
            "redis://h/hunter2",
            "redis://a,b",
            "redis://h?master=m",
            "redis-sentinel://h",
            "redis-sentinel://h?master=",
            "redis-cluster://h/1",
            "redis://hunter2 @h h",
            "redis://[::1",
        ] {
            let said = RedisSettings::from_url(url).err().map(|error| error.to_string());
            assert!(said.as_ref().is_some_and(|said| !said.contains("hunter2")), "{url}: {said:?}");
        }
    }

    #[test]
    fn tls_settings_go_with_tls() {
        let settings = RedisSettings::from_url("redis://h").expect("a URL");
        assert!(settings.clone().authorities(b"").is_err());
        assert!(settings.clone().prefix("a{b}").is_err());
        assert!(settings.clone().prefix("123456789").is_err());
        assert!(settings.prefix("p").is_ok());
    }
}
