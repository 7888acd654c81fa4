//! Wakes and permits that go to somebody who has gone, and wakers that come back.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_sync::{Mutex, Notify, RwLock, Semaphore, mpsc, oneshot, watch};
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

/// What a waker comes back to.
struct All {
    channel: mpsc::Sender<u32>,
    mutex: Mutex<()>,
    rwlock: RwLock<()>,
    semaphore: Semaphore,
    notify: Notify,
    watched: watch::Sender<u32>,
}

impl All {
    fn enter(&self) {
        let _full = self.channel.try_send(9);
        drop(self.mutex.try_lock());
        drop(self.rwlock.try_write());
        self.semaphore.add_permits(1);
        let _taken = self.semaphore.forget_permits(1);
        self.notify.notify_waiters();
        let _unseen = self.watched.send(9);
    }
}

/// In the field: a primitive calls a waker, or drops one, while it holds its own lock; an executor that polls at once, or a future that owns a handle, comes back and deadlocks.
/// Here wakers are called, cloned and dropped outside of every lock, so that coming back is like coming.
#[test]
fn a_waker_may_come_back_to_what_wakes_it() {
    on_both_hosts(async |cx| {
        let (channel, mut rx) = mpsc::channel(1);
        let (watched, mut seen) = watch::channel(0);
        let (once, mut answer) = oneshot::channel();
        let all = Arc::new(All {
            channel,
            mutex: Mutex::new(()),
            rwlock: RwLock::new(()),
            semaphore: Semaphore::new(0),
            notify: Notify::new(),
            watched,
        });
        let runs = Arc::new(AtomicU32::new(0));
        let make = || {
            let (all, runs) = (Arc::clone(&all), Arc::clone(&runs));
            Waker::from(Arc::new(Code(move || {
                runs.fetch_add(1, Ordering::SeqCst);
                all.enter();
            })))
        };
        let guard = all.mutex.try_lock().expect("nobody has it");
        let reading = all.rwlock.try_read().expect("nobody writes");
        let mut recv = pin!(rx.recv(&cx));
        let mut lock = pin!(all.mutex.lock(&cx));
        let mut write = pin!(all.rwlock.write(&cx));
        let mut acquire = pin!(all.semaphore.acquire(&cx));
        let mut notified = pin!(all.notify.notified(&cx));
        let mut changed = pin!(seen.changed(&cx));
        let mut reply = pin!(answer.recv(&cx));
        // Each waits; the second waker replaces and drops the first, which may already make others ready.
        for _ in 0..2 {
            let wakers: [Waker; 7] = std::array::from_fn(|_| make());
            let mut tasks = wakers.each_ref().map(Context::from_waker);
            let [a, b, c, d, e, f, g] = &mut tasks;
            let _ = recv.as_mut().poll(a);
            let _ = lock.as_mut().poll(b);
            let _ = write.as_mut().poll(c);
            let _ = acquire.as_mut().poll(d);
            let _ = notified.as_mut().poll(e);
            let _ = changed.as_mut().poll(f);
            let _ = reply.as_mut().poll(g);
        }
        let before = runs.load(Ordering::SeqCst);
        drop((guard, reading));
        all.semaphore.add_permits(1);
        all.notify.notify_one();
        once.send(1).expect("it is waited for");
        assert!(runs.load(Ordering::SeqCst) > before, "they were woken");
    });
}
