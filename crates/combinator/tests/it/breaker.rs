//! The circuit breaker: what it lets through, and what it makes of how calls end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use asupersync_combinator::{
    BreakerChange, BreakerOptions, BreakerPermit, BreakerState, Bulkhead, BulkheadOptions,
    CircuitBreaker, Policy, PolicyError, Timeout, Window,
};
use asupersync_core::{CancelKind, Outcome, Severity, Time};
use asupersync_kernel::{Cx, Scope};

use crate::support::{AppError, End, FOREVER, TICK, quiet_panic, ticks, under_seeds};

fn options() -> BreakerOptions {
    BreakerOptions::new(Window::Calls(4))
        .calls_min(4)
        .open_for(TICK * 10)
        .probes(2)
}

async fn fails(_: Cx) -> End {
    Outcome::Err(AppError::Failed(1))
}

async fn succeeds(_: Cx) -> End {
    Outcome::Ok(())
}

/// Opens a breaker by failures.
async fn open<R>(cx: &Cx, breaker: &Arc<CircuitBreaker<R>>)
where
    R: asupersync_combinator::FailureRule<AppError> + 'static,
{
    let policy = Policy::builder().with(Arc::clone(breaker)).build();
    for _ in 0..4 {
        assert_eq!(policy.run(cx, fails).await.severity(), Severity::Err);
    }
    assert_eq!(breaker.metrics(cx).state, BreakerState::Open);
}

#[test]
fn it_opens_keeps_calls_away_probes_and_closes_at_exact_times() {
    under_seeds(20, async |cx| {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&changes);
        let breaker = CircuitBreaker::new(options())
            .on_change(move |change| listener.lock().unwrap().push(change));
        let breaker = Arc::new(breaker);
        let policy = Policy::builder().with(Arc::clone(&breaker)).build();
        open(&cx, &breaker).await;
        assert!(cx.sleep(TICK * 9).await.is_ok());
        let end = policy
            .run(&cx, async |_: Cx| -> End { panic!("it is started") })
            .await;
        let retry_after = Some(TICK);
        assert_eq!(end, Outcome::Err(PolicyError::CircuitOpen { retry_after }));
        assert!(cx.sleep(TICK).await.is_ok());
        for _ in 0..2 {
            assert!(policy.run(&cx, succeeds).await.is_ok());
        }
        let change = |from, to, millis| BreakerChange {
            from,
            to,
            at: Time::from_millis(millis),
        };
        use BreakerState::{Closed, HalfOpen, Open};
        let expected = [
            change(Closed, Open, 0),
            change(Open, HalfOpen, 10),
            change(HalfOpen, Closed, 10),
        ];
        assert_eq!(*changes.lock().unwrap(), expected);
        assert_eq!(breaker.metrics(&cx).rejected, 1);
    });
}

#[test]
fn of_many_that_come_at_once_only_the_probes_are_let_through() {
    under_seeds(20, async |cx| {
        let breaker = Arc::new(CircuitBreaker::new(options()));
        open(&cx, &breaker).await;
        assert!(cx.sleep(TICK * 10).await.is_ok());
        let running = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..20 {
                    let policy = Policy::builder().with(Arc::clone(&breaker)).build();
                    let running = Arc::clone(&running);
                    // A task: so the policy's future is `Send`.
                    scope.spawn(async move |cx: Cx| {
                        let end = policy
                            .run(&cx, async |cx: Cx| {
                                running.fetch_add(1, Ordering::Relaxed);
                                cx.sleep(TICK).await.map_err(AppError::from)
                            })
                            .await;
                        assert!(end.is_ok() || ticks(&cx) == 10, "kept away at once");
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!(running.load(Ordering::Relaxed), 2);
        let metrics = breaker.metrics(&cx);
        assert_eq!(
            (metrics.state, metrics.rejected),
            (BreakerState::Closed, 18)
        );
    });
}

#[test]
fn a_probe_that_is_cancelled_or_dropped_gives_its_place_back() {
    under_seeds(20, async |cx| {
        let breaker = Arc::new(CircuitBreaker::new(options()));
        open(&cx, &breaker).await;
        assert!(cx.sleep(TICK * 10).await.is_ok());
        let policy = Policy::builder()
            .with(Timeout::new(TICK))
            .with(Arc::clone(&breaker))
            .build();
        // More often than there are places.
        for _ in 0..5 {
            let end = policy
                .run(&cx, async |cx: Cx| {
                    cx.sleep(FOREVER).await.map_err(AppError::from)
                })
                .await;
            assert_eq!(end, Outcome::Err(PolicyError::TimedOut { after: TICK }));
            let permits: Vec<BreakerPermit<'_>> = (0..2)
                .map(|_| breaker.enter::<_, AppError>(&cx).expect("a place is free"))
                .collect();
            assert!(breaker.enter::<_, AppError>(&cx).is_err());
            drop(permits);
        }
        let metrics = breaker.metrics(&cx);
        assert_eq!((metrics.state, metrics.probes), (BreakerState::HalfOpen, 0));
    });
}

#[test]
fn timeouts_and_panics_are_failures_and_rejections_are_not() {
    under_seeds(10, async |cx| {
        let breaker = Arc::new(CircuitBreaker::new(options()));
        let bulkhead = Arc::new(Bulkhead::new(BulkheadOptions::new(1)));
        let policy = Policy::builder()
            .with(Arc::clone(&breaker))
            .with(Arc::clone(&bulkhead))
            .with(Timeout::new(TICK))
            .build();
        let taken = bulkhead.enter::<_, AppError>(&cx).await;
        for _ in 0..9 {
            let end = policy.run(&cx, succeeds).await;
            assert!(matches!(
                end,
                Outcome::Err(PolicyError::BulkheadFull { .. })
            ));
        }
        drop(taken);
        assert_eq!(breaker.metrics(&cx).calls, 0, "they were not made");
        for panics in [true, false, true, false] {
            let end = policy.run(&cx, async |cx: Cx| -> End {
                if panics {
                    quiet_panic("it broke");
                }
                cx.sleep(FOREVER).await.map_or_else(
                    |cancelled| Outcome::Cancelled(cancelled.into_reason()),
                    Outcome::Ok,
                )
            });
            assert!(!end.await.is_ok());
        }
        assert_eq!(breaker.metrics(&cx).state, BreakerState::Open);
    });
}

#[test]
fn a_rule_says_what_is_a_failure() {
    under_seeds(5, async |cx| {
        let breaker = CircuitBreaker::new(options()).failure_if(|error: &PolicyError<AppError>| {
            !matches!(error, PolicyError::Failed(AppError::Failed(1)))
        });
        let policy = Policy::builder().with(&breaker).build();
        for _ in 0..9 {
            assert_eq!(policy.run(&cx, fails).await.severity(), Severity::Err);
        }
        let metrics = breaker.metrics(&cx);
        assert_eq!((metrics.state, metrics.failures), (BreakerState::Closed, 0));
    });
}

#[test]
fn what_is_set_by_hand_holds_and_calls_under_way_count_no_more() {
    under_seeds(10, async |cx| {
        let breaker = Arc::new(CircuitBreaker::new(options().calls_min(1)));
        let policy = Policy::builder().with(Arc::clone(&breaker)).build();
        breaker.set(&cx, BreakerState::ForcedOpen);
        let end = policy.run(&cx, succeeds).await;
        let retry_after = None;
        assert_eq!(end, Outcome::Err(PolicyError::CircuitOpen { retry_after }));
        breaker.set(&cx, BreakerState::Closed);
        let permit = breaker.enter::<_, AppError>(&cx).expect("it is closed");
        breaker.set(&cx, BreakerState::ForcedClosed);
        breaker.set(&cx, BreakerState::Closed);
        permit.failed(&cx);
        assert_eq!(breaker.metrics(&cx).calls, 0);
        breaker
            .enter::<_, AppError>(&cx)
            .expect("it is closed")
            .failed(&cx);
        assert_eq!(breaker.metrics(&cx).state, BreakerState::Open);
    });
}

#[test]
fn a_cancelled_caller_enters_nothing() {
    under_seeds(5, async |cx| {
        let breaker = CircuitBreaker::new(options());
        let policy = Policy::builder().with(&breaker).build();
        let end = cx
            .region(async |scope: Scope<'_, PolicyError<AppError>>| {
                scope.cancel(CancelKind::User);
                policy.run(scope.cx(), succeeds).await
            })
            .await;
        assert_eq!(end.severity(), Severity::Cancelled);
        assert_eq!(breaker.metrics(&cx).calls, 0);
    });
}
