#![no_main]

#[path = "../../crates/keybound-issuer/tests/corpus/entry.rs"]
mod entry;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::token_request(data));
