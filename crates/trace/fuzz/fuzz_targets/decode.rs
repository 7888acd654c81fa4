//! Feeds `fuzz_decode`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| asupersync_trace::fuzz_decode(octets));
