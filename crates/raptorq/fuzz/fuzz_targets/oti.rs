//! Feeds the `oti` entry.
#![no_main]

#[path = "../entry.rs"]
#[expect(dead_code, reason = "each target uses one entry")]
mod entry;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| entry::oti(octets));
