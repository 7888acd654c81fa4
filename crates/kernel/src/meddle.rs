//! A task in the hands of a host that disturbs it on purpose.

use std::fmt;

use asupersync_core::{CancelKind, CancelReason, PanicPayload, TaskId};

use crate::cancel;
use crate::node::NodeRef;
use crate::task::{self, Runnable};
use crate::waker;

/// What a host that tests programs does to a task from outside: cancel it, wake it for nothing, or end it where it stands.
///
/// A reference to it keeps the task's memory, and neither its work nor its region.
#[derive(Clone)]
pub struct Meddler {
    node: NodeRef,
}

impl Meddler {
    /// The task's name.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.node.task_id()
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.node.state.is_complete()
    }

    /// Asks the task to stop.
    pub fn cancel(&self, kind: CancelKind) {
        let now = self.node.host().now();
        let reason = CancelReason::new(kind, self.node.origin(), now).with_message("injected");
        cancel::request(&self.node, reason);
    }

    /// Wakes the task although nothing has happened.
    pub fn wake(&self) {
        waker::schedule(&self.node);
    }

    /// Drops the task's future where it stands; false if it is being polled.
    ///
    /// Its outcome is a cancellation, as after the last stage of one.
    /// The caller answers for being on the thread that may drop the future.
    pub fn stop(&self) -> bool {
        task::stop_parked(&self.node)
    }

    /// Ends the task by a panic at the place where it waits; false if it is being polled.
    ///
    /// The caller answers for being on the thread that may drop the future.
    pub fn unwind(&self, message: &'static str) -> bool {
        task::unwind_parked(&self.node, PanicPayload::new(Box::new(message)))
    }
}

impl Runnable {
    /// The task in a form by which a host can disturb it.
    #[must_use]
    pub fn meddler(&self) -> Meddler {
        Meddler {
            node: NodeRef::clone(&self.node_ref()),
        }
    }
}

impl fmt::Debug for Meddler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meddler").field(&self.task_id()).finish()
    }
}
