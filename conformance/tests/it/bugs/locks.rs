//! Wakes and permits that go to somebody who has gone, and wakers that come back.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_sync::{Mutex, Notify, RwLock, Semaphore, mpsc, watch};
use futures_util::poll;

use super::{cancelled_soon, dropped_soon, moment};
use crate::support::End;

/// In the field: `notify_one` picks a waiter that is dropped before it is polled again, the wake is gone with it, and the others wait for ever.
/// Here a wake that was not taken goes to the next in line, and without one is kept for who comes next.
#[test]
fn a_wake_is_not_lost_with_the_waiter_it_went_to() {
    on_both_hosts(async |cx| {
        let notify = Notify::new();
        let mut first = Box::pin(notify.notified(&cx));
        let mut second = Box::pin(notify.notified(&cx));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        notify.notify_one();
        drop(first);
        second.await.expect("the wake came here");
        let mut last = Box::pin(notify.notified(&cx));
        assert!(poll!(&mut last).is_pending(), "it was one wake");
        notify.notify_one();
        drop(last);
        notify.notified(&cx).await.expect("the wake was kept");
    });
}

/// The same where the waiter is cancelled, by another task, in the moment in which it is woken.
#[test]
fn a_wake_is_not_lost_with_a_waiter_that_is_cancelled() {
    on_both_hosts(async |cx| {
        for _ in 0..10 {
            let notify = Arc::new(Notify::new());
            let end = cx
                .region(async |scope| {
                    let wait = |notify: Arc<Notify>| {
                        scope.spawn(async move |cx: Cx| End::Ok(notify.notified(&cx).await.is_ok()))
                    };
                    let first = wait(Arc::clone(&notify));
                    let second = wait(Arc::clone(&notify));
                    for _ in 0..scope.cx().random_u64() % 6 {
                        scope.cx().yield_now().await?;
                    }
                    first.cancel();
                    notify.notify_one();
                    if first.join(scope.cx()).await.ok() == Some(true) {
                        // It went on, so the wake was its.
                        notify.notify_one();
                    }
                    assert_eq!(second.join(scope.cx()).await, Outcome::Ok(true));
                    End::Ok(())
                })
                .await;
            assert_eq!(end, Outcome::Ok(()));
        }
    });
}

/// In the field: a waiter that was dropped or timed out keeps its place in a semaphore's line, and permits are counted out to it that nobody will give back.
/// Here a waiter's place ends with its future, and what had been set aside for it goes on to the next in the same moment.
#[test]
fn a_waiter_that_has_gone_takes_no_permits() {
    on_both_hosts(async |cx| {
        let permits = Semaphore::new(2);
        let held = permits.acquire(&cx).await.expect("it stays open");
        // Half of what it wants is there; who comes later waits behind it.
        let mut large = Box::pin(permits.acquire_many(&cx, 2));
        assert!(poll!(&mut large).is_pending());
        let mut small = Box::pin(permits.acquire(&cx));
        assert!(poll!(&mut small).is_pending());
        drop(large);
        let got = small.await.expect("nothing was given back, and it is free");
        drop((held, got));
        assert_eq!(permits.available_permits(), 2);
    });
}

/// The same among many that give up in either way: in the end every permit is there.
#[test]
fn permits_are_conserved_whoever_gives_up() {
    const PERMITS: u64 = 3;
    on_both_hosts(async |cx| {
        let permits = Arc::new(Semaphore::new(PERMITS));
        let end = cx
            .region(async |scope| {
                for task in 0..6 {
                    let permits = Arc::clone(&permits);
                    scope.spawn(async move |cx: Cx| {
                        for turn in 0..12 {
                            let count = 1 + (task + turn) % 3;
                            let got = if turn % 2 == 0 {
                                dropped_soon(&cx, permits.acquire_many(&cx, count)).await
                            } else {
                                Some(cancelled_soon(&cx, permits.acquire_many(&cx, count)).await)
                            };
                            if let Some(Ok(_permit)) = got {
                                cx.sleep(moment(&cx)).await?;
                            }
                        }
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert_eq!(permits.available_permits(), PERMITS);
    });
}

/// A waker that runs the program's code when it is woken, and when it is dropped.
struct Code<F: Fn()>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Code<F> {
    fn wake(self: Arc<Self>) {
        self.0();
    }
}

impl<F: Fn()> Drop for Code<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Polls `waiting` with a waker that runs `enter`, and then has it woken; or only replaces that waker, which drops it.
fn comes_back<F, E, W>(waiting: F, enter: E, wake: W)
where
    F: Future,
    E: Fn() + Send + Sync + 'static,
    W: FnOnce(),
{
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let waker = Waker::from(Arc::new(Code(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        enter();
    })));
    let mut waiting = pin!(waiting);
    let first_look = waiting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(first_look.is_pending());
    // From here on the primitive has the only one, and drops it after it has called it.
    drop(waker);
    wake();
    // Woken or replaced, it has run.
    let _ = waiting.poll(&mut Context::from_waker(Waker::noop()));
    assert!(runs.load(Ordering::SeqCst) > 0);
}

/// In the field: a primitive calls a waker, or drops one, while it holds its own lock; an executor that polls at once, or a future that owns a handle, comes back and deadlocks.
/// Here wakers are called, cloned and dropped outside of every lock, so that coming back is like coming.
#[test]
fn a_waker_may_come_back_to_what_wakes_it() {
    on_both_hosts(async |cx| {
        // Each twice: woken, and only replaced.
        for is_woken in [true, false] {
            let when_woken = |wake: &dyn Fn()| {
                if is_woken {
                    wake();
                }
            };
            let notify = Arc::new(Notify::new());
            let own = Arc::clone(&notify);
            let enter = move || {
                own.notify_waiters();
                own.notify_one();
            };
            comes_back(notify.notified(&cx), enter, || {
                when_woken(&|| notify.notify_one());
            });

            let semaphore = Arc::new(Semaphore::new(0));
            let own = Arc::clone(&semaphore);
            let enter = move || own.add_permits(1);
            comes_back(semaphore.acquire(&cx), enter, || {
                when_woken(&|| semaphore.add_permits(1));
            });

            let mutex = Arc::new(Mutex::new(()));
            let own = Arc::clone(&mutex);
            let held = std::cell::Cell::new(mutex.try_lock().ok());
            let enter = move || drop(own.try_lock());
            comes_back(mutex.lock(&cx), enter, || {
                when_woken(&|| drop(held.take()));
            });

            let rwlock = Arc::new(RwLock::new(()));
            let own = Arc::clone(&rwlock);
            let held = std::cell::Cell::new(rwlock.try_read().ok());
            let enter = move || drop(own.try_write());
            comes_back(rwlock.write(&cx), enter, || {
                when_woken(&|| drop(held.take()));
            });

            let (tx, mut rx) = mpsc::channel(1);
            let own = tx.clone();
            let enter = move || {
                let _full = own.try_send(2);
            };
            comes_back(rx.recv(&cx), enter, || {
                when_woken(&|| tx.try_send(1).expect("it is empty"));
            });

            let (tx, mut rx) = mpsc::channel(1);
            tx.try_send(1).expect("it is empty");
            let own = tx.clone();
            let enter = move || {
                let _full = own.try_send(2);
            };
            comes_back(tx.send(&cx, 3), enter, || {
                if is_woken {
                    rx.try_recv().expect("it is there");
                }
            });

            let (tx, mut rx) = watch::channel(0);
            let tx = Arc::new(tx);
            let own = Arc::clone(&tx);
            let enter = move || {
                let _full = own.send(2);
            };
            comes_back(rx.changed(&cx), enter, || {
                when_woken(&|| tx.send(1).expect("there is a receiver"));
            });
        }
    });
}
