//! The decoder of one source block: collects symbols, then solves once.
//!
//! | state | leaves when |
//! | --- | --- |
//! | collecting | `decode` succeeds |
//! | recovered | `into_block` |
//!
//! Symbols are stored where they are wanted: a source symbol in its own place of the block, a repair
//! symbol in the place of a source symbol that has not come. After solving, the missing source
//! symbols overwrite the repair symbols, so the block is never held twice.
//!
//! Rows are put in ascending order of their symbols, so the same set of symbols makes the same plan
//! in whatever order it came.
//!
//! Memory: the block's octets, at most [`DecodeOptions::extra_symbols_max`] symbols more, and while
//! solving the intermediate symbols and the plan; see [`BlockDecoder::stored_bytes_max`] and
//! [`BlockDecoder::solving_bytes_max`].

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use crate::cache::PlanCache;
use crate::code::ESI_MAX;
use crate::kernel::Kernel;
use crate::layout::BlockShape;
use crate::proof::{self, Transcript};
use crate::solve::{
    DENSE_STRIP_BYTES_MAX, Intermediate, Plan, PlanStats, SolveError, SolveOptions, Source,
};

/// Bounds and choices of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecodeOptions {
    /// Symbols beyond `K` that are stored when `K` did not suffice.
    pub extra_symbols_max: u32,
    /// Bounds on the work of solving.
    pub solve: SolveOptions,
    /// Whether to record a [`Transcript`]; costs a hash of every symbol.
    pub transcript: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            extra_symbols_max: 64,
            solve: SolveOptions::default(),
            transcript: false,
        }
    }
}

/// Why a symbol was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SymbolError {
    /// The identifier has more than 24 bits.
    #[error("symbol {esi} is beyond the 24-bit identifiers")]
    SymbolId {
        /// The identifier.
        esi: u32,
    },
    /// The symbol has another length.
    #[error("a symbol of {actual} octets in a block of {expected}-octet symbols")]
    Length {
        /// Octets of a symbol.
        expected: usize,
        /// Octets given.
        actual: usize,
    },
    /// The decoder holds as many symbols as it may.
    #[error("{limit} symbols are stored already, and no more may be")]
    Full {
        /// The bound.
        limit: usize,
    },
}

/// What became of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Taken {
    /// It was stored.
    Stored,
    /// It was there already, or the block is recovered: nothing changed.
    Redundant,
}

/// Why a block is not recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The symbols do not determine the block, or only with too much work; more may help.
    #[error("not decodable from {received} symbols")]
    Unsolved {
        /// Symbols stored.
        received: u32,
        /// What the solver found.
        #[source]
        source: SolveError,
    },
    /// The symbols contradict each other: at least one is corrupt, and it cannot be told which.
    ///
    /// Each symbol beyond `K` makes this likelier to be noticed; only
    /// [authenticated symbols](crate::SymbolKey) make it certain.
    #[error("the symbols contradict each other")]
    Inconsistent,
}

/// What decoding a block took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DecodeStats {
    /// Symbols stored.
    pub received: u32,
    /// Symbols that were there already.
    pub redundant: u64,
    /// Times that solving was tried.
    pub attempts: u32,
    /// Plans taken from the cache.
    pub cache_hits: u32,
    /// Source symbols that had to be computed.
    pub computed: u32,
    /// Redundant symbols that were compared with the recovery.
    pub compared: u32,
    /// The plan that succeeded, if one was needed.
    pub plan: Option<PlanStats>,
}

/// Collects the symbols of one source block and recovers it.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{BlockDecoder, BlockEncoder, BlockShape, DecodeOptions, Plan};
/// let shape = BlockShape::single(20, 16)?;
/// let block: Vec<u8> = (0..=255).chain(0..64).collect();
/// let encoder = BlockEncoder::new(shape, &block[..], &Plan::encoding(*shape.code()))?;
///
/// let mut decoder = BlockDecoder::new(shape, DecodeOptions::default());
/// for esi in 1000..1022 {
///     decoder.add(esi, &encoder.symbol(esi)?).expect("the symbol is whole");
/// }
/// decoder.decode(None).expect("22 symbols determine 20");
/// assert_eq!(decoder.into_block(), Some(block));
/// # Ok::<(), asupersync_raptorq::CodeError>(())
/// ```
#[derive(Debug)]
pub struct BlockDecoder {
    shape: BlockShape,
    options: DecodeOptions,
    bytes: Vec<u8>,
    /// The symbol in each place of `bytes`, or [`FREE`].
    holds: Vec<u32>,
    /// No place above this one, and below `K`, is free.
    highest_free: usize,
    seen: SymbolSet,
    sources: u32,
    is_recovered: bool,
    /// Symbols from which another attempt is worth its work.
    next_attempt: u32,
    transcript: Option<Transcript>,
    stats: DecodeStats,
}

const FREE: u32 = u32::MAX;
/// Up to this many symbols beyond `K`, solving is worth trying with each.
const EAGER_EXTRA_MAX: u32 = 4;
/// After that, with every so many.
const PATIENT_STEP: u32 = 8;
/// Symbols beyond `K` that room is made for at once.
const EXTRA_RESERVED_MAX: usize = 64;

impl BlockDecoder {
    /// A decoder without symbols; it allocates with the first.
    #[must_use]
    pub fn new(shape: BlockShape, options: DecodeOptions) -> Self {
        Self {
            shape,
            options,
            bytes: Vec::new(),
            holds: Vec::new(),
            highest_free: shape.symbols() as usize,
            seen: SymbolSet::default(),
            sources: 0,
            is_recovered: false,
            next_attempt: 0,
            transcript: None,
            stats: DecodeStats::default(),
        }
    }

    /// How the block lies in its object.
    #[must_use]
    pub const fn shape(&self) -> &BlockShape {
        &self.shape
    }

    /// What decoding took so far.
    #[must_use]
    pub const fn stats(&self) -> &DecodeStats {
        &self.stats
    }

    /// Symbols stored.
    #[must_use]
    pub const fn received(&self) -> u32 {
        self.stats.received
    }

    /// Whether enough symbols are stored that [`decode`](Self::decode) may succeed.
    #[must_use]
    pub const fn may_decode(&self) -> bool {
        self.is_recovered || self.stats.received >= self.shape.symbols()
    }

    /// Whether [`decode`](Self::decode) may succeed, and enough has come since it last failed.
    ///
    /// Up to four symbols beyond `K` each is worth an attempt, then every eighth: honest symbols need
    /// more than four once in a hundred million blocks, and hostile ones should not buy an attempt
    /// each.
    #[must_use]
    pub const fn is_worth_trying(&self) -> bool {
        self.may_decode() && self.stats.received >= self.next_attempt
    }

    /// Whether the block is recovered.
    #[must_use]
    pub const fn is_recovered(&self) -> bool {
        self.is_recovered
    }

    /// The most memory that a decoder of this shape takes while it collects, in octets.
    #[must_use]
    pub fn stored_bytes_max(shape: &BlockShape, options: &DecodeOptions) -> u64 {
        let stored = u64::from(shape.symbols()) + u64::from(options.extra_symbols_max);
        stored * (shape.symbol_size() as u64 + STORED_BYTES_EACH)
    }

    /// The most memory that [`decode`](Self::decode) takes on top, in octets: the intermediate symbols,
    /// the plan, and the dense part at its bound.
    #[must_use]
    pub fn solving_bytes_max(shape: &BlockShape, options: &DecodeOptions) -> u64 {
        let symbol = shape.symbol_size() as u64;
        let code = shape.code();
        let rows = u64::from(code.extended) + u64::from(options.extra_symbols_max);
        let intermediate = u64::from(code.intermediate_symbols());
        // `solve` never goes below the permanently inactive columns.
        let bound = options.solve.inactive_max.max(code.pi);
        let inactive = intermediate.min(bound.into());
        let table = TABLE_ENTRIES_EACH * inactive * symbol.min(DENSE_STRIP_BYTES_MAX as u64);
        intermediate * (symbol + CACHE_LINE_BYTES)
            + rows * PLAN_BYTES_EACH
            + inactive * inactive
            + table
    }

    /// Stores a symbol.
    ///
    /// The last source symbol may lack its padding.
    ///
    /// # Errors
    /// See [`SymbolError`]; the decoder is then unchanged.
    pub fn add(&mut self, esi: u32, symbol: &[u8]) -> Result<Taken, SymbolError> {
        let size = self.shape.symbol_size();
        let k = self.shape.symbols();
        if esi > ESI_MAX {
            return Err(SymbolError::SymbolId { esi });
        }
        let least = if esi == k - 1 {
            size - self.shape.last_symbol_padding()
        } else {
            size
        };
        if !(least..=size).contains(&symbol.len()) {
            return Err(SymbolError::Length {
                expected: size,
                actual: symbol.len(),
            });
        }
        if self.is_recovered || self.seen.contains(esi) {
            self.stats.redundant += 1;
            return Ok(Taken::Redundant);
        }
        let limit = k as usize + self.options.extra_symbols_max as usize;
        if self.stats.received as usize >= limit {
            return Err(SymbolError::Full { limit });
        }
        if self.holds.is_empty() {
            self.bytes = vec![0; self.shape.padded_len()];
            self.holds = vec![FREE; k as usize];
        }
        let place = self.place_for(esi);
        self.bytes[place * size..][..symbol.len()].copy_from_slice(symbol);
        self.bytes[place * size + symbol.len()..(place + 1) * size].fill(0);
        self.holds[place] = esi;
        self.seen.insert(esi);
        self.sources += u32::from(esi < k);
        self.stats.received += 1;
        Ok(Taken::Stored)
    }

    /// A free place: a source symbol's own, else the highest, else a new one at the end.
    fn place_for(&mut self, esi: u32) -> usize {
        if esi < self.shape.symbols() && self.holds[esi as usize] == FREE {
            return esi as usize;
        }
        while self.highest_free > 0 {
            self.highest_free -= 1;
            if self.holds[self.highest_free] == FREE {
                return self.highest_free;
            }
        }
        if self.holds.len() == self.shape.symbols() as usize {
            // Room for all that may come, so that the block does not grow by doubling.
            let extra = self.options.extra_symbols_max as usize;
            self.bytes
                .reserve_exact(extra.min(EXTRA_RESERVED_MAX) * self.shape.symbol_size());
        }
        self.holds.push(FREE);
        self.bytes
            .resize(self.holds.len() * self.shape.symbol_size(), 0);
        self.holds.len() - 1
    }

    /// Recovers the block if the symbols determine it; a plan is looked up in `cache`, and kept there.
    ///
    /// After an error the symbols are kept, and more can be added.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(&mut self, cache: Option<&PlanCache>) -> Result<(), DecodeError> {
        if self.is_recovered {
            return Ok(());
        }
        self.stats.attempts += 1;
        let received = self.stats.received;
        let extra = received.saturating_sub(self.shape.symbols());
        let last = self
            .shape
            .symbols()
            .saturating_add(self.options.extra_symbols_max);
        let step = if extra < EAGER_EXTRA_MAX {
            1
        } else {
            PATIENT_STEP
        };
        self.next_attempt = (received + step).min(last.max(received + 1));
        let unsolved = |source| DecodeError::Unsolved { received, source };
        let k = self.shape.symbols();
        if received < k {
            return Err(unsolved(SolveError::RankDeficient {
                missing: k - received,
            }));
        }
        let order = self.order();
        let symbols = self.options.transcript.then(|| self.digest(&order));
        if self.sources == k && received == k {
            self.settle_sources();
        } else {
            match self.solve(&order, cache) {
                Ok(plan) => self.replay(&plan, &order, symbols)?,
                Err(error) => {
                    self.record(&order, symbols, Err(error));
                    return Err(unsolved(error));
                }
            }
            return Ok(());
        }
        self.is_recovered = true;
        self.record(&order, symbols, Ok(None));
        Ok(())
    }

    /// The recovered block in the object's order, padding cut off; `None` unless it is recovered.
    #[must_use]
    pub fn into_block(self) -> Option<Vec<u8>> {
        self.is_recovered
            .then(|| self.shape.deinterleave(self.bytes))
    }

    /// The record of the last attempt, if [`DecodeOptions::transcript`] asks for one.
    #[must_use]
    pub const fn transcript(&self) -> Option<&Transcript> {
        self.transcript.as_ref()
    }

    /// Symbols and their places, ascending.
    fn order(&self) -> Vec<(u32, u32)> {
        let held = (0..).zip(&self.holds).filter(|(_, esi)| **esi != FREE);
        let mut order: Vec<(u32, u32)> = held.map(|(place, &esi)| (esi, place)).collect();
        order.sort_unstable();
        order
    }

    fn solve(
        &mut self,
        order: &[(u32, u32)],
        cache: Option<&PlanCache>,
    ) -> Result<Arc<Plan>, SolveError> {
        let code = *self.shape.code();
        let received = order.iter().map(|&(esi, _)| code.internal_id(esi));
        let padding = code.source_symbols()..code.extended_symbols();
        let isis: Vec<u32> = received.chain(padding).collect();
        let options = self.options.solve;
        match cache {
            None => Plan::solve(code, isis.iter().copied(), options).map(Arc::new),
            Some(cache) => {
                let (plan, is_hit) = cache.decoding(code, &isis, options)?;
                self.stats.cache_hits += u32::from(is_hit);
                Ok(plan)
            }
        }
    }

    fn replay(
        &mut self,
        plan: &Plan,
        order: &[(u32, u32)],
        digest: Option<[u8; 32]>,
    ) -> Result<(), DecodeError> {
        let code = *self.shape.code();
        let mut slots: Vec<u32> = order.iter().map(|&(_, place)| place).collect();
        slots.resize(
            slots.len() + (code.extended - code.source_symbols()) as usize,
            Source::PADDING,
        );
        let symbol = self.shape.symbol_size();
        let source = Source {
            bytes: &self.bytes,
            symbol,
            slots: Some(&slots),
        };
        let kernel = Kernel::chosen();
        let intermediate = plan.execute(kernel, &source);
        self.compare(plan, &intermediate, order)?;
        self.stats.plan = Some(plan.stats().clone());
        let k = self.shape.symbols();
        for esi in 0..k {
            if self.holds[esi as usize] != esi {
                let out = &mut self.bytes[esi as usize * symbol..][..symbol];
                intermediate.encode(kernel, &code, esi, out);
                self.stats.computed += 1;
            }
        }
        self.bytes.truncate(self.shape.padded_len());
        self.is_recovered = true;
        self.record(order, digest, Ok(Some(plan)));
        Ok(())
    }

    /// Checks what the plan did not need: redundant symbols, and HDPC rows.
    fn compare(
        &mut self,
        plan: &Plan,
        intermediate: &Intermediate,
        order: &[(u32, u32)],
    ) -> Result<(), DecodeError> {
        let symbol = self.shape.symbol_size();
        let code = self.shape.code();
        let mut expected = vec![0; symbol];
        for &row in plan.redundant() {
            let Some(&(esi, place)) = order.get(row as usize) else {
                continue;
            };
            intermediate.encode(Kernel::chosen(), code, code.internal_id(esi), &mut expected);
            if self.bytes[place as usize * symbol..][..symbol] != expected {
                return Err(DecodeError::Inconsistent);
            }
            self.stats.compared += 1;
        }
        if plan.holds(Kernel::chosen(), intermediate) {
            Ok(())
        } else {
            Err(DecodeError::Inconsistent)
        }
    }

    /// Moves source symbols that a repair symbol had pushed aside into their own places.
    fn settle_sources(&mut self) {
        let symbol = self.shape.symbol_size();
        let k = self.shape.symbols() as usize;
        if (0..k).all(|place| self.holds[place] as usize == place) {
            return;
        }
        let mut settled = vec![0; self.shape.padded_len()];
        for (place, &esi) in self.holds.iter().enumerate() {
            let from = &self.bytes[place * symbol..][..symbol];
            settled[esi as usize * symbol..][..symbol].copy_from_slice(from);
        }
        self.bytes = settled;
    }

    fn digest(&self, order: &[(u32, u32)]) -> [u8; 32] {
        let symbol = self.shape.symbol_size();
        proof::digest(
            order
                .iter()
                .map(|&(_, place)| &self.bytes[place as usize * symbol..][..symbol]),
        )
    }

    fn record(
        &mut self,
        order: &[(u32, u32)],
        digest: Option<[u8; 32]>,
        outcome: Result<Option<&Plan>, SolveError>,
    ) {
        let Some(digest) = digest else { return };
        let esis = order.iter().map(|&(esi, _)| esi).collect();
        let recovered = outcome.map(|plan| (plan, &self.bytes[..self.shape.padded_len()]));
        let transcript = Transcript::new(&self.shape, self.options.solve, esis, digest, recovered);
        self.transcript = Some(transcript);
    }
}

/// Planning memory for each row, in octets: its columns, their rows, bits and sums.
const PLAN_BYTES_EACH: u64 = 256;
/// Intermediate symbols may be aligned to this.
const CACHE_LINE_BYTES: u64 = 64;
/// Entries of the look-up table for each inactive column: 64 for every six.
const TABLE_ENTRIES_EACH: u64 = 11;
/// Book-keeping for each stored symbol, in octets.
const STORED_BYTES_EACH: u64 = 128;

/// A set of symbol identifiers: pages of 512 bits, so that runs are compact and nothing hashes.
#[derive(Debug, Default)]
struct SymbolSet {
    pages: BTreeMap<u16, [u64; 8]>,
}

impl SymbolSet {
    fn split(esi: u32) -> (u16, usize, u64) {
        ((esi >> 9) as u16, (esi >> 6 & 7) as usize, 1 << (esi & 63))
    }

    fn contains(&self, esi: u32) -> bool {
        let (page, word, bit) = Self::split(esi);
        self.pages
            .get(&page)
            .is_some_and(|words| words[word] & bit != 0)
    }

    fn insert(&mut self, esi: u32) {
        let (page, word, bit) = Self::split(esi);
        self.pages.entry(page).or_default()[word] |= bit;
    }
}
