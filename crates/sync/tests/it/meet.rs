//! The contracts of barrier, latch, condition variable and once-cell.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_core::{Cancelled, Collect};
use asupersync_kernel::{Cx, RegionOptions};
use asupersync_sync::{
    Barrier, Condvar, InitError, Latch, Lazy, LockError, Mutex, OnceCell, SetError,
};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, drop_after, settle, under_seeds, within};

#[test]
fn each_round_of_a_barrier_has_one_leader_and_nobody_runs_ahead() {
    const SIZE: u64 = 4;
    const ROUNDS: u64 = 5;
    under_seeds(60, async |cx| {
        let barrier = Arc::new(Barrier::new(SIZE as usize));
        let arrivals = Arc::new(AtomicU64::new(0));
        let leaders = within(&cx, async |scope| {
            let tasks: Vec<_> = (0..SIZE)
                .map(|_| {
                    let (barrier, arrivals) = (Arc::clone(&barrier), Arc::clone(&arrivals));
                    scope.spawn(async move |cx: Cx| {
                        let mut led = 0;
                        for round in 0..ROUNDS {
                            arrivals.fetch_add(1, Ordering::SeqCst);
                            let end = barrier.wait(&cx).await.unwrap();
                            assert_eq!(end.round(), round);
                            let all = arrivals.load(Ordering::SeqCst);
                            assert!((round + 1) * SIZE <= all && all < (round + 2) * SIZE);
                            led += u64::from(end.is_leader());
                        }
                        End::Ok(led)
                    })
                })
                .collect();
            let mut leaders = 0;
            for task in tasks {
                leaders += task.join(scope.cx()).await.ok().unwrap();
            }
            leaders
        })
        .await;
        assert_eq!(leaders, ROUNDS);
        assert_eq!(barrier.arrived(), 0);
    });
}

#[test]
fn who_leaves_a_barrier_counts_out_and_a_complete_round_stands() {
    under_seeds(1, async |cx| {
        let barrier = Barrier::new(3);
        let mut first = Box::pin(barrier.wait(&cx));
        let mut second = Box::pin(barrier.wait(&cx));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        assert_eq!(barrier.arrived(), 2);
        drop(first);
        assert_eq!(barrier.arrived(), 1);
        let mut third = Box::pin(barrier.wait(&cx));
        assert!(poll!(&mut third).is_pending(), "the barrier formed again");
        let last = barrier.wait(&cx).now_or_never().expect("it is the third");
        assert!(last.unwrap().is_leader());
        // Both may go; one of them leaves without having looked, which takes nothing back.
        drop(second);
        let mut next = Box::pin(barrier.wait(&cx));
        assert!(poll!(&mut next).is_pending());
        assert_eq!(barrier.arrived(), 1);
        let end = third.now_or_never().unwrap().unwrap();
        assert!(!end.is_leader() && end.round() == 0);
    });
}

#[test]
fn a_barrier_of_one_never_waits() {
    under_seeds(1, async |cx| {
        for size in [0, 1] {
            let barrier = Barrier::new(size);
            for round in 0..3 {
                let end = barrier.wait(&cx).now_or_never().unwrap().unwrap();
                assert!(end.is_leader() && end.round() == round);
            }
        }
    });
}

#[test]
fn rounds_go_on_wherever_waits_are_dropped() {
    const SIZE: usize = 3;
    under_seeds(60, async |cx| {
        let barrier = Arc::new(Barrier::new(SIZE));
        let passed = within(&cx, async |scope| {
            let tasks: Vec<_> = (0..6)
                .map(|_| {
                    let barrier = Arc::clone(&barrier);
                    scope.spawn(async move |cx: Cx| {
                        let (mut led, mut followed) = (0, 0);
                        for _ in 0..20 {
                            let polls = cx.random_u64() % 5;
                            match drop_after(&cx, barrier.wait(&cx), polls).await {
                                Some(end) if end.clone().unwrap().is_leader() => led += 1,
                                Some(_) => followed += 1,
                                None => {}
                            }
                        }
                        End::Ok((led, followed))
                    })
                })
                .collect();
            let (mut led, mut followed) = (0, 0);
            for task in tasks {
                let (one, other) = task.join(scope.cx()).await.ok().unwrap();
                led += one;
                followed += other;
            }
            (led, followed)
        })
        .await;
        let (led, followed) = passed;
        // Of each round, those who were dropped after it was complete did not see its end.
        assert!(
            followed <= led * (SIZE - 1),
            "{led} led, {followed} followed"
        );
        assert_eq!(barrier.arrived(), 0, "all have left");
    });
}

#[test]
fn a_latch_opens_once_for_all_and_stays_open() {
    under_seeds(40, async |cx| {
        let latch = Arc::new(Latch::new(3));
        within(&cx, async |scope| {
            let waiters: Vec<_> = (0..3)
                .map(|number| {
                    let latch = Arc::clone(&latch);
                    scope.spawn(async move |cx: Cx| {
                        if number == 0 {
                            latch.wait(&cx).await.unwrap();
                        } else {
                            latch.arrive_and_wait(&cx).await.unwrap();
                        }
                        End::Ok(latch.count())
                    })
                })
                .collect();
            settle(scope.cx()).await;
            assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
            assert_eq!(latch.count(), 1);
            assert!(latch.count_down_by(5), "it opens");
            assert!(!latch.count_down(), "it was open");
            for waiter in waiters {
                assert_eq!(waiter.join(scope.cx()).await.ok(), Some(0));
            }
        })
        .await;
        assert_eq!(latch.wait(&cx).now_or_never(), Some(Ok(())));
    });
}

#[test]
fn an_arrival_at_a_latch_stands_when_its_wait_is_dropped() {
    under_seeds(1, async |cx| {
        let latch = Latch::new(2);
        drop(latch.arrive_and_wait(&cx));
        assert_eq!(latch.count(), 2, "it was not polled");
        let mut arrived = Box::pin(latch.arrive_and_wait(&cx));
        assert!(poll!(&mut arrived).is_pending());
        assert!(poll!(&mut arrived).is_pending());
        drop(arrived);
        assert_eq!(latch.count(), 1);
    });
}

/// A bounded queue of a mutex and two condition variables.
struct Queue {
    items: Mutex<Vec<u64>>,
    filled: Condvar,
    emptied: Condvar,
}

const ROOM: usize = 2;

impl Queue {
    async fn put(&self, cx: &Cx, item: u64) -> Result<(), LockError> {
        let items = self.items.lock(cx).await?;
        let is_full = |items: &mut Vec<u64>| items.len() >= ROOM;
        let mut items = self.emptied.wait_while(cx, items, is_full).await?;
        items.push(item);
        self.filled.notify_one();
        Ok(())
    }

    async fn take(&self, cx: &Cx) -> Result<u64, LockError> {
        let items = self.items.lock(cx).await?;
        let is_empty = |items: &mut Vec<u64>| items.is_empty();
        let mut items = self.filled.wait_while(cx, items, is_empty).await?;
        let item = items.pop().expect("the condition says so");
        self.emptied.notify_one();
        Ok(item)
    }
}

#[test]
fn no_wake_of_a_condvar_is_lost_with_a_waiter_that_leaves() {
    under_seeds(100, async |cx| {
        let queue = Arc::new(Queue {
            items: Mutex::new(Vec::new()),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        });
        within(&cx, async |scope| {
            // These take an item, or leave at any await; were one to leave with a wake, the lab would report a stall.
            let leavers: Vec<_> = (0..3)
                .map(|_| {
                    let queue = Arc::clone(&queue);
                    scope.spawn(async move |cx: Cx| {
                        let mut taken = 0;
                        for _ in 0..6 {
                            let polls = 1 + cx.random_u64() % 6;
                            if let Some(end) = drop_after(&cx, queue.take(&cx), polls).await {
                                end.unwrap();
                                taken += 1;
                            }
                        }
                        End::Ok(taken)
                    })
                })
                .collect();
            let putter = {
                let queue = Arc::clone(&queue);
                scope.spawn(async move |cx: Cx| {
                    for item in 0..24 {
                        queue.put(&cx, item).await.unwrap();
                    }
                    End::Ok(())
                })
            };
            let stayer = {
                let queue = Arc::clone(&queue);
                scope.spawn(async move |cx: Cx| {
                    let mut taken = 0;
                    for leaver in leavers {
                        taken += leaver.join(&cx).await.ok().unwrap();
                    }
                    for _ in taken..24 {
                        queue.take(&cx).await.unwrap();
                    }
                    End::Ok(())
                })
            };
            putter.join(scope.cx()).await.ok().unwrap();
            stayer.join(scope.cx()).await.ok().unwrap();
        })
        .await;
        assert!(queue.items.try_lock().unwrap().is_empty());
    });
}

#[test]
fn a_notified_waiter_that_leaves_before_it_has_the_lock_passes_the_wake_on() {
    under_seeds(1, async |cx| {
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let mut line: Vec<_> = Vec::new();
        for _ in 0..3 {
            let guard = mutex.lock(&cx).await.unwrap();
            let mut wait = Box::pin(condvar.wait(&cx, guard));
            assert!(poll!(&mut wait).is_pending());
            line.push(wait);
        }
        let held = mutex.try_lock().expect("the waiters gave it up");
        condvar.notify_one();
        assert!(poll!(&mut line[1]).is_pending());
        // The first was woken and now waits for the lock.
        assert!(poll!(&mut line[0]).is_pending());
        drop(line.remove(0));
        drop(held);
        assert!(poll!(&mut line[1]).is_pending(), "one wake, for the second");
        let guard = line.remove(0).now_or_never().expect("it got the wake");
        drop(guard.unwrap());
        condvar.notify_all();
        assert!(line.remove(0).now_or_never().is_some());
        condvar.notify_one();
    });
}

#[test]
fn a_cancelled_wait_on_a_condvar_leaves_the_lock_alone() {
    under_seeds(8, async |cx| {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        within(&cx, async |scope| {
            let waiter = {
                let shared = Arc::clone(&shared);
                scope.spawn(async move |cx: Cx| {
                    let guard = shared.0.lock(&cx).await.unwrap();
                    End::Ok(shared.1.wait(&cx, guard).await.map(|guard| *guard))
                })
            };
            settle(scope.cx()).await;
            let held = shared.0.try_lock().unwrap();
            waiter.cancel();
            // It ends although the lock is held.
            let end = waiter.join(scope.cx()).await.ok().unwrap();
            assert!(matches!(end, Err(LockError::Cancelled(_))));
            drop(held);
        })
        .await;
    });
}

#[test]
fn the_leadership_of_a_cell_moves_on_until_one_succeeds() {
    under_seeds(60, async |cx| {
        let cell = Arc::new(OnceCell::new());
        let runs = Arc::new(AtomicU64::new(0));
        let options = RegionOptions::new().policy(Collect);
        let end = cx
            .region_with(options, async |scope| {
                let mut tasks = Vec::new();
                for number in 0..6_u64 {
                    let (cell, runs) = (Arc::clone(&cell), Arc::clone(&runs));
                    tasks.push(scope.spawn(async move |cx: Cx| {
                        let make = || async {
                            assert_eq!(runs.fetch_add(1, Ordering::SeqCst) % 2, 0, "one at a time");
                            for _ in 0..4 {
                                if cx.yield_now().await.is_err() {
                                    break;
                                }
                            }
                            runs.fetch_add(1, Ordering::SeqCst);
                            cx.checkpoint()?;
                            match number % 3 {
                                0 => Err(Failure::Refused),
                                1 => panic!("while it makes the value"),
                                _ => Ok(number),
                            }
                        };
                        let got = cell.get_or_try_init(&cx, make).await;
                        End::Ok(got.ok().copied())
                    }));
                }
                // The first that would succeed is cancelled somewhere on the way.
                for _ in 0..scope.cx().random_u64() % 30 {
                    let _ = scope.cx().yield_now().await;
                }
                tasks[2].cancel();
                let mut got = Vec::new();
                for task in tasks {
                    got.extend(task.join(scope.cx()).await.ok().flatten());
                }
                End::Ok(got)
            })
            .await;
        let value = *cell.get().expect("one succeeds whoever fails before");
        let got = end.ok().unwrap();
        assert!(!got.is_empty() && got.iter().all(|got| *got == value));
        assert!(value == 2 || value == 5);
    });
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("refused")]
    Refused,
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

#[test]
fn a_dropped_leader_hands_over_to_the_first_in_line_and_its_own_closure() {
    under_seeds(1, async |cx| {
        let cell = OnceCell::new();
        let calls = Cell::new(0);
        let make = |number| {
            let calls = &calls;
            let cx = &cx;
            move || async move {
                calls.set(calls.get() + 1);
                let _ = cx.yield_now().await;
                number
            }
        };
        let mut first = Box::pin(cell.get_or_init(&cx, make(1)));
        let mut second = Box::pin(cell.get_or_init(&cx, make(2)));
        let mut third = Box::pin(cell.get_or_init(&cx, make(3)));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut third).is_pending());
        assert_eq!(cell.set(9), Err(SetError::Initializing(9)));
        drop(first);
        assert!(poll!(&mut third).is_pending());
        assert_eq!(second.await, Ok(&2));
        assert_eq!(third.now_or_never(), Some(Ok(&2)));
        assert_eq!(calls.get(), 2);
        assert_eq!(cell.set(9), Err(SetError::AlreadySet(9)));
        assert_eq!(cell.into_inner(), Some(2));
    });
}

#[test]
fn a_lazy_value_is_made_once_and_again_only_after_a_failure() {
    under_seeds(1, async |cx| {
        let runs = Cell::new(0);
        let lazy = Lazy::new(async |_: Cx| {
            runs.set(runs.get() + 1);
            if runs.get() == 1 {
                return Err(Failure::Refused);
            }
            Ok(runs.get())
        });
        assert!(matches!(
            lazy.try_get(&cx).await,
            Err(InitError::Failed(Failure::Refused))
        ));
        assert_eq!(lazy.peek(), None);
        assert_eq!(lazy.try_get(&cx).await.ok(), Some(&2));
        assert_eq!(lazy.try_get(&cx).await.ok(), Some(&2));
        assert_eq!(runs.get(), 2);
        let mut cell = OnceCell::from(3);
        assert_eq!((cell.take(), cell.get()), (Some(3), None));
        assert_eq!(cell.set(4), Ok(()));
    });
}
