//! Names of the channels, locks and sockets that operations are done on.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cancel;
use crate::current;
use crate::event::Event;
use crate::node::Header;

/// The name of one resource in the host's trace, given when the first operation on it is recorded.
///
/// A primitive holds one, so that a host that records sees what was done on it, and in which order.
/// # Examples
/// ```
/// use asupersync_kernel::Resource;
/// let gate = Resource::new();
/// // Outside every task nobody records.
/// gate.trace("gate.open");
/// ```
#[derive(Default)]
pub struct Resource {
    /// The host's number plus one, 0 before the first record; and the flag `UNTRACED`.
    number: AtomicU64,
}

impl Resource {
    /// A resource without a name.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
        }
    }

    /// Records that the context being polled did `operation` on this resource.
    ///
    /// A host that records holds only is given the task in whose poll it was done; one that records everything, the context itself.
    /// Cost: three loads and a branch while the host does not record.
    #[inline]
    pub fn trace(&self, operation: &'static str) {
        let told = current::with(|node, _| {
            if node.nature.records_operations() {
                self.record(node, operation);
            }
        });
        if told.is_none() {
            self.note_untraced();
        }
    }

    /// As [`trace`](Self::trace), of an operation whose name has to be found out; nobody asks for it while the host does not record.
    #[inline]
    pub fn trace_with(&self, operation: impl FnOnce() -> &'static str) {
        let told = current::with(|node, _| {
            if node.nature.records_operations() {
                self.record(node, operation());
            }
        });
        if told.is_none() {
            self.note_untraced();
        }
    }

    /// Records that the context being polled did `operation` on this counter, if it has a name, and with that took or returned permits; `free` says how many are left.
    ///
    /// Cost: as [`trace`](Self::trace).
    #[inline]
    pub fn trace_permits(
        &self,
        operation: Option<&'static str>,
        change: i64,
        free: impl FnOnce() -> u64,
    ) {
        let told = current::with(|node, _| {
            if node.nature.records_operations() {
                self.record_moved(node, operation, |resource| Event::PermitsMoved {
                    resource,
                    change,
                    free: free(),
                });
            }
        });
        if told.is_none() {
            self.note_untraced();
        }
    }

    /// Records that the context being polled did `operation` on this channel, if it has a name, and with that put messages in or took some out; `held` counts what is in it now.
    ///
    /// Cost: as [`trace`](Self::trace); `held` is asked for only by a host that records everything.
    #[inline]
    pub fn trace_messages(
        &self,
        operation: Option<&'static str>,
        change: i64,
        held: impl FnOnce() -> u64,
    ) {
        let told = current::with(|node, _| {
            if node.nature.records_operations() {
                self.record_moved(node, operation, |resource| Event::MessagesMoved {
                    resource,
                    change,
                    held: held(),
                });
            }
        });
        if told.is_none() {
            self.note_untraced();
        }
    }

    #[cold]
    fn record_moved(
        &self,
        node: &Header,
        operation: Option<&'static str>,
        moved: impl FnOnce(u64) -> Event,
    ) {
        if let Some(operation) = operation {
            self.record(node, operation);
        }
        if node.nature.records() {
            self.tell_untraced(node);
            let resource = self.number(|| node.host().next_number());
            node.host().record(moved(resource));
        }
    }

    /// Something was done here outside every task: whoever counts operations must know that some are missing.
    #[inline]
    fn note_untraced(&self) {
        if self.number.load(Ordering::Relaxed) & UNTRACED == 0 {
            self.number.fetch_or(UNTRACED, Ordering::Relaxed);
        }
    }

    fn tell_untraced(&self, node: &Header) {
        if self.number.load(Ordering::Relaxed) & UNTRACED != 0 {
            self.number.fetch_and(!UNTRACED, Ordering::Relaxed);
            self.record(node, "resource.untraced");
        }
    }

    #[cold]
    fn record(&self, node: &Header, operation: &'static str) {
        self.tell_untraced(node);
        let named = if node.nature.records() {
            node
        } else {
            cancel::enclosing_task(node).unwrap_or(node)
        };
        node.host().record(Event::Operation {
            subject: Some(named.subject()),
            resource: self.number(|| node.host().next_number()),
            name: operation.into(),
        });
    }

    fn number(&self, fresh: impl FnOnce() -> u64) -> u64 {
        let seen = self.number.load(Ordering::Relaxed);
        match seen & !UNTRACED {
            0 => {
                let number = fresh();
                let given = self.number.compare_exchange(
                    seen,
                    number.wrapping_add(1) | seen,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                given.map_or_else(|other| (other & !UNTRACED).wrapping_sub(1), |_| number)
            }
            given => given - 1,
        }
    }
}

/// Operations were done outside every task since the last record.
const UNTRACED: u64 = 1 << 63;

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resource")
            .field(&(self.number.load(Ordering::Relaxed) & !UNTRACED).checked_sub(1))
            .finish()
    }
}
