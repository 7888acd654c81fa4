//! Orders that nobody has seen to.

use crate::Program;

pub(super) const PROGRAMS: &[Program] = &[];
