//! Futures that hold something and are not polled.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use asupersync_kernel::Cx;
use asupersync_lab::Law;
use asupersync_sync::{Mutex, Semaphore, mpsc};

use super::cut::Cut;
use crate::stage::{End, Twin, boxed, lock};
use crate::{Family, Program, Shows, ZooError};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "futurelock",
        family: Family::AsyncRust,
        pattern: "a future that stands in a lock's line is not polled any more, while its task waits for the same lock behind it",
        fix: "drops the future that it does not poll",
        shows: Shows::Law(Law::Futurelock),
        exhaustible: true,
        buggy: |cx| boxed(futurelock(cx, Twin::Buggy)),
        fixed: |cx| boxed(futurelock(cx, Twin::Fixed)),
    },
    Program {
        name: "starved-buffer",
        family: Family::AsyncRust,
        pattern: "a buffered stream's futures stand still while its consumer works, and one of them holds what the consumer needs",
        fix: "the items are tasks of their own",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(starved_buffer(cx)),
        fixed: |cx| boxed(fed_buffer(cx)),
    },
];

/// A `select!` over `&mut future`, whose other branch needs what the future waits for.
async fn futurelock(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Cut::default(), Mutex::new(0)));
    cx.region(async |scope| {
        let holder = Arc::clone(&shared);
        scope.spawn(async move |cx: Cx| {
            let guard = lock(&cx, &holder.1).await?;
            cx.yield_now().await?;
            drop(guard);
            End::Ok(())
        });
        let timer = Arc::clone(&shared);
        scope.spawn(async move |cx: Cx| timer.0.say(&cx).await);
        let (cut, mutex) = &*shared;
        let cx = scope.cx();
        cx.yield_now().await?;
        let first = mutex.lock(cx);
        if twin.is_fixed() {
            let first = cut.unless(cx, first).await.transpose()?;
            if first.is_none() {
                *mutex.lock(cx).await? += 1;
            }
            return Ok(());
        }
        let mut first = pin!(first);
        let taken = cut.unless(cx, first.as_mut()).await.transpose()?;
        if taken.is_none() {
            *mutex.lock(cx).await? += 1;
        }
        End::Ok(())
    })
    .await
    .flatten()
}

/// The item that needs the connection as soon as its input is there.
async fn slow_item(cx: &Cx, input: &mut mpsc::Receiver<u32>, pool: &Semaphore) -> End {
    input.recv(cx).await?;
    let connection = pool.acquire(cx).await?;
    cx.yield_now().await?;
    drop(connection);
    Ok(())
}

/// The item that is ready after a while.
async fn quick_item(cx: &Cx) -> End {
    cx.yield_now().await?;
    cx.yield_now().await?;
    Ok(())
}

/// Two items in a buffer; what the consumer does with the first needs the pool's only connection.
async fn starved_buffer(cx: Cx) -> End {
    let (tx, mut input) = mpsc::channel(1);
    let pool = Semaphore::new(1);
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            tx.send(&cx, 1).await?;
            End::Ok(())
        });
        let cx = scope.cx();
        let mut slow = pin!(slow_item(cx, &mut input, &pool));
        let mut quick = pin!(quick_item(cx));
        let mut slow_end = None;
        std::future::poll_fn(|task| {
            if slow_end.is_none()
                && let Poll::Ready(end) = slow.as_mut().poll(task)
            {
                slow_end = Some(end);
            }
            quick.as_mut().poll(task)
        })
        .await?;
        drop(pool.acquire(cx).await?);
        match slow_end {
            Some(end) => end,
            None => slow.await,
        }
    })
    .await
    .flatten()
}

/// [`starved_buffer`] with its slow item as a task.
async fn fed_buffer(cx: Cx) -> End {
    let (tx, mut input) = mpsc::channel(1);
    let pool = Arc::new(Semaphore::new(1));
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            tx.send(&cx, 1).await?;
            End::Ok(())
        });
        let shared = Arc::clone(&pool);
        scope.spawn(async move |cx: Cx| slow_item(&cx, &mut input, &shared).await);
        let cx = scope.cx();
        quick_item(cx).await?;
        drop(pool.acquire(cx).await?);
        Ok::<_, ZooError>(())
    })
    .await
    .flatten()
}
