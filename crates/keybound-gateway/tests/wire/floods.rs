//! Floods by HTTP/2, in its frames: refused, with memory bounded, and others served.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::frame::{CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame};
use crate::support::{Client, Gateway, PATIENCE, Upstream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// GET, http, `/`, and the authority `a`.
const GET: &[u8] = b"\x82\x86\x84\x41\x01a";

/// How a client begins.
fn beginning() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// A connection of HTTP/2 that says what it likes.
fn raw(gateway: &Gateway) -> Client {
    saying(gateway, &[])
}

/// One that says this from the beginning, without a pause in which it could be taken for somebody who says nothing.
fn saying(gateway: &Gateway, octets: &[u8]) -> Client {
    let mut client = gateway.client();
    client.send([&*beginning(), octets].concat());
    client
}

/// What came until the connection ended, in frames: kind, stream, payload.
fn frames(client: &mut Client) -> Vec<(u8, u32, Vec<u8>)> {
    let octets = client.read_out();
    let mut rest = octets.as_slice();
    let mut frames = Vec::new();
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]);
        let Some(payload) = rest.get(9..9 + length) else { break };
        frames.push((rest[3], stream, payload.to_vec()));
        rest = &rest[9 + length..];
    }
    frames
}

/// The reason with which the connection was ended.
fn goaway(frames: &[(u8, u32, Vec<u8>)]) -> Option<u32> {
    let (_, _, payload) = frames.iter().rfind(|(kind, ..)| *kind == GOAWAY)?;
    Some(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]))
}

const PROTOCOL_ERROR: u32 = 1;
const ENHANCE_YOUR_CALM: u32 = 11;

fn still_serves(gateway: &Gateway) {
    assert_eq!(gateway.answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

/// CVE-2023-44487: requests that are taken back as soon as they are made.
#[test]
fn rapid_resets_end_the_connection() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = raw(&gateway);
    let mut flood = Vec::new();
    for number in 0..2000 {
        let stream = 2 * number + 1;
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, GET));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let _ = client.stream.write_all(&flood);
    let seen = frames(&mut client);
    assert_eq!(goaway(&seen), Some(ENHANCE_YOUR_CALM), "{seen:?}");
    assert!(upstream.connections() < 50, "{} requests went on", upstream.connections());
    still_serves(&gateway);
}

/// The same, slowly enough that each request has begun before it is taken back.
#[test]
fn requests_taken_back_one_by_one_end_the_connection() {
    /// What comes of a request.
    #[derive(PartialEq)]
    enum Outcome {
        Arrived,
        Ended,
    }
    let (outcome, outcomes) = mpsc::channel();
    let arrived = outcome.clone();
    let upstream = Upstream::doing(move |mut wire| {
        if wire.head().is_some_and(|head| head.starts_with("GET / ")) {
            let _ = arrived.send(Outcome::Arrived);
            wire.is_over();
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = raw(&gateway);
    let mut twin = client.twin();
    // It has nothing to say until the end.
    twin.stream.set_read_timeout(None).unwrap();
    let reading = thread::spawn(move || {
        twin.read_out();
        outcome.send(Outcome::Ended)
    });
    let mut begun = 0;
    for number in 0..400 {
        let stream = 2 * number + 1;
        if client.stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)).is_err() {
            break;
        }
        if outcomes.recv_timeout(PATIENCE).expect("it arrives, or the connection ends") == Outcome::Ended {
            break;
        }
        begun += 1;
        if client.stream.write_all(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).is_err() {
            break;
        }
    }
    assert!((100..120).contains(&begun), "{begun} were begun");
    drop(reading.join().unwrap());
}

/// A header that never ends: as many frames as fit a header that is allowed, and no more.
#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = raw(&gateway);
    let mut flood = frame(HEADERS, END_STREAM, 1, GET);
    for _ in 0..20_000 {
        flood.extend(frame(CONTINUATION, 0, 1, b"\0\x01x\x01y"));
    }
    let _ = client.stream.write_all(&flood);
    assert_eq!(goaway(&frames(&mut client)), Some(ENHANCE_YOUR_CALM));
    assert_eq!(upstream.connections(), 0);
    still_serves(&gateway);
}

/// One that stops inside.
#[test]
fn a_header_that_stops_is_cut_off() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "client_timeout = \"150ms\"\nheader_timeout = \"1s\"");
    let began = Instant::now();
    let mut client = saying(&gateway, &frame(HEADERS, END_STREAM, 1, GET));
    client.read_out();
    assert!(began.elapsed() < PATIENCE);
    // A preface that stops.
    let mut client = gateway.client();
    client.send(&PREFACE[..10]);
    assert!(client.is_over());
}

/// A header list that is longer than it may be. Up to four times that it is answered with the reason, up to sixteen without,
/// and then the connection ends; one table entry used again and again counts each time.
#[test]
fn a_header_list_that_is_too_long_is_431() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "header_bytes = \"16KiB\"\nidle_timeout = \"1s\"");
    let value = vec![b'x'; 4000];
    let length = [0x7f, 0xa1, 0x1e]; // 4000 as an integer with a prefix of seven bits
    let plain = |fields: usize| [GET, &[b"\0\x01x", &length[..], &value].concat().repeat(fields)].concat();
    let bomb = [GET, &[b"\x40\x01x", &length[..], &value].concat(), &[0xbe; 8000]].concat();
    let reason = b"\"header.oversized\"";
    for (name, block, answered, told) in [
        ("just too long", plain(5), true, true),
        ("more than three times", plain(15), true, true),
        ("five times", plain(20), true, false),
        ("bomb", bomb, false, false),
    ] {
        let mut parts = block.chunks(16_000).peekable();
        let (mut kind, mut flags, mut request) = (HEADERS, END_STREAM, Vec::new());
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
            request.extend(frame(kind, flags | end, 1, part));
            (kind, flags) = (CONTINUATION, 0);
        }
        let seen = frames(&mut saying(&gateway, &request));
        let has = |kind: u8, text: &[u8]| {
            seen.iter().any(|(other, stream, block)| (*other, *stream) == (kind, 1) && contains(block, text))
        };
        assert_eq!((has(HEADERS, b"431"), has(DATA, reason)), (answered, told), "{name}: {seen:?}");
        assert!(answered || goaway(&seen).is_some_and(|reason| reason != 0), "{name}: {seen:?}");
    }
    assert_eq!(upstream.connections(), 0);
    still_serves(&gateway);
}

/// Whether a block holds this text, plain or in the code of Huffman.
fn contains(block: &[u8], text: &[u8]) -> bool {
    // `431` in the code of Huffman: 011010 011001 00001, filled up with ones.
    block.windows(text.len()).any(|window| window == text) || block.windows(3).any(|window| window == b"\x69\x90\xff")
}

/// Fields that HTTP/2 forbids: the request is reset, whatever it is.
#[test]
fn fields_of_a_connection_are_refused() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "idle_timeout = \"200ms\"");
    let field = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [&[0], &text(name)[..], &text(value)].concat()
    };
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("Upper", "case"),
        ("x", "a\r\nHost: b"),
        ("x", "a\0b"),
        (":path", "/second"),
        (":unknown", "x"),
    ] {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[GET, &field(name, value)].concat());
        let seen = frames(&mut saying(&gateway, &request));
        let reset = seen.iter().any(|(kind, stream, payload)| {
            (*kind, *stream) == (RST_STREAM, 1) && *payload == PROTOCOL_ERROR.to_be_bytes()
        });
        assert!(reset || goaway(&seen) == Some(PROTOCOL_ERROR), "{name}: {value:?}: {seen:?}");
    }
    assert_eq!(upstream.connections(), 0);
}

/// A client that has room for hardly anything, and takes nothing: how long it could send `flood` again and again, and how that
/// ended.
fn taking_nothing(gateway: &Gateway, flood: &[u8]) -> (Duration, ErrorKind) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&gateway.address.into()).unwrap();
    let mut client = Client::over(TcpStream::from(socket));
    client.send(beginning());
    let began = Instant::now();
    loop {
        match client.stream.write_all(flood) {
            Ok(()) => assert!(began.elapsed() < PATIENCE, "it is taken without end"),
            Err(error) => return (began.elapsed(), error.kind()),
        }
    }
}

/// Pings, settings and empty frames: answered or passed over, and never held.
#[test]
fn floods_of_small_frames_do_no_harm() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "client_timeout = \"300ms\"\nidle_timeout = \"300ms\"");
    for (kind, payload) in [(PING, &[0; 8][..]), (SETTINGS, &[])] {
        // The client takes no answers: those are not piled up, and in time it is given up.
        let (_, error) = taking_nothing(&gateway, &frame(kind, 0, 0, payload).repeat(5000));
        assert!(matches!(error, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}: {error}");
        still_serves(&gateway);
    }
}

/// Whoever takes nothing has `client_timeout` for that, and no more once it was told to end; the farewell is for those who listen.
#[test]
fn a_client_that_takes_nothing_is_given_up_though_it_was_told_to_end() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "client_timeout = \"300ms\"\nidle_timeout = \"100ms\"");
    let flood = frame(PING, 0, 0, &[0; 8]).repeat(5000);
    // A machine that stands still now and then gives it up late, but not each time; after a farewell of 5 s it is late each time.
    let mut late = Vec::new();
    loop {
        let (elapsed, _) = taking_nothing(&gateway, &flood);
        if elapsed < Duration::from_secs(5) {
            return;
        }
        late.push(elapsed);
        assert!(late.len() < 20, "given up after {late:?}");
    }
}
