//! Bodies of HTTP/1.1 taken apart (RFC 9112 sections 6 and 7).

use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use httparse::Status;

use super::Broken;
use super::head::{Length, MOST_FIELDS};

/// What is said beside the chunks of one body, and all of its trailers, are no longer than this: a piece of a body holds on to
/// the octets that it was read with.
const MOST_LINE: usize = 16 << 10;

/// Takes one body apart.
#[derive(Debug)]
pub(super) struct Decoder {
    stage: Stage,
    /// How many octets of extensions there were.
    extensions: usize,
}

/// Where we are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
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
        let stage = match length {
            Length::Octets(0) => Stage::Done,
            Length::Octets(length) => Stage::Octets(length),
            Length::Chunked => Stage::Line,
            Length::Close => Stage::Close,
        };
        Self { stage, extensions: 0 }
    }
}

impl Decoder {
    /// Takes the next that there is in `octets`.
    pub(super) fn take(&mut self, octets: &mut Bytes) -> Result<Taken, Broken> {
        loop {
            match &mut self.stage {
                Stage::Done => return Ok(Taken::End),
                _ if octets.is_empty() => return Ok(Taken::More),
                Stage::Close => return Ok(Taken::Data(core::mem::take(octets))),
                Stage::Octets(left) => {
                    let data = up_to(octets, left);
                    if *left == 0 {
                        self.stage = Stage::Done;
                    }
                    return Ok(Taken::Data(data));
                }
                Stage::Chunk(left) => {
                    let data = up_to(octets, left);
                    if *left == 0 {
                        self.stage = Stage::ChunkEnd;
                    }
                    return Ok(Taken::Data(data));
                }
                Stage::ChunkEnd => match octets.get(..2) {
                    Some(b"\r\n") => {
                        octets.advance(2);
                        self.stage = Stage::Line;
                    }
                    None if octets.starts_with(b"\r") => return Ok(Taken::More),
                    _ => return Err(Broken::Malformed),
                },
                Stage::Line => match httparse::parse_chunk_size(octets).map_err(|_| Broken::Malformed)? {
                    Status::Partial => return more(octets),
                    Status::Complete((length, chunk)) => {
                        self.line(&octets.split_to(length))?;
                        self.stage = if chunk == 0 { Stage::Trailers } else { Stage::Chunk(chunk) };
                    }
                },
                Stage::Trailers => return self.trailers(octets),
            }
        }
    }

    /// Looks at the line before a chunk for what the library lets through: no digits for zero, any octet in an extension, and
    /// any number of those.
    fn line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let line = line.strip_suffix(b"\r\n").ok_or(Broken::Malformed)?;
        let digits = line.iter().take_while(|octet| octet.is_ascii_hexdigit()).count();
        self.extensions += line.len() - digits;
        if digits == 0 || memchr::memchr2(b'\r', b'\n', line).is_some() || self.extensions > MOST_LINE {
            return Err(Broken::Malformed);
        }
        Ok(())
    }

    fn trailers(&mut self, octets: &mut Bytes) -> Result<Taken, Broken> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let (length, fields) = match httparse::parse_headers(octets, &mut fields)? {
            Status::Partial => return more(octets),
            Status::Complete((length, _)) if length > MOST_LINE => return Err(Broken::Malformed),
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
        self.stage = Stage::Done;
        Ok(if trailers.is_empty() { Taken::End } else { Taken::Trailers(trailers) })
    }

    /// How many octets are to come, if that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        match self.stage {
            Stage::Octets(left) => Some(left),
            Stage::Done => Some(0),
            _ => None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The connection has ended; whether that is how this body ends.
    pub(super) fn ends_so(&mut self) -> bool {
        let ends = self.stage == Stage::Close;
        if ends {
            self.stage = Stage::Done;
        }
        ends
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
