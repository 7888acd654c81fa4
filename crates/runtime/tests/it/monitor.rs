//! The monitor names who does not yield and who keeps others waiting, and nobody else.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::task::Poll;
use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::{Cx, Report, SpawnOptions};
use asupersync_runtime::{MonitorConfig, Runtime, RuntimeBuilder};
use asupersync_sync::{Mutex, Semaphore};

type End = Outcome<(), Infallible>;

const LIMIT: Duration = Duration::from_millis(20);

/// What the monitor has said, and whether it has said anything.
#[derive(Clone, Default)]
struct Heard {
    reports: Arc<StdMutex<Vec<Report>>>,
    any: Arc<AtomicBool>,
}

impl Heard {
    fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    fn reports(&self) -> Vec<Report> {
        self.reports.lock().unwrap().clone()
    }

    /// Waits for the monitor, without a poll meanwhile.
    async fn wait(&self, cx: &Cx) {
        let heard = self.clone();
        let wait = cx.blocking(move || {
            while !heard.any() {
                std::thread::yield_now();
            }
        });
        wait.await.unwrap();
    }
}

fn monitored(workers: usize) -> (Runtime, Heard) {
    let heard = Heard::default();
    let told = heard.clone();
    let config = MonitorConfig {
        cadence: LIMIT / 4,
        poll_limit: LIMIT,
        hold_limit: LIMIT,
    };
    let runtime = RuntimeBuilder::new()
        .worker_threads(workers)
        .record_obligations(true)
        .deadline_monitoring(config)
        .on_report(move |report| {
            told.reports.lock().unwrap().push(report.clone());
            told.any.store(true, Ordering::Release);
        })
        .build()
        .unwrap();
    (runtime, heard)
}

#[test]
fn a_task_that_does_not_yield_is_named_while_it_runs() {
    for workers in [1, 2] {
        let (mut runtime, heard) = monitored(workers);
        let seen = heard.clone();
        let end = runtime.block_on(async |cx: Cx| {
            cx.region(async |scope| {
                let options = SpawnOptions::new().name("spinner");
                scope.spawn_with(options, async move |_: Cx| {
                    while !seen.any() {
                        std::hint::spin_loop();
                    }
                    End::Ok(())
                });
                End::Ok(())
            })
            .await
        });
        assert_eq!(end, End::Ok(()));
        let reports = heard.reports();
        let [Report::NeverYields { name, running, .. }] = reports.as_slice() else {
            panic!("{reports:?}");
        };
        assert_eq!(name.as_deref(), Some("spinner"));
        assert!(*running >= LIMIT);
    }
}

#[test]
fn a_holder_that_nobody_polls_is_named_with_who_waits() {
    let (mut runtime, heard) = monitored(2);
    let lock = Arc::new(Mutex::new(0));
    let end = runtime.block_on(async |cx: Cx| {
        cx.region(async |scope| {
            let options = SpawnOptions::new().name("holder");
            let (own, seen) = (Arc::clone(&lock), heard.clone());
            let holder = scope.spawn_with(options, async move |cx: Cx| {
                let mut update = pin!(async {
                    let mut guard = own.lock(&cx).await.unwrap();
                    cx.yield_now().await.unwrap();
                    *guard += 1;
                });
                // Polled once, it has the lock; then this task waits for something else.
                poll_fn(|task| {
                    assert!(update.as_mut().poll(task).is_pending());
                    Poll::Ready(())
                })
                .await;
                seen.wait(&cx).await;
                update.await;
                End::Ok(())
            });
            let options = SpawnOptions::new().name("waiter");
            let own = Arc::clone(&lock);
            let waiter = scope.spawn_with(options, async move |cx: Cx| {
                while *own.lock(&cx).await.unwrap() == 0 {
                    cx.yield_now().await.unwrap();
                }
                End::Ok(())
            });
            let both = (holder.join(scope.cx()).await, waiter.join(scope.cx()).await);
            assert_eq!(both, (End::Ok(()), End::Ok(())));
            End::Ok(())
        })
        .await
    });
    assert_eq!(end, End::Ok(()));
    let reports = heard.reports();
    let [
        Report::Futurelock {
            kind,
            holder_name,
            waiter_name,
            idle,
            ..
        },
    ] = reports.as_slice()
    else {
        panic!("{reports:?}");
    };
    assert_eq!(*kind, "mutex");
    assert_eq!(holder_name.as_deref(), Some("holder"));
    assert_eq!(waiter_name.as_deref(), Some("waiter"));
    assert!(*idle >= LIMIT);
}

#[test]
fn a_permit_is_named_with_the_line_that_took_it() {
    let (mut runtime, heard) = monitored(2);
    let permits = Arc::new(Semaphore::new(1));
    let end = runtime.block_on(async |cx: Cx| {
        let permit = permits.acquire(&cx).await.unwrap();
        let inner = cx
            .region(async |scope| {
                let waiting = Arc::clone(&permits);
                let options = SpawnOptions::new().name("waiter");
                scope.spawn_with(options, async move |cx: Cx| {
                    drop(waiting.acquire(&cx).await.unwrap());
                    End::Ok(())
                });
                heard.wait(scope.cx()).await;
                drop(permit);
                End::Ok(())
            })
            .await;
        assert_eq!(inner, End::Ok(()));
        End::Ok(())
    });
    assert_eq!(end, End::Ok(()));
    let reports = heard.reports();
    let [
        Report::Futurelock {
            kind,
            holder_name,
            owed,
            waiter_name,
            ..
        },
    ] = reports.as_slice()
    else {
        panic!("{reports:?}");
    };
    assert_eq!(*kind, "semaphore");
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].site.file(), file!());
    assert_eq!(holder_name.as_deref(), Some("main"));
    assert_eq!(waiter_name.as_deref(), Some("waiter"));
}

#[test]
fn the_root_body_is_watched_like_any_other_task() {
    let (mut runtime, heard) = monitored(1);
    let seen = heard.clone();
    let end = runtime.block_on(async |_: Cx| {
        while !seen.any() {
            std::hint::spin_loop();
        }
        End::Ok(())
    });
    assert_eq!(end, End::Ok(()));
    drop(runtime);
    assert!(matches!(
        heard.reports().as_slice(),
        [Report::NeverYields { name, .. }] if name.as_deref() == Some("main")
    ));
}
