//! Sleeps, intervals and timeouts.

use std::time::Duration;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::Cx;
use asupersync_time::{MissedTick, TimeoutError, interval, timeout};

use crate::support::{AppError, End, FOREVER, Live, Log, TICK, reason_of};

#[test]
fn a_sleep_is_never_early() {
    on_both_hosts(async |cx| {
        for millis in [0, 1, 3] {
            let (duration, before) = (Duration::from_millis(millis), cx.now());
            cx.sleep(duration).await.expect("nothing is cancelled");
            assert!(cx.now() - before >= duration);
        }
        let before = cx.now();
        cx.sleep_until(before + TICK)
            .await
            .expect("nothing is cancelled");
        assert!(cx.now() >= before + TICK);
    });
}

#[test]
fn an_interval_ticks_at_its_pace_and_hears_of_cancellation() {
    on_both_hosts(async |cx| {
        let mut beat = interval(&cx, TICK).missed_tick(MissedTick::Delay);
        let first = beat.tick().await.expect("nothing is cancelled");
        let second = beat.tick().await.expect("nothing is cancelled");
        assert!(second - first >= TICK);
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| -> End {
                    let mut beat = interval(&cx, FOREVER);
                    loop {
                        beat.tick().await?;
                    }
                });
                scope.cx().sleep(TICK).await?;
                task.cancel();
                let reason = reason_of(task.join(scope.cx()).await);
                assert!(!reason.escalated());
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_timeout_cancels_drains_and_then_returns() {
    on_both_hosts(async |cx| {
        let (log, live) = (Log::default(), Live::default());
        let end = timeout(&cx, TICK, async |cx: Cx| {
            let guard = live.enter();
            let slept = cx.sleep(FOREVER).await;
            assert!(slept.is_err());
            let _mask = cx.mask();
            cx.sleep(TICK).await?;
            log.note("cleaned up");
            drop(guard);
            slept?;
            End::Ok(())
        })
        .await;
        assert_eq!(end, Outcome::Err(TimeoutError::Elapsed { after: TICK }));
        assert_eq!(log.notes(), ["cleaned up"]);
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn a_timeout_leaves_no_task_behind() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = timeout(&cx, TICK, async |cx: Cx| {
            let guard = live.enter();
            cx.region(async |scope| -> End {
                scope.spawn(async move |cx: Cx| {
                    let _guard = guard;
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                End::Ok(())
            })
            .await
        })
        .await;
        assert_eq!(end, Outcome::Err(TimeoutError::Elapsed { after: TICK }));
        assert_eq!(
            live.count(),
            0,
            "when the timeout returns, its work has ended"
        );
    });
}

#[test]
fn work_that_ends_in_time_keeps_its_own_end() {
    on_both_hosts(async |cx| {
        let value = timeout(&cx, FOREVER, async |_: Cx| End::Ok(5)).await;
        assert_eq!(value, Outcome::Ok(5));
        let failed: Outcome<(), _> =
            timeout(&cx, FOREVER, async |_: Cx| End::Err(AppError::Failed(1))).await;
        assert_eq!(
            failed,
            Outcome::Err(TimeoutError::Failed(AppError::Failed(1)))
        );
    });
}

#[test]
fn a_callers_own_cancellation_is_no_timeout() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| -> Outcome<(), TimeoutError<AppError>> {
                    timeout(&cx, FOREVER, async |cx: Cx| -> End {
                        cx.sleep(FOREVER).await?;
                        End::Ok(())
                    })
                    .await
                });
                scope
                    .cx()
                    .sleep(TICK)
                    .await
                    .expect("nothing cancels the body");
                task.cancel_with(CancelKind::RaceLost);
                match task.join(scope.cx()).await {
                    Outcome::Cancelled(reason) => {
                        assert_eq!(reason.root_cause().kind(), CancelKind::RaceLost);
                    }
                    other => panic!("expected a cancellation, got {other:?}"),
                }
                Ok::<(), TimeoutError<AppError>>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}
