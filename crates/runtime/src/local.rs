//! Which worker this thread is.
//!
//! # Invariants
//! - `HERE` is null or points to what `ENTERED` holds; it is null again before that is let go, also if the thread ends without [`leave`].

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;

use asupersync_core::TaskId;
use asupersync_sched::Worker;
use asupersync_trace::Polled;

use crate::host::RuntimeHost;
use crate::queued::Queued;

/// The worker that this thread is, if it is one.
pub(crate) struct Local {
    host: *const RuntimeHost,
    pub(crate) worker: Worker<Queued>,
    /// What is polled at this moment, and how many polls have begun; kept while there is a flight recorder.
    polling: Cell<Option<TaskId>>,
    polls: Cell<u32>,
    /// How many events of threads that are no workers the flight recorder held at this worker's last one.
    pub(crate) seen: Cell<u64>,
}

impl Local {
    #[inline]
    pub(crate) fn poll_begins(&self, task: TaskId) {
        self.polls.set(self.polls.get().wrapping_add(1));
        self.polling.set(Some(task));
    }

    #[inline]
    pub(crate) fn poll_ended(&self) {
        self.polling.set(None);
    }

    #[inline]
    pub(crate) fn polled(&self) -> Option<Polled> {
        let task = self.polling.get()?;
        let poll = self.polls.get();
        Some(Polled { task, poll })
    }
}

thread_local! {
    static ENTERED: RefCell<Option<Entered>> = const { RefCell::new(None) };
    /// Without a destructor, so that looking costs one load.
    static HERE: Cell<*const Local> = const { Cell::new(ptr::null()) };
}

/// Keeps what `HERE` points to.
struct Entered {
    _local: Rc<Local>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.set(ptr::null());
    }
}

/// Makes this thread a worker of `host` until [`leave`].
pub(crate) fn enter(host: &Arc<RuntimeHost>, worker: Worker<Queued>) -> Rc<Local> {
    let local = Rc::new(Local {
        host: Arc::as_ptr(host),
        worker,
        polling: Cell::new(None),
        polls: Cell::new(0),
        // As many as there never are, so that the first event waits for whatever came before it.
        seen: Cell::new(u64::MAX),
    });
    ENTERED.with_borrow_mut(|slot| {
        assert!(
            slot.is_none(),
            "`block_on` was called on a thread that runs a runtime already"
        );
        *slot = Some(Entered {
            _local: Rc::clone(&local),
        });
    });
    HERE.set(Rc::as_ptr(&local));
    local
}

/// Ends what [`enter`] began, and gives the worker back.
pub(crate) fn leave(local: Rc<Local>) -> Worker<Queued> {
    drop(ENTERED.take());
    match Rc::try_unwrap(local) {
        Ok(local) => local.worker,
        Err(_) => unreachable!("the thread's own reference was the only other"),
    }
}

/// Whether this thread is a worker of some runtime.
pub(crate) fn is_worker() -> bool {
    !HERE.get().is_null()
}

/// Calls `f` with the worker of `host` that this thread is, if it is one; `f` runs nothing of the program, and does not [`leave`].
#[inline]
pub(crate) fn with<R>(host: &RuntimeHost, f: impl FnOnce(Option<&Local>) -> R) -> R {
    // SAFETY: by the invariant, what is not null is alive; `f` does not let it go, and this thread alone could.
    let here = unsafe { HERE.get().as_ref() };
    f(here.filter(|local| ptr::eq(local.host, host)))
}
