//! The file of the nonce ring that processes share: made, turned, read, and read again when it changes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use keybound::crypto::aws_lc::random_array;
use keybound::nonce::NonceRing;
use keybound::time::UnixTime;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::signing_key::{folder_of, read as read_private};

/// Makes a ring of two new keys in a file of mode 0600.
///
/// # Errors
///
/// If there is such a file, or it cannot be written.
pub fn make(path: &Path) -> io::Result<NonceRing> {
    let random = || random_array().map_err(|error| io::Error::other(error.to_string()));
    let ring = NonceRing::generate(random()?, random()?, now());
    let file = written(path, &ring)?;
    file.persist_noclobber(path).map_err(|failed| failed.error)?;
    File::open(folder_of(path))?.sync_all()?;
    Ok(ring)
}

/// Turns the ring in a file, in one step: its next key becomes the current one, and there is a new one for the turn after that.
///
/// Whoever has the ring from before and whoever has the one from after know each other's nonces. So hand it to all processes
/// before it is turned again, and leave at least the life of a nonce in between.
///
/// # Errors
///
/// If it cannot be read or written. It stays as it is then.
pub fn turn(path: &Path) -> io::Result<NonceRing> {
    // Not the link that may lead to it: where that is, others may find it too.
    let path = &fs::canonicalize(path)?;
    let secret = random_array().map_err(|error| io::Error::other(error.to_string()))?;
    let ring = read(path).map_err(io::Error::other)?.turned(secret, now());
    written(path, &ring)?.persist(path).map_err(|failed| failed.error)?;
    File::open(folder_of(path))?.sync_all()?;
    Ok(ring)
}

/// The ring in a file that its owner alone may read; the words for a mistake if it is none.
pub(crate) fn read(path: &Path) -> Result<NonceRing, String> {
    let octets = read_private(path).map_err(|error| format!("cannot be read: {error}"))?;
    let text = std::str::from_utf8(&octets).map_err(|_| "is not text".to_owned())?;
    NonceRing::parse(text).map_err(|error| error.to_string())
}

/// A file that is looked at now and then.
#[derive(Debug, Default)]
pub(crate) struct Watched(Option<Stamp>);

/// What differs once a file was written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Watched {
    /// The ring in the file, if that is another file or was written since the last call. Where it cannot be used, the log says
    /// so once.
    pub(crate) fn look(&mut self, path: &Path) -> Option<NonceRing> {
        let stamp = fs::metadata(path).ok().map(|about| Stamp {
            modified: about.modified().ok(),
            length: about.len(),
            inode: std::os::unix::fs::MetadataExt::ino(&about),
        });
        if stamp == self.0 {
            return None;
        }
        self.0 = stamp;
        match read(path) {
            Ok(ring) => Some(ring),
            Err(why) => {
                tracing::error!(file = %path.display(), "the nonce ring {why}; the one before stays in force");
                None
            }
        }
    }
}

fn written(path: &Path, ring: &NonceRing) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_prefix_in(".new-", folder_of(path))?; // with mode 0600
    let mut text: Zeroizing<String> = ring.to_text();
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn now() -> UnixTime {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_ring_is_turned_where_a_link_leads() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("ring.json"), folder.path().join("link.json"));
        make(&path).unwrap();
        std::os::unix::fs::symlink("ring.json", &link).unwrap();
        assert_eq!(turn(&link).unwrap().current_id(), 2);
        assert_eq!(read(&path).unwrap().current_id(), 2);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(turn(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_ring_is_made_once_turned_often_and_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ring.json");
        let mut watched = Watched::default();
        assert!(watched.look(&path).is_none());
        assert_eq!(make(&path).unwrap().current_id(), 1);
        assert_eq!(make(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(watched.look(&path).unwrap().current_id(), 1);
        assert!(watched.look(&path).is_none(), "nothing has changed");
        for id in 2..5 {
            assert_eq!(turn(&path).unwrap().current_id(), id);
            assert_eq!(watched.look(&path).unwrap().current_id(), id);
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().contains("others may read it"));
        assert!(turn(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "{}").unwrap();
        assert!(watched.look(&path).is_none());
        assert!(turn(&path).unwrap_err().to_string().contains("not a nonce ring"));
        assert_eq!(fs::read(&path).unwrap(), b"{}", "it stays as it is");
    }
}
