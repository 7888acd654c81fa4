//! Every waiting operation of the locks, cut short at every await: nothing that it was handed is lost, and the primitive still works.

use std::sync::Arc;

use asupersync_core::{Cancelled, IntoOutcome};
use asupersync_kernel::Cx;
use asupersync_lab::{Probe, every_await};
use asupersync_sync::{
    Barrier, Condvar, Latch, Lazy, Mutex, Notify, OnceCell, Pool, PoolOptions, RwLock, Semaphore,
};

use crate::pool::{Maker, check_at_rest};
use crate::support::{End, settle, within};

/// What the probed operation came to: a value, a cancellation, or nothing because it was dropped.
#[derive(PartialEq, Eq, Debug)]
enum Came<T> {
    Value(T),
    Cancelled,
    Dropped,
}

/// Sorts what the probe gives; an end that fits neither the run nor the way fails.
fn came<T, E: std::error::Error + 'static>(probe: &Probe, end: Option<Result<T, E>>) -> Came<T> {
    match end {
        None => {
            assert!(probe.was_interrupted());
            Came::Dropped
        }
        Some(Ok(value)) => Came::Value(value),
        Some(Err(error)) => {
            assert!(probe.was_interrupted(), "failed undisturbed: {error}");
            assert!(Err::<T, E>(error).into_outcome().is_cancelled());
            Came::Cancelled
        }
    }
}

/// Plays a lock: another task holds it first, the probed one waits, a third one is behind it and must get it in the end.
macro_rules! lock_case {
    ($name:ident, every_await($item:literal), $lock:expr, |$held:ident, $cx:ident| $operation:expr, |$free:ident| $is_free:expr, $holder:expr) => {
        #[test]
        fn $name() {
            every_await($item, async |cx: Cx, probe: Probe| {
                let lock = Arc::new($lock);
                within(&cx, async |scope| {
                    let holder = {
                        let lock = Arc::clone(&lock);
                        scope.spawn(async move |$cx: Cx| {
                            let $held = &lock;
                            let guard = $holder($held, &$cx).await;
                            let _ = $cx.yield_now().await;
                            let _ = $cx.yield_now().await;
                            drop(guard);
                            End::Ok(())
                        })
                    };
                    settle_some(scope.cx()).await;
                    let follower = {
                        let lock = Arc::clone(&lock);
                        scope.spawn(async move |$cx: Cx| {
                            let _ = $cx.yield_now().await;
                            let $held = &lock;
                            let got = $operation.await.is_ok();
                            End::Ok(got)
                        })
                    };
                    let $cx = scope.cx().clone();
                    let $held = &lock;
                    let end = came(&probe, probe.run(scope.cx(), $operation).await);
                    drop(end);
                    holder.join(scope.cx()).await.ok().unwrap();
                    assert_eq!(follower.join(scope.cx()).await.ok(), Some(true));
                })
                .await;
                let $free = &lock;
                assert!($is_free, "free at the end");
            });
        }
    };
}

/// Gives the holder its turn; not always long enough.
async fn settle_some(cx: &Cx) {
    let _ = cx.yield_now().await;
}

lock_case!(
    mutex_lock,
    every_await("Mutex::lock"),
    Mutex::new(0),
    |lock, cx| lock.lock(&cx),
    |lock| lock.try_lock().is_ok(),
    async |lock: &Arc<Mutex<i32>>, cx: &Cx| lock.lock_owned(cx).await.unwrap()
);
lock_case!(
    mutex_lock_owned,
    every_await("Mutex::lock_owned"),
    Mutex::new(0),
    |lock, cx| lock.lock_owned(&cx),
    |lock| lock.try_lock().is_ok(),
    async |lock: &Arc<Mutex<i32>>, cx: &Cx| lock.lock_owned(cx).await.unwrap()
);
lock_case!(
    rwlock_read,
    every_await("RwLock::read"),
    RwLock::new(0),
    |lock, cx| lock.read(&cx),
    |lock| lock.try_write().is_ok(),
    async |lock: &Arc<RwLock<i32>>, cx: &Cx| lock.write_owned(cx).await.unwrap()
);
lock_case!(
    rwlock_read_owned,
    every_await("RwLock::read_owned"),
    RwLock::new(0),
    |lock, cx| lock.read_owned(&cx),
    |lock| lock.try_write().is_ok(),
    async |lock: &Arc<RwLock<i32>>, cx: &Cx| lock.write_owned(cx).await.unwrap()
);
lock_case!(
    rwlock_write,
    every_await("RwLock::write"),
    RwLock::new(0),
    |lock, cx| lock.write(&cx),
    |lock| lock.try_write().is_ok(),
    async |lock: &Arc<RwLock<i32>>, cx: &Cx| lock.read_owned(cx).await.unwrap()
);
lock_case!(
    rwlock_write_owned,
    every_await("RwLock::write_owned"),
    RwLock::new(0),
    |lock, cx| lock.write_owned(&cx),
    |lock| lock.try_write().is_ok(),
    async |lock: &Arc<RwLock<i32>>, cx: &Cx| lock.read_owned(cx).await.unwrap()
);
lock_case!(
    rwlock_upgradable_read,
    every_await("RwLock::upgradable_read"),
    RwLock::new(0),
    |lock, cx| lock.upgradable_read(&cx),
    |lock| lock.try_write().is_ok(),
    async |lock: &Arc<RwLock<i32>>, cx: &Cx| lock.upgradable_read_owned(cx).await.unwrap()
);
lock_case!(
    rwlock_upgradable_read_owned,
    every_await("RwLock::upgradable_read_owned"),
    RwLock::new(0),
    |lock, cx| lock.upgradable_read_owned(&cx),
    |lock| lock.try_write().is_ok(),
    async |lock: &Arc<RwLock<i32>>, cx: &Cx| lock.write_owned(cx).await.unwrap()
);
lock_case!(
    semaphore_acquire,
    every_await("Semaphore::acquire"),
    Semaphore::new(2),
    |lock, cx| lock.acquire(&cx),
    |lock| lock.available_permits() == 2,
    async |lock: &Arc<Semaphore>, cx: &Cx| lock.acquire_many_owned(cx, 2).await.unwrap()
);
lock_case!(
    semaphore_acquire_many,
    every_await("Semaphore::acquire_many"),
    Semaphore::new(2),
    |lock, cx| lock.acquire_many(&cx, 2),
    |lock| lock.available_permits() == 2,
    async |lock: &Arc<Semaphore>, cx: &Cx| lock.acquire_owned(cx).await.unwrap()
);
lock_case!(
    semaphore_acquire_owned,
    every_await("Semaphore::acquire_owned"),
    Semaphore::new(2),
    |lock, cx| lock.acquire_owned(&cx),
    |lock| lock.available_permits() == 2,
    async |lock: &Arc<Semaphore>, cx: &Cx| lock.acquire_many_owned(cx, 2).await.unwrap()
);
lock_case!(
    semaphore_acquire_many_owned,
    every_await("Semaphore::acquire_many_owned"),
    Semaphore::new(2),
    |lock, cx| lock.acquire_many_owned(&cx, 2),
    |lock| lock.available_permits() == 2,
    async |lock: &Arc<Semaphore>, cx: &Cx| lock.acquire_owned(cx).await.unwrap()
);

/// An upgrade beside a reader, with a writer in line behind it.
macro_rules! upgrade_case {
    ($name:ident, every_await($item:literal), $take:ident) => {
        #[test]
        fn $name() {
            every_await($item, async |cx: Cx, probe: Probe| {
                let lock = Arc::new(RwLock::new(0));
                let mut upgraded = false;
                within(&cx, async |scope| {
                    let beside = lock.read_owned(scope.cx()).await.unwrap();
                    let seen = lock.$take(scope.cx()).await.unwrap();
                    scope.spawn(async move |cx: Cx| {
                        let _ = cx.yield_now().await;
                        let _ = cx.yield_now().await;
                        drop(beside);
                        End::Ok(())
                    });
                    let writer = {
                        let lock = Arc::clone(&lock);
                        scope.spawn(async move |cx: Cx| {
                            *lock.write(&cx).await.unwrap() += 10;
                            End::Ok(())
                        })
                    };
                    let end = probe.run(scope.cx(), seen.upgrade(scope.cx())).await;
                    if let Came::Value(mut value) = came(&probe, end) {
                        assert_eq!(*value, 0, "nobody wrote before the upgrade");
                        *value = 1;
                        upgraded = true;
                    }
                    writer.join(scope.cx()).await.ok().unwrap();
                })
                .await;
                let value = lock.try_write().expect("free at the end");
                assert_eq!(*value, 10 + i32::from(upgraded));
                assert!(upgraded || probe.was_interrupted());
            });
        }
    };
}

upgrade_case!(
    rwlock_upgrade,
    every_await("RwLockUpgradableReadGuard::upgrade"),
    upgradable_read
);
upgrade_case!(
    rwlock_upgrade_owned,
    every_await("OwnedRwLockUpgradableReadGuard::upgrade"),
    upgradable_read_owned
);

#[test]
fn notify_notified() {
    every_await("Notify::notified", async |cx: Cx, probe: Probe| {
        let notify = Arc::new(Notify::new());
        let used = within(&cx, async |scope| {
            {
                let notify = Arc::clone(&notify);
                scope.spawn(async move |cx: Cx| {
                    settle(&cx).await;
                    notify.notify_one();
                    End::Ok(())
                });
            }
            let end = probe.run(scope.cx(), notify.notified(scope.cx())).await;
            matches!(came(&probe, end), Came::Value(()))
        })
        .await;
        // The notification was used, or is stored for the next.
        if !used {
            notify.notified(&cx).await.unwrap();
        }
        let mut next = Box::pin(notify.notified(&cx));
        assert!(!next.as_mut().enable(), "there was one, and it is used");
    });
}

#[test]
fn barrier_wait() {
    every_await("Barrier::wait", async |cx: Cx, probe: Probe| {
        let barrier = Arc::new(Barrier::new(2));
        within(&cx, async |scope| {
            let peer = {
                let barrier = Arc::clone(&barrier);
                scope.spawn(async move |cx: Cx| {
                    settle(&cx).await;
                    End::Ok(barrier.wait(&cx).await.unwrap())
                })
            };
            let end = probe.run(scope.cx(), barrier.wait(scope.cx())).await;
            // It has counted out, or has met the peer.
            assert_eq!(barrier.arrived(), 0);
            if let Came::Value(end) = came(&probe, end) {
                assert_eq!((end.round(), end.is_leader()), (0, false));
            }
            for _ in 0..3 {
                settle(scope.cx()).await;
            }
            // The peer has gone through with the probed one, or waits for somebody else.
            assert_eq!(peer.is_finished(), barrier.arrived() == 0);
            if barrier.arrived() == 1 {
                assert!(probe.was_interrupted());
                barrier.wait(scope.cx()).await.unwrap();
            }
            assert_eq!(peer.join(scope.cx()).await.ok().unwrap().round(), 0);
        })
        .await;
        assert_eq!(barrier.arrived(), 0);
    });
}

/// The latch is opened by another; who was cut short can wait again.
macro_rules! latch_case {
    ($name:ident, every_await($item:literal), $wait:ident, $arrives:expr) => {
        #[test]
        fn $name() {
            every_await($item, async |cx: Cx, probe: Probe| {
                let latch = Arc::new(Latch::new(1 + $arrives));
                within(&cx, async |scope| {
                    {
                        let latch = Arc::clone(&latch);
                        scope.spawn(async move |cx: Cx| {
                            settle(&cx).await;
                            latch.count_down();
                            End::Ok(())
                        });
                    }
                    let end = probe.run(scope.cx(), latch.$wait(scope.cx())).await;
                    if came(&probe, end) == Came::Value(()) {
                        assert!(latch.is_open());
                    }
                })
                .await;
                // At most the probed arrival is missing: it was never polled.
                assert!(latch.count() <= $arrives);
                latch.count_down_by(latch.count());
                latch.wait(&cx).await.unwrap();
            });
        }
    };
}

latch_case!(latch_wait, every_await("Latch::wait"), wait, 0);
latch_case!(
    latch_arrive_and_wait,
    every_await("Latch::arrive_and_wait"),
    arrive_and_wait,
    1
);

/// A wake for one: the probed waiter uses it, or the one behind it gets it.
macro_rules! condvar_case {
    ($name:ident, every_await($item:literal), $lock:ident, |$condvar:ident, $cx:ident, $guard:ident| $wait:expr) => {
        #[test]
        fn $name() {
            every_await($item, async |cx: Cx, probe: Probe| {
                // A panic that unwinds through the call before it has given the lock up would poison it, rightly.
                let mutex = Arc::new(Mutex::new_unpoisoned(0_u32));
                let shared = Arc::new((mutex, Condvar::new()));
                within(&cx, async |scope| {
                    let behind = {
                        let shared = Arc::clone(&shared);
                        scope.spawn(async move |cx: Cx| {
                            settle(&cx).await;
                            let guard = shared.0.lock(&cx).await.unwrap();
                            let waiting = shared.1.wait_while(&cx, guard, |ready| *ready == 0);
                            *waiting.await.unwrap() -= 1;
                            End::Ok(())
                        })
                    };
                    let notifier = {
                        let shared = Arc::clone(&shared);
                        scope.spawn(async move |cx: Cx| {
                            for _ in 0..3 {
                                settle(&cx).await;
                            }
                            *shared.0.lock(&cx).await.unwrap() += 1;
                            shared.1.notify_one();
                            End::Ok(())
                        })
                    };
                    let $guard = shared.0.$lock(scope.cx()).await.unwrap();
                    let $condvar = &shared.1;
                    let $cx = scope.cx();
                    let end = probe.run($cx, $wait).await;
                    if let Came::Value(mut ready) = came(&probe, end) {
                        *ready -= 1;
                        drop(ready);
                        // The one behind still waits for its own.
                        assert!(!behind.is_finished());
                        *shared.0.lock(scope.cx()).await.unwrap() += 1;
                        shared.1.notify_one();
                    }
                    // Without another wake: were it lost, the lab would report a stall.
                    notifier.join(scope.cx()).await.ok().unwrap();
                    behind.join(scope.cx()).await.ok().unwrap();
                })
                .await;
                assert_eq!(*shared.0.try_lock().expect("free at the end"), 0);
            });
        }
    };
}

condvar_case!(
    condvar_wait,
    every_await("Condvar::wait"),
    lock,
    |condvar, cx, guard| condvar.wait(cx, guard)
);
condvar_case!(
    condvar_wait_while,
    every_await("Condvar::wait_while"),
    lock,
    |condvar, cx, guard| condvar.wait_while(cx, guard, |ready| *ready == 0)
);
condvar_case!(
    condvar_wait_owned,
    every_await("Condvar::wait_owned"),
    lock_owned,
    |condvar, cx, guard| condvar.wait_owned(cx, guard)
);
condvar_case!(
    condvar_wait_while_owned,
    every_await("Condvar::wait_while_owned"),
    lock_owned,
    |condvar, cx, guard| condvar.wait_while_owned(cx, guard, |ready| *ready == 0)
);

/// The probed call makes the value first, or waits for who does; in the end there is one, and a later call finds it.
macro_rules! once_case {
    ($name:ident, every_await($item:literal), $leads:expr, $cell:expr, |$of:ident, $cx:ident, $value:ident| $get:expr) => {
        #[test]
        fn $name() {
            every_await($item, async |cx: Cx, probe: Probe| {
                let cell = Arc::new($cell);
                within(&cx, async |scope| {
                    let peer = {
                        let cell = Arc::clone(&cell);
                        scope.spawn(async move |$cx: Cx| {
                            if $leads {
                                settle_some(&$cx).await;
                            }
                            let ($of, $value) = (&cell, 1_u32);
                            End::Ok(*$get.await.unwrap())
                        })
                    };
                    if !$leads {
                        settle_some(scope.cx()).await;
                    }
                    let $cx = scope.cx().clone();
                    let ($of, $value) = (&cell, 1_u32);
                    let end = probe.run(scope.cx(), async { $get.await.copied() }).await;
                    if let Came::Value(value) = came(&probe, end) {
                        assert_eq!(value, 1);
                    }
                    assert_eq!(peer.join(scope.cx()).await.ok(), Some(1));
                    let $cx = scope.cx().clone();
                    let ($of, $value) = (&cell, 2_u32);
                    assert_eq!($get.await.ok(), Some(&1));
                })
                .await;
            });
        }
    };
}

async fn make(cx: Cx, value: u32) -> Result<u32, Cancelled> {
    for _ in 0..3 {
        cx.yield_now().await?;
    }
    Ok(value)
}

/// Makes a value whatever happens to its context.
async fn make_surely(cx: Cx, value: u32) -> u32 {
    let _ = make(cx, value).await;
    value
}

once_case!(
    once_cell_get_or_init,
    every_await("OnceCell::get_or_init"),
    true,
    OnceCell::new(),
    |cell, cx, value| cell.get_or_init(&cx, || make_surely(cx.clone(), value))
);
once_case!(
    once_cell_get_or_try_init,
    every_await("OnceCell::get_or_try_init"),
    true,
    OnceCell::new(),
    |cell, cx, value| cell.get_or_try_init(&cx, || make(cx.clone(), value))
);
once_case!(
    once_cell_wait_for_the_leader,
    every_await("OnceCell::get_or_try_init"),
    false,
    OnceCell::new(),
    |cell, cx, value| cell.get_or_try_init(&cx, || make(cx.clone(), value))
);
once_case!(
    lazy_get,
    every_await("Lazy::get"),
    true,
    Lazy::new(async |cx: Cx| make_surely(cx, 1).await),
    |lazy, cx, _value| lazy.get(&cx)
);
once_case!(
    lazy_try_get,
    every_await("Lazy::try_get"),
    true,
    Lazy::new(async |cx: Cx| make(cx, 1).await),
    |lazy, cx, _value| lazy.try_get(&cx)
);

fn pool() -> Pool<Maker> {
    Pool::new(PoolOptions::new(1).min_idle(1), Maker::steady(2))
}

/// The pool is at rest, and a further acquire is served.
async fn check_serves(cx: &Cx, pool: &Pool<Maker>) {
    check_at_rest(pool);
    let again = pool.acquire(cx).await;
    assert!(again.is_ok());
    drop(again);
    check_at_rest(pool);
}

#[test]
fn pool_acquire() {
    every_await("Pool::acquire", async |cx: Cx, probe: Probe| {
        let pool = pool();
        within(&cx, async |scope| {
            let lent = pool.acquire(scope.cx()).await.unwrap();
            let behind = {
                let pool = pool.clone();
                scope.spawn(async move |cx: Cx| {
                    settle_some(&cx).await;
                    let got = pool.acquire(&cx).await.is_ok();
                    End::Ok(got)
                })
            };
            scope.spawn(async move |cx: Cx| {
                settle(&cx).await;
                lent.discard();
                End::Ok(())
            });
            let end = probe.run(scope.cx(), pool.acquire(scope.cx())).await;
            drop(came(&probe, end));
            assert_eq!(behind.join(scope.cx()).await.ok(), Some(true));
        })
        .await;
        check_serves(&cx, &pool).await;
    });
}

#[test]
fn manager_create() {
    every_await("Manager::create", async |cx: Cx, probe: Probe| {
        let pool = pool();
        let end = probe.run(&cx, pool.acquire(&cx)).await;
        drop(came(&probe, end));
        check_serves(&cx, &pool).await;
    });
}

#[test]
fn manager_check() {
    every_await("Manager::check", async |cx: Cx, probe: Probe| {
        let pool = pool();
        drop(pool.acquire(&cx).await.unwrap());
        let end = probe.run(&cx, pool.acquire(&cx)).await;
        drop(came(&probe, end));
        check_serves(&cx, &pool).await;
    });
}

#[test]
fn pool_reap() {
    every_await("Pool::reap", async |cx: Cx, probe: Probe| {
        let pool = pool();
        let end = probe.run(&cx, pool.reap(&cx)).await;
        if let Came::Value(reaped) = came(&probe, end) {
            assert_eq!((reaped.created, pool.stats().idle), (1, 1));
        }
        check_serves(&cx, &pool).await;
    });
}

#[test]
fn pool_maintain() {
    every_await("Pool::maintain", async |cx: Cx, probe: Probe| {
        let pool = pool();
        within(&cx, async |scope| {
            {
                let pool = pool.clone();
                scope.spawn(async move |cx: Cx| {
                    let _ = cx.sleep(std::time::Duration::from_secs(25)).await;
                    check_at_rest(&pool);
                    pool.close();
                    End::Ok(())
                });
            }
            let end = probe.run(scope.cx(), pool.maintain(scope.cx())).await;
            let end = came(&probe, end);
            assert!(end == Came::Value(()) || probe.was_interrupted());
        })
        .await;
        check_at_rest(&pool);
        assert_eq!(pool.stats().size, 0);
    });
}

#[test]
fn pool_close_and_drain() {
    every_await("Pool::close_and_drain", async |cx: Cx, probe: Probe| {
        let pool = pool();
        within(&cx, async |scope| {
            let lent = pool.acquire(scope.cx()).await.unwrap();
            scope.spawn(async move |cx: Cx| {
                settle(&cx).await;
                drop(lent);
                End::Ok(())
            });
            let end = probe
                .run(scope.cx(), pool.close_and_drain(scope.cx()))
                .await;
            if came(&probe, end) == Came::Value(()) {
                assert_eq!(pool.stats().size, 0);
            }
        })
        .await;
        pool.close_and_drain(&cx).await.unwrap();
        check_at_rest(&pool);
    });
}
