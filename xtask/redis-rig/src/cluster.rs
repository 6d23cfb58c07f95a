//! A Cluster: primaries that share the slots, and a replica for each. Each is known to the others by the addresses of its
//! proxies, one for clients and one for the bus.

use std::io;
use std::net::SocketAddr;

use crate::{Proxy, Server, Settings, wait_until};

const SLOTS: usize = 16384;

/// One of its servers, and the ways to it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Member {
    /// The process.
    pub server: Server,
    /// What clients and replicas reach it by.
    pub proxy: Proxy,
    /// What the others' bus reaches it by.
    pub bus: Proxy,
    /// Its name in the Cluster.
    pub id: String,
}

/// Several primaries, each with a replica.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Member>,
}

impl Cluster {
    /// Starts `primaries` primaries, nodes 0 and up, and behind them as many replicas, in the same order.
    ///
    /// # Errors
    ///
    /// If they do not come together.
    pub fn start(primaries: usize, settings: &Settings) -> io::Result<Self> {
        let nodes = (0..2 * primaries).map(|_| member(settings.clone())).collect::<io::Result<Vec<_>>>()?;
        let cluster = Self { nodes };
        for (number, node) in cluster.nodes.iter().take(primaries).enumerate() {
            let (first, last) = (number * SLOTS / primaries, (number + 1) * SLOTS / primaries - 1);
            node.server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
            node.server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        let first = &cluster.nodes[0];
        for other in &cluster.nodes[1..] {
            let (address, bus) = (first.proxy.address(), first.bus.address().port().to_string());
            let (ip, port) = (address.ip().to_string(), address.port().to_string());
            other.server.ask(&["CLUSTER", "MEET", &ip, &port, &bus])?;
        }
        cluster.all_know(cluster.nodes.len())?;
        for (number, node) in cluster.nodes.iter().skip(primaries).enumerate() {
            node.server.ask(&["CLUSTER", "REPLICATE", &cluster.nodes[number].id])?;
        }
        cluster.settled()?;
        Ok(cluster)
    }

    /// Where the servers are reached.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.proxy.address()).collect()
    }

    /// `redis-cluster://` and every node.
    pub fn url(&self) -> String {
        let addresses: Vec<_> = self.addresses().iter().map(ToString::to_string).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    /// The servers.
    pub fn nodes(&mut self) -> &mut [Member] {
        &mut self.nodes
    }

    /// Which nodes call themselves primary, have slots, and run.
    pub fn primaries(&self) -> Vec<usize> {
        let is_one = |node: &&Member| {
            let line = node.server.ask(&["CLUSTER", "NODES"]).unwrap_or_default();
            let own = line.lines().find(|line| line.contains("myself")).unwrap_or_default().to_owned();
            own.contains("master") && own.split_whitespace().count() > 8
        };
        let usable = self.nodes.iter().enumerate().filter(|(_, node)| is_usable(&node.server));
        usable.filter(|(_, node)| is_one(node)).map(|(number, _)| number).collect()
    }

    /// Which node owns this slot, by the word of the node that owns it.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        self.primaries().into_iter().find(|number| {
            let nodes = self.nodes[*number].server.ask(&["CLUSTER", "NODES"]).unwrap_or_default();
            let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default().to_owned();
            own.split_whitespace().skip(8).filter(|range| !range.starts_with('[')).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let within = |first: &str, last: &str| Some((first.parse().ok()?..=last.parse().ok()?).contains(&slot));
                within(first, last).unwrap_or(false)
            })
        })
    }

    /// Waits until all that run agree that every slot is served.
    ///
    /// # Errors
    ///
    /// If that takes too long.
    pub fn settled(&self) -> io::Result<()> {
        wait_until("the cluster", || {
            self.nodes.iter().filter(|node| is_usable(&node.server)).all(|node| {
                let info = node.server.ask(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })
        })?;
        wait_until("its replicas", || {
            self.nodes.iter().filter(|node| is_usable(&node.server)).all(|node| {
                let role = node.server.info("replication", "role").unwrap_or_default();
                role == "master"
                    || node.server.info("replication", "master_link_status").is_ok_and(|status| status == "up")
            })
        })
    }

    /// Moves a slot and its keys to another node, as `redis-cli --cluster reshard` does.
    ///
    /// # Errors
    ///
    /// If a node does not do its part.
    pub fn move_slot(&self, slot: u16, to: usize) -> io::Result<()> {
        let from = self.owner(slot).ok_or_else(|| io::Error::other("nobody owns the slot"))?;
        self.begin_move(slot, from, to)?;
        self.move_keys(slot, from, to, "*")?;
        let (target, slot) = (&self.nodes[to], slot.to_string());
        target.server.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target.id])?;
        for number in self.primaries() {
            self.nodes[number].server.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &target.id])?;
        }
        Ok(())
    }

    /// Opens a slot at both ends, and moves nothing yet.
    ///
    /// # Errors
    ///
    /// If a node does not do its part.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) -> io::Result<()> {
        let (source, target, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        target.server.ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source.id])?;
        source.server.ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target.id])?;
        Ok(())
    }

    /// Moves the keys of a slot that are like this, as of `KEYS`. They may hold any octet, which `redis-cli` cannot be told: a
    /// script on the server names them.
    ///
    /// # Errors
    ///
    /// If a node does not do its part.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, pattern: &str) -> io::Result<()> {
        let address = self.nodes[to].server.address();
        let script = "local wanted = {} for _, key in ipairs(redis.call('KEYS', ARGV[4])) do wanted[key] = true end \
                      local moved = 0 for _, key in ipairs(redis.call('CLUSTER', 'GETKEYSINSLOT', ARGV[1], 1000)) do \
                      if wanted[key] then redis.call('MIGRATE', ARGV[2], ARGV[3], key, 0, 5000, 'REPLACE') moved = moved + 1 end end \
                      return moved";
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        while self.nodes[from].server.ask(&["EVAL", script, "0", &slot.to_string(), &ip, &port, pattern])? != "0" {}
        Ok(())
    }

    /// Closes a slot that was opened, as somebody does who leaves it with its owner.
    ///
    /// # Errors
    ///
    /// If a node does not do its part.
    pub fn give_up_move(&self, slot: u16, from: usize, to: usize) -> io::Result<()> {
        for node in [from, to] {
            self.nodes[node].server.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"])?;
        }
        Ok(())
    }

    fn all_know(&self, count: usize) -> io::Result<()> {
        wait_until("the nodes to know each other", || {
            self.nodes.iter().all(|node| {
                let nodes = node.server.ask(&["CLUSTER", "NODES"]).unwrap_or_default();
                nodes.lines().filter(|line| line.contains(" connected")).count() == count
                    && !nodes.contains("handshake")
            })
        })
    }
}

fn is_usable(server: &Server) -> bool {
    server.is_running() && !server.is_stopped()
}

fn member(settings: Settings) -> io::Result<Member> {
    let silence = settings.silent_for();
    let settings = settings
        .line("cluster-enabled yes")
        .line(format!("cluster-node-timeout {silence}"))
        .line("cluster-replica-validity-factor 0")
        .line("repl-timeout 5")
        .line("repl-ping-replica-period 1");
    let has_tls = settings.has_tls();
    let mut server = Server::prepare(settings, false)?;
    let proxy = Proxy::to(server.address())?;
    let bus_port = server.spare_port();
    let bus = Proxy::to(SocketAddr::new(server.address().ip(), bus_port))?;
    let mut lines = vec![
        format!("cluster-port {bus_port}"),
        "cluster-announce-ip 127.0.0.1".to_owned(),
        format!("cluster-announce-port {}", proxy.address().port()),
        format!("cluster-announce-bus-port {}", bus.address().port()),
    ];
    if has_tls {
        lines.push("tls-cluster yes".to_owned());
        lines.push(format!("cluster-announce-tls-port {}", proxy.address().port()));
    }
    server.begin(lines)?;
    let id = server.ask(&["CLUSTER", "MYID"])?;
    Ok(Member { server, proxy, bus, id })
}
