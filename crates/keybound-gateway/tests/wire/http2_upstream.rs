//! Upstreams of HTTP/2 that end their connections, refuse requests, fall silent or talk rubbish, written in frames by hand. Their
//! twins of HTTP/1.1 are in `upstream`.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::frame::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, LONGEST, PING, RST_STREAM, SETTINGS, frame};
use crate::support::{Answer, Client, Gateway, PATIENCE, Upstream, field};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

const ACK: u8 = 1;

/// `:status: 200` and `:status: 403`, in HPACK.
const OK: &[u8] = b"\x88";
const FORBIDDEN: &[u8] = b"\x48\x03403";

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A request, as far as it is told apart here.
struct Asked {
    stream: u32,
    body: Vec<u8>,
    /// The header of its trailers.
    trailers: Option<Vec<u8>>,
}

/// One connection of the gateway, as the upstream has it.
struct Wire(Client);

impl Wire {
    /// After both have said how they begin.
    fn greet(client: Client) -> Self {
        let mut wire = Self(client);
        wire.take(24).expect("a preface");
        wire.send(SETTINGS, 0, 0, b"");
        wire
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut octets = vec![0; length];
        self.0.stream.read_exact(&mut octets).ok()?;
        Some(octets)
    }

    /// The next frame, if the gateway does not end the connection instead.
    fn frame(&mut self) -> Option<Frame> {
        let head = self.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload: self.take(length as usize)? })
    }

    /// The next frame of this kind; settings are taken note of meanwhile.
    fn awaits(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(SETTINGS, ACK, 0, b"");
            }
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// The next request, to its end.
    fn request(&mut self) -> Option<Asked> {
        let Frame { stream, mut flags, .. } = self.awaits(HEADERS)?;
        let (mut body, mut trailers) = (Vec::new(), None);
        while flags & END_STREAM == 0 {
            let frame = self.frame()?;
            match frame.kind {
                DATA => body.extend(frame.payload),
                HEADERS => trailers = Some(frame.payload),
                _ => continue,
            }
            flags = frame.flags;
        }
        Some(Asked { stream, body, trailers })
    }

    /// A request that has come whole is answered with its body.
    fn answer(&mut self, asked: &Asked) {
        self.send(HEADERS, END_HEADERS, asked.stream, OK);
        for piece in asked.body.chunks(LONGEST) {
            self.send(DATA, 0, asked.stream, piece);
        }
        self.send(DATA, END_STREAM, asked.stream, b"");
    }

    fn serve(&mut self) {
        while let Some(asked) = self.request() {
            self.answer(&asked);
        }
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.send(frame(kind, flags, stream, payload));
    }

    fn reset(&mut self, stream: u32, reason: u32) {
        self.send(RST_STREAM, 0, stream, &reason.to_be_bytes());
    }

    /// It ends; nothing after the stream `last` was looked at.
    fn go_away(&mut self, last: u32, reason: u32) {
        self.send(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
    }
}

/// An upstream that does this on each connection, which it is told the number of, from 0.
fn upstream(serve: impl Fn(Wire, usize) + Send + Sync + 'static) -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::doing(move |client| serve(Wire::greet(client), count.fetch_add(1, Ordering::SeqCst)))
}

/// With `/` open to this one.
fn gateway(upstream: &Upstream, limits: &str) -> Gateway {
    through(&[upstream], limits)
}

fn through(upstreams: &[&Upstream], limits: &str) -> Gateway {
    let urls: Vec<String> = upstreams.iter().map(|upstream| format!("\"h2c://{}\"", upstream.address)).collect();
    let urls = urls.join(", ");
    Gateway::with(&format!("[limits]\n{limits}\n[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [{urls}]\n"))
}

fn reason(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

fn long(length: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length))
}

/// It says after each answer that it takes no more, and leaves the rest to the gateway.
#[test]
fn a_connection_that_ends_takes_no_more() {
    let upstream = upstream(|mut wire, _| {
        let asked = wire.request().unwrap();
        wire.answer(&asked);
        wire.go_away(asked.stream, NO_ERROR);
        while wire.frame().is_some() {}
    });
    let gateway = gateway(&upstream, "");
    for round in 1..=5 {
        assert_eq!(gateway.answer(GET).status, 200);
        let answer = gateway.answer(POST);
        assert_eq!((answer.status, &*answer.text()), (200, "hello"));
        assert_eq!(upstream.connections(), 2 * round);
    }
}

/// What was under way is answered still, and the rest goes over another connection.
#[test]
fn a_request_before_the_end_of_a_connection_is_answered() {
    let (arrived, arrivals) = mpsc::channel();
    let (go, going) = mpsc::channel();
    let going = std::sync::Mutex::new(going);
    let upstream = upstream(move |mut wire, number| {
        if number > 0 {
            return wire.serve();
        }
        let asked = wire.request().unwrap();
        wire.go_away(asked.stream, NO_ERROR);
        arrived.send(()).unwrap();
        going.lock().unwrap().recv().unwrap();
        wire.answer(&asked);
        while wire.frame().is_some() {}
    });
    let gateway = gateway(&upstream, "");
    let mut first = gateway.client();
    first.send(POST);
    arrivals.recv_timeout(PATIENCE).unwrap();
    for _ in 0..3 {
        assert_eq!(gateway.answer(POST).text(), "hello");
    }
    assert_eq!(upstream.connections(), 2);
    go.send(()).unwrap();
    let answer = first.answer();
    assert_eq!((answer.status, &*answer.text()), (200, "hello"));
}

/// They crossed: the upstream says of a request that it came too late.
#[test]
fn a_request_behind_the_end_of_a_connection_is_sent_again() {
    for reason in [NO_ERROR, INTERNAL_ERROR] {
        let (told, trailers) = mpsc::channel();
        let upstream = upstream(move |mut wire, number| {
            let asked = wire.request().unwrap();
            if number % 2 == 0 {
                wire.go_away(0, reason);
                while wire.frame().is_some() {}
            } else {
                told.send(asked.trailers.is_some()).unwrap();
                wire.answer(&asked);
                wire.go_away(asked.stream, NO_ERROR);
                while wire.frame().is_some() {}
            }
        });
        let gateway = gateway(&upstream, "");
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                       3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 7\r\n\r\n";
        for (round, (request, body)) in [
            (GET, "".to_owned()),
            (POST, "hello".to_owned()),
            (chunked, "hello".to_owned()),
            (&long(50_000), "x".repeat(50_000)),
        ]
        .into_iter()
        .enumerate()
        {
            let answer = gateway.answer(request);
            assert_eq!((answer.status, answer.text() == body), (200, true), "{round}: {}", answer.head);
            assert_eq!(trailers.recv_timeout(PATIENCE).unwrap(), request == chunked, "{round}");
            assert_eq!(upstream.connections(), 2 * (round + 1));
        }
    }
}

/// Nobody holds all of a long body for that; the client hears that it may try again.
#[test]
fn a_long_body_is_not_sent_again() {
    let upstream = upstream(|mut wire, _| {
        let Frame { stream, .. } = wire.awaits(HEADERS).unwrap();
        // The window is 65,535 octets.
        let mut come = 0;
        while come < 65_535 {
            come += wire.awaits(DATA).unwrap().payload.len();
        }
        wire.reset(stream, REFUSED_STREAM);
        while wire.frame().is_some() {}
    });
    let gateway = gateway(&upstream, "");
    let answer = gateway.answer(long(200_000));
    assert_eq!(reason(&answer), (503, "upstream.refused".to_owned()));
    assert_eq!((answer.field("retry-after"), upstream.connections()), (Some("1"), 1));
}

#[test]
fn a_stream_that_is_refused_is_asked_for_again() {
    let upstream = upstream(|mut wire, _| {
        while let Some(asked) = wire.request() {
            // 1, 5, 9 ..
            if asked.stream % 4 == 1 { wire.reset(asked.stream, REFUSED_STREAM) } else { wire.answer(&asked) }
        }
    });
    let gateway = gateway(&upstream, "");
    for _ in 0..3 {
        assert_eq!(gateway.answer(GET).status, 200);
        assert_eq!(gateway.answer(POST).text(), "hello");
    }
    assert_eq!(upstream.connections(), 1);
}

/// Twice at each server; then the client is told.
#[test]
fn an_upstream_that_refuses_everything_is_503() {
    let asked = Arc::new(AtomicUsize::new(0));
    let refusing = || {
        let asked = Arc::clone(&asked);
        upstream(move |mut wire, _| {
            while let Some(request) = wire.request() {
                asked.fetch_add(1, Ordering::SeqCst);
                wire.reset(request.stream, REFUSED_STREAM);
            }
        })
    };
    let (one, other) = (refusing(), refusing());
    let answer = gateway(&one, "").answer(POST);
    assert_eq!(reason(&answer), (503, "upstream.refused".to_owned()));
    assert_eq!((answer.field("retry-after"), asked.load(Ordering::SeqCst)), (Some("1"), 2));
    assert_eq!(reason(&through(&[&one, &other], "").answer(POST)).0, 503);
    assert_eq!(asked.load(Ordering::SeqCst), 6);
    // And the next server has the body whole.
    let well = upstream(|mut wire, _| wire.serve());
    let gateway = through(&[&one, &well], "");
    for _ in 0..2 {
        assert_eq!(gateway.answer(POST).text(), "hello");
    }
}

/// Any other reset may come after something was done: the request is not sent again, not even elsewhere. The connection stays.
#[test]
fn a_stream_that_is_reset_is_502_and_no_more() {
    for code in [NO_ERROR, 1, INTERNAL_ERROR, CANCEL, 11, 13] {
        let resetting = || {
            upstream(move |mut wire, _| {
                while let Some(asked) = wire.request() {
                    wire.reset(asked.stream, code);
                }
            })
        };
        let (one, other) = (resetting(), resetting());
        let gateway = through(&[&one, &other], "");
        for (round, request) in [GET, POST, GET, POST].into_iter().enumerate() {
            assert_eq!(reason(&gateway.answer(request)), (502, "upstream.invalid".to_owned()), "{code}");
            assert_eq!((one.connections(), other.connections()), (1, usize::from(round > 0)), "{code}");
        }
    }
}

/// The end of a connection that takes requests along which may have been looked at.
#[test]
fn a_connection_that_breaks_off_is_502_and_no_more() {
    for goes_away in [false, true] {
        let breaking = || {
            upstream(move |mut wire, _| {
                let asked = wire.request().unwrap();
                if goes_away {
                    wire.go_away(asked.stream, INTERNAL_ERROR);
                }
            })
        };
        let (one, other) = (breaking(), breaking());
        let gateway = through(&[&one, &other], "");
        for (request, counts) in [(GET, (1, 0)), (POST, (1, 1))] {
            assert_eq!(reason(&gateway.answer(request)), (502, "upstream.invalid".to_owned()));
            assert_eq!((one.connections(), other.connections()), counts);
        }
    }
}

/// With a word of farewell or without.
#[test]
fn a_connection_that_is_ended_at_rest_is_no_error() {
    for word in [false, true] {
        let (closed, closes) = mpsc::channel();
        let upstream = upstream(move |mut wire, _| {
            let asked = wire.request().unwrap();
            wire.answer(&asked);
            if word {
                wire.go_away(asked.stream, NO_ERROR);
            }
            wire.0.end_sending();
            while wire.frame().is_some() {}
            closed.send(()).unwrap();
        });
        let gateway = gateway(&upstream, "");
        for round in 1..=3 {
            assert_eq!(gateway.answer(POST).text(), "hello");
            closes.recv_timeout(PATIENCE).expect("the gateway keeps a connection that has ended");
            assert_eq!(upstream.connections(), round);
        }
    }
}

#[test]
fn a_connection_that_rests_too_long_is_closed() {
    let (closed, closes) = mpsc::channel();
    let upstream = upstream(move |mut wire, _| {
        wire.serve();
        closed.send(()).unwrap();
    });
    let gateway = gateway(&upstream, "upstream_idle_timeout = \"100ms\"");
    for round in 1..=2 {
        assert_eq!(gateway.answer(POST).text(), "hello");
        closes.recv_timeout(PATIENCE).expect("it rests for ever");
        assert_eq!(upstream.connections(), round);
    }
}

/// It answers nothing at all, be it asked or pinged. Told of the end of the wait, it could go on.
#[test]
fn an_upstream_that_hangs_is_504() {
    let (told, resets) = mpsc::channel();
    let hanging = move |greets: bool| {
        let told = told.clone();
        Upstream::doing(move |client| {
            let mut wire = if greets { Wire::greet(client) } else { Wire(client) };
            if !greets {
                wire.take(24).unwrap();
            }
            while let Some(frame) = wire.frame() {
                if frame.kind == RST_STREAM {
                    told.send(frame.payload).unwrap();
                }
            }
        })
    };
    for greets in [true, false] {
        let (one, other) = (hanging(greets), hanging(greets));
        let gateway = through(&[&one, &other], "response_timeout = \"100ms\"");
        for (request, counts) in [(GET, (1, 0)), (POST, (1, 1))] {
            assert_eq!(reason(&gateway.answer(request)), (504, "upstream.timeout".to_owned()), "{greets}");
            assert_eq!((one.connections(), other.connections()), counts, "asked elsewhere, too");
            assert_eq!(resets.recv_timeout(PATIENCE).unwrap(), CANCEL.to_be_bytes());
        }
    }
}

/// A machine that is gone without a word is found out by pings, long before the time for an answer is over.
#[test]
fn an_upstream_that_is_gone_is_found_out() {
    let (pinged, pings) = mpsc::channel();
    let upstream = upstream(move |mut wire, _| {
        wire.request().unwrap();
        wire.awaits(PING).expect("it is asked whether it is there");
        pinged.send(()).unwrap();
        while wire.frame().is_some() {}
    });
    let gateway = gateway(&upstream, "connect_timeout = \"100ms\"\nresponse_timeout = \"10m\"");
    assert_eq!(reason(&gateway.answer(GET)), (504, "upstream.timeout".to_owned()));
    pings.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn what_is_no_answer_is_502() {
    let header =
        |field: &[u8]| [&(field.len() as u32).to_be_bytes()[1..], &[HEADERS, END_HEADERS, 0, 0, 0, 1], field].concat();
    let long = [OK, b"\x00\x01x\x7f\xc1\xb7\x02", "x".repeat(40_000).as_bytes()].concat();
    for (what, rubbish) in [
        ("another version", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec()),
        ("no frame", b"rubbish".repeat(100)),
        ("half a frame", b"\0\0\x05\x01\x04\0\0\0\x01\x88".to_vec()),
        ("a frame that is too long", b"\xff\xff\xff\0\0\0\0\0\x01".to_vec()),
        ("no status", header(b"\x0f\x0d\x010")),
        ("a header that cannot be read", header(b"\xff\xff\xff\xff\xff")),
        ("a body before the header", b"\0\0\x02\0\x01\0\0\0\x01hi".to_vec()),
        ("an answer to nothing", b"\0\0\x01\x01\x05\0\0\0\x09\x88".to_vec()),
        ("a header without end", pieces(&long)),
    ] {
        let saying = || {
            let rubbish = rubbish.clone();
            upstream(move |mut wire, _| {
                wire.request().unwrap();
                wire.0.send(&rubbish);
                wire.0.end_sending();
                while wire.frame().is_some() {}
            })
        };
        let (one, other) = (saying(), saying());
        let gateway = through(&[&one, &other], "");
        for (request, counts) in [(GET, (1, 0)), (POST, (1, 1))] {
            assert_eq!(reason(&gateway.answer(request)), (502, "upstream.invalid".to_owned()), "{what}");
            assert_eq!((one.connections(), other.connections()), counts, "{what}");
        }
    }
}

/// A header in as many frames as it takes.
fn pieces(header: &[u8]) -> Vec<u8> {
    const CONTINUATION: u8 = 9;
    let mut frames = Vec::new();
    for (number, piece) in header.chunks(LONGEST).enumerate() {
        let kind = if number == 0 { HEADERS } else { CONTINUATION };
        let flags = if (number + 1) * LONGEST >= header.len() { END_HEADERS | END_STREAM } else { 0 };
        frames.extend([&(piece.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1], piece].concat());
    }
    frames
}

/// The client must be able to tell that the body is not whole.
#[test]
fn a_body_that_breaks_off_breaks_off_for_the_client() {
    for how in ["reset", "cancelled", "refused", "going away", "ended"] {
        let (half, halves) = mpsc::channel::<()>();
        let halves = std::sync::Mutex::new(halves);
        let upstream = upstream(move |mut wire, _| {
            let asked = wire.request().unwrap();
            wire.send(HEADERS, END_HEADERS, asked.stream, OK);
            wire.send(DATA, 0, asked.stream, b"half");
            halves.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            match how {
                "reset" => wire.reset(asked.stream, INTERNAL_ERROR),
                "cancelled" => wire.reset(asked.stream, CANCEL),
                "refused" => wire.reset(asked.stream, REFUSED_STREAM),
                "going away" => wire.go_away(0, INTERNAL_ERROR),
                _ => return,
            }
            while wire.frame().is_some() {}
        });
        let gateway = gateway(&upstream, "");
        let mut client = gateway.client();
        client.send(GET);
        let head = client.head().unwrap();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"), "{head}");
        assert_eq!((client.line(), client.exactly(6)), ("4".to_owned(), b"half\r\n".to_vec()));
        half.send(()).unwrap();
        assert_eq!(client.read_out(), b"", "{how}: it looks as if it were whole");
        assert_eq!(upstream.connections(), 1, "{how}");
    }
}

/// It answers before it has the body, and says that it wants no more of it (RFC 9113 section 8.1).
#[test]
fn an_answer_before_the_end_of_the_body_is_the_answer() {
    let upstream = upstream(|mut wire, _| {
        let Frame { stream, .. } = wire.awaits(HEADERS).unwrap();
        wire.send(HEADERS, END_HEADERS, stream, FORBIDDEN);
        wire.send(DATA, END_STREAM, stream, b"no");
        wire.reset(stream, NO_ERROR);
        while wire.frame().is_some() {}
    });
    let gateway = gateway(&upstream, "");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun");
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.text()), (403, "no"));
    assert!(client.is_over());
}
