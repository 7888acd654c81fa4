//! The rows on tokio.

use std::sync::Arc;

use ::tokio::sync::{
    Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, mpsc, oneshot, watch,
};
use ::tokio::task;

use super::{CAPACITY, PERMITS, TASKS};
use crate::meter::{Sample, Size, batches};
use crate::on_tokio::{join_all, joined, on_worker};

pub(crate) fn mpsc_1(size: Size) -> Sample {
    channel(size, 1)
}

pub(crate) fn mpsc_8(size: Size) -> Sample {
    channel(size, 8)
}

fn channel(size: Size, senders: u64) -> Sample {
    on_worker(batches(size, move |ops| async move {
        let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
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

pub(crate) fn mpsc_reserve(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
        task::spawn(async move {
            for n in 0..ops {
                let permit = sender.reserve().await.expect("the receiver waits");
                permit.send(n);
            }
        });
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, ops);
    }))
}

pub(crate) fn unbounded_1(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (sender, mut receiver) = mpsc::unbounded_channel::<u64>();
        task::spawn(async move {
            for n in 0..ops {
                sender.send(n).expect("the receiver waits");
            }
        });
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, ops);
    }))
}

pub(crate) fn mpsc_ping_pong(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (ping, mut pinged) = mpsc::channel::<u64>(1);
        let (pong, mut ponged) = mpsc::channel::<u64>(1);
        task::spawn(async move {
            while let Some(n) = pinged.recv().await {
                pong.send(n + 1).await.expect("the partner waits");
            }
        });
        let mut sum = 0;
        for n in 0..ops {
            ping.send(n).await.expect("the partner waits");
            sum += ponged.recv().await.expect("the partner answers");
        }
        assert_eq!(sum, ops * (ops + 1) / 2);
    }))
}

pub(crate) fn oneshot_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mut sum = 0;
        for n in 0..ops {
            let (sender, receiver) = oneshot::channel::<u64>();
            sender.send(n).expect("the receiver is there");
            sum += receiver.await.expect("it was sent");
        }
        assert_eq!(sum, ops * (ops - 1) / 2);
    }))
}

pub(crate) fn broadcast_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let messages = ops / TASKS;
        let (sender, _) = broadcast::channel::<u64>(CAPACITY);
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let mut receiver = sender.subscribe();
                task::spawn(async move {
                    let mut seen = 0;
                    loop {
                        match receiver.recv().await {
                            Ok(_) => seen += 1,
                            Err(broadcast::error::RecvError::Lagged(missed)) => seen += missed,
                            Err(broadcast::error::RecvError::Closed) => return seen,
                        }
                    }
                })
            })
            .collect();
        for n in 0..messages {
            sender.send(n).expect("the receivers wait");
            // As many as fit, and then the receivers have their turn: nobody lags.
            if (n + 1) % CAPACITY as u64 == 0 {
                while !sender.is_empty() {
                    task::yield_now().await;
                }
            }
        }
        drop(sender);
        assert_eq!(join_all(tasks.into_iter()).await, messages * TASKS);
    }))
}

pub(crate) fn watch_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let (sender, receiver) = watch::channel(0_u64);
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let mut receiver = receiver.clone();
                task::spawn(async move {
                    while receiver.changed().await.is_ok() {
                        if *receiver.borrow_and_update() == ops {
                            return 1;
                        }
                    }
                    0
                })
            })
            .collect();
        drop(receiver);
        for n in 1..=ops {
            sender.send(n).expect("the receivers wait");
            task::yield_now().await;
        }
        assert_eq!(join_all(tasks.into_iter()).await, TASKS);
    }))
}

pub(crate) fn notify_ping_pong(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let pair = Arc::new((Notify::new(), Notify::new()));
        let partner = Arc::clone(&pair);
        let task = task::spawn(async move {
            for _ in 0..ops {
                partner.0.notified().await;
                partner.1.notify_one();
            }
        });
        for _ in 0..ops {
            pair.0.notify_one();
            pair.1.notified().await;
        }
        joined(task).await;
    }))
}

pub(crate) fn mutex_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mutex = Mutex::new(0_u64);
        for _ in 0..ops {
            *mutex.lock().await += 1;
        }
        assert_eq!(mutex.into_inner(), ops);
    }))
}

pub(crate) fn mutex_8(size: Size) -> Sample {
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

pub(crate) fn mutex_yield(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(Mutex::new(0_u64));
        let one = |shared: Arc<Mutex<u64>>| async move {
            for _ in 0..ops / TASKS {
                let mut guard = shared.lock().await;
                task::yield_now().await;
                *guard += 1;
            }
            0
        };
        join_all((0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(*shared.lock().await, ops);
    }))
}

pub(crate) fn rwlock_read_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let lock = RwLock::new(1_u64);
        let mut sum = 0;
        for _ in 0..ops {
            sum += *lock.read().await;
        }
        assert_eq!(sum, ops);
    }))
}

pub(crate) fn rwlock_write_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let lock = RwLock::new(0_u64);
        for _ in 0..ops {
            *lock.write().await += 1;
        }
        assert_eq!(lock.into_inner(), ops);
    }))
}

pub(crate) fn rwlock_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(RwLock::new(0_u64));
        let one = |shared: Arc<RwLock<u64>>| async move {
            let mut seen = 0;
            for n in 0..ops / TASKS {
                if n % 10 == 0 {
                    *shared.write().await += 1;
                } else {
                    seen += u64::from(*shared.read().await > 0);
                }
            }
            seen
        };
        let tasks = (0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))));
        let reads = join_all(tasks).await;
        assert_eq!(reads + *shared.read().await, ops);
    }))
}

pub(crate) fn semaphore_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let semaphore = Semaphore::new(1);
        for _ in 0..ops {
            drop(semaphore.acquire().await.expect("it is open"));
        }
        assert_eq!(semaphore.available_permits(), 1);
    }))
}

pub(crate) fn semaphore_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(Semaphore::new(PERMITS));
        let one = |shared: Arc<Semaphore>| async move {
            for _ in 0..ops / TASKS {
                drop(shared.acquire().await.expect("it is open"));
            }
            0
        };
        join_all((0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(shared.available_permits(), PERMITS);
    }))
}

pub(crate) fn semaphore_yield(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(Semaphore::new(PERMITS));
        let one = |shared: Arc<Semaphore>| async move {
            for _ in 0..ops / TASKS {
                let permit = shared.acquire().await.expect("it is open");
                task::yield_now().await;
                drop(permit);
            }
            0
        };
        join_all((0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(shared.available_permits(), PERMITS);
    }))
}

pub(crate) fn barrier_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(Barrier::new(TASKS as usize));
        let one = |shared: Arc<Barrier>| async move {
            let mut led = 0;
            for _ in 0..ops {
                led += u64::from(shared.wait().await.is_leader());
            }
            led
        };
        let tasks = (0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))));
        assert_eq!(join_all(tasks).await, ops);
    }))
}

pub(crate) fn once_cell(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let cell = OnceCell::new();
        let mut sum = 0;
        for _ in 0..ops {
            sum += *cell.get_or_init(async || 1_u64).await;
        }
        assert_eq!(sum, ops);
    }))
}
