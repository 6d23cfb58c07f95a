//! The certificate that the listener shows, which can be replaced while connections are open.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use tokio_rustls::TlsAcceptor;

use crate::config::{Tls, provider};

/// What may be spoken inside TLS, the preferred first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate of a front, shared by its workers.
#[derive(Clone)]
pub struct Certificates(Arc<Shown>);

struct Shown(ArcSwap<CertifiedKey>);

impl Certificates {
    pub(crate) fn new(tls: &Tls) -> Self {
        Self(Arc::new(Shown(ArcSwap::new(tls.certified()))))
    }

    /// From now on new handshakes get this certificate; connections that are open stay so. What a configuration holds has
    /// been read and checked with it, so that nothing can fail here.
    pub fn reload(&self, tls: &Tls) {
        self.0.0.store(tls.certified());
    }

    /// Takes the server's side of handshakes.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        // Resumption without memory, whichever worker the client comes back to. No early data: it could be replayed.
        config.ticketer = Ticketer::new()?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown(..)")
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates(..)")
    }
}
