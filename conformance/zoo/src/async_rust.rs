//! To come.

use crate::Program;

pub(crate) const PROGRAMS: &[&[Program]] = &[];
