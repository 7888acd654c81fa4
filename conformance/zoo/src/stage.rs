//! What the programs are made with.

use std::sync::Arc;

use asupersync_core::IntoOutcome;
use asupersync_kernel::Cx;
use asupersync_sync::{Mutex, MutexGuard};

use crate::{Body, ZooError};

/// How a task of the zoo ends.
pub(crate) type End = Result<(), ZooError>;

/// Which of the two programs of a pair is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Twin {
    Buggy,
    Fixed,
}

impl Twin {
    pub(crate) const fn is_buggy(self) -> bool {
        matches!(self, Self::Buggy)
    }

    pub(crate) const fn is_fixed(self) -> bool {
        matches!(self, Self::Fixed)
    }
}

/// Makes a body of a program's future.
pub(crate) fn boxed(program: impl Future<Output = End> + 'static) -> Body {
    Box::pin(async move { program.await.into_outcome() })
}

/// Fails with `what` unless it holds.
pub(crate) const fn holds(condition: bool, what: &'static str) -> End {
    if condition {
        Ok(())
    } else {
        Err(ZooError::Broken(what))
    }
}

/// Takes a lock in a step of its own, so that others may come before it.
pub(crate) async fn lock<'a, T>(
    cx: &'a Cx,
    mutex: &'a Mutex<T>,
) -> Result<MutexGuard<'a, T>, ZooError> {
    cx.yield_now().await?;
    Ok(mutex.lock(cx).await?)
}

/// Runs `task` for each number below `count` as a task of its own, until all have ended.
pub(crate) async fn crew<S, F, Fut>(cx: &Cx, shared: &Arc<S>, count: usize, task: F) -> End
where
    S: Send + Sync + 'static,
    F: Fn(Cx, Arc<S>, usize) -> Fut + Copy + Send + 'static,
    Fut: Future<Output = End> + Send + 'static,
{
    cx.region(async |scope| {
        for number in 0..count {
            let shared = Arc::clone(shared);
            scope.spawn(move |cx: Cx| task(cx, shared, number));
        }
        End::Ok(())
    })
    .await
    .flatten()
}
