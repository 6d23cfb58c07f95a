//! One entry: what happened, to whom, and why. Never a token, a proof, a code or a secret; marks to find them by.

use core::net::SocketAddr;

use data_encoding::HEXLOWER;
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::to_json;

/// What entries are logged as; a filter can name it.
const TARGET: &str = "keybound::audit";

/// So many octets of a token's digest: enough to find the lines of the same one, here and in the log of a gateway.
const DIGEST: usize = 6;

macro_rules! events {
    ($($variant:ident = $code:literal, $meaning:literal;)+) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Event {
            $(#[doc = concat!("`", $code, "`: ", $meaning, ".")] $variant,)+
        }

        impl Event {
            /// Every event, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its code, `subject.what`.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What happened, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }
        }
    };
}

events! {
    TokenIssued = "token.issued", "an access token left, and a refresh token with it perhaps";
    RequestRefused = "request.refused", "a request got an error; reason says which";
    RequestPushed = "request.pushed", "an authorization request was pushed";
    CodeIssued = "code.issued", "a user agreed, and a code went back to the client";
    DeviceBegun = "device.begun", "a device got its codes";
    DeviceApproved = "device.approved", "a user agreed, and the device may go on";
    DeviceDenied = "device.denied", "nobody agreed, and the device is told so";
    TokenRevoked = "token.revoked", "a client gave an access token back";
    GrantRevoked = "grant.revoked", "all that came of a grant is revoked";
    GrantReused = "grant.reused", "what is good once was used twice, so all that came of it is revoked";
    ClientRegistered = "client.registered", "a client registered, by itself or by an administrator";
    ClientChanged = "client.changed", "the registration of a client is another";
    ClientSecret = "client.secret", "a client got a new secret, and the old one is none any more";
    ClientDeleted = "client.deleted", "a client is none any more";
    UserAdded = "user.added", "there is a new user";
    UserChanged = "user.changed", "what is known of a user is something else";
    UserPassword = "user.password", "a user has another password, or none";
    UserDisabled = "user.disabled", "a user cannot sign in any more";
    UserEnabled = "user.enabled", "a user can sign in again";
    UserDeleted = "user.deleted", "a user is none any more";
    UserSignedIn = "user.signed_in", "somebody signed in as this user";
    UserNotSignedIn = "user.not_signed_in", "somebody tried to sign in; reason: password, passkey, provider, throttled or busy";
    UserSignedOut = "user.signed_out", "a browser signed out, or an administrator ended every session of the user";
    KeyMade = "key.made", "a signing key was made, and is published";
    KeyRotated = "key.rotated", "a signing key signs sooner than it would have";
    KeyRevoked = "key.revoked", "a signing key was taken out at once, whatever it had signed";
    KeyGone = "key.gone", "a signing key is published no more, for all that it signed has expired";
    AdminRefused = "admin.refused", "somebody asked the administration without its secret; reason: secret.missing or secret.wrong";
    EntriesLeftOut = "entries.left_out", "so many refusals are not here, for strangers brought about too many";
}

/// One entry of the audit log.
///
/// As JSON it has the members that are known, each by the name of its field here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// When, in seconds since 1970.
    pub time: u64,
    /// What: a code of [`Event`].
    pub event: Box<str>,
    /// Who did it, if it was not a client or a user: `api`, `command`, or the `schedule` of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
    /// Where it came: `token`, `authorize`, ..
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Box<str>>,
    /// The client; where it did not authenticate, the one it says it is, if there is such a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Box<str>>,
    /// `sub`: the user, or the client itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<str>>,
    /// `grant_type` of a token request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<Box<str>>,
    /// The grant that tokens hang on: the first half of their `jti`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Box<str>>,
    /// The scopes that were granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Box<str>>,
    /// The reason code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
    /// The thumbprint of the key that was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<Box<str>>,
    /// `DPoP` or `Bearer`: whether the token is bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<Box<str>>,
    /// The name of the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<Box<str>>,
    /// The first 48 bits of the digest of the token, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<Box<str>>,
    /// The name of a signing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<Box<str>>,
    /// The address at the other end of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Box<str>>,
    /// How many, where the entry is about several things.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Entry {
    pub(crate) fn new(event: Event, now: UnixTime) -> Self {
        Self {
            time: now.as_secs(),
            event: event.code().into(),
            by: None,
            endpoint: None,
            client: None,
            subject: None,
            grant_type: None,
            grant: None,
            scope: None,
            reason: None,
            jkt: None,
            token_type: None,
            jti: None,
            token_sha256: None,
            kid: None,
            peer: None,
            count: None,
        }
    }

    pub(crate) fn by(mut self, who: &str) -> Self {
        self.by = Some(who.into());
        self
    }

    pub(crate) fn client(mut self, id: &str) -> Self {
        self.client = Some(id.into());
        self
    }

    pub(crate) fn subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.into());
        self
    }

    pub(crate) fn kid(mut self, kid: &str) -> Self {
        self.kid = Some(kid.into());
        self
    }

    pub(crate) fn grant(mut self, family: Option<&str>) -> Self {
        self.grant = family.map(Box::from);
        self
    }

    pub(crate) fn scope(mut self, scope: &str) -> Self {
        self.scope = (!scope.is_empty()).then(|| scope.into());
        self
    }

    pub(crate) fn jkt(mut self, jkt: Option<&str>) -> Self {
        self.jkt = jkt.map(Box::from);
        self
    }

    pub(crate) fn at(mut self, endpoint: &str, peer: Option<SocketAddr>) -> Self {
        self.endpoint = Some(endpoint.into());
        self.peer = peer.map(|peer| peer.to_string().into());
        self
    }

    /// Of a token that is only told by its digest.
    pub(crate) fn of_token(mut self, token: &str) -> Self {
        self.token_sha256 = Some(digest_prefix(token));
        self
    }

    pub(super) fn octets(&self) -> usize {
        to_json(self).len()
    }

    /// Writes it to the log; `detail` says what was expected and found.
    pub(super) fn log(&self, detail: Option<&str>) {
        tracing::info!(
            target: TARGET,
            by = self.by.as_deref(),
            endpoint = self.endpoint.as_deref(),
            reason = self.reason.as_deref(),
            detail,
            client_id = self.client.as_deref(),
            subject = self.subject.as_deref(),
            grant_type = self.grant_type.as_deref(),
            grant = self.grant.as_deref(),
            scope = self.scope.as_deref(),
            jkt = self.jkt.as_deref(),
            token_type = self.token_type.as_deref(),
            jti = self.jti.as_deref(),
            token_sha256 = self.token_sha256.as_deref(),
            kid = self.kid.as_deref(),
            peer = self.peer.as_deref(),
            count = self.count,
            "{}", self.event
        );
    }
}

/// By what a token can be told from others.
pub(crate) fn digest_prefix(token: &str) -> Box<str> {
    HEXLOWER.encode(&Sha256::digest(token.as_bytes())[..DIGEST]).into()
}

/// Rides in an answer that refuses, to where it is noted.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) entry: Entry,
    /// What was expected and found; for the log alone, for it holds what was sent.
    pub(crate) detail: Option<Box<str>>,
    /// Whether a client authenticated that not everybody can be.
    pub(crate) is_known: bool,
}

impl Refused {
    /// For this reason; where and when is said later.
    pub(crate) fn because(code: &str) -> Self {
        let mut entry = Entry::new(Event::RequestRefused, UnixTime::from_secs(0));
        entry.reason = Some(code.into());
        Self { entry, detail: None, is_known: false }
    }
}
