//! The contract of the reader-writer lock.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;

use asupersync_core::{Collect, Outcome};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_sync::{
    LockError, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, RwLockReadGuard,
    RwLockUpgradableReadGuard, RwLockWriteGuard, TryLockError,
};
use futures_util::future::FutureExt;
use futures_util::poll;
use proptest::prelude::*;

use crate::support::{End, as_on_a_worker, count_waits, drop_after, settle, under_seeds, within};

#[test]
fn a_writer_in_line_stops_new_readers_and_the_readers_behind_it_go_together() {
    under_seeds(1, async |cx| {
        let lock = RwLock::new(0);
        let reading = lock.read(&cx).await.unwrap();
        let beside = lock.read(&cx).await.unwrap();
        let mut writer = Box::pin(lock.write(&cx));
        assert!(poll!(&mut writer).is_pending());
        assert!(matches!(lock.try_read(), Err(TryLockError::Locked)));
        let mut readers: Vec<_> = (0..3).map(|_| Box::pin(lock.read(&cx))).collect();
        let mut next_writer = Box::pin(lock.write(&cx));
        let mut last = Box::pin(lock.read(&cx));
        for reader in &mut readers {
            assert!(poll!(reader).is_pending());
        }
        assert!(poll!(&mut next_writer).is_pending());
        assert!(poll!(&mut last).is_pending());
        drop(reading);
        assert!(poll!(&mut writer).is_pending());
        drop(beside);
        let mut value = writer.now_or_never().unwrap().unwrap();
        *value = 1;
        drop(value);
        assert!(poll!(&mut last).is_pending(), "a writer stands before it");
        let batch: Vec<_> = readers
            .into_iter()
            .map(|reader| reader.now_or_never().expect("readers go together").unwrap())
            .collect();
        assert!(batch.iter().all(|value| **value == 1));
        assert!(poll!(&mut next_writer).is_pending());
        drop(batch);
        drop(next_writer.now_or_never().unwrap().unwrap());
        assert_eq!(*last.now_or_never().unwrap().unwrap(), 1);
    });
}

#[test]
fn an_upgrade_goes_before_the_line_and_nobody_writes_in_between() {
    under_seeds(1, async |cx| {
        let lock = RwLock::new(1);
        let seen = lock.upgradable_read(&cx).await.unwrap();
        assert!(lock.try_upgradable_read().is_err(), "one at a time");
        let beside = lock.try_read().unwrap();
        let mut writer = Box::pin(lock.write(&cx));
        assert!(poll!(&mut writer).is_pending());
        let Err(seen) = seen.try_upgrade() else {
            panic!("there is another reader");
        };
        let mut upgrade = Box::pin(seen.upgrade(&cx));
        assert!(poll!(&mut upgrade).is_pending());
        assert!(poll!(&mut writer).is_pending());
        drop(beside);
        let mut value = upgrade.now_or_never().unwrap().unwrap();
        assert_eq!(*value, 1);
        *value = 2;
        let read = value.downgrade();
        assert!(poll!(&mut writer).is_pending());
        drop(read);
        assert_eq!(*writer.now_or_never().unwrap().unwrap(), 2);
    });
}

#[test]
fn who_comes_while_the_lock_is_on_its_way_gives_its_holder_a_turn_once() {
    under_seeds(1, async |cx| {
        let lock = RwLock::new(0);
        let first = lock.write(&cx).await.unwrap();
        let mut handed = Box::pin(lock.write(&cx));
        assert!(poll!(&mut handed).is_pending());
        drop(first);
        let mut late = Box::pin(lock.read(&cx));
        let mut later = Box::pin(lock.write(&cx));
        assert!(poll!(&mut late).is_pending());
        assert!(poll!(&mut later).is_pending());
        *handed.now_or_never().unwrap().unwrap() = 1;
        assert_eq!(*lock.try_write().expect("nobody is in line"), 1);
        assert!(poll!(&mut later).is_ready(), "it came back");
        assert!(poll!(&mut late).is_ready(), "it came back");

        let first = lock.read(&cx).await.unwrap();
        let mut handed = Box::pin(lock.write(&cx));
        assert!(poll!(&mut handed).is_pending());
        drop(first);
        let mut late = Box::pin(lock.read(&cx));
        for _ in 0..2 {
            assert!(poll!(&mut late).is_pending());
        }
        let mut next = Box::pin(lock.write(&cx));
        drop(handed);
        let reading = late.now_or_never().expect("it got in line").unwrap();
        assert!(poll!(&mut next).is_pending());
        drop(reading);
        assert!(next.now_or_never().is_some());
    });
}

#[test]
fn those_who_meet_at_a_lock_once_do_not_hand_it_round_for_ever() {
    const EACH: u64 = 50;
    under_seeds(1, async |cx| {
        let lock = RwLock::new(0_u64);
        let held = lock.write(&cx).await.unwrap();
        let tasks =
            [(); 4].map(|()| count_waits(EACH, || lock.write(&cx), |end| *end.unwrap() += 1));
        let waits = as_on_a_worker(tasks, || drop(held));
        assert_eq!(*lock.try_read().unwrap(), 4 * EACH);
        assert!(waits <= 3 * 4, "{waits} waits");
    });
}

#[test]
fn a_downgrade_lets_the_readers_in_line_in_and_no_writer() {
    under_seeds(1, async |cx| {
        let lock = Arc::new(RwLock::new(0));
        let mut value = lock.write_owned(&cx).await.unwrap();
        *value = 7;
        let mut reader = Box::pin(lock.read(&cx));
        let mut upgradable = Box::pin(lock.upgradable_read_owned(&cx));
        let mut writer = Box::pin(lock.write(&cx));
        assert!(poll!(&mut reader).is_pending());
        assert!(poll!(&mut upgradable).is_pending());
        assert!(poll!(&mut writer).is_pending());
        let kept = value.downgrade_to_upgradable();
        let reading = reader.now_or_never().expect("let in").unwrap();
        assert!(poll!(&mut upgradable).is_pending(), "one at a time");
        let kept = kept.downgrade();
        let second = upgradable.now_or_never().expect("let in").unwrap();
        assert_eq!((*kept, *reading, *second), (7, 7, 7));
        drop((kept, reading));
        assert!(poll!(&mut writer).is_pending());
        let mut second = second.try_upgrade().expect("it reads alone");
        *second = 8;
        drop(second);
        assert_eq!(*writer.now_or_never().unwrap().unwrap(), 8);
    });
}

#[test]
fn a_writers_panic_poisons_and_a_readers_does_not() {
    under_seeds(4, async |cx| {
        let lock = Arc::new(RwLock::new(1));
        let calm = Arc::new(RwLock::new_unpoisoned(1));
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let (held, other) = (Arc::clone(&lock), Arc::clone(&calm));
                let reader = scope.spawn(async move |cx: Cx| {
                    let _reading = held.read_owned(&cx).await.unwrap();
                    let _calm = other.write(&cx).await.unwrap();
                    if cx.checkpoint().is_ok() {
                        panic!("while it reads");
                    }
                    End::Ok(())
                });
                let end = reader.join(scope.cx()).await;
                assert!(matches!(end, Outcome::Panicked(_)), "{end:?}");
                let still = *lock.read(scope.cx()).await.unwrap();
                let held = Arc::clone(&lock);
                let writer = scope.spawn(async move |cx: Cx| {
                    let upgradable = held.upgradable_read(&cx).await.unwrap();
                    let mut value = upgradable.upgrade(&cx).await.unwrap();
                    *value = 2;
                    if *value == 2 {
                        panic!("while it writes");
                    }
                    End::Ok(())
                });
                let end = writer.join(scope.cx()).await;
                assert!(matches!(end, Outcome::Panicked(_)), "{end:?}");
                End::Ok(still)
            })
            .await;
        assert_eq!(end.ok(), Some(1));
        assert_eq!(lock.read(&cx).await.err(), Some(LockError::Poisoned));
        assert_eq!(lock.write(&cx).await.err(), Some(LockError::Poisoned));
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned)));
        assert_eq!(*calm.read(&cx).await.unwrap(), 1);
        lock.clear_poison();
        assert_eq!(*lock.try_write().unwrap(), 2);
    });
}

#[test]
fn mapped_guards_hold_the_whole_lock() {
    under_seeds(1, async |cx| {
        let lock = Arc::new(RwLock::new((1, String::from("one"))));
        let name = RwLockReadGuard::map(lock.read(&cx).await.unwrap(), |pair| pair.1.as_str());
        assert_eq!(&*name, "one");
        assert!(lock.try_write().is_err());
        let name = RwLockReadGuard::try_map(name, |name| name.get(9..)).unwrap_err();
        drop(name);
        let number = RwLockWriteGuard::map(lock.write(&cx).await.unwrap(), |pair| &mut pair.0);
        assert!(lock.try_read().is_err());
        drop(number);
        let name = OwnedRwLockWriteGuard::try_map(lock.try_write_owned().unwrap(), |pair| {
            Some(&mut pair.1)
        });
        name.unwrap().push_str(" and a half");
        let name = OwnedRwLockReadGuard::map(lock.try_read_owned().unwrap(), |pair| &pair.1);
        drop(lock);
        assert_eq!(&*name, "one and a half", "the guard keeps the lock alive");
    });
}

#[test]
fn a_static_lock_needs_no_making() {
    static NAMES: RwLock<Vec<&str>> = RwLock::new(Vec::new());
    NAMES.blocking_write().unwrap().push("first");
    assert_eq!(*NAMES.blocking_read().unwrap(), ["first"]);
}

/// Counts who is in: readers up, a writer far down.
#[derive(Default)]
struct Inside(AtomicI64);

const WRITER: i64 = 1_000;

impl Inside {
    fn enter(&self, is_writer: bool) {
        let before = self
            .0
            .fetch_add(if is_writer { -WRITER } else { 1 }, Ordering::SeqCst);
        if is_writer {
            assert_eq!(before, 0, "a writer is alone");
        } else {
            assert!(before >= 0, "no reader beside a writer");
        }
    }

    fn leave(&self, is_writer: bool) {
        self.0
            .fetch_add(if is_writer { WRITER } else { -1 }, Ordering::SeqCst);
    }
}

#[test]
fn writers_are_alone_and_the_lock_is_free_at_the_end_wherever_waits_are_dropped() {
    under_seeds(100, async |cx| {
        let lock = Arc::new(RwLock::new(0_u64));
        let inside = Arc::new(Inside::default());
        let written = within(&cx, async |scope| {
            let tasks: Vec<_> = (0..6)
                .map(|_| {
                    let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                    scope.spawn(async move |cx: Cx| End::Ok(use_some(cx, &lock, &inside).await))
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.join(scope.cx()).await.ok().unwrap();
            }
            sum
        })
        .await;
        assert_eq!(*lock.try_write().expect("nobody is in line"), written);
    });
}

async fn use_some(cx: Cx, lock: &RwLock<u64>, inside: &Inside) -> u64 {
    let mut written = 0;
    for _ in 0..12 {
        let polls = cx.random_u64() % 5;
        match cx.random_u64() % 4 {
            0 => {
                if let Some(Ok(mut value)) = drop_after(&cx, lock.write(&cx), polls).await {
                    inside.enter(true);
                    let before = *value;
                    let _ = cx.yield_now().await;
                    *value = before + 1;
                    written += 1;
                    inside.leave(true);
                    if cx.random_u64() % 2 == 0 {
                        let read = value.downgrade();
                        assert_eq!(*read, before + 1);
                        inside.enter(false);
                        let _ = cx.yield_now().await;
                        inside.leave(false);
                    }
                }
            }
            1 => {
                let Some(Ok(seen)) = drop_after(&cx, lock.upgradable_read(&cx), polls).await else {
                    continue;
                };
                inside.enter(false);
                let before = *seen;
                let _ = cx.yield_now().await;
                inside.leave(false);
                if let Some(Ok(mut value)) = drop_after(&cx, seen.upgrade(&cx), polls).await {
                    inside.enter(true);
                    assert_eq!(*value, before, "nobody wrote in between");
                    *value += 1;
                    written += 1;
                    inside.leave(true);
                }
            }
            _ => {
                if let Some(Ok(value)) = drop_after(&cx, lock.read(&cx), polls).await {
                    inside.enter(false);
                    let before = *value;
                    let _ = cx.yield_now().await;
                    assert_eq!(*value, before);
                    inside.leave(false);
                }
            }
        }
    }
    written
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Upgradable,
    Write,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Arrive(Kind),
    Release(usize),
    Leave(usize),
    Upgrade,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Arrive(Kind::Read)),
        2 => Just(Step::Arrive(Kind::Write)),
        2 => Just(Step::Arrive(Kind::Upgradable)),
        5 => (0..8_usize).prop_map(Step::Release),
        2 => (0..8_usize).prop_map(Step::Leave),
        2 => Just(Step::Upgrade),
    ];
    prop::collection::vec(step, 0..60)
}

/// What the lock should do, said without atomics: who is in, who waits, in which order.
#[derive(Default, Debug)]
struct Expected {
    inside: Vec<(usize, Kind)>,
    line: VecDeque<(usize, Kind)>,
    upgrading: Option<usize>,
}

impl Expected {
    fn admits(&self, kind: Kind) -> bool {
        let has = |kind| self.inside.iter().any(|(_, held)| *held == kind);
        self.upgrading.is_none()
            && match kind {
                Kind::Read => !has(Kind::Write),
                Kind::Upgradable => !has(Kind::Write) && !has(Kind::Upgradable),
                Kind::Write => self.inside.is_empty(),
            }
    }

    fn serve(&mut self) {
        if let Some(id) = self.upgrading
            && self.inside.len() == 1
        {
            self.inside = vec![(id, Kind::Write)];
            self.upgrading = None;
        }
        while let Some((id, kind)) = self.line.front().copied()
            && self.admits(kind)
        {
            self.line.pop_front();
            self.inside.push((id, kind));
        }
    }
}

enum Held<'a> {
    Read(RwLockReadGuard<'a, ()>),
    Upgradable(RwLockUpgradableReadGuard<'a, ()>),
    Write(RwLockWriteGuard<'a, ()>),
}

type Waiter<'a> = Pin<Box<dyn Future<Output = Held<'a>> + 'a>>;

fn arrive<'a>(lock: &'a RwLock<()>, cx: &'a Cx, kind: Kind) -> Waiter<'a> {
    match kind {
        Kind::Read => Box::pin(
            lock.read(cx)
                .map(|end| Held::Read(end.expect("nobody cancels or panics"))),
        ),
        Kind::Upgradable => Box::pin(
            lock.upgradable_read(cx)
                .map(|end| Held::Upgradable(end.expect("nobody cancels or panics"))),
        ),
        Kind::Write => Box::pin(
            lock.write(cx)
                .map(|end| Held::Write(end.expect("nobody cancels or panics"))),
        ),
    }
}

/// Plays the steps on the lock and on what is expected, and compares who got in after each.
async fn play(cx: &Cx, steps: Vec<Step>) {
    let lock = RwLock::new(());
    let mut expected = Expected::default();
    let mut held: Vec<(usize, Held<'_>)> = Vec::new();
    let mut waiting: Vec<(usize, Waiter<'_>)> = Vec::new();
    for (id, step) in steps.into_iter().enumerate() {
        match step {
            Step::Arrive(kind) => {
                waiting.push((id, arrive(&lock, cx, kind)));
                expected.line.push_back((id, kind));
            }
            Step::Release(at) if at < held.len() => {
                let (id, guard) = held.remove(at);
                expected.inside.retain(|(inside, _)| *inside != id);
                drop(guard);
            }
            Step::Leave(at) if at < waiting.len() => {
                let (id, waiter) = waiting.remove(at);
                expected.line.retain(|(queued, _)| *queued != id);
                if expected.upgrading == Some(id) {
                    expected.upgrading = None;
                    expected.inside.retain(|(inside, _)| *inside != id);
                }
                drop(waiter);
            }
            Step::Upgrade => {
                let upgradable =
                    |(_, held): &(usize, Held<'_>)| matches!(held, Held::Upgradable(_));
                let Some(at) = held.iter().position(upgradable) else {
                    continue;
                };
                let (id, Held::Upgradable(guard)) = held.remove(at) else {
                    continue;
                };
                let upgrade = guard
                    .upgrade(cx)
                    .map(|end| Held::Write(end.expect("nobody cancels or panics")));
                waiting.push((id, Box::pin(upgrade)));
                expected.upgrading = Some(id);
            }
            Step::Release(_) | Step::Leave(_) => {}
        }
        expected.serve();
        let mut still = Vec::new();
        for (id, mut waiter) in waiting {
            match poll!(&mut waiter) {
                Poll::Ready(guard) => held.push((id, guard)),
                Poll::Pending => still.push((id, waiter)),
            }
        }
        waiting = still;
        let mut inside: Vec<_> = held.iter().map(|(id, held)| (*id, kind_of(held))).collect();
        inside.extend(expected.upgrading.map(|id| (id, Kind::Upgradable)));
        inside.sort_by_key(|(id, _)| *id);
        expected.inside.sort_by_key(|(id, _)| *id);
        assert_eq!(inside, expected.inside, "after step {id}, {step:?}");
    }
    drop((held, waiting));
    assert!(lock.try_write().is_ok(), "the lock is free at the end");
}

fn kind_of(held: &Held<'_>) -> Kind {
    match held {
        Held::Read(guard) => {
            let () = **guard;
            Kind::Read
        }
        Held::Upgradable(_) => Kind::Upgradable,
        Held::Write(guard) => {
            let () = **guard;
            Kind::Write
        }
    }
}

proptest! {
    #[test]
    fn whoever_comes_and_goes_the_line_is_served_from_its_front(steps in steps()) {
        under_seeds(1, move |cx| {
            let steps = steps.clone();
            async move { play(&cx, steps).await }
        });
    }
}

#[test]
fn waiting_readers_and_writers_are_woken_in_turn_between_tasks() {
    under_seeds(40, async |cx| {
        let lock = Arc::new(RwLock::new(Vec::new()));
        within(&cx, async |scope| {
            let first = lock.write_owned(scope.cx()).await.unwrap();
            for number in 0..5 {
                let lock = Arc::clone(&lock);
                scope.spawn(async move |cx: Cx| {
                    lock.write(&cx).await.unwrap().push(number);
                    End::Ok(())
                });
                settle(scope.cx()).await;
            }
            drop(first);
        })
        .await;
        assert_eq!(*lock.try_read().unwrap(), [0, 1, 2, 3, 4]);
    });
}
