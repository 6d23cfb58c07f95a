//! What `-d` and `-H` mean; as with curl.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::outcome::Failure;

/// The largest body: it is held in memory, so that it can be sent again.
const MAX_BODY: u64 = 1 << 30;

/// `Name: value`; `Name;` is a field without a value.
pub(crate) fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .or_else(|| text.strip_suffix(';').map(|name| (name, "")))
        .ok_or("not of the form 'Name: value'")?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| "no name of a field before the colon")?;
    let value = HeaderValue::try_from(value.trim()).map_err(|_| "control characters in the value")?;
    Ok((name, value))
}

/// The body, if there is data for one.
pub(crate) fn read(data: &[String], binary: &[String]) -> Result<Option<Bytes>, Failure> {
    let texts = data.iter().map(|piece| (piece, Files::WithoutLineEnds));
    let pieces = texts.chain(binary.iter().map(|piece| (piece, Files::AsTheyAre)));
    let mut body: Option<Vec<u8>> = None;
    for (piece, files) in pieces {
        let octets = match piece.strip_prefix('@') {
            Some(file) => read_file(file, files)?,
            None => piece.as_bytes().to_vec(),
        };
        match &mut body {
            None => body = Some(octets),
            Some(body) => {
                body.push(b'&');
                body.extend(octets);
            }
        }
    }
    Ok(body.map(Bytes::from))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    AsTheyAre,
    WithoutLineEnds,
}

fn read_file(file: &str, files: Files) -> Result<Vec<u8>, Failure> {
    let octets = if file == "-" {
        bounded(io::stdin().lock())
    } else {
        bounded(File::open(file).map_err(|why| Failure::usage(format!("{file}: {why}")))?)
    };
    let mut octets = octets.map_err(|why| Failure::failed(format!("{file}: {why}")))?;
    if files == Files::WithoutLineEnds {
        octets.retain(|octet| !matches!(octet, b'\r' | b'\n' | 0));
    }
    Ok(octets)
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    source.take(MAX_BODY + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_BODY {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 GiB"));
    }
    Ok(octets)
}
