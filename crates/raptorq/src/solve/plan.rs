//! A plan: the elimination as a list of sums, replayed on symbols.
//!
//! | step | sums | where |
//! | --- | --- | --- |
//! | forward | each pivot's row without its inactive columns (`Y`) | the pivot's own column |
//! | residual | each selected residual row | the look-up table |
//! | fold | the HDPC rows over all `Y` | `H` accumulators |
//! | dense | the inactive columns | their own columns |
//! | back | each pivot's row, whole | the pivot's own column, over `Y` |
//!
//! Each sum is one pass: all terms are read, the result is written once. Going back through the
//! sparse rows a second time costs a row's few terms; the dense bit rows `U` would cost half of the
//! inactive columns for each pivot.
//!
//! Octet `i` of a result depends on octet `i` of the terms alone, so a strip of every symbol can pass
//! through the plan by itself. The dense steps use that to bound their scratch memory.

use std::fmt;

use super::dense::{self, Dense, Lookups};
use super::peel;
use super::policy::{
    BLOCK_COLUMNS_MIN, Policy, PolicyEvent, PolicyReason, SolveError, SolveOptions,
};
use super::rows::Rows;
use crate::code::Code;
use crate::kernel::{Kernel, Strip};

/// A recorded elimination for one set of rows, good for any symbols that have those rows.
///
/// Make one with [`Plan::encoding`], or let a decoder make it.
/// A plan is immutable; share it in an `Arc`.
pub struct Plan {
    code: Code,
    is_encoding: bool,
    sums: Vec<Sum>,
    /// Terms of all sums: other pivots first, then inactive columns.
    terms: Vec<u16>,
    residual: Vec<Sum>,
    /// Rows that no step reads: what they say follows from the others.
    redundant: Vec<u32>,
    pairs: Vec<u8>,
    dense: Dense,
    stats: PlanStats,
}

/// One row of a plan.
#[derive(Clone, Copy, Debug)]
struct Sum {
    row: u32,
    start: u32,
    /// Terms that are pivot columns, then all terms.
    pivots: u16,
    all: u16,
    column: u16,
}

/// What a plan contains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PlanStats {
    /// Rows, one for each encoding symbol; LDPC and HDPC rows are not counted.
    pub symbols: u32,
    /// Columns that were made inactive, the permanently inactive ones included.
    pub inactive: u32,
    /// Columns that are inactive in every plan of this code.
    pub permanently_inactive: u32,
    /// Columns that the HDPC rows determine; zero if the binary rows suffice.
    pub by_hdpc: u32,
    /// Symbol additions that one execution makes.
    pub additions: u64,
    /// Multiplications of a symbol by an octet that one execution makes.
    pub multiplications: u64,
    /// The policy in force at the end.
    pub policy: Policy,
    /// Changes of policy, in order.
    pub events: Vec<PolicyEvent>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("code", &self.code)
            .field("stats", &self.stats)
            .finish()
    }
}

impl Plan {
    /// The plan for encoding blocks of `code`: its rows are the extended source symbols.
    ///
    /// Blocks of different `K` with the same `K'` can use the same plan.
    /// Cost: near linear in `K'`; at `K' = 50,511` some 10 ms and 3 MB.
    ///
    /// # Panics
    /// If the systematic index of `code` were wrong: those rows have full rank, by design.
    ///
    /// # Examples
    /// ```
    /// use asupersync_raptorq::{Code, Plan};
    /// let plan = Plan::encoding(Code::new(100)?);
    /// assert!(plan.stats().inactive >= plan.stats().permanently_inactive);
    /// # Ok::<(), asupersync_raptorq::CodeError>(())
    /// ```
    #[must_use]
    pub fn encoding(code: Code) -> Self {
        let options = SolveOptions {
            inactive_max: u32::MAX,
            policy: None,
        };
        let plan = Self::solve(code, 0..code.extended, options)
            .expect("RFC 6330's systematic indices give matrices of full rank");
        Self {
            is_encoding: true,
            ..plan
        }
    }

    /// The plan for the encoding symbols with these ISIs.
    ///
    /// # Errors
    /// See [`SolveError`]: the symbols do not determine the block, or only with too much work.
    pub fn solve(
        code: Code,
        isis: impl ExactSizeIterator<Item = u32>,
        options: SolveOptions,
    ) -> Result<Self, SolveError> {
        let symbols = isis.len() as u32;
        if symbols < code.extended {
            return Err(SolveError::RankDeficient {
                missing: code.extended - symbols,
            });
        }
        let rows = Rows::new(&code, isis);
        let mut peeled = peel::peel(&code, &rows, options)?;
        let in_panels = peeled.inactive.len() >= BLOCK_COLUMNS_MIN;
        if in_panels {
            peeled.enter(Policy::BlockSchur, PolicyReason::DensePartLarge);
        }
        let pairs = code.hdpc_pairs();
        let dense = dense::solve(&code, &rows, &peeled, &pairs, in_panels)?;
        if dense.free.is_empty() {
            peeled.enter(peeled.policy, PolicyReason::BinaryRowsSuffice);
        }
        let mut terms = Vec::with_capacity(rows.entries());
        let mut record = |row, column| sum(&rows, row, column, &peeled, &mut terms);
        let sums = peeled
            .pivots
            .iter()
            .map(|&(row, column)| record(row, Some(column)))
            .collect();
        let residual = dense
            .selected
            .iter()
            .map(|&row| record(row, None))
            .collect();
        let stats = PlanStats {
            symbols,
            inactive: peeled.inactive.len() as u32,
            permanently_inactive: code.pi,
            by_hdpc: dense.free.len() as u32,
            additions: 0,
            multiplications: 0,
            policy: peeled.policy,
            events: peeled.events,
        };
        let redundant = redundant(&code, &peeled.residual, &dense.selected);
        let mut plan = Self {
            code,
            is_encoding: false,
            sums,
            terms,
            residual,
            redundant,
            pairs,
            dense,
            stats,
        };
        plan.count();
        Ok(plan)
    }

    /// The code that this is a plan of.
    #[must_use]
    pub const fn code(&self) -> &Code {
        &self.code
    }

    pub(crate) const fn is_encoding(&self) -> bool {
        self.is_encoding
    }

    /// The encoding symbols, by their place in the plan's rows, that the plan does not read.
    pub(crate) fn redundant(&self) -> &[u32] {
        &self.redundant
    }

    /// Whether symbols computed by this plan satisfy the HDPC rows that it did not need.
    pub(crate) fn holds(&self, kernel: &Kernel, symbols: &Intermediate) -> bool {
        let heights = self.code.hdpc as usize;
        if self.dense.free.len() == heights {
            return true;
        }
        let first = (self.code.extended + self.code.ldpc) as usize;
        let strip = DENSE_STRIP_BYTES_MAX.min(symbols.symbol);
        let mut sums = vec![0; heights * strip];
        (0..symbols.symbol).step_by(strip).all(|offset| {
            let len = strip.min(symbols.symbol - offset);
            let sums = &mut sums[..heights * len];
            sums.fill(0);
            let strip = Strip {
                stride: symbols.stride,
                offset,
            };
            kernel.fold(sums, len, symbols.bytes(), &self.pairs, strip);
            sums.chunks_exact(len).enumerate().all(|(h, sum)| {
                symbols.bytes()[(first + h) * symbols.stride + offset..][..len] == *sum
            })
        })
    }

    /// What the plan contains.
    #[must_use]
    pub const fn stats(&self) -> &PlanStats {
        &self.stats
    }

    /// Memory that the plan holds, in octets.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + (self.sums.len() + self.residual.len()) * size_of::<Sum>()
            + self.redundant.len() * 4
            + self.terms.len() * 2
            + self.pairs.len()
            + self.dense.transform.lists.bytes()
            + self.dense.border.bytes()
            + (self.dense.pivots.len() + self.dense.free.len()) * 2
            + self.dense.selected.len() * 4
            + self.dense.heights.len()
            + self.dense.factors.len()
            + self.dense.inverse.len()
    }

    /// A fingerprint of every decision: rows, columns, their order and the dense part.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        for sum in self.sums.iter().chain(&self.residual) {
            hash.update(&sum.row.to_le_bytes());
            hash.update(&sum.column.to_le_bytes());
        }
        for &column in self.dense.pivots.iter().chain(&self.dense.free) {
            hash.update(&column.to_le_bytes());
        }
        hash.update(&self.dense.heights);
        hash.update(&self.dense.factors);
        hash.update(&self.dense.inverse);
        *hash.finalize().as_bytes()
    }

    fn count(&mut self) {
        let forward: u64 = self.sums.iter().map(|sum| u64::from(sum.pivots)).sum();
        let back: u64 = self.sums.iter().map(|sum| u64::from(sum.all)).sum();
        let residual: u64 = self.residual.iter().map(|sum| u64::from(sum.pivots)).sum();
        let dense = self.dense.transform.lists.total() + self.dense.border.total();
        let table = self.dense.transform.entries(self.residual.len()) - self.residual.len();
        let fold = if self.dense.free.is_empty() {
            0
        } else {
            3 * self.pairs.len()
        };
        self.stats.additions = forward + back + residual + (dense + table + fold) as u64;
        let octets = self.dense.factors.iter().chain(&self.dense.inverse);
        self.stats.multiplications = octets.filter(|&&octet| octet > 1).count() as u64;
    }

    /// Computes the intermediate symbols.
    ///
    /// # Panics
    /// If `source` has fewer rows than the plan.
    pub(crate) fn execute(&self, kernel: &Kernel, source: &Source<'_>) -> Intermediate {
        let symbol = source.symbol;
        let mut out = Intermediate::new(&self.code, symbol);
        let stride = out.stride;
        let strip = STRIP_BYTES_MAX.min(symbol);
        let table = self.dense.transform.entries(self.residual.len());
        let narrow = DENSE_STRIP_BYTES_MAX.min(symbol);
        let mut scratch = Scratch {
            table: vec![0; table * narrow],
            sums: vec![0; self.code.hdpc as usize * narrow],
        };
        for offset in (0..symbol).step_by(strip) {
            let end = symbol.min(offset + strip);
            let run = Run {
                plan: self,
                kernel,
                source,
                stride,
                offset,
                len: end - offset,
            };
            run.forward(out.bytes_mut());
            for offset in (offset..end).step_by(narrow) {
                let run = Run {
                    offset,
                    len: narrow.min(end - offset),
                    ..run
                };
                run.residual(out.bytes_mut(), &mut scratch.table);
                run.dense(out.bytes_mut(), &mut scratch);
            }
            run.back(out.bytes_mut());
        }
        out
    }
}

/// The widest strip for the sparse steps: whole symbols, unless they are very long.
///
/// Narrower strips, which would keep all symbols' strips in a cache, were slower at every size that
/// was measured (256 octets: by a fifth to a half): symbols are read in no order, and short reads
/// waste the processor's own prefetching.
const STRIP_BYTES_MAX: usize = 8192;
/// The widest strip for the dense steps: their scratch memory is this wide.
pub(crate) const DENSE_STRIP_BYTES_MAX: usize = 640;

/// The encoding symbols among the residual rows that were not selected.
fn redundant(code: &Code, residual: &[u32], selected: &[u32]) -> Vec<u32> {
    if residual.len() == selected.len() {
        return Vec::new();
    }
    let mut selected = selected.to_vec();
    selected.sort_unstable();
    let unused = residual
        .iter()
        .filter(|row| selected.binary_search(row).is_err());
    unused
        .filter_map(|row| row.checked_sub(code.ldpc))
        .collect()
}

fn sum(
    rows: &Rows,
    row: u32,
    column: Option<u16>,
    peeled: &peel::Peeled,
    terms: &mut Vec<u16>,
) -> Sum {
    let start = terms.len();
    // Pivots grow from the front, inactive columns from the back, in one pass over the row.
    let columns = rows.row(row);
    terms.resize(start + columns.len(), 0);
    let (mut pivots, mut back) = (start, terms.len());
    for &other in columns {
        if Some(other) == column {
            continue;
        }
        if peeled.places[other as usize].inactive().is_err() {
            terms[pivots] = other;
            pivots += 1;
        } else {
            back -= 1;
            terms[back] = other;
        }
    }
    let pivots = pivots - start;
    if column.is_some() {
        // The pivot itself left a gap of one.
        terms.copy_within(back.., start + pivots);
        terms.pop();
    } else {
        terms.truncate(start + pivots);
    }
    Sum {
        row,
        start: start as u32,
        pivots: pivots as u16,
        all: (terms.len() - start) as u16,
        column: column.unwrap_or(0),
    }
}

/// The symbols that a plan's rows stand for.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// Symbols, one after another.
    pub(crate) bytes: &'a [u8],
    /// Octets in a symbol.
    pub(crate) symbol: usize,
    /// For each row its symbol's number, or [`Source::PADDING`]; `None`: rows and symbols agree, and
    /// rows beyond the symbols are padding.
    pub(crate) slots: Option<&'a [u32]>,
}

impl<'a> Source<'a> {
    /// A row that is zero.
    pub(crate) const PADDING: u32 = u32::MAX;

    fn row(&self, row: usize) -> &'a [u8] {
        let slot = match self.slots {
            None => row,
            Some(slots) if slots[row] == Self::PADDING => return &[],
            Some(slots) => slots[row] as usize,
        };
        self.bytes
            .get(slot * self.symbol..(slot + 1) * self.symbol)
            .unwrap_or(&[])
    }
}

struct Scratch {
    table: Vec<u8>,
    sums: Vec<u8>,
}

/// One strip's way through the plan.
#[derive(Clone, Copy)]
struct Run<'a> {
    plan: &'a Plan,
    kernel: &'a Kernel,
    source: &'a Source<'a>,
    /// Octets from one symbol of the arena to the next.
    stride: usize,
    offset: usize,
    len: usize,
}

impl Run<'_> {
    fn strip(&self) -> Strip {
        Strip {
            stride: self.stride,
            offset: self.offset,
        }
    }

    fn at(&self, column: u16) -> (usize, usize) {
        (column as usize * self.stride + self.offset, self.len)
    }

    /// The given strip of a row; LDPC rows are zero.
    fn seed(&self, row: u32) -> &[u8] {
        let Some(row) = row.checked_sub(self.plan.code.ldpc) else {
            return &[];
        };
        let symbol = self.source.row(row as usize);
        symbol
            .get(self.offset..self.offset + self.len)
            .unwrap_or(&[])
    }

    fn forward(&self, arena: &mut [u8]) {
        for sum in &self.plan.sums {
            let terms = &self.plan.terms[sum.start as usize..][..sum.pivots as usize];
            let at = self.at(sum.column);
            self.kernel
                .gather_within(arena, at, self.seed(sum.row), terms, self.strip());
        }
    }

    fn residual(&self, arena: &[u8], table: &mut [u8]) {
        let lookups = &self.plan.dense.transform;
        for (i, sum) in self.plan.residual.iter().enumerate() {
            let terms = &self.plan.terms[sum.start as usize..][..sum.pivots as usize];
            let out = &mut table[lookups.entry(i) * self.len..][..self.len];
            self.kernel
                .gather(out, self.seed(sum.row), arena, terms, self.strip());
        }
        self.fill_table(lookups, table);
    }

    /// Computes the entries that are sums of more than one symbol.
    fn fill_table(&self, lookups: &Lookups, table: &mut [u8]) {
        if lookups.bits == 1 {
            return;
        }
        let strip = Strip {
            stride: self.len,
            offset: 0,
        };
        let count = self.plan.residual.len();
        for group in 0..count.div_ceil(lookups.bits) {
            let base = (group << lookups.bits) as u16;
            let symbols = (count - group * lookups.bits).min(lookups.bits);
            for value in (3_u16..1 << symbols).filter(|value| !value.is_power_of_two()) {
                let terms = [
                    base | (value & (value - 1)),
                    base | (value & value.wrapping_neg()),
                ];
                let at = ((base | value) as usize * self.len, self.len);
                self.kernel.gather_within(table, at, &[], &terms, strip);
            }
        }
    }

    fn dense(&self, arena: &mut [u8], scratch: &mut Scratch) {
        let Dense {
            pivots,
            free,
            transform,
            border,
            heights,
            factors,
            inverse,
            ..
        } = &self.plan.dense;
        let sums = &mut scratch.sums[..self.plan.code.hdpc as usize * self.len];
        if !free.is_empty() {
            // The inactive columns are still zero here, as the fold needs them.
            sums.fill(0);
            self.kernel
                .fold(sums, self.len, arena, &self.plan.pairs, self.strip());
        }
        let flat = Strip {
            stride: self.len,
            offset: 0,
        };
        for (i, &column) in pivots.iter().enumerate() {
            let (start, len) = self.at(column);
            let out = &mut arena[start..start + len];
            self.kernel
                .gather(out, &[], &scratch.table, transform.lists.get(i), flat);
        }
        if free.is_empty() {
            return;
        }
        for (i, &height) in heights.iter().enumerate() {
            let sum = &mut sums[height as usize * self.len..][..self.len];
            let factors = &factors[i * pivots.len()..][..pivots.len()];
            self.kernel
                .combine(sum, arena, pivots, factors, self.strip());
        }
        let heights: Vec<u16> = heights.iter().copied().map(u16::from).collect();
        for (&column, factors) in free.iter().zip(inverse.chunks_exact(free.len())) {
            let (start, len) = self.at(column);
            self.kernel.combine(
                &mut arena[start..start + len],
                sums,
                &heights,
                factors,
                flat,
            );
        }
        let mut terms = Vec::with_capacity(free.len() + 1);
        for (i, &column) in pivots.iter().enumerate() {
            terms.clear();
            terms.push(column);
            terms.extend_from_slice(border.get(i));
            self.kernel
                .gather_within(arena, self.at(column), &[], &terms, self.strip());
        }
    }

    fn back(&self, arena: &mut [u8]) {
        for sum in &self.plan.sums {
            let terms = &self.plan.terms[sum.start as usize..][..sum.all as usize];
            let at = self.at(sum.column);
            self.kernel
                .gather_within(arena, at, self.seed(sum.row), terms, self.strip());
        }
    }
}

/// The `L` intermediate symbols of a block.
pub(crate) struct Intermediate {
    bytes: Vec<u8>,
    /// Where the first symbol begins, so that it begins a cache line.
    start: usize,
    len: usize,
    symbol: usize,
    /// Octets from one symbol to the next: whole cache lines, unless symbols are short.
    stride: usize,
}

const CACHE_LINE: usize = 64;
/// Symbols from this size on begin on cache lines; it costs them at most an eighth more memory.
const ALIGNED_BYTES_MIN: usize = 512;

impl Intermediate {
    fn new(code: &Code, symbol: usize) -> Self {
        let stride = if symbol < ALIGNED_BYTES_MIN {
            symbol
        } else {
            symbol.next_multiple_of(CACHE_LINE)
        };
        let len = code.intermediate_symbols() as usize * stride;
        let bytes = vec![0; len + CACHE_LINE];
        let start = bytes.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE);
        Self {
            bytes,
            start,
            len,
            symbol,
            stride,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    /// Writes the encoding symbol `isi`.
    ///
    /// # Panics
    /// If `out` is not one symbol long.
    pub(crate) fn encode(&self, kernel: &Kernel, code: &Code, isi: u32, out: &mut [u8]) {
        assert_eq!(out.len(), self.symbol);
        let strip = Strip {
            stride: self.stride,
            offset: 0,
        };
        kernel.gather(out, &[], self.bytes(), code.terms(isi).all(), strip);
    }
}

impl fmt::Debug for Intermediate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intermediate")
            .field("symbol", &self.symbol)
            .finish_non_exhaustive()
    }
}
