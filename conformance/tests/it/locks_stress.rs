//! Locks, meeting points and pools under load on the production host, with 2, 4 and 8 workers.
//!
//! Each case does [`OPERATIONS`] operations on each runtime; `ASUPERSYNC_STRESS` asks for another number, such as 1000000 for a full run.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_runtime::RuntimeBuilder;
use asupersync_sync::{
    Barrier, Condvar, Latch, MakeWith, Mutex, OnceCell, Pool, PoolOptions, RwLock, Semaphore,
};

/// What continuous integration can afford: a twentieth of a full run.
const OPERATIONS: u64 = 50_000;
const TASKS: u64 = 16;

type End<T> = Outcome<T, Infallible>;

fn operations() -> u64 {
    match std::env::var("ASUPERSYNC_STRESS") {
        Ok(number) => number
            .parse()
            .expect("`ASUPERSYNC_STRESS` is a number of operations"),
        Err(_) => OPERATIONS,
    }
}

/// Runs `task` as many tasks on each size of runtime, with what they share, and `check` when they have ended.
fn stress<S, F, Fut>(share: impl Fn() -> S, task: F, check: impl Fn(&S, u64))
where
    S: Send + Sync + 'static,
    F: Fn(Cx, Arc<S>, u64, u64) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let each = operations() / TASKS;
    for workers in [2, 4, 8] {
        let mut runtime = RuntimeBuilder::new()
            .worker_threads(workers)
            .handle_signals(false)
            .build()
            .expect("the machine has the resources for a runtime");
        let shared = Arc::new(share());
        let end = runtime.block_on(async |cx: Cx| {
            cx.region(async |scope| {
                for number in 0..TASKS {
                    let shared = Arc::clone(&shared);
                    scope.spawn(async move |cx: Cx| {
                        task(cx, shared, number, each).await;
                        End::Ok(())
                    });
                }
                End::Ok(())
            })
            .await
        });
        assert!(end.is_ok(), "{end:?} with {workers} workers");
        assert!(runtime.last_shutdown().unfinished.is_empty());
        check(&shared, each * TASKS);
    }
}

/// Polls `future` so often, and drops it where it stands; waits for it if there is no limit.
async fn drop_after<F: Future>(cx: &Cx, future: F, polls: Option<u64>) -> Option<F::Output> {
    let Some(polls) = polls else {
        return Some(future.await);
    };
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        let look = std::future::poll_fn(|task| std::task::Poll::Ready(future.as_mut().poll(task)));
        if let std::task::Poll::Ready(output) = look.await {
            return Some(output);
        }
        cx.yield_now().await.expect("nobody cancels this task");
    }
    None
}

#[test]
fn a_reader_writer_lock_excludes_between_workers() {
    stress(
        || (RwLock::new(0_u64), AtomicI64::new(0), AtomicU64::new(0)),
        async |cx, shared, number, each| {
            let (lock, inside, written) = (&shared.0, &shared.1, &shared.2);
            for n in 0..each {
                // Some of the waits are cut short.
                let polls = ((n + number) % 7 == 0).then_some(2);
                match (n + number) % 8 {
                    0 | 1 => {
                        let taken = drop_after(&cx, lock.write(&cx), polls).await;
                        let Some(mut value) = taken.map(|end| end.expect("nobody panics")) else {
                            continue;
                        };
                        assert_eq!(inside.fetch_sub(1_000, Ordering::SeqCst), 0);
                        *value += 1;
                        written.fetch_add(1, Ordering::Relaxed);
                        inside.fetch_add(1_000, Ordering::SeqCst);
                    }
                    2 => {
                        let seen = lock.upgradable_read(&cx).await.expect("nobody panics");
                        let before = *seen;
                        let upgraded = drop_after(&cx, seen.upgrade(&cx), polls).await;
                        if let Some(mut value) = upgraded.map(|end| end.expect("nobody panics")) {
                            assert_eq!(*value, before, "nobody wrote in between");
                            assert_eq!(inside.load(Ordering::SeqCst), 0);
                            *value += 1;
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    _ => {
                        let taken = drop_after(&cx, lock.read(&cx), polls).await;
                        let Some(value) = taken.map(|end| end.expect("nobody panics")) else {
                            continue;
                        };
                        assert!(inside.fetch_add(1, Ordering::SeqCst) >= 0);
                        assert!(*value <= each * TASKS);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            }
        },
        |shared, _| {
            let value = shared.0.try_write().expect("free at the end");
            assert_eq!(*value, shared.2.load(Ordering::SeqCst));
        },
    );
}

#[test]
fn a_pool_lends_each_object_to_one_and_loses_no_place_between_workers() {
    const MAX: u32 = 5;
    let make = || {
        MakeWith(async |cx: Cx| {
            cx.yield_now().await?;
            Ok::<_, Cancelled>(AtomicU64::new(0))
        })
    };
    stress(
        move || Pool::new(PoolOptions::new(MAX), make()),
        async |cx, pool, number, each| {
            for n in 0..each {
                let polls = ((n + number) % 5 == 0).then_some(1);
                let Some(object) = drop_after(&cx, pool.acquire(&cx), polls).await else {
                    continue;
                };
                let object = object.expect("the maker does not fail");
                assert_eq!(object.fetch_add(1, Ordering::SeqCst), 0, "lent to one");
                if n % 64 == 0 {
                    cx.yield_now().await.expect("nobody cancels this task");
                }
                object.fetch_sub(1, Ordering::SeqCst);
                if n % 256 == 255 {
                    object.discard();
                }
            }
        },
        |pool, _| {
            let stats = pool.stats();
            assert_eq!(stats.free_places, u64::from(MAX), "{stats:?}");
            assert_eq!(stats.size, stats.idle, "{stats:?}");
            assert!(stats.size <= MAX as usize, "{stats:?}");
        },
    );
}

#[test]
fn permits_come_back_between_workers() {
    stress(
        || Semaphore::new(3),
        async |cx, semaphore, number, each| {
            for n in 0..each {
                let polls = ((n + number) % 3 == 0).then_some(1);
                let count = 1 + (n % 3) as u32;
                let taken = drop_after(&cx, semaphore.acquire_many(&cx, count), polls).await;
                if let Some(permit) = taken {
                    let mut permit = permit.expect("it stays open");
                    if let Some(part) = permit.split(&cx, 1) {
                        permit.merge(&cx, part);
                    }
                }
            }
        },
        |semaphore, _| assert_eq!(semaphore.available_permits(), 3),
    );
}

#[test]
fn permits_that_are_added_and_taken_out_between_workers_are_not_lost() {
    stress(
        || Semaphore::new(4),
        async |cx, semaphore, number, each| {
            for n in 0..each {
                if (n + number) % 16 == 0 {
                    let out = semaphore.forget_permits(1 + n % 4);
                    semaphore.add_permits(out);
                    continue;
                }
                let count = 1 + u32::from((n + number) % 32 == 1);
                let permit = semaphore.acquire_many(&cx, count).await;
                let permit = permit.expect("it stays open");
                if n % 64 == 3 {
                    cx.yield_now().await.expect("nobody cancels this task");
                }
                assert_eq!(permit.count(), count);
            }
        },
        |semaphore, _| assert_eq!(semaphore.available_permits(), 4),
    );
}

#[test]
fn rounds_and_wakes_are_not_lost_between_workers() {
    struct Shared {
        barrier: Barrier,
        done: Latch,
        led: AtomicU64,
        turn: Mutex<u64>,
        changed: Condvar,
        first: OnceCell<u64>,
    }
    stress(
        || Shared {
            barrier: Barrier::new(TASKS as usize),
            done: Latch::new(TASKS),
            led: AtomicU64::new(0),
            turn: Mutex::new(0),
            changed: Condvar::new(),
            first: OnceCell::new(),
        },
        async |cx, shared, number, each| {
            let value = shared.first.get_or_init(&cx, async || number).await;
            assert_eq!(value.ok(), shared.first.get());
            // Each round wakes every task twice, so fewer rounds are as much work.
            for round in 0..each / 16 {
                let end = shared.barrier.wait(&cx).await.expect("nobody cancels");
                assert_eq!(end.round(), round);
                shared
                    .led
                    .fetch_add(u64::from(end.is_leader()), Ordering::Relaxed);
                let turn = shared.turn.lock(&cx).await.expect("nobody panics");
                let is_mine = |turn: &mut u64| *turn % TASKS == number;
                let waiting = shared.changed.wait_while(&cx, turn, |turn| !is_mine(turn));
                *waiting.await.expect("nobody panics") += 1;
                shared.changed.notify_all();
            }
            shared.done.arrive_and_wait(&cx).await.expect("all arrive");
        },
        |shared, all| {
            let rounds = all / TASKS / 16;
            assert_eq!(shared.led.load(Ordering::SeqCst), rounds);
            assert_eq!(*shared.turn.try_lock().expect("free"), rounds * TASKS);
            assert!(shared.done.is_open());
        },
    );
}

#[test]
fn a_lock_held_through_a_sleep_is_handed_on_in_production() {
    stress(
        || Mutex::new(0_u64),
        async |cx, mutex, number, _| {
            let mut value = mutex.lock(&cx).await.expect("nobody panics");
            let before = *value;
            cx.sleep(Duration::from_micros(100 * (number % 3)))
                .await
                .expect("nobody cancels");
            *value = before + 1;
        },
        |mutex, _| assert_eq!(*mutex.try_lock().expect("free at the end"), TASKS),
    );
}
