//! Who may use the agent: whoever knows its secret, and no page in a browser.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, ORIGIN, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, Uri, Version};
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::listen::Listen;
use crate::access::secret_of;
use crate::outcome::Failure;

/// A field for programs whose `Authorization` is taken.
pub(super) const AGENT_SECRET: HeaderName = HeaderName::from_static("keybound-agent-secret");

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What programs show.
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// From the file, which is written if it is not there; without a file, a new one for a port and none for a socket.
    pub(super) fn of(listen: &Listen, file: Option<&Path>) -> Result<Option<Self>, Failure> {
        match (file, listen) {
            (None, Listen::Socket(_)) => Ok(None),
            (None, Listen::Port(_)) => random().map(Some),
            (Some(path), _) if path.exists() => {
                check_mode(path).map_err(|why| Failure::failed(format!("{}: {why}", path.display())))?;
                Ok(Some(Self(Zeroizing::new(secret_of(path)?))))
            }
            (Some(path), _) => {
                let secret = random()?;
                write(path, &secret.0).map_err(|why| unwritten(path, &why))?;
                Ok(Some(secret))
            }
        }
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// Whether one of the fields shows it.
    fn is_shown(&self, fields: &HeaderMap) -> bool {
        let credentials = [AUTHORIZATION, PROXY_AUTHORIZATION].into_iter().filter_map(|name| shown(fields, &name));
        let own =
            fields.get(AGENT_SECRET).and_then(|value| value.to_str().ok()).map(|text| Zeroizing::new(text.to_owned()));
        credentials.chain(own).any(|shown| shown.as_bytes().ct_eq(self.0.as_bytes()).into())
    }
}

/// A name that leads to nothing, or to a link that does, is for whoever typed it to mend.
fn unwritten(path: &Path, why: &io::Error) -> Failure {
    let path = path.display();
    match why.kind() {
        io::ErrorKind::AlreadyExists => Failure::usage(format!("{path} is a link that leads to nothing")),
        io::ErrorKind::NotFound => Failure::usage(format!("{path}: {why}")),
        _ => Failure::failed(format!("{path}: {why}")),
    }
}

fn random() -> Result<Secret, Failure> {
    let octets: [u8; 24] = random_array().map_err(Failure::failed)?;
    Ok(Secret(Zeroizing::new(encode_base64url(&octets))))
}

fn check_mode(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = std::fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let why = format!("others may read it (mode {mode:03o}); mend that: chmod 600 {}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")
}

/// The token of Bearer, or the password of Basic.
fn shown(fields: &HeaderMap, name: &HeaderName) -> Option<Zeroizing<String>> {
    let text = fields.get(name)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("Bearer") {
        return Some(Zeroizing::new(rest.trim().to_owned()));
    }
    let pair =
        Zeroizing::new(BASE64.decode(rest.trim().as_bytes()).ok().filter(|_| scheme.eq_ignore_ascii_case("Basic"))?);
    let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It does not show the secret.
    Secret,
    /// It names another host than this one: a page whose name was made to lead here (DNS rebinding).
    Host,
    /// A page in a browser sent it.
    Page,
}

/// The names this agent goes by: the hosts and ports of its listener. A socket has none: no browser reaches it.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn of(address: SocketAddr) -> Self {
        let port = address.port();
        let names =
            [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}"), address.to_string()];
        Self(names.to_vec())
    }

    /// Whether a request that names this authority in its target is for the agent itself, and not for one that it is the proxy of.
    /// In HTTP/2 every request names one.
    pub(super) fn are_meant(&self, authority: &str, version: Version) -> bool {
        if self.0.is_empty() { version == Version::HTTP_2 } else { self.know(authority) }
    }

    fn know(&self, host: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

/// Lets a request in that shows the secret and comes from no page.
pub(super) fn admit(uri: &Uri, fields: &HeaderMap, secret: Option<&Secret>, hosts: &Hosts) -> Result<(), Stranger> {
    let mut origins = fields.get_all(ORIGIN).iter();
    let page = origins.any(|origin| {
        let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        !own.is_some_and(|host| !hosts.0.is_empty() && hosts.know(host))
    });
    if page || fields.get(SEC_FETCH_SITE).is_some_and(|site| site != "none" && site != "same-origin") {
        return Err(Stranger::Page);
    }
    // With an authority it is that of the agent or of a target, which is looked up anyway.
    if uri.authority().is_none() {
        let mut named = fields.get_all(HOST).iter();
        let (host, None) = (named.next().and_then(|host| host.to_str().ok()), named.next()) else {
            return Err(Stranger::Host);
        };
        if !host.is_some_and(|host| hosts.know(host)) {
            return Err(Stranger::Host);
        }
    }
    match secret {
        Some(secret) if !secret.is_shown(fields) => Err(Stranger::Secret),
        _ => Ok(()),
    }
}
