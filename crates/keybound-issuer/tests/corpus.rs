//! Replays what fuzzing the token endpoint started from and what it found.

#[path = "corpus/entry.rs"]
mod entry;

use std::fs;
use std::path::Path;

// R-SEC-12, R-AS-02
#[test]
fn every_file_of_the_corpus_is_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/token_request");
    let mut files = 0;
    for file in fs::read_dir(folder).expect("a corpus") {
        entry::token_request(&fs::read(file.expect("a file").path()).expect("a file"));
        files += 1;
    }
    assert!(files >= 10, "{files} files");
}
