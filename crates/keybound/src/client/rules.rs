//! What a client may do: where it may send, which algorithm it takes, which tokens it keeps.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::crypto::{Alg, AlgSet};
use crate::request::TargetUri;

/// Whether plain http is let through. Without TLS anybody on the way reads the token, and may use the proof first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainHttp {
    /// https only.
    #[default]
    Never,
    /// http as well, to this very machine: `localhost`, 127.0.0.0/8, `[::1]`.
    Loopback,
}

/// A target that tokens and proofs may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permitted<'u>(&'u TargetUri);

impl<'u> Permitted<'u> {
    /// The target.
    pub const fn target(self) -> &'u TargetUri {
        self.0
    }
}

/// Lets https targets through, and plain http to loopback if that is asked for (R-CLI-12).
///
/// ```
/// use keybound::client::{PlainHttp, permitted};
/// use keybound::request::TargetUri;
///
/// let local = TargetUri::parse("http://127.0.0.1:8080/").unwrap();
/// assert!(permitted(&local, PlainHttp::Never).is_err());
/// assert!(permitted(&local, PlainHttp::Loopback).is_ok());
///
/// let remote = TargetUri::parse("http://api.example.com/").unwrap();
/// assert!(permitted(&remote, PlainHttp::Loopback).is_err());
/// ```
///
/// # Errors
///
/// [`PlainHttpRefused`].
pub fn permitted(target: &TargetUri, plain: PlainHttp) -> Result<Permitted<'_>, PlainHttpRefused> {
    let secure = target.origin().starts_with("https://");
    if secure || (plain == PlainHttp::Loopback && is_loopback(target.origin())) {
        Ok(Permitted(target))
    } else {
        Err(PlainHttpRefused)
    }
}

/// By name and literal address alone; nothing is looked up.
fn is_loopback(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://") else {
        return false;
    };
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback());
    }
    let host = authority.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

/// The target is plain http, where tokens and proofs are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlainHttpRefused;

impl fmt::Display for PlainHttpRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tokens and proofs go over https only; plain http is for loopback, and only if allowed")
    }
}

impl core::error::Error for PlainHttpRefused {}

/// Whether a redirect from `from` to `to` may be followed with token and proof: scheme, host and port are the same
/// (R-CLI-18). The hop needs a new [`Attempt`](super::Attempt) for its own method and URI.
///
/// ```
/// use keybound::client::same_origin;
/// use keybound::request::TargetUri;
///
/// let from = TargetUri::parse("https://api.example.com/a").unwrap();
/// assert!(same_origin(&from, &TargetUri::parse("https://API.example.com:443/b").unwrap()));
/// assert!(!same_origin(&from, &TargetUri::parse("https://api.example.com:8443/a").unwrap()));
/// ```
pub fn same_origin(from: &TargetUri, to: &TargetUri) -> bool {
    from.origin() == to.origin()
}

/// The algorithm to sign with: the first of `ours` that is on every list in `theirs` (metadata of the authorization server
/// and of the resource, `algs` of a challenge), as far as these are known (R-CLI-13).
///
/// ```
/// use keybound::client::choose_alg;
/// use keybound::crypto::{Alg, AlgSet};
///
/// let theirs: AlgSet = [Alg::Rs256, Alg::Ed25519].into_iter().collect();
/// assert_eq!(choose_alg(AlgSet::ALL, &[theirs]), Ok(Alg::Ed25519));
/// assert!(choose_alg(AlgSet::FAPI, &[[Alg::Rs256].into_iter().collect()]).is_err());
/// ```
///
/// # Errors
///
/// [`NoCommonAlg`].
pub fn choose_alg(ours: AlgSet, theirs: &[AlgSet]) -> Result<Alg, NoCommonAlg> {
    let shared = |alg: &Alg| theirs.iter().all(|list| list.contains(*alg));
    let theirs = || AlgSet::ALL.iter().filter(shared).collect();
    ours.iter()
        .find(shared)
        .ok_or_else(|| NoCommonAlg { ours, theirs: theirs() })
}

/// No algorithm is on the client's and on all of the servers' lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoCommonAlg {
    /// What the client can sign with.
    pub ours: AlgSet,
    /// What all of the servers accept.
    pub theirs: AlgSet,
}

impl fmt::Display for NoCommonAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no common signature algorithm: ours are [{}], the server accepts [{}]",
            self.ours, self.theirs
        )
    }
}

impl core::error::Error for NoCommonAlg {}

/// What to do with a token that is not bound to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unbound {
    /// Discard it.
    #[default]
    Refuse,
    /// Keep it, and tell.
    Tell,
}

/// Whether the issuer bound the token to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// `token_type` is DPoP.
    Bound,
    /// `token_type` is something else, or missing.
    Unbound,
}

/// Judges the `token_type` of a token response, in any letter case (R-CLI-09).
///
/// ```
/// use keybound::client::{Binding, Unbound, judge_token_type};
///
/// assert_eq!(judge_token_type(Some("dpop"), Unbound::Refuse), Ok(Binding::Bound));
/// assert_eq!(judge_token_type(Some("Bearer"), Unbound::Tell), Ok(Binding::Unbound));
/// assert!(judge_token_type(Some("Bearer"), Unbound::Refuse).is_err());
/// ```
///
/// # Errors
///
/// [`UnboundToken`]: the response is to be discarded.
pub fn judge_token_type(token_type: Option<&str>, unbound: Unbound) -> Result<Binding, UnboundToken> {
    let bound = token_type.is_some_and(|name| name.eq_ignore_ascii_case("DPoP"));
    match (bound, unbound) {
        (true, _) => Ok(Binding::Bound),
        (false, Unbound::Tell) => Ok(Binding::Unbound),
        (false, Unbound::Refuse) => Err(UnboundToken),
    }
}

/// The issuer gave a token that is not bound to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnboundToken;

impl fmt::Display for UnboundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the issuer gave a token that is not bound to a key: its token_type is not DPoP")
    }
}

impl core::error::Error for UnboundToken {}

#[cfg(test)]
mod tests;
