//! Access tokens that are bound to a key, what tells them apart, and where they are kept between runs.

use std::fmt;
use std::io;
use std::time::Duration;

use data_encoding::HEXLOWER;
use http::HeaderValue;
use keybound::client::{Credentials, Secret};
use keybound::jwk::Thumbprint;
use keybound::time::UnixTime;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::access::Access;
use crate::client::now;
use crate::error::Error;

/// How long before its end a token is renewed; of a short life, a tenth.
const EARLY: Duration = Duration::from_secs(60);

/// Everything that shapes a token. Tokens are kept under this, so that none is taken for another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenId {
    issuer: Box<str>,
    client_id: Box<str>,
    scope: Option<Box<str>>,
    resources: Vec<Box<str>>,
    grant: &'static str,
    subject: Option<[u8; 32]>,
    jkt: Thumbprint,
}

impl TokenId {
    pub(crate) fn new(access: &Access, jkt: Thumbprint) -> Self {
        Self {
            issuer: access.issuer.clone(),
            client_id: access.client_id.clone(),
            scope: access.scope.clone(),
            resources: access.resources.clone(),
            grant: access.grant.kind(),
            subject: access.grant.subject(),
            jkt,
        }
    }

    /// The thumbprint of the key the token is bound to.
    pub const fn jkt(&self) -> &Thumbprint {
        &self.jkt
    }

    /// A name for files and maps: 64 hexadecimal digits of a digest over all of it.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(self.issuer.as_bytes());
        add(self.client_id.as_bytes());
        match &self.scope {
            Some(scope) => [b"scope", scope.as_bytes()].into_iter().for_each(&mut add),
            None => add(b"none"),
        }
        add(self.grant.as_bytes());
        add(self.subject.as_ref().map_or(&[], |subject| subject));
        add(self.jkt.as_bytes());
        self.resources.iter().for_each(|resource| add(resource.as_bytes()));
        HEXLOWER.encode(&digest.finalize())
    }
}

/// An access token that is bound to a key.
pub struct Token {
    text: Zeroizing<String>,
    credentials: Credentials,
    scope: Option<Box<str>>,
    obtained: UnixTime,
    expires: Option<UnixTime>,
    refresh: Option<Secret>,
    bound: bool,
}

impl Token {
    /// The token as the issuer gave it; nothing is known of its scope and its end.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedToken`] if it cannot be sent in `Authorization`.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = Zeroizing::new(text.into());
        let credentials = Credentials::new(&text)?;
        Ok(Self { credentials, text, scope: None, obtained: now(), expires: None, refresh: None, bound: true })
    }

    /// Obtained then, expiring then.
    #[must_use]
    pub const fn lives(mut self, obtained: UnixTime, expires: Option<UnixTime>) -> Self {
        self.obtained = obtained;
        self.expires = expires;
        self
    }

    /// Good for this scope.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// With the refresh token that came along.
    #[must_use]
    pub fn with_refresh(mut self, refresh: Secret) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// Bound to no key, so that it is sent as a bearer token: whoever gets hold of it can use it.
    #[must_use]
    pub const fn danger_unbound(mut self) -> Self {
        self.bound = false;
        self
    }

    /// The token itself.
    ///
    /// # Security
    ///
    /// It is of no use without the key, and still does not belong into logs.
    pub fn secret(&self) -> &str {
        &self.text
    }

    /// The scope it is good for, if the issuer said.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// When it was obtained.
    pub const fn obtained(&self) -> UnixTime {
        self.obtained
    }

    /// When it expires, if the issuer said.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// The refresh token that came along.
    pub const fn refresh(&self) -> Option<&Secret> {
        self.refresh.as_ref()
    }

    /// Whether it is bound to the key.
    pub const fn is_bound(&self) -> bool {
        self.bound
    }

    /// Whether it is time for a new one.
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| {
            let early = EARLY.min(expires.since(self.obtained) / 10);
            // A clock that went back makes it look younger than it is.
            now.plus(early) >= expires || now < self.obtained
        })
    }

    pub(crate) fn is_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    pub(crate) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// `Authorization` of a bearer token.
    pub(crate) fn bearer(&self) -> HeaderValue {
        let text = Zeroizing::new(["Bearer ", &self.text].concat());
        // `Credentials` has seen that it can stand in a field.
        let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("scope", &self.scope).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Keeps tokens between runs.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The token kept under `id`, whatever its age. What cannot be read is as good as absent: a new one is asked for.
    fn load(&self, id: &TokenId) -> Option<Token>;

    /// Claims the token kept under `id` for a renewal, so that of several programs one uses its refresh token: issuers take a
    /// second use for theft and end the session. `None` if another program has claimed it. It is free again when what comes back
    /// is dropped. A store that no two programs share need not do anything here.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being claimed.
    fn claim(&self, id: &TokenId) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let _ = id;
        Ok(Some(Box::new(())))
    }

    /// Keeps `token` in place of any that is there.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being written.
    fn save(&self, id: &TokenId, token: &Token) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::TokenExchange;

    // Whatever shapes a token keeps it apart from all others.
    #[test]
    fn no_token_is_taken_for_another() {
        let of = |issuer: &str, client: &str| Access::client_credentials(issuer, client);
        let exchanged = |subject: &str| {
            let exchange = TokenExchange::of_access_token(Secret::new(subject));
            TokenId::new(&Access::token_exchange("https://id.example", "c", exchange), Thumbprint::from_bytes([1; 32]))
        };
        let accesses = [
            of("https://id.example", "c"),
            of("https://id.example.org", "c"),
            of("https://id.example", "d"),
            of("https://id.example", "c").scope(""),
            of("https://id.example", "c").scope("read"),
            of("https://id.example", "c").scope("read write"),
            of("https://id.example", "c").resource("https://a.example"),
            of("https://id.example", "c").resource("https://b.example"),
            of("https://id.example", "c").resource("https://a.example").resource("https://b.example"),
            Access::refresh("https://id.example", "c", Secret::new("r")),
        ];
        let keys = [1, 2].map(|octet| Thumbprint::from_bytes([octet; 32]));
        let ids = accesses.iter().flat_map(|access| keys.map(|jkt| TokenId::new(access, jkt)));
        let ids: Vec<TokenId> = ids.chain(["s", "t"].map(exchanged)).collect();
        for (position, id) in ids.iter().enumerate() {
            for other in ids.iter().skip(position + 1) {
                assert_ne!(id, other);
                assert_ne!(id.digest(), other.digest(), "{id:?} {other:?}");
            }
        }
    }

    #[test]
    fn renewal_comes_early() {
        let time = |seconds: u64| UnixTime::from_secs(1_000_000 + seconds);
        let token = |life| Token::new("t").unwrap().lives(time(0), Some(time(life)));
        for (life, at, due) in [
            (3600, 3539, false),
            (3600, 3540, true),
            (300, 269, false),
            (300, 270, true), // of a short life, a tenth
            (0, 0, true),
        ] {
            assert_eq!(token(life).is_due(time(at)), due, "{life} {at}");
        }
        assert!(token(300).is_due(UnixTime::from_secs(999_999)), "by a clock that went back");
        assert!(!Token::new("t").unwrap().is_due(time(1 << 30)), "nothing is known of its end");
    }
}
