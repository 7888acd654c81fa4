//! Wakers are the program's code: they may re-enter, panic, and be dropped at any time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use asupersync_sync::{Mutex, Notify, Semaphore, mpsc};

use futures_util::future::FutureExt;

use crate::support::under_seeds;

/// Runs `code` when it is woken and when it is dropped.
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

fn waker(code: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(Code(code)))
}

struct All {
    tx: mpsc::Sender<u32>,
    mutex: Mutex<()>,
    semaphore: Semaphore,
    notify: Notify,
}

impl All {
    fn enter_everything(&self) {
        let _ = self.tx.try_send(9);
        let _ = (self.tx.len(), self.tx.capacity());
        drop(self.mutex.try_lock());
        self.semaphore.add_permits(1);
        let _ = self.semaphore.forget_permits(1);
        self.notify.notify_waiters();
    }
}

#[test]
fn a_waker_may_re_enter_the_primitive_that_calls_it() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let all = Arc::new(All {
            tx,
            mutex: Mutex::new(()),
            semaphore: Semaphore::new(0),
            notify: Notify::new(),
        });
        let runs = Arc::new(AtomicU32::new(0));
        let make = || {
            let (all, runs) = (Arc::clone(&all), Arc::clone(&runs));
            waker(move || {
                runs.fetch_add(1, Ordering::SeqCst);
                all.enter_everything();
            })
        };
        let tx = all.tx.clone();
        let held = all.mutex.try_lock().unwrap();
        let mut recv = Box::pin(rx.recv(&cx));
        let mut lock = pin!(all.mutex.lock(&cx));
        let mut acquire = pin!(all.semaphore.acquire(&cx));
        let mut notified = pin!(all.notify.notified(&cx));
        let mut closed = pin!(tx.closed(&cx));
        // Twice each, so that wakers are replaced and dropped too, which may make any of them ready.
        for _ in 0..2 {
            let (a, b, c, d, e) = (make(), make(), make(), make(), make());
            let _ = recv.as_mut().poll(&mut Context::from_waker(&a));
            let _ = lock.as_mut().poll(&mut Context::from_waker(&b));
            let _ = acquire.as_mut().poll(&mut Context::from_waker(&c));
            let _ = notified.as_mut().poll(&mut Context::from_waker(&d));
            let _ = closed.as_mut().poll(&mut Context::from_waker(&e));
        }
        all.tx.try_send(1).ok();
        drop(held);
        all.semaphore.add_permits(1);
        all.notify.notify_one();
        drop(recv);
        let mut full = pin!(tx.send(&cx, 5));
        let waker = make();
        let _ = full.as_mut().poll(&mut Context::from_waker(&waker));
        while rx.try_recv().is_ok() {}
        rx.close();
        drop(rx);
        assert!(runs.load(Ordering::SeqCst) > 5);
    });
}

#[test]
fn a_waker_may_add_permits_while_others_are_still_in_line() {
    under_seeds(1, async |cx| {
        let semaphore = Arc::new(Semaphore::new(0));
        let again = Arc::clone(&semaphore);
        let adding = waker(move || again.add_permits(1));
        let mut acquires: Vec<_> = (0..3).map(|_| Box::pin(semaphore.acquire(&cx))).collect();
        for acquire in &mut acquires {
            let seen = acquire.as_mut().poll(&mut Context::from_waker(&adding));
            assert!(seen.is_pending());
        }
        // Whoever is woken adds the permit of the next.
        semaphore.add_permits(1);
        for acquire in acquires {
            acquire.now_or_never().expect("granted").unwrap().forget();
        }
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn a_waker_may_drop_a_send_that_is_still_in_line() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        let (own_tx, own_cx) = (tx.clone(), cx.clone());
        let behind = Box::pin(async move { own_tx.send(&own_cx, 2).await.is_ok() });
        let behind = Arc::new(std::sync::Mutex::new(Some(behind)));
        let dropped = Arc::clone(&behind);
        let dropping = waker(move || drop(dropped.lock().unwrap().take()));
        let mut first = Box::pin(tx.send(&cx, 1));
        let seen = first.as_mut().poll(&mut Context::from_waker(&dropping));
        assert!(seen.is_pending());
        let seen = behind.lock().unwrap().as_mut().map(poll_once);
        assert_eq!(seen, Some(Poll::Pending));
        assert_eq!(rx.try_recv(), Ok(0));
        assert!(behind.lock().unwrap().is_none(), "the first was woken");
        first.await.unwrap();
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(mpsc::TryRecvError::Empty));
    });
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_panic_in_a_waker_does_not_keep_the_next_from_being_woken() {
    under_seeds(1, async |cx| {
        let woken = Arc::new(AtomicU32::new(0));
        let notify = Notify::new();
        let semaphore = Semaphore::new(0);
        let angry = || {
            let woken = Arc::clone(&woken);
            // Counted once: the drop comes after the wake.
            let once = AtomicU32::new(0);
            waker(move || {
                if once.fetch_add(1, Ordering::SeqCst) == 0 {
                    woken.fetch_add(1, Ordering::SeqCst);
                    panic!("in a waker");
                }
            })
        };
        let wakers: Vec<Waker> = (0..20).map(|_| angry()).collect();
        let mut waits: Vec<_> = (0..10).map(|_| Box::pin(notify.notified(&cx))).collect();
        let mut takes: Vec<_> = (0..10).map(|_| Box::pin(semaphore.acquire(&cx))).collect();
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            assert!(
                wait.as_mut()
                    .poll(&mut Context::from_waker(waker))
                    .is_pending()
            );
        }
        for (take, waker) in takes.iter_mut().zip(&wakers[10..]) {
            assert!(
                take.as_mut()
                    .poll(&mut Context::from_waker(waker))
                    .is_pending()
            );
        }
        notify.notify_waiters();
        assert_eq!(woken.load(Ordering::SeqCst), 10);
        semaphore.add_permits(10);
        assert_eq!(woken.load(Ordering::SeqCst), 20);
        for wait in waits {
            wait.await.unwrap();
        }
        for take in takes {
            take.await.unwrap().forget();
        }
        drop(wakers);
    });
}
