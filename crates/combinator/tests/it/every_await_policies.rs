//! Every strategy is cut short at every await, and what it lent is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_combinator::{
    AdaptiveLimit, AdaptiveOptions, Backoff, BreakerOptions, BreakerState, Bulkhead,
    BulkheadOptions, CacheAside, CacheOptions, Call, Chaos, CircuitBreaker, Fallback, Hedge,
    HedgeDelay, HedgeOptions, LimitAlgorithm, LoadShed, Policy, PolicyError, Rate, RateLimitError,
    RateLimitOptions, RateLimiter, Retry, RetryBudget, Strategy, Timeout, Window,
};
use asupersync_core::{Outcome, Severity};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{Probe, every_await};

use crate::every_await::{Bench, case};
use crate::support::{AppError, FOREVER, TICK, ticks};

type PolicyEnd<T> = Outcome<T, PolicyError<AppError>>;

/// Runs a case through a policy of this one strategy.
async fn through<S>(cx: &Cx, probe: &Probe, expected: PolicyEnd<u32>, strategy: S)
where
    S: Strategy<asupersync_kernel::caps::All, u32, AppError>,
{
    let policy = Policy::builder().with(strategy).build();
    case(cx, probe, expected, async |cx: Cx, bench: Bench| {
        policy
            .run(&cx, async |cx: Cx| bench.work(&cx, 3, 7).await)
            .await
    })
    .await;
}

#[test]
fn retries_are_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let budget = Arc::new(RetryBudget::new(0, 3));
        let retry = Retry::new(3, Backoff::constant(TICK))
            .attempt_timeout(TICK * 30)
            .total_timeout(TICK * 300)
            .budget(Arc::clone(&budget));
        let made = AtomicU32::new(0);
        let policy = Policy::builder().with(retry).build();
        case(&cx, &probe, Outcome::Ok(7), async |cx: Cx, bench: Bench| {
            policy
                .run(&cx, async |cx: Cx| {
                    match made.fetch_add(1, Ordering::Relaxed) {
                        0 => bench.fail(&cx, 2).await,
                        _ => bench.work(&cx, 3, 7).await,
                    }
                })
                .await
        })
        .await;
        let retries = u64::from(made.into_inner().saturating_sub(1));
        let taken = 3 - budget.available();
        assert!(
            taken == retries || taken == retries + 1,
            "a token for each retry"
        );
    });
}

#[test]
fn a_timeout_is_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let after = TICK * 2;
        let expected = Outcome::Err(PolicyError::TimedOut { after });
        through(&cx, &probe, expected, Timeout::new(after)).await;
    });
}

#[test]
fn a_probe_of_a_circuit_breaker_is_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let options = BreakerOptions::new(Window::Calls(10)).probes(1);
        let breaker = Arc::new(CircuitBreaker::new(options));
        breaker.set(&cx, BreakerState::HalfOpen);
        through(&cx, &probe, Outcome::Ok(7), Arc::clone(&breaker)).await;
        // Either the probe succeeded, or its place is free for another.
        let metrics = breaker.metrics(&cx);
        assert_eq!(metrics.probes, 0);
        assert!(breaker.enter::<_, AppError>(&cx).is_ok());
    });
}

#[test]
fn a_full_bulkhead_is_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let bulkhead = Arc::new(Bulkhead::new(BulkheadOptions::new(1).line(1, FOREVER)));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                let peer = Arc::clone(&bulkhead);
                let holder = scope.spawn(async move |cx: Cx| {
                    let place = peer.enter::<_, AppError>(&cx).await;
                    assert!(place.is_ok());
                    cx.sleep(TICK * 3).await?;
                    drop(place);
                    Ok::<_, AppError>(())
                });
                while bulkhead.available() > 0 {
                    scope.cx().yield_now().await?;
                }
                through(scope.cx(), &probe, Outcome::Ok(7), Arc::clone(&bulkhead)).await;
                assert_eq!(bulkhead.waiting(), 0);
                assert!(holder.join(scope.cx()).await.is_ok());
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
        assert_eq!(bulkhead.available(), 1, "places in are places out");
    });
}

#[test]
fn bulkhead_enter_is_cut_short() {
    every_await("Bulkhead::enter", async |cx: Cx, probe: Probe| {
        let bulkhead = Bulkhead::new(BulkheadOptions::new(1).line(1, TICK * 5));
        let holder = bulkhead.enter::<_, AppError>(&cx).await;
        assert!(holder.is_ok());
        let end = probe.run(&cx, bulkhead.enter::<_, AppError>(&cx)).await;
        match end {
            Some(Outcome::Err(PolicyError::BulkheadFull { waited })) => {
                assert_eq!(waited, TICK * 5);
            }
            Some(Outcome::Cancelled(_)) | None => assert!(probe.was_interrupted()),
            Some(other) => panic!("{other:?}"),
        }
        assert_eq!(bulkhead.waiting(), 0);
        drop(holder);
        assert_eq!(bulkhead.available(), 1);
        assert!(bulkhead.enter::<_, AppError>(&cx).await.is_ok());
    });
}

#[test]
fn rate_limiter_acquire_is_cut_short() {
    every_await("RateLimiter::acquire", async |cx: Cx, probe: Probe| {
        let rate = Rate::new(1, TICK * 10).burst(1);
        let limiter = Arc::new(RateLimiter::new(
            RateLimitOptions::new(rate).line(9, FOREVER),
        ));
        assert_eq!(limiter.try_acquire(&cx, 1), Ok(()));
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                let peer = |scope: &Scope<'_, AppError>| {
                    let limiter = Arc::clone(&limiter);
                    scope.spawn(async move |cx: Cx| {
                        let end = limiter.acquire(&cx, 1).await;
                        assert_eq!(end, Ok(()));
                        Ok::<_, AppError>(ticks(&cx))
                    })
                };
                let before = peer(&scope);
                while limiter.waiting() < 1 {
                    scope.cx().yield_now().await?;
                }
                let end = probe.run(scope.cx(), limiter.acquire(scope.cx(), 1)).await;
                let is_through = match end {
                    Some(Ok(())) => {
                        assert_eq!(ticks(scope.cx()), 20);
                        true
                    }
                    Some(Err(RateLimitError::Cancelled(_))) | None => false,
                    Some(Err(other)) => panic!("{other}"),
                };
                assert!(is_through || probe.was_interrupted());
                let after = peer(&scope);
                let first = before.join(scope.cx()).await;
                let last = after.join(scope.cx()).await;
                // Shares in are shares out: who left took none.
                let expected = if is_through { 30 } else { 20 };
                assert_eq!((first, last), (Outcome::Ok(10), Outcome::Ok(expected)));
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(limiter.waiting(), 0);
    });
}

#[test]
fn a_rate_limited_call_is_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let rate = Rate::new(1, TICK * 10).burst(1);
        let limiter = Arc::new(RateLimiter::new(
            RateLimitOptions::new(rate).line(9, FOREVER),
        ));
        assert_eq!(limiter.try_acquire(&cx, 1), Ok(()));
        through(&cx, &probe, Outcome::Ok(7), Arc::clone(&limiter)).await;
        assert_eq!(limiter.waiting(), 0);
    });
}

#[test]
fn shedding_and_the_adaptive_limit_are_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let shed = Arc::new(LoadShed::in_flight(1));
        let algorithm = LimitAlgorithm::Gradient { tolerance: 2.0 };
        let options = AdaptiveOptions::new(algorithm).limits(1, 1, 1);
        let limit = Arc::new(AdaptiveLimit::new(options));
        let both = Policy::builder()
            .with(Arc::clone(&shed))
            .with(Arc::clone(&limit));
        through(&cx, &probe, Outcome::Ok(7), both.build()).await;
        assert_eq!((shed.current(), limit.in_flight()), (0, 0));
    });
}

#[test]
fn hedge_fallback_and_chaos_are_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let hedge = Hedge::new(HedgeOptions::new(HedgeDelay::Fixed(TICK)));
        let second = |_: Cx, _: PolicyError<AppError>| async { Ok::<_, AppError>(7) };
        let chaos = Chaos::new().latency(1.0, TICK..=TICK);
        chaos.switch(true);
        let policy = Policy::builder()
            .with(Fallback::new(second))
            .with(hedge)
            .with(chaos)
            .build();
        case(&cx, &probe, Outcome::Ok(7), async |cx: Cx, bench: Bench| {
            policy
                .run(&cx, async |cx: Cx| bench.fail(&cx, 2).await)
                .await
        })
        .await;
    });
}

#[test]
fn a_call_that_chaos_cancels_is_cut_short() {
    every_await("Policy::run", async |cx: Cx, probe: Probe| {
        let chaos = Chaos::new().cancel(1.0, TICK);
        chaos.switch(true);
        let policy = Policy::builder().with(chaos).build();
        let end = probe
            .run_with(&cx, |cx: Cx| async move {
                policy
                    .run(&cx, async |cx: Cx| {
                        cx.sleep(FOREVER).await.map_err(AppError::from)
                    })
                    .await
            })
            .await;
        let severity = end.map(|end| end.severity());
        assert!(
            matches!(severity, Some(Severity::Cancelled) | None),
            "{severity:?}"
        );
    });
}

#[test]
fn cache_get_is_cut_short() {
    every_await("CacheAside::get", async |cx: Cx, probe: Probe| {
        let options = CacheOptions::new(4, FOREVER).stale_while_revalidate(FOREVER);
        let cache = CacheAside::<u32, u32, AppError>::new(options);
        case(&cx, &probe, Outcome::Ok(7), async |cx: Cx, bench: Bench| {
            let load = async |cx: Cx| bench.work(&cx, 3, 7).await;
            cache.get(&cx, 1, load).await
        })
        .await;
        // Whoever asks next gets a value, kept or loaded.
        let end = cache.get(&cx, 1, async |_: Cx| Ok::<_, AppError>(7)).await;
        assert_eq!((end, cache.len()), (Outcome::Ok(7), 1));
    });
}

#[test]
fn a_refresh_that_is_cut_short_leaves_it_to_the_next() {
    every_await("CacheAside::get", async |cx: Cx, probe: Probe| {
        let options = CacheOptions::new(4, TICK).stale_while_revalidate(FOREVER);
        let cache = CacheAside::<u32, u32, AppError>::new(options);
        let first = cache.get(&cx, 1, async |_: Cx| Ok::<_, AppError>(6)).await;
        assert_eq!(first, Outcome::Ok(6));
        assert!(cx.sleep(TICK * 2).await.is_ok());
        case(&cx, &probe, Outcome::Ok(7), async |cx: Cx, bench: Bench| {
            let load = async |cx: Cx| bench.work(&cx, 3, 7).await;
            cache.get(&cx, 1, load).await
        })
        .await;
        assert!(cx.sleep(TICK * 2).await.is_ok());
        let end = cache.get(&cx, 1, async |_: Cx| Ok::<_, AppError>(8)).await;
        assert_eq!(end, Outcome::Ok(8), "nobody else refreshes");
    });
}

/// A strategy that cuts short what stands within it, or is cut short around it.
struct Probed {
    probe: Probe,
}

impl<C, T: Send, E: Send> Strategy<C, T, E> for Probed
where
    C: asupersync_kernel::caps::HasSpawn + 'static,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let within = |cx: Cx<C>| async move { next.call(&cx).await };
        match self.probe.run_with(cx, within).await {
            Some(end) => end,
            None => next.call(cx).await,
        }
    }
}

#[test]
fn what_a_strategy_calls_is_cut_short() {
    every_await("Call::call", async |cx: Cx, probe: Probe| {
        let bulkhead = Arc::new(Bulkhead::new(BulkheadOptions::new(1)));
        let policy = Policy::builder()
            .with(Probed {
                probe: probe.clone(),
            })
            .with(Arc::clone(&bulkhead))
            .build();
        let end = policy
            .run(&cx, async |cx: Cx| {
                cx.sleep(TICK).await?;
                Ok::<_, AppError>(3)
            })
            .await;
        // A call that was dropped is made again; the place of the first must be free by then.
        assert!(end == Outcome::Ok(3) || end.is_cancelled(), "{end:?}");
        assert_eq!(bulkhead.available(), 1);
    });
}

#[test]
fn a_strategy_is_cut_short() {
    every_await("Strategy::call", async |cx: Cx, probe: Probe| {
        let bulkhead = Bulkhead::new(BulkheadOptions::new(1));
        let end = Policy::builder()
            .with(Around(&bulkhead, probe))
            .build()
            .run(&cx, async |cx: Cx| {
                cx.sleep(TICK).await?;
                Ok::<_, AppError>(3)
            })
            .await;
        assert!(end == Outcome::Ok(3) || end.is_cancelled(), "{end:?}");
        assert_eq!(bulkhead.available(), 1);
    });
}

/// Cuts a strategy short, and then asks it again.
struct Around<'a>(&'a Bulkhead, Probe);

impl<C, T: Send, E: Send> Strategy<C, T, E> for Around<'_>
where
    C: asupersync_kernel::caps::HasSpawn + asupersync_kernel::caps::HasTime + 'static,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let within = |cx: Cx<C>| async move { self.0.call(&cx, next).await };
        match self.1.run_with(cx, within).await {
            Some(end) => end,
            None => self.0.call(cx, next).await,
        }
    }
}
