//! Where the database is and how to get in.

use core::fmt;
use core::time::Duration;

use keybound_tower::pinned::{Settings, SettingsError};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// How long one record may take unless set otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(500);

/// How many live proofs one key may have unless set otherwise.
pub const DEFAULT_PER_KEY: u32 = 100_000;

/// In which schema the tables are unless set otherwise.
pub const DEFAULT_SCHEMA: &str = "keybound";

/// Where the database is, how to get in, and what may be asked of it.
///
/// ```
/// use keybound_postgres::PostgresSettings;
///
/// let settings = PostgresSettings::from_url("postgres://replays:secret@db.internal/app?sslmode=verify-full")?;
/// assert_eq!(format!("{settings:?}"), "PostgresSettings(postgres://db.internal:5432/app)");
/// # Ok::<(), keybound_postgres::SettingsError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct PostgresSettings {
    pub(crate) options: PgConnectOptions,
    /// What settings are compared by: the options cannot be.
    url: String,
    password: Option<String>,
    pub(crate) schema: String,
    pub(crate) timeout: Duration,
    pub(crate) per_key: u32,
    pub(crate) max_age: Duration,
    pub(crate) nonce_lifetime: Duration,
    pub(crate) may_fail_over: bool,
}

impl PostgresSettings {
    /// The settings of a URL, and for the rest what each method says. `sslmode` and `sslrootcert` behind `?` say whether TLS is used and whom
    /// to believe: across a network, `verify-full`.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL. The message does not repeat it, for it may hold a password.
    pub fn from_url(url: &str) -> Result<Self, SettingsError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(SettingsError::new("is no URL of PostgreSQL; write postgres://USER@HOST/DATABASE"));
        }
        let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
            let why = match &error {
                sqlx::Error::Configuration(why) => why.to_string(),
                other => other.to_string(),
            };
            SettingsError::new(format!("is no URL of PostgreSQL: {why}"))
        })?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(SettingsError::new("names no database; write postgres://USER@HOST/DATABASE"));
        }
        Ok(Self {
            options: options.application_name("keybound").disable_statement_logging(),
            url: url.to_owned(),
            password: None,
            schema: DEFAULT_SCHEMA.to_owned(),
            timeout: DEFAULT_TIMEOUT,
            per_key: DEFAULT_PER_KEY,
            max_age: Duration::from_secs(300),
            nonce_lifetime: Duration::from_secs(300),
            may_fail_over: false,
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

    /// How many live entries one key (`jkt`) may have; [`DEFAULT_PER_KEY`] unless set. Counted by the database, over all nodes: a
    /// key is never admitted beyond it, and an entry counts up to a third longer than the longest usual one lives.
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

    /// The password, in place of what the URL says.
    pub fn password(mut self, password: &str) -> Self {
        self.options = self.options.password(password);
        self.password = Some(password.to_owned());
        self
    }

    /// In which schema the tables are; [`DEFAULT_SCHEMA`] unless set. It is made if the user may. Nodes belong together by database and schema.
    ///
    /// # Errors
    ///
    /// If it is not a name of lower-case letters, digits and `_`, at most 32.
    pub fn schema(mut self, schema: &str) -> Result<Self, SettingsError> {
        let fine = |at: usize, c: char| c.is_ascii_lowercase() || c == '_' || at > 0 && c.is_ascii_digit();
        let is_name = (1..=32).contains(&schema.len()) && schema.chars().enumerate().all(|(at, c)| fine(at, c));
        if !is_name || schema.starts_with("pg_") {
            let message = "is not a name of lower-case letters, digits and _, at most 32, for a schema of its own";
            return Err(SettingsError::new(message));
        }
        schema.clone_into(&mut self.schema);
        Ok(self)
    }

    /// Another server may take over from this one, by a pool, a name or an address that leads elsewhere then. Every proof needs a nonce
    /// then: two servers that both take themselves for the primary are told apart by the epoch in it and by nothing else.
    pub const fn may_fail_over(mut self) -> Self {
        self.may_fail_over = true;
        self
    }

    /// Whether every proof needs a nonce, which is so if another server may take over.
    pub const fn needs_nonces(&self) -> bool {
        self.may_fail_over
    }
}

impl Settings for PostgresSettings {
    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn windows(&self) -> (Duration, Duration) {
        (self.max_age, self.nonce_lifetime)
    }

    fn needs_nonces(&self) -> bool {
        self.may_fail_over
    }
}

impl PartialEq for PostgresSettings {
    fn eq(&self, other: &Self) -> bool {
        let key = |settings: &Self| {
            (settings.timeout, settings.per_key, settings.max_age, settings.nonce_lifetime, settings.may_fail_over)
        };
        self.url == other.url
            && self.password == other.password
            && self.schema == other.schema
            && key(self) == key(other)
    }
}

impl Eq for PostgresSettings {}

impl fmt::Display for PostgresSettings {
    /// The URL, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.options.get_database().unwrap_or_default();
        match self.options.get_socket() {
            Some(folder) => write!(f, "postgres://{}/{database}", folder.display()),
            None => write!(f, "postgres://{}:{}/{database}", self.options.get_host(), self.options.get_port()),
        }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresSettings({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_said_and_not_repeated() {
        for url in [
            "h:5432",
            "http://hunter2@h/d",
            "postgres://h",
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@h:x/d",
            "postgres://u:hunter2@h/d?sslmode=maybe",
        ] {
            let said = PostgresSettings::from_url(url).err().map(|error| error.to_string());
            assert!(said.as_ref().is_some_and(|said| !said.contains("hunter2")), "{url}: {said:?}");
        }
    }

    #[test]
    fn the_password_is_shown_nowhere() {
        let settings = PostgresSettings::from_url("postgresql://u:hunter2@[::1]:6/d").expect("a URL");
        for settings in [settings.clone(), settings.password("hunter2")] {
            assert_eq!(
                (settings.to_string(), format!("{settings:?}").contains("hunter2")),
                ("postgres://[::1]:6/d".to_owned(), false)
            );
        }
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        let settings = PostgresSettings::from_url("postgres://h/d").expect("a URL");
        assert!(settings.clone().schema("replays_2").is_ok());
        for wrong in ["", "2", "Replays", "a-b", "a\"", "pg_x", "a;b", &"a".repeat(33)] {
            assert!(settings.clone().schema(wrong).is_err(), "{wrong}");
        }
    }
}
