//! Items as tasks: they go on by themselves, are bounded, and are drained.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use asupersync_core::{CancelKind, Cancelled, Collect, IntoOutcome, Outcome};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_stream::{StreamExt, TryStreamExt, iter};

use crate::support::{AppError, End, FOREVER, Live, SEEDS, TICK, ms, once, under_seeds};

/// Waits for `after` milliseconds, and then as long again to clean up if it is stopped before; gives them.
async fn work(cx: Cx, live: Live, after: u32) -> Result<u32, AppError> {
    let _guard = live.enter();
    let end = cx.sleep(TICK * after).await;
    if end.is_err() {
        let _ = cx.shield(cx.sleep(TICK * 2)).await;
    }
    end?;
    Ok(after)
}

async fn work_or_fail(cx: Cx, live: Live, after: u32, bad: u32) -> Result<u32, AppError> {
    let value = work(cx, live, after).await?;
    if value == bad {
        return Err(AppError::Failed(value));
    }
    Ok(value)
}

#[test]
fn tasks_go_on_while_the_reader_is_busy() {
    let report = once(async |cx: Cx| {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        cx.region(async |scope| {
            let start = cx.now();
            let mut results = iter(1..=4).buffered(&scope, 4, move |cx: Cx, n: u32| {
                let count = Arc::clone(&count);
                async move {
                    cx.sleep(TICK * 10 * n).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, AppError>(n)
                }
            });
            assert_eq!(results.try_next(scope.cx()).await?, Some(1));
            // Nobody polls the stream here, and yet its tasks come to their end.
            cx.sleep(TICK * 100).await?;
            assert_eq!(ended.load(Ordering::Relaxed), 4);
            let rest: Vec<u32> = results.try_collect(scope.cx()).await?;
            Ok::<_, AppError>((rest, ms(&cx, start)))
        })
        .await
    });
    assert_eq!(report.outcome, Outcome::Ok((vec![2, 3, 4], 110)));
}

#[test]
fn results_come_in_the_order_of_the_items_or_of_the_ends() {
    let report = once(async |cx: Cx| {
        cx.region(async |scope| {
            let live = Live::default();
            let delays = [30, 10, 20, 5, 1];
            let one = live.clone();
            let ordered = iter(delays).buffered(&scope, 3, move |cx, n| work(cx, one.clone(), n));
            let ordered: Vec<u32> = ordered.try_collect(scope.cx()).await?;
            let two = live.clone();
            let ends = iter(delays);
            let ends = ends.buffer_unordered(&scope, 3, move |cx, n| work(cx, two.clone(), n));
            let ends: Vec<u32> = ends.try_collect(scope.cx()).await?;
            Ok::<_, AppError>((ordered, ends))
        })
        .await
    });
    let expected = (vec![30, 10, 20, 5, 1], vec![10, 5, 1, 20, 30]);
    assert_eq!(report.outcome, Outcome::Ok(expected));
    assert_eq!(report.elapsed, TICK * (30 + 5 + 30));
}

#[test]
fn no_more_are_under_way_than_the_limit_results_included() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let begun = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&begun);
                let mut taken = 0;
                let mut results = iter(0..20_u32).buffer_unordered(&scope, 4, move |cx: Cx, n| {
                    count.fetch_add(1, Ordering::Relaxed);
                    async move {
                        cx.sleep(TICK * (n % 3)).await?;
                        Ok::<_, AppError>(n)
                    }
                });
                while results.try_next(scope.cx()).await?.is_some() {
                    taken += 1;
                    assert!(begun.load(Ordering::Relaxed) <= taken + 4);
                    cx.sleep(TICK).await?;
                    assert!(begun.load(Ordering::Relaxed) <= taken + 4);
                }
                assert_eq!(taken, 20);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_dropped_stream_cancels_its_tasks_and_the_region_drains_them() {
    under_seeds(SEEDS, async |cx: Cx| {
        let live = Live::default();
        let start = cx.now();
        let end: End = cx
            .region(async |scope| {
                let inner = live.clone();
                let mut results = iter([1, 500, 600, 700])
                    .buffered(&scope, 3, move |cx, n| work(cx, inner.clone(), n));
                assert_eq!(results.try_next(scope.cx()).await?, Some(1));
                drop(results);
                assert!(live.count() > 0, "they clean up");
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()), "a stream nobody wants is no failure");
        assert_eq!(live.count(), 0);
        assert_eq!(ms(&cx, start), 3);
    });
}

#[test]
fn an_error_is_an_item_where_the_policy_lets_the_others_go_on() {
    let report = once(async |cx: Cx| {
        let options = RegionOptions::new().policy(Collect);
        cx.region_with(options, async |scope| {
            let live = Live::default();
            let results = iter([3, 2, 1])
                .buffered(&scope, 3, move |cx, n| work_or_fail(cx, live.clone(), n, 2));
            let all: Vec<_> = results.collect(scope.cx()).await?;
            Ok::<_, AppError>(all)
        })
        .await
    });
    let expected = vec![Ok(3), Err(AppError::Failed(2)), Ok(1)];
    assert_eq!(report.outcome, Outcome::Ok(expected));
}

#[test]
fn under_fail_fast_the_region_ends_with_the_error_of_the_task() {
    under_seeds(SEEDS, async |cx: Cx| {
        let live = Live::default();
        let inner = live.clone();
        let end: End<Vec<u32>> = cx
            .region(async |scope| {
                let results = iter([50, 2, 40]).buffered(&scope, 3, move |cx, n| {
                    work_or_fail(cx, inner.clone(), n, 2)
                });
                results.try_collect(scope.cx()).await
            })
            .await;
        assert_eq!(end, Outcome::Err(AppError::Failed(2)));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn the_first_error_of_a_try_form_comes_when_the_rest_is_drained_and_ends_the_stream() {
    under_seeds(SEEDS, async |cx: Cx| {
        for ordered in [true, false] {
            let live = Live::default();
            let start = cx.now();
            let options = RegionOptions::new().policy(Collect);
            let end: End = cx
                .region_with(options, async |scope| {
                    let inner = live.clone();
                    let source = iter([1, 7, 90, 80].map(Ok));
                    let work = move |cx, n| work_or_fail(cx, inner.clone(), n, 7);
                    let mut results = if ordered {
                        source.try_buffered(&scope, 3, work)
                    } else {
                        source.try_buffer_unordered(&scope, 3, work)
                    };
                    assert_eq!(results.try_next(scope.cx()).await, Ok(Some(1)));
                    let failed = results.try_next(scope.cx()).await;
                    assert_eq!(failed, Err(AppError::Failed(7)));
                    assert_eq!(live.count(), 0, "the rest was drained before");
                    assert_eq!(ms(&cx, start), 9, "and was asked to stop");
                    assert_eq!(results.try_next(scope.cx()).await, Ok(None));
                    Ok::<_, AppError>(())
                })
                .await;
            assert_eq!(end, Outcome::Ok(()));
        }
    });
}

#[test]
fn an_error_of_the_source_stops_a_try_form() {
    under_seeds(SEEDS, async |cx: Cx| {
        let live = Live::default();
        let start = cx.now();
        let end: End = cx
            .region(async |scope| {
                let inner = live.clone();
                let source = iter([Ok(5), Ok(900), Err(AppError::Failed(1)), Ok(2)]);
                let mut results =
                    source.try_buffer_unordered(&scope, 2, move |cx, n| work(cx, inner.clone(), n));
                assert_eq!(results.try_next(scope.cx()).await, Ok(Some(5)));
                let failed = results.try_next(scope.cx()).await;
                assert_eq!(failed, Err(AppError::Failed(1)));
                assert_eq!(live.count(), 0);
                assert_eq!(ms(&cx, start), 7);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_panic_of_a_task_goes_on_in_the_reader() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let options = RegionOptions::new().policy(Collect);
        let end: End<Vec<u32>> = cx
            .region_with(options, async |scope| {
                let results = iter([1, 2]).buffered(&scope, 2, |_: Cx, n: u32| async move {
                    if n == 2 {
                        std::panic::resume_unwind(Box::new("two"));
                    }
                    Ok::<_, AppError>(n)
                });
                results.try_collect(scope.cx()).await
            })
            .await;
        match &end {
            Outcome::Panicked(payload) => assert_eq!(payload.message(), "two"),
            other => panic!("{other:?}"),
        }
        End::Ok(())
    });
    assert!(report.outcome.is_ok());
}

#[test]
fn a_reader_that_must_stop_gets_what_is_there_then_the_reason_once_then_the_end() {
    under_seeds(SEEDS, async |cx: Cx| {
        let end: End = cx
            .region(async |scope| {
                let live = Live::default();
                let begun = Cell::new(0);
                let source = iter([1, 2, 400, 3]).inspect(|_| begun.set(begun.get() + 1));
                let mut results =
                    source.buffered(&scope, 3, move |cx, n| work(cx, live.clone(), n));
                let first = results.try_next(scope.cx()).await?;
                assert_eq!(first, Some(1));
                cx.sleep(TICK * 10).await?;
                let seen = cx
                    .region(async |inner| {
                        inner.cancel(CancelKind::User);
                        let mut seen = Vec::new();
                        for _ in 0..3 {
                            // Not our own wait, which would fail by itself.
                            seen.push(futures_util::StreamExt::next(&mut results).await);
                        }
                        assert_eq!(seen[0], Some(Ok(2)));
                        assert!(matches!(seen[1], Some(Err(AppError::Cancelled(_)))));
                        assert_eq!(seen[2], None);
                        assert_eq!(begun.get(), 3, "nothing more is begun");
                        Outcome::<(), Cancelled>::Ok(())
                    })
                    .await;
                assert!(seen.is_ok(), "{seen:?}");
                // The tasks were not asked to stop, and the stream goes on with them.
                assert_eq!(results.try_next(scope.cx()).await?, Some(400));
                assert_eq!(results.try_next(scope.cx()).await?, Some(3));
                assert_eq!(results.try_next(scope.cx()).await?, None);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn for_each_concurrent_runs_up_to_its_limit_and_map_concurrent_keeps_the_order() {
    let report = once(async |cx: Cx| {
        let start = cx.now();
        // The source may borrow: it is polled here.
        let delays = [30, 10, 20];
        let live = Live::default();
        let inner = live.clone();
        let source = iter(&delays).map(|n| *n);
        let all = source.map_concurrent(&cx, 2, move |cx, n| work(cx, inner.clone(), n));
        let all = all.await.into_result().unwrap();
        assert_eq!((all, ms(&cx, start)), (vec![30, 10, 20], 30));
        let inner = live.clone();
        let each = iter(delays).for_each_concurrent(&cx, 2, move |cx, n| {
            let inner = inner.clone();
            async move { work(cx, inner, n).await.map(drop) }
        });
        let end: End = each.await;
        assert_eq!(live.count(), 0);
        assert_eq!(ms(&cx, start), 60);
        end
    });
    assert_eq!(report.outcome, Outcome::Ok(()));
}

#[test]
fn the_first_error_of_a_concurrent_form_drains_the_others_before_it_is_told() {
    under_seeds(SEEDS, async |cx: Cx| {
        let live = Live::default();
        let inner = live.clone();
        let each = iter([90, 5, 80, 70]).for_each_concurrent(&cx, 3, move |cx, n| {
            let inner = inner.clone();
            async move { work_or_fail(cx, inner, n, 5).await.map(drop) }
        });
        assert_eq!(each.await, End::Err(AppError::Failed(5)));
        assert_eq!(live.count(), 0);
        let source = iter([Ok(500), Err(AppError::Failed(9))]);
        let inner = live.clone();
        let each = source.try_for_each_concurrent(&cx, 3, move |cx, n| {
            let inner = inner.clone();
            async move { work(cx, inner, n).await.map(drop) }
        });
        assert_eq!(each.await, End::Err(AppError::Failed(9)));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn a_concurrent_form_can_be_a_task_itself() {
    under_seeds(1, async |cx: Cx| {
        let end: End<Vec<u32>> = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| {
                    let work = |cx: Cx, n: u32| async move {
                        cx.sleep(TICK).await?;
                        Ok::<_, AppError>(n + 1)
                    };
                    iter(0..3).map_concurrent(&cx, 2, work).await
                });
                task.join(scope.cx()).await
            })
            .await;
        assert_eq!(end, Outcome::Ok(vec![1, 2, 3]));
    });
}

#[test]
fn a_cancelled_concurrent_form_leaves_no_task() {
    under_seeds(SEEDS, async |cx: Cx| {
        let live = Live::default();
        let inner = live.clone();
        let end: End = cx
            .region(async |scope| {
                let task = scope.spawn(async move |cx: Cx| {
                    iter([1, 2, 3])
                        .for_each_concurrent(&cx, 2, move |cx: Cx, _| {
                            let guard = inner.enter();
                            async move {
                                let _guard = guard;
                                cx.sleep(FOREVER).await?;
                                Ok::<_, AppError>(())
                            }
                        })
                        .await
                });
                cx.sleep(Duration::from_secs(1)).await?;
                assert_eq!(live.count(), 2);
                task.cancel();
                assert!(matches!(task.join(scope.cx()).await, Outcome::Cancelled(_)));
                assert_eq!(live.count(), 0);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn an_error_counts_more_than_a_cancellation_that_came_before_it() {
    under_seeds(SEEDS, async |cx: Cx| {
        let options = RegionOptions::new().policy(Collect);
        let end: End = cx
            .region_with(options, async |scope| {
                let work = |cx: Cx, n: u32| async move {
                    if n == 0 {
                        let own = cx.region(async |inner| {
                            inner.cancel(CancelKind::User);
                            cx.sleep(TICK).await?;
                            inner.cx().checkpoint()
                        });
                        return own.await.map_err(|never: Cancelled| never.into());
                    }
                    let end = cx.sleep(FOREVER).await;
                    end.map_err(|_| AppError::Failed(n)).into_outcome()
                };
                let mut results = iter([0, 9].map(Ok)).try_buffered(&scope, 2, work);
                let failed = results.try_next(scope.cx()).await;
                assert_eq!(failed, Err(AppError::Failed(9)));
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}
