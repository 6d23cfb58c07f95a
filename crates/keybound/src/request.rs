//! What a proof speaks about.

use core::fmt;

/// The target URI of a request in normal form, without query and fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetUri {
    text: Box<str>,
    origin: usize,
}

/// Not an absolute http or https URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UriError;

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an absolute http or https URI")
    }
}

impl core::error::Error for UriError {}

impl TargetUri {
    /// Reads an absolute http or https URI.
    ///
    /// # Errors
    ///
    /// [`UriError`].
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        let uri: http::Uri = uri
            .split(['?', '#'])
            .next()
            .unwrap_or_default()
            .parse()
            .map_err(|_| UriError)?;
        let scheme = uri.scheme_str().map(str::to_ascii_lowercase).ok_or(UriError)?;
        let host = uri.host().map(str::to_ascii_lowercase).ok_or(UriError)?;
        let default = match &*scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(UriError),
        };
        let port = uri
            .port_u16()
            .filter(|port| *port != default)
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let origin = format!("{scheme}://{host}{port}");
        Ok(Self {
            text: format!("{origin}{}", uri.path()).into(),
            origin: origin.len(),
        })
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        self.text.get(..self.origin).unwrap_or_default()
    }
}
