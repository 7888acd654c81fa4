//! The rows on asupersync.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use asupersync_core::{CancelKind, Cancelled, Outcome};
use asupersync_io::{ReadExt, WriteExt};
use asupersync_kernel::{CancelWait, Cx, Scope};
use asupersync_net::{TcpListener, TcpStream};
use asupersync_sync::mpsc;

use super::{CONNECTIONS, ECHO, RING, far, live, near, wake_itself};
use crate::meter::{Meter, Sample, Size, batches, poll_once};
use crate::on_ours::{End, Handle, join_all, joined, on_worker, region, workload};

// One token goes round; a task is one channel's receiver and the next one's sender.
workload!(ring, ops, cx, scope, {
    let (first, mut before) = mpsc::channel::<u64>(1);
    for _ in 1..RING {
        let (next, after) = mpsc::channel::<u64>(1);
        let mut mine = std::mem::replace(&mut before, after);
        scope.spawn(async move |cx: Cx| {
            while let Ok(hops) = mine.recv(&cx).await {
                next.send(&cx, hops + 1).await.expect("the next one waits");
            }
            End::Ok(())
        });
    }
    let mut hops = 0;
    while hops < ops {
        first.send(cx, hops + 1).await.expect("the ring is whole");
        hops = before.recv(cx).await.expect("the ring is whole");
    }
    drop(first);
    assert_eq!(hops, ops);
});

/// A task that is polled, wakes itself, and is polled again.
pub(crate) fn poll(size: Size) -> Sample {
    on_worker(async move |_: Cx| batches(size, wake_itself).await)
}

/// Asks whether the task is cancelled.
pub(crate) fn checkpoint(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let free = (0..ops).filter(|_| cx.checkpoint().is_ok());
            assert_eq!(free.count() as u64, ops);
        })
        .await
    })
}

/// From the cancel request of one task to its end, then the next.
pub(crate) fn cancel_one_by_one(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            let sample = region!(cx, async |scope: Scope<'_, Cancelled>| {
                let tasks = parked(&scope, size.ops, &Arc::default()).await;
                let meter = Meter::start();
                let mut cancelled = 0;
                for task in tasks {
                    task.cancel();
                    cancelled += u64::from(task.join(scope.cx()).await.is_cancelled());
                }
                let sample = meter.stop(size.ops);
                assert_eq!(cancelled, size.ops);
                End::Ok(sample)
            });
            sum = sum.and(sample);
        }
        sum
    })
}

/// A whole region at once, until it has closed.
pub(crate) fn cancel_group(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            let waiting = Arc::new(AtomicU64::new(0));
            let mut meter = None;
            let end = cx
                .region(async |scope: Scope<'_, Cancelled>| {
                    drop(parked(&scope, size.ops, &waiting).await);
                    meter = Some(Meter::start());
                    scope.cancel(CancelKind::User);
                    End::Ok(())
                })
                .await;
            let meter = meter.expect("the body ran to its end");
            sum = sum.and(meter.stop(size.ops));
            assert!(!matches!(end, Outcome::Panicked(_)));
            assert_eq!(waiting.load(Ordering::Relaxed), 0);
        }
        sum
    })
}

pub(crate) fn idle_memory(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        region!(cx, async |scope: Scope<'_, Cancelled>| {
            let meter = Meter::start();
            let tasks = parked(&scope, size.ops, &Arc::default()).await;
            let sample = meter.stop(size.ops);
            for task in &tasks {
                task.cancel();
            }
            for task in tasks {
                assert!(task.join(scope.cx()).await.is_cancelled());
            }
            End::Ok(sample)
        })
    })
}

/// Waits for the cancellation, counted among those that wait.
pub(crate) async fn park(waiting: Arc<AtomicU64>) -> End<()> {
    waiting.fetch_add(1, Ordering::Relaxed);
    let reason = CancelWait::new().await;
    waiting.fetch_sub(1, Ordering::Relaxed);
    Err(reason)
}

/// Starts tasks that wait until they are cancelled, and returns once all of them do.
pub(crate) async fn parked(
    scope: &Scope<'_, Cancelled>,
    ops: u64,
    waiting: &Arc<AtomicU64>,
) -> Vec<Handle<()>> {
    let spawned = (0..ops).map(|_| {
        let waiting = Arc::clone(waiting);
        scope.spawn(move |_: Cx| park(waiting))
    });
    let tasks = spawned.collect();
    let pause = async |time| {
        let slept = scope.cx().sleep(time).await;
        slept.expect("nothing is cancelled yet");
    };
    while waiting.load(Ordering::Relaxed) < ops {
        pause(Duration::from_millis(1)).await;
    }
    // The last one to count itself is a few instructions from its wait.
    pause(Duration::from_millis(20)).await;
    tasks
}

pub(crate) fn timer(size: Size) -> Sample {
    on_worker(async move |cx: Cx| batches(size, |ops| timers(&cx, ops)).await)
}

pub(crate) fn timer_among_live(size: Size) -> Sample {
    timer_among(size, live(size.ops))
}

/// Timers that come and go while that many others are live.
pub(crate) fn timer_among(size: Size, live: u64) -> Sample {
    on_worker(async move |cx: Cx| {
        let mut alive = Vec::new();
        for n in 0..live {
            let mut timer = Box::pin(cx.sleep(2 * far(n)));
            assert!(!poll_once(timer.as_mut()).await);
            alive.push(timer);
        }
        batches(size, |ops| timers(&cx, ops)).await
    })
}

async fn timers(cx: &Cx, ops: u64) {
    let mut fired = 0;
    for n in 0..ops {
        let timer = pin!(cx.sleep(far(n)));
        fired += u64::from(poll_once(timer).await);
    }
    assert_eq!(fired, 0);
}

/// Sleeping tasks that say how late they woke.
pub(crate) fn timers_firing(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        region!(cx, async |scope: Scope<'_, Cancelled>| {
            let meter = Meter::start();
            let (start, start_host) = (Instant::now(), cx.now());
            let one = |n| {
                scope.spawn(async move |cx: Cx| {
                    cx.sleep_until(start_host + near(n)).await?;
                    End::Ok((start + near(n)).elapsed().as_nanos() as u64)
                })
            };
            let tasks: Vec<_> = (0..size.ops).map(one).collect();
            let mut late_ns = Vec::new();
            for task in tasks {
                late_ns.push(joined(&scope, task).await);
            }
            assert!(start.elapsed() >= near(0));
            End::Ok(meter.stop(size.ops).with_percentiles(late_ns))
        })
    })
}

workload!(tcp_echo, ops, cx, scope, {
    let listener = TcpListener::bind(cx, "127.0.0.1:0")
        .await
        .expect("the loopback has a free port");
    let address = listener.local_addr().expect("is bound");
    let client = async move |cx: Cx| {
        let mut stream = TcpStream::connect(&cx, address)
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
        End::Ok(ops / CONNECTIONS)
    };
    let clients = (0..CONNECTIONS).map(|_| scope.spawn(client)).collect();
    for _ in 0..CONNECTIONS {
        let (mut stream, _) = listener.accept(cx).await.expect("a client connects");
        stream.set_nodelay(true).expect("takes the option");
        scope.spawn(async move |_: Cx| {
            let mut heard = [0; ECHO.len()];
            while stream.read_exact(&mut heard).await.is_ok() {
                stream
                    .write_all(&heard)
                    .await
                    .expect("the other end is open");
            }
            End::Ok(())
        });
    }
    let rounds = ops / CONNECTIONS * CONNECTIONS;
    assert_eq!(join_all(scope, clients).await, rounds);
});
