//! A lock held by a future that nobody polls is found and named.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Subject};
use asupersync_lab::{LabConfig, LabEnd, LabRuntime, Law};
use asupersync_sync::{MakeWith, Mutex, OnceCell, Pool, PoolOptions, RwLock, Semaphore};

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

/// Runs a task that keeps others waiting, and itself waits for ever; gives what the lab says about it.
fn said<F, Fut>(program: F) -> Vec<String>
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), Cancelled>> + Send + 'static,
{
    let report = LabRuntime::new(LabConfig::default().seed(1)).run(async |cx| {
        cx.region(async |scope| {
            scope.spawn(program);
            Ok::<(), Cancelled>(())
        })
        .await
    });
    assert!(matches!(report.end, LabEnd::Stalled(_)), "{:?}", report.end);
    report
        .violations
        .iter()
        .map(|violation| {
            assert_eq!(violation.law, Law::Futurelock);
            violation.message.clone()
        })
        .collect()
}

#[test]
fn a_reader_that_reads_again_behind_a_writer_is_named() {
    let said = said(async |cx: Cx| {
        let lock = Arc::new(RwLock::new(0));
        let reading = lock.read(&cx).await;
        let end = cx.region(async |scope| {
            let lock = Arc::clone(&lock);
            scope.spawn(async move |cx: Cx| {
                let _ = lock.write(&cx).await;
                Ok::<(), Cancelled>(())
            });
            for _ in 0..8 {
                scope.cx().yield_now().await?;
            }
            Ok::<(), Cancelled>(())
        });
        // The region waits for the writer, which waits for the reader around the region.
        let _ = end.await;
        drop(reading);
        Ok(())
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("held by Task"), "{said:?}");
}

#[test]
fn an_upgrade_beside_a_forgotten_reader_names_the_reader_and_not_itself() {
    let said = said(async |cx: Cx| {
        let lock = RwLock::new(0);
        let seen = lock.upgradable_read(&cx).await.expect("nobody writes");
        let end = cx
            .region(async |scope| {
                let beside = lock.read(scope.cx()).await;
                let upgraded = seen.upgrade(scope.cx()).await;
                drop((beside, upgraded));
                Ok::<(), Cancelled>(())
            })
            .await;
        assert!(end.is_ok());
        Ok(())
    });
    // The body of the region waits for what it holds itself, once.
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("Region"), "{said:?}");
}

#[test]
fn a_cell_that_asks_itself_for_its_value_is_named() {
    let said = said(async |cx: Cx| {
        let cell = OnceCell::new();
        let value = cell
            .get_or_init(&cx, || async {
                let inner = cell.get_or_init(&cx, || async { 1 }).await;
                inner.copied().unwrap_or(0)
            })
            .await;
        assert!(value.is_err());
        Ok(())
    });
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn a_task_that_asks_an_exhausted_pool_for_a_second_object_is_named() {
    let said = said(async |cx: Cx| {
        let make = MakeWith(async |_: Cx| Ok::<_, Cancelled>(1));
        let pool = Pool::new(PoolOptions::new(1), make);
        let first = pool.acquire(&cx).await;
        let second = pool.acquire(&cx).await;
        drop((first, second));
        Ok(())
    });
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("held by Task(T1.0)"), "{said:?}");
}
