//! Pipelines and map-reduce: order, bounds, back-pressure, and the end of all when one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use asupersync_combinator::{MapReduce, Pipeline, StageOptions, map_reduce};
use asupersync_core::{Outcome, Severity};
use asupersync_kernel::Cx;
use asupersync_sync::mpsc;

use crate::support::{AppError, End, FOREVER, Live, TICK, quiet_panic, under_seeds};

/// How many run now, and how many ran at most.
#[derive(Clone, Default)]
struct Load(Arc<(AtomicUsize, AtomicUsize)>);

impl Load {
    async fn work(&self, cx: &Cx, n: u32) -> End<u32> {
        let now = self.0.0.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.1.fetch_max(now, Ordering::Relaxed);
        let end = cx.sleep(TICK * (1 + n * 7 % 5)).await;
        self.0.0.fetch_sub(1, Ordering::Relaxed);
        end.map_or_else(|c| Outcome::Cancelled(c.into_reason()), |()| Outcome::Ok(n))
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::Relaxed)
    }
}

fn loaded(load: &Load) -> impl Fn(Cx, u32) -> Work + Clone + Send + Sync + 'static + use<> {
    let load = load.clone();
    move |cx, n| {
        let load = load.clone();
        Box::pin(async move { load.work(&cx, n).await })
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = End<u32>> + Send>>;

#[test]
fn a_pipeline_passes_every_item_once_within_its_bounds() {
    under_seeds(10, async |cx| {
        for many in [1, 2, 5] {
            for is_ordered in [true, false] {
                let load = Load::default();
                let mut options = StageOptions::new().concurrency(many).capacity(2);
                if !is_ordered {
                    options = options.unordered();
                }
                let end = Pipeline::from_iter(0..40)
                    .stage(options, loaded(&load))
                    .stage(StageOptions::new().capacity(40), |_: Cx, n| async move {
                        End::Ok(n)
                    })
                    .collect(&cx)
                    .await;
                let mut items = end.ok().unwrap();
                if !is_ordered {
                    items.sort_unstable();
                }
                assert_eq!(items, (0..40).collect::<Vec<_>>());
                assert_eq!(load.most(), many, "as parallel as allowed, and no more");
            }
        }
    });
}

#[test]
fn a_slow_sink_holds_up_the_source() {
    under_seeds(10, async |cx| {
        let drawn = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&drawn);
        let source = (0..100).inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let mut seen = 0;
        let end = Pipeline::from_iter(source)
            .stage(StageOptions::new().concurrency(2), loaded(&Load::default()))
            .for_each(&cx, |cx: Cx, n| {
                assert_eq!(n, seen);
                seen += 1;
                let ahead = drawn.load(Ordering::Relaxed) - n as usize;
                async move {
                    assert!(ahead <= 9, "{ahead} items are under way");
                    cx.sleep(TICK * 20).await?;
                    Ok::<_, AppError>(())
                }
            })
            .await;
        assert_eq!((end, seen), (Outcome::Ok(()), 100));
    });
}

#[test]
fn an_error_in_a_stage_stops_them_all_and_drains() {
    under_seeds(20, async |cx| {
        for many in [1, 3] {
            for is_ordered in [true, false] {
                let live = Live::default();
                let guarded = live.clone();
                let mut options = StageOptions::new().concurrency(many);
                if !is_ordered {
                    options = options.unordered();
                }
                let end = Pipeline::from_iter(0..)
                    .stage(options, move |cx: Cx, n: u32| {
                        let guard = guarded.enter();
                        async move {
                            let _guard = guard;
                            cx.sleep(TICK).await?;
                            if n == 7 {
                                Err(AppError::Failed(n))
                            } else {
                                Ok(n)
                            }
                        }
                    })
                    .stage(StageOptions::new(), loaded(&Load::default()))
                    .fold(&cx, 0, |count, _| count + 1)
                    .await;
                assert_eq!(end, Outcome::Err(AppError::Failed(7)));
                assert_eq!(live.count(), 0);
            }
        }
    });
}

#[test]
fn a_sink_that_fails_or_panics_stops_the_stages() {
    under_seeds(10, async |cx| {
        for breaks in [false, true] {
            let end = Pipeline::from_iter(0..)
                .stage(StageOptions::new().concurrency(3), loaded(&Load::default()))
                .for_each(&cx, async |_: Cx, n: u32| {
                    if n < 5 {
                        return Ok(());
                    }
                    if breaks {
                        quiet_panic("in the sink")
                    } else {
                        Err(AppError::Failed(n))
                    }
                })
                .await;
            let expected = if breaks {
                Severity::Panicked
            } else {
                Severity::Err
            };
            assert_eq!(end.severity(), expected);
        }
    });
}

#[test]
fn a_pipeline_may_begin_with_a_channel() {
    under_seeds(10, async |cx| {
        let (tx, rx) = mpsc::channel(1);
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |cx: Cx| {
                    for n in 0..10_u32 {
                        tx.send(&cx, n)
                            .await
                            .expect("the pipeline reads to the end");
                    }
                    End::Ok(())
                });
                Pipeline::from_receiver(rx)
                    .stage(
                        StageOptions::new().concurrency(2).unordered(),
                        loaded(&Load::default()),
                    )
                    .fold(scope.cx(), 0, |sum, n| sum + n)
                    .await
            })
            .await;
        assert_eq!(end, Outcome::Ok(45));
    });
}

#[test]
fn map_reduce_folds_every_item_once_within_its_bound() {
    under_seeds(10, async |cx| {
        for many in [1, 3, 64] {
            let load = Load::default();
            let push = |mut all: Vec<u32>, n| {
                all.push(n);
                all
            };
            let options = MapReduce::new().concurrency(many);
            let end = map_reduce(
                &cx,
                options.ordered(),
                0..40,
                loaded(&load),
                (Vec::new(), push),
            );
            assert_eq!(end.await, Outcome::Ok((0..40).collect()));
            let end = map_reduce(&cx, options, 0..40, loaded(&load), (Vec::new(), push)).await;
            let mut items = end.ok().unwrap();
            items.sort_unstable();
            assert_eq!(items, (0..40).collect::<Vec<_>>());
            assert_eq!(load.most(), many.min(40));
        }
    });
}

#[test]
fn map_reduce_stops_at_the_first_failure_and_drains() {
    under_seeds(20, async |cx| {
        for is_ordered in [true, false] {
            for breaks in [true, false] {
                let live = Live::default();
                let guarded = live.clone();
                let options = MapReduce::new().concurrency(4);
                let options = if is_ordered {
                    options.ordered()
                } else {
                    options
                };
                let map = move |cx: Cx, n: u32| {
                    let guard = guarded.enter();
                    async move {
                        let _guard = guard;
                        if n == 2 {
                            cx.sleep(TICK).await?;
                            if breaks {
                                quiet_panic("in a task");
                            }
                            return Err(AppError::Failed(n));
                        }
                        cx.sleep(FOREVER).await?;
                        Ok(n)
                    }
                };
                let end = map_reduce(&cx, options, 0.., map, (0, |sum, n| sum + n)).await;
                let expected = if breaks {
                    Severity::Panicked
                } else {
                    Severity::Err
                };
                assert_eq!(end.severity(), expected);
                assert_eq!(live.count(), 0);
            }
        }
    });
}
