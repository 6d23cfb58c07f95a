//! Floods take no room: the most memory a real `serve` has had before and after them.

#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::frames;
use crate::serve::{gateway, sample};
use crate::support::{Place, get};

/// What each connection sends, unless it is ended before.
const EACH: usize = 32 << 20;

/// Connections of each kind.
const TWINS: usize = 4;

/// What all of them together may make it grow by, in KiB: a small part of what they send.
const ROOM: u64 = 64 << 10;

/// Sends `opening` and then `piece` again and again, and takes no answer.
fn flood(address: SocketAddr, opening: &[u8], piece: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut left = EACH / piece.len();
    let mut going = stream.write_all(opening).is_ok();
    while going && left > 0 {
        going = stream.write_all(piece).is_ok();
        left -= 1;
    }
}

#[test]
fn floods_take_no_room_and_others_are_served() {
    let place = Place::new();
    let text = gateway("127.0.0.1:0", "http://127.0.0.1:9", &sample());
    let text = text
        .replace("[[route]]", "[limits]\nheader_timeout = \"2s\"\nclient_timeout = \"2s\"\n[[route]]\nmode = \"open\"");
    place.write("keybound.toml", &text.replace("http://127.0.0.1:0", "https://a.example"));
    let mut service = place.start(&["serve", "--config", "keybound.toml"]);
    let address = service.address();
    let is_served = || assert!(get(address, "/", "").starts_with("HTTP/1.1 200 "));
    is_served();
    let before = service.peak();
    let text = |text: &str, times: usize| text.repeat(times).into_bytes();
    let chunked = text("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 1);
    let floods = [
        (text("GET / HTTP/1.1\r\nHost: a\r\n", 1), text("X: of a header that does not end\r\n", 2000)),
        (text("GET /", 1), text("x", 64 << 10)),
        (chunked.clone(), text("1;of=an extension that does not end;", 2000)),
        ([&chunked[..], b"0\r\n"].concat(), text("X: of trailers that do not end\r\n", 2000)),
        (Vec::new(), text("\u{16}\u{3}\u{1}garbage", 8000)),
        (frames::begun(), frames::more_of_it(4000)),
        (frames::opening(), frames::pings(4000)),
        (frames::opening(), frames::settings(4000)),
        (frames::opening(), frames::resets(20_000)),
    ];
    thread::scope(|scope| {
        for (opening, piece) in &floods {
            for _ in 0..TWINS {
                scope.spawn(move || flood(address, opening, piece));
            }
        }
        is_served();
    });
    is_served();
    let grown = service.peak() - before;
    assert!(grown < ROOM, "it grew by {grown} KiB");
    assert_eq!(service.terminate(), Some(0));
}
