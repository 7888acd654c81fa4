//! The host's clocks.

use std::time::{Instant, SystemTime};

use asupersync_core::Time;

/// Counts from the moment the runtime was built.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the production host is where time comes from"
    )]
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the production host is where time comes from"
    )]
    pub(crate) fn wall_now() -> SystemTime {
        SystemTime::now()
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }
}
