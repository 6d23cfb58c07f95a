//! Certificate and private key of the listener, read from their files and held against each other; and whose certificates
//! an upstream may show.

use core::fmt;
use core::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{ClientConfig, RootCertStore, version};
use rustls_platform_verifier::BuilderVerifierExt as _;
use zeroize::Zeroizing;

use super::HttpVersion;
use super::file::{LARGE, octets};
use super::section::shortened;

/// `[listen.tls]`: two files that were read when the configuration was, and belong together.
#[derive(Clone)]
#[non_exhaustive]
pub struct Tls {
    /// The chain, our own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    pub(super) certified: Arc<CertifiedKey>,
}

impl Tls {
    /// What was in the files.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).field("key", &self.key).finish_non_exhaustive()
    }
}

/// The cryptography of TLS: always this, never what the process happens to have installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Every certificate in the file, at least one.
pub(super) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = shown(file);
    let octets = octets(file, LARGE).map_err(|error| format!("{shown:?} cannot be read: {error}"))?;
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&octets).collect();
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(PemError::NoItemsFound) => Err(format!("{shown:?} holds no certificate in PEM form")),
        Err(error) => Err(format!("{shown:?} is not a PEM file: {error}")),
    }
}

/// The private key in the file, in any of the usual forms, not encrypted.
pub(super) fn private_key(file: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let shown = shown(file);
    let octets = octets(file, LARGE).map_err(|error| format!("{shown:?} cannot be read: {error}"))?;
    let octets = Zeroizing::new(octets);
    let key = PrivateKeyDer::from_pem_slice(&octets).map_err(|error| match error {
        PemError::NoItemsFound => format!("{shown:?} holds no private key; write it as PEM, not encrypted"),
        error => format!("{shown:?} is not a PEM file: {error}"),
    })?;
    let loaded = provider().key_provider.load_private_key(key);
    loaded.map_err(|_| format!("{shown:?} holds a key of no kind that TLS can use; use ECDSA P-256 or RSA"))
}

/// Both together, if the key is the one of the first certificate.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &Arc<dyn SigningKey>,
) -> Result<Arc<CertifiedKey>, String> {
    let certified = CertifiedKey::new(chain, Arc::clone(key));
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("is not the key of the first certificate in listen.tls.certificate".to_owned())
        }
        Err(error) => Err(format!("does not go with listen.tls.certificate: {error}")),
    }
}

/// How TLS to an upstream is begun. Two are equal if they were made as one.
#[derive(Clone)]
pub(crate) struct TlsClient(Arc<Settings>);

struct Settings {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl TlsClient {
    /// Trusts whom the system trusts.
    pub(super) fn of_system() -> Result<Self, String> {
        static OF_SYSTEM: LazyLock<Result<TlsClient, String>> = LazyLock::new(|| {
            let builder = ClientConfig::builder_with_provider(provider());
            let builder = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12]);
            let trusting = builder.and_then(|builder| builder.with_platform_verifier());
            let config = trusting.map_err(|error| format!("needs the certificates of the system: {error}"))?;
            Ok(TlsClient::new(config.with_no_client_auth()))
        });
        OF_SYSTEM.clone()
    }

    /// Trusts the authorities in `file` and nobody else.
    pub(super) fn of_file(file: &Path) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(file)? {
            let refused = |error| format!("{:?} holds a certificate that is of no authority: {error}", shown(file));
            roots.add(certificate).map_err(refused)?;
        }
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12]);
        let config = builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self::new(config))
    }

    fn new(config: ClientConfig) -> Self {
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Self(Arc::new(Settings { http1: speaking(b"http/1.1"), http2: speaking(b"h2") }))
    }

    pub(crate) fn speaking(&self, version: HttpVersion) -> Arc<ClientConfig> {
        Arc::clone(match version {
            HttpVersion::Http1 => &self.0.http1,
            HttpVersion::Http2 => &self.0.http2,
        })
    }
}

impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsClient {}

impl Hash for TlsClient {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient(..)")
    }
}

fn shown(file: &Path) -> String {
    shortened(&file.display().to_string())
}
