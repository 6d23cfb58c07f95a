//! What a server says of itself, and the epoch on it.

use core::time::Duration;
use std::time::SystemTime;

use keybound::crypto::aws_lc::random_array;
use keybound_tower::pinned::{APART, ConnectError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _};
use tokio::time::timeout;
use uuid::Uuid;

use crate::error::answered;
use crate::settings::PostgresSettings;

/// For a connection to be there.
const CONNECT: Duration = Duration::from_secs(2);

/// Version 14: older ones are no longer looked after.
const OLDEST: i32 = 140_000;

const TABLES: &str = include_str!("tables.sql");

/// The epoch as it stands there.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) marker: Uuid,
    /// When it began, in seconds, by a clock that no node's clock is before.
    pub(crate) since: u64,
    /// For which windows records are kept, in seconds.
    pub(crate) windows: (u64, u64),
    /// How often the rings have turned.
    pub(crate) near: u64,
    pub(crate) far: u64,
}

/// For tables to be made and emptied, which waits for the disk.
pub(crate) const TABLES_PATIENCE: Duration = Duration::from_secs(5);

/// A connection whose statements give up by themselves after a while, so that nothing is done for nobody.
pub(crate) async fn connect(settings: &PostgresSettings, patience: Duration) -> Result<PgConnection, ConnectError> {
    let options: &PgConnectOptions = &settings.options;
    let late = |_| ConnectError::passing("does not answer in time");
    let connecting = async {
        let mut connection = options.connect().await?;
        // A lock is waited for shorter than for the whole: that it was not had undoes one call and says nothing of the server.
        let (all, lock) = (patience.as_millis(), (settings.timeout * 4 / 5).as_millis().max(1));
        let set = format!(
            "SET statement_timeout = {all}; SET lock_timeout = {lock}; SET synchronous_commit = off; \
             SET default_transaction_isolation = 'read committed'"
        );
        connection.execute(AssertSqlSafe(set)).await?;
        Ok(connection)
    };
    timeout(CONNECT, connecting).await.map_err(late)?.map_err(|error: sqlx::Error| answered(&error))
}

/// Looks at what the server is, and makes the tables if they are not there. A replica and an old server are refused. Says how the server's
/// system is called.
pub(crate) async fn examine(connection: &mut PgConnection, settings: &PostgresSettings) -> Result<i64, ConnectError> {
    let question = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), \
                    (SELECT system_identifier FROM pg_control_system()), EXISTS (SELECT FROM pg_stat_replication), \
                    current_setting('transaction_read_only')::bool";
    let row = connection.fetch_one(question).await.map_err(|error| answered(&error))?;
    let read = |error: sqlx::Error| answered(&error);
    let version: i32 = row.try_get(0).map_err(read)?;
    if version < OLDEST {
        return Err(ConnectError::setting(format!("is version {}, and 14 is the oldest", version / 10_000)));
    }
    if row.try_get(1).map_err(read)? {
        return Err(ConnectError::passing("is a replica, where nothing can be recorded"));
    }
    if row.try_get(4).map_err(read)? {
        return Err(ConnectError::passing("takes no writes: its transactions are read-only"));
    }
    if row.try_get(3).map_err(read)? && !settings.needs_nonces() {
        tracing::warn!(
            store = %settings,
            "this server has replicas; if one may ever take over, say so, or demand nonces of every proof"
        );
    }
    migrate(connection, &settings.schema).await?;
    is_unlogged(connection, &settings.schema).await?;
    row.try_get(2).map_err(read)
}

/// Whether a crash empties every table with proofs, and the marker's among them. One that is logged would keep the marker, and lose the last
/// proofs, for which nobody has waited.
pub(crate) async fn is_unlogged(connection: &mut PgConnection, schema: &str) -> Result<(), ConnectError> {
    let question = "SELECT coalesce(string_agg(relname, ', ' ORDER BY relname), '') FROM pg_class \
                    JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = $1 AND relkind = 'r' AND relpersistence <> 'u' \
                    AND relname NOT IN ('shared', 'version')";
    let logged: String =
        sqlx::query_scalar(question).bind(schema).fetch_one(connection).await.map_err(|error| answered(&error))?;
    if logged.is_empty() {
        return Ok(());
    }
    Err(ConnectError::setting(format!(
        "its tables in {schema} are not all UNLOGGED any more ({logged}), and a crash would not show; drop the schema, to have it made anew"
    )))
}

async fn migrate(connection: &mut PgConnection, schema: &str) -> Result<(), ConnectError> {
    let fault = |error: sqlx::Error| answered(&error);
    // Not by `to_regclass`, which may go on not seeing what another has made while a lock was waited for.
    let is_there = "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
                    WHERE nspname = $1 AND relname = 'version')";
    let is_there = || sqlx::query_scalar::<_, bool>(is_there).bind(schema);
    let mut there = is_there().fetch_one(&mut *connection).await.map_err(fault)?;
    if !there {
        let exists = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)";
        // Whoever else is about to make it comes after us, and finds it there.
        connection
            .execute("BEGIN; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(5641893720465412)")
            .await
            .map_err(fault)?;
        there = is_there().fetch_one(&mut *connection).await.map_err(fault)?;
        if !there {
            let exists: bool =
                sqlx::query_scalar(exists).bind(schema).fetch_one(&mut *connection).await.map_err(fault)?;
            let schema_itself = if exists { String::new() } else { format!("CREATE SCHEMA {schema};") };
            let text = schema_itself + &TABLES.replace("{schema}", schema);
            let made = connection.execute(AssertSqlSafe(text)).await;
            made.map_err(|error| match answered(&error) {
                error if error.is_configuration() => ConnectError::setting(format!(
                    "{error}; have an owner of the database run CREATE SCHEMA {schema} AUTHORIZATION and its name"
                )),
                error => error,
            })?;
        }
        connection.execute("COMMIT").await.map_err(fault)?;
    }
    let version = AssertSqlSafe(format!("SELECT version FROM {schema}.version"));
    let version: i32 = sqlx::query_scalar(version).fetch_one(&mut *connection).await.map_err(fault)?;
    if version == 1 {
        Ok(())
    } else {
        Err(ConnectError::setting(format!("its tables in {schema} are of version {version}, and this is version 1")))
    }
}

/// The epoch, made anew if the one that is there is of another life of the server, is the one that is superseded, or stands for shorter windows, or
/// if all are superseded.
pub(crate) async fn open(
    connection: &mut PgConnection,
    settings: &PostgresSettings,
    system: i64,
    (superseded, is_all_superseded): (Option<Uuid>, bool),
) -> Result<Opened, ConnectError> {
    let random: [u8; 16] = random_array().map_err(|error| ConnectError::passing(error.to_string()))?;
    let question = format!(
        "SELECT fault, apart, (e).marker, (e).opened, (e).max_age, (e).nonce_lifetime, (e).near, (e).far \
         FROM {}.open($1, $2, $3, $4, $5, $6, $7, $8)",
        settings.schema
    );
    let row = sqlx::query(AssertSqlSafe(question))
        .bind(Uuid::from_bytes(random))
        .bind(now())
        .bind(APART.as_secs_f64())
        .bind(signed(settings.max_age.as_secs()))
        .bind(signed(settings.nonce_lifetime.as_secs()))
        .bind(superseded)
        .bind(is_all_superseded)
        .bind(system)
        .fetch_one(connection)
        .await
        .map_err(|error| answered(&error))?;
    let read = |error: sqlx::Error| answered(&error);
    if row.try_get::<i32, _>(0).map_err(read)? != 0 {
        return Err(ConnectError::apart(row.try_get(1).map_err(read)?));
    }
    let number = |column: usize| row.try_get::<i64, _>(column).map(i64::unsigned_abs).map_err(read);
    Ok(Opened {
        marker: row.try_get(2).map_err(read)?,
        since: number(3)?,
        windows: (number(4)?, number(5)?),
        near: number(6)?,
        far: number(7)?,
    })
}

/// In seconds.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
