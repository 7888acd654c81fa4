//! Whole objects: many blocks, streamed in and out.
//!
//! The encoder gives one block at a time, from a slice or from a reader, so an object is never held
//! twice, and blocks can be encoded on as many threads as the caller has. The decoder collects all
//! blocks at once, gives each away as soon as it is recovered, and stays within a bound on memory.
//! A caller that wants to decode blocks in parallel keeps a [`BlockDecoder`] for each [`BlockShape`].

use std::io::{self, Read};
use std::sync::Arc;

use thiserror::Error;

use crate::auth::{AuthError, SymbolKey};
use crate::cache::PlanCache;
use crate::code::CodeError;
use crate::decoder::{BlockDecoder, DecodeError, DecodeOptions, DecodeStats, SymbolError, Taken};
use crate::encoder::BlockEncoder;
use crate::layout::BlockShape;
use crate::oti::Oti;
use crate::packet::{Packet, PacketError, PayloadId};

/// Encodes an object that is in memory, block by block.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use asupersync_raptorq::{Derivation, ObjectDecoder, ObjectEncoder, ObjectOptions, Oti, PlanCache};
/// let object = vec![42; 100_000];
/// let oti = Oti::derive(Derivation::file(object.len() as u64))?;
/// let plans = Arc::new(PlanCache::new(16 << 20));
/// let encoder = ObjectEncoder::new(oti, &object, Arc::clone(&plans))?;
/// let mut decoder = ObjectDecoder::new(oti, plans, ObjectOptions::default());
/// let block = encoder.block(0)?.expect("the object has a block");
/// for esi in (0..100).filter(|esi| esi % 5 != 0) {
///     decoder.push(&block.packet(esi)?)?; // every fifth packet is lost
/// }
/// let recovered = decoder.take_block().expect("80 symbols determine 79");
/// assert_eq!(recovered.bytes, object);
/// assert!(decoder.is_finished());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ObjectEncoder<'a> {
    oti: Oti,
    object: &'a [u8],
    plans: Arc<PlanCache>,
}

impl<'a> ObjectEncoder<'a> {
    /// An encoder of `object`, as `oti` describes it.
    ///
    /// # Errors
    /// [`CodeError::Length`] if the object is not as long as `oti` says.
    pub fn new(oti: Oti, object: &'a [u8], plans: Arc<PlanCache>) -> Result<Self, CodeError> {
        let expected = oti.fields().transfer_length;
        let actual = object.len() as u64;
        if actual != expected {
            return Err(CodeError::Length { expected, actual });
        }
        Ok(Self { oti, object, plans })
    }

    /// The encoder of block `number`; `None` beyond the last.
    ///
    /// # Errors
    /// None that a consistent object can meet; see [`BlockEncoder::new`].
    pub fn block(&self, number: u8) -> Result<Option<BlockEncoder<'a>>, CodeError> {
        let Some(shape) = BlockShape::of(&self.oti, number) else {
            return Ok(None);
        };
        let block = &self.object[shape.offset() as usize..][..shape.len()];
        BlockEncoder::new(shape, block, &self.plans.encoding(*shape.code())).map(Some)
    }
}

/// Encodes an object from a reader, one block in memory at a time.
#[derive(Debug)]
pub struct StreamEncoder<R> {
    oti: Oti,
    reader: R,
    plans: Arc<PlanCache>,
    next: u8,
}

/// Why a block of a stream could not be encoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The reader failed, or ended before the object did.
    #[error("cannot read block {block}")]
    Read {
        /// The block that was being read.
        block: u8,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
    /// The block could not be encoded.
    #[error(transparent)]
    Code(#[from] CodeError),
}

impl<R: Read> StreamEncoder<R> {
    /// An encoder of the `oti.fields().transfer_length` octets that `reader` gives.
    pub const fn new(oti: Oti, reader: R, plans: Arc<PlanCache>) -> Self {
        Self {
            oti,
            reader,
            plans,
            next: 0,
        }
    }

    /// Reads and encodes the next block; `None` after the last.
    ///
    /// # Errors
    /// [`StreamError::Read`] if the reader fails or ends early.
    pub fn next_block(&mut self) -> Result<Option<BlockEncoder<'static>>, StreamError> {
        let block = self.next;
        let Some(shape) = BlockShape::of(&self.oti, block) else {
            return Ok(None);
        };
        let mut bytes = vec![0; shape.padded_len()];
        self.reader
            .read_exact(&mut bytes[..shape.len()])
            .map_err(|source| StreamError::Read { block, source })?;
        // 255 blocks at most, so the number after the last one is still a `u8`.
        self.next += 1;
        let plan = self.plans.encoding(*shape.code());
        Ok(Some(BlockEncoder::new(shape, bytes, &plan)?))
    }
}

/// Bounds of an [`ObjectDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectOptions {
    /// Most octets that all blocks together may take: what each stores at most, and once what
    /// solving takes at most. Recovered blocks count until they are taken.
    pub memory_bytes_max: u64,
    /// For each block.
    pub block: DecodeOptions,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self {
            memory_bytes_max: 1 << 30,
            block: DecodeOptions::default(),
        }
    }
}

/// Why a packet was not taken, or a block not recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The packet is malformed.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// A tag does not fit.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The block cannot take the symbol.
    #[error(transparent)]
    Symbol(#[from] SymbolError),
    /// A first symbol of another block would need more memory than is allowed.
    #[error("block {block} would need {needed} octets where {limit} are allowed in all")]
    Memory {
        /// The block.
        block: u8,
        /// Octets that all blocks would take.
        needed: u64,
        /// [`ObjectOptions::memory_bytes_max`].
        limit: u64,
    },
    /// The symbols of a block contradict each other; its symbols have been dropped.
    #[error("the symbols of block {block} contradict each other, and have been dropped")]
    Corrupt {
        /// The block, which starts afresh.
        block: u8,
    },
}

/// What a packet brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Its block needs more symbols.
    Collecting,
    /// It recovered its block, which can be taken.
    Recovered(u8),
    /// It told nothing new.
    Redundant,
}

/// A recovered block, in the object's order and without padding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecoveredBlock {
    /// The block's number.
    pub number: u8,
    /// Where it belongs in the object, in octets.
    pub offset: u64,
    /// Its octets.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Collecting(Box<BlockDecoder>),
    Recovered(RecoveredBlock),
    Taken,
}

/// Collects the packets of an object and recovers its blocks.
#[derive(Debug)]
pub struct ObjectDecoder {
    oti: Oti,
    plans: Arc<PlanCache>,
    options: ObjectOptions,
    slots: Vec<Slot>,
    memory_bytes: u64,
    unrecovered: usize,
    stats: DecodeStats,
}

impl ObjectDecoder {
    /// A decoder of the object that `oti` describes.
    #[must_use]
    pub fn new(oti: Oti, plans: Arc<PlanCache>, options: ObjectOptions) -> Self {
        let blocks = oti.fields().source_blocks as usize;
        Self {
            oti,
            plans,
            options,
            slots: std::iter::repeat_with(Slot::default).take(blocks).collect(),
            memory_bytes: 0,
            unrecovered: blocks,
            stats: DecodeStats::default(),
        }
    }

    /// What this decodes.
    #[must_use]
    pub const fn oti(&self) -> &Oti {
        &self.oti
    }

    /// Sums over the blocks recovered so far; `plan` is the last one's.
    #[must_use]
    pub const fn stats(&self) -> &DecodeStats {
        &self.stats
    }

    /// Whether every block has been recovered.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.unrecovered == 0
    }

    /// Octets that are set aside for the blocks begun, and for those not yet taken.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Takes a packet, and recovers its block if that is now possible.
    ///
    /// # Errors
    /// See [`ObjectError`]. Symbols before the one that failed are kept.
    pub fn push(&mut self, packet: &[u8]) -> Result<Progress, ObjectError> {
        let packet = Packet::parse(&self.oti, packet)?;
        self.add_all(packet.id().block(), packet.symbols())
    }

    /// Takes a sealed packet; a symbol whose tag does not fit never reaches a block.
    ///
    /// # Errors
    /// See [`ObjectError`].
    pub fn push_sealed(&mut self, key: &SymbolKey, packet: &[u8]) -> Result<Progress, ObjectError> {
        let symbols = key.open(&self.oti, packet)?;
        let Some(&(id, _)) = symbols.first() else {
            return Ok(Progress::Redundant);
        };
        self.add_all(id.block(), symbols.into_iter())
    }

    /// A block that has been recovered and not yet taken, lowest first.
    pub fn take_block(&mut self) -> Option<RecoveredBlock> {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| matches!(slot, Slot::Recovered(_)))?;
        let Slot::Recovered(block) = std::mem::replace(slot, Slot::Taken) else {
            return None;
        };
        self.memory_bytes -= block.bytes.len() as u64;
        Some(block)
    }

    fn add_all<'a>(
        &mut self,
        block: u8,
        symbols: impl Iterator<Item = (PayloadId, &'a [u8])>,
    ) -> Result<Progress, ObjectError> {
        let index = block as usize;
        if matches!(self.slots[index], Slot::Empty) {
            self.open_block(block)?;
        }
        let Slot::Collecting(decoder) = &mut self.slots[index] else {
            return Ok(Progress::Redundant);
        };
        let mut progress = Progress::Redundant;
        let mut refused = None;
        for (id, symbol) in symbols {
            match decoder.add(id.esi(), symbol) {
                Ok(Taken::Stored) => progress = Progress::Collecting,
                Ok(Taken::Redundant) => {}
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if progress == Progress::Redundant || !decoder.is_worth_trying() {
            return refused.map_or(Ok(progress), |error| Err(error.into()));
        }
        match decoder.decode(Some(&self.plans)) {
            Ok(()) => {
                self.close_block(block);
                Ok(Progress::Recovered(block))
            }
            Err(DecodeError::Unsolved { .. }) => {
                refused.map_or(Ok(progress), |error| Err(error.into()))
            }
            Err(DecodeError::Inconsistent) => {
                self.memory_bytes -=
                    BlockDecoder::stored_bytes_max(decoder.shape(), &self.options.block);
                self.slots[index] = Slot::Empty;
                Err(ObjectError::Corrupt { block })
            }
        }
    }

    fn open_block(&mut self, block: u8) -> Result<(), ObjectError> {
        let shape = BlockShape::of(&self.oti, block).ok_or(PacketError::UnknownBlock {
            block,
            blocks: self.oti.fields().source_blocks,
        })?;
        let stored = BlockDecoder::stored_bytes_max(&shape, &self.options.block);
        let solving = BlockDecoder::solving_bytes_max(&shape, &self.options.block);
        let needed = self.memory_bytes + stored + solving;
        let limit = self.options.memory_bytes_max;
        if needed > limit {
            return Err(ObjectError::Memory {
                block,
                needed,
                limit,
            });
        }
        self.memory_bytes += stored;
        let decoder = BlockDecoder::new(shape, self.options.block);
        self.slots[block as usize] = Slot::Collecting(Box::new(decoder));
        Ok(())
    }

    fn close_block(&mut self, block: u8) {
        let slot = &mut self.slots[block as usize];
        let Slot::Collecting(decoder) = std::mem::replace(slot, Slot::Taken) else {
            return;
        };
        let shape = *decoder.shape();
        self.memory_bytes -= BlockDecoder::stored_bytes_max(&shape, &self.options.block);
        let stats = decoder.stats();
        self.stats.received += stats.received;
        self.stats.redundant += stats.redundant;
        self.stats.attempts += stats.attempts;
        self.stats.cache_hits += stats.cache_hits;
        self.stats.computed += stats.computed;
        self.stats.compared += stats.compared;
        self.stats.plan = stats.plan.clone().or(self.stats.plan.take());
        let bytes = decoder
            .into_block()
            .expect("the block has just been recovered");
        self.memory_bytes += bytes.len() as u64;
        *slot = Slot::Recovered(RecoveredBlock {
            number: block,
            offset: shape.offset(),
            bytes,
        });
        self.unrecovered -= 1;
    }
}
