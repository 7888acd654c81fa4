//! What the tests share.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

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

/// Does an operation so often, and counts how often it had to come back for that.
pub(crate) async fn count_waits<F: Future>(
    times: u64,
    operation: impl Fn() -> F,
    done: impl Fn(F::Output),
) -> u64 {
    let mut waits = 0;
    for _ in 0..times {
        let mut one = pin!(operation());
        let end = poll_fn(|task| {
            let seen = one.as_mut().poll(task);
            waits += u64::from(seen.is_pending());
            seen
        });
        done(end.await);
    }
    waits
}

/// Which futures to poll next: who was woken before all others, who woke itself behind them, as on a worker.
#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<usize>>,
    running: AtomicUsize,
}

struct ReadyWaker(Arc<Ready>, usize);

impl Wake for ReadyWaker {
    fn wake(self: Arc<Self>) {
        let Self(ready, id) = &*self;
        let mut queue = ready.queue.lock().expect("nobody panics");
        if ready.running.load(Ordering::SeqCst) == *id {
            queue.push_back(*id);
        } else {
            queue.push_front(*id);
        }
    }
}

/// Polls all futures until they wait, calls `start`, and polls them in a worker's order to their ends; the sum of what they give.
pub(crate) fn as_on_a_worker<F: Future<Output = u64>, const COUNT: usize>(
    tasks: [F; COUNT],
    start: impl FnOnce(),
) -> u64 {
    let ready = Arc::new(Ready::default());
    let wakers: [_; COUNT] =
        std::array::from_fn(|id| Waker::from(Arc::new(ReadyWaker(Arc::clone(&ready), id))));
    let mut tasks = tasks.map(Box::pin);
    for (task, waker) in tasks.iter_mut().zip(&wakers) {
        let seen = task.as_mut().poll(&mut Context::from_waker(waker));
        assert!(seen.is_pending(), "it has to wait");
    }
    start();
    let mut sum = 0;
    loop {
        let next = ready.queue.lock().expect("nobody panics").pop_front();
        let Some(id) = next else { break };
        ready.running.store(id, Ordering::SeqCst);
        let mut context = Context::from_waker(&wakers[id]);
        if let Poll::Ready(one) = tasks[id].as_mut().poll(&mut context) {
            sum += one;
        }
        ready.running.store(COUNT, Ordering::SeqCst);
    }
    sum
}
