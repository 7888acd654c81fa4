//! What is noted of a node beside its scheduling state, in one byte.
//!
//! # Invariants
//! - The stage only rises: its three bits are set from the lowest up, and never cleared.

use std::sync::atomic::{AtomicU8, Ordering};

use asupersync_core::CancelStage;

const REQUESTED: u8 = 0b001;
const UNSHIELDED: u8 = 0b011;
const DROPPED: u8 = 0b111;
const STAGE: u8 = DROPPED;
const URGENT: u8 = 1 << 3;
const ARMED: u8 = 1 << 4;
const FAILED: u8 = 1 << 5;
const BUDGETED: u8 = 1 << 6;
const STILLBORN: u8 = 1 << 7;

/// The marks of one node.
pub(crate) struct Marks(AtomicU8);

impl Marks {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// The cancellation's stage, if one was requested.
    #[inline]
    pub(crate) fn stage(&self) -> Option<CancelStage> {
        match self.0.load(Ordering::SeqCst) & STAGE {
            0 => None,
            REQUESTED => Some(CancelStage::Requested),
            UNSHIELDED => Some(CancelStage::Unshielded),
            _ => Some(CancelStage::Dropped),
        }
    }

    /// How far the cancellation has gone, as a number to be compared; 0 if none was requested.
    #[inline]
    pub(crate) fn rank(&self) -> u8 {
        self.0.load(Ordering::SeqCst) & STAGE
    }

    /// Whether a cancellation was requested.
    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.rank() != 0
    }

    /// Whether the node belongs into a cancel lane: it is cancelled, or urgent.
    #[inline]
    pub(crate) fn is_pressed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & (STAGE | URGENT) != 0
    }

    /// Publishes the stage; called under the node's lock.
    pub(crate) fn set_stage(&self, stage: CancelStage) {
        let bits = match stage {
            CancelStage::Requested => REQUESTED,
            CancelStage::Unshielded => UNSHIELDED,
            CancelStage::Dropped => DROPPED,
        };
        self.0.fetch_or(bits, Ordering::SeqCst);
    }

    /// A cancelled inline node within this task wants it polled before others.
    pub(crate) fn set_urgent(&self) {
        self.0.fetch_or(URGENT, Ordering::Release);
    }

    /// Takes the urgency back, if there is any: the poll that it asked for begins.
    pub(crate) fn clear_urgent(&self) {
        if self.has(URGENT) {
            self.0.fetch_and(!URGENT, Ordering::Release);
        }
    }

    /// Whether a timer stands for the node, or stood.
    pub(crate) fn is_armed(&self) -> bool {
        self.has(ARMED)
    }

    pub(crate) fn set_armed(&self) {
        self.0.fetch_or(ARMED, Ordering::Relaxed);
    }

    /// Whether the task ended in a way that its region must hear of.
    pub(crate) fn is_failed(&self) -> bool {
        self.has(FAILED)
    }

    /// Said before completion.
    pub(crate) fn set_failed(&self) {
        self.0.fetch_or(FAILED, Ordering::Relaxed);
    }

    /// Whether the node has a budget of its own, beside its region's.
    #[inline]
    pub(crate) fn is_budgeted(&self) -> bool {
        self.has(BUDGETED)
    }

    /// Said before anybody else knows the node.
    pub(crate) fn set_budgeted(&self) {
        self.0.fetch_or(BUDGETED, Ordering::Relaxed);
    }

    /// Whether making the task's future panicked, so that its outcome stands from the start.
    #[inline]
    pub(crate) fn is_stillborn(&self) -> bool {
        self.has(STILLBORN)
    }

    /// Said before anybody else knows the task.
    pub(crate) fn set_stillborn(&self) {
        self.0.fetch_or(STILLBORN, Ordering::Relaxed);
    }

    #[inline]
    fn has(&self, mark: u8) -> bool {
        self.0.load(Ordering::Relaxed) & mark != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_rises_and_leaves_the_other_marks() {
        let marks = Marks::new();
        assert_eq!(marks.stage(), None);
        marks.set_urgent();
        assert_eq!(marks.stage(), None);
        for (set, seen) in [
            (CancelStage::Requested, CancelStage::Requested),
            (CancelStage::Unshielded, CancelStage::Unshielded),
            (CancelStage::Requested, CancelStage::Unshielded),
            (CancelStage::Dropped, CancelStage::Dropped),
            (CancelStage::Unshielded, CancelStage::Dropped),
        ] {
            marks.set_stage(set);
            assert_eq!(marks.stage(), Some(seen));
        }
        assert!(marks.has(URGENT));
        marks.clear_urgent();
        assert!(!marks.has(URGENT));
        assert_eq!(marks.stage(), Some(CancelStage::Dropped));
    }

    #[test]
    fn each_mark_is_its_own() {
        let marks = Marks::new();
        let read = || {
            [
                marks.has(URGENT),
                marks.is_armed(),
                marks.is_failed(),
                marks.is_budgeted(),
                marks.is_stillborn(),
            ]
        };
        let set: [fn(&Marks); 5] = [
            Marks::set_urgent,
            Marks::set_armed,
            Marks::set_failed,
            Marks::set_budgeted,
            Marks::set_stillborn,
        ];
        for (place, set) in set.into_iter().enumerate() {
            assert!(!read()[place]);
            set(&marks);
            assert!(read()[place]);
            assert_eq!(read().iter().filter(|set| **set).count(), place + 1);
        }
    }
}
