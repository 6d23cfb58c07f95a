//! Client authentication by a signed JWT (RFC 7523 section 3, `private_key_jwt`): read strictly, verified with the client's
//! registered keys, and used once. Nothing is taken from the assertion's own header but which of those keys to try.

use core::fmt;
use core::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::crypto::Alg;
use crate::jwk::Thumbprint;
use crate::jws::json::{Object, Value};
use crate::jws::{Compact, decode_base64url};
use crate::proof::{self, MAX_JTI, Seconds};
use crate::refusal::{Reason, Refusal};
use crate::replay::{Epoch, ReplayEntry, Seen};
use crate::time::UnixTime;
use crate::token::jwt::KeySet;

/// The value of `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How far ahead of now an assertion may expire: it is made for one request.
pub const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// What the clock of a client may be ahead, and its `exp` behind. It is also how long after the beginning of an epoch no
/// assertion passes that might have been used before it.
pub const ALLOWANCE: Duration = Duration::from_secs(10);

/// An RSA-4096 assertion with a certificate chain in its header is about 6 KiB.
const MAX_ASSERTION: usize = 16 * 1024;

/// A client assertion whose claims were read and whose signature was not checked.
///
/// ```
/// use keybound::authorization_server::ClientAssertion;
/// use keybound::refusal::Reason;
///
/// assert_eq!(ClientAssertion::parse("a.b.c").unwrap_err().reason(), Reason::ClientAuthentication);
/// ```
pub struct ClientAssertion<'a> {
    compact: Compact<'a>,
    alg: Alg,
    kid: Option<Box<str>>,
    client_id: Box<str>,
    audience: Box<str>,
    jti: Box<str>,
    expires: UnixTime,
    issued: Option<UnixTime>,
    not_before: Option<UnixTime>,
}

impl<'a> ClientAssertion<'a> {
    /// Reads header and claims: an asymmetric `alg`, no other type of JWT, nothing critical; `iss` equal to `sub`, one `aud`,
    /// `exp`, `jti`.
    ///
    /// # Errors
    ///
    /// [`Reason::ClientAuthentication`]; the detail says what is wrong.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_ASSERTION {
            return Err(refused("the assertion is too long"));
        }
        let malformed = || refused("the assertion is not one compact JWS of JSON objects");
        let compact = Compact::split(text).map_err(|_| malformed())?;
        let header = decode_base64url(compact.header).map_err(|_| malformed())?;
        let header = Object::parse(&header).map_err(|_| malformed())?;
        let payload = decode_base64url(compact.payload).map_err(|_| malformed())?;
        let claims = Object::parse(&payload).map_err(|_| malformed())?;
        let (alg, kid) = read_header(&header)?;

        let text = |name| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let time = |name| {
            claims
                .get(name)
                .map(|value| Seconds::read(value).ok_or_else(|| refused("a time of the assertion is no number")))
                .transpose()
        };
        let client_id = text("sub").ok_or_else(|| refused("the assertion has no sub"))?;
        if text("iss") != Some(client_id) {
            return Err(refused("iss and sub of the assertion are not both the client"));
        }
        let jti = text("jti")
            .filter(|jti| jti.len() <= MAX_JTI)
            .ok_or_else(|| refused("the assertion has no jti of a sensible length"))?;
        Ok(Self {
            compact,
            alg,
            kid,
            client_id: client_id.into(),
            audience: audience(claims.get("aud")).ok_or_else(|| refused("the assertion has not one aud"))?,
            jti: jti.into(),
            expires: time("exp")?.ok_or_else(|| refused("the assertion has no exp"))?.floor(),
            issued: time("iat")?.map(Seconds::floor),
            not_before: time("nbf")?.map(Seconds::ceil),
        })
    }

    /// Whom it claims to be of. Nobody vouches for that yet: it says whose keys to verify with.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Verifies the signature with the client's keys, then audience and times.
    ///
    /// `audience` are the names this server goes by: its issuer identifier, its token endpoint. Whether the assertion was
    /// used before is not known yet. `epoch` is the one in force of the store that will be asked; an assertion which could
    /// have been used before that epoch began is refused, for nobody would remember: its `iat` must be later than the
    /// beginning by more than [`ALLOWANCE`], or its `exp` by more than [`MAX_LIFETIME`] and [`ALLOWANCE`].
    ///
    /// # Errors
    ///
    /// [`Reason::ClientAuthentication`]; the detail says what is wrong.
    pub fn verify(
        &self,
        keys: &KeySet,
        audience: &[&str],
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<VerifiedAssertion, Refusal> {
        keys.check(&self.compact, self.alg, self.kid.as_deref())
            .map_err(|_| refused("no key of the client verifies the assertion"))?;
        if !audience.contains(&&*self.audience) {
            return Err(refused("the assertion is for another server"));
        }
        self.times(epoch, now)?;
        let mut name = Sha256::new();
        name.update(b"client\0");
        name.update(self.client_id.as_bytes());
        Ok(VerifiedAssertion {
            client: Thumbprint::from_bytes(name.finalize().into()),
            jti: self.jti.clone(),
            epoch,
            expires: self.expires.plus(ALLOWANCE),
        })
    }

    fn times(&self, epoch: Epoch, now: UnixTime) -> Result<(), Refusal> {
        if now >= self.expires.plus(ALLOWANCE) {
            return Err(refused("the assertion has expired"));
        }
        if self.expires > now.plus(MAX_LIFETIME).plus(ALLOWANCE) {
            return Err(refused("the assertion expires too far ahead"));
        }
        let ahead = |time: UnixTime| time > now.plus(ALLOWANCE);
        if self.issued.is_some_and(ahead) || self.not_before.is_some_and(ahead) {
            return Err(refused("the assertion comes from the future"));
        }
        let opened = epoch.opened().plus(ALLOWANCE);
        let made_since = self.issued.is_some_and(|issued| issued > opened);
        if !made_since && self.expires <= opened.plus(MAX_LIFETIME) {
            return Err(refused("the assertion may be from before this server started"));
        }
        Ok(())
    }
}

impl fmt::Debug for ClientAssertion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAssertion")
            .field("alg", &self.alg)
            .finish_non_exhaustive()
    }
}

/// The client signed this assertion for this server and now; whether it was used before is not known yet.
#[must_use = "a verified assertion may have been used before"]
pub struct VerifiedAssertion {
    client: Thumbprint,
    jti: Box<str>,
    epoch: Epoch,
    expires: UnixTime,
}

impl VerifiedAssertion {
    /// What a [`ReplayStore`](crate::replay::ReplayStore) is to record when everything else about the request has passed: a
    /// refused proof does not use up an assertion (R-AS-22). No entry of a proof is equal to it, for no `htu` is a URN; the
    /// quota of the client's assertions is its own.
    pub fn replay_entry(&self) -> ReplayEntry<'_> {
        ReplayEntry::new(self.client, &self.jti, ASSERTION_TYPE, self.epoch, self.expires)
    }

    /// The client is authenticated, if the store has never seen the assertion.
    ///
    /// # Errors
    ///
    /// [`Reason::ClientAuthentication`] if it was used or nobody can tell, [`Reason::ReplayQuota`].
    pub fn authenticate(self, seen: Seen) -> Result<(), Refusal> {
        match seen {
            Seen::Never => Ok(()),
            Seen::Before => Err(refused("the assertion was used before")),
            Seen::Forgotten => Err(refused("the replay memory began anew while the assertion was judged")),
            Seen::OverQuota { .. } => Err(Reason::ReplayQuota.into()),
        }
    }
}

impl fmt::Debug for VerifiedAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedAssertion")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// `alg` and `kid`. Other kinds of JWT say so in `typ` (RFC 8725 section 3.11): a proof or access token is no assertion.
fn read_header(header: &Object<'_>) -> Result<(Alg, Option<Box<str>>), Refusal> {
    let known = |typ: &Value<'_>| {
        typ.as_str().is_some_and(|typ| {
            ["JWT", "client-authentication+jwt"]
                .iter()
                .any(|known| typ.eq_ignore_ascii_case(known))
        })
    };
    if header.get("typ").is_some_and(|typ| !known(typ)) {
        return Err(refused("the JWT is of another type than a client assertion"));
    }
    if header.contains("crit") || header.contains("b64") {
        return Err(refused("the assertion has header parameters that change its meaning"));
    }
    let alg = proof::alg(header.get("alg")).map_err(|_| refused("alg of the assertion is no asymmetric algorithm"))?;
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(
            kid.as_str()
                .ok_or_else(|| refused("kid of the assertion is no string"))?
                .into(),
        ),
    };
    Ok((alg, kid))
}

/// One name, by itself or alone in an array: with two, another server could use the assertion here.
fn audience(aud: Option<&Value<'_>>) -> Option<Box<str>> {
    let aud = aud?;
    match aud.as_array() {
        None => aud.as_str().map(Box::from),
        Some([one]) => one.as_str().map(Box::from),
        Some(_) => None,
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::with_detail(Reason::ClientAuthentication, why)
}
