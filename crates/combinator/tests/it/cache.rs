//! The cache: one load for all who ask, stale values, and loads that do not end well.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_combinator::{CacheAside, CacheOptions, PolicyError};
use asupersync_core::{Outcome, Severity};
use asupersync_kernel::{Cx, Scope};

use crate::support::{AppError, End, TICK, quiet_panic, ticks, under_seeds};

type Cache = CacheAside<u32, u32, AppError>;

fn options() -> CacheOptions {
    CacheOptions::new(2, TICK * 10)
}

/// Loads for three ticks; gives the number of the load.
async fn load(cx: Cx, loads: &AtomicU32) -> Result<u32, AppError> {
    let number = loads.fetch_add(1, Ordering::Relaxed) + 1;
    cx.sleep(TICK * 3).await?;
    Ok(number)
}

#[test]
fn of_many_who_ask_at_once_one_loads() {
    under_seeds(20, async |cx| {
        let (cache, loads) = (Arc::new(Cache::new(options())), Arc::new(AtomicU32::new(0)));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..10 {
                    let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
                    scope.spawn(async move |cx: Cx| {
                        let end = cache.get(&cx, 1, |cx: Cx| load(cx, &loads)).await;
                        assert_eq!((end, ticks(&cx)), (Outcome::Ok(1), 3));
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_value_is_kept_for_its_time_and_the_least_used_goes_first() {
    under_seeds(5, async |cx| {
        let (cache, loads) = (Cache::new(options()), AtomicU32::new(0));
        let get = async |key| cache.get(&cx, key, |cx: Cx| load(cx, &loads)).await.ok();
        assert_eq!(get(1).await, Some(1));
        assert_eq!(get(2).await, Some(2));
        assert_eq!(get(1).await, Some(1));
        assert_eq!(get(3).await, Some(3), "2 goes for it");
        assert_eq!((get(1).await, cache.len()), (Some(1), 2));
        assert_eq!(get(2).await, Some(4));
        // Loaded at 3, 13 old at 16.
        assert!(
            cx.sleep_until(asupersync_core::Time::from_millis(16))
                .await
                .is_ok()
        );
        assert_eq!(get(1).await, Some(5));
        assert!(cache.invalidate(&1));
        assert_eq!(get(1).await, Some(6));
    });
}

#[test]
fn while_one_refreshes_the_others_get_the_stale_value_at_once() {
    under_seeds(20, async |cx| {
        let cache = Arc::new(Cache::new(options().stale_while_revalidate(TICK * 10)));
        let loads = Arc::new(AtomicU32::new(0));
        let first = cache.get(&cx, 1, |cx: Cx| load(cx, &loads)).await;
        assert_eq!(first, Outcome::Ok(1));
        assert!(cx.sleep(TICK * 12).await.is_ok());
        let fresh = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..5 {
                    let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
                    let fresh = Arc::clone(&fresh);
                    scope.spawn(async move |cx: Cx| {
                        match cache.get(&cx, 1, |cx: Cx| load(cx, &loads)).await {
                            Outcome::Ok(1) => assert_eq!(ticks(&cx), 15),
                            Outcome::Ok(2) => {
                                assert_eq!(ticks(&cx), 18);
                                fresh.fetch_add(1, Ordering::Relaxed);
                            }
                            other => panic!("{other:?}"),
                        }
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!(fresh.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_stale_value_stands_in_for_an_error_and_for_nothing_else() {
    under_seeds(5, async |cx| {
        let cache = Cache::new(options().stale_on_error(TICK * 10));
        let loads = AtomicU32::new(0);
        let first = cache.get(&cx, 1, |cx: Cx| load(cx, &loads)).await;
        assert_eq!(first, Outcome::Ok(1));
        assert!(cx.sleep(TICK * 12).await.is_ok());
        let fails = async |_: Cx| Err::<u32, _>(AppError::Failed(7));
        assert_eq!(cache.get(&cx, 1, fails).await, Outcome::Ok(1));
        let panics = async |_: Cx| -> End<u32> { quiet_panic("it broke") };
        assert_eq!(
            cache.get(&cx, 1, panics).await.severity(),
            Severity::Panicked
        );
        assert!(cx.sleep(TICK * 8).await.is_ok());
        let error = PolicyError::Failed(AppError::Failed(7));
        assert_eq!(
            cache.get(&cx, 1, fails).await,
            Outcome::Err(error),
            "too old"
        );
        assert_eq!(
            cache.get(&cx, 1, |cx: Cx| load(cx, &loads)).await,
            Outcome::Ok(2)
        );
    });
}

#[test]
fn a_leader_that_goes_takes_nobody_along() {
    for panics in [false, true] {
        under_seeds(20, async |cx| {
            let (cache, loads) = (Arc::new(Cache::new(options())), Arc::new(AtomicU32::new(0)));
            let end = cx
                .region_with(
                    asupersync_kernel::RegionOptions::new().policy(asupersync_core::Collect),
                    async |scope: Scope<'_, PolicyError<AppError>>| {
                        let leader = {
                            let cache = Arc::clone(&cache);
                            scope.spawn(async move |cx: Cx| {
                                let load = async |cx: Cx| -> End<u32> {
                                    match cx.sleep(TICK * 2).await {
                                        Ok(()) => quiet_panic("it broke"),
                                        Err(gone) => Outcome::Cancelled(gone.into_reason()),
                                    }
                                };
                                cache.get(&cx, 1, load).await
                            })
                        };
                        let _ = scope.cx().sleep(TICK).await;
                        let follower = {
                            let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
                            scope.spawn(async move |cx: Cx| {
                                let end = cache.get(&cx, 1, |cx: Cx| load(cx, &loads)).await;
                                assert_eq!(end, Outcome::Ok(1));
                                end
                            })
                        };
                        if !panics {
                            leader.cancel();
                        }
                        let lead = leader.join(scope.cx()).await.severity();
                        let expected = if panics {
                            Severity::Panicked
                        } else {
                            Severity::Cancelled
                        };
                        assert_eq!(lead, expected);
                        follower.join(scope.cx()).await
                    },
                )
                .await;
            assert_eq!(end, Outcome::Ok(1));
            assert_eq!(loads.load(Ordering::Relaxed), 1);
        });
    }
}
