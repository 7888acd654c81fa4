//! Policies hold their bounds on both hosts, also with calls on several workers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_combinator::{
    Backoff, BreakerOptions, Bulkhead, BulkheadOptions, CacheAside, CacheOptions, CircuitBreaker,
    LoadShed, Policy, PolicyError, Rate, RateLimitOptions, RateLimiter, Retry, RetryBudget,
    Timeout, Window,
};
use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::{Cx, Scope};

use crate::support::{AppError, FOREVER, Live, TICK};

const CALLS: u32 = 200;
const PLACES: u32 = 5;

/// Counts who runs, and the most at a time.
#[derive(Default)]
struct Load {
    now: AtomicU32,
    most: AtomicU32,
    made: AtomicU32,
}

#[test]
fn many_calls_through_every_limit_leave_nothing_behind() {
    on_both_hosts(async |cx| {
        let shed = Arc::new(LoadShed::in_flight(CALLS));
        let options = BreakerOptions::new(Window::Calls(1000)).calls_min(1000);
        let breaker = Arc::new(CircuitBreaker::new(options));
        let rate = Rate::new(1000, TICK).burst(50);
        let limiter = Arc::new(RateLimiter::new(
            RateLimitOptions::new(rate).line(CALLS, FOREVER),
        ));
        let bulkhead = Arc::new(Bulkhead::new(
            BulkheadOptions::new(PLACES).line(CALLS, FOREVER),
        ));
        let budget = Arc::new(RetryBudget::new(0, CALLS));
        let policy = Policy::builder()
            .with(Arc::clone(&shed))
            .with(Retry::new(2, Backoff::none()).budget(Arc::clone(&budget)))
            .with(Arc::clone(&breaker))
            .with(Arc::clone(&limiter))
            .with(Arc::clone(&bulkhead))
            .with(Timeout::new(FOREVER))
            .build();
        let (policy, load, live) = (Arc::new(policy), Arc::new(Load::default()), Live::default());
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for _ in 0..CALLS {
                    let (policy, load, live) =
                        (Arc::clone(&policy), Arc::clone(&load), live.clone());
                    scope.spawn(async move |cx: Cx| {
                        let call = async |cx: Cx| {
                            let _live = live.enter();
                            let now = load.now.fetch_add(1, Ordering::Relaxed) + 1;
                            load.most.fetch_max(now, Ordering::Relaxed);
                            let number = load.made.fetch_add(1, Ordering::Relaxed);
                            let end = cx.yield_now().await;
                            load.now.fetch_sub(1, Ordering::Relaxed);
                            end?;
                            if number % 3 == 0 {
                                return Err(AppError::Failed(number));
                            }
                            Ok(())
                        };
                        match policy.run(&cx, call).await {
                            Outcome::Ok(())
                            | Outcome::Err(PolicyError::RetriesExhausted { .. }) => {}
                            other => panic!("{other:?}"),
                        }
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        let made = load.made.load(Ordering::Relaxed);
        assert!(load.most.load(Ordering::Relaxed) <= PLACES);
        assert_eq!((live.count(), load.now.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(
            (shed.current(), bulkhead.waiting(), limiter.waiting()),
            (0, 0, 0)
        );
        assert_eq!(bulkhead.available(), u64::from(PLACES));
        assert_eq!(
            budget.available(),
            u64::from(CALLS - (made - CALLS)),
            "a token for each retry"
        );
        let metrics = breaker.metrics(&cx);
        assert_eq!((metrics.calls, metrics.failures), (made, made.div_ceil(3)));
    });
}

#[test]
fn a_cache_loads_once_for_all_workers() {
    on_both_hosts(async |cx| {
        let cache = CacheAside::<u32, u32, AppError>::new(CacheOptions::new(8, FOREVER));
        let (cache, loads) = (Arc::new(cache), Arc::new(AtomicU32::new(0)));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                for number in 0..CALLS {
                    let (cache, loads) = (Arc::clone(&cache), Arc::clone(&loads));
                    scope.spawn(async move |cx: Cx| {
                        let key = number % 4;
                        let load = async |cx: Cx| {
                            loads.fetch_add(1, Ordering::Relaxed);
                            cx.yield_now().await?;
                            Ok::<_, AppError>(key * 10)
                        };
                        assert_eq!(cache.get(&cx, key, load).await, Outcome::Ok(key * 10));
                        Ok::<_, AppError>(())
                    });
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!(loads.load(Ordering::Relaxed), 4);
    });
}
