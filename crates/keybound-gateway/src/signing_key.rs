//! Keys of our own in their files. One that signs for us is made when there is none; a file that is there is never
//! replaced.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use keybound::client::Secret;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::{KeyError, SoftwareKey};
use keybound_issuer::keys::{SealingKeyError, SealingKeys};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::engine::EngineError;

/// The largest file that is read; a key of RSA-4096 takes 4 KiB.
const MAX_FILE: u64 = 64 * 1024;

/// The key in the file at `path`, which must be there; the words for a mistake if it is none.
pub(crate) fn existing(path: &Path) -> Result<SoftwareKey, String> {
    let octets = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    parse(&octets).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether [`open`] would find a key at `path` or could make one; the words for a mistake if not. Nothing is written.
pub(crate) fn judge(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match read(path) {
        Ok(octets) => {
            let stays = "it stays as it is: mend it, or name another file";
            parse(&octets).map(drop).map_err(|error| format!("{shown}: {error}; {stays}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder_of(path).is_dir() => {
            Err(format!("{shown}: cannot be made: there is no such folder"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{shown}: cannot be read: {error}")),
    }
}

/// The key in the file at `path`, which `setting` names; a new one, if there is no such file.
pub(crate) fn open(setting: &str, path: &Path) -> Result<SoftwareKey, EngineError> {
    let failed = |why: &dyn core::fmt::Display| EngineError::new(&format!("{setting}: {}", path.display()), why);
    let read = match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match make(path) {
            Ok(key) => {
                tracing::info!(file = %path.display(), kid = %key.thumbprint(), "made a signing key");
                return Ok(key);
            }
            // Another process was first: its key holds.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self::read(path),
            Err(error) => return Err(failed(&format_args!("cannot be made: {error}"))),
        },
        read => read,
    };
    let octets = read.map_err(|error| failed(&format_args!("cannot be read: {error}")))?;
    parse(&octets).map_err(|error| failed(&format_args!("{error}; it stays as it is: mend it, or name another file")))
}

/// What keys are sealed under, of the file at `path`, which must be there.
pub(crate) fn sealing(path: &Path) -> Result<SealingKeys, String> {
    let failed = |error: &dyn core::fmt::Display| format!("{}: {error}", path.display());
    let octets = read(path).map_err(|error| failed(&error))?;
    let text = std::str::from_utf8(&octets).map_err(|_| failed(&SealingKeyError::Malformed))?;
    SealingKeys::parse(text).map_err(|error| failed(&error))
}

/// The one line of the file at `path`.
pub(crate) fn secret(path: &Path) -> Result<Secret, String> {
    let octets = read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = std::str::from_utf8(&octets).map_err(|_| format!("{}: not text", path.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{}: is empty", path.display())),
        text => Ok(Secret::new(text)),
    }
}

/// The same, made if there is no such file. But where something was sealed already, it was under the key of a file that is gone.
pub(crate) fn sealing_or_new(path: &Path, is_used: bool) -> Result<SealingKeys, String> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return sealing(path),
    }
    if is_used {
        return Err(format!(
            "{}: is not there, and the signing keys in the store were sealed under it; restore it from a backup",
            path.display()
        ));
    }
    let keys = SealingKeys::generate().map_err(|error| error.to_string())?;
    match write_new(path, keys.to_text().as_bytes()) {
        Ok(()) => {
            tracing::info!(file = %path.display(), "made a key to seal signing keys under; keep it out of the database's backups");
            Ok(keys)
        }
        // Another process was first: its key holds.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => sealing(path),
        Err(error) => Err(format!("{}: cannot be made: {error}", path.display())),
    }
}

fn parse(octets: &[u8]) -> Result<SoftwareKey, KeyError> {
    if octets.trim_ascii_start().starts_with(b"{") {
        return SoftwareKey::from_jwk(octets.trim_ascii());
    }
    let text = std::str::from_utf8(octets).map_err(|_| KeyError::Pem)?;
    SoftwareKey::from_pem(text, None)
}

/// What is in a file that its owner alone may read; one that is handed over by another user, the group that gets it as well.
pub(crate) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Before it is opened, for opening a pipe would wait for whoever writes it.
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    check_mode(&about, path)?;
    let mut octets = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len().min(MAX_FILE)).unwrap_or(0) + 1));
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok(octets)
}

fn check_mode(about: &fs::Metadata, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let mode = about.permissions().mode() & 0o777;
    // As volumes of Kubernetes have them: root's, and readable by the group of the process. Nobody else is in that.
    let is_handed_over = about.uid() != rustix::process::geteuid().as_raw();
    let others = if is_handed_over { 0o037 } else { 0o077 };
    if mode & others == 0 {
        return Ok(());
    }
    let why = format!("others may read it (mode {mode:03o}); mend that: chmod 600 {}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn make(path: &Path) -> io::Result<SoftwareKey> {
    let key = SoftwareKey::generate(Alg::Es256).map_err(io::Error::other)?;
    let text = key.to_private_jwk().map_err(io::Error::other)?;
    write_new(path, text.as_bytes())?;
    Ok(key)
}

/// Writes a new file whole or not at all, and has it on the disk before it is used.
fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    let mut file = NamedTempFile::with_prefix_in(".new-", folder)?; // with mode 0600
    file.write_all(text)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|failed| failed.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn is_made_once_and_then_read() {
        let folder = folder();
        let path = folder.path().join("issuer-key.json");
        let made = open("signing_key", &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(open("signing_key", &path).unwrap().thumbprint(), made.thumbprint());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_key_stays() {
        let folder = folder();
        let path = folder.path().join("issuer-key.json");
        for (text, said) in [("", "no PEM block"), ("{\"kty\":\"EC\"", "not a JWK"), ("-----BEGIN", "no PEM block")] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = open("signing_key", &path).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("issuer-key.json"), "{text:?}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn others_must_not_read_it() {
        let folder = folder();
        let path = folder.path().join("issuer-key.json");
        open("signing_key", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open("signing_key", &path).unwrap_err().to_string();
        assert!(error.contains("others may read it (mode 640)") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_keys_are_sealed_under_is_made_once_and_never_again() {
        let folder = folder();
        let path = folder.path().join("keybound.db.key");
        let error = sealing_or_new(&path, true).unwrap_err();
        assert!(error.contains("is not there") && !path.exists(), "{error}");
        let made = sealing_or_new(&path, false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(sealing_or_new(&path, true), Ok(made.clone()));
        assert_eq!(sealing(&path), Ok(made));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = sealing_or_new(&path, false).unwrap_err();
        assert!(error.contains("others may read it (mode 644)"), "{error}");
    }

    #[test]
    fn a_folder_is_not_made() {
        let folder = folder();
        let error = open("signing_key", &folder.path().join("no/such/key.json")).unwrap_err().to_string();
        assert!(error.contains("cannot be made: No such file or directory"), "{error}");
        let error = open("signing_key", folder.path()).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
