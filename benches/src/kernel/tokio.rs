//! The rows on tokio: multi-thread runtime, two workers, as its users would write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::tokio::sync::{Mutex, Notify, mpsc, oneshot};
use ::tokio::task::{self, JoinHandle};
use ::tokio::time::sleep;

use crate::meter::{Meter, Sample, Size, batches};
use crate::on_tokio::{join_all, joined, on_worker};

use super::{CHANNEL_CAPACITY, sleep_ms};

pub(crate) fn spawn_join_many(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let tasks: Vec<JoinHandle<u64>> = (0..ops).map(|n| task::spawn(async move { n })).collect();
        let mut sum = 0;
        for task in tasks {
            sum += joined(task).await;
        }
        assert_eq!(sum, ops * (ops - 1) / 2);
    }))
}

pub(crate) fn spawn_join_one_by_one(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mut sum = 0;
        for n in 0..ops {
            sum += joined(task::spawn(async move { n })).await;
        }
        assert_eq!(sum, ops * (ops - 1) / 2);
    }))
}

/// A binary tree of tasks, each joining its two children.
pub(crate) fn nested_spawn(size: Size) -> Sample {
    #[expect(
        clippy::manual_async_fn,
        reason = "only the written bound tells the compiler that the recursion is `Send`"
    )]
    fn node(depth: u32) -> impl Future<Output = u64> + Send {
        async move {
            if depth == 0 {
                return 1;
            }
            let (left, right) = (task::spawn(node(depth - 1)), task::spawn(node(depth - 1)));
            1 + joined(left).await + joined(right).await
        }
    }
    on_worker(batches(size, async |ops| {
        let depth = (ops + 1).ilog2() - 1;
        assert_eq!(joined(task::spawn(node(depth))).await, ops);
    }))
}

pub(crate) fn yield_2(size: Size) -> Sample {
    yielding(size, 2)
}

pub(crate) fn yield_100(size: Size) -> Sample {
    yielding(size, 100)
}

pub(crate) fn yield_1000(size: Size) -> Sample {
    yielding(size, 1000)
}

fn yielding(size: Size, tasks: u64) -> Sample {
    on_worker(batches(size, move |ops| async move {
        let one = move || async move {
            for _ in 0..ops / tasks {
                task::yield_now().await;
            }
            ops / tasks
        };
        assert_eq!(join_all((0..tasks).map(|_| task::spawn(one()))).await, ops);
    }))
}

/// Two tasks answer each other over channels that are used once.
pub(crate) fn oneshot_ping_pong(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mut there = Vec::new();
        let mut back = Vec::new();
        for _ in 0..ops {
            let (ping, pinged) = oneshot::channel::<u64>();
            let (pong, ponged) = oneshot::channel::<u64>();
            there.push((ping, ponged));
            back.push((pinged, pong));
        }
        let partner = task::spawn(async move {
            for (pinged, pong) in back {
                let value = pinged.await.expect("the ping is sent");
                pong.send(value + 1).expect("the partner waits");
            }
        });
        let mut sum = 0;
        for (n, (ping, ponged)) in (0..).zip(there) {
            ping.send(n).expect("the partner waits");
            sum += ponged.await.expect("the pong is sent");
        }
        joined(partner).await;
        assert_eq!(sum, ops * (ops + 1) / 2);
    }))
}

pub(crate) fn mpsc_1_to_1(size: Size) -> Sample {
    channel(size, 1)
}

pub(crate) fn mpsc_8_to_1(size: Size) -> Sample {
    channel(size, 8)
}

fn channel(size: Size, senders: u64) -> Sample {
    on_worker(batches(size, move |ops| async move {
        let (sender, mut receiver) = mpsc::channel::<u64>(CHANNEL_CAPACITY);
        for _ in 0..senders {
            let sender = sender.clone();
            task::spawn(async move {
                for n in 0..ops / senders {
                    sender.send(n).await.expect("the receiver waits");
                }
            });
        }
        drop(sender);
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, ops);
    }))
}

pub(crate) fn mutex_8(size: Size) -> Sample {
    const TASKS: u64 = 8;
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(Mutex::new(0_u64));
        let one = |shared: Arc<Mutex<u64>>| async move {
            for _ in 0..ops / TASKS {
                *shared.lock().await += 1;
            }
            0
        };
        join_all((0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(*shared.lock().await, ops);
    }))
}

pub(crate) fn sleep_many(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let one = |n| async move {
            sleep(Duration::from_millis(sleep_ms(n))).await;
            1
        };
        assert_eq!(join_all((0..ops).map(|n| task::spawn(one(n)))).await, ops);
    }))
}

/// Only the cancelling is measured: from the first abort to the last task gone.
pub(crate) fn cancel_parked(size: Size) -> Sample {
    on_worker(async move {
        cancel_once(size.ops).await;
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            sum = sum.and(cancel_once(size.ops).await);
        }
        sum
    })
}

async fn cancel_once(ops: u64) -> Sample {
    let tasks = park(ops, &Arc::new(Notify::new())).await;
    let meter = Meter::start();
    for task in &tasks {
        task.abort();
    }
    let mut cancelled = 0;
    for task in tasks {
        cancelled += u64::from(task.await.is_err_and(|error| error.is_cancelled()));
    }
    let sample = meter.stop(ops);
    assert_eq!(cancelled, ops);
    sample
}

pub(crate) fn idle_memory(size: Size) -> Sample {
    on_worker(async move {
        let notify = Arc::new(Notify::new());
        let meter = Meter::start();
        let tasks = park(size.ops, &notify).await;
        let sample = meter.stop(size.ops);
        notify.notify_waiters();
        for task in tasks {
            joined(task).await;
        }
        sample
    })
}

/// Starts tasks that wait for a notification, and returns once all of them do.
async fn park(ops: u64, notify: &Arc<Notify>) -> Vec<JoinHandle<()>> {
    let started = Arc::new(AtomicU64::new(0));
    let one = |started: Arc<AtomicU64>, notify: Arc<Notify>| async move {
        started.fetch_add(1, Ordering::Relaxed);
        notify.notified().await;
    };
    let tasks = (0..ops)
        .map(|_| task::spawn(one(Arc::clone(&started), Arc::clone(notify))))
        .collect();
    while started.load(Ordering::Relaxed) < ops {
        sleep(Duration::from_millis(1)).await;
    }
    // The last one to count itself is a few instructions from its wait.
    sleep(Duration::from_millis(20)).await;
    tasks
}
