//! A primary, its replicas and the Sentinels that watch them. Each is known to the others by the address of its proxy.

use std::io;
use std::net::SocketAddr;

use crate::{Proxy, Server, Settings, wait_until};

/// The name of the primary at the Sentinels.
const NAME: &str = "proofs";

/// One of the servers or Sentinels, and the way to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Watcher {
    /// The process.
    pub server: Server,
    /// What others reach it by.
    pub proxy: Proxy,
}

/// One primary, some replicas, three Sentinels.
#[derive(Debug)]
pub struct Sentinels {
    nodes: Vec<Watcher>,
    sentinels: Vec<Watcher>,
}

impl Sentinels {
    /// Starts them; node 0 is the primary.
    ///
    /// # Errors
    ///
    /// If they do not come together.
    pub fn start(replicas: usize, settings: &Settings) -> io::Result<Self> {
        let first = node(settings.clone(), None)?;
        let primary = first.proxy.address();
        let mut nodes = vec![first];
        for _ in 0..replicas {
            nodes.push(node(settings.clone(), Some(primary))?);
        }
        let sentinels = (0..3).map(|_| sentinel(settings.of_sentinel(), primary)).collect::<io::Result<_>>()?;
        let all = Self { nodes, sentinels };
        all.settled()?;
        Ok(all)
    }

    /// The name of the primary at the Sentinels.
    pub const fn name(&self) -> &'static str {
        NAME
    }

    /// Where the Sentinels are reached.
    pub fn sentinel_addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(|one| one.proxy.address()).collect()
    }

    /// `redis-sentinel://` and the Sentinels.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.sentinel_addresses().iter().map(ToString::to_string).collect();
        format!("redis-sentinel://{}?master={NAME}", addresses.join(","))
    }

    /// The servers.
    pub fn nodes(&mut self) -> &mut [Watcher] {
        &mut self.nodes
    }

    /// The Sentinels.
    pub fn sentinels(&mut self) -> &mut [Watcher] {
        &mut self.sentinels
    }

    /// Which node the Sentinels call the primary: what most of those that answer say.
    ///
    /// # Errors
    ///
    /// If none answers or names a node of ours.
    pub fn primary(&self) -> io::Result<usize> {
        let mut votes = vec![0; self.nodes.len()];
        for sentinel in self.sentinels.iter().filter(|one| one.server.is_running() && !one.server.is_stopped()) {
            let Ok(answer) = sentinel.server.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]) else { continue };
            let port = answer.lines().nth(1).and_then(|port| port.trim().parse().ok());
            if let Some(node) = self.nodes.iter().position(|node| Some(node.proxy.address().port()) == port) {
                votes[node] += 1;
            }
        }
        let most = votes.iter().enumerate().filter(|(_, votes)| **votes > 0).max_by_key(|(_, votes)| **votes);
        most.map(|(node, _)| node).ok_or_else(|| io::Error::other("no Sentinel names a primary"))
    }

    /// Waits until another node than this is the primary, by the word of the Sentinels and its own.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn wait_for_another(&self, than: usize) -> io::Result<usize> {
        let mut primary = than;
        wait_until("another primary", || {
            primary = self.primary().unwrap_or(than);
            primary != than && self.nodes[primary].server.info("replication", "role").is_ok_and(|role| role == "master")
        })?;
        Ok(primary)
    }

    /// Waits until every node that runs follows the primary, and the Sentinels know of all.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn settled(&self) -> io::Result<()> {
        let replicas = self.nodes.len() - 1;
        wait_until("replicas", || {
            let Ok(primary) = self.primary() else { return false };
            let server = &self.nodes[primary].server;
            server.info("replication", "connected_slaves").is_ok_and(|count| count == replicas.to_string())
                && self.sentinels.iter().all(|one| {
                    let state = one.server.ask(&["SENTINEL", "MASTER", NAME]).unwrap_or_default();
                    let field = |name: &str| {
                        let mut lines = state.lines();
                        lines.find(|line| line.trim() == name).and_then(|_| lines.next()).map(str::to_owned)
                    };
                    field("num-slaves") == Some(replicas.to_string())
                        && field("num-other-sentinels") == Some("2".to_owned())
                })
        })
    }
}

fn node(settings: Settings, primary: Option<SocketAddr>) -> io::Result<Watcher> {
    let settings = settings.line("repl-timeout 5").line("repl-ping-replica-period 1");
    let mut server = Server::prepare(settings, false)?;
    let proxy = Proxy::to(server.address())?;
    let announced = ["replica-announce-ip 127.0.0.1".to_owned(), format!("replica-announce-port {}", port(&proxy))];
    let follows = primary.map(|primary| format!("replicaof {} {}", primary.ip(), primary.port()));
    server.begin(announced.into_iter().chain(follows))?;
    Ok(Watcher { server, proxy })
}

fn sentinel(settings: Settings, primary: SocketAddr) -> io::Result<Watcher> {
    let silence = settings.silent_for();
    let mut server = Server::prepare(settings, true)?;
    let proxy = Proxy::to(server.address())?;
    let lines = [
        "sentinel announce-ip 127.0.0.1".to_owned(),
        format!("sentinel announce-port {}", port(&proxy)),
        format!("sentinel monitor {NAME} {} {} 2", primary.ip(), primary.port()),
        format!("sentinel down-after-milliseconds {NAME} {silence}"),
        format!("sentinel failover-timeout {NAME} 2000"),
        format!("sentinel parallel-syncs {NAME} 5"),
    ];
    server.begin(lines)?;
    // One that has stood still for two seconds looks on for half a minute and does nothing.
    server.ask(&["SENTINEL", "DEBUG", "tilt-period", "1000"])?;
    Ok(Watcher { server, proxy })
}

fn port(proxy: &Proxy) -> u16 {
    proxy.address().port()
}
