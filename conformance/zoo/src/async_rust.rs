//! Cancelled and dropped futures, wakers and protocols of async Rust.

mod cancel;
mod cut;
mod lines;
mod polled;
mod protocols;
mod wakes;

use crate::Program;

pub(crate) const PROGRAMS: &[&[Program]] = &[
    cancel::PROGRAMS,
    lines::PROGRAMS,
    polled::PROGRAMS,
    protocols::PROGRAMS,
    wakes::PROGRAMS,
];
