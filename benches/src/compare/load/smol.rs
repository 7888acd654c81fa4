//! The rows on smol.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use ::smol::Timer;
use ::smol::channel::{Sender, bounded};
use ::smol::future::yield_now;
use ::smol::lock::Mutex;

use super::{CAPACITY, CLIENTS, TIMEOUT, WORKERS, fan_sum, handled, worked};
use crate::meter::{Meter, Sample, Size, batches, poll_once};
use crate::on_smol::{join_all, on_worker, spawn};

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
                yield_now().await;
                *guard += 1;
            }
            0
        };
        join_all((0..tasks).map(|_| spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(*shared.lock().await, ops);
    }))
}

pub(crate) fn fan(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (gather, gathered) = bounded::<u64>(CAPACITY);
        let mut spread = Vec::new();
        for _ in 0..WORKERS {
            let (sender, receiver) = bounded::<u64>(CAPACITY);
            let gather = gather.clone();
            spawn(async move {
                while let Ok(message) = receiver.recv().await {
                    let sent = gather.send(worked(message)).await;
                    sent.expect("the gatherer waits");
                }
            })
            .detach();
            spread.push(sender);
        }
        drop(gather);
        spawn(async move {
            for n in 0..ops {
                let sent = spread[(n % WORKERS) as usize].send(n).await;
                sent.expect("the worker waits");
            }
        })
        .detach();
        let mut sum = 0;
        while let Ok(message) = gathered.recv().await {
            sum += message;
        }
        assert_eq!(sum, fan_sum(ops));
    }))
}

/// A request, with where its reply goes.
type Request = (u64, Sender<u64>);

pub(crate) fn server(size: Size) -> Sample {
    on_worker(async move {
        serve(size.ops).await;
        serve(size.ops).await
    })
}

async fn serve(ops: u64) -> Sample {
    let meter = Meter::start();
    let (sender, requests) = bounded::<Request>(CAPACITY);
    let served = Arc::new(Mutex::new(0_u64));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| spawn(client(sender.clone(), ops / CLIENTS)))
        .collect();
    drop(sender);
    while let Ok((request, reply)) = requests.recv().await {
        let served = Arc::clone(&served);
        spawn(async move {
            let timeout = pin!(Timer::after(TIMEOUT));
            assert!(!poll_once(timeout).await);
            let answer = handled(request);
            *served.lock().await += 1;
            yield_now().await;
            reply.try_send(answer).expect("there is room for one");
        })
        .detach();
    }
    let mut times_ns = Vec::new();
    for client in clients {
        times_ns.extend(client.await);
    }
    let count = times_ns.len() as u64;
    assert_eq!(*served.lock().await, count);
    meter.stop(count).with_percentiles(times_ns)
}

/// How long each of its requests took.
async fn client(server: Sender<Request>, requests: u64) -> Vec<u64> {
    let mut times_ns = Vec::new();
    for n in 0..requests {
        let start = Instant::now();
        let (reply, answer) = bounded(1);
        server.send((n, reply)).await.expect("the server waits");
        assert_ne!(answer.recv().await.expect("the server replies"), 0);
        times_ns.push(start.elapsed().as_nanos() as u64);
    }
    times_ns
}
