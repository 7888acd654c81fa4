//! Captured variables and other shared state without a lock.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;

use crate::stage::{End, Twin, boxed, crew, holds};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "captured-loop-variable",
        family: Family::Go,
        pattern: "tasks that are started in a loop read the loop's variable when they run, not when they were started",
        fix: "each gets its value when it is started",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(captured_loop_variable(cx, Twin::Buggy)),
        fixed: |cx| boxed(captured_loop_variable(cx, Twin::Fixed)),
    },
    Program {
        name: "lost-error",
        family: Family::Go,
        pattern: "two tasks write how they ended into one captured variable, and a success overwrites the error",
        fix: "only an error is written",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(lost_error(cx, Twin::Buggy)),
        fixed: |cx| boxed(lost_error(cx, Twin::Fixed)),
    },
    Program {
        name: "start-before-fill",
        family: Family::Go,
        pattern: "a server starts its task before it has filled the field that the task uses",
        fix: "fills the field first",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(start_before_fill(cx, Twin::Buggy)),
        fixed: |cx| boxed(start_before_fill(cx, Twin::Fixed)),
    },
    Program {
        name: "flush-and-reset",
        family: Family::Go,
        pattern: "a flush reads the counter and then sets it to zero, and loses what was counted in between",
        fix: "reads and resets in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(flush_and_reset(cx, Twin::Buggy)),
        fixed: |cx| boxed(flush_and_reset(cx, Twin::Fixed)),
    },
    Program {
        name: "shrinking-list",
        family: Family::Go,
        pattern: "a loop asks for the length of a shared list once, and the list becomes shorter under way",
        fix: "goes through a copy",
        shows: Shows::Panic,
        exhaustible: true,
        buggy: |cx| boxed(shrinking_list(cx, Twin::Buggy)),
        fixed: |cx| boxed(shrinking_list(cx, Twin::Fixed)),
    },
    Program {
        name: "torn-config",
        family: Family::Go,
        pattern: "a reload writes address and port one after the other, and a request connects to a pair that never was",
        fix: "the pair is replaced as a whole",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(torn_config(cx, Twin::Buggy)),
        fixed: |cx| boxed(torn_config(cx, Twin::Fixed)),
    },
];

/// The commonest data race of Go before its loop variables were made anew for each turn.
async fn captured_loop_variable(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(0), <[Var<bool>; 3]>::default()));
    cx.region(async |scope| {
        for number in 0..3 {
            shared.0.set(scope.cx(), number).await?;
            let shared = Arc::clone(&shared);
            scope.spawn(async move |cx: Cx| {
                let (variable, was_seen) = &*shared;
                let own = match twin {
                    Twin::Buggy => variable.get(&cx).await?,
                    Twin::Fixed => number,
                };
                let was_seen = was_seen[own].swap(&cx, true).await?;
                holds(!was_seen, "two tasks have the same turn of the loop")
            });
        }
        End::Ok(())
    })
    .await
    .flatten()
}

/// The outer `err`, assigned by every goroutine.
async fn lost_error(cx: Cx, twin: Twin) -> End {
    let failure = Arc::new(Var::new(None));
    crew(&cx, &failure, 3, move |cx, failure, number| async move {
        let end = (number == 1).then_some("it failed");
        if end.is_some() || twin.is_buggy() {
            failure.set(&cx, end).await?;
        }
        Ok(())
    })
    .await?;
    holds(failure.get_now().is_some(), "nobody hears of the failure")
}

/// An order violation: the goroutine is started in the constructor.
async fn start_before_fill(cx: Cx, twin: Twin) -> End {
    let handler = Arc::new(Var::new(None));
    cx.region(async |scope| {
        if twin.is_fixed() {
            handler.set(scope.cx(), Some(7)).await?;
        }
        let used = Arc::clone(&handler);
        scope.spawn(async move |cx: Cx| {
            let handler = used.get(&cx).await?;
            assert!(handler.is_some(), "the handler is used before it is there");
            End::Ok(())
        });
        if twin.is_buggy() {
            handler.set(scope.cx(), Some(7)).await?;
        }
        End::Ok(())
    })
    .await
    .flatten()
}

/// Two tasks count, one flushes; in the end everything counted must have been flushed or still stand there.
async fn flush_and_reset(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(0), Var::new(0)));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (counter, flushed) = &*shared;
        if number < 2 {
            return Ok(counter.update(&cx, |count| *count += 1).await?);
        }
        let count = match twin {
            Twin::Fixed => counter.swap(&cx, 0).await?,
            Twin::Buggy => {
                let count = counter.get(&cx).await?;
                counter.set(&cx, 0).await?;
                count
            }
        };
        Ok(flushed.set(&cx, count).await?)
    })
    .await?;
    holds(
        shared.0.get_now() + shared.1.get_now() == 2,
        "a count is lost",
    )
}

/// A slice that another goroutine cuts.
async fn shrinking_list(cx: Cx, twin: Twin) -> End {
    let list = Arc::new(Var::new(vec![1, 2, 3]));
    crew(&cx, &list, 2, move |cx, list, number| async move {
        if number == 1 {
            return Ok(list.update(&cx, |list| list.truncate(1)).await?);
        }
        let copy = list.get(&cx).await?;
        for index in 0..copy.len() {
            let item = match twin {
                Twin::Fixed => copy.get(index).copied(),
                Twin::Buggy => list.get(&cx).await?.get(index).copied(),
            };
            assert!(item.is_some(), "the index is beyond the end");
        }
        Ok(())
    })
    .await
}

/// Two fields of one struct, assigned one by one.
async fn torn_config(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(1), Var::new(1), Var::new((1, 1))));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (address, port, pair) = &*shared;
        let read = match (number, twin) {
            (0, Twin::Buggy) => {
                address.set(&cx, 2).await?;
                return Ok(port.set(&cx, 2).await?);
            }
            (0, Twin::Fixed) => return Ok(pair.set(&cx, (2, 2)).await?),
            (_, Twin::Buggy) => (address.get(&cx).await?, port.get(&cx).await?),
            (_, Twin::Fixed) => pair.get(&cx).await?,
        };
        holds(read.0 == read.1, "address and port do not belong together")
    })
    .await
}
