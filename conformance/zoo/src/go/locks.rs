//! Locks and condition variables.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Condvar, Mutex, RwLock, Semaphore, mpsc};

use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "hook-under-lock",
        family: Family::Go,
        pattern: "a hook is called with the lock held that the hook takes, if one is registered by then",
        fix: "gives the lock up before it calls the hook",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(hook_under_lock(cx, Twin::Buggy)),
        fixed: |cx| boxed(hook_under_lock(cx, Twin::Fixed)),
    },
    Program {
        name: "read-write-read",
        family: Family::Go,
        pattern: "a reader takes the read lock a second time, and a writer that came in between stands before it",
        fix: "reads twice under one hold of the lock",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(read_write_read(cx, Twin::Buggy)),
        fixed: |cx| boxed(read_write_read(cx, Twin::Fixed)),
    },
    Program {
        name: "read-lock-triangle",
        family: Family::Go,
        pattern: "a reader waits for a message of another, which wants to read behind a writer that waits for the first",
        fix: "waits for the message before it takes the lock",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(read_lock_triangle(cx, Twin::Buggy)),
        fixed: |cx| boxed(read_lock_triangle(cx, Twin::Fixed)),
    },
    Program {
        name: "missing-unlock",
        family: Family::Go,
        pattern: "an early return leaves a lock locked",
        fix: "unlocks on every way out",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(missing_unlock(cx, Twin::Buggy)),
        fixed: |cx| boxed(missing_unlock(cx, Twin::Fixed)),
    },
    Program {
        name: "signal-for-all",
        family: Family::Go,
        pattern: "the end is signalled to one waiter, where several may wait",
        fix: "signals all of them",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(signal_for_all(cx, Twin::Buggy)),
        fixed: |cx| boxed(signal_for_all(cx, Twin::Fixed)),
    },
    Program {
        name: "abc-circle",
        family: Family::Go,
        pattern: "three services each call the next one with their own lock held",
        fix: "the last one calls before it takes its lock",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(abc_circle(cx, Twin::Buggy)),
        fixed: |cx| boxed(abc_circle(cx, Twin::Fixed)),
    },
    Program {
        name: "nested-monitor",
        family: Family::Go,
        pattern: "a condition is waited for with an outer lock held, through which the only one who signals it has to go",
        fix: "gives the outer lock up before it waits",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(nested_monitor(cx, Twin::Buggy)),
        fixed: |cx| boxed(nested_monitor(cx, Twin::Fixed)),
    },
    Program {
        name: "read-abba",
        family: Family::Go,
        pattern: "two tasks each read one table and then write the other, each with its read lock held",
        fix: "both take the locks in the same order",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(read_abba(cx, Twin::Buggy)),
        fixed: |cx| boxed(read_abba(cx, Twin::Fixed)),
    },
    Program {
        name: "write-under-read-lock",
        family: Family::Go,
        pattern: "a counter is written under the read lock, which two tasks hold at a time",
        fix: "takes the write lock",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(write_under_read_lock(cx, Twin::Buggy)),
        fixed: |cx| boxed(write_under_read_lock(cx, Twin::Fixed)),
    },
];

/// The double lock of GoKer, where the second `Lock` stands in a callback.
async fn hook_under_lock(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(0), Var::new(false)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (mutex, has_hook) = &*shared;
        if number == 0 {
            return Ok(has_hook.set(&cx, true).await?);
        }
        let guard = lock(&cx, mutex).await?;
        let has_hook = has_hook.get(&cx).await?;
        let kept = match twin {
            Twin::Buggy => Some(guard),
            Twin::Fixed => {
                drop(guard);
                None
            }
        };
        if has_hook {
            *lock(&cx, mutex).await? += 1;
        }
        drop(kept);
        Ok(())
    })
    .await
}

/// GoKer's RWR deadlock: the lock prefers the writer that waits.
async fn read_write_read(cx: Cx, twin: Twin) -> End {
    let table = Arc::new(RwLock::new(0));
    crew(&cx, &table, 2, move |cx, table, number| async move {
        cx.yield_now().await?;
        if number == 0 {
            *table.write(&cx).await? += 1;
            return Ok(());
        }
        let once = table.read(&cx).await?;
        cx.yield_now().await?;
        if twin.is_buggy() {
            let again = table.read(&cx).await?;
            return holds(*once == *again, "the value changed under the lock");
        }
        Ok(())
    })
    .await
}

/// The RWR deadlock over two tasks and a channel.
async fn read_lock_triangle(cx: Cx, twin: Twin) -> End {
    let table = Arc::new(RwLock::new(0));
    let (tx, mut rx) = mpsc::channel(1);
    cx.region(async |scope| {
        let written = Arc::clone(&table);
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            *written.write(&cx).await? += 1;
            End::Ok(())
        });
        let read = Arc::clone(&table);
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            let value = *read.read(&cx).await?;
            tx.send(&cx, value).await?;
            End::Ok(())
        });
        let cx = scope.cx();
        cx.yield_now().await?;
        if twin.is_fixed() {
            rx.recv(cx).await?;
        }
        let guard = table.read(cx).await?;
        if twin.is_buggy() {
            rx.recv(cx).await?;
        }
        drop(guard);
        End::Ok(())
    })
    .await
    .flatten()
}

/// A lock without a guard, as Go's: what is locked must be unlocked by hand.
async fn missing_unlock(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Semaphore::new(1), Var::new(false)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (gate, is_over) = &*shared;
        if number == 0 {
            return Ok(is_over.set(&cx, true).await?);
        }
        cx.yield_now().await?;
        gate.acquire(&cx).await?.forget();
        if is_over.get(&cx).await? && twin.is_buggy() {
            return Ok(());
        }
        gate.add_permits(1);
        Ok(())
    })
    .await?;
    // Somebody comes later.
    drop(shared.0.acquire(&cx).await?);
    Ok(())
}

/// Two wait for the end of a third.
async fn signal_for_all(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (is_over, ended) = &*shared;
        let mut guard = lock(&cx, is_over).await?;
        if number > 0 {
            drop(ended.wait_while(&cx, guard, |is_over| !*is_over).await?);
            return Ok(());
        }
        *guard = true;
        match twin {
            Twin::Buggy => ended.notify_one(),
            Twin::Fixed => ended.notify_all(),
        }
        Ok(())
    })
    .await
}

/// A circle of three locks.
async fn abc_circle(cx: Cx, twin: Twin) -> End {
    let locks = Arc::new([(); 3].map(|()| Mutex::new(())));
    crew(&cx, &locks, 3, move |cx, locks, number| async move {
        let own = number;
        let next = (number + 1) % 3;
        let (first, second) = match twin {
            Twin::Fixed if number == 2 => (next, own),
            Twin::Fixed | Twin::Buggy => (own, next),
        };
        let one = lock(&cx, &locks[first]).await?;
        let two = lock(&cx, &locks[second]).await?;
        drop((one, two));
        Ok(())
    })
    .await
}

/// A queue within a server: the queue's condition gives up the queue's lock only.
async fn nested_monitor(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(()), Mutex::new(0), Condvar::new()));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (server, queue, filled) = &*shared;
        let outer = lock(&cx, server).await?;
        let mut inner = lock(&cx, queue).await?;
        if number == 1 {
            *inner += 1;
            filled.notify_one();
            drop((inner, outer));
            return Ok(());
        }
        let kept = match twin {
            Twin::Buggy => Some(outer),
            Twin::Fixed => {
                drop(outer);
                None
            }
        };
        drop(filled.wait_while(&cx, inner, |count| *count == 0).await?);
        drop(kept);
        Ok(())
    })
    .await
}

/// The AB-BA deadlock of reading and writing.
async fn read_abba(cx: Cx, twin: Twin) -> End {
    let tables = Arc::new([RwLock::new(1), RwLock::new(2)]);
    crew(&cx, &tables, 2, move |cx, tables, number| async move {
        let (own, other) = (&tables[number], &tables[1 - number]);
        cx.yield_now().await?;
        if twin.is_fixed() && number == 1 {
            let mut written = other.write(&cx).await?;
            cx.yield_now().await?;
            *written += *own.read(&cx).await?;
            return Ok(());
        }
        let read = own.read(&cx).await?;
        cx.yield_now().await?;
        *other.write(&cx).await? += *read;
        Ok(())
    })
    .await
}

/// A data race in spite of a lock.
async fn write_under_read_lock(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((RwLock::new(()), Var::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, _| async move {
        let (table, hits) = &*shared;
        cx.yield_now().await?;
        let (reading, writing) = match twin {
            Twin::Buggy => (Some(table.read(&cx).await?), None),
            Twin::Fixed => (None, Some(table.write(&cx).await?)),
        };
        let seen = hits.get(&cx).await?;
        hits.set(&cx, seen + 1).await?;
        drop((reading, writing));
        Ok(())
    })
    .await?;
    holds(shared.1.get_now() == 2, "a hit is lost")
}
