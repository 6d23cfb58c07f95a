//! Bodies of HTTP/1.1 taken apart (RFC 9112 sections 6 and 7).

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use httparse::Status;

use super::Broken;
use super::head::{Length, MOST_FIELDS};

/// A line before a chunk, and all trailers, are no longer than this.
const MOST_LINE: usize = 16 << 10;

/// Where we are in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    /// So many octets are to come.
    Octets(u64),
    /// Before the line that says how long a chunk is.
    Line,
    /// So many octets of a chunk are to come.
    Chunk(u64),
    /// Behind its last octet.
    ChunkEnd,
    Trailers,
    /// Until the connection ends.
    Close,
    Done,
}

/// What was taken.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Nothing: it is over.
    End,
    /// Nothing: there is too little.
    More,
}

impl From<Length> for Decoder {
    fn from(length: Length) -> Self {
        match length {
            Length::Octets(0) => Self::Done,
            Length::Octets(length) => Self::Octets(length),
            Length::Chunked => Self::Line,
            Length::Close => Self::Close,
        }
    }
}

impl Decoder {
    /// Takes the next that there is in `octets`.
    pub(super) fn take(&mut self, octets: &mut Bytes) -> Result<Taken, Broken> {
        loop {
            match self {
                Self::Done => return Ok(Taken::End),
                _ if octets.is_empty() => return Ok(Taken::More),
                Self::Close => return Ok(Taken::Data(core::mem::take(octets))),
                Self::Octets(left) => {
                    let data = up_to(octets, left);
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    return Ok(Taken::Data(data));
                }
                Self::Chunk(left) => {
                    let data = up_to(octets, left);
                    if *left == 0 {
                        *self = Self::ChunkEnd;
                    }
                    return Ok(Taken::Data(data));
                }
                Self::ChunkEnd => match octets.get(..2) {
                    Some(b"\r\n") => {
                        octets.advance(2);
                        *self = Self::Line;
                    }
                    None if octets.starts_with(b"\r") => return Ok(Taken::More),
                    _ => return Err(Broken::Malformed),
                },
                Self::Line => match httparse::parse_chunk_size(octets).map_err(|_| Broken::Malformed)? {
                    Status::Partial => return more(octets),
                    Status::Complete((length, chunk)) => {
                        // The library takes no digits for zero, and any octet in an extension.
                        let line = octets.split_to(length);
                        if !line[0].is_ascii_hexdigit() || memchr::memchr2(b'\r', b'\n', &line[..length - 2]).is_some()
                        {
                            return Err(Broken::Malformed);
                        }
                        *self = if chunk == 0 { Self::Trailers } else { Self::Chunk(chunk) };
                    }
                },
                Self::Trailers => return self.trailers(octets),
            }
        }
    }

    fn trailers(&mut self, octets: &mut Bytes) -> Result<Taken, Broken> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let (length, fields) = match httparse::parse_headers(octets, &mut fields)? {
            Status::Partial => return more(octets),
            Status::Complete(parsed) => parsed,
        };
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Broken::Malformed)?;
            trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| Broken::Malformed)?);
        }
        // The library takes a line feed alone for the end of a line.
        let lines = octets.split_to(length);
        if memchr::memchr_iter(b'\n', &lines).any(|end| !lines[..end].ends_with(b"\r")) {
            return Err(Broken::Malformed);
        }
        *self = Self::Done;
        Ok(if trailers.is_empty() { Taken::End } else { Taken::Trailers(trailers) })
    }

    /// How many octets are to come, if that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        match self {
            Self::Octets(left) => Some(*left),
            Self::Done => Some(0),
            _ => None,
        }
    }
}

fn up_to(octets: &mut Bytes, left: &mut u64) -> Bytes {
    let length = usize::try_from(*left).map_or(octets.len(), |left| left.min(octets.len()));
    *left -= length as u64;
    octets.split_to(length)
}

fn more(octets: &Bytes) -> Result<Taken, Broken> {
    if octets.len() < MOST_LINE { Ok(Taken::More) } else { Err(Broken::Malformed) }
}
