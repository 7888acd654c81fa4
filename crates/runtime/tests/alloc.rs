//! How often the runtime asks for memory: once for a task, and never for what a task does all day.
#![expect(unsafe_code, reason = "an allocator that counts is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use asupersync_combinator::{join, race};
use asupersync_core::{Cancelled, Collect, Outcome, OutcomeError};
use asupersync_kernel::{Cx, JoinHandle, RegionOptions, Scope};
use asupersync_runtime::{FlightConfig, FlightRecorder, RuntimeBuilder};
use asupersync_sync::{Mutex, Notify, Semaphore, mpsc};

struct Counting;

#[global_allocator]
static GLOBAL: Counting = Counting;

static EVERYWHERE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static HERE: Cell<u64> = const { Cell::new(0) };
    static BYTES_HERE: Cell<usize> = const { Cell::new(0) };
    static FREED_HERE: Cell<u64> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    EVERYWHERE.fetch_add(1, Ordering::Relaxed);
    // A thread that is past its locals counts elsewhere only.
    let _ = HERE.try_with(|count| count.set(count.get() + 1));
    let _ = BYTES_HERE.try_with(|sum| sum.set(sum.get() + bytes));
}

fn note_freed() {
    let _ = FREED_HERE.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is forwarded unchanged to the system's allocator, which keeps the contract; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        note_freed();
        // SAFETY: `pointer` came from the system's allocator through us, with this layout.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note_freed();
        // SAFETY: `pointer` came from the system's allocator through us, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of this thread that it has not freed.
fn left_here() -> u64 {
    HERE.get().wrapping_sub(FREED_HERE.get())
}

/// Allocations of this thread so far; with one worker that is all of the runtime's.
fn here() -> u64 {
    HERE.get()
}

/// Allocations of the process so far.
fn everywhere() -> u64 {
    EVERYWHERE.load(Ordering::Relaxed)
}

type End = Result<(), Stop>;

#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Stop(#[from] Cancelled);

impl From<OutcomeError<Self>> for Stop {
    fn from(error: OutcomeError<Self>) -> Self {
        match error {
            OutcomeError::Err(error) => error,
            OutcomeError::Cancelled(reason) => Self(Cancelled::new(reason)),
            OutcomeError::Panicked(payload) => panic!("{payload}"),
        }
    }
}

/// Runs `body` on as many workers, without the records that debug builds keep.
#[track_caller]
fn run<F, Fut>(workers: usize, body: F)
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = End>,
{
    run_built(builder(workers), body);
}

fn builder(workers: usize) -> RuntimeBuilder {
    RuntimeBuilder::new()
        .worker_threads(workers)
        .handle_signals(false)
        .record_obligations(false)
}

#[track_caller]
fn run_built<F, Fut>(builder: RuntimeBuilder, body: F)
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = End>,
{
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = builder
        .build()
        .expect("the machine has the resources for it");
    let end = runtime.block_on(body);
    assert!(end.is_ok(), "{end:?}");
}

const TASKS: u64 = 10_000;

type Handles = Vec<JoinHandle<u64, Stop>>;

/// Allocations of spawning and joining tasks; `handles` has room for them.
async fn spawn_and_join(cx: &Cx, count: fn() -> u64, handles: &mut Handles) -> Result<u64, Stop> {
    let mut spent = 0;
    let end = cx
        .region(async |scope| {
            let before = count();
            for number in 0..TASKS {
                handles.push(scope.spawn(async move |cx: Cx| {
                    cx.yield_now().await?;
                    Ok::<_, Stop>(number)
                }));
            }
            for (number, handle) in (0..).zip(handles.drain(..)) {
                let end = handle.join(scope.cx()).await;
                assert!(matches!(end, Outcome::Ok(value) if value == number));
            }
            spent = count() - before;
            End::Ok(())
        })
        .await;
    end.into_result()?;
    Ok(spent)
}

/// Tasks are an allocation each the first time, and none the second, but for so many that others make.
async fn allocated_once(cx: &Cx, count: fn() -> u64, others: u64) -> Result<(), Stop> {
    let mut handles = Vec::with_capacity(TASKS as usize);
    for tasks in [TASKS, 0] {
        let spent = spawn_and_join(cx, count, &mut handles).await?;
        assert!(
            (tasks..=tasks + others).contains(&spent),
            "{spent} allocations for {TASKS} tasks"
        );
    }
    Ok(())
}

#[test]
fn a_spawned_task_is_one_allocation_and_none_where_others_have_ended() {
    // The region is one, and the queue grows and shrinks with its length.
    run(1, async |cx| allocated_once(&cx, here, TASKS / 100).await);
}

#[test]
fn a_worker_that_sleeps_keeps_little_of_ended_tasks_and_none_when_it_ends() {
    let before = left_here();
    run(1, async |cx| {
        let mut handles = Vec::with_capacity(TASKS as usize);
        let before = left_here();
        spawn_and_join(&cx, here, &mut handles).await?;
        let awake = left_here() - before;
        assert!(awake >= TASKS, "{awake} blocks of {TASKS} tasks");
        cx.sleep(Duration::from_millis(2)).await?;
        let asleep = left_here() - before;
        assert!(asleep <= (64 << 10) / 80, "{asleep} blocks in 64 KiB");
        Ok(())
    });
    let after = left_here() - before;
    assert!(after < 100, "{after} allocations are left");
}

#[test]
fn a_worker_that_never_sleeps_gives_back_what_it_does_not_use() {
    run(1, async |cx| {
        let mut handles = Vec::with_capacity(TASKS as usize);
        let before = left_here();
        spawn_and_join(&cx, here, &mut handles).await?;
        assert!(left_here() - before >= TASKS);
        for _ in 0..800_000 {
            cx.yield_now().await?;
        }
        let left = left_here() - before;
        assert!(left <= (64 << 10) / 80, "{left} blocks in 64 KiB");
        Ok(())
    });
}

/// How the last reference to a task goes.
#[derive(Clone, Copy, Debug)]
enum Last {
    Joined,
    DroppedFirst,
    DroppedAfter,
    WokenByValue,
    WokenByReference,
}

/// A task that ends at once, and whose last reference goes in some way.
async fn end_of_a_task(cx: &Cx, last: Last) -> Result<(), Stop> {
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let end = cx
        .region(async |scope| {
            let task = scope.spawn(async move |_: Cx| {
                let waker = poll_fn(|task| Poll::Ready(task.waker().clone())).await;
                *keep.lock().expect("nobody panics here") = Some(waker);
                End::Ok(())
            });
            match last {
                Last::DroppedFirst => drop(task),
                Last::DroppedAfter => {
                    while !task.is_finished() {
                        scope.cx().yield_now().await?;
                    }
                }
                Last::Joined | Last::WokenByValue | Last::WokenByReference => {
                    task.join(scope.cx()).await.into_result()?;
                }
            }
            End::Ok(())
        })
        .await;
    end.into_result()?;
    let waker = kept.lock().expect("nobody panics here").take();
    let waker = waker.expect("the task has left it");
    match last {
        Last::WokenByValue => waker.wake(),
        Last::WokenByReference => waker.wake_by_ref(),
        Last::Joined | Last::DroppedFirst | Last::DroppedAfter => drop(waker),
    }
    Ok(())
}

#[test]
fn a_task_is_freed_whichever_reference_goes_last() {
    let all = [
        Last::Joined,
        Last::DroppedFirst,
        Last::DroppedAfter,
        Last::WokenByValue,
        Last::WokenByReference,
    ];
    run(1, async |cx: Cx| {
        for last in all {
            // The first rounds make what stays, such as room in queues.
            let mut left = [0; 2];
            for left in &mut left {
                for _ in 0..200 {
                    end_of_a_task(&cx, last).await?;
                }
                *left = left_here();
            }
            assert_eq!(left[0], left[1], "{last:?}");
        }
        Ok(())
    });
}

#[derive(PartialEq, Debug, thiserror::Error)]
#[error("failed")]
struct Failed;

#[test]
fn failures_that_were_joined_cost_a_region_next_to_nothing() {
    run(1, async |cx: Cx| {
        let options = RegionOptions::new().policy(Collect);
        let region = cx.region_with(options, async |scope: Scope<'_, Failed>| {
            let before = left_here();
            for _ in 0..1_000 {
                let failing = scope.spawn(async |_: Cx| Result::<(), _>::Err(Failed));
                assert_eq!(failing.join(scope.cx()).await, Outcome::Err(Failed));
            }
            let left = left_here() - before;
            assert!(left < 10, "{left} allocations are left of a thousand tasks");
            Result::<(), Failed>::Ok(())
        });
        let end: Outcome<(), Failed> = region.await;
        assert_eq!(end, Outcome::Ok(()));
        Ok(())
    });
}

#[test]
fn a_region_is_freed_however_many_ended_together() {
    run(1, async |cx: Cx| {
        for count in [1, 2, 31, 32, 33, 70] {
            let mut left = [0; 2];
            for left in &mut left {
                for _ in 0..50 {
                    let end = cx.region(async |scope| {
                        for _ in 0..count {
                            scope.spawn(async |_: Cx| End::Ok(()));
                        }
                        End::Ok(())
                    });
                    end.await.into_result()?;
                }
                *left = left_here();
            }
            assert_eq!(left[0], left[1], "{count} tasks");
        }
        Ok(())
    });
}

/// What a task adds to its future is 80 bytes: ten words; a block is an odd number of words.
#[test]
fn a_spawned_task_is_as_large_as_its_future_and_ten_words() {
    fn future_of<F: FnOnce(Cx) -> Fut, Fut: Future>(_: &F) -> usize {
        size_of::<Fut>()
    }
    run(1, async |cx| {
        cx.region(async |scope| {
            let notify = Arc::new(Notify::new());
            let mut tasks = Vec::with_capacity(3);
            for round in 0..3 {
                let notify = Arc::clone(&notify);
                let task = async move |cx: Cx| {
                    notify.notified(&cx).await?;
                    End::Ok(())
                };
                let words = future_of(&task) / 8 + 10;
                let before = (here(), BYTES_HERE.get());
                tasks.push(scope.spawn(task));
                let spent = (here() - before.0, BYTES_HERE.get() - before.1);
                // The first finds its queue without room.
                if round > 0 {
                    assert_eq!(spent, (1, (words | 1) * 8));
                }
                scope.cx().yield_now().await?;
            }
            for task in tasks {
                task.cancel();
                assert!(task.join(scope.cx()).await.is_cancelled());
            }
            End::Ok(())
        })
        .await
        .into_result()?;
        Ok(())
    });
}

/// What the flight recorder keeps of tasks, regions and obligations costs no memory but its own.
#[test]
fn flight_recording_allocates_nothing() {
    let recording = builder(1).flight_recorder(FlightConfig::default());
    run_built(recording, async |cx| {
        allocated_once(&cx, here, TASKS / 100).await?;
        let semaphore = Semaphore::new(2);
        let before = here();
        for _ in 0..5000 {
            drop(semaphore.acquire(&cx).await.unwrap());
        }
        assert_eq!(here() - before, 0, "permits");
        let recorder = cx.port::<FlightRecorder>().expect("it is on");
        assert!(
            recorder.read().overwritten > 10_000,
            "all of it was recorded"
        );
        Ok(())
    });
}

#[test]
fn a_task_that_other_workers_take_is_one_allocation_too() {
    // Whoever joins a task frees it, and so keeps its memory for the next.
    // Other tests of this process start meanwhile, which takes some hundreds.
    run(4, async |cx| {
        allocated_once(&cx, everywhere, TASKS / 20).await
    });
}

/// Runs a task's daily work, for which memory is only asked the first time.
#[track_caller]
fn free_of_allocations<F>(what: &str, work: F)
where
    F: AsyncFn(&Cx) -> End,
{
    run(1, async |cx| {
        // Slabs, wheels and queues grow to their size.
        work(&cx).await?;
        work(&cx).await?;
        let before = here();
        work(&cx).await?;
        let spent = here() - before;
        assert_eq!(spent, 0, "{what}");
        Ok(())
    });
}

#[test]
fn yields_sleeps_and_checkpoints_allocate_nothing() {
    free_of_allocations("yields", async |cx| {
        for _ in 0..5000 {
            cx.yield_now().await?;
        }
        Ok(())
    });
    free_of_allocations("sleeps", async |cx| {
        for _ in 0..300 {
            cx.sleep(Duration::from_micros(20)).await?;
        }
        Ok(())
    });
    free_of_allocations("timers that are given up", async |cx| {
        for _ in 0..300 {
            let mut sleep = pin!(cx.sleep(Duration::from_secs(60)));
            let waits = poll_fn(|task| Poll::Ready(sleep.as_mut().poll(task).is_pending()));
            assert!(waits.await, "a minute has not passed");
        }
        Ok(())
    });
    free_of_allocations("checkpoints", async |cx| {
        for _ in 0..5000 {
            cx.checkpoint()?;
        }
        Ok(())
    });
}

#[test]
fn locks_and_permits_without_rivals_allocate_nothing() {
    let mutex = Mutex::new(0);
    free_of_allocations("locks", async |cx| {
        for _ in 0..5000 {
            *mutex.lock(cx).await.unwrap() += 1;
        }
        Ok(())
    });
    let semaphore = Semaphore::new(2);
    free_of_allocations("permits", async |cx| {
        for _ in 0..5000 {
            drop(semaphore.acquire(cx).await.unwrap());
        }
        Ok(())
    });
}

#[test]
fn wakes_messages_and_contended_locks_allocate_nothing() {
    const WARM: u32 = 2000;
    const COUNTED: u32 = 5000;
    run(1, async |cx| {
        cx.region(async |scope| {
            let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (his, hers) = (Arc::clone(&ping), Arc::clone(&pong));
            scope.spawn(async move |cx: Cx| {
                for _ in 0..WARM + COUNTED {
                    his.notified(&cx).await.unwrap();
                    hers.notify_one();
                }
                End::Ok(())
            });
            scope.spawn(async move |cx: Cx| {
                let mut before = 0;
                for round in 0..WARM + COUNTED {
                    if round == WARM {
                        before = here();
                    }
                    ping.notify_one();
                    pong.notified(&cx).await.unwrap();
                }
                assert_eq!(here() - before, 0, "wakes");
                End::Ok(())
            });
            End::Ok(())
        })
        .await
        .into_result()?;
        Ok(())
    });
    run(1, async |cx| {
        cx.region(async |scope| {
            let (tx, mut rx) = mpsc::channel(8);
            scope.spawn(async move |cx: Cx| {
                for round in 0..WARM + COUNTED {
                    tx.send(&cx, round).await.unwrap();
                }
                End::Ok(())
            });
            scope.spawn(async move |cx: Cx| {
                let mut before = 0;
                for round in 0..WARM + COUNTED {
                    if round == WARM {
                        before = here();
                    }
                    assert_eq!(rx.recv(&cx).await.unwrap(), round);
                }
                assert_eq!(here() - before, 0, "messages");
                End::Ok(())
            });
            End::Ok(())
        })
        .await
        .into_result()?;
        Ok(())
    });
    run(1, async |cx| {
        cx.region(async |scope| {
            let mutex = Arc::new(Mutex::new(0_u32));
            for _ in 0..4 {
                let mutex = Arc::clone(&mutex);
                scope.spawn(async move |cx: Cx| {
                    let mut before = 0;
                    for round in 0..WARM {
                        if round == WARM / 2 {
                            before = here();
                        }
                        let mut guard = mutex.lock(&cx).await.unwrap();
                        *guard += 1;
                        // The others come and wait while it is held.
                        cx.yield_now().await?;
                    }
                    assert_eq!(here() - before, 0, "contended locks");
                    End::Ok(())
                });
            }
            End::Ok(())
        })
        .await
        .into_result()?;
        Ok(())
    });
}

#[test]
fn a_tuple_of_branches_is_its_region_and_one_node_for_each() {
    async fn ready(_: Cx) -> Result<u32, Stop> {
        Ok(1)
    }
    run(1, async |cx| {
        // The first round sets up what the thread keeps, the memory of its nodes among it.
        for (round, expected) in [(1, 2), (2, 0)] {
            let two = join(&cx, (ready, ready)).await.into_result()?;
            let before = here();
            let four = join(&cx, (ready, ready, ready, ready))
                .await
                .into_result()?;
            let spent = here() - before;
            assert_eq!(spent, expected, "two have left a region and two nodes");
            let raced = race(&cx, (ready, ready)).await.into_result()?;
            // The loser's cancellation adds its reason.
            assert!(here() - before - spent <= 1, "round {round}");
            assert_eq!((two, four, raced), ((1, 1), (1, 1, 1, 1), 1));
        }
        Ok(())
    });
}
