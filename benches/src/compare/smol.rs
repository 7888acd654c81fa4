//! The rows on smol.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::smol::Timer;
use ::smol::channel::bounded;
use ::smol::future::yield_now;
use ::smol::io::{AsyncReadExt, AsyncWriteExt};
use ::smol::lock::{Mutex, Semaphore};
use ::smol::net::{TcpListener, TcpStream};

use super::{CAPACITY, CONNECTIONS, ECHO, PERMITS, RING, TASKS, far, live, near, wake_itself};
use crate::meter::{Meter, Sample, Size, batches, poll_once};
use crate::on_smol::{join_all, on_worker, spawn};

/// One token goes round; a task is one channel's receiver and the next one's sender.
pub(crate) fn ring(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (first, mut before) = bounded::<u64>(1);
        for _ in 1..RING {
            let (next, after) = bounded::<u64>(1);
            let mine = std::mem::replace(&mut before, after);
            spawn(async move {
                while let Ok(hops) = mine.recv().await {
                    next.send(hops + 1).await.expect("the next one waits");
                }
            })
            .detach();
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

/// From the cancelling of one task to its end, then the next.
pub(crate) fn cancel_one_by_one(size: Size) -> Sample {
    on_worker(async move {
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            let started = Arc::new(AtomicU64::new(0));
            let tasks: Vec<_> = (0..size.ops)
                .map(|_| spawn(park(Arc::clone(&started))))
                .collect();
            all_wait(&started, size.ops).await;
            let meter = Meter::start();
            let mut cancelled = 0;
            for task in tasks {
                cancelled += u64::from(task.cancel().await.is_none());
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
            let started = Arc::new(AtomicU64::new(0));
            let (gone, all_gone) = bounded::<()>(1);
            let spawned = (0..size.ops).map(|_| {
                let (started, gone) = (Arc::clone(&started), gone.clone());
                spawn(async move {
                    let _gone = gone;
                    park(started).await;
                })
            });
            let tasks: Vec<_> = spawned.collect();
            drop(gone);
            all_wait(&started, size.ops).await;
            let meter = Meter::start();
            drop(tasks);
            // The channel closes once the last task has dropped its sender.
            assert!(all_gone.recv().await.is_err());
            sum = sum.and(meter.stop(size.ops));
        }
        sum
    })
}

pub(crate) fn idle_memory(size: Size) -> Sample {
    on_worker(async move {
        let meter = Meter::start();
        let started = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..size.ops)
            .map(|_| spawn(park(Arc::clone(&started))))
            .collect();
        all_wait(&started, size.ops).await;
        let sample = meter.stop(size.ops);
        drop(tasks);
        sample
    })
}

/// Waits until it is dropped.
async fn park(started: Arc<AtomicU64>) {
    started.fetch_add(1, Ordering::Relaxed);
    pending().await
}

/// Returns once that many tasks have begun to wait.
async fn all_wait(started: &AtomicU64, ops: u64) {
    while started.load(Ordering::Relaxed) < ops {
        Timer::after(Duration::from_millis(1)).await;
    }
    // The last one to count itself is a few instructions from its wait.
    Timer::after(Duration::from_millis(20)).await;
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
            let mut timer = Box::pin(Timer::after(2 * far(n)));
            assert!(!poll_once(timer.as_mut()).await);
            alive.push(timer);
        }
        batches(size, timers).await
    })
}

async fn timers(ops: u64) {
    let mut fired = 0;
    for n in 0..ops {
        let timer = pin!(Timer::after(far(n)));
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
            Timer::at(start + near(n)).await;
            (start + near(n)).elapsed().as_nanos() as u64
        };
        let tasks: Vec<_> = (0..size.ops).map(|n| spawn(one(n))).collect();
        let mut late_ns = Vec::new();
        for task in tasks {
            late_ns.push(task.await);
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
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| spawn(one())).collect();
        for _ in 0..CONNECTIONS {
            let (mut stream, _) = listener.accept().await.expect("a client connects");
            stream.set_nodelay(true).expect("takes the option");
            spawn(async move {
                let mut heard = [0; ECHO.len()];
                while stream.read_exact(&mut heard).await.is_ok() {
                    stream
                        .write_all(&heard)
                        .await
                        .expect("the other end is open");
                }
            })
            .detach();
        }
        assert_eq!(
            join_all(clients.into_iter()).await,
            ops / CONNECTIONS * CONNECTIONS
        );
    }))
}

pub(crate) fn spawn_join_many(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let sum = join_all((0..ops).map(|n| spawn(async move { n }))).await;
        assert_eq!(sum, ops * (ops - 1) / 2);
    }))
}

pub(crate) fn spawn_join_one_by_one(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mut sum = 0;
        for n in 0..ops {
            sum += spawn(async move { n }).await;
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
            let (left, right) = (spawn(node(depth - 1)), spawn(node(depth - 1)));
            1 + left.await + right.await
        }
    }
    on_worker(batches(size, async |ops| {
        let depth = (ops + 1).ilog2() - 1;
        assert_eq!(spawn(node(depth)).await, ops);
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
                yield_now().await;
            }
            ops / tasks
        };
        assert_eq!(join_all((0..tasks).map(|_| spawn(one()))).await, ops);
    }))
}

pub(crate) fn mpsc_ping_pong(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let ((ping, pinged), (pong, ponged)) = (bounded(1), bounded(1));
        let partner = spawn(async move {
            while let Ok(n) = pinged.recv().await {
                pong.send(n + 1).await.expect("the partner waits");
            }
        });
        let mut sum: u64 = 0;
        for n in 0..ops {
            ping.send(n).await.expect("the partner waits");
            sum += ponged.recv().await.expect("the partner answers");
        }
        drop(ping);
        partner.await;
        assert_eq!(sum, ops * (ops + 1) / 2);
    }))
}

/// Two tasks answer each other over channels that are used once.
pub(crate) fn oneshot_ping_pong(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mut there = Vec::new();
        let mut back = Vec::new();
        for _ in 0..ops {
            let ((ping, pinged), (pong, ponged)) = (bounded::<u64>(1), bounded::<u64>(1));
            there.push((ping, ponged));
            back.push((pinged, pong));
        }
        let partner = spawn(async move {
            for (pinged, pong) in back {
                let value = pinged.recv().await.expect("the ping is sent");
                pong.try_send(value + 1).expect("there is room for one");
            }
        });
        let mut sum = 0;
        for (n, (ping, ponged)) in (0..).zip(there) {
            ping.try_send(n).expect("there is room for one");
            sum += ponged.recv().await.expect("the pong is sent");
        }
        partner.await;
        assert_eq!(sum, ops * (ops + 1) / 2);
    }))
}

pub(crate) fn mpsc_1(size: Size) -> Sample {
    channel(size, 1)
}

pub(crate) fn mpsc_8(size: Size) -> Sample {
    channel(size, 8)
}

fn channel(size: Size, senders: u64) -> Sample {
    on_worker(batches(size, move |ops| async move {
        let (sender, receiver) = bounded::<u64>(CAPACITY);
        for _ in 0..senders {
            let sender = sender.clone();
            spawn(async move {
                for n in 0..ops / senders {
                    sender.send(n).await.expect("the receiver waits");
                }
            })
            .detach();
        }
        drop(sender);
        let mut count = 0;
        while receiver.recv().await.is_ok() {
            count += 1;
        }
        assert_eq!(count, ops);
    }))
}

pub(crate) fn broadcast_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let messages = ops / TASKS;
        let (sender, receiver) = async_broadcast::broadcast::<u64>(CAPACITY);
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let mut receiver = receiver.clone();
                spawn(async move {
                    let mut seen = 0;
                    while receiver.recv().await.is_ok() {
                        seen += 1;
                    }
                    seen
                })
            })
            .collect();
        drop(receiver);
        for n in 0..messages {
            sender.broadcast(n).await.expect("the receivers wait");
        }
        drop(sender);
        assert_eq!(join_all(tasks.into_iter()).await, messages * TASKS);
    }))
}

pub(crate) fn mutex_8(size: Size) -> Sample {
    mutex(size, false)
}

pub(crate) fn mutex_yield(size: Size) -> Sample {
    mutex(size, true)
}

fn mutex(size: Size, is_held: bool) -> Sample {
    on_worker(batches(size, move |ops| async move {
        let shared = Arc::new(Mutex::new(0_u64));
        let one = |shared: Arc<Mutex<u64>>| async move {
            for _ in 0..ops / TASKS {
                let mut guard = shared.lock().await;
                if is_held {
                    yield_now().await;
                }
                *guard += 1;
            }
            0
        };
        join_all((0..TASKS).map(|_| spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(*shared.lock().await, ops);
    }))
}

pub(crate) fn semaphore_8(size: Size) -> Sample {
    semaphore(size, false)
}

pub(crate) fn semaphore_yield(size: Size) -> Sample {
    semaphore(size, true)
}

fn semaphore(size: Size, is_held: bool) -> Sample {
    on_worker(batches(size, move |ops| async move {
        let shared = Arc::new(Semaphore::new(PERMITS));
        let one = |shared: Arc<Semaphore>| async move {
            for _ in 0..ops / TASKS {
                let permit = shared.acquire().await;
                if is_held {
                    yield_now().await;
                }
                drop(permit);
            }
            0
        };
        join_all((0..TASKS).map(|_| spawn(one(Arc::clone(&shared))))).await;
        let mut free = 0;
        let mut permits = Vec::new();
        while let Some(permit) = shared.try_acquire() {
            permits.push(permit);
            free += 1;
        }
        assert_eq!(free, PERMITS);
    }))
}
