//! Mapped guards, permits in parts, blocking forms, and whom a notification goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use asupersync_core::{Collect, LeakResponse, Outcome};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_sync::{
    AcquireError, Barrier, Latch, Mutex, MutexGuard, Notify, OwnedMutexGuard, RwLock, Semaphore,
    TryAcquireError,
};
use futures_util::future::FutureExt;
use futures_util::poll;
use proptest::prelude::*;

use crate::support::{End, under_seeds};

#[test]
fn a_mapped_guard_holds_the_whole_lock_and_poisons_it() {
    under_seeds(2, async |cx| {
        let mutex = Arc::new(Mutex::new((1, vec![2, 3])));
        let list = MutexGuard::map(mutex.lock(&cx).await.unwrap(), |pair| &mut pair.1);
        assert!(mutex.try_lock().is_err());
        let mut first = asupersync_sync::MappedMutexGuard::map(list, |list| &mut list[0]);
        *first = 20;
        drop(first);
        let guard = mutex.try_lock().expect("given up");
        let guard = MutexGuard::try_map(guard, |pair| pair.1.get_mut(9)).unwrap_err();
        drop(guard);
        let owned = mutex.try_lock_owned().unwrap();
        let mut last = OwnedMutexGuard::try_map(owned, |pair| pair.1.last_mut()).unwrap();
        *last = 30;
        drop(last);
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let mutex = Arc::clone(&mutex);
                let holder = scope.spawn(async move |cx: Cx| -> End<()> {
                    let guard = mutex.lock_owned(&cx).await.unwrap();
                    let _part = OwnedMutexGuard::map(guard, |pair| &mut pair.0);
                    panic!("while it holds a part");
                });
                assert!(matches!(
                    holder.join(scope.cx()).await,
                    Outcome::Panicked(_)
                ));
                End::Ok(())
            })
            .await;
        assert!(end.is_ok() && mutex.is_poisoned());
        mutex.clear_poison();
        assert_eq!(*mutex.try_lock().unwrap(), (1, vec![20, 30]));
    });
}

#[test]
fn permits_are_split_and_merged_and_none_is_lost() {
    under_seeds(1, async |cx| {
        let semaphore = Semaphore::new(6);
        let mut all = semaphore.acquire_many(&cx, 5).await.unwrap();
        assert!(all.split(&cx, 6).is_none());
        let part = all.split(&cx, 2).unwrap();
        assert_eq!((all.count(), part.count()), (3, 2));
        drop(all);
        assert_eq!(semaphore.available_permits(), 4);
        let mut owned = semaphore.try_acquire_many_owned(&cx, 4).unwrap();
        let rest = owned.split(&cx, 4).unwrap();
        assert_eq!((owned.count(), semaphore.available_permits()), (0, 0));
        owned.merge(&cx, rest);
        assert_eq!(owned.count(), 4);
        drop(owned);
        part.forget();
        assert_eq!(semaphore.available_permits(), 4);
    });
}

#[test]
#[should_panic(expected = "permits of one semaphore cannot be merged into another's")]
fn permits_of_two_semaphores_are_not_merged() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let (one, other) = (Semaphore::new(1), Semaphore::new(1));
        let mut permit = one.try_acquire(&cx).unwrap();
        permit.merge(&cx, other.try_acquire(&cx).unwrap());
        End::Ok(())
    });
    if let Outcome::Panicked(payload) = report.outcome {
        panic!("{payload}");
    }
}

#[test]
fn each_part_of_a_split_permit_comes_back_once_if_it_leaks() {
    for response in [LeakResponse::Silent, LeakResponse::Recover] {
        let config = LabConfig::default().obligation_leak_response(response);
        let report = LabRuntime::new(config).run(async |cx: Cx| {
            let semaphore = Arc::new(Semaphore::new(5));
            let stash = Arc::new(std::sync::Mutex::new(Vec::new()));
            let end = cx
                .region(async |scope| {
                    let (semaphore, stash) = (Arc::clone(&semaphore), Arc::clone(&stash));
                    scope.spawn(async move |cx: Cx| {
                        let mut all = semaphore.acquire_many_owned(&cx, 5).await.unwrap();
                        stash.lock().unwrap().push(all.split(&cx, 2).unwrap());
                        stash.lock().unwrap().push(all);
                        End::Ok(())
                    });
                    End::Ok(())
                })
                .await;
            assert!(end.is_ok());
            let is_recovered = response == LeakResponse::Recover;
            let free = semaphore.available_permits();
            assert_eq!(free, if is_recovered { 5 } else { 0 });
            // Splitting what was recovered gives nothing; it is in circulation already.
            let mut late = stash.lock().unwrap().pop().unwrap();
            assert_eq!(late.split(&cx, 1).is_none(), is_recovered);
            drop(late);
            stash.lock().unwrap().clear();
            assert_eq!(semaphore.available_permits(), 5);
            End::Ok(())
        });
        assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    }
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Take(u32),
    Split(usize, u32),
    Merge(usize, usize),
    Drop(usize),
    Forget(usize),
    Add(u32),
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![
        (0..5_u32).prop_map(Part::Take),
        (0..5_usize, 0..5_u32).prop_map(|(at, count)| Part::Split(at, count)),
        (0..5_usize, 0..5_usize).prop_map(|(at, from)| Part::Merge(at, from)),
        (0..5_usize).prop_map(Part::Drop),
        (0..5_usize).prop_map(Part::Forget),
        (0..3_u32).prop_map(Part::Add),
    ];
    prop::collection::vec(part, 0..60)
}

proptest! {
    #[test]
    fn permits_in_are_permits_out_however_they_are_cut(parts in parts()) {
        under_seeds(1, move |cx| {
            let parts = parts.clone();
            async move {
                let semaphore = Semaphore::new(8);
                let (mut total, mut held) = (8_u64, Vec::new());
                for part in parts {
                    match part {
                        Part::Take(count) => match semaphore.try_acquire_many(&cx, count) {
                            Ok(permit) => held.push(permit),
                            Err(error) => assert_eq!(error, TryAcquireError::NoPermits),
                        },
                        Part::Split(at, count) if at < held.len() => {
                            let before = held[at].count();
                            let part = held[at].split(&cx, count);
                            assert_eq!(part.is_some(), count <= before);
                            held.extend(part);
                        }
                        Part::Merge(at, from) if at < from && from < held.len() => {
                            let part = held.remove(from);
                            held[at].merge(&cx, part);
                        }
                        Part::Drop(at) if at < held.len() => drop(held.remove(at)),
                        Part::Forget(at) if at < held.len() => {
                            let permit = held.remove(at);
                            total -= u64::from(permit.count());
                            permit.forget();
                        }
                        Part::Add(count) => {
                            semaphore.add_permits(u64::from(count));
                            total += u64::from(count);
                        }
                        Part::Split(..) | Part::Merge(..) | Part::Drop(_) | Part::Forget(_) => {}
                    }
                    let out: u64 = held.iter().map(|permit| u64::from(permit.count())).sum();
                    assert_eq!(semaphore.available_permits() + out, total);
                }
            }
        });
    }
}

#[test]
fn the_last_in_line_is_notified_first_if_asked() {
    under_seeds(1, async |cx| {
        let notify = Notify::new();
        let mut line: Vec<_> = (0..3).map(|_| Box::pin(notify.notified(&cx))).collect();
        for waiter in &mut line {
            assert!(poll!(waiter).is_pending());
        }
        notify.notify_last();
        assert!(poll!(&mut line[0]).is_pending());
        assert!(poll!(&mut line[2]).is_ready());
        notify.notify_last();
        // Notified and gone without a look: the first in line has it.
        drop(line.remove(1));
        assert!(poll!(&mut line[0]).is_ready());
        notify.notify_last();
        assert_eq!(notify.notified(&cx).now_or_never(), Some(Ok(())), "stored");
    });
}

/// Runs `body` on so many threads at once.
fn on_threads(count: usize, body: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        let body = &body;
        for number in 0..count {
            scope.spawn(move || body(number));
        }
    });
}

#[test]
fn foreign_threads_read_together_and_write_alone() {
    const EACH: u64 = 5_000;
    let lock = RwLock::new(0_u64);
    let inside = AtomicI64::new(0);
    on_threads(4, |number| {
        for n in 0..EACH {
            if (n + number as u64).is_multiple_of(4) {
                let mut value = lock.blocking_write().unwrap();
                assert_eq!(inside.fetch_sub(1_000, Ordering::SeqCst), 0);
                *value += 1;
                inside.fetch_add(1_000, Ordering::SeqCst);
            } else {
                let value = lock.blocking_read().unwrap();
                assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0);
                assert!(*value <= 4 * EACH);
                inside.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
    assert_eq!(lock.into_inner(), EACH);
}

#[test]
fn foreign_threads_take_and_return_permits() {
    const PERMITS: u64 = 3;
    let semaphore = Semaphore::new(PERMITS);
    let held = AtomicU64::new(0);
    on_threads(4, |number| {
        for n in 0..5_000 {
            let count = 1 + (n + number as u32) % 3;
            let permit = semaphore.blocking_acquire_many(count).unwrap();
            let before = held.fetch_add(u64::from(count), Ordering::SeqCst);
            assert!(before + u64::from(count) <= PERMITS);
            held.fetch_sub(u64::from(count), Ordering::SeqCst);
            drop(permit);
        }
    });
    assert_eq!(semaphore.available_permits(), PERMITS);
    semaphore.blocking_acquire().unwrap().forget();
    drop(semaphore.blocking_acquire_many_owned(2));
    assert_eq!(semaphore.available_permits(), PERMITS - 1);
    semaphore.close();
    assert_eq!(
        semaphore.blocking_acquire().err(),
        Some(AcquireError::Closed)
    );
}

#[test]
fn foreign_threads_meet() {
    let (barrier, latch) = (Barrier::new(3), Latch::new(3));
    let leaders = AtomicU64::new(0);
    on_threads(3, |_| {
        for round in 0..500 {
            let end = barrier.blocking_wait();
            assert_eq!(end.round(), round);
            leaders.fetch_add(u64::from(end.is_leader()), Ordering::SeqCst);
        }
        latch.count_down();
        latch.blocking_wait();
    });
    assert_eq!(leaders.into_inner(), 500);
    let mutex = Arc::new(Mutex::new(1));
    *mutex.blocking_lock_owned().unwrap() += 1;
    assert_eq!(*mutex.blocking_lock().unwrap(), 2);
}
