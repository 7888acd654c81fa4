//! Goroutines, channels and locks: the patterns of GoBench's GoKer.

mod channels;
mod groups;
mod locks;
mod races;

use crate::Program;

pub(crate) const PROGRAMS: &[&[Program]] = &[
    channels::PROGRAMS,
    groups::PROGRAMS,
    locks::PROGRAMS,
    races::PROGRAMS,
];
