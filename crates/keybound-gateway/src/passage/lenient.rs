//! Whether a server behind the gateway may take a path for that of another route than the gateway does: because it drops
//! parameters or empty segments, or decodes what RFC 3986 leaves encoded.
//!
//! There are many such servers, and one reading stands for them all: everything is decoded, then parameters are dropped, then
//! empty segments. Any other, which does some of these in some order, only loses less: to read what it has read gives the same
//! as to read the path itself. All of them read segment by segment, so that the prefix that the gateway chose covers the path
//! still. If one of them comes to a longer prefix, this reading does, too: no segment of a prefix vanishes in it, which
//! [`Prefix`](crate::config::Prefix) sees to, so that what is longer stays longer.

use std::borrow::Cow;

use keybound::request::RequestPath;

/// The prefixes of the routes, in their order, as the most lenient server reads them; that of `/` is empty.
#[derive(Debug)]
pub(crate) struct Lenient {
    prefixes: Box<[String]>,
    /// Whether a prefix is another when it is read so: then paths that hold nothing to drop or decode may be meant by it.
    differs: bool,
}

impl Lenient {
    pub(crate) fn of<'p>(prefixes: impl Iterator<Item = &'p str> + Clone) -> Self {
        let read: Box<[String]> = prefixes.clone().map(read).collect();
        let differs = prefixes.zip(&read).any(|(prefix, read)| prefix != "/" && prefix != read);
        Self { prefixes: read, differs }
    }

    /// Whether the most lenient server takes a path of the route at this position for that of another. Of routes that are
    /// one to it, each is its own.
    pub(crate) fn disputes(&self, number: usize, path: &RequestPath<'_>) -> bool {
        if path.is_simple() && !self.differs {
            return false;
        }
        let path = if path.is_simple() { Cow::Borrowed(path.as_str()) } else { read(path.as_str()).into() };
        let own = self.prefixes.get(number).map_or(0, String::len);
        self.prefixes.iter().any(|prefix| prefix.len() > own && covers(prefix, &path))
    }
}

fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path in normal form, as the most lenient server reads it.
fn read(path: &str) -> String {
    let decoded = decode(path);
    let bare = |segment: &'_ str| segment.find(';').unwrap_or(segment.len());
    let mut read = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        let segment = &segment[..bare(segment)];
        if !segment.is_empty() {
            read.push('/');
            read.push_str(segment);
        }
    }
    read
}

/// Whatever may stand in a path as it is stands so. The normal form has left only reserved characters of these.
fn decode(path: &str) -> Cow<'_, str> {
    let mut pieces = path.split('%');
    let mut decoded = Cow::Borrowed(pieces.next().unwrap_or_default());
    for piece in pieces {
        let text = decoded.to_mut();
        match piece.split_at_checked(2).and_then(|(escape, rest)| Some((reserved(escape)?, rest))) {
            Some((character, rest)) => {
                text.push(character);
                text.push_str(rest);
            }
            None => {
                text.push('%');
                text.push_str(piece);
            }
        }
    }
    decoded
}

/// A sub-delimiter, colon or at sign, of its escape.
fn reserved(escape: &str) -> Option<char> {
    let character = char::from(u8::from_str_radix(escape, 16).ok()?);
    "!$&'()*+,;=:@".contains(character).then_some(character)
}

#[cfg(test)]
mod tests;
