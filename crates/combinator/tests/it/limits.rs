//! Bulkhead, rate limit, load shedding and the adaptive limit.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use asupersync_combinator::{
    AdaptiveLimit, AdaptiveOptions, Bulkhead, BulkheadOptions, CodelOptions, LimitAlgorithm,
    LoadShed, Policy, PolicyError, Rate, RateAlgorithm, RateLimitError, RateLimitOptions,
    RateLimiter,
};
use asupersync_core::{Outcome, Severity};
use asupersync_kernel::{Cx, Scope};

use crate::support::{AppError, FOREVER, TICK, ticks, under_seeds};

/// What happened to each of some tasks: its number, when, and what.
type Log<T> = Arc<Mutex<Vec<(u32, u64, T)>>>;

fn sorted<T: Clone + Ord>(log: &Log<T>) -> Vec<(u32, u64, T)> {
    let mut log = log
        .lock()
        .expect("no test panics while it holds it")
        .clone();
    log.sort();
    log
}

#[test]
fn a_bulkhead_bounds_who_runs_who_waits_and_how_long_in_line() {
    under_seeds(20, async |cx| {
        let options = BulkheadOptions::new(2).line(3, TICK * 15);
        let bulkhead = Arc::new(Bulkhead::new(options));
        let log: Log<&str> = Log::default();
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for number in 0..7 {
                    let policy = Policy::builder().with(Arc::clone(&bulkhead)).build();
                    let log = Arc::clone(&log);
                    scope.spawn(async move |cx: Cx| {
                        cx.sleep(TICK * number).await?;
                        let end = policy
                            .run(&cx, async |cx: Cx| {
                                let entry = (number, ticks(&cx), "runs");
                                log.lock().unwrap().push(entry);
                                cx.sleep(TICK * 10).await.map_err(AppError::from)
                            })
                            .await;
                        let full = match end {
                            Outcome::Err(PolicyError::BulkheadFull { waited }) => waited,
                            _ => return Ok(()),
                        };
                        let what = if full.is_zero() {
                            "line full"
                        } else {
                            "too long"
                        };
                        log.lock().unwrap().push((number, ticks(&cx), what));
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        let expected = [
            (0, 0, "runs"),
            (1, 1, "runs"),
            (2, 10, "runs"),
            (3, 11, "runs"),
            (4, 19, "too long"),
            (5, 5, "line full"),
            (6, 6, "line full"),
        ];
        assert_eq!(sorted(&log), expected);
        assert_eq!((bulkhead.available(), bulkhead.waiting()), (2, 0));
    });
}

#[test]
fn a_line_that_stands_is_shed() {
    under_seeds(5, async |cx| {
        let codel = CodelOptions::new(TICK * 5, TICK * 20);
        let options = BulkheadOptions::new(1).line(100, FOREVER).codel(codel);
        let bulkhead = Arc::new(Bulkhead::new(options));
        let shed = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..50 {
                    let policy = Policy::builder().with(Arc::clone(&bulkhead)).build();
                    let shed = Arc::clone(&shed);
                    scope.spawn(async move |cx: Cx| {
                        let end = policy
                            .run(&cx, async |cx: Cx| {
                                cx.sleep(TICK * 3).await.map_err(AppError::from)
                            })
                            .await;
                        if let Outcome::Err(PolicyError::Shed { waited }) = end {
                            assert!(waited >= TICK * 25);
                            shed.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        let shed = shed.load(Ordering::Relaxed);
        assert!((5..40).contains(&shed), "{shed} of 50 were shed");
        assert_eq!(bulkhead.available(), 1, "who is shed leaves the place");
    });
}

#[test]
fn a_rate_spaces_calls_exactly_in_line_and_says_when_to_come_back() {
    for algorithm in [RateAlgorithm::Gcra, RateAlgorithm::TokenBucket] {
        under_seeds(20, async |cx| {
            let rate = Rate::new(1, TICK * 10).burst(2);
            let options = RateLimitOptions::new(rate)
                .algorithm(algorithm)
                .line(9, TICK * 25);
            let limiter = Arc::new(RateLimiter::new(options));
            let log: Log<u64> = Log::default();
            let end = cx
                .region(async |scope: Scope<'_, AppError>| {
                    for number in 0..6 {
                        let policy = Policy::builder().with(Arc::clone(&limiter)).build();
                        let log = Arc::clone(&log);
                        scope.spawn(async move |cx: Cx| {
                            cx.sleep(TICK * number).await?;
                            let end = policy
                                .run(&cx, async |cx: Cx| Ok::<_, AppError>(ticks(&cx)))
                                .await;
                            let entry = match end {
                                Outcome::Ok(at) => (number, at, 0),
                                Outcome::Err(PolicyError::RateLimited { retry_after }) => {
                                    let after = retry_after.as_millis().try_into().unwrap();
                                    (number, ticks(&cx), after)
                                }
                                other => panic!("{other:?}"),
                            };
                            log.lock().unwrap().push(entry);
                            Ok::<_, AppError>(())
                        });
                    }
                    Ok::<_, AppError>(())
                })
                .await;
            assert!(end.is_ok());
            let expected = [
                (0, 0, 0),
                (1, 1, 0),
                (2, 10, 0),
                (3, 20, 0),
                // Its turn would be at 30, 26 after it came: it is told so at once.
                (4, 4, 26),
                (5, 30, 0),
            ];
            assert_eq!(sorted(&log), expected);
            assert_eq!(limiter.waiting(), 0);
        });
    }
}

#[test]
fn who_leaves_the_line_leaves_nothing_behind() {
    under_seeds(20, async |cx| {
        let rate = Rate::new(1, TICK * 10).burst(1);
        let limiter = Arc::new(RateLimiter::new(
            RateLimitOptions::new(rate).line(9, FOREVER),
        ));
        assert_eq!(limiter.try_acquire(&cx, 1), Ok(()));
        let log: Log<()> = Log::default();
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                let tasks: Vec<_> = (0..4)
                    .map(|number| {
                        let (limiter, log) = (Arc::clone(&limiter), Arc::clone(&log));
                        scope.spawn(async move |cx: Cx| {
                            cx.sleep(TICK * number).await?;
                            match limiter.acquire(&cx, 1).await {
                                Ok(()) => log.lock().unwrap().push((number, ticks(&cx), ())),
                                Err(RateLimitError::Cancelled(_)) => {}
                                Err(other) => panic!("{other}"),
                            }
                            Ok::<_, AppError>(())
                        })
                    })
                    .collect();
                scope.cx().sleep(TICK * 5).await?;
                tasks[0].cancel();
                tasks[2].cancel();
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!(sorted(&log), [(1, 10, ()), (3, 20, ())]);
    });
}

#[test]
fn a_cost_above_the_burst_never_comes_and_is_told_so() {
    under_seeds(2, async |cx| {
        let rate = Rate::new(5, TICK).burst(3);
        let limiter = RateLimiter::new(RateLimitOptions::new(rate).line(9, FOREVER));
        let expected = Err(RateLimitError::CostAboveBurst { cost: 4, burst: 3 });
        assert_eq!(limiter.try_acquire(&cx, 4), expected);
        assert_eq!(limiter.acquire(&cx, 4).await, expected);
        assert_eq!(limiter.acquire(&cx, 3).await, Ok(()));
        assert!(limiter.try_acquire(&cx, 1).is_err());
    });
}

#[test]
fn load_beyond_the_bound_is_shed_at_once_and_the_count_comes_back() {
    under_seeds(10, async |cx| {
        let shed = Arc::new(LoadShed::in_flight(3));
        let served = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..10 {
                    let policy = Policy::builder().with(Arc::clone(&shed)).build();
                    let served = Arc::clone(&served);
                    scope.spawn(async move |cx: Cx| {
                        let end = policy
                            .run(&cx, async |cx: Cx| {
                                cx.sleep(TICK).await.map_err(AppError::from)
                            })
                            .await;
                        match end {
                            Outcome::Ok(()) => served.fetch_add(1, Ordering::Relaxed),
                            end => {
                                assert_eq!((end.severity(), ticks(&cx)), (Severity::Err, 0));
                                0
                            }
                        };
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!((served.load(Ordering::Relaxed), shed.current()), (3, 0));
    });
}

#[test]
fn the_adaptive_limit_finds_what_the_server_takes() {
    under_seeds(3, async |cx| {
        // The server takes ten at a time; beyond that each call takes as much longer.
        let algorithm = LimitAlgorithm::Aimd {
            keep_percent: 80,
            slow: TICK * 15,
        };
        let options = AdaptiveOptions::new(algorithm).limits(50, 1, 100);
        let limit = Arc::new(AdaptiveLimit::new(options));
        let load = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..60 {
                    let policy = Policy::builder().with(Arc::clone(&limit)).build();
                    let load = Arc::clone(&load);
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..60 {
                            let end = policy
                                .run(&cx, async |cx: Cx| {
                                    let now = load.fetch_add(1, Ordering::Relaxed) + 1;
                                    let end = cx.sleep(TICK * now.max(10)).await;
                                    load.fetch_sub(1, Ordering::Relaxed);
                                    end.map_err(AppError::from)
                                })
                                .await;
                            if !end.is_ok() {
                                cx.sleep(TICK * 5).await?;
                            }
                        }
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        let found = limit.limit();
        assert!((6..=20).contains(&found), "the limit is {found}");
        assert_eq!(limit.in_flight(), 0);
    });
}
