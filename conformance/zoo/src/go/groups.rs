//! Wait groups and things that are done once.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Condvar, Latch, Mutex, OnceCell, mpsc};

use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows, ZooError};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "late-add",
        family: Family::Go,
        pattern: "a worker adds itself to the wait group, and the wait is over before it has come to that",
        fix: "it is added before it is started",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(late_add(cx, Twin::Buggy)),
        fixed: |cx| boxed(late_add(cx, Twin::Fixed)),
    },
    Program {
        name: "missing-done",
        family: Family::Go,
        pattern: "a worker that finds itself stopped returns without taking itself off the wait group",
        fix: "takes itself off on every way out",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(missing_done(cx, Twin::Buggy)),
        fixed: |cx| boxed(missing_done(cx, Twin::Fixed)),
    },
    Program {
        name: "double-done",
        family: Family::Go,
        pattern: "a worker and its watchdog both take the worker off the wait group, whose count goes below zero",
        fix: "who is first to mark the work as finished takes it off",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(double_done(cx, Twin::Buggy)),
        fixed: |cx| boxed(double_done(cx, Twin::Fixed)),
    },
    Program {
        name: "group-reuse",
        family: Family::Go,
        pattern: "a wait group is used again before who waited for its first round has seen the zero",
        fix: "each round has a group of its own",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(group_reuse(cx, Twin::Buggy)),
        fixed: |cx| boxed(group_reuse(cx, Twin::Fixed)),
    },
    Program {
        name: "once-circle",
        family: Family::Go,
        pattern: "what is done once waits for a message from a task that first waits for it to be done",
        fix: "the message is sent before that",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(once_circle(cx, Twin::Buggy)),
        fixed: |cx| boxed(once_circle(cx, Twin::Fixed)),
    },
];

/// A wait group, as Go has it: a count and those who wait for it to be zero.
#[derive(Default)]
struct Group {
    count: Mutex<i32>,
    zero: Condvar,
}

impl Group {
    async fn add(&self, cx: &Cx, change: i32) -> End {
        let mut count = lock(cx, &self.count).await?;
        *count += change;
        assert!(*count >= 0, "the count of a wait group is below zero");
        if *count == 0 {
            self.zero.notify_all();
        }
        Ok(())
    }

    async fn wait(&self, cx: &Cx) -> End {
        let count = lock(cx, &self.count).await?;
        drop(self.zero.wait_while(cx, count, |count| *count != 0).await?);
        Ok(())
    }
}

/// Two workers; who waits wants the work of both.
async fn late_add(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Group::default(), Var::new(0)));
    cx.region(async |scope| {
        let (group, done) = &*shared;
        for _ in 0..2 {
            if twin.is_fixed() {
                group.add(scope.cx(), 1).await?;
            }
            let shared = Arc::clone(&shared);
            scope.spawn(async move |cx: Cx| {
                let (group, done) = &*shared;
                if twin.is_buggy() {
                    group.add(&cx, 1).await?;
                }
                done.update(&cx, |count| *count += 1).await?;
                group.add(&cx, -1).await
            });
        }
        group.wait(scope.cx()).await?;
        holds(
            done.get(scope.cx()).await? == 2,
            "the wait is over before the work",
        )
    })
    .await
    .flatten()
}

/// The worker looks once whether it is stopped.
async fn missing_done(cx: Cx, twin: Twin) -> End {
    let group = Group {
        count: Mutex::new(1),
        zero: Condvar::new(),
    };
    let shared = Arc::new((group, Var::new(false)));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (group, is_stopped) = &*shared;
        match number {
            0 => group.wait(&cx).await,
            1 => Ok(is_stopped.set(&cx, true).await?),
            _ => {
                if is_stopped.get(&cx).await? && twin.is_buggy() {
                    return Ok(());
                }
                group.add(&cx, -1).await
            }
        }
    })
    .await
}

/// The watchdog gives the worker up unless it has finished.
async fn double_done(cx: Cx, twin: Twin) -> End {
    let group = Group {
        count: Mutex::new(1),
        zero: Condvar::new(),
    };
    let shared = Arc::new((group, Var::new(false)));
    crew(&cx, &shared, 2, move |cx, shared, _| async move {
        let (group, is_finished) = &*shared;
        let is_first = if twin.is_fixed() {
            !is_finished.swap(&cx, true).await?
        } else {
            let is_first = !is_finished.get(&cx).await?;
            is_finished.set(&cx, true).await?;
            is_first
        };
        if is_first {
            group.add(&cx, -1).await?;
        }
        Ok(())
    })
    .await
}

/// The second round ends only after the first was waited for.
async fn group_reuse(cx: Cx, twin: Twin) -> End {
    let first = Group {
        count: Mutex::new(1),
        zero: Condvar::new(),
    };
    let shared = Arc::new((first, Group::default(), Latch::new(1)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (first, own, is_past) = &*shared;
        if number == 0 {
            first.wait(&cx).await?;
            is_past.count_down();
            return Ok(());
        }
        first.add(&cx, -1).await?;
        let second = if twin.is_buggy() { first } else { own };
        second.add(&cx, 1).await?;
        is_past.wait(&cx).await?;
        second.add(&cx, -1).await
    })
    .await
}

/// Both tasks make sure that the set-up is done; one of them also sends what the set-up waits for if the other does it.
async fn once_circle(cx: Cx, twin: Twin) -> End {
    let cell = Arc::new(OnceCell::new());
    let (tx, mut rx) = mpsc::channel(1);
    let other = Arc::clone(&cell);
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            let answer = async || rx.recv(&cx).await.unwrap_or_default();
            cell.get_or_init(&cx, answer).await?;
            End::Ok(())
        });
        scope.spawn(async move |cx: Cx| {
            if twin.is_fixed() {
                cx.yield_now().await?;
                tx.send(&cx, 1).await?;
            }
            cx.yield_now().await?;
            other.get_or_init(&cx, async || 1).await?;
            if twin.is_buggy() {
                // The other task may have left with the answer of this one.
                let _ = tx.send(&cx, 1).await;
            }
            Ok::<_, ZooError>(())
        });
        End::Ok(())
    })
    .await
    .flatten()
}
