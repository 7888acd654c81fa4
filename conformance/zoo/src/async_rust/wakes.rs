//! Wakers: who is woken, and who is forgotten.

use std::sync::Arc;
use std::task::{Poll, Waker};

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Notify, Semaphore};

use crate::stage::{End, Twin, boxed, crew};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "one-waker",
        family: Family::AsyncRust,
        pattern: "an event keeps one waker, and the second task that waits takes the place of the first",
        fix: "keeps a waker for each",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(one_waker(cx, Twin::Buggy)),
        fixed: |cx| boxed(one_waker(cx, Twin::Fixed)),
    },
    Program {
        name: "look-then-register",
        family: Family::AsyncRust,
        pattern: "a task looks whether the event has come before it leaves its waker, and the event comes in between",
        fix: "leaves its waker before it looks",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(look_then_register(cx, Twin::Buggy)),
        fixed: |cx| boxed(look_then_register(cx, Twin::Fixed)),
    },
    Program {
        name: "one-wake-for-two",
        family: Family::AsyncRust,
        pattern: "two items are announced by two wakes without a count, which become one if nobody waits in between",
        fix: "counts the items",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(one_wake_for_two(cx, Twin::Buggy)),
        fixed: |cx| boxed(one_wake_for_two(cx, Twin::Fixed)),
    },
    Program {
        name: "woken-too-early",
        family: Family::AsyncRust,
        pattern: "waiters are woken before the event is marked as come, look, and go back to sleep",
        fix: "marks the event first",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(woken_too_early(cx, Twin::Buggy)),
        fixed: |cx| boxed(woken_too_early(cx, Twin::Fixed)),
    },
];

/// An event made by hand, with the wakers of those who wait for it.
#[derive(Default)]
struct Event {
    has_come: Var<bool>,
    wakers: Var<Vec<Waker>>,
}

impl Event {
    /// Wakes whoever has left a waker, within the caller's step.
    fn wake(&self) {
        let wakers = self.wakers.swap_now(Vec::new());
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Waits until the event has come; looks and leaves its waker in one step.
    async fn wait(&self, leave: impl Fn(&mut Vec<Waker>, &Waker)) {
        std::future::poll_fn(|task| {
            if self.has_come.get_now() {
                return Poll::Ready(());
            }
            self.wakers.update_now(|wakers| leave(wakers, task.waker()));
            Poll::Pending
        })
        .await;
    }

    /// Leaves a waker and waits to be woken, once.
    async fn park(&self) {
        let mut has_left = false;
        std::future::poll_fn(|task| {
            if std::mem::replace(&mut has_left, true) {
                return Poll::Ready(());
            }
            self.wakers
                .update_now(|wakers| wakers.push(task.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Two tasks wait for one event.
async fn one_waker(cx: Cx, twin: Twin) -> End {
    let event = Arc::new(Event::default());
    crew(&cx, &event, 3, move |cx, event, number| async move {
        cx.yield_now().await?;
        if number == 0 {
            event.has_come.set_now(true);
            event.wake();
            return Ok(());
        }
        let leave = |wakers: &mut Vec<Waker>, waker: &Waker| {
            if twin.is_buggy() {
                wakers.clear();
            }
            wakers.push(waker.clone());
        };
        event.wait(leave).await;
        Ok(())
    })
    .await
}

/// The look and the waker are two steps, as they are between threads.
async fn look_then_register(cx: Cx, twin: Twin) -> End {
    let event = Arc::new(Event::default());
    crew(&cx, &event, 2, move |cx, event, number| async move {
        if number == 0 {
            event.has_come.set(&cx, true).await?;
            cx.yield_now().await?;
            event.wake();
            return Ok(());
        }
        if twin.is_buggy() {
            if !event.has_come.get(&cx).await? {
                cx.yield_now().await?;
                event.park().await;
            }
            return Ok(());
        }
        cx.yield_now().await?;
        event.wait(|wakers, waker| wakers.push(waker.clone())).await;
        Ok(())
    })
    .await
}

/// A producer of two items and two consumers that each take one.
async fn one_wake_for_two(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(0), Notify::new(), Semaphore::new(0)));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (items, news, count) = &*shared;
        if number == 0 {
            for _ in 0..2 {
                items.update(&cx, |items| *items += 1).await?;
                match twin {
                    Twin::Buggy => news.notify_one(),
                    Twin::Fixed => count.add_permits(1),
                }
            }
            return Ok(());
        }
        cx.yield_now().await?;
        // The consumer's look: a wake that comes while nobody waits is kept, but only one.
        let _ = items.get_now();
        match twin {
            Twin::Buggy => news.notified(&cx).await?,
            Twin::Fixed => count.acquire(&cx).await?.forget(),
        }
        items.update(&cx, |items| *items -= 1).await?;
        Ok(())
    })
    .await
}

/// The mark and the wake are two steps, in the wrong order.
async fn woken_too_early(cx: Cx, twin: Twin) -> End {
    let event = Arc::new(Event::default());
    crew(&cx, &event, 2, move |cx, event, number| async move {
        cx.yield_now().await?;
        if number == 1 {
            event.wait(|wakers, waker| wakers.push(waker.clone())).await;
            return Ok(());
        }
        if twin.is_buggy() {
            event.wake();
            event.has_come.set(&cx, true).await?;
        } else {
            event.has_come.set(&cx, true).await?;
            event.wake();
        }
        Ok(())
    })
    .await
}
