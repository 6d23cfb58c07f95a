//! Responses read from octets, however they are cut, beside what the HTTP library's own client makes of them.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::chunks::{Decoder, Taken};
use super::head::{Asked, Begun, Head, Length, Read, read};
use super::*;

/// A response, whole.
#[derive(Debug, PartialEq)]
struct Whole {
    status: StatusCode,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether another may follow.
    free: bool,
}

const GET: Asked = Asked { head: false, most: 1 << 10 };

/// What becomes of octets that come in these pieces, and of the end of the connection behind them.
fn whole(pieces: &[&[u8]], asked: Asked) -> Result<Whole, Broken> {
    let mut pieces = pieces.iter();
    let mut begun = Begun::default();
    let (head, mut rest) = loop {
        if let Some(whole) = begun.take(pieces.next().ok_or(Broken::Off)?, asked)? {
            break whole;
        }
    };
    let Head { response, length, mut lasts } = head;
    let (mut decoder, mut body, mut trailers) = (Decoder::from(length), Vec::new(), None);
    loop {
        match decoder.take(&mut rest)? {
            Taken::Data(data) => body.extend_from_slice(&data),
            Taken::Trailers(some) => trailers = Some(some),
            Taken::End => break,
            Taken::More => match pieces.next() {
                Some(piece) => rest = [&rest[..], piece].concat().into(),
                None if decoder.ends_so() => {
                    lasts = false;
                    break;
                }
                None => return Err(Broken::Off),
            },
        }
    }
    let free = lasts && rest.is_empty() && pieces.next().is_none();
    Ok(Whole { status: response.status(), fields: response.headers().clone(), body, trailers, free })
}

/// The same by the library's client.
fn by_library(octets: &[u8]) -> Option<(StatusCode, HeaderMap, Vec<u8>, Option<HeaderMap>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (client, mut server) = tokio::io::duplex(1 << 20);
        let builder = hyper::client::conn::http1::Builder::new();
        let (mut sender, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
        let exchange = async {
            let response = sender.send_request(Request::new(Empty::<Bytes>::new())).await.ok()?;
            let (mut head, body) = response.into_parts();
            // The library leaves the same length there twice.
            if let Some(length) = head.headers.get("content-length").cloned() {
                head.headers.insert("content-length", length);
            }
            let body = body.collect().await.ok()?;
            let trailers = body.trailers().cloned();
            Some((head.status, head.headers, body.to_bytes().to_vec(), trailers))
        };
        let answering = async {
            // What comes before the request is unexpected.
            server.read_u8().await.unwrap();
            let _ = server.write_all(octets).await;
            server.shutdown().await.unwrap();
        };
        tokio::join!(exchange, answering, connection).0
    })
}

#[test]
fn a_body_ends_where_its_header_says() {
    for (said, length, lasts) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", Length::Octets(7), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n", Length::Octets(7), true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n\r\n", Length::Octets(7), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Length::Chunked, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n", Length::Chunked, false),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\n", Length::Octets(7), false),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 7\r\n\r\n", Length::Octets(7), false),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 7\r\n\r\n",
            Length::Octets(7),
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n", Length::Octets(7), false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 7\r\n\r\n", Length::Octets(7), true),
        ("HTTP/1.1 200 OK\r\n\r\n", Length::Close, true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", Length::Octets(0), true),
        ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Length::Octets(0), true),
    ] {
        let Ok(Read::Whole(head, rest)) = read(said.as_bytes(), GET) else { panic!("{said:?} is refused") };
        assert_eq!((head.length, head.lasts, rest.len()), (length, lasts, 0), "{said:?}");
        assert!(head.response.headers().get_all("content-length").iter().count() <= 1, "{said:?}");
        let Ok(Read::Whole(head, _)) = read(said.as_bytes(), Asked { head: true, ..GET }) else { panic!("{said:?}") };
        assert_eq!(head.length, Length::Octets(0), "{said:?} to HEAD");
    }
}

#[test]
fn what_is_in_doubt_is_refused() {
    for said in [
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7, 8\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 7,\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
    ] {
        assert!(matches!(read(said.as_bytes(), GET), Err(Broken::Malformed)), "{said:?}");
    }
    let crowded = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(GET.most));
    for said in [crowded, long.clone(), long + "\r\n\r\n"] {
        assert!(matches!(read(said.as_bytes(), GET), Err(Broken::Malformed)), "{} octets", said.len());
    }
}

#[test]
fn chunks_are_strict() {
    let body = |chunks: &str| {
        whole(&[format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").as_bytes()], GET)
    };
    for (chunks, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("0005;a=b\r\nhello\r\n00\r\n\r\n", "hello"),
        ("3 \r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0;x\r\n\r\n", "01234567890123456789"),
        ("0\r\n\r\n", ""),
    ] {
        let whole = body(chunks).unwrap_or_else(|broken| panic!("{chunks:?}: {broken}"));
        assert_eq!((whole.body.as_slice(), whole.free), (expected.as_bytes(), true), "{chunks:?}");
    }
    let long = "5;".to_owned() + &"x".repeat(20_000);
    let whole_line = long.clone() + "\r\nhello\r\n0\r\n\r\n";
    let flood = format!("1;{}\r\nx\r\n", "x".repeat(1_000)).repeat(20) + "0\r\n\r\n";
    let long_trailer = format!("0\r\nA: {}\r\n\r\n", "b".repeat(20_000));
    let many = "0\r\n".to_owned() + &"A: b\r\n".repeat(101) + "\r\n";
    for (chunks, broken) in [
        ("5\r\nhelloX\r\n0\r\n\r\n", Broken::Malformed),
        ("5\r\nhello\n0\r\n\r\n", Broken::Malformed),
        ("5\nhello\r\n0\r\n\r\n", Broken::Malformed),
        ("\r\n\r\n", Broken::Malformed),
        (";a\r\n\r\n", Broken::Malformed),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", Broken::Malformed),
        ("-5\r\nhello\r\n0\r\n\r\n", Broken::Malformed),
        ("0x5\r\nhello\r\n0\r\n\r\n", Broken::Malformed),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", Broken::Malformed),
        ("0\r\n\n", Broken::Malformed),
        ("0\r\nA: b\n\r\n", Broken::Malformed),
        ("0\r\nbad name: x\r\n\r\n", Broken::Malformed),
        (&long, Broken::Malformed),
        (&whole_line, Broken::Malformed),
        (&flood, Broken::Malformed),
        (&long_trailer, Broken::Malformed),
        (&many, Broken::Malformed),
        ("5\r\nhell", Broken::Off),
        ("5\r\nhello\r\n", Broken::Off),
        ("0\r\n", Broken::Off),
        ("0\r\nA: b\r\n", Broken::Off),
    ] {
        assert_eq!(body(chunks).unwrap_err(), broken, "{chunks:.60?}");
    }
}

/// What follows a response is no answer to anything, so nothing may follow it.
#[test]
fn octets_behind_a_response_end_the_connection() {
    for (said, free) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n", false),
        ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ("HTTP/1.1 204 No Content\r\n\r\nx", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n", false),
    ] {
        assert_eq!(whole(&[said.as_bytes()], GET).unwrap().free, free, "{said:?}");
    }
}

/// Pieces of responses, good and bad.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 204 No\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "X: y\r\n",
        "x:\r\n",
        "\r\n",
        "\r\n",
        "hello",
        "5\r\n",
        "5;a=b\r\n",
        "0\r\n",
        "0\r\nT: u\r\n\r\n",
        "a\r\n",
        "\n",
        "\r",
        " ",
        "é",
    ]);
    let begun = prop::sample::select(vec![
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ]);
    (begun, prop::collection::vec(piece, 0..8))
        .prop_map(|(begun, pieces)| [begun, &pieces.concat()].concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// And what comes in one piece comes in any.
    #[test]
    fn however_it_is_cut_it_is_the_same(octets in pieces(), cuts in prop::collection::vec(0_usize..200, 0..6)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(octets.len())).collect();
        cuts.sort_unstable();
        cuts.insert(0, 0);
        cuts.push(octets.len());
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &octets[ends[0]..ends[1]]).collect();
        let (one, several) = (whole(&[&octets], GET), whole(&pieces, GET));
        match (one, several) {
            (Ok(one), Ok(several)) => {
                prop_assert_eq!(
                    (one.status, one.fields, one.body, one.trailers),
                    (several.status, several.fields, several.body, several.trailers)
                );
            }
            (one, several) => prop_assert_eq!(one.is_err(), several.is_err()),
        }
    }

    /// What is let through reads the same to the library's client.
    #[test]
    fn it_is_what_the_library_makes_of_it(octets in pieces()) {
        if let Ok(ours) = whole(&[&octets], GET) {
            let theirs = by_library(&octets);
            prop_assert_eq!(Some((ours.status, ours.fields, ours.body, ours.trailers)), theirs);
        }
    }
}
