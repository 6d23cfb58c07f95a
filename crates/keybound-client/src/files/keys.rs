//! Private keys as JWK files, by name; and private keys in any file.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keybound::crypto::aws_lc::{KeyError, SoftwareKey};
use keybound::jwk::PublicJwk;

use super::{Present, home, read_private, read_public, sync_directory, write_private};

/// The longest name of a key.
const MAX_NAME: usize = 100;

/// Named keys of this user, one file each.
///
/// ```no_run
/// use keybound::crypto::{Alg, aws_lc::SoftwareKey};
/// use keybound_client::files::KeyStore;
///
/// let keys = KeyStore::of_user().expect("this user has a home");
/// keys.add("orders", &SoftwareKey::generate(Alg::Es256)?)?;
/// let key = keys.load("orders")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyStore {
    directory: PathBuf,
}

impl KeyStore {
    /// The keys in `keys` under keybound's [`home`].
    pub fn of_user() -> Option<Self> {
        home().map(|home| Self::new(home.join("keys")))
    }

    /// The keys in this directory, which is made when the first key is added.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory }
    }

    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Adds a key under a new name. A key that is there stays as it is, whatever its state.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn add(&self, name: &str, key: &SoftwareKey) -> Result<(), KeyFileError> {
        let file = file_name(name)?;
        let path = self.directory.join(&file);
        let text = key.to_private_jwk().map_err(|why| KeyFileError::of(&path, Fault::Key(why)))?;
        write_private(&self.directory, &file, text.as_bytes(), Present::Keep).map_err(|why| match why.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::of(&path, Fault::Exists),
            _ => KeyFileError::of(&path, Fault::Io(why)),
        })
    }

    /// The key of this name.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn load(&self, name: &str) -> Result<SoftwareKey, KeyFileError> {
        read_key(&self.directory.join(file_name(name)?))
    }

    /// Whether there is a file of this name, in whatever state.
    pub fn contains(&self, name: &str) -> bool {
        file_name(name).is_ok_and(|file| self.directory.join(file).symlink_metadata().is_ok())
    }

    /// All names, sorted.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] if the directory is there and cannot be read.
    pub fn names(&self) -> Result<Vec<String>, KeyFileError> {
        let failed = |why| KeyFileError::of(&self.directory, Fault::Io(why));
        let entries = match fs::read_dir(&self.directory) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(SUFFIX));
            names.extend(name.filter(|name| file_name(name).is_ok()).map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Deletes the key of this name. There is no way back: tokens bound to it are of no use any more.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn delete(&self, name: &str) -> Result<(), KeyFileError> {
        let path = self.directory.join(file_name(name)?);
        let failed = |why| KeyFileError::of(&path, Fault::Io(why));
        fs::remove_file(&path).map_err(failed)?;
        sync_directory(&self.directory).map_err(failed)
    }
}

const SUFFIX: &str = ".jwk";

/// The file of a name. Names are plain, so that none leads out of the directory or is taken for an option.
fn file_name(name: &str) -> Result<OsString, KeyFileError> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let fine = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if fine { Ok(format!("{name}{SUFFIX}").into()) } else { Err(KeyFileError::of(Path::new(name), Fault::Name)) }
}

/// Reads a private key from a file: a JWK, or PEM. The file must be readable for its owner alone.
///
/// # Errors
///
/// [`KeyFileError`].
pub fn read_key(path: &Path) -> Result<SoftwareKey, KeyFileError> {
    let private = || {
        let octets = read_private(path).map_err(Fault::Io)?;
        let key = if octets.trim_ascii_start().starts_with(b"{") {
            SoftwareKey::from_jwk(octets.trim_ascii())
        } else {
            let text = std::str::from_utf8(&octets).map_err(|_| KeyError::Pem);
            text.and_then(|text| SoftwareKey::from_pem(text, None))
        };
        key.map_err(Fault::Key)
    };
    // Of a public key it is no matter who may read it.
    let fault = |fault| if holds_public(path) { Fault::Public } else { fault };
    private().map_err(|why| KeyFileError::of(path, fault(why)))
}

fn holds_public(path: &Path) -> bool {
    let pem = |octets: &[u8]| octets.trim_ascii_start().starts_with(b"-----BEGIN PUBLIC KEY-----");
    read_public_jwk(path).is_some() || read_public(path).is_ok_and(|octets| pem(&octets))
}

/// Reads a public JWK from a file, which others may read. `None` if the file is not there or holds anything else: what
/// [`read_key`] says of it is the reason.
pub fn read_public_jwk(path: &Path) -> Option<PublicJwk> {
    PublicJwk::from_json(read_public(path).ok()?.trim_ascii()).ok()
}

/// A key cannot be read or written. It names the file and never what is in it.
#[derive(Debug)]
pub struct KeyFileError {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Name,
    Exists,
    Io(io::Error),
    Key(KeyError),
    Public,
}

impl KeyFileError {
    fn of(path: &Path, fault: Fault) -> Self {
        let path = path.to_owned();
        Self { path, fault }
    }

    /// Whether there is no such key.
    pub fn is_absent(&self) -> bool {
        matches!(&self.fault, Fault::Io(why) if why.kind() == io::ErrorKind::NotFound)
    }

    /// Whether there is such a key already.
    pub const fn exists(&self) -> bool {
        matches!(self.fault, Fault::Exists)
    }

    /// Whether the name is none.
    pub const fn is_misnamed(&self) -> bool {
        matches!(self.fault, Fault::Name)
    }
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.fault {
            Fault::Name => {
                write!(f, "{path:?} is no name for a key: letters, digits, - _ and . make one, a letter or digit first")
            }
            Fault::Exists => write!(f, "{path} is there already and stays; delete it first, or take another name"),
            Fault::Io(why) => write!(f, "{path}: {why}"),
            Fault::Key(why) => write!(f, "{path}: {why}"),
            Fault::Public => {
                write!(f, "{path}: a public key; give the private one, or its JWK where a public key is enough")
            }
        }
    }
}

impl std::error::Error for KeyFileError {}
