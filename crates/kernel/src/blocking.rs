//! Jobs that block a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use asupersync_core::{Cancelled, PanicPayload};

use crate::caps::HasIo;
use crate::cx::Cx;
use crate::leave::release_live;
use crate::node::NodeRef;
use crate::waker::wake_contained;

/// Why a blocking job gave no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockingError {
    /// The caller had to stop before the job was handed over; nothing was started.
    #[error("the blocking job was not started")]
    Cancelled(#[from] Cancelled),
    /// The job panicked.
    #[error("the blocking job failed")]
    Panicked(#[from] PanicPayload),
}

struct Shared<T> {
    result: Option<Result<T, PanicPayload>>,
    waiter: Option<Waker>,
}

/// Counts a job as living in its region.
struct Live(NodeRef);

impl Live {
    fn new(node: &NodeRef) -> Self {
        let region = nearest_region(node);
        region.lock().contents().live += 1;
        Self(region)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        release_live(&self.0);
    }
}

fn nearest_region(node: &NodeRef) -> NodeRef {
    let mut node = node;
    while !node.is_region() {
        node = node.parent().expect("only a region has no parent");
    }
    node.clone()
}

pub(crate) async fn run<C, T, F>(cx: &Cx<C>, job: F) -> Result<T, BlockingError>
where
    C: HasIo,
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    cx.checkpoint()?;
    let shared = Arc::new(Mutex::new(Shared {
        result: None,
        waiter: None,
    }));
    let live = Live::new(cx.node());
    let given = Arc::clone(&shared);
    cx.node().host().run_blocking(Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(job)).map_err(PanicPayload::new);
        let waiter = {
            let mut shared = given.lock().unwrap_or_else(PoisonError::into_inner);
            shared.result = Some(result);
            shared.waiter.take()
        };
        drop(given);
        drop(live);
        if let Some(waiter) = waiter {
            wake_contained(waiter);
        }
    }));
    std::future::poll_fn(|task| {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        match shared.result.take() {
            Some(result) => Poll::Ready(result.map_err(BlockingError::from)),
            None => {
                shared.waiter = Some(task.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
