//! Replays what fuzzing the configuration started from and what it found.

#[path = "corpus/entry.rs"]
mod entry;

use std::fs;
use std::path::Path;

// R-SEC-12
#[test]
fn every_file_of_the_corpus_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/config");
    let mut files = 0;
    for file in fs::read_dir(folder).expect("a corpus") {
        entry::config(&fs::read(file.expect("a file").path()).expect("a file"));
        files += 1;
    }
    assert!(files >= 10, "{files} files");
}
