#![no_main]
#![allow(dead_code, reason = "the entries of all targets are in one file")]

#[path = "../../crates/keybound/tests/corpus/entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::json(data));
