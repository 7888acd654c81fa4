//! The rows on tokio.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::tokio::sync::{Notify, mpsc};
use ::tokio::task;

use super::{PAIRS, at_once};
use crate::compare::tokio::{self as compare, all_wait, park};
use crate::kernel::tokio as kernel;
use crate::meter::{Sample, Size, batches};
use crate::on_tokio::{join_all, joined, on_worker};
use crate::waiting::{WAKES_AT_ONCE, Waiting};

pub(crate) fn pairs(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let rounds = ops / PAIRS;
        let pair = |_| {
            let (ping, mut pinged) = mpsc::channel::<u64>(1);
            let (pong, mut ponged) = mpsc::channel::<u64>(1);
            task::spawn(async move {
                while let Some(n) = pinged.recv().await {
                    pong.send(n + 1).await.expect("the partner waits");
                }
            });
            task::spawn(async move {
                let mut sum = 0;
                for n in 0..rounds {
                    ping.send(n).await.expect("the partner waits");
                    sum += ponged.recv().await.expect("the partner answers") - n;
                }
                sum
            })
        };
        assert_eq!(join_all((0..PAIRS).map(pair)).await, rounds * PAIRS);
    }))
}

/// A workload while as many tasks wait as are live.
macro_rules! beside {
    ($name:ident, $ops:ident, $body:block) => {
        pub(crate) fn $name(size: Size) -> Sample {
            on_worker(async move {
                let started = Arc::new(AtomicU64::new(0));
                let waiting: Vec<_> = (0..size.live)
                    .map(|_| task::spawn(park(Arc::clone(&started))))
                    .collect();
                all_wait(&started, size.live).await;
                let sample = batches(size, async |$ops| $body).await;
                waiting.iter().for_each(|task| task.abort());
                for task in waiting {
                    assert!(task.await.is_err_and(|error| error.is_cancelled()));
                }
                sample
            })
        }
    };
}

beside!(spawn_one, ops, {
    let mut sum = 0;
    for n in 0..ops {
        sum += joined(task::spawn(async move { n })).await;
    }
    assert_eq!(sum, ops * (ops - 1) / 2);
});

beside!(yield_one, ops, {
    for _ in 0..ops {
        task::yield_now().await;
    }
});

beside!(wake_one, ops, {
    let pair = Arc::new((Notify::new(), Notify::new()));
    let partner = Arc::clone(&pair);
    let task = task::spawn(async move {
        for _ in 0..ops {
            partner.0.notified().await;
            partner.1.notify_one();
        }
        ops
    });
    for _ in 0..ops {
        pair.0.notify_one();
        pair.1.notified().await;
    }
    assert_eq!(joined(task).await, ops);
});

beside!(cancel_one, ops, {
    let waiting = Arc::new(AtomicU64::new(0));
    for n in 1..=ops {
        let counted = Arc::clone(&waiting);
        let task = task::spawn(async move {
            counted.fetch_add(1, Ordering::Relaxed);
            pending::<()>().await;
        });
        while waiting.load(Ordering::Relaxed) < n {
            task::yield_now().await;
        }
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()));
    }
});

/// Wakes that are spread over all tasks that wait, so that none is still in a cache.
pub(crate) fn wake_scattered(size: Size) -> Sample {
    on_worker(async move {
        let waiting = Waiting::of(size.live);
        for place in 0..size.live {
            task::spawn(Waiting::wait(&waiting, place));
        }
        polled(&waiting, size.live).await;
        let sample = batches(size, async |ops| {
            let mut place = 0;
            for _ in 0..ops / WAKES_AT_ONCE {
                let polls = waiting.wake_some(&mut place);
                polled(&waiting, polls).await;
            }
        });
        let sample = sample.await;
        waiting.end();
        sample
    })
}

async fn polled(waiting: &Waiting, polls: u64) {
    while waiting.polls() < polls {
        task::yield_now().await;
    }
}

pub(crate) fn spawn_all(size: Size) -> Sample {
    kernel::spawn_join_many(size.all_live())
}

pub(crate) fn cancel_all(size: Size) -> Sample {
    at_once(size)
        .map(compare::cancel_group)
        .fold(Sample::default(), Sample::and)
}

pub(crate) fn timer(size: Size) -> Sample {
    compare::timer_among(size, size.live)
}

pub(crate) fn timers_firing(size: Size) -> Sample {
    compare::timers_firing(size.all_live())
}
