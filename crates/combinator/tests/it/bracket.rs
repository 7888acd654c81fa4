//! What was acquired is released, however its use ends.

use std::sync::{Arc, Mutex};

use asupersync_combinator::{Held, bracket, race};
use asupersync_core::{Outcome, Severity};
use asupersync_kernel::Cx;
use asupersync_sync::Semaphore;

use crate::support::{AppError, End, FOREVER, TICK, quiet_panic, under_seeds};

type Log = Arc<Mutex<Vec<&'static str>>>;

/// A bracket that notes what happens, and whose use is `consume`.
async fn noted<F, Fut>(cx: &Cx, log: &Log, consume: F) -> End<u32>
where
    F: FnOnce(Cx, Held<Log>) -> Fut,
    Fut: Future<Output = End<u32>>,
{
    bracket(
        cx,
        async |_: Cx| {
            log.lock().unwrap().push("acquired");
            End::Ok(Arc::clone(log))
        },
        consume,
        async |cx: Cx, log: Log| {
            assert!(cx.sleep(TICK).await.is_ok(), "the release is masked");
            log.lock().unwrap().push("released");
            End::Ok(())
        },
    )
    .await
}

fn notes(log: &Log) -> Vec<&'static str> {
    log.lock().unwrap().clone()
}

#[test]
fn the_release_runs_after_a_value_an_error_and_a_panic() {
    under_seeds(10, async |cx| {
        for (severity, end) in [
            (Severity::Ok, Some(End::Ok(4))),
            (Severity::Err, Some(End::Err(AppError::Failed(1)))),
            (Severity::Panicked, None),
        ] {
            let log = Log::default();
            let ended = noted(&cx, &log, async |_: Cx, held: Held<Log>| {
                held.lock().unwrap().push("used");
                end.unwrap_or_else(|| quiet_panic("in use"))
            })
            .await;
            assert_eq!(ended.severity(), severity);
            assert_eq!(notes(&log), ["acquired", "used", "released"]);
        }
    });
}

#[test]
fn the_release_runs_after_a_cancellation_and_before_a_race_returns() {
    under_seeds(20, async |cx| {
        let log = Log::default();
        let slow = async |cx: Cx| {
            noted(&cx, &log, async |cx: Cx, _held: Held<Log>| {
                let end = cx.sleep(FOREVER).await;
                end.map_or_else(|c| Outcome::Cancelled(c.into_reason()), |()| End::Ok(0))
            })
            .await
        };
        let quick = async |cx: Cx| {
            cx.sleep(TICK).await?;
            Ok::<_, AppError>(1)
        };
        assert_eq!(race(&cx, (slow, quick)).await, Outcome::Ok(1));
        assert_eq!(notes(&log), ["acquired", "released"]);
    });
}

#[test]
fn a_failed_acquisition_releases_nothing() {
    under_seeds(4, async |cx| {
        let end = bracket(
            &cx,
            async |_: Cx| Outcome::<(), _>::Err(AppError::Failed(1)),
            async |_: Cx, _: Held<()>| -> End { unreachable!("nothing was acquired") },
            async |_: Cx, (): ()| -> End { unreachable!("nothing was acquired") },
        )
        .await;
        assert_eq!(end, Outcome::Err(AppError::Failed(1)));
    });
}

#[test]
fn the_releases_error_shows_only_after_a_use_that_ended_well() {
    under_seeds(4, async |cx| {
        for (consumed, expected) in [
            (End::Ok(1), Outcome::Err(AppError::Failed(9))),
            (
                End::Err(AppError::Failed(1)),
                Outcome::Err(AppError::Failed(1)),
            ),
        ] {
            let end = bracket(
                &cx,
                async |_: Cx| End::Ok(()),
                async |_: Cx, _: Held<()>| consumed,
                async |_: Cx, (): ()| End::Err(AppError::Failed(9)),
            );
            assert_eq!(end.await, expected);
        }
        let end = bracket(
            &cx,
            async |_: Cx| End::Ok(()),
            async |_: Cx, _: Held<()>| End::Ok(1),
            async |_: Cx, (): ()| -> End { quiet_panic("in release") },
        );
        assert_eq!(end.await.severity(), Severity::Panicked);
    });
}

#[test]
fn a_resource_that_its_use_keeps_is_reported() {
    under_seeds(2, async |cx| {
        let mut kept = None;
        let end = bracket(
            &cx,
            async |_: Cx| End::Ok(5),
            async |_: Cx, held: Held<u32>| {
                kept = Some(held);
                End::Ok(())
            },
            async |_: Cx, _: u32| End::Ok(()),
        )
        .await;
        assert_eq!(end.severity(), Severity::Panicked);
        assert_eq!(kept.map(|held| *held), Some(5));
    });
}

#[test]
fn a_permit_may_be_what_is_held() {
    under_seeds(10, async |cx| {
        let semaphore = Arc::new(Semaphore::new(1));
        for _ in 0..3 {
            let end = bracket(
                &cx,
                async |cx: Cx| {
                    let permit = Arc::clone(&semaphore).acquire_owned(&cx).await;
                    Outcome::<_, AppError>::Ok(permit.expect("it is open"))
                },
                async |cx: Cx, mut held: Held<_>| {
                    let _exclusive = &mut *held;
                    assert_eq!(semaphore.available_permits(), 0);
                    cx.yield_now().await?;
                    Ok::<_, AppError>(())
                },
                async |_: Cx, permit| {
                    drop(permit);
                    End::Ok(())
                },
            )
            .await;
            assert_eq!(end, Outcome::Ok(()));
        }
        assert_eq!(semaphore.available_permits(), 1);
    });
}
