//! What waits for time is cut short at every await.

use std::convert::Infallible;
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_lab::{Probe, every_await};
use asupersync_time::{TimeoutError, deadline, interval, timeout};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_tick_that_was_not_given_comes_again() {
    every_await("Interval::tick", async |cx: Cx, probe: Probe| {
        let start = cx.now() + SECOND;
        let mut ticks = interval(&cx, SECOND);
        assert_eq!(ticks.tick().await, Ok(cx.now()), "the first comes at once");
        let first = probe.run(&cx, ticks.tick()).await;
        let next = ticks.tick().await.expect("nobody cancels this task");
        match first {
            Some(Ok(tick)) => assert_eq!((tick, next), (start, start + SECOND)),
            Some(Err(_)) | None => assert_eq!(next, start),
        }
    });
}

#[test]
fn a_timeout_leaves_nothing_of_its_body() {
    every_await("timeout", async |cx: Cx, probe: Probe| {
        let mut cleaned = false;
        let end = probe
            .run(
                &cx,
                timeout(&cx, SECOND, async |cx: Cx| {
                    let end = cx
                        .region(async |scope| {
                            scope.spawn(async |cx: Cx| {
                                let end = cx.sleep(4 * SECOND).await;
                                cx.shield(cx.sleep(SECOND / 100)).await?;
                                end
                            });
                            Ok::<_, Cancelled>(())
                        })
                        .await;
                    cleaned = true;
                    end
                }),
            )
            .await;
        let elapsed = cx.now().as_nanos();
        match end {
            Some(Outcome::Err(TimeoutError::Elapsed { after })) => assert_eq!(after, SECOND),
            Some(Outcome::Cancelled(_)) => assert!(probe.was_interrupted()),
            None => {
                assert!(probe.was_interrupted());
                return;
            }
            Some(other) => panic!("{other:?}"),
        }
        assert!(cleaned || elapsed == 0, "the body ran to its end");
        assert!(elapsed <= 1_010_000_000, "{elapsed} ns");
        let end: Outcome<(), Infallible> = cx.region(async |_| Outcome::Ok(())).await;
        assert!(end.is_ok());
    });
}

#[test]
fn a_deadline_leaves_nothing_of_its_body() {
    every_await("deadline", async |cx: Cx, probe: Probe| {
        let at = cx.now() + SECOND;
        let body = async |cx: Cx| {
            cx.region(async |scope| {
                scope.spawn(async |cx: Cx| {
                    let end = cx.sleep(4 * SECOND).await;
                    cx.shield(cx.sleep(SECOND / 100)).await?;
                    end
                });
                Ok::<_, Cancelled>(())
            })
            .await
        };
        let operation = async |cx: Cx| deadline(&cx, at, body).await;
        match probe.run_with(&cx, operation).await {
            Some(Outcome::Err(TimeoutError::Elapsed { after })) => assert_eq!(after, SECOND),
            Some(Outcome::Cancelled(_)) | None => assert!(probe.was_interrupted()),
            Some(other) => panic!("{other:?}"),
        }
        let elapsed = cx.now().as_nanos();
        assert!(elapsed <= 1_010_000_000, "{elapsed} ns");
    });
}
