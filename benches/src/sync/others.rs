//! The rows on channels and locks without a runtime of their own, on tokio's.

use std::sync::Arc;

use ::tokio::task;

use super::{CAPACITY, TASKS};
use crate::meter::{Sample, Size, batches};
use crate::on_tokio::{join_all, on_worker};

/// One function that sends through a channel from `senders` tasks to this one.
macro_rules! channel {
    ($name:ident, $senders:expr, $make:expr, $send:ident, $recv:ident) => {
        pub(crate) fn $name(size: Size) -> Sample {
            on_worker(batches(size, async |ops| {
                let (sender, receiver) = $make;
                for _ in 0..$senders {
                    let sender = sender.clone();
                    task::spawn(async move {
                        for n in 0..ops / $senders {
                            sender.$send(n).await.expect("the receiver waits");
                        }
                    });
                }
                drop(sender);
                let mut count = 0;
                while receiver.$recv().await.is_ok() {
                    count += 1;
                }
                assert_eq!(count, ops);
            }))
        }
    };
}

/// One function in which two tasks answer each other.
macro_rules! ping_pong {
    ($name:ident, $make:expr, $send:ident, $recv:ident) => {
        pub(crate) fn $name(size: Size) -> Sample {
            on_worker(batches(size, async |ops| {
                let ((ping, pinged), (pong, ponged)) = ($make, $make);
                task::spawn(async move {
                    while let Ok(n) = pinged.$recv().await {
                        pong.$send(n + 1).await.expect("the partner waits");
                    }
                });
                let mut sum: u64 = 0;
                for n in 0..ops {
                    ping.$send(n).await.expect("the partner waits");
                    sum += ponged.$recv().await.expect("the partner answers");
                }
                assert_eq!(sum, ops * (ops + 1) / 2);
            }))
        }
    };
}

channel!(
    flume_1,
    1,
    flume::bounded::<u64>(CAPACITY),
    send_async,
    recv_async
);
channel!(
    flume_8,
    8,
    flume::bounded::<u64>(CAPACITY),
    send_async,
    recv_async
);
channel!(flume_0, 1, flume::bounded::<u64>(0), send_async, recv_async);
channel!(
    flume_unbounded_1,
    1,
    flume::unbounded::<u64>(),
    send_async,
    recv_async
);
ping_pong!(
    flume_ping_pong,
    flume::bounded::<u64>(1),
    send_async,
    recv_async
);
channel!(
    async_channel_1,
    1,
    async_channel::bounded::<u64>(CAPACITY),
    send,
    recv
);
channel!(
    async_channel_8,
    8,
    async_channel::bounded::<u64>(CAPACITY),
    send,
    recv
);
channel!(
    async_channel_unbounded_1,
    1,
    async_channel::unbounded::<u64>(),
    send,
    recv
);
ping_pong!(
    async_channel_ping_pong,
    async_channel::bounded::<u64>(1),
    send,
    recv
);
channel!(
    kanal_1,
    1,
    kanal::bounded_async::<u64>(CAPACITY),
    send,
    recv
);
channel!(
    kanal_8,
    8,
    kanal::bounded_async::<u64>(CAPACITY),
    send,
    recv
);
channel!(kanal_0, 1, kanal::bounded_async::<u64>(0), send, recv);
channel!(
    kanal_unbounded_1,
    1,
    kanal::unbounded_async::<u64>(),
    send,
    recv
);
ping_pong!(kanal_ping_pong, kanal::bounded_async::<u64>(1), send, recv);

pub(crate) fn parking_lot_mutex_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let mutex = parking_lot::Mutex::new(0_u64);
        for _ in 0..ops {
            *std::hint::black_box(&mutex).lock() += 1;
        }
        assert_eq!(mutex.into_inner(), ops);
    }))
}

pub(crate) fn parking_lot_mutex_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(parking_lot::Mutex::new(0_u64));
        let one = |shared: Arc<parking_lot::Mutex<u64>>| async move {
            for _ in 0..ops / TASKS {
                *shared.lock() += 1;
            }
            0
        };
        join_all((0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))))).await;
        assert_eq!(*shared.lock(), ops);
    }))
}

pub(crate) fn parking_lot_read_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let lock = parking_lot::RwLock::new(1_u64);
        let mut sum = 0;
        for _ in 0..ops {
            sum += *std::hint::black_box(&lock).read();
        }
        assert_eq!(sum, ops);
    }))
}

pub(crate) fn parking_lot_write_alone(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let lock = parking_lot::RwLock::new(0_u64);
        for _ in 0..ops {
            *std::hint::black_box(&lock).write() += 1;
        }
        assert_eq!(lock.into_inner(), ops);
    }))
}

pub(crate) fn parking_lot_rwlock_8(size: Size) -> Sample {
    on_worker(batches(size, async |ops| {
        let shared = Arc::new(parking_lot::RwLock::new(0_u64));
        let one = |shared: Arc<parking_lot::RwLock<u64>>| async move {
            let mut seen = 0;
            for n in 0..ops / TASKS {
                if n % 10 == 0 {
                    *shared.write() += 1;
                } else {
                    seen += u64::from(*shared.read() > 0);
                }
            }
            seen
        };
        let tasks = (0..TASKS).map(|_| task::spawn(one(Arc::clone(&shared))));
        let reads = join_all(tasks).await;
        assert_eq!(reads + *shared.read(), ops);
    }))
}
