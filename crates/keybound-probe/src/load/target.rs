//! The server under load: what its URL says, and its addresses, which are looked up once.

use core::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use keybound::client::{PlainHttp, permitted};
use keybound::request::TargetUri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio_rustls::TlsConnector;

use super::error::LoadError;

pub(crate) struct Target {
    /// What proofs are for.
    pub(crate) htu: TargetUri,
    /// Path and query, as requests are sent.
    pub(crate) path: Uri,
    pub(crate) host: HeaderValue,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) tls: Option<Tls>,
}

#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) name: ServerName<'static>,
}

impl Target {
    pub(crate) fn new(url: &str) -> Result<Self, LoadError> {
        let malformed = || LoadError::Url(url.to_owned());
        let htu = TargetUri::parse(url).map_err(|_| malformed())?;
        permitted(&htu, PlainHttp::Loopback)?;
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        let port = authority.port_u16().unwrap_or(if htu.is_https() { 443 } else { 80 });
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let failed = |why| LoadError::Lookup(name.to_owned(), why);
        Ok(Self {
            addresses: (name, port).to_socket_addrs().map_err(failed)?.collect(),
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| malformed())?,
            path: uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")).into(),
            tls: if htu.is_https() { Some(Tls::new(name)?) } else { None },
            htu,
        })
    }
}

impl Tls {
    fn new(name: &str) -> Result<Self, LoadError> {
        let failed = |why: rustls::Error| LoadError::Tls(why.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.and_then(|builder| builder.with_platform_verifier()).map_err(failed)?;
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(name.to_owned()).map_err(|_| LoadError::Url(name.to_owned()))?,
        })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.htu)
    }
}
