//! What the tests share.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use asupersync_core::Outcome;
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{Seeds, check_seeds};

pub(crate) type End<T> = Outcome<T, Infallible>;

/// Runs a program under a number of seeds.
#[track_caller]
pub(crate) fn under_seeds<F, Fut>(count: u64, body: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = ()>,
{
    let body = &body;
    check_seeds(Seeds::first(count), async move |cx: Cx| {
        body(cx).await;
        End::Ok(())
    });
}

/// Opens a region and runs `body` in it, which does not fail.
pub(crate) async fn within<'s, T, F, Fut>(cx: &'s Cx, body: F) -> T
where
    F: FnOnce(Scope<'s, Infallible>) -> Fut,
    Fut: Future<Output = T>,
{
    let end = cx
        .region(|scope| async move { End::Ok(body(scope).await) })
        .await;
    match end {
        Outcome::Ok(value) => value,
        Outcome::Panicked(payload) => panic!("{payload}"),
        Outcome::Cancelled(reason) => panic!("the region was cancelled: {reason}"),
        Outcome::Err(never) => match never {},
    }
}

/// Polls `future` at most `polls` times, yielding in between, and then drops it where it stands.
pub(crate) async fn drop_after<F: Future>(cx: &Cx, future: F, polls: u64) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let look = poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await;
        if let Poll::Ready(output) = look {
            return Some(output);
        }
        if cx.yield_now().await.is_err() {
            return None;
        }
    }
    None
}

/// Lets the others run for a while.
pub(crate) async fn settle(cx: &Cx) {
    for _ in 0..64 {
        cx.yield_now().await.expect("nobody cancels this task");
    }
}
