//! Poll quota, cost quota and deadline are enforced by the runtime, meet along the tree, and show in the reason.

use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{Budget, CAUSES_MAX, CancelKind, Outcome, Time};
use asupersync_kernel::{Cx, RegionOptions, SpawnOptions};

use crate::support::{End, FOREVER, TICK, reason_of};

/// Polls without end and without a checkpoint, until dropped.
async fn busy() {
    std::future::poll_fn(|task| -> Poll<()> {
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_deadline_fires_by_timer_and_not_only_at_checkpoints() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let budget = Budget::new().with_deadline(scope.cx().now() + TICK);
                let task = scope.spawn_with(SpawnOptions::new().budget(budget), async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                let id = task.id();
                let reason = reason_of(task.join(scope.cx()).await);
                assert_eq!(reason.kind(), CancelKind::Deadline);
                assert_eq!(reason.origin().task, Some(id));
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_regions_deadline_cancels_body_and_children() {
    on_both_hosts(async |cx| {
        let budget = Budget::new().with_deadline(cx.now() + TICK);
        let end = cx
            .region_with(RegionOptions::new().budget(budget), async |scope| {
                scope.spawn(async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                scope.cx().sleep(FOREVER).await?;
                End::Ok(())
            })
            .await;
        assert_eq!(reason_of(end).kind(), CancelKind::Deadline);
    });
}

#[test]
fn a_poll_quota_stops_code_that_never_asks() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let budget = Budget::new().with_poll_quota(25);
                let task = scope.spawn_with(SpawnOptions::new().budget(budget), async |_: Cx| {
                    busy().await;
                    End::Ok(())
                });
                let reason = reason_of(task.join(scope.cx()).await);
                assert_eq!(reason.kind(), CancelKind::PollQuota);
                assert!(reason.escalated(), "it had to be dropped where it stood");
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_poll_quota_stops_the_body_of_a_region_too() {
    on_both_hosts(async |cx| {
        let polls = AtomicU32::new(0);
        let budget = Budget::new().with_poll_quota(25);
        let end = cx
            .region_with(RegionOptions::new().budget(budget), async |_| {
                let mut left = 1_000_u32;
                std::future::poll_fn(|task| {
                    polls.fetch_add(1, Ordering::Relaxed);
                    left -= 1;
                    if left == 0 {
                        return Poll::Ready(());
                    }
                    task.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
                End::Ok(())
            })
            .await;
        let reason = reason_of(end);
        assert_eq!(reason.kind(), CancelKind::PollQuota);
        assert!(reason.escalated(), "it had to be dropped where it stood");
        // The quota, the cleanup of this kind, and the grace.
        let kind = CancelKind::PollQuota;
        let cleanup = kind.cleanup_budget(Time::ZERO).poll_quota;
        let polls = polls.load(Ordering::Relaxed);
        assert!((25..=25 + cleanup + 32).contains(&polls), "{polls}");
    });
}

#[test]
fn a_cost_quota_stops_whoever_spends_it() {
    on_both_hosts(async |cx| {
        let budget = Budget::new().with_cost_quota(10);
        let end = cx
            .region_with(RegionOptions::new().budget(budget), async |scope| {
                let mut spent = 0;
                loop {
                    scope.cx().spend(3)?;
                    spent += 3;
                    assert!(spent <= 10);
                    if spent > 100 {
                        return End::Ok(());
                    }
                }
            })
            .await;
        assert_eq!(reason_of(end).kind(), CancelKind::CostBudget);
    });
}

#[test]
fn budgets_meet_along_the_tree() {
    on_both_hosts(async |cx| {
        let outer = Budget::new()
            .with_deadline(Time::from_secs(1_000_000))
            .with_poll_quota(100_000)
            .with_priority(2);
        let inner = Budget::new()
            .with_deadline(Time::from_secs(2_000_000))
            .with_poll_quota(5_000)
            .with_cost_quota(7)
            .with_priority(1);
        let end = cx
            .region_with(RegionOptions::new().budget(outer), async |scope| {
                let task = scope.spawn_with(SpawnOptions::new().budget(inner), async |cx: Cx| {
                    let here = cx.budget();
                    let nested = cx
                        .region(async |scope| End::Ok(scope.cx().budget()))
                        .await
                        .flatten()?;
                    assert_eq!(nested, here);
                    End::Ok(here)
                });
                task.join(scope.cx()).await.flatten()
            })
            .await;
        assert_eq!(end, Outcome::Ok(outer.meet(inner)));
    });
}

/// A region that narrows nothing has the terms of the one above, which must then outlive it.
#[test]
fn a_context_that_is_kept_has_its_budget_and_its_clock_after_the_regions_above_it_have_closed() {
    on_both_hosts(async |cx| {
        let own = Budget::new().with_poll_quota(5_000).with_priority(3);
        let kept = cx
            .region_with(RegionOptions::new().budget(own), async |scope| {
                scope
                    .cx()
                    .region(async |inner| End::Ok(inner.cx().clone()))
                    .await
                    .flatten()
            })
            .await;
        let Outcome::Ok(kept) = kept else {
            panic!("nothing was cancelled");
        };
        // What was freed is taken by others.
        for _ in 0..3 {
            let other = RegionOptions::new().budget(Budget::new().with_priority(9));
            let end = cx.region_with(other, async |_| End::Ok(())).await;
            assert!(end.is_ok());
        }
        assert_eq!(kept.budget(), cx.budget().meet(own));
        assert!(kept.now() <= cx.now());
    });
}

#[test]
fn an_unjoined_child_that_ran_out_of_its_budget_shows_in_the_regions_outcome() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let budget = Budget::new().with_deadline(scope.cx().now() + TICK);
                scope.spawn_with(SpawnOptions::new().budget(budget), async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                End::Ok(())
            })
            .await;
        assert_eq!(reason_of(end).kind(), CancelKind::Deadline);
    });
}

/// Opens `depth` regions within each other and cancels the outermost.
fn nested<'a>(
    cx: &'a Cx,
    depth: usize,
) -> std::pin::Pin<Box<dyn Future<Output = End> + Send + 'a>> {
    Box::pin(async move {
        if depth == 0 {
            let cancelled = cx
                .sleep(FOREVER)
                .await
                .expect_err("nothing else ends the sleep");
            let reason = cancelled.reason();
            assert_eq!(reason.kind(), CancelKind::ParentCancelled);
            let mut links = 0;
            let mut link = reason;
            while let Some(cause) = link.cause() {
                link = cause;
                links += 1;
            }
            assert_eq!(links, CAUSES_MAX, "the chain is bounded");
            assert!(reason.is_truncated(), "and says that it was cut");
            return Err(cancelled.into());
        }
        cx.region(async |scope| nested(scope.cx(), depth - 1).await)
            .await
            .flatten()
    })
}

#[test]
fn the_chain_of_causes_is_bounded_and_says_when_it_is_cut() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| nested(&cx, 20).await);
                scope.cx().sleep(TICK).await?;
                task.cancel();
                End::Ok(reason_of(task.join(scope.cx()).await).kind())
            })
            .await;
        assert_eq!(end, Outcome::Ok(CancelKind::ParentCancelled));
    });
}
