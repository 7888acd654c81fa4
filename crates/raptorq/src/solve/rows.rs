//! The sparse binary rows, and the way from a column to its rows.

use crate::code::Code;

/// LDPC rows, then one row for each encoding symbol.
///
/// The columns of row `r` are `columns[starts[r]..starts[r + 1]]`; those from `splits[r]` on are
/// permanently inactive.
pub(super) struct Rows {
    starts: Vec<u32>,
    splits: Vec<u32>,
    columns: Vec<u16>,
}

/// For each column below `W`: the rows that it stands in.
pub(super) struct Columns {
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Rows {
    /// The rows of `code` for the encoding symbols with these ISIs.
    pub(super) fn new(code: &Code, isis: impl ExactSizeIterator<Item = u32>) -> Self {
        let count = code.ldpc as usize + isis.len();
        let mut starts = Vec::with_capacity(count + 1);
        let mut splits = Vec::with_capacity(count);
        let mut columns = Vec::with_capacity(isis.len() * 8 + code.lt as usize * 3);
        ldpc(code, &mut starts, &mut splits, &mut columns);
        for isi in isis {
            let terms = code.terms(isi);
            starts.push(columns.len() as u32);
            splits.push((columns.len() + terms.lt()) as u32);
            columns.extend_from_slice(terms.all());
        }
        starts.push(columns.len() as u32);
        Self {
            starts,
            splits,
            columns,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.splits.len()
    }

    pub(super) fn entries(&self) -> usize {
        self.columns.len()
    }

    /// Every column of a row.
    pub(super) fn row(&self, row: u32) -> &[u16] {
        &self.columns[self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize]
    }

    /// The columns of a row that are not permanently inactive.
    pub(super) fn sparse(&self, row: u32) -> &[u16] {
        &self.columns[self.starts[row as usize] as usize..self.splits[row as usize] as usize]
    }
}

fn ldpc(code: &Code, starts: &mut Vec<u32>, splits: &mut Vec<u32>, columns: &mut Vec<u16>) {
    let (ldpc, pi) = (code.ldpc, code.pi);
    let left = code.lt - ldpc;
    // Each row: its share of the left columns, one identity column, two permanently inactive ones.
    let mut next = vec![0_u32; ldpc as usize];
    for i in 0..left {
        for row in code.ldpc_rows(i) {
            next[row as usize] += 1;
        }
    }
    let mut at = 0;
    for count in &mut next {
        starts.push(at);
        splits.push(at + *count + 1);
        let start = at;
        at += *count + 3;
        *count = start;
    }
    columns.resize(at as usize, 0);
    for i in 0..left {
        for row in code.ldpc_rows(i) {
            let place = &mut next[row as usize];
            columns[*place as usize] = i as u16;
            *place += 1;
        }
    }
    for row in 0..ldpc {
        let place = next[row as usize] as usize;
        columns[place] = (left + row) as u16;
        columns[place + 1] = (code.lt + row % pi) as u16;
        columns[place + 2] = (code.lt + (row + 1) % pi) as u16;
    }
}

impl Columns {
    pub(super) fn new(rows: &Rows, width: usize) -> Self {
        let mut starts = vec![0_u32; width + 1];
        for row in 0..rows.len() as u32 {
            for &column in rows.sparse(row) {
                starts[column as usize] += 1;
            }
        }
        let mut at = 0;
        for start in &mut starts {
            at += *start;
            *start = at;
        }
        // Filled from the back: each start moves down to its final place.
        let mut list = vec![0; at as usize];
        for row in (0..rows.len() as u32).rev() {
            for &column in rows.sparse(row) {
                let place = &mut starts[column as usize];
                *place -= 1;
                list[*place as usize] = row;
            }
        }
        Self { starts, rows: list }
    }

    pub(super) fn of(&self, column: u16) -> &[u32] {
        let column = column as usize;
        &self.rows[self.starts[column] as usize..self.starts[column + 1] as usize]
    }

    pub(super) fn support(&self, column: u16) -> u32 {
        self.starts[column as usize + 1] - self.starts[column as usize]
    }
}
