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
    let pieces = pieces.map(|(piece, files)| match piece.strip_prefix('@') {
        Some(file) => read_file(file, files),
        None => Ok(piece.as_bytes().to_vec()),
    });
    let pieces: Vec<Vec<u8>> = pieces.collect::<Result<_, _>>()?;
    Ok((!pieces.is_empty()).then(|| pieces.join(&b'&').into()))
}

/// `--data-urlencode`: `TEXT`, `=TEXT`, `NAME=TEXT`, `@FILE`, `NAME@FILE`; what stands for the text is encoded.
pub(super) fn encoded(piece: &str) -> Result<String, Failure> {
    let (name, text) = match piece.find(['=', '@']) {
        None => ("", piece.as_bytes().to_vec()),
        Some(at) => {
            let (name, rest) = piece.split_at(at);
            let text = match rest.strip_prefix('@') {
                Some(file) => read_file(file, Files::AsTheyAre)?,
                None => rest.as_bytes().get(1..).unwrap_or_default().to_vec(),
            };
            (name, text)
        }
    };
    let text: String = url::form_urlencoded::byte_serialize(&text).collect();
    Ok(if name.is_empty() { text } else { format!("{name}={text}") })
}

/// `--data-json`: JSON, which must be one value.
pub(super) fn json(piece: &str) -> Result<Bytes, Failure> {
    let octets = match piece.strip_prefix('@') {
        Some(file) => read_file(file, Files::AsTheyAre)?,
        None => piece.as_bytes().to_vec(),
    };
    match serde_json::from_slice::<serde::de::IgnoredAny>(&octets) {
        Ok(_) => Ok(octets.into()),
        Err(why) => Err(Failure::usage(format!("--data-json is no JSON: {why}"))),
    }
}

/// `-T`: a file as it is.
pub(super) fn whole(file: &str) -> Result<Bytes, Failure> {
    read_file(file, Files::AsTheyAre).map(Bytes::from)
}

/// `-F`: the body of a form with parts (RFC 7578) and its type. `NAME=TEXT`; `NAME=@FILE` sends a file with its name, `NAME=<FILE`
/// its content as text; both take `;type=` behind.
pub(super) fn form(parts: &[String], boundary: &str) -> Result<(Bytes, String), Failure> {
    let mut body = Vec::new();
    for part in parts {
        let (name, value) =
            part.split_once('=').ok_or_else(|| Failure::usage(format!("--form {part:?}: not NAME=VALUE")))?;
        body.extend(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"", quoted(name)).bytes());
        let (value, media) = match value.split_once(";type=") {
            Some((value, media)) if value.starts_with(['@', '<']) => (value, Some(media)),
            _ => (value, None),
        };
        let mut media = media.map(str::to_owned);
        let octets = if let Some(file) = value.strip_prefix('@') {
            let shown = std::path::Path::new(file).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            body.extend(format!("; filename=\"{}\"", quoted(&shown)).bytes());
            media = media.or_else(|| Some("application/octet-stream".to_owned()));
            read_file(file, Files::AsTheyAre)?
        } else if let Some(file) = value.strip_prefix('<') {
            read_file(file, Files::AsTheyAre)?
        } else {
            value.as_bytes().to_vec()
        };
        if let Some(media) = media {
            let media = HeaderValue::try_from(media).map_err(|_| Failure::usage("control characters in the type"))?;
            body.extend_from_slice(b"\r\nContent-Type: ");
            body.extend_from_slice(media.as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend(octets);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    Ok((body.into(), format!("multipart/form-data; boundary={boundary}")))
}

/// As browsers write names (the HTML standard).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// `url` with a further query.
pub(super) fn with_query(url: &str, query: &str) -> String {
    if query.is_empty() {
        return url.to_owned();
    }
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{url}{joint}{query}{fragment}")
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
