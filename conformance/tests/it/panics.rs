//! A panic is contained, reported as `Panicked`, and stops nothing else.

use std::sync::Arc;
use std::task::{Wake, Waker};

use asupersync_conformance::on_both_hosts;
use asupersync_core::{Collect, Outcome};
use asupersync_kernel::{BlockingError, Cx, RegionOptions};

use crate::support::{End, FOREVER, TICK};

/// Runs `child` beside a healthy sibling and gives the child's panic message.
async fn message_of<F, Fut>(cx: &Cx, child: F) -> String
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = End> + Send + 'static,
{
    let mut message = String::new();
    let end = cx
        .region_with(RegionOptions::new().policy(Collect), async |scope| {
            let sibling = scope.spawn(async |cx: Cx| {
                cx.sleep(TICK).await?;
                End::Ok(11)
            });
            let child = scope.spawn(child);
            match child.join(scope.cx()).await {
                Outcome::Panicked(payload) => message = payload.message().to_owned(),
                other => panic!("expected a panic, got {other:?}"),
            }
            sibling.join(scope.cx()).await.flatten()
        })
        .await;
    assert_eq!(end, Outcome::Ok(11));
    message
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic!("a destructor's panic");
    }
}

#[test]
fn a_panic_in_a_task_body_is_its_outcome() {
    on_both_hosts(async |cx| {
        let message = message_of(&cx, async |_: Cx| panic!("a body's panic")).await;
        assert_eq!(message, "a body's panic");
    });
}

#[test]
fn a_panic_in_the_closure_that_makes_a_body_is_its_outcome() {
    on_both_hosts(async |cx| {
        let message = message_of(&cx, |_: Cx| -> std::future::Ready<End> {
            panic!("a closure's panic")
        })
        .await;
        assert_eq!(message, "a closure's panic");
    });
}

#[test]
fn a_panic_in_a_futures_drop_is_its_outcome() {
    on_both_hosts(async |cx| {
        // The guard lives in the future and is dropped with it, after the last poll.
        let message = message_of(&cx, |_: Cx| {
            let guard = PanicsOnDrop;
            std::future::poll_fn(move |_| {
                let _ = &guard;
                std::task::Poll::Ready(End::Ok(()))
            })
        })
        .await;
        assert_eq!(message, "a destructor's panic");
    });
}

#[test]
fn a_panic_in_a_blocking_job_is_the_callers_error() {
    on_both_hosts(async |cx| {
        let first = cx.blocking(|| -> u32 { panic!("a job's panic") }).await;
        match first {
            Err(BlockingError::Panicked(payload)) => assert_eq!(payload.message(), "a job's panic"),
            other => panic!("expected a panic, got {other:?}"),
        }
        assert_eq!(cx.blocking(|| 5).await, Ok(5));
    });
}

#[test]
fn a_panic_in_a_waker_stops_neither_the_waking_nor_the_woken() {
    struct Panicking;
    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("a waker's panic");
        }
    }
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let mut child = scope.spawn(async |cx: Cx| {
                    cx.sleep(TICK).await?;
                    End::Ok(3)
                });
                {
                    let waker = Waker::from(Arc::new(Panicking));
                    let mut wait = std::pin::pin!(child.wait(scope.cx()));
                    let polled = wait
                        .as_mut()
                        .poll(&mut std::task::Context::from_waker(&waker));
                    assert!(polled.is_pending());
                }
                scope.cx().sleep(TICK * 5).await?;
                child.join(scope.cx()).await.flatten()
            })
            .await;
        assert_eq!(end, Outcome::Ok(3));
    });
}

#[test]
fn a_panic_in_a_fiber_is_its_outcome() {
    on_both_hosts(async |cx| {
        let end = cx
            .region_with(RegionOptions::new().policy(Collect), async |scope| {
                let fiber = scope.fiber(async |_: Cx| -> End { panic!("a fiber's panic") });
                match fiber.await {
                    Outcome::Panicked(payload) => assert_eq!(payload.message(), "a fiber's panic"),
                    other => panic!("expected a panic, got {other:?}"),
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_panic_in_a_region_body_closes_the_region() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                scope.spawn(async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                scope.cx().yield_now().await?;
                if scope.cx().budget().priority == 0 {
                    panic!("a region body's panic");
                }
                End::Ok(())
            })
            .await;
        assert!(matches!(end, Outcome::Panicked(_)));
    });
}

#[test]
fn a_panic_in_a_region_whose_future_was_dropped_reaches_the_region_around_it() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |outer| {
                let mut left = Box::pin(outer.cx().region(async |scope| {
                    scope.spawn(async |cx: Cx| {
                        if cx.sleep(FOREVER).await.is_err() {
                            panic!("a panic during cleanup");
                        }
                        End::Ok(())
                    });
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                }));
                assert!(futures_util::poll!(left.as_mut()).is_pending());
                outer.cx().sleep(TICK).await?;
                drop(left);
                End::Ok(())
            })
            .await;
        // The outer region's error has a shape of its own, of which the heir knows nothing.
        assert!(
            matches!(&end, Outcome::Panicked(payload) if payload.message() == "a panic during cleanup"),
            "{end:?}"
        );
    });
}
