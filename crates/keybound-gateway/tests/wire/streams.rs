//! Bodies and tunnels flow; nothing is held.

use std::io::{Read as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, PATIENCE, Upstream, field};

const LARGE: usize = 200 << 20;

/// The memory of this process, which client, gateway and upstream share, in octets.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Of those who look at the memory, or take much of it, one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_large_upload_is_not_held() {
    let _alone = alone();
    let (peak, peaks) = mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        let head = client.head().unwrap();
        let length: usize = field(&head, "content-length").unwrap().parse().unwrap();
        let mut most = 0;
        for _ in 0..length >> 20 {
            client.exactly(1 << 20);
            most = most.max(resident());
        }
        client.send("HTTP/1.1 204 No Content\r\n\r\n");
        peak.send(most).unwrap();
    });
    let gateway = Gateway::open(upstream.address, "body_bytes = \"1GiB\"");
    let before = resident();
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    let piece = vec![b'x'; 1 << 20];
    (0..LARGE >> 20).for_each(|_| client.send(&piece));
    assert_eq!(client.answer().status, 204);
    let grown = peaks.recv_timeout(PATIENCE).unwrap().saturating_sub(before);
    assert!(grown < 40 << 20, "{} MiB more", grown >> 20);
}

#[test]
fn a_large_download_is_not_held() {
    let _alone = alone();
    let upstream = Upstream::doing(|mut client| {
        client.head();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 20];
        (0..LARGE >> 20).for_each(|_| client.send(&piece));
    });
    let gateway = Gateway::open(upstream.address, "");
    let before = resident();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head().unwrap();
    let mut most = 0;
    for _ in 0..LARGE >> 20 {
        client.exactly(1 << 20);
        most = most.max(resident());
    }
    let grown = most.saturating_sub(before);
    assert!(grown < 40 << 20, "{} MiB more", grown >> 20);
}

/// Whoever sends all before it reads anything must get there, however early and long the answer is.
#[test]
fn an_answer_that_nobody_takes_yet_does_not_hold_up_the_upload() {
    let _alone = alone();
    let upstream = Upstream::doing(|mut client| {
        client.head();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
        let mut twin = client.twin();
        // As long as the upload takes, nobody takes this.
        twin.stream.set_write_timeout(None).unwrap();
        let answer = std::thread::spawn(move || twin.send(vec![b'x'; LARGE]));
        client.exactly(LARGE);
        answer.join().unwrap();
    });
    let gateway = Gateway::open(upstream.address, "body_bytes = \"1GiB\"");
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    client.send(vec![b'x'; LARGE]);
    assert!(client.head().unwrap().starts_with("HTTP/1.1 200 "));
    client.exactly(LARGE);
}

/// Each piece goes on as it comes, both ways at once.
#[test]
fn pieces_go_on_as_they_come() {
    let upstream = Upstream::doing(|mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let length = client.line();
            let word = client.line();
            client.send(format!("{length}\r\n{word}\r\n"));
            if length == "0" {
                return;
            }
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head().unwrap();
    for word in ["one", "three", "seventeen"] {
        client.send(format!("{:x}\r\n{word}\r\n", word.len()));
        assert_eq!(client.line(), format!("{:X}", word.len()));
        assert_eq!(client.line(), word);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.line(), "0");
}

#[test]
fn an_expected_body_is_asked_for() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with("\r\n\r\nhello"), "{}", answer.text());
}

const OPENING: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nKeybound-Subject: eve\r\n\r\n";

fn websocket_echo() -> Upstream {
    Upstream::doing(|mut client| {
        let head = client.head().unwrap();
        assert_eq!(field(&head, "upgrade"), Some("websocket"), "{head}");
        assert_eq!(field(&head, "connection"), Some("upgrade"), "{head}");
        assert_eq!(field(&head, "sec-websocket-version"), Some("13"), "{head}");
        assert_eq!(field(&head, "keybound-subject"), None, "{head}");
        client.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n");
        let mut chunk = [0; 1024];
        while let Ok(length @ 1..) = client.stream.read(&mut chunk) {
            client.send(&chunk[..length]);
        }
    })
}

#[test]
fn a_websocket_is_a_tunnel() {
    let upstream = websocket_echo();
    let gateway = Gateway::open(upstream.address, "idle_timeout = \"100ms\"\nheader_timeout = \"4s\"");
    let mut client = gateway.client();
    client.send(OPENING);
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "sec-websocket-accept"), Some("x"));
    for (word, pause) in [("one", 200), ("GET / HTTP/1.1\r\n\r\n", 4500), ("\x00\x01", 200)] {
        client.send(word);
        assert_eq!(client.exactly(word.len()), word.as_bytes());
        // Longer than a rest may be, and once than a header may take: it is no HTTP any more.
        std::thread::sleep(Duration::from_millis(pause));
    }
    client.end_sending();
    assert!(client.is_over());
}

#[test]
fn a_tunnel_in_silence_is_closed() {
    let upstream = websocket_echo();
    let silence = Duration::from_secs(1);
    let gateway = Gateway::open(upstream.address, "tunnel_timeout = \"1s\"");
    let (mut client, last) = loop {
        let mut client = gateway.client();
        client.send(OPENING);
        client.head().unwrap();
        // With octets now and then it outlives the time of silence. Where this machine is silent itself, that is no test.
        match now_and_then(&mut client, silence * 3 / 2) {
            Ok(last) => break (client, last),
            Err(silent) => assert!(silent >= silence, "closed after {silent:?} of silence"),
        }
    };
    assert!(client.is_over());
    // The gateway counts in whole milliseconds.
    assert!(last.elapsed() > silence - Duration::from_millis(10), "{:?}", last.elapsed());
}

/// Sends an octet now and then for this long, each of which comes back: when the last was sent, or how long none was sent before
/// the tunnel was closed.
fn now_and_then(client: &mut Client, long: Duration) -> Result<Instant, Duration> {
    let opened = Instant::now();
    let mut last = opened;
    while opened.elapsed() < long {
        let sent = Instant::now();
        let octet = &mut [0];
        if client.stream.write_all(b"x").and_then(|()| client.stream.read_exact(octet)).is_err() {
            return Err(last.elapsed());
        }
        assert_eq!(octet, b"x");
        last = sent;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(last)
}

#[test]
fn a_websocket_that_is_declined_is_http() {
    // It keeps the connection, as it says: one that ended it might do so under the second request, which is then lost.
    let upstream = Upstream::doing(|mut client| {
        while client.head().is_some() {
            client.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send(OPENING);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 403);
}

/// A tunnel counts as a connection for as long as it lasts.
#[test]
fn a_tunnel_holds_its_place() {
    let upstream = websocket_echo();
    let gateway = Gateway::open(upstream.address, "connections = 1");
    let mut client = gateway.client();
    client.send(OPENING);
    client.head().unwrap();
    assert_eq!(gateway.answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n").reason(), "overload");
    let _ = client.stream.write_all(b"x");
    assert_eq!(client.exactly(1), b"x");
}
