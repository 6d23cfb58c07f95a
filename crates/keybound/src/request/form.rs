//! Forms: whether a body is one, and whether there is an access token in it (RFC 6750 section 2.2), whole or in pieces.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

const FORM: &[u8] = b"application/x-www-form-urlencoded";
const NAME: &[u8] = b"access_token";
const WHOLE: usize = NAME.len();

/// Whether `Content-Type` says that the body is a form, in any letter case and with any parameters. Of two fields, or of two
/// types in one, either is enough: nobody knows which of them the next program goes by.
///
/// ```
/// use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
/// use keybound::request::announces_form;
///
/// let form = HeaderValue::from_static("Application/X-WWW-Form-Urlencoded; charset=utf-8");
/// assert!(announces_form(&HeaderMap::from_iter([(CONTENT_TYPE, form)])));
/// ```
pub fn announces_form(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(CONTENT_TYPE).iter();
    fields.flat_map(|field| field.as_bytes().split(|octet| *octet == b',')).any(|media_type| {
        let essence = media_type.split(|octet| *octet == b';').next().unwrap_or_default();
        super::credentials::trim(essence).eq_ignore_ascii_case(FORM)
    })
}

/// Whether `application/x-www-form-urlencoded` text, a body or a query, has a parameter `access_token`, however its name
/// is percent-encoded (RFC 6750 sections 2.2 and 2.3).
///
/// ```
/// use keybound::request::form_holds_token;
///
/// assert!(form_holds_token(b"a=1&access%5Ftoken=x"));
/// assert!(!form_holds_token(b"access_tokens=x&b=access_token"));
/// ```
pub fn form_holds_token(form: &[u8]) -> bool {
    let mut scan = FormScan::new();
    scan.read(form) || scan.end()
}

/// Looks for a parameter `access_token` in a form that comes in pieces, however they are cut, and keeps a few octets of
/// state however long the form is.
///
/// ```
/// use keybound::request::FormScan;
///
/// let mut scan = FormScan::new();
/// assert!(!scan.read(b"a=1&access%5"));
/// assert!(scan.read(b"Ftoken=secret"));
/// ```
#[derive(Clone, Debug)]
pub struct FormScan(State);

#[derive(Clone, Copy, Debug)]
enum State {
    /// Inside a name that is the beginning of ours, this many octets long, and perhaps inside an escape.
    Name(usize, Escape),
    /// Inside a name that is not ours, or a value.
    Other,
    Found,
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    Percent,
    High(u8),
}

const START: State = State::Name(0, Escape::None);

impl FormScan {
    /// At the beginning of a form.
    pub const fn new() -> Self {
        Self(START)
    }

    /// Reads on; whether the parameter has come by now. Its name must have come whole, with what ends it.
    pub fn read(&mut self, mut piece: &[u8]) -> bool {
        loop {
            if matches!(self.0, State::Other) {
                // Values are long: to the next parameter in one go.
                let Some(end) = piece.iter().position(|octet| *octet == b'&') else { return false };
                piece = piece.get(end..).unwrap_or_default();
            }
            let [octet, rest @ ..] = piece else { break };
            self.0 = self.0.after(*octet);
            piece = rest;
        }
        matches!(self.0, State::Found)
    }

    /// The form is over; whether the parameter was in it, perhaps as its last name and without a value.
    pub const fn end(&self) -> bool {
        matches!(self.0, State::Found | State::Name(WHOLE, Escape::None))
    }
}

impl Default for FormScan {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn after(self, octet: u8) -> Self {
        match (self, octet) {
            (Self::Found | Self::Name(WHOLE, Escape::None), b'&') | (Self::Found, _) => Self::Found,
            (Self::Name(WHOLE, Escape::None), b'=') => Self::Found,
            (_, b'&') => START,
            (Self::Other, _) | (Self::Name(..), b'=') => Self::Other,
            (Self::Name(length, Escape::None), b'%') => Self::Name(length, Escape::Percent),
            (Self::Name(length, Escape::None), _) => Self::named(length, octet),
            (Self::Name(length, Escape::Percent), high) => Self::Name(length, Escape::High(high)),
            (Self::Name(length, Escape::High(high)), low) => {
                super::uri::octet(high, low).map_or(Self::Other, |decoded| Self::named(length, decoded))
            }
        }
    }

    /// One octet more of a name.
    fn named(length: usize, octet: u8) -> Self {
        match NAME.get(length) {
            Some(expected) if *expected == octet => Self::Name(length.saturating_add(1), Escape::None),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    // R-RS-10, R-RS-11
    #[test]
    fn a_token_is_found_however_it_is_written_and_cut() {
        for (form, expected) in [
            ("access_token=x", true),
            ("a=1&access_token=x&b", true),
            ("access_token", true),
            ("access_token&a", true),
            ("a&&access_token=", true),
            ("%61ccess%5Ftoke%6E=x", true),
            ("access%5ftoken=x", true),
            ("", false),
            ("a=access_token", false),
            ("access_tokens=x", false),
            ("xaccess_token=x", false),
            ("Access_Token=x", false),
            ("access+token=x", false),
            ("access%5Ftoken%3Dx", false),
            ("access%5token=x", false),
            ("access%zztoken=x&a", false),
            ("access_token%", false),
            ("access_token%=x", false),
            ("a%26access_token=x", false),
            ("access%&access_token=x", true),
            ("access%5&access_token=x", true),
        ] {
            assert_eq!(form_holds_token(form.as_bytes()), expected, "{form}");
            for cut in 0..=form.len() {
                let mut scan = FormScan::new();
                let found = scan.read(&form.as_bytes()[..cut]);
                assert_eq!(found | scan.read(&form.as_bytes()[cut..]) | scan.end(), expected, "{form} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_says_it_is_a_form() {
        for (fields, expected) in [
            (&["application/x-www-form-urlencoded"][..], true),
            (&["Application/X-WWW-Form-URLEncoded ; charset=utf-8"], true),
            (&["application/json", "application/x-www-form-urlencoded"], true),
            (&["application/json, application/x-www-form-urlencoded;a=b"], true),
            (&["application/json"], false),
            (&["application/x-www-form-urlencoded2"], false),
            (&["multipart/form-data; boundary=application/x-www-form-urlencoded"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(field));
            }
            assert_eq!(announces_form(&headers), expected, "{fields:?}");
        }
    }
}
