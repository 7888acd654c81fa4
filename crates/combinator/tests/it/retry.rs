//! Retries: when attempts start, when they stop, and what is left of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use asupersync_combinator::{
    Backoff, Policy, PolicyError, PolicyEvent, Retry, RetryBudget, RetryDecision, RetryStop,
    TimeoutError, deadline,
};
use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::{Cx, Scope};

use crate::support::{
    AppError, End, FOREVER, Heard, Live, TICK, quiet_panic, stubborn, ticks, under_seeds,
};

/// When the attempts started, in ticks.
#[derive(Default)]
struct Starts(Mutex<Vec<u64>>);

impl Starts {
    fn add(&self, cx: &Cx) -> u32 {
        let mut starts = self.0.lock().expect("no test panics while it holds it");
        starts.push(ticks(cx));
        u32::try_from(starts.len()).expect("they are few")
    }

    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it holds it"))
    }
}

fn exhausted(attempts: u32, why: RetryStop, code: u32) -> PolicyError<AppError> {
    PolicyError::RetriesExhausted {
        attempts,
        why,
        last: Box::new(PolicyError::Failed(AppError::Failed(code))),
    }
}

#[test]
fn attempts_start_after_the_backoff_and_the_last_error_is_told_with_their_number() {
    under_seeds(20, async |cx| {
        let starts = Starts::default();
        let policy = Policy::builder()
            .with(Retry::new(5, Backoff::exponential(TICK, TICK * 5)))
            .build();
        let end = policy
            .run(&cx, async |cx: Cx| {
                let number = starts.add(&cx);
                cx.sleep(TICK).await?;
                Err::<(), _>(AppError::Failed(number))
            })
            .await;
        assert_eq!(end, Outcome::Err(exhausted(5, RetryStop::Attempts, 5)));
        assert_eq!(
            starts.take(),
            [0, 2, 5, 10, 16],
            "1, 2, 4 and 5 after an attempt of 1"
        );
        assert_eq!(ticks(&cx), 17, "nothing is waited for after the last");
    });
}

#[test]
fn nothing_of_an_attempt_is_left_when_the_next_starts() {
    under_seeds(20, async |cx| {
        let (starts, live) = (Starts::default(), Live::default());
        let retry = Retry::new(3, Backoff::constant(TICK)).attempt_timeout(TICK * 10);
        let policy = Policy::builder().with(retry).build();
        let end = policy
            .run(&cx, async |cx: Cx| {
                starts.add(&cx);
                assert_eq!(live.count(), 0, "a task of the attempt before is alive");
                stubborn(cx, live.clone(), FOREVER, TICK * 3).await
            })
            .await;
        let last = Box::new(PolicyError::TimedOut { after: TICK * 10 });
        let expected = PolicyError::RetriesExhausted {
            attempts: 3,
            why: RetryStop::Attempts,
            last,
        };
        assert_eq!((end, live.count()), (Outcome::Err(expected), 0));
        assert_eq!(
            starts.take(),
            [0, 14, 28],
            "10 of work, 3 of cleanup, 1 of backoff"
        );
    });
}

#[test]
fn no_attempt_is_waited_for_that_would_start_after_the_callers_deadline() {
    under_seeds(20, async |cx| {
        let starts = Starts::default();
        let policy = Policy::builder()
            .with(Retry::new(9, Backoff::constant(TICK * 4)))
            .build();
        let end = deadline(&cx, cx.now() + TICK * 10, async |cx: Cx| {
            policy
                .run(&cx, async |cx: Cx| {
                    Err::<(), _>(AppError::Failed(starts.add(&cx)))
                })
                .await
        })
        .await;
        let expected = TimeoutError::Failed(exhausted(3, RetryStop::Time, 3));
        assert_eq!(end, Outcome::Err(expected));
        assert_eq!((starts.take(), ticks(&cx)), (vec![0, 4, 8], 8));
    });
}

#[test]
fn the_total_timeout_bounds_waits_and_attempts() {
    under_seeds(20, async |cx| {
        let starts = Starts::default();
        let retry = Retry::new(9, Backoff::constant(TICK * 4)).total_timeout(TICK * 10);
        let policy = Policy::builder().with(retry).build();
        let end = policy
            .run(&cx, async |cx: Cx| {
                Err::<(), _>(AppError::Failed(starts.add(&cx)))
            })
            .await;
        assert_eq!(end, Outcome::Err(exhausted(3, RetryStop::Time, 3)));
        assert_eq!((starts.take(), ticks(&cx)), (vec![0, 4, 8], 8));
        let end = policy
            .run(&cx, async |cx: Cx| -> Result<(), AppError> {
                Ok(cx.sleep(FOREVER).await?)
            })
            .await;
        let after = TICK * 10;
        assert_eq!(end, Outcome::Err(PolicyError::TimedOut { after }));
        assert_eq!(ticks(&cx), 18);
    });
}

#[test]
fn a_cancellation_and_a_panic_are_not_retried() {
    under_seeds(20, async |cx| {
        let made = AtomicU32::new(0);
        let policy = Policy::builder()
            .with(Retry::new(5, Backoff::none()))
            .build();
        let end = policy
            .run(&cx, async |_: Cx| -> End {
                made.fetch_add(1, Ordering::Relaxed);
                quiet_panic("it broke")
            })
            .await;
        assert_eq!(end.severity(), Severity::Panicked);
        let end = policy
            .run(&cx, async |cx: Cx| -> End {
                made.fetch_add(1, Ordering::Relaxed);
                cx.region(async |scope: Scope<'_, AppError>| {
                    scope.cancel(CancelKind::User);
                    scope.cx().sleep(TICK).await.map_err(AppError::from)
                })
                .await
            })
            .await;
        assert_eq!(end.severity(), Severity::Cancelled);
        assert_eq!(made.into_inner(), 2);
    });
}

#[test]
fn the_budget_bounds_the_retries_of_all_who_share_it() {
    under_seeds(10, async |cx| {
        let made = AtomicU32::new(0);
        let budget = Arc::new(RetryBudget::new(20, 3));
        let policies = [2, 3].map(|attempts| {
            let retry = Retry::new(attempts, Backoff::none()).budget(Arc::clone(&budget));
            Policy::builder().with(retry).build()
        });
        let mut refused = 0;
        for n in 0..40 {
            let end = policies[n % 2]
                .run(&cx, async |_: Cx| {
                    made.fetch_add(1, Ordering::Relaxed);
                    Err::<(), _>(AppError::Failed(1))
                })
                .await;
            let why = RetryStop::Budget;
            refused += u32::from(matches!(
                end,
                Outcome::Err(PolicyError::RetriesExhausted { why: found, .. }) if found == why
            ));
        }
        // The bucket is full when the first pays in.
        let retries = 3 + 39 * 20 / 100;
        assert_eq!(made.into_inner(), 40 + retries);
        assert!(refused > 0);
    });
}

#[test]
fn what_the_rule_gives_up_on_is_the_calls_own_error() {
    under_seeds(5, async |cx| {
        let retry =
            Retry::new(5, Backoff::none()).when(|error: &PolicyError<AppError>| match error {
                PolicyError::Failed(AppError::Failed(1)) => RetryDecision::Retry,
                PolicyError::Failed(AppError::Failed(2)) => RetryDecision::RetryAfter(TICK * 7),
                _ => RetryDecision::GiveUp,
            });
        let (starts, policy) = (Starts::default(), Policy::builder().with(retry).build());
        let end = policy
            .run(&cx, async |cx: Cx| {
                Err::<(), _>(AppError::Failed(starts.add(&cx)))
            })
            .await;
        assert_eq!(end, Outcome::Err(PolicyError::Failed(AppError::Failed(3))));
        assert_eq!(starts.take(), [0, 0, 7]);
    });
}

#[test]
fn a_retry_without_a_wait_gives_others_their_turn() {
    under_seeds(20, async |cx| {
        let policy = Policy::builder()
            .with(Retry::new(u32::MAX, Backoff::none()))
            .build();
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                let flag = Arc::new(AtomicU32::new(0));
                let other = Arc::clone(&flag);
                scope.spawn(async move |_: Cx| {
                    other.store(1, Ordering::Relaxed);
                    Ok::<_, AppError>(())
                });
                let end = policy.run(scope.cx(), async |_: Cx| {
                    match flag.load(Ordering::Relaxed) {
                        0 => Err(AppError::Failed(0)),
                        n => Ok(n),
                    }
                });
                assert_eq!(end.await, Outcome::Ok(1));
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
    });
}

#[test]
fn jitter_is_drawn_from_the_context_and_told_before_it_is_waited_for() {
    let delays = |seed| {
        let heard = Arc::new(Heard::default());
        let observer = Arc::clone(&heard);
        let config = asupersync_lab::LabConfig::default().seed(seed);
        let report = asupersync_lab::LabRuntime::new(config).run(async move |cx: Cx| {
            let policy = Policy::builder()
                .with(Retry::new(6, Backoff::decorrelated(TICK * 10, TICK * 500)))
                .observer(observer)
                .build();
            policy
                .run(&cx, async |_: Cx| Err::<(), _>(AppError::Failed(1)))
                .await
        });
        let waits = heard.take().into_iter().filter_map(|event| match event {
            PolicyEvent::RetryScheduled { after, .. } => Some(after),
            _ => None,
        });
        let waits: Vec<_> = waits.collect();
        assert_eq!(waits.len(), 5);
        assert_eq!(report.elapsed, waits.iter().sum());
        waits
    };
    assert_eq!(delays(7), delays(7));
    assert_ne!(delays(7), delays(8));
    for pair in delays(9).windows(2) {
        assert!(TICK * 10 <= pair[1] && pair[1] <= (pair[0] * 3).min(TICK * 500));
    }
}
