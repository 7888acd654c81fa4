//! Authenticated symbols: a keyed tag on each, checked before the symbol reaches a decoder.
//!
//! A fountain decoder mixes every symbol into every other, so one forged symbol spoils a whole block.
//! The tag is keyed BLAKE3, cut to 16 octets, over the object's transmission information, the symbol's
//! block and identifier, and its octets: a tag of one place does not fit another.
//!
//! A sealed packet is a payload identifier, then symbols each followed by its tag; no padding is left
//! out. The key is the caller's; so is its distribution. Deliberately absent: replay protection, which
//! a decoder does not need (a symbol that came is redundant), and encryption.

use std::fmt;

use crate::code::{CodeError, ESI_MAX};
use crate::encoder::BlockEncoder;
use crate::oti::Oti;
use crate::packet::{self, PacketError, PayloadId};
use thiserror::Error;

/// Octets of a tag.
pub const TAG_BYTES: usize = 16;

const CONTEXT: &[u8] = b"asupersync-raptorq symbol 1";

/// A secret key for the symbols of objects.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{AuthError, BlockEncoder, BlockShape, Derivation, Oti, Plan, SymbolKey};
/// let oti = Oti::derive(Derivation::file(5000))?;
/// let shape = BlockShape::of(&oti, 0).expect("the object has a block");
/// let encoder = BlockEncoder::new(shape, vec![1; 5000], &Plan::encoding(*shape.code()))?;
/// let key = SymbolKey::new([7; 32]);
///
/// let mut packet = key.seal(&oti, &encoder, 9, 1)?;
/// assert_eq!(key.open(&oti, &packet)?.len(), 1);
/// packet[100] ^= 1;
/// assert!(matches!(key.open(&oti, &packet), Err(AuthError::Forged { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SymbolKey {
    key: [u8; 32],
}

impl fmt::Debug for SymbolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymbolKey(secret)")
    }
}

/// Why a sealed packet was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The packet is malformed.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A tag does not fit its symbol: forged, corrupted, or sealed with another key.
    #[error("the tag of symbol {esi} in block {block} does not fit")]
    Forged {
        /// The block named.
        block: u8,
        /// The symbol.
        esi: u32,
    },
}

impl SymbolKey {
    /// A key of 32 octets, which should come from a secure source.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The tag of one symbol of the object that `oti` describes.
    #[must_use]
    pub fn tag(&self, oti: &Oti, id: PayloadId, symbol: &[u8]) -> [u8; TAG_BYTES] {
        let mut hash = blake3::Hasher::new_keyed(&self.key);
        hash.update(CONTEXT);
        hash.update(&oti.to_bytes());
        hash.update(&id.to_bytes());
        hash.update(symbol);
        *hash
            .finalize()
            .as_bytes()
            .first_chunk()
            .expect("a hash is longer than a tag")
    }

    /// Encodes and seals the symbols `first..first + count` into one packet.
    ///
    /// # Errors
    /// [`CodeError::SymbolId`] if an identifier has more than 24 bits; [`CodeError::Length`] if there is
    /// no symbol.
    pub fn seal(
        &self,
        oti: &Oti,
        encoder: &BlockEncoder<'_>,
        first: u32,
        count: u32,
    ) -> Result<Vec<u8>, CodeError> {
        if count == 0 {
            return Err(CodeError::Length {
                expected: 1,
                actual: 0,
            });
        }
        let block = encoder.shape().number();
        let symbols = encoder.symbols(first, count)?;
        let size = encoder.shape().symbol_size();
        let mut out = Vec::with_capacity(PayloadId::BYTES + (size + TAG_BYTES) * count as usize);
        out.extend(PayloadId::new(block, first)?.to_bytes());
        for (esi, symbol) in (first..).zip(symbols.chunks_exact(size)) {
            out.extend(symbol);
            out.extend(self.tag(oti, PayloadId::new(block, esi)?, symbol));
        }
        Ok(out)
    }

    /// Checks a sealed packet; gives its symbols only if every tag fits.
    ///
    /// Tags are compared in constant time.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn open<'a>(
        &self,
        oti: &Oti,
        packet: &'a [u8],
    ) -> Result<Vec<(PayloadId, &'a [u8])>, AuthError> {
        let (shape, id, payload) = packet::split(oti, packet)?;
        let record = shape.symbol_size() + TAG_BYTES;
        let actual = payload.len();
        let count = actual / record;
        let last = packet::last_id(id, count).filter(|_| actual.is_multiple_of(record));
        let last = last.ok_or(PacketError::PartialSymbol {
            actual,
            symbol: record,
        })?;
        if last > ESI_MAX.into() {
            return Err(PacketError::SymbolId { last }.into());
        }
        let mut symbols = Vec::with_capacity(count);
        for (esi, record) in (id.esi()..).zip(payload.chunks_exact(record)) {
            let (symbol, tag) = record.split_at(shape.symbol_size());
            let block = id.block();
            let forged = AuthError::Forged { block, esi };
            let id = PayloadId::new(block, esi).map_err(|_| forged)?;
            if !is_equal(&self.tag(oti, id, symbol), tag) {
                return Err(forged);
            }
            symbols.push((id, symbol));
        }
        Ok(symbols)
    }
}

/// Whether two tags are equal, in a time that does not tell where they differ.
fn is_equal(a: &[u8; TAG_BYTES], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}
