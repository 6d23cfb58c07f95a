//! Which servers keep the records: by the URL, by the word of the Sentinels, by the slot map of a Cluster.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use keybound_tower::pinned::ConnectError;
use parking_lot::Mutex;
use redis::{Cmd, RedisResult, Value};

use crate::dial::{Dialer, Link};
use crate::error::{answered, on};
use crate::lanes::{self, LANES};
use crate::settings::{Address, Topology};

/// The primary of each lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map(pub(crate) Vec<Address>);

/// Connections to those who know, kept from one question to the next. Nothing is recorded through them.
#[derive(Debug, Default)]
pub(crate) struct Scouts(Mutex<HashMap<Address, Arc<Link>>>);

impl Scouts {
    /// Asks whoever knows. `also` are nodes of a Cluster that the settings may not name.
    pub(crate) async fn primaries(&self, dialer: &Dialer, also: &[Address]) -> Result<Map, ConnectError> {
        match &dialer.settings.topology {
            Topology::Single => Ok(Map(vec![dialer.settings.addresses[0].clone()])),
            Topology::Sentinel { master } => by_sentinels(self, dialer, master).await.map(|primary| Map(vec![primary])),
            Topology::Cluster => by_cluster(self, dialer, also).await,
        }
    }

    async fn ask(
        &self,
        dialer: &Dialer,
        address: &Address,
        words: &[&str],
    ) -> Result<RedisResult<Value>, ConnectError> {
        let known = self.0.lock().get(address).cloned();
        let link = match known {
            Some(link) => link,
            None => Arc::new(match dialer.settings.topology {
                Topology::Sentinel { .. } => dialer.sentinel(address).await?,
                _ => dialer.server(address).await?,
            }),
        };
        let mut command = Cmd::new();
        command.arg(words);
        let answer = link.ask(&command).await;
        match &answer {
            Err(error) if error.is_io_error() => drop(self.0.lock().remove(address)),
            _ => drop(self.0.lock().insert(address.clone(), link)),
        }
        Ok(answer)
    }
}

/// What the Sentinels say. Of different answers the one of the latest election counts.
async fn by_sentinels(scouts: &Scouts, dialer: &Dialer, master: &str) -> Result<Address, ConnectError> {
    let sentinels = &dialer.settings.addresses;
    let answers = join_all(sentinels.iter().map(|sentinel| by_sentinel(scouts, dialer, sentinel, master))).await;
    let mut latest: Option<(u64, Address)> = None;
    let mut trouble = None;
    for answer in answers {
        match answer {
            Ok((epoch, address)) if latest.as_ref().is_none_or(|(other, _)| epoch > *other) => {
                latest = Some((epoch, address));
            }
            Ok(_) => {}
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    let none = || trouble.unwrap_or_else(|| ConnectError::setting("no Sentinel is named"));
    latest.map(|(_, address)| address).ok_or_else(none)
}

async fn by_sentinel(
    scouts: &Scouts,
    dialer: &Dialer,
    sentinel: &Address,
    master: &str,
) -> Result<(u64, Address), ConnectError> {
    let answer = scouts.ask(dialer, sentinel, &["SENTINEL", "MASTER", master]).await?;
    let answer = answer.map_err(|error| {
        let words = error.detail().unwrap_or_default();
        let unknown = words.contains("No such master");
        let not_one = words.contains("unknown command");
        let error = match answered(&error) {
            _ if unknown => ConnectError::setting(format!("the Sentinel knows no primary called {master:?}")),
            _ if not_one => ConnectError::setting("is no Sentinel; write redis:// and its address"),
            other => other,
        };
        error.at(on(sentinel))
    })?;
    let nonsense = || ConnectError::passing("answers nonsense about the primary").at(on(sentinel));
    let fields: BTreeMap<String, String> = redis::from_redis_value(answer).map_err(|_| nonsense())?;
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).ok_or_else(nonsense)?;
    // The address by a question of its own: until every replica follows the new primary, the Sentinel that led the election gives
    // the former one beside the new epoch.
    let answer = scouts.ask(dialer, sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master]).await?;
    let answer = answer.map_err(|error| answered(&error).at(on(sentinel)))?;
    let (host, port): (String, String) = redis::from_redis_value(answer).map_err(|_| nonsense())?;
    Ok((epoch, Address { host, port: port.parse().map_err(|_| nonsense())? }))
}

/// What the nodes say. Of different answers about a slot the one of the latest election counts.
async fn by_cluster(scouts: &Scouts, dialer: &Dialer, also: &[Address]) -> Result<Map, ConnectError> {
    let mut asked = dialer.settings.addresses.clone();
    asked.extend(also.iter().filter(|address| !dialer.settings.addresses.contains(address)).cloned());
    let answers = join_all(asked.iter().map(|node| by_node(scouts, dialer, node))).await;
    let mut owners: Vec<Option<(u64, Address)>> = vec![None; LANES];
    let mut trouble = None;
    for answer in answers {
        match answer {
            Ok(claims) => claims.into_iter().for_each(|claim| claim.enter(&mut owners)),
            Err(error) => trouble = trouble.or(Some(error)),
        }
    }
    if owners.iter().all(Option::is_none) {
        return Err(trouble.unwrap_or_else(|| ConnectError::passing("the Cluster has no slots")));
    }
    let owner = |(lane, owner): (usize, Option<(u64, Address)>)| {
        let nobody = || ConnectError::passing(format!("nobody in the Cluster serves slot {}", lanes::slot(lane)));
        owner.map(|(_, address)| address).ok_or_else(nobody)
    };
    owners.into_iter().enumerate().map(owner).collect::<Result<_, _>>().map(Map)
}

/// A primary and its slots, as one node sees it.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    epoch: u64,
    address: Address,
    slots: Vec<(u16, u16)>,
}

impl Claim {
    fn enter(self, owners: &mut [Option<(u64, Address)>]) {
        for (lane, owner) in owners.iter_mut().enumerate() {
            let within = self.slots.iter().any(|(first, last)| (*first..=*last).contains(&lanes::slot(lane)));
            if within && owner.as_ref().is_none_or(|(other, _)| self.epoch > *other) {
                *owner = Some((self.epoch, self.address.clone()));
            }
        }
    }

    /// A line of `CLUSTER NODES`, if it is of a primary: `id ip:port@bus,name flags primary ping pong epoch link slots..`. The name
    /// is what certificates are for.
    fn read(line: &str, asked: &Address, by_name: bool) -> Option<Self> {
        let mut words = line.split(' ');
        let (address, rest) = words.nth(1)?.split_once('@')?;
        let name = rest.split(',').nth(1).filter(|name| by_name && !name.is_empty());
        let flags = words.next()?;
        if !flags.split(',').any(|flag| flag == "master") || flags.contains("noaddr") {
            return None;
        }
        let epoch = words.nth(3)?.parse().ok()?;
        let ranges = words.skip(1).filter(|range| !range.starts_with('[') && !range.is_empty());
        let slots = ranges.map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        let (host, port) = address.rsplit_once(':')?;
        // A node that does not know its own address is where it was asked.
        let host = name.unwrap_or(if host.is_empty() { &asked.host } else { host }).to_owned();
        Some(Self { epoch, address: Address { host, port: port.parse().ok()? }, slots: slots.collect::<Option<_>>()? })
    }
}

async fn by_node(scouts: &Scouts, dialer: &Dialer, node: &Address) -> Result<Vec<Claim>, ConnectError> {
    let answer = scouts.ask(dialer, node, &["CLUSTER", "NODES"]).await?.map_err(|error| {
        let none = error.detail().unwrap_or_default().contains("cluster support disabled");
        let error = match answered(&error) {
            _ if none => ConnectError::setting("is no node of a Cluster; write redis:// and its address"),
            other => other,
        };
        error.at(on(node))
    })?;
    let text = match answer {
        Value::BulkString(octets) => String::from_utf8(octets).unwrap_or_default(),
        Value::VerbatimString { text, .. } => text,
        _ => return Err(ConnectError::passing("answers nonsense about the Cluster").at(on(node))),
    };
    Ok(text.lines().filter_map(|line| Claim::read(line, node, dialer.settings.is_tls())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_read() {
        let asked = Address { host: "h".to_owned(), port: 1 };
        let claim = |line| Claim::read(line, &asked, false);
        let line = "aa 127.0.0.1:30001@31001,host master - 0 1426238317239 4 connected 0-10 12 20-30 [5->-bb]";
        let address = Address { host: "127.0.0.1".to_owned(), port: 30001 };
        assert_eq!(claim(line), Some(Claim { epoch: 4, address, slots: vec![(0, 10), (12, 12), (20, 30)] }));
        assert_eq!(Claim::read(line, &asked, true).map(|claim| claim.address.host), Some("host".to_owned()));
        let own = claim("aa :7000@17000 myself,master - 0 0 1 connected").expect("a primary");
        assert_eq!((own.address.host.as_str(), own.address.port, own.slots.len()), ("h", 7000, 0));
        assert_eq!(claim("bb 127.0.0.1:30004@31004 slave aa 0 1 4 connected"), None);
        assert_eq!(claim("bb :0@0 master,noaddr - 0 1 4 disconnected 1-2"), None);
        for nonsense in
            ["", "a", "a b", "a b master", "aa h:x@1 master - 0 0 1 connected 0-1", "a b:1 master - 0 0 x c"]
        {
            assert_eq!(claim(nonsense), None, "{nonsense}");
        }
        // An IPv6 address has colons of its own.
        assert_eq!(
            claim("aa ::1:7000@17000 master - 0 0 1 connected 5").map(|own| own.address.host),
            Some("::1".into())
        );
    }

    #[test]
    fn the_latest_election_counts() {
        let node = |port| Address { host: "h".to_owned(), port };
        let claim = |epoch, port| Claim { epoch, address: node(port), slots: vec![(0, 16383)] };
        let mut owners = vec![None; LANES];
        for (epoch, port) in [(2, 1), (3, 2), (1, 3)] {
            claim(epoch, port).enter(&mut owners);
        }
        assert!(owners.iter().all(|owner| *owner == Some((3, node(2)))));
    }
}
