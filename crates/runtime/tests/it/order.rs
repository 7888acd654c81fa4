//! Which task runs first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asupersync_core::{Budget, CancelKind};
use asupersync_kernel::{Cx, RegionOptions, SpawnOptions};

use crate::support::{End, FOREVER, run_on, runtime};

#[test]
fn tasks_with_deadlines_run_earliest_first_and_before_the_others() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    run_on(&mut runtime(1), async |cx| {
        cx.region(async |scope| {
            let note = |what: u64| {
                let seen = Arc::clone(&seen);
                async move |_: Cx| {
                    seen.lock().unwrap().push(what);
                    End::Ok(())
                }
            };
            for _ in 0..5 {
                scope.spawn(note(0));
            }
            // Every residue modulo 13 but 0, out of order; fewer than the streak limit.
            for step in 1..13_u64 {
                let place = step * 5 % 13;
                let deadline = scope.cx().now() + Duration::from_secs(3600 + place);
                let budget = Budget::new().with_deadline(deadline);
                scope.spawn_with(SpawnOptions::new().budget(budget), note(place));
            }
            End::Ok(())
        })
        .await
        .flatten()
    });
    let seen = seen.lock().unwrap();
    let timed: Vec<u64> = seen.iter().copied().take(12).collect();
    assert_eq!(timed, (1..13).collect::<Vec<_>>());
    assert_eq!(seen.len(), 17);
}

#[test]
fn tasks_of_a_region_with_a_deadline_run_before_the_others() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    run_on(&mut runtime(1), async |cx| {
        cx.region(async |scope| {
            let note = |what: u64| {
                let seen = Arc::clone(&seen);
                async move |_: Cx| {
                    seen.lock().unwrap().push(what);
                    End::Ok(())
                }
            };
            let deadline = scope.cx().now() + FOREVER;
            let options = RegionOptions::new().budget(Budget::new().with_deadline(deadline));
            let timed = scope.cx().region_with(options, async |inner| {
                inner.spawn(note(1));
                // Woken later, so they would run first.
                for _ in 0..5 {
                    scope.spawn(note(0));
                }
                End::Ok(())
            });
            timed.await.flatten()
        })
        .await
        .flatten()
    });
    assert_eq!(*seen.lock().unwrap(), [1, 0, 0, 0, 0, 0]);
}

#[test]
fn among_equal_deadlines_the_higher_priority_runs_first() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    run_on(&mut runtime(1), async |cx| {
        cx.region(async |scope| {
            let deadline = scope.cx().now() + FOREVER;
            for priority in [3, 9, 1, 7] {
                let budget = Budget::new()
                    .with_deadline(deadline)
                    .with_priority(priority);
                let seen = Arc::clone(&seen);
                scope.spawn_with(SpawnOptions::new().budget(budget), async move |_: Cx| {
                    seen.lock().unwrap().push(priority);
                    End::Ok(())
                });
            }
            End::Ok(())
        })
        .await
        .flatten()
    });
    assert_eq!(*seen.lock().unwrap(), [9, 7, 3, 1]);
}

#[test]
fn a_cancelled_task_overtakes_a_full_ready_lane() {
    const BUSY: u64 = 500;
    let polls = Arc::new(AtomicU64::new(0));
    let overtaken = run_on(&mut runtime(1), async |cx| {
        cx.region(async |scope| {
            let counter = Arc::clone(&polls);
            let victim = scope.spawn(async move |cx: Cx| {
                let stopped = cx.sleep(FOREVER).await;
                assert!(stopped.is_err());
                End::Ok(counter.load(Ordering::Relaxed))
            });
            scope.cx().yield_now().await?;
            for _ in 0..BUSY {
                let polls = Arc::clone(&polls);
                scope.spawn(async move |cx: Cx| {
                    for _ in 0..10 {
                        polls.fetch_add(1, Ordering::Relaxed);
                        cx.yield_now().await?;
                    }
                    End::Ok(())
                });
            }
            let before = polls.load(Ordering::Relaxed);
            victim.cancel();
            let seen = victim.join(scope.cx()).await.flatten()?;
            End::Ok(seen - before)
        })
        .await
        .flatten()
    });
    assert_eq!(polls.load(Ordering::Relaxed), BUSY * 10);
    assert!(
        overtaken <= 2,
        "{overtaken} polls of ready tasks came first"
    );
}

#[test]
fn a_task_in_which_a_region_was_cancelled_is_urgent_once() {
    const YIELDS: u64 = 500;
    let mut runtime = runtime(1);
    run_on(&mut runtime, async |cx| {
        cx.region(async |scope| {
            let task = scope.spawn(async |cx: Cx| {
                let _ = cx
                    .region(async |inner| {
                        inner.cancel(CancelKind::User);
                        End::Ok(inner.cx().sleep(FOREVER).await?)
                    })
                    .await;
                for _ in 0..YIELDS {
                    cx.yield_now().await?;
                }
                End::Ok(())
            });
            task.join(scope.cx()).await
        })
        .await
        .flatten()
    });
    let worker = runtime.metrics().workers[0];
    assert!(worker.ready > YIELDS, "{worker:?}");
    assert!(worker.cancel < 10, "{worker:?}");
}
