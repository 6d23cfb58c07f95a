//! HTTP/2 in octets, for requests that no library would send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::frame::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, LONGEST, PING, RST_STREAM, SETTINGS, frame,
};
use crate::support::PATIENCE;

/// An integer in groups of seven bits, the lowest first.
fn groups(mut number: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    while number >= 128 {
        octets.push(u8::try_from(number % 128).unwrap() | 128);
        number /= 128;
    }
    octets.push(u8::try_from(number).unwrap());
    octets
}

/// A string of HPACK, in plain octets (RFC 7541 section 5.2).
fn string(text: &str) -> Vec<u8> {
    let length = match text.len() {
        short @ ..127 => vec![u8::try_from(short).unwrap()],
        long => [vec![127], groups(long - 127)].concat(),
    };
    [&length[..], text.as_bytes()].concat()
}

/// The frames of a header on the first stream.
fn header(fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    let block: Vec<u8> =
        fields.iter().flat_map(|(name, value)| [vec![0], string(name), string(value)].concat()).collect();
    let pieces: Vec<&[u8]> = block.chunks(LONGEST).collect();
    let mut octets = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let end = if number + 1 == pieces.len() { END_HEADERS } else { 0 };
        let (kind, flags) = if number == 0 { (HEADERS, flags | end) } else { (CONTINUATION, end) };
        octets.extend(frame(kind, flags, 1, piece));
    }
    octets
}

/// A request with these fields and no body.
pub(crate) fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    header(fields, END_STREAM)
}

/// The end of a connection, with words.
pub(crate) fn goodbye(words: &str) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[&[0; 8], words.as_bytes()].concat())
}

/// A call of gRPC with these fields and this message.
pub(crate) fn call(fields: &[(&str, &str)], message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [header(fields, 0), frame(DATA, END_STREAM, 1, &[&[0], &length[..], message].concat())].concat()
}

/// A field of a message of protocol buffers.
fn member(tag: u8, octets: &[u8]) -> Vec<u8> {
    [&[tag << 3 | 2], &groups(octets.len())[..], octets].concat()
}

/// `CheckRequest` of `envoy.service.auth.v3` about a request with these fields.
pub(crate) fn question(method: &str, path: &str, fields: &str) -> Vec<u8> {
    let fields = fields.lines().flat_map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        member(3, &[member(1, name.to_ascii_lowercase().as_bytes()), member(2, value.as_bytes())].concat())
    });
    let mut http: Vec<u8> = [member(2, method.as_bytes()), member(4, path.as_bytes())].concat();
    http.extend(fields);
    http.extend([member(5, b"api.example.com"), member(6, b"https")].concat());
    member(1, &member(4, &member(2, &http)))
}

/// The beginning of a connection.
pub(crate) fn opening() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, &[])[..]].concat()
}

/// A connection inside a header.
#[cfg(target_os = "linux")]
pub(crate) fn begun() -> Vec<u8> {
    [opening(), frame(HEADERS, END_STREAM, 1, b"\x82\x86\x84\x41\x01a")].concat()
}

/// So many frames more of that header.
#[cfg(target_os = "linux")]
pub(crate) fn more_of_it(frames: usize) -> Vec<u8> {
    frame(CONTINUATION, 0, 1, b"\0\x01x\x01y").repeat(frames)
}

#[cfg(target_os = "linux")]
pub(crate) fn pings(frames: usize) -> Vec<u8> {
    frame(PING, 0, 0, &[0; 8]).repeat(frames)
}

#[cfg(target_os = "linux")]
pub(crate) fn settings(frames: usize) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[]).repeat(frames)
}

/// So many requests, each taken back.
#[cfg(target_os = "linux")]
pub(crate) fn resets(requests: u32) -> Vec<u8> {
    let one = |number: u32| {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, b"\x82\x86\x84\x41\x01a");
        [request, frame(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes())].concat()
    };
    (0..requests).flat_map(one).collect()
}

/// One connection with these frames, until the first stream is answered or it is over; what came.
pub(crate) fn say(address: SocketAddr, frames: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let octets = [&opening(), frames].concat();
    // Who does not take all of it has answered already.
    let _ = stream.write_all(&octets);
    let mut came = Vec::new();
    let mut piece = [0; LONGEST];
    while !is_answered(&came) {
        match stream.read(&mut piece) {
            Ok(octets @ 1..) => came.extend_from_slice(&piece[..octets]),
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no answer: {error}"),
        }
    }
    came
}

fn is_answered(mut came: &[u8]) -> bool {
    while came.len() >= 9 {
        let length = usize::from(came[0]) << 16 | usize::from(came[1]) << 8 | usize::from(came[2]);
        if matches!(came[3], RST_STREAM | GOAWAY) || (came[3] == HEADERS && came[4] & END_STREAM != 0) {
            return true;
        }
        if came[3] == DATA && came[4] & END_STREAM != 0 {
            return true;
        }
        came = came.get(9 + length..).unwrap_or_default();
    }
    false
}
