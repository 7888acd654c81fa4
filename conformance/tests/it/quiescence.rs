//! A region never returns while anything inside it lives.

use std::pin::pin;
use std::task::{Context, Waker};

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::{BlockingError, Cx};
use futures_util::future::{Either, join_all, select};

use crate::support::{End, FOREVER, Live, TICK};

#[test]
fn a_region_waits_for_its_tasks() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |scope| {
                for _ in 0..20 {
                    let guard = live.enter();
                    scope.spawn(async move |cx: Cx| {
                        let _guard = guard;
                        cx.sleep(TICK).await?;
                        cx.yield_now().await?;
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn a_region_waits_for_its_local_tasks() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |scope| {
                for _ in 0..5 {
                    let guard = live.enter();
                    scope.spawn_local(async move |cx: Cx| {
                        let _guard = guard;
                        cx.sleep(TICK).await?;
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn a_region_waits_for_tasks_that_tasks_spawn_while_it_is_closing() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let counter = live.clone();
        let end = cx
            .region(async |scope| {
                let live = counter.clone();
                scope.spawn(async move |cx: Cx| {
                    // The outer body has ended by now.
                    cx.sleep(TICK).await?;
                    let guard = live.enter();
                    cx.region(async |scope| {
                        scope.spawn(async move |cx: Cx| {
                            let _guard = guard;
                            cx.sleep(TICK).await?;
                            End::Ok(())
                        });
                        End::Ok(())
                    })
                    .await
                    .flatten()
                });
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn sub_regions_close_before_the_region_that_holds_them() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |outer| {
                let guard = live.enter();
                outer
                    .region(async |inner| {
                        inner.spawn(async move |cx: Cx| {
                            let _guard = guard;
                            cx.sleep(TICK).await?;
                            End::Ok(())
                        });
                        End::Ok(())
                    })
                    .await
                    .flatten()?;
                assert_eq!(live.count(), 0, "the inner region has returned");
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn fibers_borrow_from_the_body_and_end_within_it() {
    on_both_hosts(async |cx| {
        let words = ["one".to_owned(), "two".to_owned(), "three".to_owned()];
        let end = cx
            .region(async |scope| {
                let fibers = words.iter().map(|word| {
                    scope.fiber(async move |cx: Cx| {
                        cx.sleep(TICK).await?;
                        End::Ok(word.len())
                    })
                });
                let ends = join_all(fibers).await;
                let lengths: Vec<usize> = ends.into_iter().filter_map(Outcome::ok).collect();
                End::Ok(lengths)
            })
            .await;
        assert_eq!(end, Outcome::Ok(vec![3, 3, 5]));
    });
}

#[test]
fn a_dropped_region_future_is_closed_before_the_region_around_it() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |outer| {
                let guard = live.enter();
                let inner = outer.cx().region(async |scope| {
                    scope.spawn(async move |cx: Cx| {
                        let _guard = guard;
                        let _mask = cx.mask();
                        cx.sleep(TICK).await?;
                        End::Ok(())
                    });
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                });
                {
                    let mut inner = pin!(inner);
                    let first = inner.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    assert!(first.is_pending());
                }
                assert_eq!(live.count(), 1, "the task lives on behind its mask");
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn the_loser_of_a_select_leaves_nothing_behind() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |outer| {
                let guard = live.enter();
                let slow = pin!(outer.cx().region(async |scope| {
                    scope.spawn(async move |cx: Cx| {
                        let _guard = guard;
                        cx.sleep(FOREVER).await?;
                        End::Ok(())
                    });
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                }));
                let quick = pin!(outer.cx().sleep(TICK));
                match select(slow, quick).await {
                    Either::Right((Ok(()), _slow)) => {}
                    Either::Right((Err(cancelled), _)) => return Err(cancelled.into()),
                    Either::Left(_) => panic!("the region sleeps for a day"),
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn a_blocking_job_outlives_neither_its_region_nor_its_callers_cancellation() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |scope| {
                let guard = live.enter();
                let task = scope.spawn(async move |cx: Cx| {
                    let done = cx.blocking(move || {
                        std::thread::yield_now();
                        drop(guard);
                        7
                    });
                    match done.await {
                        Ok(result) => End::Ok(result),
                        Err(BlockingError::Cancelled(cancelled)) => Err(cancelled.into()),
                        Err(other) => panic!("{other}"),
                    }
                });
                scope.cx().yield_now().await?;
                task.cancel();
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}

#[test]
fn dropping_a_handle_neither_cancels_nor_detaches() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        let end = cx
            .region(async |scope| {
                let guard = live.enter();
                drop(scope.spawn(async move |cx: Cx| {
                    cx.sleep(TICK).await?;
                    drop(guard);
                    End::Ok(())
                }));
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(live.count(), 0);
    });
}
