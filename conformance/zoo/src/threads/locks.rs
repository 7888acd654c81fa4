//! Locks that wait for each other, and locks made by hand.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Condvar, Mutex, RwLock, Semaphore};

use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "abba-locks",
        family: Family::Threads,
        pattern: "two tasks take the same two locks in opposite order",
        fix: "both take them in the same order",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(abba_locks(cx, Twin::Buggy)),
        fixed: |cx| boxed(abba_locks(cx, Twin::Fixed)),
    },
    Program {
        name: "philosophers-4",
        family: Family::Threads,
        pattern: "four philosophers take the left fork first",
        fix: "each takes the fork with the lower number first",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(philosophers(cx, Twin::Buggy, 4)),
        fixed: |cx| boxed(philosophers(cx, Twin::Fixed, 4)),
    },
    Program {
        name: "philosophers-7",
        family: Family::Threads,
        pattern: "seven philosophers take the left fork first, so all seven must have taken one before any takes two",
        fix: "each takes the fork with the lower number first",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(philosophers(cx, Twin::Buggy, 7)),
        fixed: |cx| boxed(philosophers(cx, Twin::Fixed, 7)),
    },
    Program {
        name: "carter",
        family: Family::Threads,
        pattern: "who comes first of its side waits for the resource with the counters' lock in its hands, which the other side needs to give the resource back",
        fix: "waits for the resource before it takes the counters' lock",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(carter(cx, Twin::Buggy)),
        fixed: |cx| boxed(carter(cx, Twin::Fixed)),
    },
    Program {
        name: "phases",
        family: Family::Threads,
        pattern: "the first phase leaves its lock for the second to open, which has come and gone",
        fix: "each phase opens what it has closed",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(phases(cx, Twin::Buggy)),
        fixed: |cx| boxed(phases(cx, Twin::Fixed)),
    },
    Program {
        name: "upgrade",
        family: Family::Threads,
        pattern: "two readers keep their reading and wait to be the only one, in order to write",
        fix: "takes the one place of a reader that may become the writer",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(upgrade(cx, Twin::Buggy)),
        fixed: |cx| boxed(upgrade(cx, Twin::Fixed)),
    },
    Program {
        name: "handmade-rwlock",
        family: Family::Threads,
        pattern: "reader and writer each look whether the other is in, and then go in",
        fix: "each says that it comes before it looks, and goes away again if the other is there",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(handmade_rwlock(cx, Twin::Buggy)),
        fixed: |cx| boxed(handmade_rwlock(cx, Twin::Fixed)),
    },
];

/// The pattern of SCTBench's `deadlock01`.
async fn abba_locks(cx: Cx, twin: Twin) -> End {
    let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
    crew(&cx, &locks, 2, move |cx, locks, number| async move {
        let first = if twin.is_buggy() { number } else { 0 };
        let one = lock(&cx, &locks[first]).await?;
        let two = lock(&cx, &locks[1 - first]).await?;
        drop((one, two));
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `din_phil`: each eats once.
async fn philosophers(cx: Cx, twin: Twin, count: usize) -> End {
    let forks: Arc<Vec<_>> = Arc::new((0..count).map(|_| Mutex::new(())).collect());
    crew(&cx, &forks, count, move |cx, forks, number| async move {
        let next = (number + 1) % count;
        let (first, second) = match twin {
            Twin::Buggy => (number, next),
            Twin::Fixed => (number.min(next), number.max(next)),
        };
        let one = lock(&cx, &forks[first]).await?;
        let two = lock(&cx, &forks[second]).await?;
        drop((one, two));
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `carter01`: each side counts its own, and the first and the last of a side take and give the resource.
async fn carter(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new([0, 0]), Mutex::new(())));
    crew(&cx, &shared, 2, move |cx, shared, side| async move {
        let (counters, resource) = &*shared;
        let early = match twin {
            Twin::Fixed => Some(lock(&cx, resource).await?),
            Twin::Buggy => None,
        };
        let mut held = early;
        {
            let mut counters = lock(&cx, counters).await?;
            counters[side] += 1;
            if counters[side] == 1 && held.is_none() {
                held = Some(lock(&cx, resource).await?);
            }
        }
        {
            let mut counters = lock(&cx, counters).await?;
            counters[side] -= 1;
            if counters[side] == 0 {
                held = None;
            }
        }
        drop(held);
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `phase01`: a lock that is taken in one place and given in another.
async fn phases(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Semaphore::new(1), Var::new(false)));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (gate, is_closed) = &*shared;
        match number {
            0 => {
                cx.yield_now().await?;
                gate.acquire(&cx).await?.forget();
                is_closed.set(&cx, true).await?;
                if twin.is_fixed() {
                    is_closed.set(&cx, false).await?;
                    gate.add_permits(1);
                }
            }
            1 => {
                if is_closed.get(&cx).await? && twin.is_buggy() {
                    gate.add_permits(1);
                }
            }
            _ => {
                cx.yield_now().await?;
                drop(gate.acquire(&cx).await?);
            }
        }
        Ok(())
    })
    .await
}

/// Two readers of one lock become its writer: with a count and a condition variable, or with the upgradable reader.
async fn upgrade(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(0), Condvar::new(), RwLock::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, _| async move {
        let (readers, left, value) = &*shared;
        if twin.is_fixed() {
            cx.yield_now().await?;
            let reading = value.upgradable_read(&cx).await?;
            cx.yield_now().await?;
            *reading.upgrade(&cx).await? += 1;
            return Ok(());
        }
        *lock(&cx, readers).await? += 1;
        let readers = lock(&cx, readers).await?;
        let mut readers = left
            .wait_while(&cx, readers, |readers| *readers > 1)
            .await?;
        *readers -= 1;
        left.notify_all();
        Ok(())
    })
    .await
}

/// Mutual exclusion of a reader and a writer with two flags and no lock.
async fn handmade_rwlock(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((<[Var<bool>; 2]>::default(), Var::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (is_in, count) = &*shared;
        if twin.is_fixed() {
            is_in[number].set(&cx, true).await?;
        }
        if is_in[1 - number].get(&cx).await? {
            return is_in[number].set(&cx, false).await.map_err(Into::into);
        }
        is_in[number].set(&cx, true).await?;
        let others = count
            .update(&cx, |count| std::mem::replace(count, *count + 1))
            .await?;
        holds(others == 0, "reader and writer are both in")?;
        count.update(&cx, |count| *count -= 1).await?;
        is_in[number].set(&cx, false).await?;
        Ok(())
    })
    .await
}
