//! Futurelock: a lock, or a place in its line, in the hands of a future that nobody polls.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::task::Poll;
use std::time::Duration;

use asupersync_combinator::{plain, race};
use asupersync_conformance::on_both_hosts;
use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, Report, SpawnOptions, Subject};
use asupersync_lab::{LabConfig, LabEnd, LabRuntime, Law, stalled_holders};
use asupersync_runtime::{MonitorConfig, RuntimeBuilder};
use asupersync_sync::Mutex;
use futures_util::future::{Either, select};

use crate::support::{End, TICK};

/// Holds the lock for a while, so that others get in line.
async fn hold(cx: Cx, lock: Arc<Mutex<u32>>) -> Result<(), Cancelled> {
    let guard = lock.lock(&cx).await.expect("nobody panics in it");
    cx.sleep(4 * TICK).await?;
    drop(guard);
    Ok(())
}

/// In the field: a `select!` polls `&mut wait`, a future in a lock's line; the other branch wins, and its handler waits for the same lock, which is handed to `wait`, which nobody polls any more.
/// A foreign `select` does that here too, since a future of the program may be left unpolled; the lab names the lock, who has it and who waits.
#[test]
fn a_place_in_line_that_nobody_polls_is_reported_in_the_lab() {
    for seed in 0..20 {
        let mut stuck = None;
        let report = LabRuntime::new(LabConfig::default().seed(seed)).run(async |cx: Cx| {
            cx.region(async |scope| {
                let lock = Arc::new(Mutex::new(0));
                let own = Arc::clone(&lock);
                scope.spawn(async move |cx: Cx| hold(cx, own).await);
                let task = scope.spawn(async move |cx: Cx| {
                    cx.sleep(TICK).await?;
                    let mut wait = pin!(lock.lock(&cx));
                    let sleep = pin!(cx.sleep(TICK));
                    match select(wait.as_mut(), sleep).await {
                        Either::Left(_) => panic!("somebody else has the lock"),
                        Either::Right((slept, _)) => slept?,
                    }
                    // The handler of the branch that won; `wait` stands in line before it.
                    let _ = lock.lock(&cx).await;
                    Ok::<(), Cancelled>(())
                });
                stuck = Some(Subject::Task(task.id()));
                Ok::<(), Cancelled>(())
            })
            .await
        });
        assert!(matches!(report.end, LabEnd::Stalled(_)), "seed {seed}");
        let laws: Vec<Law> = report.violations.iter().map(|found| found.law).collect();
        assert_eq!(laws, [Law::Futurelock], "seed {seed}");
        let found = stalled_holders(&report.trace);
        let pairs: Vec<_> = found
            .iter()
            .map(|found| (Some(found.waiter), Some(found.holder)))
            .collect();
        assert_eq!(pairs, [(stuck, stuck)], "it waits for itself");
    }
}

/// The same program with our own race: the loser is cancelled and drained, so it has left the line before the handler runs.
#[test]
fn the_loser_of_our_race_does_not_stand_in_line() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let lock = Arc::new(Mutex::new(0));
                let own = Arc::clone(&lock);
                let holder = scope.spawn(async move |cx: Cx| {
                    hold(cx, own).await?;
                    End::Ok(())
                });
                let cx = scope.cx();
                let mut wait = pin!(async {
                    drop(lock.lock(cx).await);
                    cx.checkpoint()?;
                    End::Ok("wait")
                });
                let sleep = async {
                    cx.sleep(TICK).await?;
                    End::Ok("sleep")
                };
                // Lent, and kept until the end, as in the program above.
                drop(race(cx, (plain(wait.as_mut()), plain(sleep))).await);
                *lock.lock(cx).await.expect("nobody stands before us") += 1;
                assert_eq!(holder.join(cx).await, Outcome::Ok(()));
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

/// In production the monitor finds it: a holder that was not polled while somebody waits, by name.
#[test]
fn a_holder_that_nobody_polls_is_reported_by_the_monitor() {
    const LIMIT: Duration = Duration::from_millis(20);
    let reports: Arc<StdMutex<Vec<Report>>> = Arc::default();
    let heard = Arc::new(AtomicBool::new(false));
    let (told, any) = (Arc::clone(&reports), Arc::clone(&heard));
    let config = MonitorConfig {
        cadence: LIMIT / 4,
        poll_limit: 100 * LIMIT,
        hold_limit: LIMIT,
    };
    let mut runtime = RuntimeBuilder::new()
        .worker_threads(2)
        .handle_signals(false)
        .deadline_monitoring(config)
        .on_report(move |report| {
            told.lock().unwrap().push(report.clone());
            any.store(true, Ordering::Release);
        })
        .build()
        .unwrap();
    let end = runtime.block_on(async move |cx: Cx| {
        cx.region(async |scope| {
            let lock = Arc::new(Mutex::new(0));
            let own = Arc::clone(&lock);
            let options = SpawnOptions::new().name("forgetful");
            scope.spawn_with(options, async move |cx: Cx| {
                let mut update = pin!(async {
                    let mut guard = own.lock(&cx).await.unwrap();
                    cx.yield_now().await.unwrap();
                    *guard += 1;
                });
                poll_fn(|task| {
                    assert!(update.as_mut().poll(task).is_pending());
                    Poll::Ready(())
                })
                .await;
                // It has the lock, and this task does something else until the monitor has spoken.
                let wait = move || {
                    while !heard.load(Ordering::Acquire) {
                        std::thread::yield_now();
                    }
                };
                cx.blocking(wait).await.unwrap();
                update.await;
                Outcome::<(), Infallible>::Ok(())
            });
            let options = SpawnOptions::new().name("waiting");
            scope.spawn_with(options, async move |cx: Cx| {
                while *lock.lock(&cx).await.unwrap() == 0 {
                    cx.yield_now().await.unwrap();
                }
                Outcome::<(), Infallible>::Ok(())
            });
            Outcome::<(), Infallible>::Ok(())
        })
        .await
    });
    assert_eq!(end, Outcome::Ok(()));
    let reports = reports.lock().unwrap();
    let Some(Report::Futurelock {
        holder_name,
        waiter_name,
        ..
    }) = reports.first()
    else {
        panic!("{reports:?}");
    };
    assert_eq!(holder_name.as_deref(), Some("forgetful"));
    assert_eq!(waiter_name.as_deref(), Some("waiting"));
}
