//! The secret of the admin listener: compared in constant time, shown to nobody.

use core::fmt;
use std::path::Path;

use subtle::ConstantTimeEq as _;

use crate::signing_key;

/// Fewer characters could be guessed.
const SHORTEST: usize = 16;

/// A secret on one line; a longer file is something else.
const LONGEST: usize = 4096;

/// What `Authorization: Bearer` at the admin listener must hold.
#[derive(Clone)]
pub struct AdminSecret(Box<str>);

impl AdminSecret {
    /// One of 16 to 4096 characters that a header field can carry.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.len() {
            ..SHORTEST => Err(format!("is shorter than {SHORTEST} characters, and could be guessed")),
            SHORTEST..=LONGEST if text.bytes().all(|octet| octet.is_ascii_graphic()) => Ok(Self(text.into())),
            SHORTEST..=LONGEST => Err("has a character that is not visible ASCII".to_owned()),
            _ => Err(format!("is longer than {LONGEST} characters")),
        }
    }

    /// The one line of a file that nobody else may read.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let octets = signing_key::read(path).map_err(|error| format!("cannot be read: {error}"))?;
        let text = core::str::from_utf8(&octets).map_err(|_| "is not text".to_owned())?;
        Self::parse(text.trim_end_matches(['\r', '\n'])).map_err(|fault| format!("what is in it {fault}"))
    }

    /// The same for the administration of an issuer.
    pub(crate) fn for_issuer(&self) -> Option<keybound_issuer::Secret> {
        keybound_issuer::Secret::new(self.0.to_string()).ok()
    }

    /// Whether this is it, in a time that says nothing about how much of it is right.
    pub(crate) fn is(&self, said: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(said).into()
    }
}

impl fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_file_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt as _;

        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
        let read_as = |mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            AdminSecret::read(file.path())
        };
        for mode in [0o600, 0o400] {
            assert!(read_as(mode).is_ok_and(|secret| secret.is(b"0123456789abcdef")), "{mode:o}");
        }
        for mode in [0o644, 0o640, 0o604] {
            let error = read_as(mode).unwrap_err();
            assert!(error.contains("others may read it") && error.contains("chmod 600"), "{mode:o}: {error}");
        }
    }

    #[test]
    fn one_line_that_a_field_can_carry() {
        let secret = AdminSecret::parse("0123456789abcdef").unwrap();
        assert!(secret.is(b"0123456789abcdef"));
        for other in ["", "0123456789abcdeF", "0123456789abcdef0", "123456789abcdef"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "AdminSecret");
        for wrong in ["0123456789abcde", "0123456789 abcdef", "0123456789abcdef\u{e9}"] {
            assert!(AdminSecret::parse(wrong).is_err(), "{wrong}");
        }
        assert!(AdminSecret::parse(&"x".repeat(LONGEST + 1)).is_err());
    }
}
