//! Private files: keys by name, and tokens between runs. Directories have mode 0700 and files 0600; what others could read is
//! not believed. On systems without such modes the user's own directory is what protects them.

mod keys;
mod os;
mod tokens;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

pub use keys::{KeyFileError, KeyStore, is_former, parse_key, read_key, read_public_jwk};
pub use os::Keeper;
pub use tokens::TokenFiles;

/// The largest file read here; a key of RSA-4096 takes 4 KiB.
const MAX_FILE: u64 = 64 * 1024;

/// Where keybound keeps what belongs to this user: `$KEYBOUND_HOME`, else `keybound` in the platform's directory for data
/// (`$XDG_DATA_HOME` or `~/.local/share`, `~/Library/Application Support`, `%APPDATA%`). `None` if there is no home.
pub fn home() -> Option<PathBuf> {
    match std::env::var_os("KEYBOUND_HOME") {
        Some(home) if !home.is_empty() => Some(home.into()),
        _ => dirs::data_dir().map(|data| data.join("keybound")),
    }
}

/// Reads a file that only its owner may read.
fn read_private(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let (file, about) = open_regular(path)?;
    check_mode(&about, path)?;
    read_bounded(file, &about)
}

/// Reads a file that anybody may read.
fn read_public(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let (file, about) = open_regular(path)?;
    read_bounded(file, &about)
}

fn open_regular(path: &Path) -> io::Result<(File, fs::Metadata)> {
    let regular = |about: fs::Metadata| match about.is_file() {
        true => Ok(about),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    };
    // Before it is opened, for opening a pipe would wait for whoever writes it.
    regular(fs::metadata(path)?)?;
    let file = File::open(path)?;
    let about = regular(file.metadata()?)?; // of what was opened, whatever the name means by now
    Ok((file, about))
}

fn read_bounded(file: File, about: &fs::Metadata) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::with_capacity(usize::try_from(about.len().min(MAX_FILE)).unwrap_or(0) + 1));
    file.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 KiB"));
    }
    Ok(octets)
}

#[cfg(unix)]
fn check_mode(about: &fs::Metadata, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let why = format!("others may read it (mode {mode:03o}); mend that: chmod 600 {}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

#[cfg(not(unix))]
fn check_mode(_: &fs::Metadata, _: &Path) -> io::Result<()> {
    Ok(())
}

/// What to do with a file that is there already.
#[derive(Clone, Copy)]
enum Present {
    Keep,
    Replace,
}

/// Writes a private file whole or not at all, and has it on the disk before it returns.
fn write_private(directory: &Path, name: &OsStr, octets: &[u8], present: Present) -> io::Result<()> {
    make_directory(directory)?;
    let mut file = NamedTempFile::with_prefix_in(".new-", directory)?; // created with mode 0600
    file.write_all(octets)?;
    file.as_file().sync_all()?;
    let path = directory.join(name);
    match present {
        Present::Keep => file.persist_noclobber(path).map(drop),
        Present::Replace => file.persist(path).map(drop),
    }
    .map_err(|failed| failed.error)?;
    sync_directory(directory)
}

/// Opens an empty file to be locked, in a private directory.
fn open_lock(directory: &Path, name: &str) -> io::Result<File> {
    make_directory(directory)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(directory.join(name))
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|why| {
        let kind = match why.kind() {
            io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory, // in its place is something else
            kind => kind,
        };
        io::Error::new(kind, format!("the directory {} cannot be made: {why}", directory.display()))
    })
}

/// A name is on the disk once its directory is.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        OpenOptions::new().read(true).open(directory)?.sync_all()?;
    }
    Ok(())
}
