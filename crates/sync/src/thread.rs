//! Waiting on threads that belong to no runtime.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::primitive::{AtomicBool, Ordering, Thread, current, park};

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.swap(true, Ordering::AcqRel);
        self.thread.unpark();
    }
}

/// Blocks the thread until `poll` is ready.
pub(crate) fn wait<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let unpark = Arc::new(Unpark {
        thread: current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut task = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = poll(&mut task) {
            return result;
        }
        // Somebody else's use of the thread's token must not pass for a wake.
        while !unpark.woken.swap(false, Ordering::Acquire) {
            park();
        }
    }
}
