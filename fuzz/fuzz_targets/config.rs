#![no_main]

#[path = "../../crates/keybound-gateway/tests/corpus/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::config(data));
