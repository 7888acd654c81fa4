//! The rows on tokio.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::{TcpListener, TcpStream};
use ::tokio::sync::mpsc;
use ::tokio::task::{self, JoinSet};
use ::tokio::time::{Instant, sleep, sleep_until};

use super::{CONNECTIONS, ECHO, RING, far, live, near, wake_itself};
use crate::meter::{Meter, Sample, Size, batches, poll_once};
use crate::on_tokio::{join_all, joined, on_worker};

/// One token goes round; a task is one channel's receiver and the next one's sender.
pub(crate) fn ring(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (first, mut before) = mpsc::channel::<u64>(1);
        for _ in 1..RING {
            let (next, after) = mpsc::channel::<u64>(1);
            let mut mine = std::mem::replace(&mut before, after);
            task::spawn(async move {
                while let Some(hops) = mine.recv().await {
                    next.send(hops + 1).await.expect("the next one waits");
                }
            });
        }
        let mut hops = 0;
        while hops < ops {
            first.send(hops + 1).await.expect("the ring is whole");
            hops = before.recv().await.expect("the ring is whole");
        }
        assert_eq!(hops, ops);
    }))
}

/// A task that is polled, wakes itself, and is polled again.
pub(crate) fn poll(size: Size) -> Sample {
    on_worker(batches(size, wake_itself))
}

/// From the abort of one task to its end, then the next.
pub(crate) fn cancel_one_by_one(size: Size) -> Sample {
    on_worker(async move {
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            let started = Arc::new(AtomicU64::new(0));
            let tasks: Vec<_> = (0..size.ops)
                .map(|_| task::spawn(park(Arc::clone(&started))))
                .collect();
            all_wait(&started, size.ops).await;
            let meter = Meter::start();
            let mut cancelled = 0;
            for task in tasks {
                task.abort();
                cancelled += u64::from(task.await.is_err_and(|error| error.is_cancelled()));
            }
            sum = sum.and(meter.stop(size.ops));
            assert_eq!(cancelled, size.ops);
        }
        sum
    })
}

/// All tasks of a set at once, until the last is gone.
pub(crate) fn cancel_group(size: Size) -> Sample {
    on_worker(async move {
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            let mut set = JoinSet::new();
            let started = Arc::new(AtomicU64::new(0));
            for _ in 0..size.ops {
                set.spawn(park(Arc::clone(&started)));
            }
            all_wait(&started, size.ops).await;
            let meter = Meter::start();
            set.abort_all();
            let mut cancelled = 0;
            while let Some(end) = set.join_next().await {
                cancelled += u64::from(end.is_err_and(|error| error.is_cancelled()));
            }
            sum = sum.and(meter.stop(size.ops));
            assert_eq!(cancelled, size.ops);
        }
        sum
    })
}

pub(crate) fn idle_memory(size: Size) -> Sample {
    on_worker(async move {
        let meter = Meter::start();
        let started = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..size.ops)
            .map(|_| task::spawn(park(Arc::clone(&started))))
            .collect();
        all_wait(&started, size.ops).await;
        let sample = meter.stop(size.ops);
        for task in tasks {
            task.abort();
        }
        sample
    })
}

/// Waits for the abort.
pub(crate) async fn park(started: Arc<AtomicU64>) {
    started.fetch_add(1, Ordering::Relaxed);
    pending().await
}

/// Returns once that many tasks have begun to wait.
pub(crate) async fn all_wait(started: &AtomicU64, ops: u64) {
    while started.load(Ordering::Relaxed) < ops {
        sleep(Duration::from_millis(1)).await;
    }
    // The last one to count itself is a few instructions from its wait.
    sleep(Duration::from_millis(20)).await;
}

pub(crate) fn timer(size: Size) -> Sample {
    on_worker(batches(size, timers))
}

pub(crate) fn timer_among_live(size: Size) -> Sample {
    timer_among(size, live(size.ops))
}

/// Timers that come and go while that many others are live.
pub(crate) fn timer_among(size: Size, live: u64) -> Sample {
    on_worker(async move {
        let mut alive = Vec::new();
        for n in 0..live {
            let mut timer = Box::pin(sleep(2 * far(n)));
            assert!(!poll_once(timer.as_mut()).await);
            alive.push(timer);
        }
        batches(size, timers).await
    })
}

async fn timers(ops: u64) {
    let mut fired = 0;
    for n in 0..ops {
        let timer = pin!(sleep(far(n)));
        fired += u64::from(poll_once(timer).await);
    }
    assert_eq!(fired, 0);
}

/// Sleeping tasks that say how late they woke.
pub(crate) fn timers_firing(size: Size) -> Sample {
    on_worker(async move {
        let meter = Meter::start();
        let start = Instant::now();
        let one = |n| async move {
            sleep_until(start + near(n)).await;
            (start + near(n)).elapsed().as_nanos() as u64
        };
        let tasks: Vec<_> = (0..size.ops).map(|n| task::spawn(one(n))).collect();
        let mut late_ns = Vec::new();
        for task in tasks {
            late_ns.push(joined(task).await);
        }
        assert!(start.elapsed() >= near(0));
        meter.stop(size.ops).with_percentiles(late_ns)
    })
}

pub(crate) fn tcp_echo(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback has a free port");
        let address = listener.local_addr().expect("is bound");
        let one = || async move {
            let mut stream = TcpStream::connect(address)
                .await
                .expect("the listener takes as many");
            stream.set_nodelay(true).expect("takes the option");
            let mut answer = [0; ECHO.len()];
            for _ in 0..ops / CONNECTIONS {
                stream
                    .write_all(&ECHO)
                    .await
                    .expect("the other end is open");
                stream
                    .read_exact(&mut answer)
                    .await
                    .expect("the other end answers");
                assert_eq!(answer, ECHO);
            }
            ops / CONNECTIONS
        };
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| task::spawn(one())).collect();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.expect("a client connects");
            stream.set_nodelay(true).expect("takes the option");
            task::spawn(async move {
                let mut heard = [0; ECHO.len()];
                while stream.read_exact(&mut heard).await.is_ok() {
                    stream
                        .write_all(&heard)
                        .await
                        .expect("the other end is open");
                }
            });
        }
        assert_eq!(
            join_all(clients.into_iter()).await,
            ops / CONNECTIONS * CONNECTIONS
        );
    }))
}
