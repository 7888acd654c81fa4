//! The contract of single-flight calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_core::{Cancelled, IntoOutcome, Outcome};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_sync::{FlightError, SingleFlight};

use crate::support::{End, drop_after, settle, under_seeds, within};

#[derive(Clone, PartialEq, Debug, thiserror::Error)]
enum WorkError {
    #[error("broken")]
    Broken,
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

type Flights = Arc<SingleFlight<u32, u64, WorkError>>;

/// Work that takes some turns, and counts that it ran and that no other runs.
async fn work(
    cx: &Cx,
    runs: &AtomicU64,
    running: &AtomicU64,
    turns: u64,
) -> Result<u64, WorkError> {
    struct Running<'a>(&'a AtomicU64);
    impl Drop for Running<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
    let _running = Running(running);
    let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
    for _ in 0..turns {
        cx.yield_now().await?;
    }
    Ok(run)
}

#[test]
fn concurrent_calls_by_key_run_once_and_later_ones_again() {
    under_seeds(60, async |cx| {
        let flights = Flights::default();
        let runs = Arc::new(AtomicU64::new(0));
        for round in 1..=2 {
            within(&cx, async |scope| {
                let calls: Vec<_> = (0..5)
                    .map(|_| {
                        let (flights, runs) = (Arc::clone(&flights), Arc::clone(&runs));
                        scope.spawn(async move |cx: Cx| {
                            let running = AtomicU64::new(0);
                            // Long enough for all five to come.
                            let work = async || work(&cx, &runs, &running, 200).await;
                            End::Ok(flights.run(&cx, 7, work).await)
                        })
                    })
                    .collect();
                for call in calls {
                    assert_eq!(call.join(scope.cx()).await.ok().unwrap(), Ok(round));
                }
            })
            .await;
            assert!(flights.is_empty());
        }
    });
}

#[test]
fn other_keys_fly_on_their_own() {
    under_seeds(1, async |cx| {
        let flights = Flights::default();
        let outer = flights
            .run(&cx, 1, async || {
                assert_eq!(flights.len(), 1);
                let inner = flights.run(&cx, 2, async || Ok(5)).await;
                Ok(inner.unwrap() + 1)
            })
            .await;
        assert_eq!(outer, Ok(6));
        assert!(flights.is_empty());
    });
}

#[test]
fn an_error_goes_to_everybody() {
    under_seeds(20, async |cx| {
        within(&cx, async |scope| {
            let flights = Flights::default();
            let calls: Vec<_> = (0..4)
                .map(|_| Arc::clone(&flights))
                .map(|flights| {
                    scope.spawn(async move |cx: Cx| {
                        let work = async || {
                            settle(&cx).await;
                            settle(&cx).await;
                            Err(WorkError::Broken)
                        };
                        End::Ok(flights.run(&cx, 0, work).await)
                    })
                })
                .collect();
            for call in calls {
                let end = call.join(scope.cx()).await.ok().unwrap();
                assert_eq!(end, Err(FlightError::Failed(WorkError::Broken)));
            }
        })
        .await;
    });
}

/// Spawns a leader whose work never ends, and followers; then ends the leader.
fn check_succession(end: impl Fn(&asupersync_kernel::JoinHandle<(), WorkError>), panics: bool) {
    let end = &end;
    under_seeds(40, move |cx| async move {
        let options = RegionOptions::new().policy(asupersync_core::Collect);
        let _ = cx
            .region_with(options, async |scope| {
                let flights = Flights::default();
                let (stop, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
                let leader = {
                    let (flights, stop) = (Arc::clone(&flights), Arc::clone(&stop));
                    scope.spawn(async move |cx: Cx| {
                        let work = async || {
                            while stop.load(Ordering::SeqCst) == 0 {
                                cx.yield_now().await?;
                            }
                            panic!("on purpose");
                        };
                        flights
                            .run(&cx, 0, work)
                            .await
                            .map(drop)
                            .map_err(|error| match error {
                                FlightError::Failed(error) => error,
                                _ => WorkError::Broken,
                            })
                    })
                };
                while flights.is_empty() {
                    scope.cx().yield_now().await?;
                }
                let runs = Arc::new(AtomicU64::new(0));
                let followers: Vec<_> = (0..4)
                    .map(|_| (Arc::clone(&flights), Arc::clone(&runs)))
                    .map(|(flights, runs)| {
                        let stopped = Arc::clone(&stopped);
                        scope.spawn(async move |cx: Cx| {
                            let running = AtomicU64::new(0);
                            let work = async || work(&cx, &runs, &running, 100).await;
                            let end = flights.run(&cx, 0, work).await;
                            stopped.fetch_add(1, Ordering::SeqCst);
                            Ok::<_, WorkError>(end)
                        })
                    })
                    .collect();
                settle(scope.cx()).await;
                assert_eq!(
                    stopped.load(Ordering::SeqCst),
                    0,
                    "they wait for the leader"
                );
                if panics {
                    stop.store(1, Ordering::SeqCst);
                }
                end(&leader);
                let ended = leader.join(scope.cx()).await;
                assert_eq!(matches!(ended, Outcome::Panicked(_)), panics);
                assert_eq!(ended.is_cancelled(), !panics);
                for follower in followers {
                    let end = follower.join(scope.cx()).await.ok();
                    assert_eq!(end.expect("it is not cancelled"), Ok(1));
                }
                assert!(flights.is_empty());
                Ok::<_, WorkError>(())
            })
            .await;
    });
}

#[test]
fn a_cancelled_leader_takes_nobody_along() {
    check_succession(asupersync_kernel::JoinHandle::cancel, false);
}

#[test]
fn a_panicking_leader_takes_nobody_along() {
    check_succession(|_| {}, true);
}

#[test]
fn every_call_ends_and_none_is_left_wherever_calls_are_dropped() {
    under_seeds(150, async |cx| {
        let flights = Flights::default();
        let runs = Arc::new(AtomicU64::new(0));
        let running: Arc<[AtomicU64; 2]> = Arc::default();
        within(&cx, async |scope| {
            for _ in 0..6 {
                let (flights, runs, running) = (
                    Arc::clone(&flights),
                    Arc::clone(&runs),
                    Arc::clone(&running),
                );
                scope.spawn(async move |cx: Cx| {
                    for _ in 0..8 {
                        let key = (cx.random_u64() % 2) as u32;
                        let (polls, turns) = (cx.random_u64() % 6, cx.random_u64() % 4);
                        let work = async || work(&cx, &runs, &running[key as usize], turns).await;
                        let end = drop_after(&cx, flights.run(&cx, key, work), polls).await;
                        assert!(end.is_none_or(|end| end.is_ok()));
                    }
                    // The last call is waited for: were the flight wedged, the lab would report a stall.
                    let work = async || work(&cx, &runs, &running[0], 2).await;
                    assert!(flights.run(&cx, 0, work).await.is_ok());
                    End::Ok(())
                });
            }
        })
        .await;
        assert!(flights.is_empty());
    });
}

#[test]
fn a_cancelled_follower_says_that_nothing_was_started() {
    under_seeds(20, async |cx| {
        within(&cx, async |scope| {
            let flights = Flights::default();
            let leader = {
                let flights = Arc::clone(&flights);
                scope.spawn(async move |cx: Cx| {
                    let work = async || {
                        settle(&cx).await;
                        settle(&cx).await;
                        settle(&cx).await;
                        Ok(3)
                    };
                    End::Ok(flights.run(&cx, 0, work).await)
                })
            };
            while flights.is_empty() {
                scope.cx().yield_now().await.unwrap();
            }
            let follower = scope.spawn(async move |cx: Cx| {
                let end = flights.run(&cx, 0, async || Ok(4)).await;
                let error = end.unwrap_err();
                assert_eq!(error.effect(), asupersync_core::Effect::NotStarted);
                End::Ok(Err::<(), _>(error).into_outcome().is_cancelled())
            });
            follower.cancel();
            assert!(follower.join(scope.cx()).await.ok().unwrap());
            assert_eq!(leader.join(scope.cx()).await.ok().unwrap(), Ok(3));
        })
        .await;
    });
}
