//! What the programs are made with.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use asupersync_core::IntoOutcome;
use asupersync_kernel::Cx;
use asupersync_lab::Var;
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

/// Which of two futures was ready first.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// What may decide a choice between several waits, in the order in which it happens.
///
/// That a channel was empty, or that a waiter left it, is no event of the channel, and yet a choice depends on it.
/// So whoever may decide a choice notes it in the same step, and the choice looks.
#[derive(Default)]
pub(crate) struct Happenings(Var<u32>);

impl Happenings {
    pub(crate) fn note(&self) {
        self.0.update_now(|count| *count += 1);
    }

    pub(crate) fn look(&self) {
        let _ = self.0.get_now();
    }
}

/// Waits for one of two futures and drops the other where it stands; of two that are ready the first wins.
pub(crate) async fn first_of<A: Future, B: Future>(
    happenings: &Happenings,
    first: A,
    second: B,
) -> Either<A::Output, B::Output> {
    let mut first = pin!(first);
    let mut second = pin!(second);
    std::future::poll_fn(|task| {
        happenings.look();
        if let Poll::Ready(value) = first.as_mut().poll(task) {
            return Poll::Ready(Either::First(value));
        }
        second.as_mut().poll(task).map(Either::Second)
    })
    .await
}
