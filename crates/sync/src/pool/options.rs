//! How large a pool is, and how long its objects last.

use std::time::Duration;

/// How a pool behaves.
///
/// # Shape and units
/// Sizes count objects.
/// Both times that an object lasts are shortened by up to an eighth, drawn for each object, so that objects made together do not end together.
/// # Examples
/// ```
/// use asupersync_sync::PoolOptions;
/// use std::time::Duration;
/// let options = PoolOptions::new(16)
///     .min_idle(2)
///     .idle_timeout(Duration::from_secs(60))
///     .max_lifetime(Duration::from_secs(1800));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolOptions {
    pub(super) max_size: u32,
    pub(super) min_idle: u32,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) check_after: Option<Duration>,
    pub(super) maintain_every: Duration,
}

impl PoolOptions {
    /// At most `max_size` objects, which last for ever, are made when needed, and are checked each time before they are used again.
    ///
    /// # Panics
    /// If `max_size` is zero.
    #[must_use]
    pub const fn new(max_size: u32) -> Self {
        assert!(max_size > 0, "a pool of no objects serves nobody");
        Self {
            max_size,
            min_idle: 0,
            max_lifetime: None,
            idle_timeout: None,
            check_after: Some(Duration::ZERO),
            maintain_every: MAINTAIN_EVERY,
        }
    }

    /// How many idle objects maintenance keeps ready, at most as many as the pool may have.
    #[must_use]
    pub const fn min_idle(mut self, count: u32) -> Self {
        self.min_idle = count;
        self
    }

    /// How long an object is used, from its making on.
    #[must_use]
    pub const fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }

    /// How long an object may be idle; those that [`min_idle`](Self::min_idle) keeps ready may be idle for longer.
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Objects that were idle for less than this are not checked before they are used again; `None` checks none.
    #[must_use]
    pub const fn check_after(mut self, idle: Option<Duration>) -> Self {
        self.check_after = idle;
        self
    }

    /// How often [`Pool::maintain`](crate::Pool::maintain) looks for objects that are due.
    #[must_use]
    pub const fn maintain_every(mut self, period: Duration) -> Self {
        self.maintain_every = period;
        self
    }
}

const MAINTAIN_EVERY: Duration = Duration::from_secs(10);
