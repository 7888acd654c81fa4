//! What is recorded of one lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_core::Time;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::OnlyTime;

use super::histogram::{Histogram, Shared};

/// What was seen of a [`ContendedMutex`](super::ContendedMutex) so far.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LockMetrics {
    /// How long each owner waited; those that found the lock free waited for no time.
    pub wait: Histogram,
    /// How long each owner held the lock; those that still do are not in it.
    pub hold: Histogram,
    /// How many calls that waited were cancelled or dropped, or found the lock poisoned.
    pub abandoned: u64,
}

/// Where it is recorded.
pub(super) struct Recorder {
    wait: Shared,
    hold: Shared,
    abandoned: AtomicU64,
}

impl Recorder {
    pub(super) const fn new() -> Self {
        Self {
            wait: Shared::new(),
            hold: Shared::new(),
            abandoned: AtomicU64::new(0),
        }
    }

    pub(super) fn waiting<'a>(&'a self, cx: &Cx<OnlyTime>) -> Waiting<'a> {
        Waiting {
            recorder: self,
            since: cx.now(),
            cx: Some(cx.clone()),
        }
    }

    /// The lock was free.
    pub(super) fn taken(&self, cx: Cx<OnlyTime>) -> Hold<'_> {
        self.wait.record(std::time::Duration::ZERO);
        Hold {
            recorder: self,
            since: cx.now(),
            cx,
        }
    }

    pub(super) fn snapshot(&self) -> LockMetrics {
        LockMetrics {
            wait: self.wait.snapshot(),
            hold: self.hold.snapshot(),
            abandoned: self.abandoned.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// A wait for the lock; counted as abandoned unless it ends with the lock.
pub(super) struct Waiting<'a> {
    recorder: &'a Recorder,
    since: Time,
    cx: Option<Cx<OnlyTime>>,
}

impl<'a> Waiting<'a> {
    pub(super) fn taken(mut self) -> Hold<'a> {
        let cx = self.cx.take();
        let cx = cx.expect("a wait has its context until it ends");
        let now = cx.now();
        self.recorder.wait.record(now.saturating_since(self.since));
        Hold {
            recorder: self.recorder,
            since: now,
            cx,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.cx.is_some() {
            self.recorder.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The holding of the lock, recorded when it ends.
pub(super) struct Hold<'a> {
    recorder: &'a Recorder,
    since: Time,
    cx: Cx<OnlyTime>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let held = self.cx.now().saturating_since(self.since);
        self.recorder.hold.record(held);
    }
}
