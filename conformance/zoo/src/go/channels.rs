//! Channels: who waits for whom, and who closes.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Latch, Mutex, Notify, mpsc, oneshot, rendezvous};

use crate::stage::{Either, End, Happenings, Twin, boxed, crew, first_of, holds, lock};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "timeout-leak",
        family: Family::Go,
        pattern: "a worker sends its result on a channel without a buffer, and whoever wanted it has given up",
        fix: "the channel has room for the result",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(timeout_leak(cx, Twin::Buggy)),
        fixed: |cx| boxed(timeout_leak(cx, Twin::Fixed)),
    },
    Program {
        name: "first-error-leak",
        family: Family::Go,
        pattern: "the caller returns at the first error, and the other workers wait for ever to send theirs",
        fix: "takes a result from each worker",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(first_error_leak(cx, Twin::Buggy)),
        fixed: |cx| boxed(first_error_leak(cx, Twin::Fixed)),
    },
    Program {
        name: "missing-close",
        family: Family::Go,
        pattern: "a producer that is told to stop returns without closing the channel that a consumer reads to its end",
        fix: "closes the channel on every way out",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(missing_close(cx, Twin::Buggy)),
        fixed: |cx| boxed(missing_close(cx, Twin::Fixed)),
    },
    Program {
        name: "double-close",
        family: Family::Go,
        pattern: "two tasks find a channel open, and both close it",
        fix: "finds it open and closes it in one step",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(double_close(cx, Twin::Buggy)),
        fixed: |cx| boxed(double_close(cx, Twin::Fixed)),
    },
    Program {
        name: "send-on-closed",
        family: Family::Go,
        pattern: "a sender looks whether the channel is closed, and it is closed before the message is sent",
        fix: "who closes waits for the sender",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(send_on_closed(cx, Twin::Buggy)),
        fixed: |cx| boxed(send_on_closed(cx, Twin::Fixed)),
    },
    Program {
        name: "late-worker",
        family: Family::Go,
        pattern: "as many stop messages are sent as workers have come so far, and a late one gets none",
        fix: "the channel is closed, which everybody sees, whenever it comes",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(late_worker(cx, Twin::Buggy)),
        fixed: |cx| boxed(late_worker(cx, Twin::Fixed)),
    },
    Program {
        name: "dropped-notification",
        family: Family::Go,
        pattern: "a notification is sent only if somebody waits at the moment, and the one whom it is for comes later",
        fix: "the notification is kept until it is taken",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(dropped_notification(cx, Twin::Buggy)),
        fixed: |cx| boxed(dropped_notification(cx, Twin::Fixed)),
    },
    Program {
        name: "lock-and-channel",
        family: Family::Go,
        pattern: "a sender waits for its receiver with a lock in its hands that the receiver takes first",
        fix: "gives the lock up before it sends",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(lock_and_channel(cx, Twin::Buggy)),
        fixed: |cx| boxed(lock_and_channel(cx, Twin::Fixed)),
    },
    Program {
        name: "stop-loses-items",
        family: Family::Go,
        pattern: "a consumer that finds both an item and the end takes the end",
        fix: "takes what is left after the end",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(stop_loses_items(cx, Twin::Buggy)),
        fixed: |cx| boxed(stop_loses_items(cx, Twin::Fixed)),
    },
];

/// The commonest leak of GoKer: the receiver stays reachable, so nothing tells the sender that nobody comes.
async fn timeout_leak(cx: Cx, twin: Twin) -> End {
    let (unbuffered_tx, unbuffered_rx) = rendezvous::channel();
    let (buffered_tx, mut buffered_rx) = mpsc::channel(1);
    let happenings = Arc::new(Happenings::default());
    cx.region(async |scope| {
        let (timer_tx, mut timer_rx) = oneshot::channel();
        let timed = Arc::clone(&happenings);
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            timed.note();
            // Whoever has its result does not wait for the timer any more.
            let _ = timer_tx.send(());
            End::Ok(())
        });
        let worked = Arc::clone(&happenings);
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            worked.note();
            match twin {
                Twin::Buggy => unbuffered_tx.send(&cx, 42).await?,
                Twin::Fixed => buffered_tx.send(&cx, 42).await?,
            }
            End::Ok(())
        });
        let cx = scope.cx();
        let timer = timer_rx.recv(cx);
        match twin {
            Twin::Buggy => drop(first_of(&happenings, unbuffered_rx.recv(cx), timer).await),
            Twin::Fixed => drop(first_of(&happenings, buffered_rx.recv(cx), timer).await),
        }
        End::Ok(())
    })
    .await
    .flatten()
}

/// Three workers send an error or a result; only the first of them fails.
async fn first_error_leak(cx: Cx, twin: Twin) -> End {
    let (tx, rx) = rendezvous::channel();
    let happenings = Arc::new(Happenings::default());
    cx.region(async |scope| {
        for number in 0..3 {
            let (tx, happenings) = (tx.clone(), Arc::clone(&happenings));
            scope.spawn(async move |cx: Cx| {
                cx.yield_now().await?;
                happenings.note();
                tx.send(&cx, number == 0).await?;
                End::Ok(())
            });
        }
        for _ in 0..3 {
            let is_error = rx.recv(scope.cx()).await?;
            happenings.look();
            if is_error && twin.is_buggy() {
                break;
            }
        }
        End::Ok(())
    })
    .await
    .flatten()
}

/// The channel is open as long as its sender stands in the variable.
async fn missing_close(cx: Cx, twin: Twin) -> End {
    let (tx, mut rx) = mpsc::channel(2);
    let shared = Arc::new((Var::new(Some(tx)), Var::new(false)));
    cx.region(async |scope| {
        let stopper = Arc::clone(&shared);
        scope.spawn(async move |cx: Cx| stopper.1.set(&cx, true).await);
        let producer = Arc::clone(&shared);
        scope.spawn(async move |cx: Cx| {
            let (open, is_stopped) = &*producer;
            if let Some(tx) = open.get(&cx).await? {
                tx.send(&cx, 1).await?;
            }
            if is_stopped.get(&cx).await? && twin.is_buggy() {
                return Ok(());
            }
            open.set(&cx, None).await?;
            End::Ok(())
        });
        let mut count = 0;
        while rx.recv(scope.cx()).await.is_ok() {
            count += 1;
        }
        holds(count == 1, "an item is missing")
    })
    .await
    .flatten()
}

/// Closing a closed channel panics in Go; the channel here is the flag that says it is closed.
async fn double_close(cx: Cx, twin: Twin) -> End {
    let is_closed = Arc::new(Var::new(false));
    crew(&cx, &is_closed, 2, move |cx, is_closed, _| async move {
        if twin.is_fixed() {
            is_closed.compare_exchange(&cx, &false, true).await?;
        } else if !is_closed.get(&cx).await? {
            let was_closed = is_closed.swap(&cx, true).await?;
            assert!(!was_closed, "a closed channel is closed");
        }
        Ok(())
    })
    .await
}

/// The flag is set first, then the channel is closed.
async fn send_on_closed(cx: Cx, twin: Twin) -> End {
    let (tx, mut rx) = mpsc::channel(1);
    let shared = Arc::new((Var::new(false), Latch::new(1)));
    cx.region(async |scope| {
        let sender = Arc::clone(&shared);
        scope.spawn(async move |cx: Cx| {
            let (is_closed, has_sent) = &*sender;
            if !is_closed.get(&cx).await? {
                cx.yield_now().await?;
                tx.send(&cx, 1).await?;
            }
            has_sent.count_down();
            End::Ok(())
        });
        let (is_closed, has_sent) = &*shared;
        is_closed.set(scope.cx(), true).await?;
        if twin.is_fixed() {
            has_sent.wait(scope.cx()).await?;
        }
        scope.cx().yield_now().await?;
        rx.close();
        End::Ok(())
    })
    .await
    .flatten()
}

/// Two workers say that they have come, and wait to be stopped.
async fn late_worker(cx: Cx, twin: Twin) -> End {
    let (tx, rx) = rendezvous::channel();
    let shared = Arc::new((Var::new(0), rx));
    let keep = tx.clone();
    cx.region(async |scope| {
        for _ in 0..2 {
            let shared = Arc::clone(&shared);
            scope.spawn(async move |cx: Cx| {
                let (workers, stop) = &*shared;
                workers.update(&cx, |count| *count += 1).await?;
                // A message and the end of the channel both mean to stop.
                match stop.recv(&cx).await {
                    Ok(()) | Err(rendezvous::RecvError::Closed) => End::Ok(()),
                    Err(error) => Err(error.into()),
                }
            });
        }
        let cx = scope.cx();
        let workers = shared.0.get(cx).await?;
        if twin.is_fixed() {
            shared.1.close();
            return Ok(());
        }
        for _ in 0..workers {
            tx.send(cx, ()).await?;
        }
        End::Ok(())
    })
    .await
    .flatten()?;
    drop(keep);
    Ok(())
}

/// Go's `select` with a `default` sends only to who waits already.
async fn dropped_notification(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(0), Notify::new()));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (waiting, news) = &*shared;
        if number == 0 {
            waiting.update(&cx, |count| *count += 1).await?;
            return Ok(news.notified(&cx).await?);
        }
        if waiting.get(&cx).await? > 0 || twin.is_fixed() {
            news.notify_one();
        }
        Ok(())
    })
    .await
}

/// A circle of a lock and a channel.
async fn lock_and_channel(cx: Cx, twin: Twin) -> End {
    let (tx, rx) = rendezvous::channel();
    let shared = Arc::new((Mutex::new(0), tx, rx));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (mutex, tx, rx) = &*shared;
        let mut guard = lock(&cx, mutex).await?;
        *guard += 1;
        if number == 1 {
            drop(guard);
            rx.recv(&cx).await?;
            return Ok(());
        }
        match twin {
            Twin::Buggy => {
                tx.send(&cx, ()).await?;
                drop(guard);
            }
            Twin::Fixed => {
                drop(guard);
                tx.send(&cx, ()).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Go's `select` between a buffered channel and the end draws one of the two; here the end comes first.
async fn stop_loses_items(cx: Cx, twin: Twin) -> End {
    let (tx, mut rx) = mpsc::channel(2);
    let (end_tx, mut end_rx) = oneshot::channel();
    let happenings = Arc::new(Happenings::default());
    let sent = Arc::clone(&happenings);
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            for item in 1..=2 {
                cx.yield_now().await?;
                sent.note();
                tx.send(&cx, item).await?;
            }
            cx.yield_now().await?;
            sent.note();
            // The consumer waits for the end until it has come.
            let _ = end_tx.send(());
            End::Ok(())
        });
        let cx = scope.cx();
        let mut sum = 0;
        while let Either::Second(Ok(item)) =
            first_of(&happenings, end_rx.recv(cx), rx.recv(cx)).await
        {
            sum += item;
        }
        while let (Twin::Fixed, Ok(item)) = (twin, rx.try_recv()) {
            sum += item;
        }
        holds(sum == 3, "an item that was sent is lost")
    })
    .await
    .flatten()
}
