//! A further attempt when the first is slow.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use asupersync_combinator::{AllFailed, Attempt, Hedge, HedgeDelay, HedgeOptions};
use asupersync_core::{CancelKind, Outcome, Severity, Time};
use asupersync_kernel::Cx;

use crate::support::{AppError, FOREVER, TICK, quiet_panic, under_seeds};

fn ticks(cx: &Cx) -> u128 {
    cx.now().saturating_since(Time::ZERO).as_millis()
}

const fn fixed(ticks: u32) -> HedgeOptions {
    HedgeOptions::new(HedgeDelay::Fixed(TICK.saturating_mul(ticks)))
}

async fn work(cx: &Cx, duration: Duration, attempt: &Attempt) -> Result<u32, AppError> {
    cx.sleep(duration).await?;
    Ok(attempt.number())
}

#[test]
fn a_quick_call_makes_one_attempt() {
    under_seeds(10, async |cx| {
        let made = Cell::new(0);
        let hedge = Hedge::new(fixed(10).attempts_max(5));
        let end = hedge
            .run(&cx, async |cx: Cx, attempt: Attempt| {
                made.set(made.get() + 1);
                work(&cx, TICK * 9, &attempt).await
            })
            .await;
        assert_eq!((end, made.get(), ticks(&cx)), (Outcome::Ok(0), 1, 9));
    });
}

#[test]
fn the_first_success_wins_and_the_others_are_told_and_drained() {
    under_seeds(20, async |cx| {
        let ends = RefCell::new(Vec::new());
        let hedge = Hedge::new(fixed(10).attempts_max(3));
        let end = hedge
            .run(&cx, async |cx: Cx, attempt: Attempt| {
                let duration = if attempt.number() == 1 {
                    TICK * 15
                } else {
                    FOREVER
                };
                let end = work(&cx, duration, &attempt).await;
                if end.is_err() {
                    let reason = cx.cancel_reason().map(|reason| reason.kind());
                    assert_eq!(reason, Some(CancelKind::RaceLost));
                    let _ = cx.shield(cx.sleep(TICK * 2)).await;
                    ends.borrow_mut().push((attempt.number(), ticks(&cx)));
                }
                end
            })
            .await;
        assert_eq!(end, Outcome::Ok(1));
        let mut ends = ends.take();
        ends.sort_unstable();
        assert_eq!(
            ends,
            [(0, 27), (2, 27)],
            "attempts at 0, 10 and 20; one won at 25"
        );
    });
}

#[test]
fn a_failure_brings_the_next_attempt_forward_and_all_errors_are_given() {
    under_seeds(10, async |cx| {
        let hedge = Hedge::new(fixed(1000).attempts_max(3));
        let end = hedge
            .run(
                &cx,
                async |cx: Cx, attempt: Attempt| -> Result<u32, AppError> {
                    work(&cx, TICK, &attempt).await?;
                    Err(AppError::Failed(attempt.number()))
                },
            )
            .await;
        let errors = [0, 1, 2].map(AppError::Failed).to_vec();
        assert_eq!((end, ticks(&cx)), (Outcome::Err(AllFailed { errors }), 3));
    });
}

#[test]
fn extra_load_is_limited_by_the_bucket() {
    under_seeds(2, async |cx| {
        let extra = Cell::new(0);
        let hedge = Hedge::new(fixed(1).extra_load(5, 4));
        for _ in 0..200 {
            let end = hedge
                .run(&cx, async |cx: Cx, attempt: Attempt| {
                    extra.set(extra.get() + attempt.number());
                    work(&cx, TICK * 2, &attempt).await
                })
                .await;
            assert_eq!(end, Outcome::Ok(0));
        }
        let paid_in = 199 * 5 / 100;
        assert_eq!(
            extra.get(),
            4 + paid_in,
            "the first call finds the bucket full"
        );
    });
}

#[test]
fn no_more_attempts_run_at_a_time_than_allowed() {
    under_seeds(5, async |cx| {
        let (running, most, made) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let hedge = Hedge::new(fixed(1).attempts_max(6).concurrent_max(2));
        let end = hedge
            .run(
                &cx,
                async |cx: Cx, attempt: Attempt| -> Result<u32, AppError> {
                    made.set(made.get() + 1);
                    running.set(running.get() + 1);
                    most.set(most.get().max(running.get()));
                    let end = work(&cx, TICK * 5, &attempt).await;
                    running.set(running.get() - 1);
                    end?;
                    Err(AppError::Failed(attempt.number()))
                },
            )
            .await;
        assert_eq!(end.severity(), Severity::Err);
        assert_eq!((most.get(), made.get()), (2, 6));
    });
}

#[test]
fn a_server_that_pushes_back_is_heard() {
    under_seeds(5, async |cx| {
        let hedge = Hedge::new(fixed(2).attempts_max(3));
        let made = RefCell::new(Vec::new());
        let end = hedge
            .run(&cx, async |cx: Cx, attempt: Attempt| {
                made.borrow_mut().push(ticks(&cx));
                attempt.stop_hedging();
                work(&cx, TICK * 20, &attempt).await
            })
            .await;
        assert_eq!((end, made.take()), (Outcome::Ok(0), vec![0]));
        let start = ticks(&cx);
        let end = hedge
            .run(
                &cx,
                async |cx: Cx, attempt: Attempt| -> Result<u32, AppError> {
                    made.borrow_mut().push(ticks(&cx) - start);
                    if attempt.number() == 1 {
                        return work(&cx, TICK, &attempt).await;
                    }
                    attempt.hedge_after(TICK * 7);
                    Err(AppError::Failed(attempt.number()))
                },
            )
            .await;
        assert_eq!(end, Outcome::Ok(1));
        assert_eq!(made.take(), [0, 7], "the failure did not bring it forward");
    });
}

#[test]
fn the_delay_follows_the_latencies_seen() {
    under_seeds(2, async |cx| {
        let initial = TICK * 100;
        let delay = HedgeDelay::Percentile {
            percent: 90,
            initial,
        };
        let hedge = Hedge::new(HedgeOptions::new(delay));
        assert_eq!(hedge.delay(), initial);
        for n in 1..=20 {
            let end = hedge.run(&cx, async |cx: Cx, attempt: Attempt| {
                work(&cx, TICK * n, &attempt).await
            });
            assert_eq!(end.await, Outcome::Ok(0));
        }
        assert_eq!(
            hedge.delay(),
            TICK * 15,
            "the 90th percentile of the first 16"
        );
    });
}

#[test]
fn a_panic_of_an_attempt_ends_the_call() {
    under_seeds(5, async |cx| {
        let hedge = Hedge::new(fixed(1).attempts_max(3));
        let end = hedge
            .run(&cx, async |cx: Cx, attempt: Attempt| {
                if attempt.number() == 1 {
                    quiet_panic("the second broke");
                }
                work(&cx, FOREVER, &attempt).await
            })
            .await;
        assert_eq!((end.severity(), ticks(&cx)), (Severity::Panicked, 1));
    });
}
