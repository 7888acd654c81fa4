//! Feeds `fuzz_length_delimited`.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| asupersync_io::fuzz_length_delimited(octets));
