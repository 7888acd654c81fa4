//! Building a runtime and entering it.

use std::cell::Cell;
use std::rc::Rc;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_runtime::{BuildError, RuntimeBuilder};

use crate::support::{End, run_on, runtime};

#[test]
fn numbers_out_of_range_are_refused() {
    for workers in [0, 65] {
        let error = RuntimeBuilder::new().worker_threads(workers).build().err();
        assert!(
            matches!(error, Some(BuildError::WorkerThreads { actual }) if actual == workers),
            "{error:?}"
        );
    }
    for builder in [
        RuntimeBuilder::new().cancel_streak_limit(0),
        RuntimeBuilder::new().timed_streak_limit(0),
    ] {
        let error = builder.build().err();
        assert!(matches!(error, Some(BuildError::StreakLimit)), "{error:?}");
    }
}

#[test]
fn the_root_body_may_borrow_and_need_not_be_send() {
    for workers in [1, 3] {
        let shared = Rc::new(Cell::new(1));
        let mut steps = Vec::new();
        let words = ["one".to_owned(), "two".to_owned()];
        let sum = run_on(&mut runtime(workers), async |cx| {
            let home = std::thread::current().id();
            for word in &words {
                cx.yield_now().await?;
                shared.set(shared.get() + word.len());
                steps.push(word.as_str());
                assert_eq!(std::thread::current().id(), home);
            }
            End::Ok(shared.get())
        });
        assert_eq!(sum, 7);
        assert_eq!(steps, ["one", "two"]);
    }
}

#[test]
fn one_runtime_runs_one_program_after_another() {
    let mut runtime = runtime(2);
    for round in 0..20 {
        let end = run_on(&mut runtime, async |cx| {
            cx.region(async |scope| {
                let child = scope.spawn(async move |cx: Cx| {
                    cx.yield_now().await?;
                    End::Ok(round)
                });
                child.join(scope.cx()).await.flatten()
            })
            .await
            .flatten()
        });
        assert_eq!(end, round);
    }
}

#[test]
fn a_program_that_panicked_leaves_the_runtime_usable() {
    let mut runtime = runtime(2);
    let end = runtime.block_on(async |cx| {
        cx.yield_now().await?;
        if cx.task_id().is_some() {
            panic!("the root body's panic");
        }
        End::Ok(())
    });
    assert!(
        matches!(end, Outcome::Panicked(payload) if payload.message() == "the root body's panic")
    );
    assert_eq!(run_on(&mut runtime, async |_| End::Ok(5)), 5);
}

#[test]
fn block_on_inside_a_task_panics_and_says_what_to_do() {
    let message = run_on(&mut runtime(2), async |cx| {
        let end = cx
            .region(async |scope| {
                let child = scope.spawn(async |_: Cx| {
                    let inner = runtime(1).block_on(async |_| End::Ok(1));
                    inner.flatten()
                });
                End::Ok(child.join(scope.cx()).await)
            })
            .await;
        match end {
            Outcome::Ok(Outcome::Panicked(payload)) => End::Ok(payload.message().to_owned()),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(
        message,
        "`block_on` was called by a task; await the future instead, or use `cx.blocking`"
    );
}
