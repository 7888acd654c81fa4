//! Feeds `fuzz_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| asupersync_io::fuzz_lines(octets));
