//! Object transmission information: what a receiver must know before the first packet.
//!
//! An [`Oti`] that exists is consistent: every constructor checks it, so later arithmetic neither
//! overflows nor divides by zero.
//!
//! # Source
//! RFC 6330, Sections 3.3.2, 3.3.3 and 4.3; erratum 5548 for the greatest transfer length.

use thiserror::Error;

use crate::code::SOURCE_SYMBOLS_MAX;
use crate::tables::SYSTEMATIC;

/// The greatest transfer length: 255 blocks of 56,403 symbols of 65,535 octets.
///
/// The RFC prints 946,270,874,880, which needs 256 blocks and so does not fit its 8-bit field
/// (erratum 5548).
pub const TRANSFER_LENGTH_MAX: u64 = 56_403 * 65_535 * 255;

/// Values that do not describe an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OtiError {
    /// The transfer length is outside `1..=942574504275`.
    #[error("a transfer length is 1 to {TRANSFER_LENGTH_MAX} octets, not {actual}")]
    TransferLength {
        /// Octets given.
        actual: u64,
    },
    /// The alignment is zero.
    #[error("the symbol alignment is zero")]
    Alignment,
    /// The symbol size is zero or not a multiple of the alignment.
    #[error("a symbol size of {actual} octets is not a positive multiple of {alignment}")]
    SymbolSize {
        /// Octets given.
        actual: u16,
        /// The alignment.
        alignment: u8,
    },
    /// The number of source blocks is zero, above 255, or above the number of symbols.
    #[error("{actual} source blocks, where 1 to {most} are possible")]
    SourceBlocks {
        /// Blocks given or needed.
        actual: u64,
        /// The most that are possible.
        most: u64,
    },
    /// The number of sub-blocks is zero, or larger than a symbol's aligned units.
    #[error("{actual} sub-blocks, where 1 to {most} are possible")]
    SubBlocks {
        /// Sub-blocks given.
        actual: u16,
        /// The most that are possible.
        most: u16,
    },
    /// A block would hold more than 56,403 symbols.
    #[error("a source block of {symbols} symbols, where at most {SOURCE_SYMBOLS_MAX} are possible")]
    BlockSymbols {
        /// Symbols of the largest block.
        symbols: u64,
    },
    /// The derivation's limits leave no choice.
    #[error("no sub-block fits {memory_bytes} octets of memory with this symbol size")]
    Unsatisfiable {
        /// The memory bound given.
        memory_bytes: u64,
    },
}

/// The parameters of an object, as they stand in the transmission information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OtiFields {
    /// `F`: octets of the object.
    pub transfer_length: u64,
    /// `T`: octets of a symbol.
    pub symbol_size: u16,
    /// `Z`: source blocks.
    pub source_blocks: u8,
    /// `N`: sub-blocks in each source block.
    pub sub_blocks: u16,
    /// `Al`: every sub-symbol is a multiple of this many octets.
    pub alignment: u8,
}

/// What the parameters are derived from (Section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Derivation {
    /// `F`: octets of the object.
    pub transfer_length: u64,
    /// `P'`: most octets of symbols in a packet.
    pub payload_size: u16,
    /// `WS`: most octets of a sub-block in the receiver's working memory.
    pub memory_bytes: u64,
    /// `Al`: symbol alignment in octets.
    pub alignment: u8,
    /// `SS`: least size of a sub-symbol, in units of `alignment`.
    pub sub_symbol_units: u8,
}

impl Derivation {
    /// Derivation for a file of `transfer_length` octets: 1280-octet symbols, alignment 8, and sub-blocks
    /// so large (128 MiB) that each block is one.
    #[must_use]
    pub const fn file(transfer_length: u64) -> Self {
        Self {
            transfer_length,
            payload_size: 1280,
            memory_bytes: 128 << 20,
            alignment: 8,
            sub_symbol_units: 8,
        }
    }
}

/// Consistent object transmission information.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{Oti, OtiFields};
/// let oti = Oti::new(OtiFields {
///     transfer_length: 10_000,
///     symbol_size: 96,
///     source_blocks: 1,
///     sub_blocks: 1,
///     alignment: 8,
/// })?;
/// assert_eq!(Oti::from_bytes(oti.to_bytes())?, oti);
/// # Ok::<(), asupersync_raptorq::OtiError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Oti {
    fields: OtiFields,
}

impl Oti {
    /// Checks the fields against each other.
    ///
    /// # Errors
    /// The first [`OtiError`] that applies.
    pub fn new(fields: OtiFields) -> Result<Self, OtiError> {
        let OtiFields {
            transfer_length,
            symbol_size,
            source_blocks,
            sub_blocks,
            alignment,
        } = fields;
        if !(1..=TRANSFER_LENGTH_MAX).contains(&transfer_length) {
            return Err(OtiError::TransferLength {
                actual: transfer_length,
            });
        }
        if alignment == 0 {
            return Err(OtiError::Alignment);
        }
        if symbol_size == 0 || !symbol_size.is_multiple_of(alignment.into()) {
            return Err(OtiError::SymbolSize {
                actual: symbol_size,
                alignment,
            });
        }
        let symbols = transfer_length.div_ceil(symbol_size.into());
        if source_blocks == 0 || u64::from(source_blocks) > symbols {
            let most = symbols.min(255);
            return Err(OtiError::SourceBlocks {
                actual: source_blocks.into(),
                most,
            });
        }
        let most = symbol_size / u16::from(alignment);
        if sub_blocks == 0 || sub_blocks > most {
            return Err(OtiError::SubBlocks {
                actual: sub_blocks,
                most,
            });
        }
        let symbols = symbols.div_ceil(source_blocks.into());
        if symbols > SOURCE_SYMBOLS_MAX.into() {
            return Err(OtiError::BlockSymbols { symbols });
        }
        Ok(Self { fields })
    }

    /// Derives the parameters as Section 4.3 recommends, with `T` the payload size rounded down to a
    /// multiple of the alignment.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`OtiError::SourceBlocks`] if more than 255 blocks would be needed, where
    /// the RFC's formula silently leaves its 8-bit field; [`OtiError::Unsatisfiable`] if no block fits
    /// the memory bound.
    pub fn derive(from: Derivation) -> Result<Self, OtiError> {
        let Derivation {
            transfer_length,
            payload_size,
            memory_bytes,
            alignment,
            sub_symbol_units,
        } = from;
        if alignment == 0 {
            return Err(OtiError::Alignment);
        }
        let al = u64::from(alignment);
        let symbol_size = payload_size - payload_size % u16::from(alignment);
        let t = u64::from(symbol_size);
        if symbol_size == 0 {
            return Err(OtiError::SymbolSize {
                actual: payload_size,
                alignment,
            });
        }
        if !(1..=TRANSFER_LENGTH_MAX).contains(&transfer_length) {
            return Err(OtiError::TransferLength {
                actual: transfer_length,
            });
        }
        let symbols = transfer_length.div_ceil(t);
        let sub_blocks_max = t / (u64::from(sub_symbol_units).max(1) * al);
        let largest = |n: u64| {
            let bound = memory_bytes / (al * t.div_ceil(al * n));
            let at = SYSTEMATIC.partition_point(|row| u64::from(row.0) <= bound);
            at.checked_sub(1).map(|at| u64::from(SYSTEMATIC[at].0))
        };
        let unsatisfiable = OtiError::Unsatisfiable { memory_bytes };
        if sub_blocks_max == 0 {
            return Err(unsatisfiable);
        }
        let source_blocks = symbols.div_ceil(largest(sub_blocks_max).ok_or(unsatisfiable)?);
        let sub_blocks = (1..=sub_blocks_max)
            .find(|&n| largest(n).is_some_and(|k| symbols.div_ceil(source_blocks) <= k))
            .ok_or(unsatisfiable)?;
        Self::new(OtiFields {
            transfer_length,
            symbol_size,
            source_blocks: source_blocks
                .try_into()
                .map_err(|_| OtiError::SourceBlocks {
                    actual: source_blocks,
                    most: 255,
                })?,
            sub_blocks: sub_blocks.try_into().map_err(|_| unsatisfiable)?,
            alignment,
        })
    }

    /// The fields.
    #[must_use]
    pub const fn fields(&self) -> &OtiFields {
        &self.fields
    }

    /// `Kt`: symbols of the whole object.
    #[must_use]
    pub const fn symbols(&self) -> u64 {
        self.fields
            .transfer_length
            .div_ceil(self.fields.symbol_size as u64)
    }

    /// The 12 octets: the common part (8), then the scheme-specific part (4).
    //= https://www.rfc-editor.org/rfc/rfc6330#section-3.3.3
    //# Transfer Length (F), Reserved, Symbol Size (T), Z, N, Al
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 12] {
        let fields = &self.fields;
        let mut bytes = [0; 12];
        bytes[..5].copy_from_slice(&fields.transfer_length.to_be_bytes()[3..]);
        bytes[6..8].copy_from_slice(&fields.symbol_size.to_be_bytes());
        bytes[8] = fields.source_blocks;
        bytes[9..11].copy_from_slice(&fields.sub_blocks.to_be_bytes());
        bytes[11] = fields.alignment;
        bytes
    }

    /// Reads the 12 octets; the reserved octet is ignored.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_bytes(bytes: [u8; 12]) -> Result<Self, OtiError> {
        let [f0, f1, f2, f3, f4, _, t0, t1, z, n0, n1, al] = bytes;
        Self::new(OtiFields {
            transfer_length: u64::from_be_bytes([0, 0, 0, f0, f1, f2, f3, f4]),
            symbol_size: u16::from_be_bytes([t0, t1]),
            source_blocks: z,
            sub_blocks: u16::from_be_bytes([n0, n1]),
            alignment: al,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: OtiFields = OtiFields {
        transfer_length: 1000,
        symbol_size: 64,
        source_blocks: 2,
        sub_blocks: 2,
        alignment: 8,
    };

    #[test]
    fn each_inconsistency_has_its_error() {
        assert!(Oti::new(GOOD).is_ok());
        let check = |fields, expected| assert_eq!(Oti::new(fields), Err(expected));
        for actual in [0, TRANSFER_LENGTH_MAX + 1, (1 << 40) - 1] {
            check(
                OtiFields {
                    transfer_length: actual,
                    ..GOOD
                },
                OtiError::TransferLength { actual },
            );
        }
        check(
            OtiFields {
                alignment: 0,
                ..GOOD
            },
            OtiError::Alignment,
        );
        for actual in [0, 63] {
            let error = OtiError::SymbolSize {
                actual,
                alignment: 8,
            };
            check(
                OtiFields {
                    symbol_size: actual,
                    ..GOOD
                },
                error,
            );
        }
        for actual in [0, 17] {
            let error = OtiError::SourceBlocks {
                actual: actual.into(),
                most: 16,
            };
            check(
                OtiFields {
                    source_blocks: actual,
                    ..GOOD
                },
                error,
            );
        }
        for actual in [0, 9] {
            let error = OtiError::SubBlocks { actual, most: 8 };
            check(
                OtiFields {
                    sub_blocks: actual,
                    ..GOOD
                },
                error,
            );
        }
        let large = OtiFields {
            transfer_length: 56_404 * 128,
            source_blocks: 1,
            ..GOOD
        };
        check(large, OtiError::BlockSymbols { symbols: 112_808 });
    }

    #[test]
    fn more_than_255_blocks_are_refused_not_truncated() {
        let from = Derivation {
            transfer_length: 20_000_000_000,
            payload_size: 1280,
            memory_bytes: 10_485_760,
            alignment: 8,
            sub_symbol_units: 8,
        };
        let error = Oti::derive(from).unwrap_err();
        assert_eq!(
            error,
            OtiError::SourceBlocks {
                actual: 278,
                most: 255
            }
        );
    }

    #[test]
    fn the_greatest_object_is_described() {
        let oti = Oti::new(OtiFields {
            transfer_length: TRANSFER_LENGTH_MAX,
            symbol_size: 65_535,
            source_blocks: 255,
            sub_blocks: 1,
            alignment: 1,
        })
        .unwrap();
        assert_eq!(Oti::from_bytes(oti.to_bytes()), Ok(oti));
    }

    #[test]
    fn hopeless_derivations_are_refused() {
        let base = Derivation::file(1000);
        for from in [
            Derivation {
                payload_size: 7,
                ..base
            },
            Derivation {
                alignment: 0,
                ..base
            },
            Derivation {
                memory_bytes: 100,
                ..base
            },
            Derivation {
                transfer_length: 0,
                ..base
            },
            Derivation {
                sub_symbol_units: 255,
                ..base
            },
        ] {
            assert!(Oti::derive(from).is_err(), "{from:?}");
        }
    }
}
