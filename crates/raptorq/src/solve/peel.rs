//! The sparse half: an order of rows in which each determines one new column.
//!
//! A row's *degree* counts its active columns. A row of degree one determines its column: both leave,
//! and every other row of the column loses a degree. When no row of degree one is left, a column is
//! made inactive, which is cheaper the more rows of degree one it frees:
//!
//! - rows of degree two are edges between their columns; making one column of a component inactive
//!   determines all others of it. Since whole components vanish, union-find without deletion keeps
//!   them, and the largest is at the top of a heap of candidates;
//! - without such rows, the row of least degree keeps one column and gives up the others.
//!
//! The sum (exclusive or) of a row's active columns is kept beside its degree, so the last column of
//! a row is known without a search.
//! Cost: near linear in the entries of the matrix.
//!
//! # Source
//! RFC 6330, Section 5.4.2.2 (first phase); the component rule is its third case.

use std::collections::BinaryHeap;

use super::policy::{Policy, PolicyEvent, PolicyReason, SCARCE_ONE_IN, SolveError, SolveOptions};
use super::rows::{Columns, Rows};
use crate::code::Code;

/// What became of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    const ACTIVE: Self = Self(u32::MAX);
    const INACTIVE: u32 = 1 << 31;

    /// The inactive number, or the pivot number as the error.
    pub(super) fn inactive(self) -> Result<usize, usize> {
        debug_assert!(self != Self::ACTIVE);
        if self.0 & Self::INACTIVE == 0 {
            Err(self.0 as usize)
        } else {
            Ok((self.0 & !Self::INACTIVE) as usize)
        }
    }
}

/// The order that peeling found.
pub(super) struct Peeled {
    /// Row and column, in the order of elimination.
    pub(super) pivots: Vec<(u32, u16)>,
    /// The inactive columns, the permanently inactive ones first.
    pub(super) inactive: Vec<u16>,
    /// For each column, its number among the pivots or among the inactive.
    pub(super) places: Vec<Place>,
    /// The rows that determine no column, ascending.
    pub(super) residual: Vec<u32>,
    /// The policy in force at the end.
    pub(super) policy: Policy,
    /// Changes of policy.
    pub(super) events: Vec<PolicyEvent>,
}

impl Peeled {
    /// Records a change of policy, or that a reason confirms it.
    pub(super) fn enter(&mut self, to: Policy, reason: PolicyReason) {
        // A bound on the record: an oscillating matrix repeats itself.
        if self.events.len() < EVENTS_MAX {
            let inactive = self.inactive.len() as u32;
            self.events.push(PolicyEvent {
                from: self.policy,
                to,
                reason,
                inactive,
            });
        }
        self.policy = to;
    }
}

struct Peeling<'a> {
    rows: &'a Rows,
    columns: Columns,
    /// Degree and sum of the active columns.
    active: Vec<(u16, u16)>,
    active_columns: usize,
    ripple: Vec<u32>,
    components: Components,
    inactive_max: usize,
    pinned: Option<Policy>,
    out: Peeled,
}

/// Orders the rows.
pub(super) fn peel(code: &Code, rows: &Rows, options: SolveOptions) -> Result<Peeled, SolveError> {
    let mut peeling = Peeling::new(code, rows, options);
    let mut by_support = Vec::new();
    let mut candidates: Option<Vec<u32>> = None;
    loop {
        peeling.drain();
        if peeling.active_columns == 0 {
            break;
        }
        if let Some(column) = peeling.best_of_largest_component() {
            peeling.enter(Policy::Baseline, PolicyReason::LowDegreeRowsReturned);
            peeling.deactivate(column)?;
        } else if peeling.out.policy == Policy::HighSupport {
            if by_support.is_empty() {
                by_support = peeling.columns_by_support(code.lt);
            }
            let next = by_support.pop().expect("an active column is in the list");
            if peeling.out.places[next as usize] == Place::ACTIVE {
                peeling.deactivate(next)?;
            }
        } else {
            let list = candidates.get_or_insert_with(|| (0..rows.len() as u32).collect());
            peeling.give_up_least(list)?;
        }
    }
    Ok(peeling.finish())
}

impl<'a> Peeling<'a> {
    fn new(code: &Code, rows: &'a Rows, options: SolveOptions) -> Self {
        let width = code.lt as usize;
        let all = code.intermediate_symbols() as usize;
        let mut places = vec![Place::ACTIVE; all];
        for (number, place) in places[width..].iter_mut().enumerate() {
            *place = Place(number as u32 | Place::INACTIVE);
        }
        let mut peeling = Self {
            rows,
            columns: Columns::new(rows, width),
            active: Vec::with_capacity(rows.len()),
            active_columns: width,
            ripple: Vec::with_capacity(16),
            components: Components::new(width),
            inactive_max: (options.inactive_max as usize).max(all - width),
            pinned: options.policy,
            out: Peeled {
                pivots: Vec::with_capacity(width),
                inactive: permanently_inactive(code),
                places,
                residual: Vec::new(),
                policy: Policy::Baseline,
                events: Vec::new(),
            },
        };
        let mut low = 0;
        for row in 0..rows.len() as u32 {
            let columns = rows.sparse(row);
            let sum = columns.iter().fold(0, |sum, column| sum ^ column);
            peeling.active.push((columns.len() as u16, sum));
            match *columns {
                [_] => peeling.ripple.push(row),
                [a, b] => peeling.components.join(a, b, &peeling.columns),
                _ => continue,
            }
            low += 1;
        }
        if let Some(policy) = options.policy {
            peeling.out.policy = policy;
        } else if low * SCARCE_ONE_IN < rows.len() {
            peeling.enter(Policy::HighSupport, PolicyReason::LowDegreeRowsScarce);
        }
        peeling
    }

    /// Lets every row of degree one determine its column.
    fn drain(&mut self) {
        while let Some(row) = self.ripple.pop() {
            let (degree, column) = self.active[row as usize];
            if degree != 1 {
                continue;
            }
            self.out.places[column as usize] = Place(self.out.pivots.len() as u32);
            self.out.pivots.push((row, column));
            self.remove(column);
        }
    }

    fn remove(&mut self, column: u16) {
        self.active_columns -= 1;
        for &row in self.columns.of(column) {
            let (degree, sum) = &mut self.active[row as usize];
            *degree -= 1;
            *sum ^= column;
            match *degree {
                1 => self.ripple.push(row),
                2 => {
                    let sum = *sum;
                    let places = &self.out.places;
                    let first = self.rows.sparse(row).iter().copied();
                    let first = first
                        .into_iter()
                        .find(|&c| places[c as usize] == Place::ACTIVE);
                    let first = first.expect("the row has two active columns");
                    self.components.join(first, sum ^ first, &self.columns);
                }
                _ => {}
            }
        }
    }

    fn deactivate(&mut self, column: u16) -> Result<(), SolveError> {
        let number = self.out.inactive.len();
        if number >= self.inactive_max {
            return Err(SolveError::TooDense {
                limit: self.inactive_max as u32,
            });
        }
        self.out.places[column as usize] = Place(number as u32 | Place::INACTIVE);
        self.out.inactive.push(column);
        self.remove(column);
        Ok(())
    }

    fn best_of_largest_component(&mut self) -> Option<u16> {
        if self.pinned == Some(Policy::HighSupport) {
            return None;
        }
        self.components.largest(&self.out.places)
    }

    /// Finds the row of least degree and makes all but one of its columns inactive.
    fn give_up_least(&mut self, list: &mut Vec<u32>) -> Result<(), SolveError> {
        list.retain(|&row| self.active[row as usize].0 > 0);
        let Some(&row) = list.iter().min_by_key(|&&row| self.active[row as usize].0) else {
            self.enter(Policy::HighSupport, PolicyReason::SupportExhausted);
            return Ok(());
        };
        let mut columns = self.rows.sparse(row).to_vec();
        columns.retain(|&column| self.out.places[column as usize] == Place::ACTIVE);
        columns.sort_by_key(|&column| self.columns.support(column));
        // The column with the fewest rows stays: it spreads least.
        for &column in &columns[1..] {
            self.deactivate(column)?;
        }
        Ok(())
    }

    fn columns_by_support(&self, width: u32) -> Vec<u16> {
        let mut columns: Vec<u16> = (0..width as u16)
            .filter(|&column| self.out.places[column as usize] == Place::ACTIVE)
            .collect();
        columns.sort_by_key(|&column| self.columns.support(column));
        columns
    }

    fn enter(&mut self, to: Policy, reason: PolicyReason) {
        let is_pinned = self.pinned.is_some() && reason != PolicyReason::SupportExhausted;
        if self.out.policy == to || is_pinned {
            return;
        }
        self.out.enter(to, reason);
    }

    fn finish(mut self) -> Peeled {
        let mut is_pivot = vec![false; self.rows.len()];
        for &(row, _) in &self.out.pivots {
            is_pivot[row as usize] = true;
        }
        self.out
            .residual
            .reserve_exact(self.rows.len() - self.out.pivots.len());
        let residual = (0..self.rows.len() as u32).filter(|&row| !is_pivot[row as usize]);
        self.out.residual.extend(residual);
        self.out
    }
}

/// The permanently inactive columns, with room for as many more.
fn permanently_inactive(code: &Code) -> Vec<u16> {
    let mut columns = Vec::with_capacity(2 * code.pi as usize);
    columns.extend(code.lt as u16..code.intermediate_symbols() as u16);
    columns
}

/// Most changes of policy that are recorded for one solution.
const EVENTS_MAX: usize = 16;

/// The components of the graph whose nodes are active columns and whose edges rows of degree two.
struct Components {
    nodes: Vec<Node>,
    /// Size and root; an entry whose root has grown, joined another or left is stale.
    heap: BinaryHeap<(u16, u16)>,
}

/// A column; size and best count at the root of a component.
struct Node {
    parent: u16,
    size: u16,
    /// The column of the component with the most rows.
    best: u16,
}

impl Components {
    fn new(columns: usize) -> Self {
        let node = |column| Node {
            parent: column,
            size: 1,
            best: column,
        };
        Self {
            nodes: (0..columns as u16).map(node).collect(),
            heap: BinaryHeap::with_capacity(columns),
        }
    }

    fn root(&mut self, mut column: u16) -> u16 {
        loop {
            let parent = self.nodes[column as usize].parent;
            if parent == column {
                return column;
            }
            let above = self.nodes[parent as usize].parent;
            self.nodes[column as usize].parent = above;
            column = above;
        }
    }

    fn join(&mut self, a: u16, b: u16, columns: &Columns) {
        let (mut a, mut b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        if self.nodes[a as usize].size < self.nodes[b as usize].size {
            (a, b) = (b, a);
        }
        self.nodes[b as usize].parent = a;
        let Node { size, best, .. } = self.nodes[b as usize];
        let node = &mut self.nodes[a as usize];
        node.size += size;
        if columns.support(best) > columns.support(node.best) {
            node.best = best;
        }
        self.heap.push((node.size, a));
    }

    /// The column to make inactive in the largest component.
    ///
    /// Called when no row of degree one is left, so that a component is whole or gone.
    fn largest(&mut self, places: &[Place]) -> Option<u16> {
        while let Some((size, root)) = self.heap.pop() {
            let node = &self.nodes[root as usize];
            let is_current = node.parent == root && node.size == size;
            if is_current && places[root as usize] == Place::ACTIVE {
                return Some(node.best);
            }
        }
        None
    }
}
