//! Private keys as JWK files, by name; and private keys in any file.

use std::cmp::Reverse;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use keybound::crypto::aws_lc::{KeyError, SoftwareKey};
use keybound::jwk::PublicJwk;
use zeroize::Zeroizing;

use super::os::{Keeper, Pointer, Unkept};
use super::{Present, home, open_lock, read_private, read_public, sync_directory, write_private};

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
    keeper: Keeper,
}

impl KeyStore {
    /// The keys in `keys` under keybound's [`home`].
    pub fn of_user() -> Option<Self> {
        home().map(|home| Self::new(home.join("keys")))
    }

    /// The keys in this directory, which is made when the first key is added.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory, keeper: Keeper::File }
    }

    /// Has keys that are added from now on kept there; their files say no more than where that is. Keys are found wherever they are.
    #[must_use]
    pub const fn kept_by(mut self, keeper: Keeper) -> Self {
        self.keeper = keeper;
        self
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
        if self.contains(name) {
            return Err(KeyFileError::of(&self.directory.join(file), Fault::Exists)); // before a keeper is asked in vain
        }
        self.write(&file, key, self.keeper, Present::Keep)
    }

    /// The key of this name.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn load(&self, name: &str) -> Result<SoftwareKey, KeyFileError> {
        read_key(&self.directory.join(known_name(name)?))
    }

    /// Puts `key` in the place of the one of this name, which stays as a former key of the name: tokens that are bound to it go on
    /// until they end. Returns the name it has from then on, `NAME~1` the first time.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], also if there is no key of this name or it cannot be read.
    pub fn rotate(&self, name: &str, key: &SoftwareKey) -> Result<String, KeyFileError> {
        let file = file_name(name)?;
        let failed = |why| KeyFileError::of(&self.directory, Fault::Io(why));
        // Of two programs that do this at once, the second replaces the key of the first, which stays.
        let lock = open_lock(&self.directory, ".rotation").map_err(failed)?;
        lock.lock().map_err(failed)?;
        let path = self.directory.join(&file);
        read_key(&path)?; // what cannot be read stays where it is
        let old = read_private(&path).map_err(|why| KeyFileError::of(&path, Fault::Io(why)))?;
        let keeper = Pointer::read(&old).and_then(Result::ok).map_or(Keeper::File, |pointer| pointer.keeper());
        let number = self.former_numbers(name)?.first().map_or(1, |last| last + 1);
        let former = format!("{name}{FORMER}{number}");
        write_private(&self.directory, &known_name(&former)?, &old, Present::Keep).map_err(failed)?;
        self.write(&file, key, keeper, Present::Replace)?;
        Ok(former)
    }

    /// The former keys of this name, the last one first.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`], for the first that cannot be read.
    pub fn former(&self, name: &str) -> Result<Vec<SoftwareKey>, KeyFileError> {
        let numbers = self.former_numbers(name)?;
        numbers.into_iter().map(|number| self.load(&format!("{name}{FORMER}{number}"))).collect()
    }

    /// The numbers of the former keys of this name, the highest first.
    fn former_numbers(&self, name: &str) -> Result<Vec<u64>, KeyFileError> {
        let names = self.names()?;
        let own = names.iter().filter_map(|other| is_former(other).filter(|(of, _)| *of == name));
        let mut numbers: Vec<u64> = own.map(|(_, number)| number).collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        Ok(numbers)
    }

    fn write(&self, file: &OsStr, key: &SoftwareKey, keeper: Keeper, present: Present) -> Result<(), KeyFileError> {
        let path = self.directory.join(file);
        let failed = |fault| KeyFileError::of(&path, fault);
        let text = key.to_private_jwk().map_err(|why| failed(Fault::Key(why)))?;
        let pointer = match keeper {
            Keeper::File => None,
            keeper => Some(
                Pointer::put(keeper, key.thumbprint().to_string(), &text).map_err(|why| failed(Fault::Kept(why)))?,
            ),
        };
        let text = pointer.as_ref().map_or(text, |pointer| Zeroizing::new(pointer.text()));
        write_private(&self.directory, file, text.as_bytes(), present).map_err(|why| {
            // Nobody knows of it then.
            let _ = pointer.as_ref().map(Pointer::forget);
            failed(if why.kind() == io::ErrorKind::AlreadyExists { Fault::Exists } else { Fault::Io(why) })
        })
    }

    /// Whether there is a file of this name, in whatever state.
    pub fn contains(&self, name: &str) -> bool {
        known_name(name).is_ok_and(|file| self.directory.join(file).symlink_metadata().is_ok())
    }

    /// All names, sorted; those of former keys behind the one they were before.
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
            names.extend(name.filter(|name| known_name(name).is_ok()).map(str::to_owned));
        }
        names.sort_by(|one, other| family(one).cmp(&family(other)));
        Ok(names)
    }

    /// Deletes the key of this name. There is no way back: tokens bound to it are of no use any more.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn delete(&self, name: &str) -> Result<(), KeyFileError> {
        let path = self.directory.join(known_name(name)?);
        let failed = |why| KeyFileError::of(&path, Fault::Io(why));
        let pointer = pointer_in(&path);
        fs::remove_file(&path).map_err(failed)?;
        sync_directory(&self.directory).map_err(failed)?;
        let Some(pointer) = pointer else { return Ok(()) };
        // A rotation that was cut off leaves two files about one key.
        let others = self.names()?;
        let mut others = others.iter().filter_map(|other| pointer_in(&self.directory.join(known_name(other).ok()?)));
        if others.any(|other| other.is_same(&pointer)) {
            return Ok(());
        }
        pointer.forget().map_err(|why| KeyFileError::of(&path, Fault::Kept(why)))
    }
}

const SUFFIX: &str = ".jwk";

/// Stands between a name and the number of a former key; no name has it.
const FORMER: char = '~';

/// The file of a name. Names are plain, so that none leads out of the directory or is taken for an option.
fn file_name(name: &str) -> Result<OsString, KeyFileError> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    let fine = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric());
    if fine { Ok(format!("{name}{SUFFIX}").into()) } else { Err(KeyFileError::of(Path::new(name), Fault::Name)) }
}

/// The file of a name that may be one of a former key.
fn known_name(name: &str) -> Result<OsString, KeyFileError> {
    match is_former(name) {
        Some((of, _)) => file_name(of).map(|_| format!("{name}{SUFFIX}").into()),
        None => file_name(name),
    }
}

/// The name that a key of this name was of before it was replaced, and the how-manieth it was; `None` if it is no former key.
pub fn is_former(name: &str) -> Option<(&str, u64)> {
    let (of, number) = name.rsplit_once(FORMER)?;
    let plain = number.bytes().all(|octet| octet.is_ascii_digit()) && !number.starts_with('0');
    Some((of, number.parse().ok().filter(|_| plain)?))
}

/// A key, and behind it its former ones, the last one first.
fn family(name: &str) -> (&str, Reverse<u64>) {
    is_former(name).map_or((name, Reverse(u64::MAX)), |(of, number)| (of, Reverse(number)))
}

/// Reads a private key from a file: a JWK, or PEM. The file must be readable for its owner alone.
///
/// # Errors
///
/// [`KeyFileError`].
pub fn read_key(path: &Path) -> Result<SoftwareKey, KeyFileError> {
    let fault = match read_private(path) {
        Ok(octets) => match Pointer::read(&octets) {
            None => return parse_key(&octets).map_err(|why| KeyFileError { path: path.to_owned(), ..why }),
            Some(pointer) => match pointer.and_then(|pointer| Ok((pointer.take()?, pointer.jkt))) {
                Ok((text, jkt)) => match SoftwareKey::from_jwk(&text) {
                    Ok(key) if key.thumbprint().to_string() == jkt => return Ok(key),
                    Ok(_) => Fault::OtherKey,
                    Err(why) => Fault::Key(why),
                },
                Err(why) => Fault::Kept(why),
            },
        },
        // Of a public key it is no matter who may read it.
        Err(_) if read_public(path).is_ok_and(|octets| is_public(&octets)) => Fault::Public,
        Err(why) => Fault::Io(why),
    };
    Err(KeyFileError::of(path, fault))
}

/// Reads a private key from text: a JWK, or PEM (PKCS#8, `EC PRIVATE KEY`, `RSA PRIVATE KEY`), not encrypted.
///
/// # Errors
///
/// [`KeyFileError`], which names no file.
pub fn parse_key(text: &[u8]) -> Result<SoftwareKey, KeyFileError> {
    let key = if text.trim_ascii_start().starts_with(b"{") {
        SoftwareKey::from_jwk(text.trim_ascii())
    } else {
        let text = std::str::from_utf8(text).map_err(|_| KeyError::Pem);
        text.and_then(|text| SoftwareKey::from_pem(text, None))
    };
    let fault = |why| if is_public(text) { Fault::Public } else { Fault::Key(why) };
    key.map_err(|why| KeyFileError::of(Path::new(""), fault(why)))
}

/// Who keeps the key of this file, if it is elsewhere.
fn pointer_in(path: &Path) -> Option<Pointer> {
    Pointer::read(&read_private(path).ok()?)?.ok()
}

fn is_public(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let pem = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"];
    pem.iter().any(|label| text.starts_with(label.as_bytes())) || PublicJwk::from_json(text).is_ok()
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
    Kept(Unkept),
    Key(KeyError),
    OtherKey,
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
        // A text from elsewhere has no name.
        let path = if self.path.as_os_str().is_empty() { Path::new("the key") } else { &self.path }.display();
        match &self.fault {
            Fault::Name => {
                write!(f, "{path:?} is no name for a key: letters, digits, - _ and . make one, a letter or digit first")
            }
            Fault::Exists => write!(f, "{path} is there already and stays; delete it first, or take another name"),
            Fault::Io(why) => write!(f, "{path}: {why}"),
            Fault::Kept(why) => write!(f, "{path}: {why}"),
            Fault::Key(why) => write!(f, "{path}: {why}"),
            Fault::OtherKey => write!(f, "{path}: another key than this file names is kept there"),
            Fault::Public => {
                write!(f, "{path}: a public key; give the private one, or its JWK where a public key is enough")
            }
        }
    }
}

impl std::error::Error for KeyFileError {}
