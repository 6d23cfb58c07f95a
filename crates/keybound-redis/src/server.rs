//! What one server says of itself, and the epoch's markers on it.

use core::fmt;
use std::sync::LazyLock;
use std::time::SystemTime;

use keybound::crypto::aws_lc::random_array;
use keybound_tower::pinned::{APART, ConnectError};
use redis::{Script, Value};
use sha2::{Digest as _, Sha256};

use crate::dial::{Link, Operands};
use crate::error::answered;
use crate::lanes;
use crate::settings::{RedisSettings, Topology};

const OPEN: &str = include_str!("open.lua");
static OPENING: LazyLock<Script> = LazyLock::new(|| Script::new(OPEN));

/// One life of a primary: from its start or promotion to its end or demotion, nothing in it is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The line of `INFO` that no other life has: its replication id, random at each start and at each promotion.
    pub(crate) line: String,
    /// The same and the run id, as 16 octets.
    tie: [u8; 16],
    /// Whether another server has a copy, which might take over some day.
    pub(crate) has_replicas: bool,
}

/// The epoch's marker in one lane.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Marker([u8; 41]);

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Marker({:016x})", self.id())
    }
}

impl Marker {
    fn read(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self)
    }

    pub(crate) const fn octets(&self) -> &[u8; 41] {
        &self.0
    }

    fn number<const N: usize>(&self, at: usize) -> u64 {
        self.0[at..at + N].iter().fold(0, |number, octet| number << 8 | u64::from(*octet))
    }

    /// 64 random bits.
    pub(crate) fn id(&self) -> u64 {
        self.number::<8>(1)
    }

    /// When it was made, by a clock that no node's clock is before.
    pub(crate) fn opened(&self) -> u64 {
        self.number::<8>(9)
    }

    /// For which windows records are kept, in seconds: age limit of proofs, life of nonces.
    pub(crate) fn windows(&self) -> (u64, u64) {
        (self.number::<4>(17), self.number::<4>(21))
    }
}

/// Looks at what the server is. A replica, a server that evicts and one of another kind are refused.
pub(crate) async fn examine(link: &Link, settings: &RedisSettings) -> Result<Life, ConnectError> {
    let info = |section: &'static str| async move {
        link.text(&["INFO", section]).await.map_err(|error| match answered(&error) {
            // The first question of all: this is how a server answers that expects TLS.
            broken if error.is_io_error() && !error.is_timeout() && !settings.is_tls() => {
                ConnectError::passing(format!("{broken}; does it want TLS? Then write rediss for redis in the URL"))
            }
            other => other,
        })
    };
    let (server, replication, memory) = (info("server").await?, info("replication").await?, info("memory").await?);
    let mode = field(&server, "redis_mode").or_else(|| field(&server, "server_mode")).unwrap_or("standalone");
    let wanted = if settings.topology == Topology::Cluster { "cluster" } else { "standalone" };
    if mode != wanted {
        return Err(ConnectError::setting(match mode {
            "cluster" => "is a node of a Cluster; write redis-cluster for redis in the URL",
            "sentinel" => "is a Sentinel; write redis-sentinel for redis in the URL, and ?master=NAME behind it",
            _ => "is no node of a Cluster; write redis:// and its address",
        }));
    }
    if field(&replication, "role") != Some("master") {
        return Err(ConnectError::passing("is a replica, where nothing can be recorded"));
    }
    let policy = match field(&memory, "maxmemory_policy") {
        Some(policy) => policy.to_owned(),
        None => policy_by_config(link).await?,
    };
    if policy != "noeviction" {
        let message = format!(
            "has maxmemory-policy {policy}, by which it would drop proofs that can still be used; set it to noeviction"
        );
        return Err(ConnectError::setting(message));
    }
    let unknown = || ConnectError::setting("does not say which life of it this is (run_id, master_replid in INFO)");
    let run = field(&server, "run_id").ok_or_else(unknown)?;
    let replid = field(&replication, "master_replid").filter(|id| !id.is_empty()).ok_or_else(unknown)?;
    let digest = Sha256::digest(format!("{run} {replid}"));
    let mut tie = [0; 16];
    tie.copy_from_slice(&digest[..16]);
    let has_replicas = field(&replication, "connected_slaves").is_some_and(|count| count != "0");
    Ok(Life { line: format!("master_replid:{replid}"), tie, has_replicas })
}

/// Some servers leave it out of `INFO`.
async fn policy_by_config(link: &Link) -> Result<String, ConnectError> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("maxmemory-policy");
    let answer = link.ask(&command).await.map_err(|error| answered(&error))?;
    let pair: Vec<String> = redis::from_redis_value(answer).unwrap_or_default();
    let unknown = || ConnectError::setting("does not say its maxmemory-policy; it must be noeviction");
    pair.into_iter().nth(1).ok_or_else(unknown)
}

/// The value of a field of `INFO`.
fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

/// The key of a lane: of its records and the marker among them.
pub(crate) fn lane_key(settings: &RedisSettings, lane: usize) -> Vec<u8> {
    let mut key = prefix(settings, lane);
    key.push(b'p');
    key
}

/// What every key in this lane begins with.
pub(crate) fn prefix(settings: &RedisSettings, lane: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.extend_from_slice(settings.prefix.as_bytes());
    if settings.topology == Topology::Cluster {
        let [one, other] = lanes::tag(lane);
        key.extend_from_slice(&[b'{', one, other, b'}']);
    }
    key
}

/// The marker of a lane, made anew if the one that is there is of another life, is the one that is superseded, or stands for shorter windows, or if
/// all are superseded.
pub(crate) async fn open(
    link: &Link,
    life: &Life,
    settings: &RedisSettings,
    lane: usize,
    (superseded, is_all_superseded): (Option<&Marker>, bool),
) -> Result<Marker, ConnectError> {
    let id: [u8; 8] = random_array().map_err(|error| ConnectError::passing(error.to_string()))?;
    let mut operands = Operands::default();
    operands
        .key(lane_key(settings, lane))
        .argument(life.line.as_str())
        .argument(life.tie)
        .argument(id)
        .argument(now_in_milliseconds().to_string())
        .argument(APART.as_millis().to_string())
        .argument(settings.max_age.as_secs().to_string())
        .argument(settings.nonce_lifetime.as_secs().to_string())
        .argument(superseded.map_or(&[][..], |marker| marker.octets()))
        .argument(u8::from(is_all_superseded).to_string());
    let answer = link.run(&OPENING, OPEN, &operands).await.map_err(|error| answered(&error))?;
    match &answer {
        Value::Array(parts) => match &parts[..] {
            [Value::Int(0), Value::BulkString(octets)] => Marker::read(octets),
            [Value::Int(1)] => return Err(ConnectError::passing("has changed while we looked at it")),
            [Value::Int(2), Value::Int(ahead)] => return Err(ConnectError::apart(*ahead)),
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(ConnectError::nonsense)
}

pub(crate) fn now_in_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
