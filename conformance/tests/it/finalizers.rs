//! Finalizers run last in first out, masked, budgeted, whatever happens.

use std::pin::pin;
use std::task::{Context, Waker};

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::Cx;

use crate::support::{AppError, End, FOREVER, Live, Log, TICK};

#[test]
fn finalizers_run_last_in_first_out_after_the_last_task() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let live = Live::default();
        let end = cx
            .region(async |scope| {
                for name in ["first", "second", "third"] {
                    let (log, live) = (log.clone(), live.clone());
                    scope.defer(async move |cx: Cx| {
                        assert_eq!(live.count(), 0, "no task lives when finalizers run");
                        cx.sleep(TICK).await.expect("finalizers are masked");
                        log.note(name);
                    });
                }
                let guard = live.enter();
                scope.spawn(async move |cx: Cx| {
                    let _guard = guard;
                    cx.sleep(TICK).await?;
                    End::Ok(())
                });
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(log.notes(), ["third", "second", "first"]);
    });
}

#[test]
fn finalizers_run_after_errors_panics_and_cancellation() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        for how in ["error", "panic", "cancel"] {
            let log = log.clone();
            let end = cx
                .region(async |scope| {
                    scope.defer(async move |cx: Cx| {
                        cx.checkpoint().expect("finalizers are masked");
                        cx.sleep(TICK).await.expect("finalizers are masked");
                        log.note(how);
                    });
                    match how {
                        "error" => return End::Err(AppError::Failed(1)),
                        "panic" => panic!("the body's panic"),
                        _ => scope.cancel(CancelKind::User),
                    }
                    scope.cx().checkpoint()?;
                    End::Ok(())
                })
                .await;
            assert_ne!(end.severity(), Severity::Ok);
        }
        assert_eq!(log.notes(), ["error", "panic", "cancel"]);
    });
}

#[test]
fn finalizers_run_after_a_dropped_region_future() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let end = cx
            .region(async |outer| {
                let log = log.clone();
                let inner = outer.cx().region(async |scope| {
                    scope.defer(async move |cx: Cx| {
                        cx.sleep(TICK).await.expect("finalizers are masked");
                        log.note("finalized");
                    });
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                });
                let mut inner = pin!(inner);
                assert!(
                    inner
                        .as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(log.notes(), ["finalized"]);
    });
}

#[test]
fn a_finalizer_under_way_goes_on_when_its_regions_future_is_dropped() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let end = cx
            .region(async |outer| {
                let (first, last) = (log.clone(), log.clone());
                let inner = outer.cx().region(async |scope| {
                    scope.defer(async move |_: Cx| first.note("first"));
                    scope.defer(async move |cx: Cx| {
                        last.note("begun");
                        // It waits for what it has started, and that waits for it.
                        let end = cx
                            .region(async |scope| {
                                let task = scope.spawn(async |cx: Cx| cx.sleep(TICK).await);
                                cx.sleep(TICK).await?;
                                task.join(scope.cx()).await.into_result()
                            })
                            .await;
                        assert_eq!(end.severity(), Severity::Ok, "finalizers are masked");
                        last.note("last");
                    });
                    End::Ok(())
                });
                let mut inner = pin!(inner);
                let mut noop = Context::from_waker(Waker::noop());
                assert!(inner.as_mut().poll(&mut noop).is_pending());
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(log.notes(), ["begun", "last", "first"]);
    });
}

#[test]
fn a_panicking_finalizer_stops_no_other_and_shows_in_the_outcome() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let end = cx
            .region(async |scope| {
                let (first, last) = (log.clone(), log.clone());
                scope.defer(async move |_: Cx| first.note("first"));
                scope.defer(async move |_: Cx| panic!("a finalizer's panic"));
                scope.defer(async move |_: Cx| last.note("last"));
                End::Ok(())
            })
            .await;
        assert_eq!(end.severity(), Severity::Panicked);
        assert_eq!(log.notes(), ["last", "first"]);
    });
}

#[test]
fn a_finalizer_that_spends_its_budget_is_told_and_then_dropped() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let live = Live::default();
        let end = cx
            .region(async |scope| {
                let (told, guard) = (log.clone(), live.enter());
                scope.defer(async move |cx: Cx| {
                    let _guard = guard;
                    // Polls without end, until the budget of a user cancellation is spent.
                    while cx.yield_now().await.is_ok() {}
                    told.note("told");
                    loop {
                        let _ = cx.yield_now().await;
                        std::future::ready(()).await;
                        let mut polled = false;
                        std::future::poll_fn(|task| {
                            if polled {
                                return std::task::Poll::Ready(());
                            }
                            polled = true;
                            task.waker().wake_by_ref();
                            std::task::Poll::Pending
                        })
                        .await;
                    }
                });
                let log = log.clone();
                scope.defer(async move |_: Cx| log.note("the other one"));
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(log.notes(), ["the other one", "told"]);
        assert_eq!(live.count(), 0, "the finalizer's future was dropped");
    });
}

#[test]
fn a_finalizer_may_spawn_cleanup_work_and_the_region_waits_for_it() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let end = cx
            .region(async |scope| {
                let log = log.clone();
                scope.defer(async move |cx: Cx| {
                    let end = cx
                        .region(async |cleanup| {
                            let log = log.clone();
                            cleanup.spawn(async move |cx: Cx| {
                                cx.sleep(TICK).await?;
                                log.note("cleaned");
                                End::Ok(())
                            });
                            End::Ok(())
                        })
                        .await;
                    assert_eq!(end, Outcome::Ok(()));
                    log.note("finalized");
                });
                scope.cancel(CancelKind::User);
                scope.cx().checkpoint()?;
                End::Ok(())
            })
            .await;
        assert_eq!(end.severity(), Severity::Cancelled);
        assert_eq!(log.notes(), ["cleaned", "finalized"]);
    });
}
