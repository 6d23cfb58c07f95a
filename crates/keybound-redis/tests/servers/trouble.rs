//! Servers that answer, and not as one would like.

use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};
use redis_rig::Proxy;
use tokio::time::Instant;

use crate::support::{PATIENCE, Proof, connected, eventually, hasty, new_epoch, node, refused, server, settings};

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_does_not_answer_in_time_is_a_fault() {
    let mut server = server();
    let node = connected(settings(&server.url()).timeout(Duration::from_millis(200))).await;
    let before = node.epoch();
    server.stop().expect("a process");
    let began = Instant::now();
    let late = Proof::new(1, "late");
    assert_eq!(late.at(&node).await, Err(Fault::ReplayUnreachable));
    // It would be for ever.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    server.go_on().expect("a process");
    eventually("an answer", async || Proof::new(1, "next").at(&node).await.is_ok()).await;
    assert_eq!(node.epoch(), before, "it has forgotten nothing");
    // It had the question all the time, and may have answered it to nobody.
    eventually("an answer", async || late.under(before, &node).await.is_ok()).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_network_that_loses_everything_is_a_fault() {
    let server = server();
    let proxy = Proxy::to(server.address()).expect("a proxy");
    let node = hasty(&format!("redis://{}", proxy.address())).await;
    proxy.bar();
    assert_eq!(Proof::new(1, "lost").at(&node).await, Err(Fault::ReplayUnreachable));
    eventually("the breaker", async || !node.figures().is_there).await;
    proxy.open();
    let mut tries = 0;
    eventually("the way back", async || {
        // A proof whose answer came too late is there.
        tries += 1;
        Proof::new(1, format!("found {tries}")).at(&node).await == Ok(Seen::Never)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_full_server_refuses_what_is_new_and_knows_what_is_not() {
    let server = server();
    let node = node(&server.url()).await;
    let proof = Proof::new(1, "there");
    assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]).expect("an answer");
    assert_eq!(Proof::new(1, "new").at(&node).await, Err(Fault::ReplayFull));
    assert_eq!(proof.at(&node).await, Ok(Seen::Before));
    assert_eq!(node.figures().full, 1);
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]).expect("an answer");
    assert_eq!(Proof::new(1, "new").at(&node).await, Ok(Seen::Never));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_begins_to_evict_is_left_and_comes_back_as_a_new_epoch() {
    let server = server();
    let node = node(&server.url()).await;
    let before = node.epoch();
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).expect("an answer");
    eventually("it to be noticed", async || !node.figures().is_there).await;
    assert_eq!(Proof::new(1, "j").at(&node).await, Err(Fault::ReplayUnreachable));
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).expect("an answer");
    new_epoch(&node, before).await;
}

// Nobody has to see the policy while it is bad: what it takes, it takes with the marker.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_has_evicted_for_a_moment_is_a_new_epoch() {
    let server = server();
    let node = node(&server.url()).await;
    let (before, proof) = (node.epoch(), Proof::new(1, "j"));
    assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl", "maxmemory", "1"]).expect("an answer");
    // It makes room before a command that needs some, and refuses that if there is none.
    redis_rig::wait_until("an eviction", || {
        let _ = server.ask(&["SET", "other", "1"]);
        server.info("stats", "evicted_keys").is_ok_and(|evicted| evicted != "0")
            && server.ask(&["EXISTS", "kb:p"]).is_ok_and(|found| found == "0")
    })
    .expect("an eviction");
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "0"]).expect("an answer");
    assert_ne!(proof.under(before, &node).await, Ok(Seen::Never));
    new_epoch(&node, before).await;
    assert_eq!(proof.under(before, &node).await, Ok(Seen::Forgotten));
}

// What it answers to a write: that there are too few replicas, that its disk fails.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_takes_no_writes_is_away_and_not_asked_all_the_time() {
    let server = server();
    let node = node(&server.url()).await;
    let (before, proof) = (node.epoch(), Proof::new(1, "j"));
    assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    let connections = || -> u32 {
        let all = server.info("stats", "total_connections_received").expect("a field");
        all.parse().expect("a number")
    };
    let no_disk = || {
        // Where its file should be is something else.
        std::fs::create_dir(server.folder().join("dump.rdb")).expect("a folder");
        server.ask(&["CONFIG", "SET", "save", "3600 1"]).expect("an answer");
        server.ask(&["BGSAVE"]).expect("an answer");
        redis_rig::wait_until("a failure", || {
            server.info("persistence", "rdb_last_bgsave_status").is_ok_and(|status| status == "err")
        })
        .expect("a failure");
    };
    let set = |name: &str, value: &str| drop(server.ask(&["CONFIG", "SET", name, value]).expect("an answer"));
    type Step<'s> = &'s dyn Fn();
    let faults: [(Step<'_>, Step<'_>); 2] = [
        (&|| set("min-replicas-to-write", "1"), &|| set("min-replicas-to-write", "0")),
        (&no_disk, &|| set("save", "")),
    ];
    for (begins, ends) in faults {
        begins();
        eventually("it to be noticed", async || !node.figures().is_there).await;
        let (asked, began) = (connections(), Instant::now());
        while began.elapsed() < Duration::from_secs(2) {
            let answer = Proof::new(1, "another").at(&node).await;
            assert_eq!(answer, Err(Fault::ReplayUnreachable));
            assert!(!node.figures().is_there);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Two every second, more at first, and two of them are these questions.
        let (asked, took) = (connections() - asked, began.elapsed());
        assert!(u128::from(asked) <= 8 + took.as_millis() / 500, "{asked} connections in {took:?}");
        let error = refused(settings(&server.url())).await;
        assert!(!error.is_configuration(), "{error}");
        ends();
        eventually("the way back", async || node.figures().is_there).await;
        assert_eq!(proof.at(&node).await, Ok(Seen::Before));
        assert_eq!(node.epoch(), before);
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_primary_that_becomes_a_replica_records_nothing() {
    let (primary, other) = (server(), server());
    let node = hasty(&primary.url()).await;
    let (ip, port) = (other.address().ip().to_string(), other.port().to_string());
    primary.ask(&["REPLICAOF", &ip, &port]).expect("an answer");
    let answer = Proof::new(1, "j").at(&node).await;
    assert!(matches!(answer, Err(Fault::ReplayUnreachable) | Ok(Seen::Forgotten)), "{answer:?}");
    eventually("it to be noticed", async || !node.figures().is_there).await;
    assert_eq!(Proof::new(1, "j").at(&node).await, Err(Fault::ReplayUnreachable));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_loses_its_scripts_is_told_them_again() {
    let server = server();
    let node = node(&server.url()).await;
    let (before, connections) = (node.epoch(), node.figures().reconnects);
    for number in 0..5 {
        server.ask(&["SCRIPT", "FLUSH"]).expect("an answer");
        assert_eq!(Proof::new(1, format!("{number}")).at(&node).await, Ok(Seen::Never));
    }
    assert_eq!((node.epoch(), node.figures().reconnects), (before, connections));
}

// A server that runs somebody else's endless script answers BUSY to everything.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_busy_server_is_a_fault() {
    let server = server();
    server.ask(&["CONFIG", "SET", "busy-reply-threshold", "50"]).expect("an answer");
    let node = hasty(&server.url()).await;
    let mut endless = server.cli().args(["EVAL", "while true do end", "0"]).spawn().expect("a program");
    redis_rig::wait_until("BUSY", || server.ask(&["PING"]).is_err()).expect("a busy server");
    assert_eq!(Proof::new(1, "j").at(&node).await, Err(Fault::ReplayUnreachable));
    server.ask(&["SCRIPT", "KILL"]).expect("an answer");
    endless.wait().expect("an end");
    eventually("the way back", async || Proof::new(1, "j").at(&node).await.is_ok()).await;
}

// A file that takes a minute to load, if nobody hurries it.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_is_still_loading_is_waited_for() {
    let slow = ["enable-debug-command yes", "key-load-delay 3000", "loading-process-events-interval-bytes 1024"];
    let slow = slow.into_iter().fold(redis_rig::Settings::new().append_only(), redis_rig::Settings::line);
    let mut server = redis_rig::Server::start(slow).expect("a server");
    let node = hasty(&server.url()).await;
    let before = node.epoch();
    server.ask(&["DEBUG", "POPULATE", "20000"]).expect("an answer");
    server.ask(&["BGREWRITEAOF"]).expect("an answer");
    redis_rig::wait_until("a file", || {
        server.info("persistence", "aof_rewrite_in_progress").is_ok_and(|state| state == "0")
    })
    .expect("a file");
    server.restart().expect("a server that answers LOADING");
    let refused = refused(settings(&server.url())).await.to_string();
    assert!(refused.contains("loading"), "{refused}");
    assert_eq!(Proof::new(1, "j").at(&node).await, Err(Fault::ReplayUnreachable));
    server.ask(&["CONFIG", "SET", "key-load-delay", "0"]).expect("an answer");
    new_epoch(&node, before).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn clocks_that_are_far_apart_are_refused() {
    // No clock is turned here: a server that believes to be elsewhere in time is played.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || play(&listener, b"*2\r\n:2\r\n:61000\r\n"));
    let refused = refused(settings(&url)).await.to_string();
    assert!(refused.contains("its clock is 61 s ahead of ours"), "{refused}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn nonsense_is_refused() {
    for nonsense in
        ["$-1\r\n", ":7\r\n", "*0\r\n", "*2\r\n:0\r\n$3\r\nabc\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || play(&listener, nonsense.as_bytes()));
        let refused = refused(settings(&url)).await.to_string();
        assert!(refused.contains("nonsense") || refused.contains("as Redis does"), "{nonsense}: {refused}");
    }
}

// In operation, where it hides what the server has done.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn nonsense_lets_nobody_through() {
    let server = server();
    let proxy = Proxy::to(server.address()).expect("a proxy");
    let node = node(&format!("redis://{}", proxy.address())).await;
    let (before, mut recorded) = (node.epoch(), 0);
    // From now on the server has the script.
    assert_eq!(Proof::new(1, "first").at(&node).await, Ok(Seen::Never));
    for (nonsense, fault) in [
        ("$-1\r\n", Fault::ReplayUnreachable),
        (":7\r\n", Fault::ReplayUnreachable),
        ("*0\r\n", Fault::ReplayUnreachable),
        ("*2\r\n:0\r\n$3\r\nabc\r\n", Fault::ReplayUnreachable),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Fault::ReplayUnreachable),
        ("+OK\r\n", Fault::ReplayUnreachable),
        ("-ERR as told\r\n", Fault::ReplayUnreachable),
        ("-READONLY as told\r\n", Fault::ReplayUnreachable),
        ("-LOADING as told\r\n", Fault::ReplayUnreachable),
        ("-MOVED 1 127.0.0.1:1\r\n", Fault::ReplayUnreachable),
        ("-OOM as told\r\n", Fault::ReplayFull),
    ] {
        let proof = Proof::new(1, nonsense);
        proxy.answer_instead(nonsense);
        let answer = proof.at(&node).await;
        assert!(answer == Err(fault) || answer == Err(Fault::ReplayUnreachable), "{nonsense}: {answer:?}");
        proxy.open();
        let mut seen = Ok(Seen::Never);
        eventually("the way back", async || {
            seen = proof.at(&node).await;
            seen.is_ok()
        })
        .await;
        // A look at the server may have met it first, and then nothing was sent.
        assert!(matches!(seen, Ok(Seen::Never | Seen::Before)), "{nonsense}: {seen:?}");
        recorded += usize::from(seen == Ok(Seen::Before));
        eventually("an answer", async || {
            seen = proof.at(&node).await;
            seen.is_ok()
        })
        .await;
        assert_eq!(seen, Ok(Seen::Before), "{nonsense}");
    }
    assert!(recorded > 0, "none of the answers was to a record");
    assert_eq!(node.epoch(), before);
}

/// Answers `INFO` as a server does, and everything else by this.
fn play(listener: &TcpListener, rest: &[u8]) {
    let info = "run_id:a\r\nredis_mode:standalone\r\nrole:master\r\nmaster_replid:b\r\nmaxmemory_policy:noeviction\r\n";
    let info = format!("${}\r\n{info}\r\n", info.len());
    while let Ok((mut client, _)) = listener.accept() {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = client.read(&mut buffer) {
            let asked = String::from_utf8_lossy(&buffer[..read]);
            let answer = if asked.contains("INFO") { info.as_bytes() } else { rest };
            if client.write_all(answer).is_err() {
                break;
            }
        }
    }
}
