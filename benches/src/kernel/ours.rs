//! The rows on asupersync: production host, two workers, as its users would write them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Scope};
use asupersync_sync::{Mutex, Notify, mpsc, oneshot};

use crate::meter::{Meter, Sample, Size, batches};
use crate::on_ours::{End, Handle, join_all, joined, on_worker, region};

use super::{CHANNEL_CAPACITY, sleep_ms};

pub(crate) fn spawn_join_many(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let sum: u64 = region!(cx, async |scope| {
                    let tasks: Vec<Handle<u64>> = (0..ops)
                        .map(|n| scope.spawn(async move |_: Cx| End::Ok(n)))
                        .collect();
                    let mut sum = 0;
                    for task in tasks {
                        sum += joined(&scope, task).await;
                    }
                    End::Ok(sum)
                });
                assert_eq!(sum, ops * (ops - 1) / 2);
            }
        })
        .await
    })
}

pub(crate) fn spawn_join_one_by_one(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let sum: u64 = region!(cx, async |scope| {
                    let mut sum = 0;
                    for n in 0..ops {
                        let task = scope.spawn(async move |_: Cx| End::Ok(n));
                        sum += joined(&scope, task).await;
                    }
                    End::Ok(sum)
                });
                assert_eq!(sum, ops * (ops - 1) / 2);
            }
        })
        .await
    })
}

/// A binary tree of tasks, each joining its two children in a region of its own.
pub(crate) fn nested_spawn(size: Size) -> Sample {
    #[expect(
        clippy::manual_async_fn,
        reason = "only the written bound tells the compiler that the recursion is `Send`"
    )]
    fn node(cx: Cx, depth: u32) -> impl Future<Output = End<u64>> + Send {
        async move {
            if depth == 0 {
                return Ok(1);
            }
            let sum = region!(cx, async |scope| {
                let left = scope.spawn(move |cx: Cx| node(cx, depth - 1));
                let right = scope.spawn(move |cx: Cx| node(cx, depth - 1));
                End::Ok(1 + joined(&scope, left).await + joined(&scope, right).await)
            });
            Ok(sum)
        }
    }
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let depth = (ops + 1).ilog2() - 1;
                assert_eq!(node(cx.clone(), depth).await, Ok(ops));
            }
        })
        .await
    })
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
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let one = async move |cx: Cx| {
                    for _ in 0..ops / tasks {
                        cx.yield_now().await?;
                    }
                    End::Ok(ops / tasks)
                };
                let sum = region!(cx, async |scope| {
                    let tasks = (0..tasks).map(|_| scope.spawn(one)).collect();
                    End::Ok(join_all(&scope, tasks).await)
                });
                assert_eq!(sum, ops);
            }
        })
        .await
    })
}

pub(crate) fn sleep_many(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let sum = region!(cx, async |scope| {
                    let tasks = (0..ops)
                        .map(|n| {
                            scope.spawn(async move |cx: Cx| {
                                cx.sleep(Duration::from_millis(sleep_ms(n))).await?;
                                End::Ok(1)
                            })
                        })
                        .collect();
                    End::Ok(join_all(&scope, tasks).await)
                });
                assert_eq!(sum, ops);
            }
        })
        .await
    })
}

/// Two tasks answer each other over channels that are used once.
pub(crate) fn oneshot_ping_pong(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let mut there = Vec::new();
                let mut back = Vec::new();
                for _ in 0..ops {
                    let (ping, pinged) = oneshot::channel::<u64>();
                    let (pong, ponged) = oneshot::channel::<u64>();
                    there.push((ping, ponged));
                    back.push((pinged, pong));
                }
                let sum: u64 = region!(cx, async |scope| {
                    let partner = scope.spawn(async move |cx: Cx| {
                        for (mut pinged, pong) in back {
                            let value = pinged.recv(&cx).await.expect("the ping is sent");
                            pong.send(value + 1).expect("the partner waits");
                        }
                        End::Ok(())
                    });
                    let mut sum = 0;
                    for (n, (ping, mut ponged)) in (0..).zip(there) {
                        ping.send(n).expect("the partner waits");
                        sum += ponged.recv(scope.cx()).await.expect("the pong is sent");
                    }
                    joined(&scope, partner).await;
                    End::Ok(sum)
                });
                assert_eq!(sum, ops * (ops + 1) / 2);
            }
        })
        .await
    })
}

pub(crate) fn mpsc_1_to_1(size: Size) -> Sample {
    channel(size, 1)
}

pub(crate) fn mpsc_8_to_1(size: Size) -> Sample {
    channel(size, 8)
}

fn channel(size: Size, senders: u64) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let count: u64 = region!(cx, async |scope| {
                    let (sender, mut receiver) = mpsc::channel::<u64>(CHANNEL_CAPACITY);
                    for _ in 0..senders {
                        let sender = sender.clone();
                        scope.spawn(async move |cx: Cx| {
                            for n in 0..ops / senders {
                                sender.send(&cx, n).await.expect("the receiver waits");
                            }
                            End::Ok(())
                        });
                    }
                    drop(sender);
                    let mut count = 0;
                    while receiver.recv(scope.cx()).await.is_ok() {
                        count += 1;
                    }
                    End::Ok(count)
                });
                assert_eq!(count, ops);
            }
        })
        .await
    })
}

pub(crate) fn mutex_8(size: Size) -> Sample {
    const TASKS: u64 = 8;
    on_worker(async move |cx: Cx| {
        batches(size, |ops| {
            let cx = &cx;
            async move {
                let shared = Arc::new(Mutex::new(0_u64));
                region!(cx, async |scope| {
                    let tasks = (0..TASKS)
                        .map(|_| {
                            let shared = Arc::clone(&shared);
                            scope.spawn(async move |cx: Cx| {
                                for _ in 0..ops / TASKS {
                                    *shared.lock(&cx).await.expect("nobody panics") += 1;
                                }
                                End::Ok(0)
                            })
                        })
                        .collect();
                    End::Ok(join_all(&scope, tasks).await)
                });
                assert_eq!(*shared.try_lock().expect("all have ended"), ops);
            }
        })
        .await
    })
}

/// Only the cancelling is measured: from the request to the last task gone.
pub(crate) fn cancel_parked(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        cancel_once(&cx, size.ops).await;
        let mut sum = Sample::default();
        for _ in 0..size.batches {
            sum = sum.and(cancel_once(&cx, size.ops).await);
        }
        sum
    })
}

async fn cancel_once(cx: &Cx, ops: u64) -> Sample {
    region!(cx, async |scope| {
        let tasks = park(&scope, ops, &Arc::new(Notify::new())).await;
        let meter = Meter::start();
        for task in &tasks {
            task.cancel();
        }
        let mut cancelled = 0;
        for task in tasks {
            cancelled += u64::from(task.join(scope.cx()).await.is_cancelled());
        }
        let sample = meter.stop(ops);
        assert_eq!(cancelled, ops);
        End::Ok(sample)
    })
}

pub(crate) fn idle_memory(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        let notify = Arc::new(Notify::new());
        region!(cx, async |scope| {
            let meter = Meter::start();
            let tasks = park(&scope, size.ops, &notify).await;
            let sample = meter.stop(size.ops);
            notify.notify_waiters();
            for task in tasks {
                joined(&scope, task).await;
            }
            End::Ok(sample)
        })
    })
}

/// Starts tasks that wait for a notification, and returns once all of them do.
async fn park(scope: &Scope<'_, Cancelled>, ops: u64, notify: &Arc<Notify>) -> Vec<Handle<()>> {
    let started = Arc::new(AtomicU64::new(0));
    let tasks = (0..ops)
        .map(|_| {
            let (started, notify) = (Arc::clone(&started), Arc::clone(notify));
            scope.spawn(async move |cx: Cx| {
                started.fetch_add(1, Ordering::Relaxed);
                notify.notified(&cx).await?;
                End::Ok(())
            })
        })
        .collect();
    while started.load(Ordering::Relaxed) < ops {
        scope
            .cx()
            .sleep(Duration::from_millis(1))
            .await
            .expect("nothing is cancelled");
    }
    // The last one to count itself is a few instructions from its wait.
    scope
        .cx()
        .sleep(Duration::from_millis(20))
        .await
        .expect("nothing is cancelled");
    tasks
}
