//! The value, its version, and who waits for the next one.
//!
//! # Invariants
//! - The program's code (`Clone`, `Drop`, the closures of modifications) never runs under the state's lock.
//! - Modifications run under the writers' lock, which no receiver takes; a modification that writes to its own watch would wait for itself, so it is refused with a panic.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use asupersync_kernel::Resource;
use asupersync_kernel::mutation::{Mutation, is_on};

use crate::primitive::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, lock};
use crate::waiters::{Grant, WaitList, Wakers};

/// A snapshot of a watched value.
///
/// It holds no lock: it may be kept, sent to other threads and held across waits while newer values are published.
pub struct Ref<T> {
    value: Arc<T>,
    has_changed: bool,
}

impl<T> Ref<T> {
    pub(super) const fn new(value: Arc<T>, has_changed: bool) -> Self {
        Self { value, has_changed }
    }

    /// Whether the receiver had not seen this value before.
    #[must_use]
    pub const fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// The shared value.
    #[must_use]
    pub fn into_arc(self) -> Arc<T> {
        self.value
    }
}

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

pub(super) struct State<T> {
    pub(super) value: Arc<T>,
    pub(super) version: u64,
    pub(super) senders: usize,
    pub(super) receivers: usize,
    is_closed: bool,
    pub(super) waiting: WaitList,
    pub(super) gone: WaitList,
}

impl<T> State<T> {
    pub(super) const fn is_over(&self) -> bool {
        self.is_closed || self.senders == 0
    }

    pub(super) const fn is_unseen(&self) -> bool {
        self.is_closed || self.receivers == 0
    }
}

pub(super) struct Shared<T> {
    pub(super) state: Mutex<State<T>>,
    /// A copy of the state's version, written under its lock.
    version: AtomicU64,
    writers: Mutex<()>,
    /// The thread that modifies now, or 0.
    writer: AtomicUsize,
    pub(super) resource: Resource,
}

/// What a new value leaves to be done without a lock.
#[must_use = "receivers wait for it"]
pub(super) struct Published<T> {
    pub(super) old: Arc<T>,
    wakers: Wakers,
}

impl<T> Published<T> {
    /// Wakes the receivers, and gives the value that was there before.
    pub(super) fn finish(mut self) -> Arc<T> {
        if !is_on(Mutation::WatchIsSilent) {
            self.wakers.wake();
        }
        self.old
    }
}

impl<T> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            state: Mutex::new(State {
                value: Arc::new(value),
                version: 0,
                senders: 1,
                receivers: 1,
                is_closed: false,
                waiting: WaitList::new(),
                gone: WaitList::new(),
            }),
            version: AtomicU64::new(0),
            writers: Mutex::new(()),
            writer: AtomicUsize::new(0),
            resource: Resource::new(),
        }
    }

    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The value with its version.
    pub(super) fn latest(&self) -> (Arc<T>, u64) {
        let state = lock(&self.state);
        (Arc::clone(&state.value), state.version)
    }

    /// Keeps other writers out.
    pub(super) fn writing(&self) -> Writing<'_, T> {
        let own = this_thread();
        assert!(
            self.writer.load(Ordering::Relaxed) != own,
            "a modification of a watch writes to the same watch"
        );
        let guard = lock(&self.writers);
        self.writer.store(own, Ordering::Relaxed);
        Writing {
            shared: self,
            _guard: guard,
        }
    }

    pub(super) fn subscribe(&self) -> u64 {
        let mut state = lock(&self.state);
        state.receivers += 1;
        state.version
    }

    pub(super) fn add_receiver(&self) {
        lock(&self.state).receivers += 1;
    }

    pub(super) fn remove_receiver(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.receivers -= 1;
            let is_last = state.receivers == 0;
            is_last.then(|| state.gone.grant_all(Grant::All))
        };
        if let Some(mut wakers) = wakers {
            wakers.wake();
        }
    }

    pub(super) fn add_sender(&self) {
        lock(&self.state).senders += 1;
    }

    pub(super) fn remove_sender(&self) {
        let wakers = {
            let mut state = lock(&self.state);
            state.senders -= 1;
            let is_last = state.senders == 0;
            is_last.then(|| state.waiting.grant_all(Grant::Closed))
        };
        if let Some(mut wakers) = wakers {
            self.resource.trace("watch.close");
            wakers.wake();
        }
    }

    pub(super) fn close(&self) {
        let (mut waiting, mut gone) = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            (
                state.waiting.grant_all(Grant::Closed),
                state.gone.grant_all(Grant::All),
            )
        };
        self.resource.trace("watch.close");
        waiting.wake();
        gone.wake();
    }
}

/// The right to publish.
pub(super) struct Writing<'a, T> {
    shared: &'a Shared<T>,
    _guard: MutexGuard<'a, ()>,
}

impl<T> Writing<'_, T> {
    /// Makes `value` the latest.
    pub(super) fn publish(&self, value: Arc<T>) -> Published<T> {
        let mut state = lock(&self.shared.state);
        let old = std::mem::replace(&mut state.value, value);
        state.version += u64::from(!is_on(Mutation::VersionIsRepeated));
        let version = state.version;
        self.shared.version.store(version, Ordering::Release);
        let wakers = state.waiting.release_all();
        drop(state);
        self.shared
            .resource
            .trace_messages(Some("watch.send"), 1, || version);
        Published { old, wakers }
    }
}

impl<T> Drop for Writing<'_, T> {
    fn drop(&mut self) {
        // Before the lock is released, which the field's own drop does.
        self.shared.writer.store(0, Ordering::Relaxed);
    }
}

/// A number that no other living thread has; never 0.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}
