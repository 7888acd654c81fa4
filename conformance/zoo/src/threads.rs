//! Threads and locks: the patterns of SCTBench.

mod buffers;
mod counters;
mod locks;
mod order;

use crate::Program;

pub(crate) const PROGRAMS: &[&[Program]] = &[
    buffers::PROGRAMS,
    counters::PROGRAMS,
    locks::PROGRAMS,
    order::PROGRAMS,
];
