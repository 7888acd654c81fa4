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
    /// The host's number plus one; 0 before the first record.
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
        current::with(|node, _| {
            if node.region().record_operations {
                self.record(node, operation);
            }
        });
    }

    #[cold]
    fn record(&self, node: &Header, operation: &'static str) {
        let named = if node.region().record {
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
        match self.number.load(Ordering::Relaxed) {
            0 => {
                let number = fresh();
                let given = self.number.compare_exchange(
                    0,
                    number.wrapping_add(1),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                given.map_or_else(|other| other - 1, |_| number)
            }
            given => given - 1,
        }
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Resource")
            .field(&self.number.load(Ordering::Relaxed).checked_sub(1))
            .finish()
    }
}
