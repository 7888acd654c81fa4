//! The dense half: the inactive columns, determined by the residual rows and the HDPC rows.
//!
//! Every pivot column is `Y + U * inactive`, where `Y` is a symbol and `U` a bit row. Substituting that
//! into a residual row leaves bits over the inactive columns; into an HDPC row, octets.
//!
//! 1. [`substitute`] computes `U` in blocks of at most 512 inactive columns, so that its memory is
//!    bounded by 64 octets for each pivot, and adds it into the residual and the HDPC rows. HDPC
//!    sums are kept as eight bit planes, so that octets too are added 64 at a time;
//! 2. the binary rows are reduced to `C_pivot = T * residual + N * C_free`;
//! 3. the HDPC rows, at most 16 of them, determine the free columns: a low-rank border. If the binary
//!    rows leave no column free, the HDPC rows are not used at all.
//!
//! Step 2 has two forms with equal results: row by row, and in panels of [`PANEL`] columns with a
//! table of all sums of the panel's rows (the Schur complement of the panel, one look-up for each
//! row). `T` is recorded as look-ups too: see [`Lookups`].

use super::peel::Peeled;
use super::policy::SolveError;
use super::rows::Rows;
use crate::code::Code;
use crate::octet;

/// Pivots that are eliminated together.
const PANEL: usize = 8;

/// How to compute the inactive columns' symbols.
pub(super) struct Dense {
    /// The residual rows used, in pivot order.
    pub(super) selected: Vec<u32>,
    /// The columns that the binary rows determine, in the same order.
    pub(super) pivots: Vec<u16>,
    /// The columns that the HDPC rows determine.
    pub(super) free: Vec<u16>,
    /// `T`: each pivot's sum of residual symbols.
    pub(super) transform: Lookups,
    /// `N`: each pivot's sum of free columns.
    pub(super) border: Lists,
    /// For each of `heights`, `pivots.len()` octets by which the pivots enter it.
    pub(super) factors: Vec<u8>,
    /// The HDPC rows used, as many as there are free columns.
    pub(super) heights: Vec<u8>,
    /// For each free column, the octets by which those rows' sums enter it.
    pub(super) inverse: Vec<u8>,
}

/// Lists of small numbers, one after another.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    ends: Vec<u32>,
    items: Vec<u16>,
}

impl Lists {
    fn with_capacity(lists: usize, items: usize) -> Self {
        Self {
            ends: Vec::with_capacity(lists),
            items: Vec::with_capacity(items),
        }
    }

    pub(super) fn close(&mut self) {
        self.ends.push(self.items.len() as u32);
    }

    pub(super) fn push(&mut self, item: u16) {
        self.items.push(item);
    }

    pub(super) fn get(&self, i: usize) -> &[u16] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.items[start..self.ends[i] as usize]
    }

    pub(super) fn total(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.ends.len() * 4 + self.items.len() * 2
    }
}

/// A bit matrix as sums of table entries ("four Russians").
///
/// Symbols are taken in groups of `bits`; entry `v` of a group is the sum of its symbols at the one
/// bits of `v`. With one bit a group is a symbol, and there is no table.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookups {
    pub(super) bits: usize,
    pub(super) lists: Lists,
}

impl Lookups {
    /// The bits that cost least for a square matrix of this size, by count of sums; for the largest,
    /// the most with which the entries can still be numbered in 16 bits.
    fn bits_for(size: usize) -> usize {
        match size {
            0..24 => 1,
            24..64 => 3,
            64..160 => 4,
            160..400 => 5,
            400..=6144 => 6,
            6145..=10_240 => 5,
            10_241..=16_384 => 4,
            16_385..=24_576 => 3,
            24_577..=32_768 => 2,
            _ => 1,
        }
    }

    /// Entries that a table for `symbols` symbols has.
    pub(super) fn entries(&self, symbols: usize) -> usize {
        if self.bits == 1 {
            symbols
        } else {
            symbols.div_ceil(self.bits) << self.bits
        }
    }

    /// The entry that is symbol `i` itself.
    pub(super) fn entry(&self, i: usize) -> usize {
        if self.bits == 1 {
            i
        } else {
            (i / self.bits) << self.bits | 1 << (i % self.bits)
        }
    }
}

/// Rows of bits; each row is `words` words of matrix, then `extra` words of transform.
struct BitRows {
    words: usize,
    stride: usize,
    bits: Vec<u64>,
}

impl BitRows {
    fn new(rows: usize, words: usize, extra: usize) -> Self {
        let stride = words + extra;
        Self {
            words,
            stride,
            bits: vec![0; rows * stride],
        }
    }

    fn row(&self, row: usize) -> &[u64] {
        &self.bits[row * self.stride..(row + 1) * self.stride]
    }

    fn row_mut(&mut self, row: usize) -> &mut [u64] {
        &mut self.bits[row * self.stride..(row + 1) * self.stride]
    }

    fn bit(&self, row: usize, column: usize) -> bool {
        self.bits[row * self.stride + column / 64] >> (column % 64) & 1 == 1
    }

    /// `row[to] += row[from]`, from word `first` on.
    fn add(&mut self, from: usize, to: usize, first: usize) {
        let [from, to] = self.pair(from, to);
        xor_words(&mut to[first..], &from[first..]);
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a != b {
            let [a, b] = self.pair(a, b);
            a.swap_with_slice(b);
        }
    }

    fn pair(&mut self, a: usize, b: usize) -> [&mut [u64]; 2] {
        let stride = self.stride;
        self.bits
            .get_disjoint_mut([a * stride..(a + 1) * stride, b * stride..(b + 1) * stride])
            .expect("two different rows of the matrix")
    }
}

fn xor_words(to: &mut [u64], from: &[u64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}

/// The result of the binary elimination.
struct Reduced {
    /// The inactive number of each pivot's column.
    columns: Vec<usize>,
    /// The residual row that each pivot came from.
    rows: Vec<u32>,
}

/// Solves for the inactive columns; `in_panels` chooses the form of the binary elimination.
pub(super) fn solve(
    code: &Code,
    rows: &Rows,
    peeled: &Peeled,
    pairs: &[u8],
    in_panels: bool,
) -> Result<Dense, SolveError> {
    let columns = peeled.inactive.len();
    let rank_max = peeled.residual.len().min(columns);
    let mut matrix = BitRows::new(
        peeled.residual.len(),
        columns.div_ceil(64),
        rank_max.div_ceil(64),
    );
    let mut octets = vec![0_u8; code.hdpc as usize * columns];
    match columns {
        0..=64 => substitute::<1>(code, rows, peeled, pairs, &mut matrix, &mut octets),
        65..=128 => substitute::<2>(code, rows, peeled, pairs, &mut matrix, &mut octets),
        129..=256 => substitute::<4>(code, rows, peeled, pairs, &mut matrix, &mut octets),
        _ => substitute::<8>(code, rows, peeled, pairs, &mut matrix, &mut octets),
    }
    let reduced = if in_panels {
        reduce_in_panels(&mut matrix, &peeled.residual, columns)
    } else {
        reduce(&mut matrix, &peeled.residual, columns)
    };
    finish(code, peeled, &matrix, reduced, &octets)
}

/// Adds the pivots' bit rows into the residual rows and the HDPC rows.
fn substitute<const N: usize>(
    code: &Code,
    rows: &Rows,
    peeled: &Peeled,
    pairs: &[u8],
    matrix: &mut BitRows,
    octets: &mut [u8],
) {
    let columns = peeled.inactive.len();
    let mut bits: Vec<[u64; N]> = Vec::with_capacity(peeled.pivots.len());
    for block in 0..columns.div_ceil(64 * N) {
        let first = block * 64 * N;
        bits.clear();
        for &(row, column) in &peeled.pivots {
            let sum = row_bits(rows.row(row), Some(column), peeled, &bits, first);
            bits.push(sum);
        }
        for (i, &row) in peeled.residual.iter().enumerate() {
            let sum = row_bits(rows.row(row), None, peeled, &bits, first);
            let end = matrix.words.min((block + 1) * N);
            let to = &mut matrix.row_mut(i)[block * N..end];
            to.copy_from_slice(&sum[..to.len()]);
        }
        fold_bits(code, peeled, pairs, &bits, (first, columns), octets);
    }
    for (h, column) in (code.extended + code.ldpc..code.intermediate_symbols()).enumerate() {
        let inactive = peeled.places[column as usize].inactive();
        let number = inactive.expect("the HDPC columns are permanently inactive");
        octets[h * columns + number] ^= 1;
    }
}

/// The bits of one row over the inactive columns `first..first + 64 * N`.
fn row_bits<const N: usize>(
    columns: &[u16],
    pivot: Option<u16>,
    peeled: &Peeled,
    bits: &[[u64; N]],
    first: usize,
) -> [u64; N] {
    let mut sum = [0; N];
    for &column in columns {
        if Some(column) == pivot {
            continue;
        }
        match peeled.places[column as usize].inactive() {
            Err(pivot) => {
                for (sum, word) in sum.iter_mut().zip(&bits[pivot]) {
                    *sum ^= word;
                }
            }
            Ok(number) => flip(&mut sum, number, first),
        }
    }
    sum
}

fn flip<const N: usize>(sum: &mut [u64; N], number: usize, first: usize) {
    if let Some(word) = number
        .checked_sub(first)
        .and_then(|at| sum.get_mut(at / 64))
    {
        *word ^= 1 << (number % 64);
    }
}

/// The HDPC rows over one block of inactive columns: the fold, on bit planes.
fn fold_bits<const N: usize>(
    code: &Code,
    peeled: &Peeled,
    pairs: &[u8],
    bits: &[[u64; N]],
    (first, columns): (usize, usize),
    octets: &mut [u8],
) {
    let mut sums = vec![[[0_u64; N]; 8]; code.hdpc as usize];
    let mut running = [[0_u64; N]; 8];
    // Plane `i` of the running sum is `running[(base + i) % 8]`: doubling turns the planes.
    let mut base = 0_usize;
    let last = pairs.len() - 1;
    for (column, &pair) in pairs.iter().enumerate() {
        base = double(&mut running, base);
        match peeled.places[column].inactive() {
            Err(pivot) => xor_words(&mut running[base], &bits[pivot]),
            Ok(number) => flip(&mut running[base], number, first),
        }
        if column < last {
            add_planes(&mut sums[(pair >> 4) as usize], &running, base);
            add_planes(&mut sums[(pair & 15) as usize], &running, base);
        }
    }
    for sum in &mut sums {
        add_planes(sum, &running, base);
        base = double(&mut running, base);
    }
    let width = (columns - first).min(64 * N);
    for (h, sum) in sums.iter().enumerate() {
        let row = &mut octets[h * columns + first..][..width];
        for (group, out) in row.chunks_mut(8).enumerate() {
            let at = group * 8;
            let spread = (0..8).fold(0, |word, plane| {
                word | spread_bits((sum[plane][at / 64] >> (at % 64)) as u8) << plane
            });
            for (out, octet) in out.iter_mut().zip(spread.to_le_bytes()) {
                *out ^= octet;
            }
        }
    }
}

/// Bit `i` of `bits` as the lowest bit of octet `i`.
fn spread_bits(bits: u8) -> u64 {
    let each = (u64::from(bits) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    ((each + 0x7F7F_7F7F_7F7F_7F7F) >> 7) & 0x0101_0101_0101_0101
}

fn add_planes<const N: usize>(sum: &mut [[u64; N]; 8], running: &[[u64; N]; 8], base: usize) {
    for (i, plane) in sum.iter_mut().enumerate() {
        xor_words(plane, &running[(base + i) & 7]);
    }
}

/// Multiplies the planes by the generator; returns the new base.
fn double<const N: usize>(running: &mut [[u64; N]; 8], base: usize) -> usize {
    let base = (base + 7) & 7;
    let top = running[base];
    for i in 1..8 {
        if octet::POLYNOMIAL >> i & 1 == 1 {
            xor_words(&mut running[(base + i) & 7], &top);
        }
    }
    base
}

/// Reduces the rows one pivot at a time.
fn reduce(matrix: &mut BitRows, residual: &[u32], columns: usize) -> Reduced {
    let mut rows = residual.to_vec();
    let mut pivots = Vec::with_capacity(columns.min(rows.len()));
    for column in 0..columns {
        let rank = pivots.len();
        let Some(found) = (rank..rows.len()).find(|&row| matrix.bit(row, column)) else {
            continue;
        };
        matrix.swap(rank, found);
        rows.swap(rank, found);
        mark(matrix, rank);
        for row in 0..rows.len() {
            if row != rank && matrix.bit(row, column) {
                matrix.add(rank, row, column / 64);
            }
        }
        pivots.push(column);
    }
    rows.truncate(pivots.len());
    Reduced {
        columns: pivots,
        rows,
    }
}

/// Notes in the transform that row `rank` contains itself.
fn mark(matrix: &mut BitRows, rank: usize) {
    let at = matrix.words + rank / 64;
    matrix.row_mut(rank)[at] ^= 1 << (rank % 64);
}

/// Reduces the rows in panels of [`PANEL`] pivots.
fn reduce_in_panels(matrix: &mut BitRows, residual: &[u32], columns: usize) -> Reduced {
    let mut rows = residual.to_vec();
    let mut pivots: Vec<usize> = Vec::with_capacity(columns.min(rows.len()));
    // The panel's pivots are `pivots[start..]`; other rows have not met them yet.
    let mut start = 0;
    let mut table = Vec::new();
    for column in 0..columns {
        let rank = pivots.len();
        let panel = &pivots[start..];
        let holds = |row| {
            panel
                .iter()
                .enumerate()
                .fold(matrix.bit(row, column), |bit, (i, &pivot)| {
                    bit ^ (matrix.bit(row, pivot) && matrix.bit(start + i, column))
                })
        };
        let Some(found) = (rank..rows.len()).find(|&row| holds(row)) else {
            continue;
        };
        matrix.swap(rank, found);
        rows.swap(rank, found);
        for (i, &pivot) in panel.iter().enumerate() {
            if matrix.bit(rank, pivot) {
                matrix.add(start + i, rank, pivots[start] / 64);
            }
        }
        mark(matrix, rank);
        for row in start..rank {
            if matrix.bit(row, column) {
                matrix.add(rank, row, column / 64);
            }
        }
        pivots.push(column);
        if pivots.len() - start == PANEL {
            flush(matrix, rows.len(), start, &pivots[start..], &mut table);
            start = pivots.len();
        }
    }
    flush(matrix, rows.len(), start, &pivots[start..], &mut table);
    rows.truncate(pivots.len());
    Reduced {
        columns: pivots,
        rows,
    }
}

/// Eliminates a panel's columns from all rows outside of it.
fn flush(matrix: &mut BitRows, rows: usize, start: usize, panel: &[usize], table: &mut Vec<u64>) {
    let Some(&first) = panel.first() else { return };
    let first = first / 64;
    let width = matrix.stride - first;
    table.clear();
    table.resize(width << panel.len(), 0);
    for value in 1_usize..1 << panel.len() {
        let (below, entry) = table.split_at_mut(value * width);
        let rest = (value & (value - 1)) * width;
        entry[..width].copy_from_slice(&below[rest..rest + width]);
        let row = matrix.row(start + value.trailing_zeros() as usize);
        xor_words(&mut entry[..width], &row[first..]);
    }
    for row in (0..start).chain(start + panel.len()..rows) {
        let value = panel.iter().enumerate().fold(0, |value, (i, &column)| {
            value | usize::from(matrix.bit(row, column)) << i
        });
        if value != 0 {
            let entry = &table[value * width..][..width];
            xor_words(&mut matrix.row_mut(row)[first..], entry);
        }
    }
}

/// Determines the free columns by the HDPC rows, and records the lot.
fn finish(
    code: &Code,
    peeled: &Peeled,
    matrix: &BitRows,
    reduced: Reduced,
    octets: &[u8],
) -> Result<Dense, SolveError> {
    let columns = peeled.inactive.len();
    let rank = reduced.columns.len();
    let mut is_free = vec![true; columns];
    for &column in &reduced.columns {
        is_free[column] = false;
    }
    let mut free = Vec::with_capacity(columns - rank);
    free.extend((0..columns).filter(|&column| is_free[column]));
    if free.len() > code.hdpc as usize {
        return Err(SolveError::RankDeficient {
            missing: free.len() as u32 - code.hdpc,
        });
    }
    let mut border = Lists::with_capacity(rank, rank * free.len() / 2);
    for pivot in 0..rank {
        for &column in free.iter().filter(|&&column| matrix.bit(pivot, column)) {
            border.push(peeled.inactive[column]);
        }
        border.close();
    }
    let correction = if free.is_empty() {
        Correction::default()
    } else {
        correct(code, matrix, &reduced.columns, octets, &free)?
    };
    let name = |columns: &[usize]| columns.iter().map(|&c| peeled.inactive[c]).collect();
    Ok(Dense {
        pivots: name(&reduced.columns),
        selected: reduced.rows,
        free: name(&free),
        transform: lookups(matrix, rank),
        border,
        heights: correction.heights,
        factors: correction.factors,
        inverse: correction.inverse,
    })
}

fn lookups(matrix: &BitRows, rank: usize) -> Lookups {
    let bits = Lookups::bits_for(rank);
    let mut lists = Lists {
        ends: Vec::with_capacity(rank),
        items: Vec::new(),
    };
    for pivot in 0..rank {
        let row = &matrix.row(pivot)[matrix.words..];
        if bits == 1 {
            for (word, &value) in row.iter().enumerate() {
                let mut rest = value;
                while rest != 0 {
                    lists.push((word * 64) as u16 + rest.trailing_zeros() as u16);
                    rest &= rest - 1;
                }
            }
        } else {
            for group in 0..rank.div_ceil(bits) {
                let at = group * bits;
                let low = row[at / 64] >> (at % 64);
                let spill = row
                    .get(at / 64 + 1)
                    .map_or(0, |&next| (next << 1) << (63 - at % 64));
                let value = (low | spill) & ((1 << bits) - 1);
                if value != 0 {
                    lists.push((group << bits) as u16 | value as u16);
                }
            }
        }
        lists.close();
    }
    Lookups { bits, lists }
}

/// How the HDPC rows determine the free columns.
#[derive(Default)]
struct Correction {
    heights: Vec<u8>,
    factors: Vec<u8>,
    inverse: Vec<u8>,
}

/// Reduces the HDPC rows by the binary pivots, and inverts what remains of them.
fn correct(
    code: &Code,
    matrix: &BitRows,
    columns: &[usize],
    octets: &[u8],
    free: &[usize],
) -> Result<Correction, SolveError> {
    let width = octets.len() / code.hdpc as usize;
    let mut rows = Vec::with_capacity(code.hdpc as usize * free.len());
    for octets in octets.chunks_exact(width) {
        let start = rows.len();
        rows.extend(free.iter().map(|&column| octets[column]));
        for (pivot, &column) in columns.iter().enumerate() {
            let factor = octets[column];
            for (value, &column) in rows[start..].iter_mut().zip(free) {
                *value ^= if matrix.bit(pivot, column) { factor } else { 0 };
            }
        }
    }
    let mut heights: Vec<u8> = (0..code.hdpc as u8).collect();
    invert(&mut rows, free.len(), &mut heights)?;
    let mut factors = Vec::with_capacity(free.len() * columns.len());
    for &height in &heights {
        let octets = &octets[height as usize * width..][..width];
        factors.extend(columns.iter().map(|&column| octets[column]));
    }
    Ok(Correction {
        heights,
        factors,
        inverse: rows,
    })
}

/// Inverts, in place, `width` of the rows, each `width` octets.
///
/// On return `heights` lists the rows used, in the order of the inverse's columns: a column that has
/// had its pivot is no longer needed, and holds the inverse's column instead.
fn invert(rows: &mut Vec<u8>, width: usize, heights: &mut Vec<u8>) -> Result<(), SolveError> {
    let mut pivot = vec![0; width];
    for rank in 0..width {
        let Some(found) = (rank..heights.len()).find(|&row| rows[row * width + rank] != 0) else {
            return Err(SolveError::RankDeficient { missing: 1 });
        };
        heights.swap(rank, found);
        pivot.copy_from_slice(&rows[found * width..(found + 1) * width]);
        rows.copy_within(rank * width..(rank + 1) * width, found * width);
        let scale = octet::inverse(pivot[rank]);
        pivot[rank] = 1;
        scale_add(&mut pivot, None, scale);
        rows[rank * width..(rank + 1) * width].copy_from_slice(&pivot);
        for (at, row) in rows.chunks_exact_mut(width).enumerate() {
            let factor = row[rank];
            if at != rank && factor != 0 {
                row[rank] = 0;
                scale_add(row, Some(&pivot), factor);
            }
        }
    }
    heights.truncate(width);
    rows.truncate(width * width);
    Ok(())
}

/// `row += factor * term`, or `row *= factor` without a term.
fn scale_add(row: &mut [u8], term: Option<&[u8]>, factor: u8) {
    let table = &octet::NIBBLES[factor as usize];
    let product = |x: u8| table[(x & 15) as usize] ^ table[16 + (x >> 4) as usize];
    match term {
        None => row.iter_mut().for_each(|value| *value = product(*value)),
        Some(term) => {
            for (value, &x) in row.iter_mut().zip(term) {
                *value ^= product(x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_rows(seed: u64, rows: usize, columns: usize, deficient: bool) -> BitRows {
        let mut state = seed;
        let extra = rows.min(columns).div_ceil(64);
        let mut matrix = BitRows::new(rows, columns.div_ceil(64), extra);
        for row in 0..rows {
            for column in 0..columns {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let bit = state >> 40 & 1 == 1 && !(deficient && column % 5 == 0);
                matrix.row_mut(row)[column / 64] |= u64::from(bit) << (column % 64);
            }
        }
        matrix
    }

    #[test]
    fn panels_reduce_to_the_same_rows_as_single_pivots() {
        for (rows, columns) in [
            (0, 0),
            (1, 1),
            (5, 9),
            (9, 5),
            (64, 64),
            (70, 66),
            (150, 200),
            (300, 260),
        ] {
            for deficient in [false, true] {
                let residual: Vec<u32> = (100..100 + rows as u32).collect();
                let mut one = random_rows(7, rows, columns, deficient);
                let mut two = random_rows(7, rows, columns, deficient);
                let a = reduce(&mut one, &residual, columns);
                let b = reduce_in_panels(&mut two, &residual, columns);
                assert_eq!(a.columns, b.columns, "{rows} x {columns}");
                assert_eq!(a.rows, b.rows);
                let rank = a.columns.len();
                assert_eq!(one.bits[..rank * one.stride], two.bits[..rank * two.stride]);
            }
        }
    }

    #[test]
    fn inversion_uses_rows_that_exist_and_gives_the_identity() {
        let mut state = 1_u32;
        let mut draw = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for (rows, width) in [(1, 1), (10, 10), (10, 4), (16, 16), (16, 15)] {
            // Few values, so that pivots are often missing from their place.
            let given: Vec<u8> = (0..rows * width).map(|_| draw() & 3).collect();
            let (mut inverse, mut heights) = (given.clone(), (0..rows as u8).collect());
            if invert(&mut inverse, width, &mut heights).is_err() {
                assert_eq!(width, rows, "with rows to spare a pivot is found");
                continue;
            }
            for i in 0..width {
                for j in 0..width {
                    let product = (0..width).fold(0, |sum, k| {
                        let from = given[heights[k] as usize * width + j];
                        sum ^ octet::mul(inverse[i * width + k], from)
                    });
                    assert_eq!(product, u8::from(i == j), "{rows} x {width}");
                }
            }
        }
    }

    #[test]
    fn bits_spread_to_octets() {
        for bits in 0..=255 {
            let expected: [u8; 8] = std::array::from_fn(|i| bits >> i & 1);
            assert_eq!(spread_bits(bits).to_le_bytes(), expected);
        }
    }

    #[test]
    fn entries_are_numbered_in_16_bits_at_every_size() {
        for size in 0..=57_326 {
            let lookups = Lookups {
                bits: Lookups::bits_for(size),
                lists: Lists::default(),
            };
            assert!(lookups.entries(size) <= 1 << 16, "{size}");
        }
    }

    #[test]
    fn the_transform_turns_the_given_rows_into_the_reduced_ones() {
        let (rows, columns) = (90, 80);
        let given = random_rows(3, rows, columns, false);
        let mut matrix = random_rows(3, rows, columns, false);
        let residual: Vec<u32> = (0..rows as u32).collect();
        let reduced = reduce_in_panels(&mut matrix, &residual, columns);
        let lookups = lookups(&matrix, reduced.columns.len());
        for pivot in 0..reduced.columns.len() {
            let mut sum = vec![0; given.words];
            for &entry in lookups.lists.get(pivot) {
                for i in 0..lookups.bits {
                    if entry as usize >> i & 1 == 1 {
                        let symbol = (entry as usize >> lookups.bits) * lookups.bits + i;
                        let row = given.row(reduced.rows[symbol] as usize);
                        xor_words(&mut sum, &row[..given.words]);
                    }
                }
            }
            assert_eq!(sum, matrix.row(pivot)[..given.words]);
            for (other, &column) in reduced.columns.iter().enumerate() {
                assert_eq!(matrix.bit(pivot, column), other == pivot);
            }
        }
    }
}
