//! A timeout is a race with a sleep: the loser is cancelled and drained.

use std::time::Duration;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::Cx;
use asupersync_time::{TimeoutError, timeout};

use crate::support::{AppError, End, FOREVER, Live, Log, TICK};

#[test]
fn work_that_is_late_is_cancelled_and_drained_before_the_timeout_returns() {
    on_both_hosts(async |cx| {
        let (live, log) = (Live::default(), Log::default());
        let end: Outcome<(), _> = timeout(&cx, TICK, async |cx: Cx| {
            let guard = live.enter();
            let notes = log.clone();
            cx.region(async |scope| {
                scope.spawn(async move |cx: Cx| {
                    let _guard = guard;
                    let stopped = cx.sleep(FOREVER).await;
                    cx.shield(cx.sleep(TICK)).await?;
                    notes.note("drained");
                    stopped?;
                    End::Ok(())
                });
                scope.cx().sleep(FOREVER).await?;
                End::Ok(())
            })
            .await
        })
        .await;
        assert_eq!(end, Outcome::Err(TimeoutError::Elapsed { after: TICK }));
        assert_eq!(live.count(), 0);
        assert_eq!(log.notes(), ["drained"]);
    });
}

#[test]
fn work_that_is_in_time_keeps_its_end_and_leaves_no_timer() {
    on_both_hosts(async |cx| {
        let start = cx.now();
        let end = timeout(&cx, FOREVER, async |cx: Cx| {
            cx.sleep(TICK).await?;
            End::Ok(5)
        });
        assert_eq!(end.await, Outcome::Ok(5));
        let failed = timeout(&cx, FOREVER, async |_: Cx| {
            Err::<(), _>(AppError::Failed(3))
        });
        assert_eq!(
            failed.await,
            Outcome::Err(TimeoutError::Failed(AppError::Failed(3)))
        );
        assert!(cx.now().saturating_since(start) < Duration::from_secs(3600));
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
