//! Every waiting operation is reached by a cancel request, also below combinators with wakers of their own.

use std::convert::Infallible;
use std::sync::Arc;

use asupersync_core::{IntoOutcome, Outcome};
use asupersync_kernel::Cx;
use asupersync_sync::{Mutex, Notify, Semaphore, mpsc, oneshot};
use futures_util::future::{FutureExt, join_all, pending};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::support::{End, settle, under_seeds, within};

/// Whether a result, turned into a task's outcome by `?` and `IntoOutcome`, is a cancellation.
fn is_cancelled<T, E: std::error::Error + 'static>(result: Result<T, E>) -> bool {
    result.into_outcome().is_cancelled()
}

/// How the operation is polled.
#[derive(Clone, Copy, Debug)]
enum Below {
    Nothing,
    JoinAll,
    Unordered,
    Select,
}

/// Checks that `operation`, which never ends by itself, ends with `Cancelled`, and does so again at once.
fn check<F, Fut>(operation: F)
where
    F: Fn(Cx) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send,
{
    for below in [
        Below::Nothing,
        Below::JoinAll,
        Below::Unordered,
        Below::Select,
    ] {
        let operation = operation.clone();
        under_seeds(8, move |cx| reach(cx, below, operation.clone()));
    }
}

async fn reach<F, Fut>(cx: Cx, below: Below, operation: F)
where
    F: Fn(Cx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send,
{
    within(&cx, async |scope| {
        let child = scope.spawn(async move |cx: Cx| {
            let first = run(&cx, below, &operation).await;
            // Level-triggered: the next wait fails without parking.
            let second = operation(cx.clone()).now_or_never();
            End::Ok((first, second))
        });
        settle(scope.cx()).await;
        assert!(!child.is_finished(), "the operation must be parked");
        child.cancel();
        let ends = child.join(scope.cx()).await;
        let expected = Outcome::<_, Infallible>::Ok((true, Some(true)));
        assert_eq!(ends, expected, "{below:?}");
    })
    .await;
}

async fn run<F, Fut>(cx: &Cx, below: Below, operation: &F) -> bool
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = bool>,
{
    match below {
        Below::Nothing => operation(cx.clone()).await,
        Below::JoinAll => {
            let all = join_all((0..3).map(|_| operation(cx.clone()))).await;
            all.into_iter().all(|cancelled| cancelled)
        }
        Below::Unordered => {
            let all: FuturesUnordered<_> = (0..3).map(|_| operation(cx.clone())).collect();
            let mut all = Box::pin(all);
            let mut count = 0;
            while let Some(cancelled) = all.next().await {
                count += usize::from(cancelled);
            }
            count == 3
        }
        Below::Select => {
            let operation = operation(cx.clone()).fuse();
            let mut operation = Box::pin(operation);
            futures_util::select! {
                cancelled = operation => cancelled,
                () = pending::<()>().fuse() => false,
            }
        }
    }
}

#[test]
fn cancel_reaches_a_full_send_which_hands_the_value_back() {
    check(async |cx| {
        let (tx, _rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        let error = tx.send(&cx, 7).await.unwrap_err();
        assert_eq!(error.effect(), asupersync_core::Effect::NotStarted);
        assert_eq!((error.value, tx.len()), (7, 1));
        is_cancelled::<(), _>(Err(error))
    });
}

#[test]
fn cancel_reaches_reserve() {
    check(async |cx| {
        let (tx, _rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        is_cancelled(tx.reserve(&cx).await)
    });
}

#[test]
fn cancel_reaches_reserve_owned() {
    check(async |cx| {
        let (tx, _rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        is_cancelled(tx.clone().reserve_owned(&cx).await)
    });
}

#[test]
fn cancel_reaches_recv() {
    check(async |cx| {
        let (_tx, mut rx) = mpsc::channel::<u32>(1);
        is_cancelled(rx.recv(&cx).await)
    });
}

#[test]
fn cancel_reaches_recv_many() {
    check(async |cx| {
        let (_tx, mut rx) = mpsc::channel::<u32>(1);
        let mut into = Vec::new();
        is_cancelled(rx.recv_many(&cx, &mut into, 4).await)
    });
}

#[test]
fn cancel_reaches_closed_of_a_channel() {
    check(async |cx| {
        let (tx, _rx) = mpsc::channel::<u32>(1);
        is_cancelled(tx.closed(&cx).await)
    });
}

#[test]
fn cancel_reaches_recv_of_an_unbounded_channel() {
    check(async |cx| {
        let (_tx, mut rx) = mpsc::unbounded_channel::<u32>();
        is_cancelled(rx.recv(&cx).await)
    });
}

#[test]
fn cancel_reaches_recv_many_of_an_unbounded_channel() {
    check(async |cx| {
        let (_tx, mut rx) = mpsc::unbounded_channel::<u32>();
        let mut into = Vec::new();
        is_cancelled(rx.recv_many(&cx, &mut into, 4).await)
    });
}

#[test]
fn cancel_reaches_recv_of_a_oneshot() {
    check(async |cx| {
        let (_tx, mut rx) = oneshot::channel::<u32>();
        is_cancelled(rx.recv(&cx).await)
    });
}

#[test]
fn cancel_reaches_closed_of_a_oneshot() {
    check(async |cx| {
        let (mut tx, _rx) = oneshot::channel::<u32>();
        is_cancelled(tx.closed(&cx).await)
    });
}

#[test]
fn cancel_reaches_acquire() {
    check(async |cx| {
        let semaphore = Semaphore::new(0);
        is_cancelled(semaphore.acquire(&cx).await)
    });
}

#[test]
fn cancel_reaches_acquire_many_owned() {
    check(async |cx| {
        let semaphore = Semaphore::new(2);
        let end = is_cancelled(semaphore.acquire_many_owned(&cx, 3).await);
        assert_eq!(semaphore.available_permits(), 2);
        end
    });
}

#[test]
fn cancel_reaches_lock() {
    check(async |cx| {
        let mutex = Mutex::new(());
        let _held = mutex.try_lock().unwrap();
        is_cancelled(mutex.lock(&cx).await)
    });
}

#[test]
fn cancel_reaches_lock_owned() {
    check(async |cx| {
        let mutex = Arc::new(Mutex::new(()));
        let _held = mutex.try_lock_owned().unwrap();
        is_cancelled(mutex.lock_owned(&cx).await)
    });
}

#[test]
fn cancel_reaches_notified() {
    check(async |cx| {
        let notify = Notify::new();
        is_cancelled(notify.notified(&cx).await)
    });
}
