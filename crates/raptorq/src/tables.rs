//! The numbers that RFC 6330 prints.
//!
//! They were generated from the text of the RFC; the conformance suite compares them again.

mod random;
mod systematic;

pub(crate) use random::{DEGREE, V0, V1, V2, V3};
pub(crate) use systematic::SYSTEMATIC;
