//! Whom loom asks whether a table was let go while somebody looked at it; elsewhere there is nobody to ask.

/// One table's.
#[derive(Default)]
pub(super) struct Witness {
    #[cfg(loom)]
    seen: loom::cell::UnsafeCell<()>,
}

impl Witness {
    /// The table is looked at.
    #[inline]
    pub(super) fn see(&self) {
        #[cfg(loom)]
        self.seen.with(|_| ());
    }

    /// The table is let go, which nobody may look at meanwhile.
    pub(super) fn part(&self) {
        #[cfg(loom)]
        self.seen.with_mut(|_| ());
    }
}
