//! Timers in real time.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use asupersync_kernel::Cx;
use asupersync_runtime::RuntimeBuilder;
use asupersync_sync::oneshot;

use crate::support::{End, block, run_on, runtime};

#[test]
fn ten_thousand_sleeps_all_end_and_none_early() {
    const SLEEPS: u64 = 10_000;
    for workers in [1, 2, 4] {
        let (ended, early) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        run_on(&mut runtime(workers), async |cx| {
            cx.region(async |scope| {
                for number in 0..SLEEPS {
                    let (ended, early) = (Arc::clone(&ended), Arc::clone(&early));
                    let duration = Duration::from_micros(1000 + number * 7919 % 9000);
                    scope.spawn(async move |cx: Cx| {
                        let start = cx.now();
                        cx.sleep(duration).await?;
                        if cx.now() < start + duration {
                            early.fetch_add(1, Ordering::Relaxed);
                        }
                        ended.fetch_add(1, Ordering::Relaxed);
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await
            .flatten()
        });
        assert_eq!(ended.load(Ordering::Relaxed), SLEEPS);
        assert_eq!(early.load(Ordering::Relaxed), 0);
    }
}

#[derive(Default)]
struct CountWakes(AtomicU64);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_dropped_sleep_never_fires_and_leaves_nothing() {
    for workers in [1, 2] {
        let wakes = Arc::new(CountWakes::default());
        run_on(&mut runtime(workers), async |cx| {
            let mut pending = 0;
            for _ in 0..1000 {
                let waker = Waker::from(Arc::clone(&wakes));
                let mut sleep = pin!(cx.sleep(Duration::from_millis(5)));
                let polled = sleep.as_mut().poll(&mut Context::from_waker(&waker));
                // On a machine that is slow enough it is over before it was looked at.
                pending += u32::from(polled.is_pending());
            }
            assert!(pending > 0);
            assert_eq!(
                Arc::strong_count(&wakes),
                1,
                "a timer still holds its waker"
            );
            cx.sleep(Duration::from_millis(20)).await?;
            End::Ok(())
        });
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The worker whose wheel it becomes sleeps, without a timer of its own and so without a wheel.
#[test]
fn the_first_timer_may_come_from_a_foreign_thread() {
    for round in 0..100 {
        let (give, given) = mpsc::channel::<(Cx, oneshot::Sender<Duration>)>();
        let foreign = std::thread::Builder::new().spawn(move || {
            let (cx, ended) = given.recv().unwrap();
            // The worker is now asleep, or just falls asleep.
            block(Duration::from_micros(round * 20));
            let start = cx.now();
            let duration = Duration::from_millis(2);
            let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
            let mut sleep = pin!(cx.sleep(duration));
            while sleep
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                std::thread::park();
            }
            ended.send(cx.now() - start).unwrap();
        });
        let waited = run_on(&mut runtime(1 + round as usize % 2), async move |cx| {
            let (ended, mut ends) = oneshot::channel();
            give.send((cx.clone(), ended)).unwrap();
            End::Ok(ends.recv(&cx).await.unwrap())
        });
        foreign.unwrap().join().unwrap();
        assert!(waited >= Duration::from_millis(2), "early: {waited:?}");
    }
}

#[test]
fn the_time_of_day_is_the_machines() {
    run_on(&mut runtime(1), async |cx| {
        let written = tempfile::NamedTempFile::new().unwrap();
        let written = written.as_file().metadata().unwrap().modified().unwrap();
        let now = cx.wall_now();
        // The file system's clock is coarser.
        let apart = now
            .duration_since(written)
            .or_else(|_| written.duration_since(now));
        assert!(apart.unwrap() < Duration::from_secs(10));
        End::Ok(())
    });
}

#[test]
fn a_timer_waits_for_its_neighbour_as_long_as_the_window_says() {
    const APART: Duration = Duration::from_millis(4);
    let late = |window| {
        let mut runtime = RuntimeBuilder::new()
            .worker_threads(1)
            .timer_coalescing(window)
            .build()
            .unwrap();
        let mut late = run_on(&mut runtime, async |cx| {
            let mut late = Vec::new();
            for _ in 0..20 {
                let due = cx.now() + Duration::from_millis(2);
                let region = cx.region(async |scope| {
                    scope.spawn(async move |cx: Cx| {
                        cx.sleep_until(due + APART).await?;
                        End::Ok(())
                    });
                    // Whoever sets the earlier timer last looks at the other.
                    scope.cx().yield_now().await?;
                    scope.cx().sleep_until(due).await?;
                    End::Ok(scope.cx().now().saturating_since(due))
                });
                late.push(region.await.flatten()?);
            }
            End::Ok(late)
        });
        late.sort();
        late
    };
    for window in [Duration::ZERO, APART / 2] {
        let late = late(window);
        // The least of them, since a machine may always be late.
        assert!(late[0] < APART / 2, "{late:?} with a window of {window:?}");
    }
    let late = late(2 * APART);
    // Those whose neighbour stands in the same 64 ticks, of which each is a 32nd of the window.
    let waited = late.iter().filter(|late| **late > APART - APART / 8);
    assert!(waited.count() > 2, "{late:?}");
}
