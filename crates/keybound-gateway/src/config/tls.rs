//! Certificate and private key of the listener, read from their files and held against each other.

use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

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
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match found {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(PemError::NoItemsFound) => {
            Err(format!("{shown:?} holds no certificate; write the chain as PEM, the gateway's own first"))
        }
        Err(error) => Err(format!("{shown:?} is not a PEM file: {error}")),
    }
}

/// The private key in the file, in any of the usual forms, not encrypted.
pub(super) fn private_key(file: &Path) -> Result<Arc<dyn SigningKey>, String> {
    let shown = shown(file);
    let key = PrivateKeyDer::from_pem_file(file).map_err(|error| match error {
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

fn shown(file: &Path) -> String {
    shortened(&file.display().to_string())
}
