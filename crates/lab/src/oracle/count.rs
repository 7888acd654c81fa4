//! What a resource says that it holds, beside what moved.

/// Messages in a channel, or free permits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Count {
    #[default]
    Untold,
    Told(u64),
    /// Not all that moved is told.
    Partial,
}

impl Count {
    /// Takes what the resource says, and gives what it should have said instead, if that is known and different.
    pub(super) fn contradicts(&mut self, change: i64, now: u64) -> Option<u64> {
        let before = match *self {
            Self::Partial => return None,
            Self::Untold => None,
            Self::Told(before) => Some(before),
        };
        *self = Self::Told(now);
        let expected = before?.wrapping_add_signed(change);
        (expected != now).then_some(expected)
    }
}
