//! Panics of the program in places that belong to the runtime.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use asupersync_core::{ChildEnd, Decision, LeakResponse, ObligationKind, Outcome, Policy};
use asupersync_kernel::{Cx, Obligation, Recover, RegionOptions, Report};
use asupersync_runtime::RuntimeBuilder;

use crate::support::{End, FOREVER, builder, run_on};

/// A builder whose reports of contained panics are collected.
fn listening(workers: usize) -> (RuntimeBuilder, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let builder = builder(workers).on_report(move |report| {
        if let Report::PanicContained { place, message } = report {
            hears.lock().unwrap().push(format!("{place}: {message}"));
        }
    });
    (builder, heard)
}

/// Shows that every worker still runs tasks.
async fn others_go_on(cx: &Cx) -> End {
    cx.region(async |scope| {
        for _ in 0..50 {
            scope.spawn(async |cx: Cx| {
                cx.sleep(Duration::from_millis(1)).await?;
                End::Ok(())
            });
        }
        End::Ok(())
    })
    .await
    .flatten()
}

#[test]
fn a_panicking_policy_cancels_the_rest_and_is_reported() {
    struct Panicking;
    impl Policy for Panicking {
        fn on_child_end(&self, _end: &ChildEnd) -> Decision {
            panic!("a policy's panic");
        }
    }
    for workers in [1, 2] {
        let (builder, heard) = listening(workers);
        run_on(&mut builder.build().unwrap(), async |cx| {
            let options = RegionOptions::new().policy(Panicking);
            let end = cx
                .region_with(options, async |scope| {
                    scope.spawn(async |_: Cx| End::Ok(()));
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                })
                .await;
            assert!(end.is_cancelled(), "{end:?}");
            others_go_on(&cx).await
        });
        assert_eq!(
            *heard.lock().unwrap(),
            ["a region's policy: a policy's panic"]
        );
    }
}

#[test]
fn a_panic_in_one_recovery_keeps_no_other_from_running() {
    struct Fragile(Arc<Mutex<Vec<u64>>>);
    impl Recover for Fragile {
        fn recover(&self, ticket: u64) {
            assert!(ticket != 1, "a recovery's panic");
            self.0.lock().unwrap().push(ticket);
        }
    }
    for workers in [1, 2] {
        let (builder, heard) = listening(workers);
        let builder = builder.obligation_leak_response(LeakResponse::Recover);
        let recovered = Arc::new(Mutex::new(Vec::new()));
        run_on(&mut builder.build().unwrap(), async |cx| {
            let resource = Arc::new(Fragile(Arc::clone(&recovered)));
            let kept = Arc::clone(&resource);
            let end = cx
                .region(async |scope| {
                    scope.spawn(async move |cx: Cx| {
                        for ticket in 0..4 {
                            let kind = ObligationKind::Lease;
                            let owed =
                                Obligation::reserve_recoverable(&cx, kind, &resource, ticket);
                            std::mem::forget(owed);
                        }
                        End::Ok(())
                    });
                    End::Ok(())
                })
                .await;
            drop(kept);
            end.flatten()?;
            others_go_on(&cx).await
        });
        recovered.lock().unwrap().sort_unstable();
        assert_eq!(*recovered.lock().unwrap(), [0, 2, 3]);
        assert_eq!(
            *heard.lock().unwrap(),
            ["the recovery of a leaked obligation: a recovery's panic"]
        );
    }
}

#[test]
fn a_panic_in_a_timers_waker_stops_no_worker_and_no_other_timer() {
    struct Panicking;
    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("a waker's panic");
        }
    }
    for workers in [1, 2] {
        let (builder, heard) = listening(workers);
        run_on(&mut builder.build().unwrap(), async |cx| {
            let waker = Waker::from(Arc::new(Panicking));
            let mut first = pin!(cx.sleep(Duration::from_millis(5)));
            let polled = first.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            cx.sleep(Duration::from_millis(10)).await?;
            others_go_on(&cx).await?;
            first.await?;
            End::Ok(())
        });
        assert_eq!(*heard.lock().unwrap(), ["a timer's waker: a waker's panic"]);
    }
}

#[test]
fn a_listener_of_reports_that_panics_stops_nothing() {
    let builder = builder(2).on_report(|_| panic!("a listener's panic"));
    run_on(&mut builder.build().unwrap(), async |cx| {
        let end = cx
            .region(async |scope| {
                scope.spawn(async |cx: Cx| {
                    std::mem::forget(Obligation::reserve(&cx, ObligationKind::Ack));
                    End::Ok(())
                });
                End::Ok(())
            })
            .await;
        end.flatten()?;
        others_go_on(&cx).await
    });
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a destructor's panic");
        }
    }
}

#[test]
fn destructors_that_panic_during_shutdown_stop_nothing() {
    for (workers, timeout) in [(1, FOREVER), (2, FOREVER), (1, Duration::ZERO)] {
        let mut runtime = builder(workers).shutdown_timeout(timeout).build().unwrap();
        let end = runtime.block_on(async |cx| {
            let mut left = Box::pin(cx.region(async |scope| {
                for _ in 0..10 {
                    let bomb = PanicsWhenDropped;
                    scope.spawn(async move |cx: Cx| {
                        let _bomb = bomb;
                        cx.sleep(FOREVER).await?;
                        End::Ok(())
                    });
                }
                scope.cx().sleep(FOREVER).await?;
                End::Ok(())
            }));
            assert!(futures_util::poll!(left.as_mut()).is_pending());
            End::Ok(4)
        });
        match end {
            // What was left behind belongs to the root region, and the worst of its ends is the program's.
            Outcome::Panicked(payload) if timeout == FOREVER => {
                assert_eq!(payload.message(), "a destructor's panic");
            }
            // What was given up has no end that could count.
            end => assert_eq!((end, timeout), (Outcome::Ok(4), Duration::ZERO)),
        }
        let was_in_order = runtime.last_shutdown().unfinished.is_empty();
        assert_eq!(was_in_order, timeout == FOREVER);
        // What was given up is dropped with the runtime, and bombs with it.
        drop(runtime);
    }
}
