//! Looks at the octets of a request's header for what the HTTP library does not tell: how many fields it has, and whether
//! `Content-Length` came together with `Transfer-Encoding`. The library obeys the encoding, drops the length, and closes the connection after its answer, so
//! that nothing behind such a request is ever read as another (RFC 9112 section 6.1). Here it is seen, so that it is refused.

/// What the header said of the length of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The header was not seen whole: some of it came in one read with what was before it.
    #[default]
    Unseen,
    /// At most one of the two fields.
    Plain,
    /// Both.
    Both,
}

const LENGTH: &[u8] = b"content-length:";
const ENCODING: &[u8] = b"transfer-encoding:";

/// One header under examination, however it is cut into reads.
#[derive(Debug, Default)]
pub(crate) struct Head {
    start: [u8; ENCODING.len()],
    filled: usize,
    lines: usize,
    length: bool,
    lengths: bool,
    encoding: bool,
    whole: bool,
}

impl Head {
    /// Takes the next octets; those after the end of the header are not looked at.
    pub(crate) fn read(&mut self, mut octets: &[u8]) {
        while !self.whole {
            let Some(end) = memchr::memchr(b'\n', octets) else {
                self.begin_line(octets);
                return;
            };
            let (line, rest) = octets.split_at(end);
            self.begin_line(line);
            self.end_line();
            octets = &rest[1..];
        }
    }

    pub(crate) const fn framing(&self) -> Framing {
        match (self.whole, self.length && self.encoding) {
            (false, _) => Framing::Unseen,
            (true, false) => Framing::Plain,
            (true, true) => Framing::Both,
        }
    }

    /// Whether it has more fields than this, as far as it was seen.
    pub(crate) const fn is_crowded(&self, most_fields: usize) -> bool {
        // One of the lines is that of the request, and the empty one at the end does not count.
        self.lines > most_fields + 1
    }

    /// Whether it tells the length of the body in more than one way, as far as it was seen.
    pub(crate) const fn is_ambiguous(&self) -> bool {
        self.lengths || (self.length && self.encoding)
    }

    /// Only as much of a line is kept as tells its name.
    fn begin_line(&mut self, octets: &[u8]) {
        let free = &mut self.start[self.filled..];
        let taken = free.len().min(octets.len());
        free[..taken].copy_from_slice(&octets[..taken]);
        self.filled += taken;
    }

    fn end_line(&mut self) {
        let line = &self.start[..self.filled];
        self.filled = 0;
        if matches!(line, b"" | b"\r") {
            // Empty lines before the request line are passed over, here as in the library.
            self.whole = self.lines > 0;
        } else {
            let is = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
            self.lengths |= self.length && is(LENGTH);
            self.length |= is(LENGTH);
            self.encoding |= is(ENCODING);
            self.lines += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: [(&str, Framing); 8] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Plain),
        ("GET / HTTP/1.1\r\nHost: a\r\n", Framing::Unseen),
        ("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\ntransfer-encoding: chunked\r\n\r\n", Framing::Plain),
        ("POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Both),
        (
            "\r\n\r\nPOST / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\nHost: a\r\ncontent-length: 4\r\n\r\n",
            Framing::Both,
        ),
        ("POST / HTTP/1.1\nContent-Length: 4\nTransfer-Encoding: chunked\n\n", Framing::Both),
        ("POST / HTTP/1.1\r\nX-Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Plain),
        ("POST / HTTP/1.1\r\nX: content-length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::Plain),
    ];

    #[test]
    fn tells_what_the_library_does_not() {
        let head = |text: &str| {
            let mut head = Head::default();
            head.read(text.as_bytes());
            head
        };
        assert!(!head("\r\nGET / HTTP/1.1\r\nA: a\r\nB: b\r\n\r\nno: field\r\n").is_crowded(2));
        assert!(head("GET / HTTP/1.1\r\nA: a\r\nB: b\r\nC: c\r\n").is_crowded(2));
        assert!(head("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").is_ambiguous());
        assert!(!head("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nContent-Length: 2\r\n").is_ambiguous());
    }

    #[test]
    fn sees_both_fields_however_the_header_is_cut() {
        for (text, expected) in CASES {
            for cut in 0..=text.len() {
                let mut head = Head::default();
                head.read(&text.as_bytes()[..cut]);
                head.read(&text.as_bytes()[cut..]);
                assert_eq!(head.framing(), expected, "{text:?} cut at {cut}");
            }
            let mut head = Head::default();
            text.bytes().for_each(|octet| head.read(&[octet]));
            assert_eq!(head.framing(), expected, "{text:?} octet by octet");
        }
    }
}
