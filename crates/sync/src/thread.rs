//! Waiting on threads that belong to no runtime.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::primitive::Parker;

struct Unpark(Parker);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the thread until `poll` is ready.
pub(crate) fn wait<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
    let unpark = Arc::new(Unpark(Parker::new()));
    let waker = Waker::from(Arc::clone(&unpark));
    let mut task = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = poll(&mut task) {
            return result;
        }
        unpark.0.park();
    }
}
