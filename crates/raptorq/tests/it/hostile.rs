use proptest::collection::vec;
use proptest::prelude::*;

use crate::entry;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_transmission_information_is_consistent_or_refused(octets in vec(any::<u8>(), 0..40)) {
        entry::oti(&octets);
    }

    #[test]
    fn any_packets_leave_memory_bounded(octets in vec(any::<u8>(), 0..3000)) {
        entry::packets(&octets);
    }

    #[test]
    fn any_symbols_recover_the_block_or_give_an_error(octets in vec(any::<u8>(), 0..400)) {
        entry::symbols(&octets);
    }

    #[test]
    fn any_transcript_reads_back_or_is_refused(octets in vec(any::<u8>(), 0..200)) {
        entry::transcript(&octets);
    }
}
