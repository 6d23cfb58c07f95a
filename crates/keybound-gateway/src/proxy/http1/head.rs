//! Headers of HTTP/1.1, as they are on the wire (RFC 9112 sections 2 to 6): a request's is written, a response's is read, and
//! with it how its body is framed.

use core::mem::MaybeUninit;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body as _;
use httparse::Status;
use hyper::ext::ReasonPhrase;

use super::Broken;
use super::sender::Framing;
use crate::body::RequestBody;

/// More fields than this are no header.
pub(super) const MOST_FIELDS: usize = 100;

/// What a response's framing depends on in the request, and how long its header may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) head: bool,
    pub(super) most: usize,
}

impl Asked {
    pub(super) fn by(request: &Parts, most: usize) -> Self {
        Self { head: request.method == Method::HEAD, most }
    }
}

/// The header of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) length: Length,
    /// Whether the connection is meant to last.
    pub(super) lasts: bool,
}

/// How a body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Octets(u64),
    Chunked,
    /// With the connection.
    Close,
}

/// What some octets begin with.
pub(super) enum Read {
    /// The beginning of a header.
    Part,
    /// A response before the response, and how long it is.
    Interim(usize),
    /// A header, and what came behind it.
    Whole(Head, Bytes),
}

/// The beginning of a response.
#[derive(Default)]
pub(super) struct Begun {
    /// What is there of its header.
    partial: BytesMut,
    /// How long the responses before it were, which count as a part of it.
    interim: usize,
}

impl Begun {
    /// Takes what was read next: the header, once that has come whole, and what came behind it.
    pub(super) fn take(&mut self, new: &[u8], asked: Asked) -> Result<Option<(Head, Bytes)>, Broken> {
        let Self { partial, interim } = self;
        if !partial.is_empty() {
            partial.extend_from_slice(new);
            // A header ends with a line: there is nothing new to be found before one does.
            if !new.contains(&b'\n') && partial.len() < asked.most {
                return Ok(None);
            }
        }
        let octets = if partial.is_empty() { new } else { &partial[..] };
        let mut before = 0;
        while let Some(rest) = octets.get(before..).filter(|rest| !rest.is_empty()) {
            match read(rest, asked)? {
                Read::Whole(head, rest) => return Ok(Some((head, rest))),
                Read::Interim(length) => before += length,
                Read::Part => break,
            }
        }
        *interim += before;
        if *interim > asked.most {
            return Err(Broken::Malformed);
        }
        if partial.is_empty() {
            partial.extend_from_slice(&new[before..]);
        } else {
            partial.advance(before);
        }
        Ok(None)
    }
}

/// Says in the header of a request how its body is framed. What the client said of it is gone, but for a length.
pub(super) fn frame(head: &mut Parts, body: &RequestBody) -> Framing {
    if body.is_end_stream() {
        return Framing::Length(0);
    }
    if let Some(length) = head.headers.get(CONTENT_LENGTH).and_then(digits) {
        return Framing::Length(length);
    }
    match body.size_hint().exact() {
        Some(length) => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            Framing::Length(length)
        }
        None => {
            head.headers.remove(CONTENT_LENGTH);
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            let names = head.headers.get_all(TRAILER).iter().filter_map(|names| names.to_str().ok());
            let names = names.flat_map(|names| names.split(','));
            Framing::Chunked(names.filter_map(|name| HeaderName::try_from(name.trim()).ok()).collect())
        }
    }
}

/// Writes the header of a request behind what is in `out`.
pub(super) fn write(out: &mut Vec<u8>, head: &Parts) {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    write_fields(out, &head.headers);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_fields(out: &mut impl BufMut, fields: &HeaderMap) {
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.put_slice(part);
        }
    }
}

/// Reads the header of a response, which is all there is or the beginning of it.
pub(super) fn read(octets: &[u8], asked: Asked) -> Result<Read, Broken> {
    let mut fields = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, octets, &mut fields)?;
    let length = match status {
        Status::Partial if octets.len() < asked.most => return Ok(Read::Part),
        Status::Complete(length) if length <= asked.most => length,
        Status::Partial | Status::Complete(_) => return Err(Broken::Malformed),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Broken::Malformed)?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Read::Interim(length));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason()) {
        let reason = ReasonPhrase::try_from(reason.as_bytes()).map_err(|_| Broken::Malformed)?;
        response.extensions_mut().insert(reason);
    }
    // The fields are slices of one copy; the octets are in a place that is read into again.
    let shared = Bytes::copy_from_slice(octets);
    let fields = response.headers_mut();
    fields.reserve(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Broken::Malformed)?;
        let value = HeaderValue::from_maybe_shared(same(&shared, octets, field.value));
        fields.append(name, value.map_err(|_| Broken::Malformed)?);
    }
    let newer = parsed.version == Some(1);
    // With both, somebody else may have read another body.
    let ambiguous = fields.contains_key(TRANSFER_ENCODING) && fields.contains_key(CONTENT_LENGTH);
    let lasts = lasts(fields, newer) && !ambiguous;
    let framing = framed(fields, status, newer, asked)?;
    Ok(Read::Whole(Head { response, length: framing, lasts }, shared.slice(length..)))
}

/// The slice of the copy that `part` is of the original.
fn same(copy: &Bytes, original: &[u8], part: &[u8]) -> Bytes {
    let start = part.as_ptr() as usize - original.as_ptr() as usize;
    copy.slice(start..start + part.len())
}

/// RFC 9112 section 9.3.
fn lasts(fields: &HeaderMap, newer: bool) -> bool {
    let mut lasts = newer;
    for options in fields.get_all(CONNECTION) {
        for option in options.as_bytes().split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            lasts |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    lasts
}

/// RFC 9112 section 6.3, and what is in doubt there is refused: an encoding other than `chunked` was never asked for, and two
/// lengths are none.
fn framed(fields: &mut HeaderMap, status: StatusCode, newer: bool, asked: Asked) -> Result<Length, Broken> {
    let bodiless = asked.head || matches!(status.as_u16(), 101 | 204 | 304);
    let mut encodings = fields.get_all(TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next() {
        let alone = encodings.next().is_none() && encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        return match (newer && alone, bodiless) {
            (false, _) => Err(Broken::Malformed),
            (true, true) => Ok(Length::Octets(0)),
            (true, false) => Ok(Length::Chunked),
        };
    }
    let length = said_length(fields)?;
    Ok(if bodiless { Length::Octets(0) } else { length.map_or(Length::Close, Length::Octets) })
}

/// What `Content-Length` says, which it says once from then on.
fn said_length(fields: &mut HeaderMap) -> Result<Option<u64>, Broken> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let length = one_of_list(first).ok_or(Broken::Malformed)?;
    let mut several = digits(first).is_none();
    for other in lengths {
        several = true;
        if one_of_list(other) != Some(length) {
            return Err(Broken::Malformed);
        }
    }
    if several {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(Some(length))
}

/// The length that every member of a list is.
fn one_of_list(value: &HeaderValue) -> Option<u64> {
    let mut members = value.as_bytes().split(|octet| *octet == b',').map(|member| number(member.trim_ascii()));
    let first = members.next()??;
    members.all(|member| member == Some(first)).then_some(first)
}

fn digits(value: &HeaderValue) -> Option<u64> {
    number(value.as_bytes())
}

/// `u64::from_str` would take a sign.
fn number(digits: &[u8]) -> Option<u64> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| core::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}
