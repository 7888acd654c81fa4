//! Buffers.

use crate::Program;

pub(super) const PROGRAMS: &[Program] = &[];
