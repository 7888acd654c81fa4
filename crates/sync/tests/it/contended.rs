//! The contract of the mutex that tells how long it was waited for and held.

use std::sync::Arc;
use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_lab::{Probe, every_await};
use asupersync_sync::ContendedMutex;

use crate::support::{End, settle, under_seeds, within};

const HOLD: Duration = Duration::from_millis(10);

#[test]
fn it_is_a_mutex_with_or_without_metrics() {
    under_seeds(20, async |cx| {
        let mutex = Arc::new(ContendedMutex::new(0));
        within(&cx, async |scope| {
            for _ in 0..4 {
                let mutex = Arc::clone(&mutex);
                scope.spawn(async move |cx: Cx| {
                    let mut value = mutex.lock(&cx).await.unwrap();
                    let before = *value;
                    cx.sleep(HOLD).await.unwrap();
                    *value = before + 1;
                    End::Ok(())
                });
            }
        })
        .await;
        assert_eq!(*mutex.try_lock(&cx).unwrap(), 4);
        #[cfg(not(feature = "lock-metrics"))]
        assert_eq!(
            size_of::<ContendedMutex<u64>>(),
            size_of::<asupersync_sync::Mutex<u64>>()
        );
        #[cfg(feature = "lock-metrics")]
        check(&mutex.metrics());
    });
}

/// Four owners that held the lock for one time each, one after the other, and one look.
#[cfg(feature = "lock-metrics")]
fn check(metrics: &asupersync_sync::LockMetrics) {
    assert_eq!((metrics.wait.count(), metrics.hold.count()), (5, 5));
    assert_eq!(metrics.abandoned, 0);
    assert_eq!(metrics.hold.max(), HOLD);
    assert_eq!(metrics.hold.total(), HOLD * 4);
    assert_eq!(metrics.wait.total(), HOLD * (1 + 2 + 3));
    assert_eq!(metrics.wait.max(), HOLD * 3);
    assert_eq!(metrics.wait.percentile(0.0), Duration::ZERO);
    let median = metrics.wait.percentile(60.0);
    assert!(HOLD <= median && median <= HOLD * 5 / 4, "{median:?}");
}

#[test]
fn contended_mutex_lock() {
    every_await("ContendedMutex::lock", async |cx: Cx, probe: Probe| {
        let mutex = Arc::new(ContendedMutex::new(()));
        let got = within(&cx, async |scope| {
            {
                let mutex = Arc::clone(&mutex);
                scope.spawn(async move |cx: Cx| {
                    let guard = mutex.lock(&cx).await.unwrap();
                    settle(&cx).await;
                    drop(guard);
                    End::Ok(())
                });
            }
            let _ = scope.cx().yield_now().await;
            let end = probe.run(scope.cx(), mutex.lock(scope.cx())).await;
            end.is_some_and(|end| end.is_ok())
        })
        .await;
        assert!(got || probe.was_interrupted());
        assert!(mutex.try_lock(&cx).is_ok(), "free at the end");
        #[cfg(feature = "lock-metrics")]
        {
            let metrics = mutex.metrics();
            assert_eq!(metrics.wait.count(), 2 + u64::from(got));
            assert!(metrics.abandoned <= u64::from(!got));
        }
    });
}
