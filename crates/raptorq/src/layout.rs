//! Where an object's octets go: source blocks, sub-blocks, symbols.
//!
//! An object is cut into `Z` blocks, a block into `N` sub-blocks; sub-block `j` holds the `j`th
//! sub-symbol of each symbol of the block. With `N = 1` symbols are consecutive octets of the object.
//! Only the last block can be short; the rest of its last octets is zero and is never sent on.
//!
//! # Source
//! RFC 6330, Section 4.4.1.2.

use crate::code::{Code, CodeError};
use crate::oti::Oti;

/// How one source block lies in the object.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{BlockShape, Oti, Derivation};
/// let oti = Oti::derive(Derivation::file(3000))?;
/// let shape = BlockShape::of(&oti, 0).expect("the object has a block");
/// assert_eq!((shape.symbols(), shape.offset(), shape.len()), (3, 0, 3000));
/// # Ok::<(), asupersync_raptorq::OtiError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockShape {
    number: u8,
    offset: u64,
    len: usize,
    symbol: usize,
    code: Code,
    parts: SubSymbols,
}

/// The sizes of sub-symbols: the first `large_count` are `large` octets, the others `small`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SubSymbols {
    large: usize,
    large_count: usize,
    small: usize,
    small_count: usize,
}

/// `Partition[I, J]`: sizes of `count` parts of `total`, as equal as can be.
struct Partition {
    large: u64,
    small: u64,
    large_count: u64,
}

impl Partition {
    //= https://www.rfc-editor.org/rfc/rfc6330#section-4.4.1.2
    //# IL = ceil(I/J), IS = floor(I/J), JL = I - IS * J, and JS = J - JL.
    const fn new(total: u64, count: u64) -> Self {
        let small = total / count;
        Self {
            large: total.div_ceil(count),
            small,
            large_count: total - small * count,
        }
    }
}

impl BlockShape {
    /// The shape of block `number`, or `None` if the object has no such block.
    #[must_use]
    pub fn of(oti: &Oti, number: u8) -> Option<Self> {
        let fields = oti.fields();
        if number >= fields.source_blocks {
            return None;
        }
        let symbol = u64::from(fields.symbol_size);
        let blocks = Partition::new(oti.symbols(), fields.source_blocks.into());
        let index = u64::from(number);
        let (before, symbols) = if index < blocks.large_count {
            (index * blocks.large, blocks.large)
        } else {
            let after = index - blocks.large_count;
            (
                blocks.large_count * blocks.large + after * blocks.small,
                blocks.small,
            )
        };
        let offset = before * symbol;
        let len = (symbols * symbol).min(fields.transfer_length - offset);
        let alignment = u64::from(fields.alignment);
        let parts = Partition::new(symbol / alignment, fields.sub_blocks.into());
        let parts = SubSymbols {
            large: (parts.large * alignment) as usize,
            large_count: parts.large_count as usize,
            small: (parts.small * alignment) as usize,
            small_count: fields.sub_blocks as usize - parts.large_count as usize,
        };
        let code = Code::new(symbols as u32).expect("the OTI bounds the symbols of a block");
        Some(Self {
            number,
            offset,
            len: len as usize,
            symbol: symbol as usize,
            code,
            parts,
        })
    }

    /// The shape of a block on its own: number 0, `symbols` symbols of `symbol_size` octets.
    ///
    /// # Errors
    /// [`CodeError::SourceSymbols`] if no code has that many symbols; [`CodeError::Length`] if a symbol
    /// has no octets.
    pub fn single(symbols: u32, symbol_size: u16) -> Result<Self, CodeError> {
        let code = Code::new(symbols)?;
        let symbol = symbol_size as usize;
        if symbol == 0 {
            return Err(CodeError::Length {
                expected: 1,
                actual: 0,
            });
        }
        let parts = SubSymbols {
            large: 0,
            large_count: 0,
            small: symbol,
            small_count: 1,
        };
        Ok(Self {
            number: 0,
            offset: 0,
            len: symbols as usize * symbol,
            symbol,
            code,
            parts,
        })
    }

    /// The block's number in the object.
    #[must_use]
    pub const fn number(&self) -> u8 {
        self.number
    }

    /// The code of the block.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.code
    }

    /// `K`: source symbols.
    #[must_use]
    pub const fn symbols(&self) -> u32 {
        self.code.source_symbols()
    }

    /// `T`: octets in a symbol.
    #[must_use]
    pub const fn symbol_size(&self) -> usize {
        self.symbol
    }

    /// Where the block begins in the object, in octets.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Octets of the object in this block, padding not counted.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Octets of the block, padding included.
    #[must_use]
    pub const fn padded_len(&self) -> usize {
        self.code.source_symbols() as usize * self.symbol
    }

    /// Octets at the end of the last source symbol that are padding and need not be sent.
    #[must_use]
    pub const fn last_symbol_padding(&self) -> usize {
        let padding = self.padded_len() - self.len;
        let last = if self.parts.small_count > 0 {
            self.parts.small
        } else {
            self.parts.large
        };
        if padding < last { padding } else { last }
    }

    /// Whether symbols are consecutive octets of the block.
    pub(crate) const fn is_plain(&self) -> bool {
        self.parts.large_count + self.parts.small_count == 1
    }

    /// From object order to symbol order, with padding; `block` is at most `padded_len` octets.
    pub(crate) fn interleave(&self, block: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.padded_len()];
        if self.is_plain() {
            out[..block.len()].copy_from_slice(block);
            return out;
        }
        self.each_part(|from, to, len| {
            let end = block.len().min(from + len);
            if from < end {
                out[to..to + (end - from)].copy_from_slice(&block[from..end]);
            }
        });
        out
    }

    /// From symbol order to object order; padding is cut off.
    pub(crate) fn deinterleave(&self, mut symbols: Vec<u8>) -> Vec<u8> {
        if self.is_plain() {
            symbols.truncate(self.len);
            return symbols;
        }
        let mut out = vec![0; self.padded_len()];
        self.each_part(|to, from, len| {
            out[to..to + len].copy_from_slice(&symbols[from..from + len]);
        });
        out.truncate(self.len);
        out
    }

    /// Calls with the place in the block, the place in symbol order, and the length of each
    /// sub-symbol.
    fn each_part(&self, mut each: impl FnMut(usize, usize, usize)) {
        let SubSymbols {
            large,
            large_count,
            small,
            small_count,
        } = self.parts;
        let sizes =
            std::iter::repeat_n(large, large_count).chain(std::iter::repeat_n(small, small_count));
        let (mut at, mut within) = (0, 0);
        for size in sizes {
            for symbol in 0..self.symbols() as usize {
                each(at, symbol * self.symbol + within, size);
                at += size;
            }
            within += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oti::OtiFields;

    fn shapes(fields: OtiFields) -> Vec<BlockShape> {
        let oti = Oti::new(fields).unwrap();
        (0..fields.source_blocks)
            .map(|n| BlockShape::of(&oti, n).unwrap())
            .collect()
    }

    #[test]
    fn blocks_cover_the_object_without_gap_or_overlap() {
        for (transfer_length, source_blocks) in [(1, 1), (1000, 3), (1001, 16), (64 * 255, 255)] {
            let fields = OtiFields {
                transfer_length,
                symbol_size: 64,
                source_blocks,
                sub_blocks: 3,
                alignment: 8,
            };
            let mut at = 0;
            for shape in shapes(fields) {
                assert_eq!(shape.offset(), at);
                at += shape.len() as u64;
            }
            assert_eq!(at, transfer_length);
        }
    }

    #[test]
    fn interleaving_is_undone_for_every_split() {
        for (len, symbol, sub_blocks) in [(97, 24, 3), (96, 24, 2), (1, 16, 16), (500, 60, 7)] {
            let shape = shapes(OtiFields {
                transfer_length: len,
                symbol_size: symbol,
                source_blocks: 1,
                sub_blocks,
                alignment: 1,
            })[0];
            let block: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let symbols = shape.interleave(&block);
            assert_eq!(symbols.len(), shape.padded_len());
            assert_eq!(shape.deinterleave(symbols), block);
        }
    }

    #[test]
    fn a_block_beyond_the_last_has_no_shape() {
        let oti = Oti::new(OtiFields {
            transfer_length: 100,
            symbol_size: 10,
            source_blocks: 2,
            sub_blocks: 1,
            alignment: 1,
        });
        assert_eq!(BlockShape::of(&oti.unwrap(), 2), None);
    }
}
