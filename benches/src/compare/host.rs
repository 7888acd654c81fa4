//! Rows of a runtime as a whole: starting and stopping it, its memory, its idleness, and its threads' dealings with others.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::time::Duration;

use asupersync_kernel::Cx;

use crate::meter::{Meter, Sample, Size, batches};
use crate::{on_ours, on_smol, on_tokio};

pub(crate) fn start_stop_ours(size: Size) -> Sample {
    start_stop(size, || on_ours::on_worker(async |_: Cx| tiny()))
}

pub(crate) fn start_stop_tokio(size: Size) -> Sample {
    start_stop(size, || on_tokio::on_worker(async { tiny() }))
}

pub(crate) fn start_stop_smol(size: Size) -> Sample {
    start_stop(size, || on_smol::on_worker(async { tiny() }))
}

/// Starts a runtime, runs one task on it, and stops it, as often as there are operations.
fn start_stop(size: Size, run: fn() -> Sample) -> Sample {
    run();
    let meter = Meter::start();
    let ran: u64 = (0..size.ops).map(|_| run().ops).sum();
    assert_eq!(ran, size.ops);
    meter.stop(size.ops)
}

fn tiny() -> Sample {
    Sample {
        ops: 1,
        ..Sample::default()
    }
}

/// What the process grows by when a runtime has started and runs a task.
pub(crate) fn resident_ours(_: Size) -> Sample {
    let meter = Meter::start();
    on_ours::on_worker(async move |_: Cx| meter.stop(1))
}

pub(crate) fn resident_tokio(_: Size) -> Sample {
    let meter = Meter::start();
    on_tokio::on_worker(async move { meter.stop(1) })
}

pub(crate) fn resident_smol(_: Size) -> Sample {
    let meter = Meter::start();
    on_smol::on_worker(async move { meter.stop(1) })
}

/// What a runtime does while its only task sleeps.
pub(crate) fn idle_ours(_: Size) -> Sample {
    on_ours::on_worker(async move |cx: Cx| {
        cx.sleep(SETTLED).await.expect("nothing is cancelled");
        let meter = Meter::start();
        cx.sleep(IDLE).await.expect("nothing is cancelled");
        meter.stop(1)
    })
}

pub(crate) fn idle_tokio(_: Size) -> Sample {
    on_tokio::on_worker(async {
        tokio::time::sleep(SETTLED).await;
        let meter = Meter::start();
        tokio::time::sleep(IDLE).await;
        meter.stop(1)
    })
}

pub(crate) fn idle_smol(_: Size) -> Sample {
    on_smol::on_worker(async {
        smol::Timer::after(SETTLED).await;
        let meter = Meter::start();
        smol::Timer::after(IDLE).await;
        meter.stop(1)
    })
}

/// A job on the blocking pool and back, one after another.
pub(crate) fn blocking_ours(size: Size) -> Sample {
    on_ours::on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let mut sum = 0;
            for n in 0..ops {
                sum += cx.blocking(move || n).await.expect("the job ends well");
            }
            assert_eq!(sum, ops * (ops - 1) / 2);
        })
        .await
    })
}

pub(crate) fn blocking_tokio(size: Size) -> Sample {
    on_tokio::on_worker(batches(size, async |ops| {
        let mut sum = 0;
        for n in 0..ops {
            let job = tokio::task::spawn_blocking(move || n);
            sum += on_tokio::joined(job).await;
        }
        assert_eq!(sum, ops * (ops - 1) / 2);
    }))
}

pub(crate) fn blocking_smol(size: Size) -> Sample {
    on_smol::on_worker(batches(size, async |ops| {
        let mut sum = 0;
        for n in 0..ops {
            sum += smol::unblock(move || n).await;
        }
        assert_eq!(sum, ops * (ops - 1) / 2);
    }))
}

pub(crate) fn foreign_ours(size: Size) -> Sample {
    on_ours::on_worker(async move |_: Cx| batches(size, foreign).await)
}

pub(crate) fn foreign_tokio(size: Size) -> Sample {
    on_tokio::on_worker(batches(size, foreign))
}

pub(crate) fn foreign_smol(size: Size) -> Sample {
    on_smol::on_worker(batches(size, foreign))
}

/// A task hands its waker to a thread of its own making, which wakes it, again and again.
async fn foreign(ops: u64) {
    let (hand_over, wakers) = mpsc::channel::<Waker>();
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let thread = std::thread::spawn(move || {
        for waker in wakers {
            count.fetch_add(1, Ordering::Release);
            waker.wake();
        }
    });
    for n in 1..=ops {
        let mut is_asked = false;
        poll_fn(|task| {
            if woken.load(Ordering::Acquire) == n {
                return Poll::Ready(());
            }
            if !is_asked {
                is_asked = true;
                hand_over
                    .send(task.waker().clone())
                    .expect("the thread listens");
            }
            Poll::Pending
        })
        .await;
    }
    drop(hand_over);
    thread.join().expect("the thread does not panic");
    assert_eq!(woken.load(Ordering::Relaxed), ops);
}

/// Until the threads have found their places.
const SETTLED: Duration = Duration::from_millis(50);
const IDLE: Duration = Duration::from_millis(200);
