//! That the rig does what it says. Needs Redis: `cargo xtask test` runs it.

use redis_rig::{Cluster, Proxy, Sentinels, Server, Settings};

#[test]
#[ignore = "needs redis-server"]
fn a_server_is_killed_stopped_and_started_again() {
    let mut server = Server::start(Settings::new().append_only()).expect("a server");
    server.ask(&["SET", "a", "1"]).expect("an answer");
    let run = server.info("server", "run_id").expect("a field");
    server.restart().expect("a server");
    assert_eq!(server.ask(&["GET", "a"]).expect("an answer"), "1");
    assert_ne!(server.info("server", "run_id").expect("a field"), run);
    server.stop().expect("a process");
    server.go_on().expect("a process");
    assert_eq!(server.ask(&["PING"]).expect("an answer"), "PONG");
}

#[test]
#[ignore = "needs redis-server"]
fn a_proxy_bars_the_way() {
    let server = Server::start(Settings::new()).expect("a server");
    let proxy = Proxy::to(server.address()).expect("a proxy");
    let answers_within = |seconds: &str| {
        let port = proxy.address().port().to_string();
        let mut command = std::process::Command::new("timeout");
        command.args([seconds, "redis-cli", "-p", &port, "PING"]).output().expect("a program").status.success()
    };
    assert!(answers_within("30"));
    proxy.bar();
    assert!(!answers_within("1"));
    proxy.bar_servers();
    assert!(answers_within("30"), "a client is no server of the rig");
    proxy.refuse();
    assert!(!answers_within("30"));
    proxy.open();
    assert!(answers_within("30"));
}

#[test]
#[ignore = "needs redis-server"]
fn sentinels_replace_a_primary_that_is_cut_off() {
    let mut sentinels = Sentinels::start(2, &Settings::new()).expect("servers");
    assert_eq!(sentinels.primary().expect("a primary"), 0);
    sentinels.nodes()[0].proxy.bar_servers();
    let next = sentinels.wait_for_another(0).expect("another primary");
    assert_eq!(sentinels.nodes()[0].server.info("replication", "role").expect("a role"), "master", "it knows nothing");
    sentinels.nodes()[0].proxy.open();
    sentinels.settled().expect("one primary");
    assert_eq!(sentinels.primary().expect("a primary"), next);
}

#[test]
#[ignore = "needs redis-server"]
fn a_cluster_moves_slots_and_replaces_a_primary() {
    let mut cluster = Cluster::start(3, &Settings::new()).expect("servers");
    assert_eq!(cluster.primaries(), [0, 1, 2]);
    let slot = 866; // of "hello"
    let from = cluster.owner(slot).expect("an owner");
    cluster.nodes()[from].server.ask(&["SET", "hello", "1"]).expect("an answer");
    cluster.move_slot(slot, 2).expect("a move");
    assert_eq!(cluster.owner(slot), Some(2));
    assert_eq!(cluster.nodes()[2].server.ask(&["GET", "hello"]).expect("an answer"), "1");
    cluster.nodes()[1].server.kill().expect("an end");
    redis_rig::wait_until("a replica to follow", || cluster.primaries() == [0, 2, 4]).expect("another primary");
    cluster.settled().expect("a whole cluster");
}
