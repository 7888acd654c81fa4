//! Join, race, select, quorum: who runs, who is cancelled, and what comes out.

use std::cell::Cell;
use std::time::Duration;

use asupersync_combinator::{
    AllFailed, QuorumError, Selected, TimeoutError, deadline, fallback, first_ok, join, plain,
    quorum, race, select, select_biased, settle, timeout, try_join,
};
use asupersync_core::{CancelKind, Outcome, OutcomeError, Severity, Time};
use asupersync_kernel::{Cx, Obligation};

use crate::support::{
    AppError, End, FOREVER, Live, TICK, once, quiet_panic, stubborn, under_seeds,
};

async fn after<T>(cx: &Cx, ticks: u32, value: T) -> Result<T, AppError> {
    cx.sleep(TICK * ticks).await?;
    Ok(value)
}

async fn fails_after(cx: &Cx, ticks: u32) -> Result<u32, AppError> {
    after(cx, ticks, ()).await?;
    Err(AppError::Failed(ticks))
}

fn ticks(cx: &Cx) -> u128 {
    cx.now().saturating_since(Time::ZERO).as_millis()
}

#[test]
fn join_gives_every_value_in_its_place_after_the_slowest() {
    under_seeds(20, async |cx| {
        let text = String::from("borrowed");
        let end = join(
            &cx,
            (
                async |cx: Cx| after(&cx, 3, text.len()).await,
                async |cx: Cx| after(&cx, 1, 'b').await,
                plain(after(&cx, 2, 7)),
            ),
        )
        .await;
        assert_eq!(end, Outcome::Ok((8, 'b', 7)));
        assert_eq!(ticks(&cx), 3, "the branches run beside each other");
        let array = join(
            &cx,
            [3, 1, 2].map(|n| async move |cx: Cx| after(&cx, n, n).await),
        )
        .await;
        assert_eq!(array, Outcome::Ok([3, 1, 2]));
        let many: Vec<_> = (0..300)
            .map(|n| async move |cx: Cx| after(&cx, n % 7, n).await)
            .collect();
        assert_eq!(join(&cx, many).await, Outcome::Ok((0..300).collect()));
        let none: Vec<fn(Cx) -> std::future::Ready<End>> = Vec::new();
        assert_eq!(join(&cx, none).await, Outcome::Ok(Vec::new()));
    });
}

#[test]
fn a_combinator_may_run_in_a_task_of_any_worker() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    under_seeds(4, async |cx| {
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| -> Result<u32, OutcomeError<AppError>> {
                    let two = is_send(join(
                        &cx,
                        (async |_: Cx| End::Ok(1), async |_: Cx| End::Ok(2)),
                    ));
                    let (one, two) = two.await.into_result()?;
                    let many: Vec<_> = (0..3).map(|n| async move |_: Cx| End::Ok(n)).collect();
                    let three = is_send(race(&cx, many)).await.into_result()?;
                    let four = is_send(timeout(&cx, TICK, async |cx: Cx| after(&cx, 0, 4).await));
                    let four = four.await.ok().unwrap();
                    Ok(one + two + three + four)
                });
                task.join(scope.cx()).await
            })
            .await;
        assert_eq!(end, Outcome::Ok(7));
    });
}

#[test]
fn join_lets_the_others_end_and_reports_the_worst() {
    under_seeds(20, async |cx| {
        let ended = Cell::new(0);
        let slow = async |cx: Cx| {
            let end = after(&cx, 5, 0).await;
            ended.set(ended.get() + 1);
            end
        };
        let end = join(
            &cx,
            (
                async |cx: Cx| fails_after(&cx, 2).await,
                slow,
                async |cx: Cx| fails_after(&cx, 1).await,
            ),
        )
        .await;
        assert_eq!(
            end,
            Outcome::Err(AppError::Failed(2)),
            "the leftmost of equals"
        );
        assert_eq!((ended.get(), ticks(&cx)), (1, 5), "nobody was disturbed");
    });
}

#[test]
fn a_panic_cancels_and_drains_the_others_and_is_the_outcome() {
    under_seeds(20, async |cx| {
        let live = Live::default();
        let end = join(
            &cx,
            (
                async |cx: Cx| stubborn(cx, live.clone(), FOREVER, TICK).await,
                async |cx: Cx| -> Result<(), AppError> {
                    after(&cx, 2, ()).await?;
                    quiet_panic("a branch broke")
                },
            ),
        )
        .await;
        let Outcome::Panicked(payload) = end else {
            panic!("expected a panic, got {end:?}");
        };
        assert_eq!(payload.message(), "a branch broke");
        assert_eq!((live.count(), ticks(&cx)), (0, 3));
    });
}

#[test]
fn a_panic_in_making_a_branch_is_the_branches() {
    under_seeds(4, async |cx| {
        let broken = |_: Cx| -> std::future::Ready<End> { quiet_panic("no branch") };
        let (fine, broken) = settle(&cx, (async |cx: Cx| after(&cx, 1, 1).await, broken))
            .await
            .ok()
            .unwrap();
        assert_eq!(fine, Outcome::Ok(1));
        assert_eq!(broken.severity(), Severity::Panicked);
    });
}

#[test]
fn try_join_stops_at_the_first_failure_and_drains() {
    under_seeds(20, async |cx| {
        let live = Live::default();
        let reason = Cell::new(None);
        let end = try_join(
            &cx,
            (
                async |cx: Cx| stubborn(cx, live.clone(), FOREVER, TICK * 2).await,
                async |cx: Cx| {
                    let end = after(&cx, 9, ()).await;
                    reason.set(cx.cancel_reason().map(|reason| reason.kind()));
                    end
                },
                async |cx: Cx| fails_after(&cx, 3).await.map(drop),
            ),
        )
        .await;
        assert_eq!(
            end,
            Outcome::Err(AppError::Failed(3)),
            "not the cancellations that it led to"
        );
        assert_eq!(reason.get(), Some(CancelKind::FailFast));
        assert_eq!((live.count(), ticks(&cx)), (0, 5));
        let fine = try_join(
            &cx,
            (
                async |cx: Cx| after(&cx, 1, 1).await,
                async |_: Cx| End::Ok(2),
            ),
        );
        assert_eq!(fine.await, Outcome::Ok((1, 2)));
    });
}

#[test]
fn race_drains_losers_before_returning() {
    under_seeds(40, async |cx| {
        let live = Live::default();
        let kind = Cell::new(None);
        let end = race(
            &cx,
            (
                async |cx: Cx| {
                    stubborn(cx, live.clone(), FOREVER, TICK * 3)
                        .await
                        .map(|()| 0)
                },
                async |cx: Cx| {
                    let end = after(&cx, 60, 1).await;
                    kind.set(cx.cancel_reason().map(|reason| reason.kind()));
                    end
                },
                async |cx: Cx| after(&cx, 2, 2).await,
            ),
        )
        .await;
        assert_eq!(end, Outcome::Ok(2));
        assert_eq!(kind.get(), Some(CancelKind::RaceLost));
        assert_eq!(
            (live.count(), ticks(&cx)),
            (0, 5),
            "the loser cleaned up for 3 ticks"
        );
    });
}

#[test]
fn race_is_won_by_who_ends_first_however_it_ends() {
    under_seeds(10, async |cx| {
        let failed = async |cx: Cx| fails_after(&cx, 1).await;
        let slow = async |cx: Cx| after(&cx, 2, 2).await;
        assert_eq!(
            race(&cx, (slow, failed)).await,
            Outcome::Err(AppError::Failed(1))
        );
        let many: Vec<_> = (1..100)
            .map(|n| async move |cx: Cx| after(&cx, 100 - n, n).await)
            .collect();
        assert_eq!(race(&cx, many).await, Outcome::Ok(99));
    });
}

#[test]
fn a_losers_panic_is_not_lost() {
    under_seeds(10, async |cx| {
        let breaks_when_stopped = async |cx: Cx| -> End<u32> {
            let _ = cx.sleep(FOREVER).await;
            quiet_panic("while draining")
        };
        for index in 0..2 {
            let fine = async |cx: Cx| after(&cx, 1, 1).await;
            let end = match index {
                0 => race(&cx, (breaks_when_stopped, fine)).await,
                _ => first_ok(&cx, (breaks_when_stopped, fine))
                    .await
                    .map_err(|_| AppError::Failed(0)),
            };
            assert_eq!(end.severity(), Severity::Panicked);
        }
    });
}

#[test]
fn a_branch_that_was_not_polled_before_the_verdict_is_not_started() {
    under_seeds(4, async |cx| {
        let started = Cell::new(false);
        let late = |_: Cx| {
            started.set(true);
            std::future::ready(End::Ok(2))
        };
        let end = select_biased(&cx, (async |_: Cx| End::Ok(1), late)).await;
        assert_eq!(end, Outcome::Ok(Selected { index: 0, value: 1 }));
        assert!(!started.get());
    });
}

#[test]
fn select_lets_each_ready_branch_win_and_biased_only_the_first() {
    under_seeds(3, async |cx| {
        let (mut fair, mut biased) = ([0_u32; 3], [0_u32; 3]);
        for _ in 0..90 {
            let ready = [0, 1, 2].map(|n| async move |_: Cx| End::Ok(n));
            fair[select(&cx, ready).await.ok().unwrap().index] += 1;
            let tuple = (
                async |_: Cx| End::Ok(0),
                async |_: Cx| End::Ok(1),
                async |_: Cx| End::Ok(2),
            );
            biased[select_biased(&cx, tuple).await.ok().unwrap().index] += 1;
        }
        assert!(fair.iter().all(|wins| *wins > 10), "{fair:?}");
        assert_eq!(biased, [90, 0, 0]);
    });
}

#[test]
fn first_ok_prefers_success_and_otherwise_gives_every_error() {
    under_seeds(10, async |cx| {
        let fails = async |cx: Cx| fails_after(&cx, 1).await;
        let fine = async |cx: Cx| after(&cx, 3, 3).await;
        let slow = async |cx: Cx| after(&cx, 60, 60).await;
        assert_eq!(first_ok(&cx, (slow, fails, fine)).await, Outcome::Ok(3));
        assert_eq!(ticks(&cx), 3);
        let all: Vec<_> = [3, 1, 2]
            .into_iter()
            .map(|n| async move |cx: Cx| fails_after(&cx, n).await)
            .collect();
        let errors = [3, 1, 2].map(AppError::Failed).to_vec();
        assert_eq!(first_ok(&cx, all).await, Outcome::Err(AllFailed { errors }));
    });
}

#[test]
fn quorum_stops_as_soon_as_it_is_reached_or_impossible() {
    under_seeds(10, async |cx| {
        let replicas = |fails: &'static [u32]| {
            let replica = move |n: u32| {
                async move |cx: Cx| match fails.contains(&n) {
                    true => fails_after(&cx, n).await,
                    false => after(&cx, n, n).await,
                }
            };
            [5, 1, 4, 2, 3].map(replica)
        };
        assert_eq!(
            quorum(&cx, 3, replicas(&[2])).await,
            Outcome::Ok(vec![1, 4, 3])
        );
        assert_eq!(ticks(&cx), 4);
        let end = quorum(&cx, 3, replicas(&[1, 2, 3])).await;
        let errors = [1, 2, 3].map(AppError::Failed).to_vec();
        assert_eq!(
            end,
            Outcome::Err(QuorumError::Impossible {
                needed: 3,
                count: 5,
                errors
            })
        );
        assert_eq!(
            ticks(&cx),
            7,
            "it did not wait for those that could not help"
        );
        assert_eq!(quorum(&cx, 0, replicas(&[])).await, Outcome::Ok(Vec::new()));
        let end = quorum(&cx, 6, replicas(&[])).await;
        assert!(matches!(
            end,
            Outcome::Err(QuorumError::Impossible { count: 5, .. })
        ));
        assert_eq!(ticks(&cx), 7, "nothing was started in vain");
    });
}

#[test]
fn fallback_runs_the_second_only_after_an_error() {
    under_seeds(4, async |cx| {
        let second = async |cx: Cx, error: AppError| {
            assert_eq!(error, AppError::Failed(2));
            after(&cx, 1, 9).await
        };
        let end = fallback(&cx, async |cx: Cx| fails_after(&cx, 2).await, second).await;
        assert_eq!((end, ticks(&cx)), (Outcome::Ok(9), 3));
        let never = async |_: Cx, _: AppError| -> End<u32> { unreachable!("it did not fail") };
        assert_eq!(
            fallback(&cx, async |_: Cx| End::Ok(1), never).await,
            Outcome::Ok(1)
        );
        let broken = async |_: Cx| -> End<u32> { quiet_panic("no error") };
        let end = fallback(&cx, broken, never).await;
        assert_eq!(end.severity(), Severity::Panicked);
    });
}

#[test]
fn a_request_to_the_caller_reaches_every_branch() {
    under_seeds(20, async |cx| {
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| -> End {
                    let many: Vec<_> = (0..20)
                        .map(|_| async |cx: Cx| after(&cx, 1_000_000, ()).await)
                        .collect();
                    let tuple = (async |cx: Cx| after(&cx, 1_000_000, ()).await,);
                    join(
                        &cx,
                        (
                            async |cx: Cx| join(&cx, many).await,
                            async |cx: Cx| race(&cx, tuple).await,
                        ),
                    )
                    .await
                    .map(drop)
                });
                after(scope.cx(), 2, ()).await?;
                task.cancel();
                let end = task.join(scope.cx()).await;
                assert_eq!(end.severity(), Severity::Cancelled);
                Ok::<_, AppError>(())
            })
            .await;
        assert_eq!((end, ticks(&cx)), (Outcome::Ok(()), 2));
    });
}

#[test]
fn branches_spend_the_callers_budget() {
    under_seeds(4, async |cx| {
        let options = asupersync_kernel::RegionOptions::new()
            .budget(asupersync_core::Budget::new().with_cost_quota(10));
        let end = cx
            .region_with(options, async |_scope| {
                join(
                    &_scope.cx().clone(),
                    [6, 3].map(|cost| {
                        async move |cx: Cx| {
                            assert_eq!(cx.budget().cost_quota, Some(10));
                            cx.spend(cost)?;
                            Ok::<_, AppError>(cost)
                        }
                    }),
                )
                .await
            })
            .await;
        assert_eq!(end, Outcome::Ok([6, 3]));
    });
}

#[test]
fn losers_behind_a_shield_are_told_at_once() {
    let report = once(async |cx: Cx| {
        let race = async {
            let slow = async |cx: Cx| after(&cx, 1_000_000, 1).await;
            let quick = async |cx: Cx| after(&cx, 1, 2).await;
            race(&cx, (slow, quick)).await
        };
        cx.shield(race).await
    });
    assert_eq!(report.outcome, Outcome::Ok(2));
    assert_eq!(report.elapsed, TICK);
}

#[test]
fn losers_under_a_mask_are_told_at_once() {
    let report = once(async |cx: Cx| {
        let _mask = cx.mask();
        let slow = async |cx: Cx| after(&cx, 1_000_000, 1).await;
        let end = timeout(&cx, TICK, slow).await;
        assert_eq!(end, Outcome::Err(TimeoutError::Elapsed { after: TICK }));
        race(&cx, (slow, async |cx: Cx| after(&cx, 1, 2).await)).await
    });
    assert_eq!(report.outcome, Outcome::Ok(2));
    assert_eq!(report.elapsed, TICK * 2);
}

#[test]
fn a_deadline_is_in_the_budget_and_ends_the_body() {
    let report = once(async |cx: Cx| {
        let at = cx.now() + TICK * 3;
        let late = deadline(&cx, at, async |cx: Cx| {
            assert_eq!(cx.budget().deadline, Some(at));
            after(&cx, 60, 1).await
        });
        assert_eq!(
            late.await,
            Outcome::Err(TimeoutError::Elapsed { after: TICK * 3 })
        );
        assert_eq!(ticks(&cx), 3);
        let in_time = deadline(&cx, cx.now() + TICK * 9, async |cx: Cx| {
            after(&cx, 2, 7).await
        });
        assert_eq!(in_time.await, Outcome::Ok(7));
        let never = async |_: Cx| -> End<u32> { unreachable!("it is too late to start") };
        let passed = deadline(&cx, Time::ZERO, never).await;
        let after = Duration::ZERO;
        assert_eq!(passed, Outcome::Err(TimeoutError::Elapsed { after }));
        let outer = deadline(&cx, cx.now() + TICK, async |cx: Cx| {
            let at = cx.now() + TICK * 60;
            deadline(&cx, at, async |cx: Cx| after_forever(&cx).await)
                .await
                .map_err(|_| AppError::Failed(0))
        });
        let end = outer.await;
        assert_eq!(end, Outcome::Err(TimeoutError::Elapsed { after: TICK }));
        End::Ok(())
    });
    assert_eq!(report.outcome, Outcome::Ok(()));
}

async fn after_forever(cx: &Cx) -> Result<(), AppError> {
    after(cx, 1_000_000, ()).await
}

#[test]
fn an_obligation_that_a_branch_forgets_is_found_at_its_end() {
    let options = asupersync_lab::LabConfig::default()
        .obligation_leak_response(asupersync_core::LeakResponse::Panic);
    let report = asupersync_lab::LabRuntime::new(options).run(async |cx: Cx| -> End<(u32, u32)> {
        let forgets = async |cx: Cx| {
            let lease = Obligation::reserve(&cx, asupersync_core::ObligationKind::Lease);
            std::mem::forget(lease);
            End::Ok(1)
        };
        join(&cx, (forgets, async |cx: Cx| after(&cx, 1, 2).await)).await
    });
    assert_eq!(report.outcome.severity(), Severity::Panicked);
}
