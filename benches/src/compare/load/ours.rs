//! The rows on asupersync.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Scope};
use asupersync_sync::{Mutex, mpsc, oneshot};

use super::{CAPACITY, CLIENTS, TIMEOUT, WORKERS, fan_sum, handled, worked};
use crate::meter::{Meter, Sample, Size, batches, poll_once};
use crate::on_ours::{End, join_all, joined, on_worker, region, workload};

pub(crate) fn contention_10(size: Size) -> Sample {
    contention(size, 10)
}

pub(crate) fn contention_100(size: Size) -> Sample {
    contention(size, 100)
}

pub(crate) fn contention_1000(size: Size) -> Sample {
    contention(size, 1000)
}

/// Tasks that want one lock, whose holder yields.
fn contention(size: Size, tasks: u64) -> Sample {
    on_worker(async move |cx: Cx| {
        batches(size, async |ops| {
            let shared = Arc::new(Mutex::new(0_u64));
            region!(cx, async |scope: Scope<'_, Cancelled>| {
                let one = |shared: Arc<Mutex<u64>>| {
                    scope.spawn(async move |cx: Cx| {
                        for _ in 0..ops / tasks {
                            let mut guard = shared.lock(&cx).await.expect("nobody panics");
                            cx.yield_now().await?;
                            *guard += 1;
                        }
                        End::Ok(0)
                    })
                };
                let tasks = (0..tasks).map(|_| one(Arc::clone(&shared))).collect();
                End::Ok(join_all(&scope, tasks).await)
            });
            let sum = shared.try_lock().map(|sum| *sum);
            assert_eq!(sum.expect("all have ended"), ops);
        })
        .await
    })
}

workload!(fan, ops, cx, scope, {
    let (gather, mut gathered) = mpsc::channel::<u64>(CAPACITY);
    let mut spread = Vec::new();
    for _ in 0..WORKERS {
        let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
        let gather = gather.clone();
        scope.spawn(async move |cx: Cx| {
            while let Ok(message) = receiver.recv(&cx).await {
                let sent = gather.send(&cx, worked(message)).await;
                sent.expect("the gatherer waits");
            }
            End::Ok(())
        });
        spread.push(sender);
    }
    drop(gather);
    scope.spawn(async move |cx: Cx| {
        for n in 0..ops {
            let sent = spread[(n % WORKERS) as usize].send(&cx, n).await;
            sent.expect("the worker waits");
        }
        End::Ok(())
    });
    let mut sum = 0;
    while let Ok(message) = gathered.recv(cx).await {
        sum += message;
    }
    assert_eq!(sum, fan_sum(ops));
});

/// A request, with where its reply goes.
type Request = (u64, oneshot::Sender<u64>);

pub(crate) fn server(size: Size) -> Sample {
    on_worker(async move |cx: Cx| {
        serve(&cx, size.ops).await;
        serve(&cx, size.ops).await
    })
}

async fn serve(cx: &Cx, ops: u64) -> Sample {
    region!(cx, async |scope: Scope<'_, Cancelled>| {
        let meter = Meter::start();
        let (sender, mut requests) = mpsc::channel::<Request>(CAPACITY);
        let served = Arc::new(Mutex::new(0_u64));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(async move |cx: Cx| End::Ok(client(&cx, &sender, ops / CLIENTS).await))
            })
            .collect();
        drop(sender);
        while let Ok((request, reply)) = requests.recv(scope.cx()).await {
            let served = Arc::clone(&served);
            scope.spawn(async move |cx: Cx| {
                let timeout = pin!(cx.sleep(TIMEOUT));
                assert!(!poll_once(timeout).await);
                let answer = handled(request);
                *served.lock(&cx).await.expect("nobody panics") += 1;
                cx.yield_now().await?;
                reply.send(answer).expect("the client waits");
                End::Ok(())
            });
        }
        let mut times_ns = Vec::new();
        for client in clients {
            times_ns.extend(joined(&scope, client).await);
        }
        let count = times_ns.len() as u64;
        assert_eq!(served.try_lock().map(|count| *count).ok(), Some(count));
        End::Ok(meter.stop(count).with_percentiles(times_ns))
    })
}

/// How long each of its requests took.
async fn client(cx: &Cx, server: &mpsc::Sender<Request>, requests: u64) -> Vec<u64> {
    let mut times_ns = Vec::new();
    for n in 0..requests {
        let start = Instant::now();
        let (reply, mut answer) = oneshot::channel();
        server.send(cx, (n, reply)).await.expect("the server waits");
        assert_ne!(answer.recv(cx).await.expect("the server replies"), 0);
        times_ns.push(start.elapsed().as_nanos() as u64);
    }
    times_ns
}
