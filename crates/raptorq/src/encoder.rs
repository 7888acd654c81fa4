//! The systematic encoder of one source block.

use std::borrow::Cow;

use crate::code::{CodeError, ESI_MAX};
use crate::kernel::Kernel;
use crate::layout::BlockShape;
use crate::packet::PayloadId;
use crate::solve::{Intermediate, Plan, Source};

/// One source block, ready to give any of its 2^24 encoding symbols.
///
/// Source symbols are the block's own octets. Repair symbols are sums of a few intermediate symbols,
/// computed on demand.
/// Memory: the intermediate symbols, about one block; the block itself is borrowed if its symbols are
/// consecutive and no padding is needed, copied otherwise.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{BlockEncoder, BlockShape, Plan};
/// let shape = BlockShape::single(10, 64)?;
/// let block = vec![7; 640];
/// let plan = Plan::encoding(*shape.code());
/// let encoder = BlockEncoder::new(shape, &block[..], &plan)?;
/// assert_eq!(encoder.symbol(3)?, &block[192..256]);
/// assert_eq!(encoder.symbol(1_000_000)?.len(), 64);
/// # Ok::<(), asupersync_raptorq::CodeError>(())
/// ```
#[derive(Debug)]
pub struct BlockEncoder<'a> {
    shape: BlockShape,
    source: Cow<'a, [u8]>,
    kernel: &'static Kernel,
    intermediate: Intermediate,
}

impl<'a> BlockEncoder<'a> {
    /// Computes the intermediate symbols of `block` by replaying `plan`.
    ///
    /// # Shape and units
    /// `block` is the block's part of the object: `shape.len()` octets, or with its padding
    /// `shape.padded_len()` octets.
    /// # Errors
    /// [`CodeError::Length`] if `block` has another length; [`CodeError::Plan`] if `plan` is for
    /// another `K'` or not an encoding plan.
    pub fn new(
        shape: BlockShape,
        block: impl Into<Cow<'a, [u8]>>,
        plan: &Plan,
    ) -> Result<Self, CodeError> {
        let block = block.into();
        let actual = block.len();
        if actual != shape.len() && actual != shape.padded_len() {
            let expected = shape.len() as u64;
            return Err(CodeError::Length {
                expected,
                actual: actual as u64,
            });
        }
        let expected = shape.code().extended_symbols();
        if plan.code().extended_symbols() != expected || !plan.is_encoding() {
            return Err(CodeError::Plan { expected });
        }
        let source = if shape.is_plain() && actual == shape.padded_len() {
            block
        } else {
            Cow::Owned(shape.interleave(&block))
        };
        let kernel = Kernel::chosen();
        let symbols = Source {
            bytes: &source,
            symbol: shape.symbol_size(),
            slots: None,
        };
        let intermediate = plan.execute(kernel, &symbols);
        Ok(Self {
            shape,
            source,
            kernel,
            intermediate,
        })
    }

    /// How the block lies in its object.
    #[must_use]
    pub const fn shape(&self) -> &BlockShape {
        &self.shape
    }

    /// Writes the encoding symbol `esi`.
    ///
    /// # Errors
    /// [`CodeError::SymbolId`] if `esi` has more than 24 bits; [`CodeError::Length`] if `out` is not one
    /// symbol long.
    pub fn write_symbol(&self, esi: u32, out: &mut [u8]) -> Result<(), CodeError> {
        let symbol = self.shape.symbol_size();
        if esi > ESI_MAX {
            return Err(CodeError::SymbolId { actual: esi.into() });
        }
        if out.len() != symbol {
            let actual = out.len() as u64;
            return Err(CodeError::Length {
                expected: symbol as u64,
                actual,
            });
        }
        if esi < self.shape.symbols() {
            out.copy_from_slice(&self.source[esi as usize * symbol..][..symbol]);
        } else {
            let isi = self.shape.code().internal_id(esi);
            self.intermediate
                .encode(self.kernel, self.shape.code(), isi, out);
        }
        Ok(())
    }

    /// The encoding symbol `esi`.
    ///
    /// # Errors
    /// [`CodeError::SymbolId`] if `esi` has more than 24 bits.
    pub fn symbol(&self, esi: u32) -> Result<Vec<u8>, CodeError> {
        let mut out = vec![0; self.shape.symbol_size()];
        self.write_symbol(esi, &mut out)?;
        Ok(out)
    }

    /// The encoding symbols `first..first + count`, one after another.
    ///
    /// # Errors
    /// [`CodeError::SymbolId`] if the last has more than 24 bits.
    pub fn symbols(&self, first: u32, count: u32) -> Result<Vec<u8>, CodeError> {
        let end = u64::from(first) + u64::from(count);
        if end > u64::from(ESI_MAX) + 1 {
            return Err(CodeError::SymbolId { actual: end - 1 });
        }
        let symbol = self.shape.symbol_size();
        let mut out = vec![0; count as usize * symbol];
        for (esi, out) in (first..).zip(out.chunks_exact_mut(symbol)) {
            self.write_symbol(esi, out)?;
        }
        Ok(out)
    }

    /// The packet of the encoding symbol `esi`: payload identifier, then the symbol.
    ///
    /// # Errors
    /// [`CodeError::SymbolId`] if `esi` has more than 24 bits.
    pub fn packet(&self, esi: u32) -> Result<Vec<u8>, CodeError> {
        let id = PayloadId::new(self.shape.number(), esi)?;
        let mut out = vec![0; PayloadId::BYTES + self.shape.symbol_size()];
        out[..PayloadId::BYTES].copy_from_slice(&id.to_bytes());
        self.write_symbol(esi, &mut out[PayloadId::BYTES..])?;
        Ok(out)
    }
}
