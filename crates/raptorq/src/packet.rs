//! Packets: a payload identifier and whole symbols.
//!
//! # Source
//! RFC 6330, Sections 3.2 and 4.4.2.

use thiserror::Error;

use crate::code::{CodeError, ESI_MAX};
use crate::layout::BlockShape;
use crate::oti::Oti;

/// Which symbol of which block a packet begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayloadId {
    block: u8,
    esi: u32,
}

impl PayloadId {
    /// Octets of the identifier.
    pub const BYTES: usize = 4;

    /// The identifier of symbol `esi` of block `block`.
    ///
    /// # Errors
    /// [`CodeError::SymbolId`] if `esi` has more than 24 bits.
    pub const fn new(block: u8, esi: u32) -> Result<Self, CodeError> {
        if esi > ESI_MAX {
            return Err(CodeError::SymbolId { actual: esi as u64 });
        }
        Ok(Self { block, esi })
    }

    /// The source block number.
    #[must_use]
    pub const fn block(self) -> u8 {
        self.block
    }

    /// The encoding symbol identifier.
    #[must_use]
    pub const fn esi(self) -> u32 {
        self.esi
    }

    /// The four octets.
    //= https://www.rfc-editor.org/rfc/rfc6330#section-3.2
    //# Source Block Number (SBN): 8-bit unsigned integer, Encoding Symbol ID (ESI): 24-bit unsigned integer
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        ((self.block as u32) << 24 | self.esi).to_be_bytes()
    }

    /// Reads the four octets; all values are identifiers.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        let word = u32::from_be_bytes(bytes);
        Self {
            block: (word >> 24) as u8,
            esi: word & ESI_MAX,
        }
    }
}

/// Octets that are no packet of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The packet is shorter than its identifier.
    #[error("a packet of {actual} octets has no payload identifier")]
    NoPayloadId {
        /// Octets given.
        actual: usize,
    },
    /// The block is not one of the object's.
    #[error("block {block} of an object of {blocks}")]
    UnknownBlock {
        /// The block named.
        block: u8,
        /// Blocks of the object.
        blocks: u8,
    },
    /// The payload is not a positive number of whole symbols.
    #[error("{actual} octets are no whole number of {symbol}-octet symbols")]
    PartialSymbol {
        /// Octets given.
        actual: usize,
        /// Octets of a symbol, with its tag if it has one.
        symbol: usize,
    },
    /// The last symbol's identifier would have more than 24 bits.
    #[error("symbol {last} is beyond the 24-bit identifiers")]
    SymbolId {
        /// The identifier.
        last: u64,
    },
}

/// A checked packet: one or more symbols of one block.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{Derivation, Oti, Packet, PacketError};
/// let oti = Oti::derive(Derivation::file(5000))?;
/// let bytes = vec![0; 4 + 1280];
/// assert_eq!(Packet::parse(&oti, &bytes).map(|p| p.symbols().count()), Ok(1));
/// assert_eq!(Packet::parse(&oti, &bytes[..3]), Err(PacketError::NoPayloadId { actual: 3 }));
/// # Ok::<(), asupersync_raptorq::OtiError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    id: PayloadId,
    symbol: usize,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Checks a packet of the object that `oti` describes.
    ///
    /// The last symbol may lack its padding, if it is the last source symbol of its block.
    ///
    /// # Errors
    /// The first [`PacketError`] that applies.
    pub fn parse(oti: &Oti, bytes: &'a [u8]) -> Result<Self, PacketError> {
        let (shape, id, payload) = split(oti, bytes)?;
        let symbol = shape.symbol_size();
        let actual = payload.len();
        let count = actual.div_ceil(symbol);
        let last = last_id(id, count).ok_or(PacketError::PartialSymbol { actual, symbol })?;
        let missing = count * symbol - actual;
        let is_last_source = last == u64::from(shape.symbols()) - 1;
        if missing > 0 && !(is_last_source && missing <= shape.last_symbol_padding()) {
            return Err(PacketError::PartialSymbol { actual, symbol });
        }
        if last > ESI_MAX.into() {
            return Err(PacketError::SymbolId { last });
        }
        Ok(Self {
            id,
            symbol,
            payload,
        })
    }

    /// The identifier of the first symbol.
    #[must_use]
    pub const fn id(&self) -> PayloadId {
        self.id
    }

    /// The symbols with their identifiers.
    pub fn symbols(&self) -> impl ExactSizeIterator<Item = (PayloadId, &'a [u8])> + use<'a> {
        let id = self.id;
        self.payload
            .chunks(self.symbol)
            .enumerate()
            .map(move |(i, symbol)| {
                (
                    PayloadId {
                        block: id.block,
                        esi: id.esi + i as u32,
                    },
                    symbol,
                )
            })
    }
}

/// Splits off the identifier and finds the block.
pub(crate) fn split<'a>(
    oti: &Oti,
    bytes: &'a [u8],
) -> Result<(BlockShape, PayloadId, &'a [u8]), PacketError> {
    let Some((id, payload)) = bytes.split_first_chunk() else {
        return Err(PacketError::NoPayloadId {
            actual: bytes.len(),
        });
    };
    let id = PayloadId::from_bytes(*id);
    let blocks = oti.fields().source_blocks;
    let shape = BlockShape::of(oti, id.block).ok_or(PacketError::UnknownBlock {
        block: id.block,
        blocks,
    })?;
    Ok((shape, id, payload))
}

/// The identifier of the last of `count` symbols, if there is one.
pub(crate) fn last_id(id: PayloadId, count: usize) -> Option<u64> {
    Some(u64::from(id.esi) + count.checked_sub(1)? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oti::OtiFields;

    fn oti() -> Oti {
        Oti::new(OtiFields {
            transfer_length: 95,
            symbol_size: 10,
            source_blocks: 2,
            sub_blocks: 1,
            alignment: 1,
        })
        .unwrap()
    }

    fn check(block: u8, esi: u32, payload: usize, expected: Result<usize, PacketError>) {
        let mut bytes = PayloadId::new(block, esi).unwrap().to_bytes().to_vec();
        bytes.resize(4 + payload, 1);
        assert_eq!(
            Packet::parse(&oti(), &bytes).map(|packet| packet.symbols().len()),
            expected
        );
    }

    #[test]
    fn whole_symbols_are_accepted_and_others_refused() {
        check(0, 0, 10, Ok(1));
        check(0, 3, 40, Ok(4));
        check(
            0,
            0,
            0,
            Err(PacketError::PartialSymbol {
                actual: 0,
                symbol: 10,
            }),
        );
        check(
            0,
            0,
            11,
            Err(PacketError::PartialSymbol {
                actual: 11,
                symbol: 10,
            }),
        );
        check(
            2,
            0,
            10,
            Err(PacketError::UnknownBlock {
                block: 2,
                blocks: 2,
            }),
        );
        check(1, ESI_MAX, 10, Ok(1));
        check(1, ESI_MAX, 20, Err(PacketError::SymbolId { last: 1 << 24 }));
    }

    #[test]
    fn only_the_last_source_symbol_may_lack_its_padding() {
        check(1, 4, 5, Ok(1));
        check(1, 3, 15, Ok(2));
        check(
            1,
            4,
            4,
            Err(PacketError::PartialSymbol {
                actual: 4,
                symbol: 10,
            }),
        );
        check(
            1,
            3,
            5,
            Err(PacketError::PartialSymbol {
                actual: 5,
                symbol: 10,
            }),
        );
        check(
            1,
            5,
            5,
            Err(PacketError::PartialSymbol {
                actual: 5,
                symbol: 10,
            }),
        );
        check(
            0,
            4,
            5,
            Err(PacketError::PartialSymbol {
                actual: 5,
                symbol: 10,
            }),
        );
    }
}
