use core::time::Duration;
use std::fs;
use std::path::PathBuf;

use super::*;
use keybound::jwk::Thumbprint;
use keybound::replay::suite;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn open(folder: &Path, now: UnixTime) -> Result<FileStore, FileStoreError> {
    FileStore::open(folder, MemoryLimits::new(), "300 s", now)
}

fn entry<'t>(store: &FileStore, jti: &'t str, lives: u64) -> ReplayEntry<'t> {
    let expires = NOW.plus(Duration::from_secs(lives));
    ReplayEntry::new(Thumbprint::from_bytes([1; 32]), jti, "https://a/", store.epoch(), expires)
}

fn proof_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "proofs")).collect()
}

#[tokio::test]
async fn it_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    suite::run(&store, "first", NOW).await;
    assert!(matches!(open(folder.path(), NOW), Err(FileStoreError::Taken)));
}

// R-SEC-02, R-SEC-03: a restart forgets nothing, and no barrier is raised.
#[tokio::test]
async fn a_restart_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    let epoch = store.epoch();
    for lives in [20, 306, 86_400] {
        assert_eq!(store.record(&entry(&store, &lives.to_string(), lives), NOW).await, Ok(Seen::Never));
    }
    drop(store);
    let later = NOW.plus(Duration::from_secs(306));
    let store = open(folder.path(), later).unwrap();
    assert_eq!(store.epoch(), epoch);
    assert_eq!(store.record(&entry(&store, "306", 306), later).await, Ok(Seen::Before));
    assert_eq!(store.record(&entry(&store, "86400", 86_400), later).await, Ok(Seen::Before));
    assert_eq!(store.record(&entry(&store, "20", 20), later).await, Ok(Seen::Forgotten));
    assert_eq!(store.record(&entry(&store, "new", 600), later).await, Ok(Seen::Never));
    assert_eq!(store.memory().entries(), 3);
}

#[tokio::test]
async fn files_go_whole_with_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    for lives in [10, 300, 5000] {
        assert_eq!(store.record(&entry(&store, &lives.to_string(), lives), NOW).await, Ok(Seen::Never));
    }
    assert_eq!(proof_files(folder.path()).len(), 3);
    store.sweep(NOW.plus(Duration::from_secs(700)));
    drop(store);
    assert_eq!(proof_files(folder.path()).len(), 1);
}

/// What was recorded at `NOW`, here under the epoch in force: never new again.
async fn is_forgotten(store: &FileStore, jti: &str, lives: u64, now: UnixTime) {
    assert_eq!(store.record(&entry(store, jti, lives), now).await, Ok(Seen::Forgotten), "{jti}");
}

// R-SEC-03: a clock that was ahead for a moment has removed a file; that is known after a restart, too.
#[tokio::test]
async fn what_a_clock_ahead_has_removed_is_forgotten_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    let epoch = store.epoch();
    for lives in [10, 300, 5000] {
        assert_eq!(store.record(&entry(&store, &lives.to_string(), lives), NOW).await, Ok(Seen::Never));
    }
    store.sweep(NOW.plus(Duration::from_secs(900)));
    is_forgotten(&store, "300", 300, NOW).await;
    drop(store);
    for _ in 0..2 {
        let store = open(folder.path(), NOW).unwrap();
        assert_eq!((store.epoch(), proof_files(folder.path()).len()), (epoch, 1));
        for lives in [10, 300] {
            is_forgotten(&store, &lives.to_string(), lives, NOW).await;
        }
        assert_eq!(store.record(&entry(&store, "5000", 5000), NOW).await, Ok(Seen::Before));
    }
}

// R-SEC-03: no less if it is ahead at a start, whether a file goes by it or only some of the proofs in one.
#[tokio::test]
async fn what_has_expired_by_a_clock_ahead_at_the_start_is_forgotten() {
    for ahead in [299, 300, 301, 304, 308, 312, 511, 512, 900] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), NOW).unwrap();
        assert_eq!(store.record(&entry(&store, "a", 300), NOW).await, Ok(Seen::Never));
        assert_eq!(store.record(&entry(&store, "b", 305), NOW).await, Ok(Seen::Never));
        drop(store);
        let store = open(folder.path(), NOW.plus(Duration::from_secs(ahead))).unwrap();
        for (jti, lives) in [("a", 300), ("b", 305)] {
            let seen = store.record(&entry(&store, jti, lives), NOW).await;
            assert!(matches!(seen, Ok(Seen::Before | Seen::Forgotten)), "{jti}, {ahead} s ahead: {seen:?}");
        }
        drop(store);
        let store = open(folder.path(), NOW).unwrap();
        for (jti, lives) in [("a", 300), ("b", 305)] {
            let seen = store.record(&entry(&store, jti, lives), NOW).await;
            assert!(matches!(seen, Ok(Seen::Before | Seen::Forgotten)), "{jti}, {ahead} s ahead before: {seen:?}");
        }
    }
}

// Where no clock steps back, what has gone refuses nobody.
#[tokio::test]
async fn files_that_go_in_time_cost_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let mut now = NOW;
    for round in 0..30_u64 {
        let store = open(folder.path(), now).unwrap();
        for lives in [0, 1, 306] {
            let expires = now.plus(Duration::from_secs(lives));
            let jti = format!("{round} {lives}");
            let entry = ReplayEntry::new(Thumbprint::from_bytes([1; 32]), &jti, "https://a/", store.epoch(), expires);
            assert_eq!(store.record(&entry, now).await, Ok(Seen::Never), "{jti}");
        }
        now = now.plus(Duration::from_secs(97));
        store.sweep(now);
    }
    let gone = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let gone: Vec<_> = gone.filter(|path| path.extension().is_some_and(|extension| extension == "gone")).collect();
    assert_eq!((gone.len(), fs::metadata(&gone[0]).unwrap().len()), (1, 0));
}

// A change of what proofs are judged by over a restart is as good as one in between.
#[test]
fn other_windows_begin_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let epoch = open(folder.path(), NOW).unwrap().epoch();
    let opened = |judged_by| {
        FileStore::open(folder.path(), MemoryLimits::new(), judged_by, NOW.plus(Duration::from_secs(9)))
            .unwrap()
            .epoch()
    };
    assert_eq!(opened("300 s"), epoch);
    let other = opened("600 s");
    assert!(other.id() != epoch.id() && other.opened() > epoch.opened());
    assert_eq!(opened("600 s"), other);
}

// A change that needs no epoch is noticed by a restart that would need one.
#[test]
fn what_proofs_are_judged_by_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    let epoch = store.epoch();
    store.judge_by("300 s, /open is not recorded").unwrap();
    assert_eq!(store.epoch(), epoch);
    drop(store);
    assert_ne!(open(folder.path(), NOW).unwrap().epoch().id(), epoch.id());
}

#[tokio::test]
async fn an_epoch_that_was_raised_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    let judged = entry(&store, "a", 300);
    store.raise("600 s", Epoch::new(77, NOW)).unwrap();
    assert_eq!(store.record(&judged, NOW).await, Ok(Seen::Forgotten));
    drop(store);
    let store = FileStore::open(folder.path(), MemoryLimits::new(), "600 s", NOW).unwrap();
    assert_eq!(store.epoch(), Epoch::new(77, NOW));
}

// What was being written when the power failed was not answered: it goes, and the rest stays, under the same epoch.
#[tokio::test]
async fn an_unfinished_line_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (epoch, file) = three(folder.path()).await;
    let whole = fs::read(&file).unwrap();
    for more in [1, log::LINE - 1, log::LINE, log::LINE + 1] {
        fs::write(&file, [&whole[..], &vec![7; more]].concat()).unwrap();
        let store = open(folder.path(), NOW).unwrap();
        assert_eq!((store.epoch(), store.memory().entries()), (epoch, 3), "{more} octets more");
        // What follows is appended where the good part ends.
        assert_eq!(store.record(&entry(&store, "d", 300), NOW).await, Ok(Seen::Never));
        drop(store);
        let store = open(folder.path(), NOW).unwrap();
        assert_eq!((store.epoch(), store.memory().entries()), (epoch, 4), "{more} octets more");
    }
}

// What was answered and is gone could be used again: the epoch is another one, once.
#[tokio::test]
async fn a_file_that_has_lost_something_begins_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (before, file) = three(folder.path()).await;
    let head = fs::read(folder.path().join("head")).unwrap();
    let whole = fs::read(&file).unwrap();
    let cut = |octets| (format!("{octets} octets left"), whole[..octets].to_vec());
    let shorter = [0, 1, log::LINE - 1, log::LINE, 2 * log::LINE, 4 * log::LINE - 1].map(cut);
    let broken = [0, 15, log::LINE, log::LINE + 20, 4 * log::LINE - 1].map(|position| {
        let mut broken = whole.clone();
        broken[position] ^= 1;
        (format!("octet {position}"), broken)
    });
    for (what, octets) in shorter.into_iter().chain(broken) {
        fs::write(folder.path().join("head"), &head).unwrap();
        fs::write(&file, octets).unwrap();
        let store = open(folder.path(), NOW).unwrap();
        assert_ne!(store.epoch().id(), before.id(), "{what}");
        let epoch = store.epoch();
        assert_eq!(store.record(&entry(&store, "d", 300), NOW).await, Ok(Seen::Never));
        drop(store);
        let store = open(folder.path(), NOW).unwrap();
        assert_eq!(store.epoch(), epoch, "{what}");
        assert_eq!(store.record(&entry(&store, "d", 300), NOW).await, Ok(Seen::Before));
    }
}

/// Three proofs in one file.
async fn three(folder: &Path) -> (Epoch, PathBuf) {
    let store = open(folder, NOW).unwrap();
    for jti in ["a", "b", "c"] {
        assert_eq!(store.record(&entry(&store, jti, 300), NOW).await, Ok(Seen::Never));
    }
    (store.epoch(), proof_files(folder).remove(0))
}

#[test]
fn what_is_not_of_this_kind_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), NOW).unwrap());
    let head = folder.path().join("head");
    let whole = fs::read(&head).unwrap();
    for position in 0..whole.len() {
        let mut broken = whole.clone();
        broken[position] ^= 1;
        fs::write(&head, &broken).unwrap();
        assert!(matches!(open(folder.path(), NOW), Err(FileStoreError::Foreign)), "octet {position}");
        assert_eq!(fs::read(&head).unwrap(), broken);
    }
    fs::remove_file(&head).unwrap();
    fs::write(folder.path().join("1.proofs"), "").unwrap();
    assert!(matches!(open(folder.path(), NOW), Err(FileStoreError::Foreign)));
}

// What cannot be written is not admitted, and whatever comes after it neither.
#[tokio::test]
async fn a_disk_that_fails_admits_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), NOW).unwrap();
    assert_eq!(store.record(&entry(&store, "a", 300), NOW).await, Ok(Seen::Never));
    // In place of the file that comes next there is a folder.
    fs::create_dir(folder.path().join(log::name_of(log::number_of(NOW.plus(Duration::from_secs(5000)))))).unwrap();
    assert_eq!(store.record(&entry(&store, "b", 5000), NOW).await, Err(Fault::ReplayUnreachable));
    assert_eq!(store.record(&entry(&store, "c", 300), NOW).await, Err(Fault::ReplayUnreachable));
    assert_eq!(store.record(&entry(&store, "a", 300), NOW).await, Ok(Seen::Before));
    let FileStoreFigures { is_there, no_room, unwritten } = store.figures();
    assert_eq!((is_there, no_room, unwritten), (false, 0, 2));
}

// R-SEC-03: what does not fit is not known any more, so the epoch is another one, once; what does fit is known all the same.
#[tokio::test]
async fn what_does_not_fit_begins_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (before, _) = three(folder.path()).await;
    let open = |now| FileStore::open(folder.path(), MemoryLimits::new().per_key(2), "300 s", now).unwrap();
    let later = NOW.plus(Duration::from_secs(9));
    let store = open(later);
    let epoch = store.epoch();
    assert!(epoch.id() != before.id() && epoch.opened() == later, "whatever was judged before meets a barrier");
    let mut known = 0;
    for jti in ["a", "b", "c"] {
        known += usize::from(store.record(&entry(&store, jti, 300), later).await == Ok(Seen::Before));
    }
    assert_eq!((known, store.memory().entries()), (2, 2));
    drop(store);
    let store = open(later);
    assert_eq!((store.epoch(), store.memory().entries()), (epoch, 2), "it fits the next time");
}

// The same limits may be too small for what they held: how much room tables take goes by digests under a key of each process.
#[tokio::test]
async fn a_folder_that_was_filled_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let limits = MemoryLimits::new().bytes(keybound::replay::memory::MIN_BYTES);
    let open = || FileStore::open(folder.path(), limits, "300 s", NOW).unwrap();
    let store = open();
    let (mut admitted, mut is_full) = (Vec::new(), false);
    for key in 0..255_u8 {
        let jtis: Vec<_> = (0..1000).map(|number| format!("{key} {number}")).collect();
        let seen = futures_util::future::join_all(jtis.iter().map(|jti| async {
            let jkt = Thumbprint::from_bytes([key; 32]);
            let expires = NOW.plus(Duration::from_secs(300));
            store.record(&ReplayEntry::new(jkt, jti, "https://a/", store.epoch(), expires), NOW).await
        }));
        for (jti, seen) in jtis.iter().zip(seen.await) {
            match seen {
                Ok(Seen::Never) => admitted.push((key, jti.clone())),
                seen => {
                    assert_eq!(seen, Err(Fault::ReplayFull));
                    is_full = true;
                }
            }
        }
        if is_full {
            break;
        }
    }
    assert!(is_full && admitted.len() > 10_000, "{}", admitted.len());
    let before = store.epoch();
    drop(store);
    let (mut known, mut epoch) = (admitted.len(), before);
    for _ in 0..8 {
        let store = open();
        let entries = store.memory().entries();
        assert_eq!(entries < known, store.epoch() != epoch, "an epoch for what is left out, and for nothing else");
        (known, epoch) = (entries, store.epoch());
        for (key, jti) in &admitted {
            let jkt = Thumbprint::from_bytes([*key; 32]);
            let expires = NOW.plus(Duration::from_secs(300));
            let seen = store.record(&ReplayEntry::new(jkt, jti, "https://a/", before, expires), NOW).await;
            assert_eq!(seen, Ok(if epoch == before { Seen::Before } else { Seen::Forgotten }), "{key} {jti}");
        }
    }
}
