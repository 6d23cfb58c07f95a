//! The folder: whose it is, its epoch, and what is in its files.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::Hasher as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use keybound::crypto::aws_lc::random_array;
use keybound::replay::Epoch;
use keybound::time::UnixTime;
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use super::FileStoreError;
use super::gone::remove_expired;
use super::log::{self, Found};

/// In front of the head: what it is, and its version.
const MAGIC: [u8; 8] = *b"kbproof2";

const HEAD: usize = 8 + 8 + 8 + 16 + 8 + 8;

/// The folder, as long as it is held.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Locked, against other processes; and here, against others that make a file.
    lock: Mutex<File>,
}

/// What stands in the file `head`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) epoch: Epoch,
    /// Of digests and checks.
    pub(super) key: [u8; 16],
    judged_by: u64,
}

/// What is in the files.
pub(super) struct Contents {
    /// By their numbers.
    pub(super) files: Vec<(u64, Found)>,
    /// Proofs that expire before this may have gone.
    pub(super) floor: UnixTime,
}

/// A folder and what its head says.
pub(super) struct Begun {
    pub(super) folder: Folder,
    pub(super) head: Head,
}

impl Head {
    pub(super) fn new(epoch: Epoch, key: [u8; 16], judged_by: &str) -> Self {
        let mut digest = SipHasher13::new_with_key(&key);
        digest.write(judged_by.as_bytes());
        Self { epoch, key, judged_by: digest.finish() }
    }

    fn to_octets(self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(HEAD);
        octets.extend(MAGIC);
        octets.extend(self.epoch.id().to_be_bytes());
        octets.extend(self.epoch.opened().as_secs().to_be_bytes());
        octets.extend(self.key);
        octets.extend(self.judged_by.to_be_bytes());
        octets.extend(self.check(&octets).to_be_bytes());
        octets
    }

    fn read(octets: &[u8]) -> Option<Self> {
        let rest = octets.strip_prefix(&MAGIC)?;
        let (id, rest) = rest.split_first_chunk::<8>()?;
        let (opened, rest) = rest.split_first_chunk::<8>()?;
        let (key, rest) = rest.split_first_chunk::<16>()?;
        let (judged_by, check) = rest.split_first_chunk::<8>()?;
        let epoch = Epoch::new(u64::from_be_bytes(*id), UnixTime::from_secs(u64::from_be_bytes(*opened)));
        let head = Self { epoch, key: *key, judged_by: u64::from_be_bytes(*judged_by) };
        let body = octets.get(..HEAD - 8)?;
        (check == head.check(body).to_be_bytes()).then_some(head)
    }

    fn check(&self, body: &[u8]) -> u64 {
        let mut check = SipHasher13::new_with_key(&self.key);
        check.write(body);
        check.finish()
    }
}

impl Folder {
    pub(super) fn open(path: &Path, judged_by: &str, now: UnixTime) -> Result<Begun, FileStoreError> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        check_mode(path)?;
        let lock = match made(&path.join("lock")) {
            // Left as it is: only its lock counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                OpenOptions::new().write(true).open(path.join("lock"))?
            }
            made => made?,
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(FileStoreError::Taken),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let folder = Self { path: path.to_owned(), lock: Mutex::new(lock) };
        let head = match fs::read(path.join("head")) {
            Ok(octets) => {
                let head = Head::read(&octets).ok_or(FileStoreError::Foreign)?;
                let same = Head::new(head.epoch, head.key, judged_by).judged_by == head.judged_by;
                if same { head } else { folder.begin(head.key, judged_by, now)? }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if folder.numbers()?.next().is_some() {
                    return Err(FileStoreError::Foreign);
                }
                folder.begin(random()?, judged_by, now)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Begun { folder, head })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A new epoch.
    pub(super) fn begin(&self, key: [u8; 16], judged_by: &str, now: UnixTime) -> io::Result<Head> {
        let head = Head::new(Epoch::new(u64::from_be_bytes(random()?), now), key, judged_by);
        self.write(&head)?;
        Ok(head)
    }

    /// The whole head, or the one before.
    pub(super) fn write(&self, head: &Head) -> io::Result<()> {
        self.put("head", &head.to_octets())
    }

    /// What is in the files that have not expired; the others are removed.
    pub(super) fn found(&self, key: &[u8; 16], now: UnixTime) -> io::Result<Contents> {
        let floor = remove_expired(&self.path, now)?;
        let read = |number| Ok((number, log::read(&fs::read(self.path.join(log::name_of(number)))?, key)));
        let files = self.numbers()?.map(read).collect::<io::Result<_>>()?;
        Ok(Contents { files, floor })
    }

    /// Makes whole what is not: what was not finished is left out, and what was damaged.
    pub(super) fn mend(&self, found: &[(u64, Found)], key: &[u8; 16]) -> io::Result<()> {
        for (number, found) in found.iter().filter(|(_, found)| !found.is_whole) {
            self.put(&log::name_of(*number), &log::whole(&found.lines, key))?;
        }
        Ok(())
    }

    /// A whole file of this name, which is found after a power failure too, or what was there before.
    pub(super) fn put(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let _alone = self.lock.lock();
        let beside = self.path.join("new");
        let mut file = match made(&beside) {
            // By a process that ended before it had its name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&beside)?;
                made(&beside)?
            }
            made => made?,
        };
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(beside, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }

    fn numbers(&self) -> io::Result<impl Iterator<Item = u64>> {
        let names = fs::read_dir(&self.path)?.map(|entry| entry.map(|entry| entry.file_name()));
        let names: Vec<_> = names.collect::<io::Result<_>>()?;
        Ok(names.into_iter().filter_map(|name| log::number_in(name.to_str()?)))
    }
}

/// A file that was not there, for this user alone: who could write in it could have a used proof admitted again.
fn made(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}

/// Who may write in a folder can put an older file in the place of another.
#[cfg(unix)]
fn check_mode(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    let about = fs::metadata(path)?;
    let mode = about.permissions().mode() & 0o777;
    if !others_may_write(mode, about.uid()) {
        return Ok(());
    }
    let why = format!("others may write there (mode {mode:03o}); mend that: chmod 700 {}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Volumes of Kubernetes are root's, and are written to by the group of the process; nobody else is in that.
#[cfg(unix)]
const fn others_may_write(mode: u32, owner: u32) -> bool {
    let others = if owner == 0 { 0o002 } else { 0o022 };
    mode & others != 0
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> io::Result<()> {
    Ok(())
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    random_array().map_err(|_| io::Error::other("there are no random numbers"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("proofs");
        drop(Folder::open(&path, "300 s", NOW).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for mode in [0o777, 0o1777, 0o702, 0o703] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Folder::open(&path, "300 s", NOW).err().expect("a refusal").to_string();
            let mode = mode & 0o777;
            let words = format!("others may write there (mode {mode:03o}); mend that: chmod 700 {}", path.display());
            assert_eq!(error, words);
        }
        for mode in [0o755, 0o750, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            drop(Folder::open(&path, "300 s", NOW).unwrap());
        }
    }

    #[test]
    fn a_group_may_write_to_what_is_handed_over_by_root() {
        for (mode, owner, expected) in
            [(0o775, 0, false), (0o775, 1000, true), (0o755, 1000, false), (0o777, 0, true), (0o702, 1000, true)]
        {
            assert_eq!(others_may_write(mode, owner), expected, "{mode:o} of {owner}");
        }
    }

    // A name that leads elsewhere, from when the folder was open to others: what it leads to is left alone.
    #[test]
    fn what_a_link_leads_to_is_not_written_to() {
        let place = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (place.path().join("proofs"), place.path().join("elsewhere"));
        fs::create_dir(&path).unwrap();
        fs::write(&elsewhere, "a poem").unwrap();
        for name in ["lock", "new"] {
            symlink(&elsewhere, path.join(name)).unwrap();
        }
        drop(Folder::open(&path, "300 s", NOW).unwrap());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "a poem");
        assert!(fs::symlink_metadata(path.join("head")).unwrap().is_file());
        assert!(!path.join("new").exists());
    }
}
