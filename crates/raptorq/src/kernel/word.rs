//! Eight octets in an integer: for the ends of symbols that fill no vector.

use crate::octet::POLYNOMIAL;

const LOW_SEVEN: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const LOW_ONE: u64 = 0x0101_0101_0101_0101;

/// Eight doublings.
pub(super) fn double_word(v: u64) -> u64 {
    ((v & LOW_SEVEN) << 1) ^ (((v >> 7) & LOW_ONE) * u64::from(POLYNOMIAL))
}

/// The eight octets from `at`.
///
/// # Panics
/// If there are fewer.
#[inline]
pub(super) fn word(from: &[u8], at: usize) -> u64 {
    let octets = from[at..at + 8].first_chunk();
    u64::from_le_bytes(*octets.expect("the slice holds eight octets"))
}
