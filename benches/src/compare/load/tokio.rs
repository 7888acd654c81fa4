//! The rows on tokio.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use ::tokio::sync::{Mutex, mpsc, oneshot};
use ::tokio::task;

use super::{CAPACITY, CLIENTS, TIMEOUT, WORKERS, fan_sum, handled, worked};
use crate::meter::{Meter, Sample, Size, batches, poll_once};
use crate::on_tokio::{join_all, joined, on_worker};

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
    on_worker(batches(size, move |ops| async move {
        let shared = Arc::new(Mutex::new(0_u64));
        let one = |shared: Arc<Mutex<u64>>| async move {
            for _ in 0..ops / tasks {
                let mut guard = shared.lock().await;
                task::yield_now().await;
                *guard += 1;
            }
            0
        };
        join_all((0..tasks).map(|_| task::spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(*shared.lock().await, ops);
    }))
}

pub(crate) fn fan(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (gather, mut gathered) = mpsc::channel::<u64>(CAPACITY);
        let mut spread = Vec::new();
        for _ in 0..WORKERS {
            let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
            let gather = gather.clone();
            task::spawn(async move {
                while let Some(message) = receiver.recv().await {
                    let sent = gather.send(worked(message)).await;
                    sent.expect("the gatherer waits");
                }
            });
            spread.push(sender);
        }
        drop(gather);
        task::spawn(async move {
            for n in 0..ops {
                let sent = spread[(n % WORKERS) as usize].send(n).await;
                sent.expect("the worker waits");
            }
        });
        let mut sum = 0;
        while let Some(message) = gathered.recv().await {
            sum += message;
        }
        assert_eq!(sum, fan_sum(ops));
    }))
}

/// A request, with where its reply goes.
type Request = (u64, oneshot::Sender<u64>);

pub(crate) fn server(size: Size) -> Sample {
    on_worker(async move {
        serve(size.ops).await;
        serve(size.ops).await
    })
}

async fn serve(ops: u64) -> Sample {
    let meter = Meter::start();
    let (sender, mut requests) = mpsc::channel::<Request>(CAPACITY);
    let served = Arc::new(Mutex::new(0_u64));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| task::spawn(client(sender.clone(), ops / CLIENTS)))
        .collect();
    drop(sender);
    while let Some((request, reply)) = requests.recv().await {
        let served = Arc::clone(&served);
        task::spawn(async move {
            let timeout = pin!(::tokio::time::sleep(TIMEOUT));
            assert!(!poll_once(timeout).await);
            let answer = handled(request);
            *served.lock().await += 1;
            task::yield_now().await;
            reply.send(answer).expect("the client waits");
        });
    }
    let mut times_ns = Vec::new();
    for client in clients {
        times_ns.extend(joined(client).await);
    }
    let count = times_ns.len() as u64;
    assert_eq!(*served.lock().await, count);
    meter.stop(count).with_percentiles(times_ns)
}

/// How long each of its requests took.
async fn client(server: mpsc::Sender<Request>, requests: u64) -> Vec<u64> {
    let mut times_ns = Vec::new();
    for n in 0..requests {
        let start = Instant::now();
        let (reply, answer) = oneshot::channel();
        server.send((n, reply)).await.expect("the server waits");
        assert_ne!(answer.await.expect("the server replies"), 0);
        times_ns.push(start.elapsed().as_nanos() as u64);
    }
    times_ns
}
