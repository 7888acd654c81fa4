//! What a node is and what its host wants to hear of it, in one byte that never changes.
//!
//! The problem: both are asked for at each poll, end and operation, and the second is the same for the whole program; a node that goes to its region for it waits for two loads that depend on each other.

use crate::host::KernelConfig;
use crate::obligation;

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Scheduled by the host.
    Task = 0,
    /// A region and its body.
    Region = 1,
    /// Polled within another node: a fiber or a finalizer.
    Fiber = 2,
}

const KIND: u8 = 0b11;
const ALL: u8 = 1 << 2;
const STRUCTURE: u8 = 1 << 3;
const OPERATIONS: u8 = 1 << 4;
const DETAILS: u8 = 1 << 5;

/// A node's kind, and what the host wants to hear.
#[derive(Clone, Copy)]
pub(crate) struct Nature(u8);

impl Nature {
    /// Of a program's root region.
    pub(crate) const fn of_root(config: &KernelConfig) -> Self {
        let mut bits = Kind::Region as u8;
        if config.record {
            bits |= ALL | STRUCTURE | OPERATIONS;
        }
        if config.record_structure {
            bits |= STRUCTURE;
        }
        if config.record_holds {
            bits |= OPERATIONS;
        }
        if obligation::wants_details(config) {
            bits |= DETAILS;
        }
        Self(bits)
    }

    /// Of a node below one of this nature.
    #[inline]
    pub(crate) const fn below(self, kind: Kind) -> Self {
        Self(self.0 & !KIND | kind as u8)
    }

    #[inline]
    pub(crate) const fn is(self, kind: Kind) -> bool {
        self.0 & KIND == kind as u8
    }

    /// Whether the host wants every event.
    #[inline]
    pub(crate) const fn records(self) -> bool {
        self.0 & ALL != 0
    }

    /// Whether the host wants at least the events of the structure.
    #[inline]
    pub(crate) const fn records_structure(self) -> bool {
        self.0 & STRUCTURE != 0
    }

    /// Whether the host wants operations at least.
    #[inline]
    pub(crate) const fn records_operations(self) -> bool {
        self.0 & OPERATIONS != 0
    }

    /// Whether obligations are more than a count: recorded, gauged, or told of when they are dropped.
    #[inline]
    pub(crate) const fn details_obligations(self) -> bool {
        self.0 & DETAILS != 0
    }

    /// Whether operations are no events, and obligations only counted.
    #[inline]
    pub(crate) const fn is_quiet(self) -> bool {
        self.0 & (OPERATIONS | DETAILS) == 0
    }
}
