//! Where an issuer says its keys are: its metadata (RFC 8414, OpenID Connect Discovery 1.0).

use core::fmt;

use keybound::request::TargetUri;
use keybound::token::jwt::KeySetError;
use serde::Deserialize;

use crate::fetch::{Document, FetchError};

/// An issuer whose keys can be looked for.
#[derive(Clone, Debug)]
pub(crate) struct IssuerLocation {
    name: Box<str>,
    uri: TargetUri,
}

/// What is wrong with the name of an issuer that is to be discovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssuerError {
    /// Not an absolute https URI.
    Malformed,
    /// Plain http on a host that is not this machine.
    NotHttps,
    /// A query or fragment, which no issuer has (RFC 8414 section 2).
    Surplus,
}

impl fmt::Display for IssuerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an absolute https URI such as https://id.example.com",
            Self::NotHttps => "plain http is for loopback hosts only: an issuer is https",
            Self::Surplus => "an issuer has neither query nor fragment",
        })
    }
}

impl core::error::Error for IssuerError {}

/// Why keys could not be had, for the log.
#[derive(Debug)]
pub(crate) enum Trouble {
    Fetch(Box<str>, FetchError),
    /// The document at this location is no metadata with an issuer and a place of keys.
    Metadata(Box<str>),
    /// The metadata at this location is of another issuer (R-CLI-25).
    OtherIssuer(Box<str>),
    /// The place of the keys is neither https nor a loopback host of a loopback issuer.
    Place,
    Keys(KeySetError),
    TimedOut,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(location, error) => write!(f, "{location}: {error}"),
            Self::Metadata(location) => write!(f, "{location}: no metadata with issuer and jwks_uri"),
            Self::OtherIssuer(location) => write!(f, "{location}: the metadata of another issuer"),
            Self::Place => f.write_str("jwks_uri is not an https URI"),
            Self::Keys(error) => write!(f, "the keys served: {error}"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl IssuerLocation {
    pub(crate) fn parse(name: &str) -> Result<Self, IssuerError> {
        if name.contains(['?', '#']) {
            return Err(IssuerError::Surplus);
        }
        let uri = TargetUri::parse(name).map_err(|_| IssuerError::Malformed)?;
        if !uri.is_https() && !uri.is_loopback() {
            return Err(IssuerError::NotHttps);
        }
        Ok(Self { name: name.into(), uri })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the metadata may be: between host and path (RFC 8414 section 3.1), or behind the path as OpenID has it.
    pub(crate) fn metadata(&self) -> [Box<str>; 2] {
        let path = self.uri.path().trim_end_matches('/');
        let origin = self.uri.origin();
        [
            format!("{origin}/.well-known/oauth-authorization-server{path}").into(),
            format!("{origin}{path}/.well-known/openid-configuration").into(),
        ]
    }

    /// The place of the keys, from the metadata that was found at `location`.
    pub(crate) fn place_of_keys(&self, location: &str, document: &Document) -> Result<Box<str>, Trouble> {
        let metadata: Metadata =
            serde_json::from_slice(&document.body).map_err(|_| Trouble::Metadata(location.into()))?;
        if metadata.issuer != *self.name {
            return Err(Trouble::OtherIssuer(location.into()));
        }
        // The strict reading refuses whatever two parsers might take for two hosts.
        let place = TargetUri::parse(&metadata.jwks_uri).map_err(|_| Trouble::Place)?;
        let at_home = !self.uri.is_https() && place.is_loopback();
        if place.is_https() || at_home {
            Ok(metadata.jwks_uri.into())
        } else {
            Err(Trouble::Place)
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_metadata_is_looked_for() {
        for (issuer, rfc8414, openid) in [
            (
                "https://id.example.com",
                "https://id.example.com/.well-known/oauth-authorization-server",
                "https://id.example.com/.well-known/openid-configuration",
            ),
            (
                "https://id.example.com/",
                "https://id.example.com/.well-known/oauth-authorization-server",
                "https://id.example.com/.well-known/openid-configuration",
            ),
            (
                "https://id.example.com:8443/realms/a",
                "https://id.example.com:8443/.well-known/oauth-authorization-server/realms/a",
                "https://id.example.com:8443/realms/a/.well-known/openid-configuration",
            ),
        ] {
            let found = IssuerLocation::parse(issuer).unwrap().metadata();
            assert_eq!(found, [rfc8414.into(), openid.into()], "{issuer}");
        }
    }

    #[test]
    fn issuers_that_cannot_be_discovered() {
        for (issuer, error) in [
            ("http://id.example.com", IssuerError::NotHttps),
            ("id.example.com", IssuerError::Malformed),
            ("https://u@id.example.com", IssuerError::Malformed),
            ("https://id.example.com?x", IssuerError::Surplus),
            ("https://id.example.com#x", IssuerError::Surplus),
        ] {
            assert_eq!(IssuerLocation::parse(issuer).unwrap_err(), error, "{issuer}");
        }
        assert!(IssuerLocation::parse("http://127.0.0.1:8080").is_ok());
    }

    // R-CLI-25, R-SEC-16
    #[test]
    fn metadata_is_of_this_issuer_and_keys_are_behind_tls() {
        let public = IssuerLocation::parse("https://id.example.com").unwrap();
        let local = IssuerLocation::parse("http://localhost:9000").unwrap();
        let place = |issuer: &IssuerLocation, name: &str, keys: &str| {
            let text = format!(r#"{{"issuer":"{name}","jwks_uri":"{keys}","x":[1,{{}}]}}"#);
            issuer
                .place_of_keys("here", &Document::new(text.into_bytes()))
                .map_err(|trouble| trouble.to_string())
        };
        let keys = "https://keys.example.net/jwks?tenant=1";
        assert_eq!(place(&public, "https://id.example.com", keys), Ok(keys.into()));
        let other = Err("here: the metadata of another issuer".to_owned());
        assert_eq!(place(&public, "https://id.example.com/", keys), other);
        assert_eq!(place(&public, "https://ID.example.com", keys), other);
        let no_place = Err("jwks_uri is not an https URI".to_owned());
        for keys in [
            "http://id.example.com/jwks",
            "http://127.0.0.1/jwks",
            "/jwks",
            "file:///etc/passwd",
            "https://a.example\\\\@b.example/",
        ] {
            assert_eq!(place(&public, "https://id.example.com", keys), no_place, "{keys}");
        }
        let keys = "http://127.0.0.1:9001/jwks";
        assert_eq!(place(&local, "http://localhost:9000", keys), Ok(keys.into()));
        assert_eq!(
            place(&local, "http://localhost:9000", "http://id.example.com/jwks"),
            no_place
        );
        for text in ["", "[]", "{}", r#"{"issuer":"https://id.example.com"}"#, "<html>"] {
            let document = Document::new(text.into());
            assert!(
                matches!(public.place_of_keys("here", &document), Err(Trouble::Metadata(_))),
                "{text:?}"
            );
        }
    }
}
