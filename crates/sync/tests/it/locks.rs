//! The contracts of semaphore, mutex and notify.

use std::sync::Arc;

use asupersync_core::Collect;
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_sync::{
    AcquireError, LockError, Mutex, Notify, Semaphore, TryAcquireError, TryLockError,
};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, as_on_a_worker, count_waits, settle, under_seeds, within};

#[test]
fn the_first_in_line_is_served_first_even_if_a_later_one_needs_less() {
    under_seeds(1, async |cx| {
        let semaphore = Semaphore::new(1);
        let mut large = Box::pin(semaphore.acquire_many(&cx, 3));
        let mut small = Box::pin(semaphore.acquire(&cx));
        assert!(poll!(&mut large).is_pending());
        assert!(poll!(&mut small).is_pending());
        assert!(matches!(
            semaphore.try_acquire(&cx),
            Err(TryAcquireError::NoPermits)
        ));
        semaphore.add_permits(1);
        assert!(poll!(&mut small).is_pending());
        semaphore.add_permits(2);
        let large = large.await.unwrap();
        assert_eq!(large.count(), 3);
        let small = small.await.unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        drop((large, small));
        assert_eq!(semaphore.available_permits(), 4);
    });
}

#[test]
fn a_large_need_that_leaves_the_line_frees_those_behind_it() {
    under_seeds(1, async |cx| {
        let semaphore = Semaphore::new(1);
        let mut large = Box::pin(semaphore.acquire_many(&cx, 3));
        let mut small = Box::pin(semaphore.acquire(&cx));
        assert!(poll!(&mut large).is_pending());
        assert!(poll!(&mut small).is_pending());
        drop(large);
        assert!(poll!(&mut small).is_ready());
    });
}

#[test]
fn close_fails_the_line_and_leaves_permits_good() {
    under_seeds(8, async |cx| {
        within(&cx, async |scope| {
            let semaphore = Arc::new(Semaphore::new(1));
            let permit = semaphore.try_acquire_owned(scope.cx()).unwrap();
            let waiter = {
                let semaphore = Arc::clone(&semaphore);
                scope.spawn(async move |cx: Cx| End::Ok(semaphore.acquire(&cx).await.err()))
            };
            settle(scope.cx()).await;
            semaphore.close();
            let error = waiter.join(scope.cx()).await.ok().unwrap();
            assert_eq!(error, Some(AcquireError::Closed));
            assert!(matches!(
                semaphore.try_acquire(scope.cx()),
                Err(TryAcquireError::Closed)
            ));
            drop(permit);
            assert_eq!(semaphore.available_permits(), 1);
        })
        .await;
    });
}

#[test]
fn forgotten_permits_leave_circulation() {
    under_seeds(1, async |cx| {
        let semaphore = Semaphore::new(5);
        semaphore.acquire_many(&cx, 2).await.unwrap().forget();
        semaphore.acquire_owned(&cx).await.unwrap().forget();
        assert_eq!(semaphore.forget_permits(1), 1);
        assert_eq!(semaphore.forget_permits(7), 1);
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
#[should_panic(expected = "a semaphore holds at most")]
fn too_many_permits_are_refused() {
    Semaphore::new(Semaphore::MAX_PERMITS).add_permits(1);
}

#[test]
fn the_lock_goes_to_who_waited_longest() {
    under_seeds(1, async |cx| {
        let mutex = Mutex::new(0);
        let held = mutex.lock(&cx).await.unwrap();
        let mut line: Vec<_> = (0..4).map(|_| Box::pin(mutex.lock(&cx))).collect();
        for waiter in &mut line {
            assert!(poll!(waiter).is_pending());
        }
        drop(held);
        assert!(
            matches!(mutex.try_lock(), Err(TryLockError::Locked)),
            "nobody overtakes the line"
        );
        assert!(poll!(&mut line[1]).is_pending());
        // The first was handed the lock and leaves: the second has it.
        drop(line.remove(0));
        for waiter in line {
            *waiter.await.unwrap() += 1;
        }
        assert_eq!(*mutex.try_lock().unwrap(), 3);
        assert_eq!(mutex.into_inner(), 3);
    });
}

#[test]
fn a_panic_of_the_holder_poisons_until_cleared() {
    under_seeds(4, async |cx| {
        let mutex = Arc::new(Mutex::new(1));
        let calm = Arc::new(Mutex::new_unpoisoned(1));
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let (held, calm) = (Arc::clone(&mutex), Arc::clone(&calm));
                let holder = scope.spawn(async move |cx: Cx| {
                    let mut guard = held.lock(&cx).await.unwrap();
                    let _calm = calm.lock_owned(&cx).await.unwrap();
                    *guard = 2;
                    cx.yield_now().await.unwrap();
                    if *guard == 2 {
                        panic!("while it holds the lock");
                    }
                    End::Ok(())
                });
                let waiter = {
                    let mutex = Arc::clone(&mutex);
                    scope.spawn(async move |cx: Cx| {
                        settle(&cx).await;
                        End::Ok(mutex.lock(&cx).await.map(|guard| *guard))
                    })
                };
                let _ = holder.join(scope.cx()).await;
                End::Ok(waiter.join(scope.cx()).await.ok())
            })
            .await;
        assert_eq!(end.ok().flatten(), Some(Err(LockError::Poisoned)));
        assert!(mutex.is_poisoned());
        assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned)));
        assert_eq!(*calm.lock(&cx).await.unwrap(), 1);
        mutex.clear_poison();
        assert_eq!(*mutex.lock(&cx).await.unwrap(), 2);
    });
}

#[test]
fn waiters_in_line_learn_of_the_poison() {
    under_seeds(8, async |cx| {
        let mutex = Arc::new(Mutex::new(()));
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let held = mutex.lock_owned(scope.cx()).await.unwrap();
                let waiters: Vec<_> = (0..3)
                    .map(|_| {
                        let mutex = Arc::clone(&mutex);
                        scope.spawn(async move |cx: Cx| End::Ok(mutex.lock(&cx).await.is_err()))
                    })
                    .collect();
                settle(scope.cx()).await;
                let holder = scope.spawn(async move |_: Cx| -> End<()> {
                    let _held = held;
                    panic!("while it holds the lock");
                });
                let _ = holder.join(scope.cx()).await;
                let mut failed = 0;
                for waiter in waiters {
                    failed += u32::from(waiter.join(scope.cx()).await.ok().unwrap());
                }
                End::Ok(failed)
            })
            .await;
        assert_eq!(end.ok(), Some(3));
    });
}

#[test]
fn one_notification_is_stored_and_no_more() {
    under_seeds(1, async |cx| {
        let notify = Notify::new();
        notify.notify_one();
        notify.notify_one();
        assert_eq!(notify.notified(&cx).await, Ok(()));
        assert!(notify.notified(&cx).now_or_never().is_none());
        notify.notify_waiters();
        assert!(
            notify.notified(&cx).now_or_never().is_none(),
            "nothing is stored for later"
        );
    });
}

#[test]
fn everybody_who_asked_before_the_call_is_notified() {
    under_seeds(1, async |cx| {
        let notify = Notify::new();
        let unpolled = notify.notified(&cx);
        let mut enabled = Box::pin(notify.notified(&cx));
        assert!(!enabled.as_mut().enable());
        let mut parked = Box::pin(notify.notified(&cx));
        assert!(poll!(&mut parked).is_pending());
        notify.notify_waiters();
        let late = notify.notified(&cx);
        assert_eq!(unpolled.now_or_never(), Some(Ok(())));
        assert_eq!(enabled.now_or_never(), Some(Ok(())));
        assert_eq!(parked.now_or_never(), Some(Ok(())));
        assert_eq!(late.now_or_never(), None);
    });
}

#[test]
fn notifications_go_to_the_line_in_order_and_past_who_left() {
    under_seeds(1, async |cx| {
        let notify = Notify::new();
        let mut line: Vec<_> = (0..3).map(|_| Box::pin(notify.notified(&cx))).collect();
        for waiter in &mut line {
            assert!(poll!(waiter).is_pending());
        }
        notify.notify_one();
        assert!(poll!(&mut line[1]).is_pending());
        drop(line.remove(0));
        assert!(poll!(&mut line[0]).is_ready());
        assert!(poll!(&mut line[1]).is_pending());
        notify.notify_one();
        // The last in line leaves with its notification, which is stored.
        line.clear();
        assert_eq!(notify.notified(&cx).now_or_never(), Some(Ok(())));
    });
}

#[test]
fn who_comes_while_a_mutex_is_on_its_way_gives_its_owner_a_turn_once() {
    under_seeds(1, async |cx| {
        let mutex = Mutex::new(0);
        let first = mutex.lock(&cx).await.unwrap();
        let mut handed = Box::pin(mutex.lock(&cx));
        assert!(poll!(&mut handed).is_pending());
        drop(first);
        let mut late = Box::pin(mutex.lock(&cx));
        assert!(poll!(&mut late).is_pending());
        *handed.now_or_never().unwrap().unwrap() = 1;
        assert_eq!(*mutex.try_lock().expect("nobody is in line"), 1);

        let first = mutex.try_lock().unwrap();
        let mut handed = Box::pin(mutex.lock(&cx));
        assert!(poll!(&mut handed).is_pending());
        drop(first);
        assert!(poll!(&mut late).is_pending(), "it gets in line");
        let handed = handed.now_or_never().unwrap().unwrap();
        drop(handed);
        assert!(
            mutex.try_lock().is_err(),
            "it is on its way to who is in line"
        );
        drop(late.now_or_never().unwrap().unwrap());
        assert!(mutex.try_lock().is_ok());
    });
}

#[test]
fn those_who_meet_at_a_mutex_once_do_not_hand_it_round_for_ever() {
    const EACH: u64 = 50;
    under_seeds(1, async |cx| {
        let mutex = Mutex::new(0_u64);
        let held = mutex.lock(&cx).await.unwrap();
        let tasks =
            [(); 4].map(|()| count_waits(EACH, || mutex.lock(&cx), |end| *end.unwrap() += 1));
        let waits = as_on_a_worker(tasks, || drop(held));
        assert_eq!(*mutex.try_lock().unwrap(), 4 * EACH);
        assert!(waits <= 3 * 4, "{waits} waits");
    });
}
