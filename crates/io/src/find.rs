//! Finding a byte, a block at a time.

/// Bytes compared at once; the compiler makes vector instructions of it.
const BLOCK: usize = 32;

/// The position of the first `needle` in `haystack`.
pub(crate) fn find_byte(needle: u8, haystack: &[u8]) -> Option<usize> {
    let mut blocks = haystack.chunks_exact(BLOCK);
    let mut start = 0;
    for block in blocks.by_ref() {
        // Without an early exit, so that the whole block is compared in a few instructions.
        if block
            .iter()
            .fold(false, |found, &byte| found | (byte == needle))
        {
            return block
                .iter()
                .position(|&byte| byte == needle)
                .map(|at| start + at);
        }
        start += BLOCK;
    }
    blocks
        .remainder()
        .iter()
        .position(|&byte| byte == needle)
        .map(|at| start + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in prop::collection::vec(0u8..40, 0..200)) {
            prop_assert_eq!(find_byte(7, &bytes), bytes.iter().position(|&byte| byte == 7));
        }
    }
}
