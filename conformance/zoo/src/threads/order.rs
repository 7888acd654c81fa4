//! Orders that nobody has seen to.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Condvar, Latch, Mutex, mpsc};

use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "reorder-3",
        family: Family::Threads,
        pattern: "two setters write two variables one after the other, and a checker comes in between",
        fix: "both values are written as one",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(reorder(cx, Twin::Buggy, 2)),
        fixed: |cx| boxed(reorder(cx, Twin::Fixed, 2)),
    },
    Program {
        name: "reorder-5",
        family: Family::Threads,
        pattern: "as `reorder-3`, with four setters, the first of which to end closes the gap",
        fix: "both values are written as one",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(reorder(cx, Twin::Buggy, 4)),
        fixed: |cx| boxed(reorder(cx, Twin::Fixed, 4)),
    },
    Program {
        name: "falling-token",
        family: Family::Threads,
        pattern: "each of five tasks hands a token down if it finds it right above itself, and the last one drops it; it comes that far under one order in 120",
        fix: "the last one hands it back to the first",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(falling_token(cx, Twin::Buggy, 5)),
        fixed: |cx| boxed(falling_token(cx, Twin::Fixed, 5)),
    },
    Program {
        name: "falling-token-6",
        family: Family::Threads,
        pattern: "as `falling-token`, with six tasks and one order in 720",
        fix: "the last one hands it back to the first",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(falling_token(cx, Twin::Buggy, 6)),
        fixed: |cx| boxed(falling_token(cx, Twin::Fixed, 6)),
    },
    Program {
        name: "bidding",
        family: Family::Threads,
        pattern: "two bidders each outbid the other, and the book is one line too short, which shows only if they take turns ten times",
        fix: "who finds the book full does not bid",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(bidding(cx, Twin::Buggy)),
        fixed: |cx| boxed(bidding(cx, Twin::Fixed)),
    },
    Program {
        name: "bluetooth-driver",
        family: Family::Threads,
        pattern: "a request looks whether the driver stops before it counts itself in, and the driver stops in between",
        fix: "counts itself in before it looks",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(bluetooth_driver(cx, Twin::Buggy)),
        fixed: |cx| boxed(bluetooth_driver(cx, Twin::Fixed)),
    },
    Program {
        name: "freed-queue",
        family: Family::Threads,
        pattern: "the main task frees the queue when the work is done, while a consumer still goes to look at it",
        fix: "waits until the consumer has left",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(freed_queue(cx, Twin::Buggy)),
        fixed: |cx| boxed(freed_queue(cx, Twin::Fixed)),
    },
    Program {
        name: "double-checked",
        family: Family::Threads,
        pattern: "an object is published before it is filled, and who checks without the lock uses it empty",
        fix: "fills it first",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(double_checked(cx, Twin::Buggy)),
        fixed: |cx| boxed(double_checked(cx, Twin::Fixed)),
    },
    Program {
        name: "dekker",
        family: Family::Threads,
        pattern: "each of two tasks raises its flag only after it has looked at the other's",
        fix: "raises its flag before it looks",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(dekker(cx, Twin::Buggy)),
        fixed: |cx| boxed(dekker(cx, Twin::Fixed)),
    },
    Program {
        name: "sync-lost-signal",
        family: Family::Threads,
        pattern: "a consumer looks without the lock and then waits for a signal that has already been given",
        fix: "looks under the lock",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(lost_signal(cx, Twin::Buggy)),
        fixed: |cx| boxed(lost_signal(cx, Twin::Fixed)),
    },
    Program {
        name: "sync-wrong-waiter",
        family: Family::Threads,
        pattern: "producers and consumers wait on one condition variable, and a single signal goes to one who cannot use it",
        fix: "signals all",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(wrong_waiter(cx, Twin::Buggy)),
        fixed: |cx| boxed(wrong_waiter(cx, Twin::Fixed)),
    },
    Program {
        name: "arithmetic-progression",
        family: Family::Threads,
        pattern: "a producer that was woken does not look again, and overwrites a number that came meanwhile",
        fix: "looks again after each wait",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(arithmetic_progression(cx, Twin::Buggy)),
        fixed: |cx| boxed(arithmetic_progression(cx, Twin::Fixed)),
    },
    Program {
        name: "barrier-reuse",
        family: Family::Threads,
        pattern: "a barrier made by hand is used again before all have left its first round",
        fix: "waits for the round to change, not for the count",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(barrier_reuse(cx, Twin::Buggy)),
        fixed: |cx| boxed(barrier_reuse(cx, Twin::Fixed)),
    },
    Program {
        name: "early-end-mark",
        family: Family::Threads,
        pattern: "the last stage of a pipeline stops at the first of several end marks",
        fix: "stops when every worker has sent its mark",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(early_end_mark(cx, Twin::Buggy)),
        fixed: |cx| boxed(early_end_mark(cx, Twin::Fixed)),
    },
];

/// The pattern of SCTBench's `reorder`: all setters write the same, so who has seen the first value expects the second.
async fn reorder(cx: Cx, twin: Twin, setters: usize) -> End {
    let shared = Arc::new((Var::new(0), Var::new(0), Var::new((0, 0))));
    crew(
        &cx,
        &shared,
        setters + 1,
        move |cx, shared, number| async move {
            let (first, second, both) = &*shared;
            let is_setter = number < setters;
            if twin.is_fixed() {
                if is_setter {
                    return Ok(both.set(&cx, (1, -1)).await?);
                }
                let seen = both.get(&cx).await?;
                return holds(seen != (1, 0), "the second value is not there yet");
            }
            if is_setter {
                first.set(&cx, 1).await?;
                return Ok(second.set(&cx, -1).await?);
            }
            let seen = first.get(&cx).await?;
            let other = second.get(&cx).await?;
            holds((seen, other) != (1, 0), "the second value is not there yet")
        },
    )
    .await
}

/// Like SCTBench's `reorder` with many threads, where few orders of many are bad.
async fn falling_token(cx: Cx, twin: Twin, tasks: usize) -> End {
    let token = Arc::new(Var::new(Some(tasks)));
    crew(&cx, &token, tasks, move |cx, token, number| async move {
        let below = match number {
            0 if twin.is_buggy() => None,
            0 => Some(tasks),
            _ => Some(number),
        };
        let above = Some(number + 1);
        token.compare_exchange(&cx, &above, below).await?;
        Ok(())
    })
    .await?;
    holds(token.get_now().is_some(), "the token is gone")
}

/// Nobody outbids itself; each has five turns, and the book nine lines.
async fn bidding(cx: Cx, twin: Twin) -> End {
    let book = Arc::new(Var::new(Vec::new()));
    crew(&cx, &book, 2, move |cx, book, bidder| async move {
        for _ in 0..5 {
            let bid = |book: &mut Vec<usize>| {
                let is_full = book.len() == 9;
                if book.last() != Some(&bidder) && !(is_full && twin.is_fixed()) {
                    assert!(!is_full, "the book is full");
                    book.push(bidder);
                }
            };
            book.update(&cx, bid).await?;
        }
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `bluetooth_driver`.
async fn bluetooth_driver(cx: Cx, twin: Twin) -> End {
    let driver = Arc::new(Driver {
        is_stopping: Var::new(false),
        is_stopped: Var::new(false),
        pending: Var::new(1),
        idle: Latch::new(1),
    });
    crew(&cx, &driver, 2, move |cx, driver, number| async move {
        if number == 1 {
            driver.is_stopping.set(&cx, true).await?;
            driver.leave(&cx).await?;
            driver.idle.wait(&cx).await?;
            return Ok(driver.is_stopped.set(&cx, true).await?);
        }
        if twin.is_buggy() {
            if driver.is_stopping.get(&cx).await? {
                return Ok(());
            }
            driver.pending.update(&cx, |count| *count += 1).await?;
        } else {
            driver.pending.update(&cx, |count| *count += 1).await?;
            if driver.is_stopping.get(&cx).await? {
                return driver.leave(&cx).await;
            }
        }
        let is_stopped = driver.is_stopped.get(&cx).await?;
        holds(!is_stopped, "a request runs on a driver that has stopped")?;
        driver.leave(&cx).await
    })
    .await
}

struct Driver {
    is_stopping: Var<bool>,
    is_stopped: Var<bool>,
    /// Requests under way, and one for the driver itself.
    pending: Var<i32>,
    idle: Latch,
}

impl Driver {
    async fn leave(&self, cx: &Cx) -> End {
        let off = |count: &mut i32| {
            *count -= 1;
            *count
        };
        if self.pending.update(cx, off).await? == 0 {
            self.idle.count_down();
        }
        Ok(())
    }
}

/// The pattern of SCTBench's `pbzip2`: the queue and its lock are deleted before the last consumer has seen that the work is done.
async fn freed_queue(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(Some(7)), Var::new(false), Latch::new(1)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (queue, is_done, has_left) = &*shared;
        if number == 0 {
            is_done.set(&cx, true).await?;
            if twin.is_fixed() {
                has_left.wait(&cx).await?;
            }
            return Ok(queue.set(&cx, None).await?);
        }
        if !is_done.get(&cx).await? {
            let item = queue.get(&cx).await?;
            assert!(item.is_some(), "the queue is used after it was freed");
        }
        has_left.count_down();
        Ok(())
    })
    .await
}

/// Two users of an object that is made when it is first needed.
async fn double_checked(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(()), Var::new(false), Var::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, _| async move {
        let (making, is_there, content) = &*shared;
        if !is_there.get(&cx).await? {
            let making = lock(&cx, making).await?;
            if !is_there.get(&cx).await? {
                if twin.is_buggy() {
                    is_there.set(&cx, true).await?;
                }
                content.set(&cx, 42).await?;
                if twin.is_fixed() {
                    is_there.set(&cx, true).await?;
                }
            }
            drop(making);
        }
        holds(content.get(&cx).await? == 42, "the object is used empty")
    })
    .await
}

/// Mutual exclusion with two flags; who sees the other's flag goes away.
async fn dekker(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((<[Var<bool>; 2]>::default(), Var::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (wants, owner) = &*shared;
        if twin.is_fixed() {
            wants[number].set(&cx, true).await?;
        }
        if wants[1 - number].get(&cx).await? {
            return Ok(());
        }
        if twin.is_buggy() {
            wants[number].set(&cx, true).await?;
        }
        let old = owner.swap(&cx, number + 1).await?;
        holds(old == 0, "both are in the critical section")
    })
    .await
}

/// The pattern of SCTBench's `sync01`.
async fn lost_signal(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(()), Condvar::new(), Var::new(false)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (mutex, ready, is_ready) = &*shared;
        if number == 0 {
            let guard = lock(&cx, mutex).await?;
            is_ready.set(&cx, true).await?;
            ready.notify_one();
            drop(guard);
            return Ok(());
        }
        if twin.is_buggy() {
            if !is_ready.get(&cx).await? {
                let guard = lock(&cx, mutex).await?;
                drop(ready.wait(&cx, guard).await?);
            }
            return Ok(());
        }
        let mut guard = lock(&cx, mutex).await?;
        while !is_ready.get(&cx).await? {
            guard = ready.wait(&cx, guard).await?;
        }
        drop(guard);
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `sync02`: two producers, two consumers, and room for one item.
async fn wrong_waiter(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    crew(&cx, &shared, 4, move |cx, shared, number| async move {
        let (is_full, changed) = &*shared;
        let is_producer = number % 2 == 1;
        let guard = lock(&cx, is_full).await?;
        let cannot = |is_full: &mut bool| *is_full == is_producer;
        let mut guard = changed.wait_while(&cx, guard, cannot).await?;
        *guard = is_producer;
        match twin {
            Twin::Buggy => changed.notify_one(),
            Twin::Fixed => changed.notify_all(),
        }
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `arithmetic_prog`: the consumer adds up what two producers hand it one at a time.
async fn arithmetic_progression(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(None), Condvar::new()));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (place, changed) = &*shared;
        if number == 0 {
            let mut sum = 0;
            for _ in 0..3 {
                let guard = lock(&cx, place).await?;
                let is_empty = |place: &mut Option<i32>| place.is_none();
                let mut guard = changed.wait_while(&cx, guard, is_empty).await?;
                sum += guard.take().unwrap_or_default();
                changed.notify_all();
            }
            return holds(sum == 6, "the sum is another");
        }
        let own: &[i32] = if number == 1 { &[1, 2] } else { &[3] };
        for value in own {
            let mut guard = lock(&cx, place).await?;
            while guard.is_some() {
                guard = changed.wait(&cx, guard).await?;
                if twin.is_buggy() {
                    break;
                }
            }
            *guard = Some(*value);
            changed.notify_all();
        }
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `streamcluster`, whose barrier counts up and starts again from zero.
async fn barrier_reuse(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new((0, 0)), Condvar::new()));
    crew(&cx, &shared, 2, move |cx, shared, _| async move {
        let (state, changed) = &*shared;
        for _ in 0..2 {
            let mut guard = lock(&cx, state).await?;
            guard.0 += 1;
            let (count, round) = *guard;
            if count == 2 {
                *guard = (0, round + 1);
                changed.notify_all();
                continue;
            }
            let must_wait = |state: &mut (i32, i32)| match twin {
                Twin::Buggy => state.0 != 0,
                Twin::Fixed => state.1 == round,
            };
            drop(changed.wait_while(&cx, guard, must_wait).await?);
        }
        Ok(())
    })
    .await
}

/// What goes down the pipeline.
enum Message {
    Item(i32),
    End,
}

/// The pattern of SCTBench's `ferret`: two workers feed one stage.
async fn early_end_mark(cx: Cx, twin: Twin) -> End {
    cx.region(async |scope| {
        let (tx, mut rx) = mpsc::channel(4);
        for item in 1..=2 {
            let tx = tx.clone();
            scope.spawn(async move |cx: Cx| {
                cx.yield_now().await?;
                tx.send(&cx, Message::Item(item)).await?;
                cx.yield_now().await?;
                tx.send(&cx, Message::End).await?;
                End::Ok(())
            });
        }
        let cx = scope.cx();
        let (mut sum, mut marks) = (0, 0);
        let marks_wanted = if twin.is_buggy() { 1 } else { 2 };
        while marks < marks_wanted {
            match rx.recv(cx).await? {
                Message::Item(item) => sum += item,
                Message::End => marks += 1,
            }
        }
        holds(sum == 3, "an item comes after the end")
    })
    .await
    .flatten()
}
