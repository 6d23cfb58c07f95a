//! Files that a configuration names, and the configuration itself: regular ones alone, and never more of them than is sensible.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::AwsLc;
use keybound::token::jwt::KeySet;

use super::section::shortened;

/// The most that is read of a configuration, and of certificates: the authorities of a whole system take a quarter of it.
pub(super) const LARGE: u64 = 1 << 20;

/// The most that is read of keys and secrets.
pub(super) const SMALL: u64 = 256 << 10;

/// A file of public keys, with what was in it when the configuration was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyFile {
    /// Where.
    pub path: PathBuf,
    pub(crate) keys: KeySet,
}

impl KeyFile {
    /// The public keys in the file `text`, which is relative to `base`; `algs` are the algorithms they are for.
    pub(super) fn read(base: &Path, text: &str, algs: AlgSet) -> Result<Self, String> {
        let path = readable(base, text)?;
        let octets = octets(&path, SMALL).map_err(|error| format!("{:?} cannot be read: {error}", shortened(text)))?;
        let keys = KeySet::read_strictly(&octets, &AwsLc, algs);
        Ok(Self { keys: keys.map_err(|error| format!("{:?}: {error}", shortened(text)))?, path })
    }
}

/// The path of a file that can be read now.
pub(super) fn readable(base: &Path, text: &str) -> Result<PathBuf, String> {
    let path = base.join(text);
    match regular(&path).and_then(|()| File::open(&path)) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(format!("{:?} is not a file", shortened(text)))
        }
        Err(error) => Err(format!(
            "{:?} cannot be read: {error}; paths are relative to the folder of the configuration",
            shortened(text)
        )),
    }
}

/// What is in the file, if that is not more than `most`.
pub(super) fn octets(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    regular(path)?;
    let mut octets = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {} KiB", most >> 10)));
    }
    Ok(octets)
}

/// The same, as text.
pub(super) fn text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(octets(path, most)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))
}

/// Looked at before it is opened, for opening a pipe would wait for whoever writes it.
fn regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path)? {
        about if about.is_file() => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Whoever opens a pipe waits, and whoever reads /dev/zero does so for ever.
    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero"), folder.path()] {
            assert_eq!(octets(path, SMALL).unwrap_err().to_string(), "not a regular file", "{path:?}");
            let said = readable(Path::new(""), path.to_str().unwrap()).unwrap_err();
            assert!(said.ends_with("is not a file"), "{said}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(octets(&path, SMALL).unwrap_err().to_string(), "larger than 256 KiB");
        File::create(&path).unwrap().set_len(SMALL).unwrap();
        assert_eq!(octets(&path, SMALL).unwrap().len(), 256 << 10);
        fs::write(&path, [0xff]).unwrap();
        assert_eq!(text(&path, SMALL).unwrap_err().to_string(), "not UTF-8");
    }
}
