//! Updates that are not as whole as they look.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Latch, Mutex};

use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "account",
        family: Family::Threads,
        pattern: "a deposit and a withdrawal say that they are done before they are, and a checker believes them",
        fix: "each says so after its change",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(account(cx, Twin::Buggy)),
        fixed: |cx| boxed(account(cx, Twin::Fixed)),
    },
    Program {
        name: "overdraft",
        family: Family::Threads,
        pattern: "a withdrawal looks at the balance and takes from it in two steps, so two of them take the same money",
        fix: "looks and takes in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(overdraft(cx, Twin::Buggy)),
        fixed: |cx| boxed(overdraft(cx, Twin::Fixed)),
    },
    Program {
        name: "ids",
        family: Family::Threads,
        pattern: "workers draw their numbers from a counter that they read and write in two steps, so two get the same",
        fix: "draws a number in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(ids(cx, Twin::Buggy)),
        fixed: |cx| boxed(ids(cx, Twin::Fixed)),
    },
    Program {
        name: "paired-counters",
        family: Family::Threads,
        pattern: "of eight tasks every two share a counter, and add to it by reading and writing",
        fix: "adds in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(paired_counters(cx, Twin::Buggy)),
        fixed: |cx| boxed(paired_counters(cx, Twin::Fixed)),
    },
    Program {
        name: "last-reference",
        family: Family::Threads,
        pattern: "holders count themselves off in two steps, so that none of them is the last and nothing is freed",
        fix: "counts off in one step, and who brings the count to zero frees",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(last_reference(cx, Twin::Buggy)),
        fixed: |cx| boxed(last_reference(cx, Twin::Fixed)),
    },
    Program {
        name: "lazy",
        family: Family::Threads,
        pattern: "a reader takes it for granted that it comes before both writers have written",
        fix: "the writers wait for the reader",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(lazy(cx, Twin::Buggy)),
        fixed: |cx| boxed(lazy(cx, Twin::Fixed)),
    },
    Program {
        name: "twostage",
        family: Family::Threads,
        pattern: "two values that belong together are written under two locks, and a reader comes in between",
        fix: "the first lock is kept until the second value is written",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(two_stage(cx, Twin::Buggy, 1, 1)),
        fixed: |cx| boxed(two_stage(cx, Twin::Fixed, 1, 1)),
    },
    Program {
        name: "twostage-crowd",
        family: Family::Threads,
        pattern: "as `twostage`, with five writers of which the first to end closes the gap, and one reader",
        fix: "the first lock is kept until the second value is written",
        shows: Shows::Error,
        exhaustible: false,
        buggy: |cx| boxed(two_stage(cx, Twin::Buggy, 5, 1)),
        fixed: |cx| boxed(two_stage(cx, Twin::Fixed, 5, 1)),
    },
    Program {
        name: "wronglock",
        family: Family::Threads,
        pattern: "one of two writers guards the value with another lock",
        fix: "both take the same lock",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(wrong_lock(cx, Twin::Buggy, 2)),
        fixed: |cx| boxed(wrong_lock(cx, Twin::Fixed, 2)),
    },
    Program {
        name: "wronglock-4",
        family: Family::Threads,
        pattern: "one of four writers guards the value with another lock",
        fix: "all take the same lock",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(wrong_lock(cx, Twin::Buggy, 4)),
        fixed: |cx| boxed(wrong_lock(cx, Twin::Fixed, 4)),
    },
    Program {
        name: "token-ring",
        family: Family::Threads,
        pattern: "each station copies its neighbour's token as soon as it runs, whether that has come or not",
        fix: "each station waits for its neighbour",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(token_ring(cx, Twin::Buggy)),
        fixed: |cx| boxed(token_ring(cx, Twin::Fixed)),
    },
    Program {
        name: "progress",
        family: Family::Threads,
        pattern: "a handler saves how far a download has come while the two numbers that say it are being written",
        fix: "both numbers are one variable",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(progress(cx, Twin::Buggy)),
        fixed: |cx| boxed(progress(cx, Twin::Fixed)),
    },
];

struct Account {
    twin: Twin,
    balance: Mutex<i64>,
    is_done: [Var<bool>; 2],
}

/// The pattern of SCTBench's `account`: one task adds 50, one takes 30, one checks once both are done.
async fn account(cx: Cx, twin: Twin) -> End {
    let account = Arc::new(Account {
        twin,
        balance: Mutex::new(100),
        is_done: Default::default(),
    });
    crew(&cx, &account, 3, |cx, account, number| async move {
        match number {
            0 => change(&cx, &account, 0, 50).await,
            1 => change(&cx, &account, 1, -30).await,
            _ => check(&cx, &account).await,
        }
    })
    .await
}

async fn change(cx: &Cx, account: &Account, number: usize, amount: i64) -> End {
    if account.twin.is_buggy() {
        account.is_done[number].set(cx, true).await?;
    }
    *lock(cx, &account.balance).await? += amount;
    if account.twin.is_fixed() {
        account.is_done[number].set(cx, true).await?;
    }
    Ok(())
}

async fn check(cx: &Cx, account: &Account) -> End {
    let first = account.is_done[0].get(cx).await?;
    if first && account.is_done[1].get(cx).await? {
        let balance = *lock(cx, &account.balance).await?;
        holds(balance == 120, "both are done, and the balance is another")?;
    }
    Ok(())
}

/// The check-then-act of every bank: two tasks take 60 each from 100.
async fn overdraft(cx: Cx, twin: Twin) -> End {
    let balance = Arc::new(Var::new(100));
    crew(&cx, &balance, 2, move |cx, balance, _| async move {
        if twin.is_buggy() {
            if balance.get(&cx).await? >= 60 {
                balance.update(&cx, |balance| *balance -= 60).await?;
            }
        } else {
            let take = |balance: &mut i32| *balance -= if *balance >= 60 { 60 } else { 0 };
            balance.update(&cx, take).await?;
        }
        Ok(())
    })
    .await?;
    holds(balance.get_now() >= 0, "the balance is below zero")
}

/// Reads and writes in two steps, or adds in one; gives what was there.
async fn add_one(cx: &Cx, counter: &Var<usize>, twin: Twin) -> Result<usize, crate::ZooError> {
    if twin.is_fixed() {
        let add = |count: &mut usize| std::mem::replace(count, *count + 1);
        return Ok(counter.update(cx, add).await?);
    }
    let seen = counter.get(cx).await?;
    counter.set(cx, seen + 1).await?;
    Ok(seen)
}

/// The pattern of SCTBench's SPLASH-2 programs, whose workers number themselves at the start.
async fn ids(cx: Cx, twin: Twin) -> End {
    let next = Arc::new((Var::new(0), <[Var<bool>; 4]>::default()));
    crew(&cx, &next, 4, move |cx, next, _| async move {
        let id = add_one(&cx, &next.0, twin).await?;
        let was_taken = next.1[id].swap(&cx, true).await?;
        holds(!was_taken, "two workers have the same number")
    })
    .await
}

/// A lost update in each of four places; no two pairs depend on each other.
async fn paired_counters(cx: Cx, twin: Twin) -> End {
    let counters = Arc::new(<[Var<usize>; 4]>::default());
    crew(&cx, &counters, 8, move |cx, counters, number| async move {
        add_one(&cx, &counters[number / 2], twin).await?;
        Ok(())
    })
    .await?;
    let is_whole = counters.iter().all(|counter| counter.get_now() == 2);
    holds(is_whole, "an addition is lost")
}

/// The pattern of the reference counts in SCTBench's RadBench programs.
async fn last_reference(cx: Cx, twin: Twin) -> End {
    let object = Arc::new((Var::new(3), Var::new(0)));
    crew(&cx, &object, 3, move |cx, object, _| async move {
        let (count, freed) = &*object;
        let left = if twin.is_buggy() {
            let seen = count.get(&cx).await?;
            count.set(&cx, seen - 1).await?;
            seen - 1
        } else {
            let off = |count: &mut i32| {
                *count -= 1;
                *count
            };
            count.update(&cx, off).await?
        };
        if left == 0 {
            freed.update(&cx, |times| *times += 1).await?;
        }
        Ok(())
    })
    .await?;
    holds(object.1.get_now() == 1, "it is not freed once")
}

/// The pattern of SCTBench's `lazy01`: one adds one, one adds two, one sees three too early.
async fn lazy(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(0), Latch::new(1)));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (data, has_read) = &*shared;
        if number == 2 {
            let seen = *lock(&cx, data).await?;
            has_read.count_down();
            return holds(seen < 3, "the reader comes last");
        }
        if twin.is_fixed() {
            has_read.wait(&cx).await?;
        }
        *lock(&cx, data).await? += if number == 0 { 1 } else { 2 };
        Ok(())
    })
    .await
}

/// The pattern of SCTBench's `twostage`: the second value is the first plus one, in the end.
async fn two_stage(cx: Cx, twin: Twin, writers: usize, readers: usize) -> End {
    let data = Arc::new((Mutex::new(0), Mutex::new(0)));
    crew(
        &cx,
        &data,
        writers + readers,
        move |cx, data, number| async move {
            let (first, second) = &*data;
            if number >= writers {
                let seen = *lock(&cx, first).await?;
                if seen == 0 {
                    return Ok(());
                }
                let other = *lock(&cx, second).await?;
                return holds(other == seen + 1, "the second value is not there yet");
            }
            let mut guard = lock(&cx, first).await?;
            *guard = 1;
            if twin.is_buggy() {
                drop(guard);
                *lock(&cx, second).await? = 2;
            } else {
                *lock(&cx, second).await? = 2;
            }
            Ok(())
        },
    )
    .await
}

/// The pattern of SCTBench's `wronglock`: the last writer takes the other lock.
async fn wrong_lock(cx: Cx, twin: Twin, writers: usize) -> End {
    let shared = Arc::new((Mutex::new(()), Mutex::new(()), Var::new(0)));
    crew(
        &cx,
        &shared,
        writers,
        move |cx, shared, number| async move {
            let (right, wrong, value) = &*shared;
            let is_wrong = twin.is_buggy() && number + 1 == writers;
            let guard = lock(&cx, if is_wrong { wrong } else { right }).await?;
            let seen = value.get(&cx).await?;
            value.set(&cx, seen + 1).await?;
            drop(guard);
            Ok(())
        },
    )
    .await?;
    holds(shared.2.get_now() == writers, "an addition is lost")
}

/// The pattern of SCTBench's `token_ring`: one round, after which all stations have the same.
async fn token_ring(cx: Cx, twin: Twin) -> End {
    let ring = Arc::new((<[Var<u32>; 4]>::default(), [(); 4].map(|()| Latch::new(1))));
    crew(&cx, &ring, 4, move |cx, ring, number| async move {
        let (tokens, passed) = &*ring;
        let token = match number {
            0 => 1,
            _ => {
                if twin.is_fixed() {
                    passed[number - 1].wait(&cx).await?;
                }
                tokens[number - 1].get(&cx).await?
            }
        };
        tokens[number].set(&cx, token).await?;
        passed[number].count_down();
        Ok(())
    })
    .await?;
    let has_come = ring.0.iter().all(|token| token.get_now() == 1);
    holds(has_come, "the token did not come round")
}

/// The pattern of SCTBench's `aget`: what the handler saves must be enough to go on from there.
async fn progress(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(0), Var::new(0), Var::new((0, 0))));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (written, offset, both) = &*shared;
        match (number, twin) {
            (0, Twin::Buggy) => {
                for chunk in 1..=2 {
                    offset.set(&cx, chunk).await?;
                    written.set(&cx, chunk).await?;
                }
            }
            (0, Twin::Fixed) => {
                for chunk in 1..=2 {
                    both.set(&cx, (chunk, chunk)).await?;
                }
            }
            (_, Twin::Buggy) => {
                let saved = (offset.get(&cx).await?, written.get(&cx).await?);
                holds(saved.0 <= saved.1, "a chunk would be left out")?;
            }
            (_, Twin::Fixed) => {
                let saved = both.get(&cx).await?;
                holds(saved.0 <= saved.1, "a chunk would be left out")?;
            }
        }
        Ok(())
    })
    .await
}
