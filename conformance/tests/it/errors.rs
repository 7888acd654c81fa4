//! Policies act on child errors and panics; every error is delivered once; the root cause wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, ChildEnd, Collect, Decision, Outcome, Policy, Severity};
use asupersync_kernel::{Cx, RegionOptions};

use crate::support::{AppError, End, FOREVER, TICK, reason_of};

#[test]
fn fail_fast_cancels_siblings_and_body_and_names_the_child() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let failing = scope.spawn(async |cx: Cx| {
                    cx.sleep(TICK).await?;
                    End::<()>::Err(AppError::Failed(1))
                });
                let sibling = scope.spawn(async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                let culprit = failing.id();
                let cancelled = scope.cx().sleep(FOREVER).await.unwrap_err();
                assert_eq!(cancelled.reason().kind(), CancelKind::FailFast);
                assert_eq!(cancelled.reason().origin().task, Some(culprit));
                let mask = scope.cx().mask();
                let reason = reason_of(sibling.join(scope.cx()).await);
                drop(mask);
                assert_eq!(reason.kind(), CancelKind::FailFast);
                assert_eq!(reason.origin().task, Some(culprit));
                drop(failing);
                Err::<(), AppError>(cancelled.into())
            })
            .await;
        assert_eq!(
            end,
            Outcome::Err(AppError::Failed(1)),
            "the root cause wins"
        );
    });
}

#[test]
fn collect_lets_siblings_go_on() {
    on_both_hosts(async |cx| {
        let end = cx
            .region_with(RegionOptions::new().policy(Collect), async |scope| {
                let failing = scope.spawn(async |_: Cx| End::<()>::Err(AppError::Failed(2)));
                let sibling = scope.spawn(async |cx: Cx| {
                    cx.sleep(TICK).await?;
                    End::Ok(5)
                });
                assert_eq!(sibling.join(scope.cx()).await, Outcome::Ok(5));
                drop(failing);
                End::Ok(9)
            })
            .await;
        assert_eq!(
            end,
            Outcome::Err(AppError::Failed(2)),
            "nobody joined the failed child"
        );
    });
}

#[test]
fn a_joined_error_is_not_delivered_again() {
    on_both_hosts(async |cx| {
        let end = cx
            .region_with(RegionOptions::new().policy(Collect), async |scope| {
                let failing = scope.spawn(async |_: Cx| End::<()>::Err(AppError::Failed(3)));
                let joined = failing.join(scope.cx()).await;
                assert_eq!(joined, Outcome::Err(AppError::Failed(3)));
                End::Ok(1)
            })
            .await;
        assert_eq!(end, Outcome::Ok(1));
    });
}

#[test]
fn an_error_that_nobody_joined_is_delivered_beside_one_that_was_joined() {
    on_both_hosts(async |cx| {
        let end = cx
            .region_with(RegionOptions::new().policy(Collect), async |scope| {
                let failing = scope.spawn(async |_: Cx| End::<()>::Err(AppError::Failed(4)));
                let joined = failing.join(scope.cx()).await;
                assert_eq!(joined, Outcome::Err(AppError::Failed(4)));
                drop(scope.spawn(async |_: Cx| End::<()>::Err(AppError::Failed(5))));
                End::Ok(1)
            })
            .await;
        assert_eq!(end, Outcome::Err(AppError::Failed(5)));
    });
}

#[test]
fn a_panic_is_worse_than_an_error() {
    on_both_hosts(async |cx| {
        let end = cx
            .region_with(RegionOptions::new().policy(Collect), async |scope| {
                scope.spawn(async |_: Cx| End::<()>::Err(AppError::Failed(4)));
                scope.spawn(async |_: Cx| -> End { panic!("a child's panic") });
                scope.spawn(async |_: Cx| End::<()>::Err(AppError::Failed(5)));
                End::Ok(())
            })
            .await;
        assert_eq!(end.severity(), Severity::Panicked);
    });
}

#[test]
fn a_child_error_converts_into_the_regions() {
    #[derive(Debug, thiserror::Error)]
    #[error("narrow")]
    struct Narrow;
    impl From<Narrow> for AppError {
        fn from(_: Narrow) -> Self {
            Self::Failed(77)
        }
    }
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                scope.spawn(async |_: Cx| Err::<(), Narrow>(Narrow));
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Err(AppError::Failed(77)));
    });
}

#[test]
fn a_failed_body_cancels_its_children_before_the_region_returns() {
    on_both_hosts(async |cx| {
        let stopped = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&stopped);
        let end = cx
            .region(async |scope| {
                for _ in 0..3 {
                    let stopped = Arc::clone(&stopped);
                    scope.spawn(async move |cx: Cx| {
                        let slept = cx.sleep(FOREVER).await;
                        stopped.fetch_add(1, Ordering::SeqCst);
                        slept?;
                        End::Ok(())
                    });
                }
                scope.cx().yield_now().await?;
                End::<()>::Err(AppError::Failed(6))
            })
            .await;
        assert_eq!(end, Outcome::Err(AppError::Failed(6)));
        assert_eq!(seen.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn the_policy_is_consulted_once_for_each_child_and_decides() {
    struct Counting(Arc<AtomicUsize>);
    impl Policy for Counting {
        fn on_child_end(&self, _end: &ChildEnd) -> Decision {
            let seen = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            if seen == 3 {
                Decision::CancelRest
            } else {
                Decision::Continue
            }
        }
    }
    on_both_hosts(async |cx| {
        let consulted = Arc::new(AtomicUsize::new(0));
        let options = RegionOptions::new().policy(Counting(Arc::clone(&consulted)));
        let end = cx
            .region_with(options, async |scope| {
                for _ in 0..3 {
                    scope.spawn(async |cx: Cx| {
                        cx.yield_now().await?;
                        End::Ok(())
                    });
                }
                scope.cx().sleep(FOREVER).await?;
                End::Ok(())
            })
            .await;
        assert_eq!(reason_of(end).kind(), CancelKind::FailFast);
        assert_eq!(consulted.load(Ordering::SeqCst), 3);
    });
}

#[test]
fn a_cancelled_region_is_cancelled_whatever_its_children_returned() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |outer| {
                let inner = outer.fiber(async |cx: Cx| {
                    cx.region(async |scope| {
                        scope.spawn(async |cx: Cx| {
                            let _ = cx.sleep(FOREVER).await;
                            End::Ok(())
                        });
                        scope.cx().sleep(FOREVER).await?;
                        End::Ok(())
                    })
                    .await
                });
                inner.cancel(CancelKind::Timeout);
                End::Ok(reason_of(inner.await).kind())
            })
            .await;
        assert_eq!(end, Outcome::Ok(CancelKind::ParentCancelled));
    });
}
