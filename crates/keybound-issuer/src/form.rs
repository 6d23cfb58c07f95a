//! `application/x-www-form-urlencoded`, strictly: what does not decode is refused instead of repaired, nothing comes twice,
//! and what was decoded is wiped.

use keybound::refusal::{Reason, Refusal};
use zeroize::Zeroizing;

/// The most parameters that are read; a token request has about ten.
const MAX_PARAMETERS: usize = 64;

/// The parameters that may come more than once (RFC 8707 section 2, RFC 8693 section 2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];

/// The parameters of a token request. Empty ones are as if they were not there (RFC 6749 section 3.2).
pub(crate) struct Form {
    parameters: Vec<(Zeroizing<String>, Zeroizing<String>)>,
}

impl Form {
    /// Reads a body.
    ///
    /// [`Reason::RequestMalformed`] for bad percent-encoding, octets that are not UTF-8, a parameter twice, too many.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut parameters: Vec<(Zeroizing<String>, Zeroizing<String>)> = Vec::new();
        for pair in body.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty()) {
            let mut halves = pair.splitn(2, |octet| *octet == b'=');
            let mut half = || decode(halves.next().unwrap_or_default()).ok_or_else(|| refused("bad form encoding"));
            let (name, value) = (half()?, half()?);
            if parameters.len() == MAX_PARAMETERS {
                return Err(refused("too many parameters"));
            }
            if !REPEATABLE.contains(&name.as_str()) && parameters.iter().any(|(known, _)| *known == name) {
                return Err(refused("a parameter came twice"));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// The value of a parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Parameters that came in another form, each once.
    pub(crate) fn of(parameters: impl IntoIterator<Item = (String, String)>) -> Self {
        let wiped = |(name, value)| (Zeroizing::new(name), Zeroizing::new(value));
        Self { parameters: parameters.into_iter().map(wiped).collect() }
    }

    /// What the parameters are called.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a parameter, be it empty.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may come more than once.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .filter(move |(known, value)| known.as_str() == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Decodes one name or value: `+` is a space, `%` is followed by two hexadecimal digits, the whole is UTF-8.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<String>> {
    // As long as the text: it never grows, so no copy stays behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    loop {
        rest = match rest {
            [] => break,
            [b'+', tail @ ..] => {
                octets.push(b' ');
                tail
            }
            [b'%', high, low, tail @ ..] => {
                octets.push(hex(*high)? << 4 | hex(*low)?);
                tail
            }
            [b'%', ..] => return None,
            [octet, tail @ ..] => {
                octets.push(*octet);
                tail
            }
        };
    }
    String::from_utf8(std::mem::take(&mut *octets)).ok().map(Zeroizing::new)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::with_detail(Reason::RequestMalformed, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_strictly() {
        for (text, expected) in [
            ("", Some("")),
            ("a+b%20c", Some("a b c")),
            ("%41%2b%C3%A9", Some("A+é")),
            ("%4", None),
            ("%", None),
            ("%zz", None),
            ("%ff", None),
            ("%C3", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_ref().map(|text| text.as_str()), expected, "{text}");
        }
        assert!(decode(b"\xff").is_none());
    }

    // RFC 6749 section 3.2: without a value is absent, twice is refused however it is spelled.
    #[test]
    fn each_parameter_once() {
        let form = Form::parse(b"a=1&&b=&c&resource=x&resource=y&d=a=b").unwrap();
        assert_eq!(form.get("a"), Some("1"));
        assert_eq!((form.get("b"), form.get("c"), form.get("e")), (None, None, None));
        assert_eq!(form.get("d"), Some("a=b"));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["x", "y"]);
        for body in ["a=1&a=1", "a=1&%61=2", "a=&a=1", "a=%", &"a=1&".repeat(2), &many()] {
            let refused = Form::parse(body.as_bytes()).err().map(|refusal| refusal.reason());
            assert_eq!(refused, Some(Reason::RequestMalformed), "{body}");
        }
    }

    fn many() -> String {
        (0..=MAX_PARAMETERS).map(|number| format!("p{number}=1&")).collect()
    }
}
