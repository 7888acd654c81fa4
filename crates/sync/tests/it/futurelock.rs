//! A lock held by a future that nobody polls is found and named.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Subject};
use asupersync_lab::{LabConfig, LabEnd, LabRuntime, Law};
use asupersync_sync::{Mutex, Semaphore};

/// Takes the lock in a future that is polled once and then left, while the same task waits for it.
async fn locks_itself_out(cx: Cx, lock: Arc<Mutex<u32>>) -> Result<(), Cancelled> {
    let mut holding = pin!(async {
        let _guard = lock.lock(&cx).await;
        std::future::pending::<()>().await;
    });
    assert!(
        holding
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    let _ = lock.lock(&cx).await;
    Ok(())
}

#[test]
fn a_task_that_locks_itself_out_is_named_in_a_run_that_stalls() {
    for seed in 0..20 {
        let report = LabRuntime::new(LabConfig::default().seed(seed)).run(async |cx| {
            cx.region(async |scope| {
                let lock = Arc::new(Mutex::new(0));
                scope.spawn(async move |cx: Cx| locks_itself_out(cx, lock).await);
                Ok::<(), Cancelled>(())
            })
            .await
        });
        assert!(matches!(report.end, LabEnd::Stalled(_)));
        assert_eq!(report.violations.len(), 1, "{:?}", report.violations);
        assert_eq!(report.violations[0].law, Law::Futurelock);
        let message = &report.violations[0].message;
        assert!(message.contains("Task(T1.0) waits for lock"), "{message}");
        assert!(message.contains("held by Task(T1.0)"), "{message}");
    }
}

#[test]
fn a_holder_that_sleeps_while_others_wait_is_named_beyond_the_limit_and_not_before() {
    let run = |limit| {
        LabRuntime::new(
            LabConfig::default()
                .seed(3)
                .futurelock_max_idle_steps(limit),
        )
        .run(async |cx| {
            cx.region(async |scope| {
                let permits = Arc::new(Semaphore::new(1));
                let busy = 300;
                for _ in 0..2 {
                    let permits = Arc::clone(&permits);
                    scope.spawn(async move |cx: Cx| {
                        let permit = permits.acquire(&cx).await.expect("it stays open");
                        cx.sleep(std::time::Duration::from_millis(1)).await?;
                        drop(permit);
                        Ok::<(), Cancelled>(())
                    });
                }
                scope.spawn(async move |cx: Cx| {
                    for _ in 0..busy {
                        cx.yield_now().await?;
                    }
                    Ok::<(), Cancelled>(())
                });
                Ok::<(), Cancelled>(())
            })
            .await
        })
    };
    run(10_000).assert_clean();
    let report = run(100);
    assert_eq!(report.end, LabEnd::Finished);
    assert_eq!(report.violations.len(), 1, "{:?}", report.violations);
    assert_eq!(report.violations[0].law, Law::Futurelock);
}

#[test]
fn a_waiter_that_leaves_waits_no_more() {
    let report = LabRuntime::new(LabConfig::default().seed(1)).run(async |cx| {
        let lock = Mutex::new(());
        let guard = lock.lock(&cx).await;
        {
            let mut waiting = pin!(lock.lock(&cx));
            assert!(
                waiting
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
        }
        std::future::pending::<()>().await;
        drop(guard);
        Ok::<(), Cancelled>(())
    });
    assert!(matches!(report.end, LabEnd::Stalled(_)));
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let subjects: Vec<Subject> = asupersync_lab::stalled_holders(&report.trace)
        .into_iter()
        .map(|futurelock| futurelock.holder)
        .collect();
    assert!(subjects.is_empty());
}

/// Gets in line for the lock in a future that is polled once and then left, while the task waits for something else.
async fn leaves_its_place_alone(cx: Cx, lock: Arc<Mutex<u32>>) -> Result<(), Cancelled> {
    let mut queued = pin!(lock.lock(&cx));
    let first_look = queued
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(first_look.is_pending(), "somebody else has the lock");
    std::future::pending::<()>().await;
    Ok(())
}

#[test]
fn a_waiter_that_was_handed_the_lock_and_is_never_polled_is_named() {
    for seed in 0..20 {
        let report = LabRuntime::new(LabConfig::default().seed(seed)).run(async |cx| {
            cx.region(async |scope| {
                let lock = Arc::new(Mutex::new(0));
                let guard = lock.lock(scope.cx()).await.map_err(|_| lost())?;
                let own = Arc::clone(&lock);
                let left = scope.spawn(async move |cx: Cx| leaves_its_place_alone(cx, own).await);
                for _ in 0..20 {
                    scope.cx().yield_now().await?;
                }
                drop(guard);
                let _ = lock.lock(scope.cx()).await;
                let _ = left;
                Ok::<(), Cancelled>(())
            })
            .await
        });
        assert!(matches!(report.end, LabEnd::Stalled(_)));
        let messages: Vec<_> = report
            .violations
            .iter()
            .map(|found| &found.message)
            .collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains("held by Task(T1.0)"), "{messages:?}");
    }
}

fn lost() -> Cancelled {
    unreachable!("nobody cancels this region before it has the lock")
}
