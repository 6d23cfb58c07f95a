//! How Redis servers are looked at: by a connection to each, over the same ways that gateways have, and by a few plain commands.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::SystemTime;

use crate::watch::{Look, PATIENCE};

/// A server whose clock is so many seconds from ours is as good as away.
const APART: u64 = 10;

/// How many slots a Cluster has.
const SLOTS: usize = 16384;

/// Connections that are kept while they answer.
#[derive(Default)]
struct Connections(BTreeMap<SocketAddr, BufReader<TcpStream>>);

impl Connections {
    /// The texts of what this one answers; `None` if that is an error, or does not come in time.
    fn ask(&mut self, address: SocketAddr, command: &str) -> Option<Vec<String>> {
        let answer = self.exchange(address, command);
        if answer.is_none() {
            self.0.remove(&address);
        }
        answer
    }

    fn exchange(&mut self, address: SocketAddr, command: &str) -> Option<Vec<String>> {
        let connection = match self.0.entry(address) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(place) => {
                let connection = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
                connection.set_read_timeout(Some(PATIENCE)).ok()?;
                place.insert(BufReader::new(connection))
            }
        };
        connection.get_mut().write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut texts = Vec::new();
        read(connection, &mut texts)?;
        Some(texts)
    }

    /// Whether it is a primary where records can be made.
    fn is_primary(&mut self, address: SocketAddr) -> bool {
        let is_one = |texts: Vec<String>| texts.first().is_some_and(|role| role == "master");
        let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_near = |texts: Vec<String>| {
            texts.first().and_then(|time| time.parse().ok()).is_some_and(|time| here.abs_diff(time) <= APART)
        };
        self.ask(address, "ROLE").is_some_and(is_one)
            && self.ask(address, "TIME").is_some_and(is_near)
            // Not while it loads.
            && self.ask(address, "EXISTS kb:p").is_some()
    }
}

/// One reply of any kind, as the texts in it.
fn read(connection: &mut BufReader<TcpStream>, texts: &mut Vec<String>) -> Option<()> {
    let mut line = String::new();
    connection.read_line(&mut line).ok()?;
    let (kind, rest) = line.trim_end().split_at_checked(1)?;
    match kind {
        "+" | ":" => texts.push(rest.to_owned()),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else { return Some(()) };
            let mut octets = vec![0; length + 2];
            connection.read_exact(&mut octets).ok()?;
            texts.push(String::from_utf8_lossy(&octets[..length]).into_owned());
        }
        "*" => {
            for _ in 0..rest.parse::<usize>().unwrap_or_default() {
                read(connection, texts)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// One server.
pub(crate) fn one(address: SocketAddr) -> Look {
    let mut connections = Connections::default();
    Box::new(move || connections.is_primary(address).then(|| address.to_string()))
}

/// The server that most Sentinels name.
pub(crate) fn sentinels(sentinels: Vec<SocketAddr>, name: &'static str) -> Look {
    let mut connections = Connections::default();
    Box::new(move || {
        let mut named = BTreeMap::<SocketAddr, usize>::new();
        for sentinel in &sentinels {
            let texts = connections.ask(*sentinel, &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {name}"));
            if let Some([ip, port]) = texts.as_deref()
                && let Ok(address) = format!("{ip}:{port}").parse()
            {
                *named.entry(address).or_default() += 1;
            }
        }
        let (primary, _) = named.into_iter().max_by_key(|(_, votes)| *votes)?;
        connections.is_primary(primary).then(|| primary.to_string())
    })
}

/// The nodes that have the slots by their own word, if they have all of them.
pub(crate) fn cluster(nodes: Vec<SocketAddr>) -> Look {
    let mut connections = Connections::default();
    Box::new(move || {
        let (mut owned, mut owners) = (vec![false; SLOTS], Vec::new());
        for node in &nodes {
            let Some(info) = connections.ask(*node, "CLUSTER INFO") else { continue };
            let Some(known) = connections.ask(*node, "CLUSTER NODES") else { continue };
            let Some(myself) = known.first()?.lines().find(|line| line.contains("myself,master")) else { continue };
            let ranges: Vec<_> = myself.split_whitespace().skip(8).filter_map(range).collect();
            if info.first()?.contains("cluster_state:ok") && !ranges.is_empty() {
                ranges.into_iter().flatten().filter_map(|slot| owned.get_mut(slot).map(|one| *one = true)).count();
                owners.push(node.port().to_string());
            }
        }
        owned.iter().all(|slot| *slot).then(|| owners.join(","))
    })
}

/// Of slots that are not on their way.
fn range(text: &str) -> Option<std::ops::RangeInclusive<usize>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}
