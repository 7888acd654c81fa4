//! A point on a host's clock.
//!
//! A host has one monotonic clock that starts at [`Time::ZERO`] when the host is built.
//! The production host reads the operating system's monotonic clock; the lab host counts virtual nanoseconds.
//! Calendar time is deliberately absent: a program that needs it asks its host for it.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in time: nanoseconds since the host's clock started.
///
/// # Shape and units
/// Unsigned nanoseconds; the last representable point, [`Time::MAX`], is 584 years after the start.
/// Arithmetic saturates, so that "now plus a very long timeout" means "never" and not a panic.
/// # Examples
/// ```
/// use asupersync_core::Time;
/// use std::time::Duration;
///
/// let start = Time::from_secs(2);
/// let later = start + Duration::from_millis(500);
/// assert_eq!(later - start, Duration::from_millis(500));
/// assert_eq!(start - later, Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The moment at which the host's clock started.
    pub const ZERO: Self = Self(0);
    /// The last representable moment; used as "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock started.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the clock started, saturating.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// The moment `secs` seconds after the clock started, saturating.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the clock started.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Milliseconds since the clock started, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to `self`, or zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_an_endless_duration_means_never() {
        assert_eq!(Time::from_secs(1) + Duration::MAX, Time::MAX);
    }

    #[test]
    fn display_gives_seconds_with_nanoseconds() {
        assert_eq!(Time::from_nanos(1_000_000_005).to_string(), "1.000000005s");
    }
}
