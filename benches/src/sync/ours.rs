//! The rows on asupersync.

use std::sync::Arc;

use asupersync_kernel::{Cx, Scope};
use asupersync_sync::{
    Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, mpsc, oneshot, rendezvous,
    watch,
};

use super::{CAPACITY, PERMITS, TASKS};
use crate::on_ours::{End, join_all, joined, workload};

/// A workload that several tasks do on one shared thing.
macro_rules! contended {
    ($name:ident, $make:expr, $task:expr, $check:expr) => {
        workload!($name, ops, cx, scope, {
            let shared = Arc::new($make);
            let tasks = (0..TASKS)
                .map(|_| {
                    let shared = Arc::clone(&shared);
                    scope.spawn(async move |cx: Cx| End::Ok($task(cx, shared, ops).await))
                })
                .collect();
            let sum = join_all(scope, tasks).await;
            let check = async |cx: &Cx| $check(cx, &*shared, sum, ops).await;
            check(cx).await;
        });
    };
}

workload!(mpsc_1, ops, cx, scope, { channel(scope, cx, ops, 1).await });
workload!(mpsc_8, ops, cx, scope, { channel(scope, cx, ops, 8).await });

async fn channel(scope: &Scope<'_, asupersync_core::Cancelled>, cx: &Cx, ops: u64, senders: u64) {
    let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
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
    while receiver.recv(cx).await.is_ok() {
        count += 1;
    }
    assert_eq!(count, ops);
}

workload!(mpsc_reserve, ops, cx, scope, {
    let (sender, mut receiver) = mpsc::channel::<u64>(CAPACITY);
    scope.spawn(async move |cx: Cx| {
        for n in 0..ops {
            let permit = sender.reserve(&cx).await.expect("the receiver waits");
            permit.send(n).expect("the receiver waits");
        }
        End::Ok(())
    });
    let mut count = 0;
    while receiver.recv(cx).await.is_ok() {
        count += 1;
    }
    assert_eq!(count, ops);
});

workload!(unbounded_1, ops, cx, scope, {
    let (sender, mut receiver) = mpsc::unbounded_channel::<u64>();
    scope.spawn(async move |_: Cx| {
        for n in 0..ops {
            sender.send(n).expect("the receiver waits");
        }
        End::Ok(())
    });
    let mut count = 0;
    while receiver.recv(cx).await.is_ok() {
        count += 1;
    }
    assert_eq!(count, ops);
});

workload!(mpsc_ping_pong, ops, cx, scope, {
    let (ping, mut pinged) = mpsc::channel::<u64>(1);
    let (pong, mut ponged) = mpsc::channel::<u64>(1);
    scope.spawn(async move |cx: Cx| {
        while let Ok(n) = pinged.recv(&cx).await {
            pong.send(&cx, n + 1).await.expect("the partner waits");
        }
        End::Ok(())
    });
    let mut sum = 0;
    for n in 0..ops {
        ping.send(cx, n).await.expect("the partner waits");
        sum += ponged.recv(cx).await.expect("the partner answers");
    }
    assert_eq!(sum, ops * (ops + 1) / 2);
});

workload!(rendezvous_1, ops, cx, scope, {
    let (sender, receiver) = rendezvous::channel::<u64>();
    scope.spawn(async move |cx: Cx| {
        for n in 0..ops {
            sender.send(&cx, n).await.expect("the receiver waits");
        }
        End::Ok(())
    });
    let mut count = 0;
    while receiver.recv(cx).await.is_ok() {
        count += 1;
    }
    assert_eq!(count, ops);
});

workload!(oneshot_alone, ops, cx, _scope, {
    let mut sum = 0;
    for n in 0..ops {
        let (sender, mut receiver) = oneshot::channel::<u64>();
        sender.send(n).expect("the receiver is there");
        sum += receiver.recv(cx).await.expect("it was sent");
    }
    assert_eq!(sum, ops * (ops - 1) / 2);
});

workload!(broadcast_8, ops, cx, scope, {
    let messages = ops / TASKS;
    let (sender, _) = broadcast::channel::<u64>(CAPACITY);
    let tasks = (0..TASKS)
        .map(|_| {
            let mut receiver = sender.subscribe();
            scope.spawn(async move |cx: Cx| {
                let mut seen = 0;
                loop {
                    match receiver.recv(&cx).await {
                        Ok(_) => seen += 1,
                        Err(broadcast::RecvError::Lagged { missed }) => seen += missed,
                        Err(_) => return End::Ok(seen),
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
                cx.yield_now().await?;
            }
        }
    }
    drop(sender);
    assert_eq!(join_all(scope, tasks).await, messages * TASKS);
});

workload!(watch_8, ops, cx, scope, {
    let (sender, receiver) = watch::channel(0_u64);
    let tasks = (0..TASKS)
        .map(|_| {
            let mut receiver = receiver.clone();
            scope.spawn(async move |cx: Cx| {
                while receiver.changed(&cx).await.is_ok() {
                    if *receiver.borrow_and_update() == ops {
                        return End::Ok(1);
                    }
                }
                End::Ok(0)
            })
        })
        .collect();
    drop(receiver);
    for n in 1..=ops {
        sender.send(n).expect("the receivers wait");
        cx.yield_now().await?;
    }
    assert_eq!(join_all(scope, tasks).await, TASKS);
});

workload!(notify_ping_pong, ops, cx, scope, {
    let pair = Arc::new((Notify::new(), Notify::new()));
    let partner = Arc::clone(&pair);
    let task = scope.spawn(async move |cx: Cx| {
        for _ in 0..ops {
            partner.0.notified(&cx).await?;
            partner.1.notify_one();
        }
        End::Ok(())
    });
    for _ in 0..ops {
        pair.0.notify_one();
        pair.1.notified(cx).await?;
    }
    joined(scope, task).await;
});

workload!(mutex_alone, ops, cx, _scope, {
    let mutex = Mutex::new(0_u64);
    for _ in 0..ops {
        *mutex.lock(cx).await.expect("nobody panics") += 1;
    }
    assert_eq!(mutex.into_inner(), ops);
});

contended!(
    mutex_8,
    Mutex::new(0_u64),
    async |cx: Cx, shared: Arc<Mutex<u64>>, ops: u64| {
        for _ in 0..ops / TASKS {
            *shared.lock(&cx).await.expect("nobody panics") += 1;
        }
        0
    },
    async |cx: &Cx, shared: &Mutex<u64>, _: u64, ops: u64| {
        assert_eq!(*shared.lock(cx).await.expect("nobody panics"), ops);
    }
);

contended!(
    mutex_yield,
    Mutex::new(0_u64),
    async |cx: Cx, shared: Arc<Mutex<u64>>, ops: u64| {
        for _ in 0..ops / TASKS {
            let mut guard = shared.lock(&cx).await.expect("nobody panics");
            cx.yield_now().await.expect("nothing is cancelled");
            *guard += 1;
        }
        0
    },
    async |cx: &Cx, shared: &Mutex<u64>, _: u64, ops: u64| {
        assert_eq!(*shared.lock(cx).await.expect("nobody panics"), ops);
    }
);

workload!(rwlock_read_alone, ops, cx, _scope, {
    let lock = RwLock::new(1_u64);
    let mut sum = 0;
    for _ in 0..ops {
        sum += *lock.read(cx).await.expect("nobody panics");
    }
    assert_eq!(sum, ops);
});

workload!(rwlock_write_alone, ops, cx, _scope, {
    let lock = RwLock::new(0_u64);
    for _ in 0..ops {
        *lock.write(cx).await.expect("nobody panics") += 1;
    }
    assert_eq!(lock.into_inner(), ops);
});

contended!(
    rwlock_8,
    RwLock::new(0_u64),
    async |cx: Cx, shared: Arc<RwLock<u64>>, ops: u64| {
        let mut seen = 0;
        for n in 0..ops / TASKS {
            if n % 10 == 0 {
                *shared.write(&cx).await.expect("nobody panics") += 1;
            } else {
                seen += u64::from(*shared.read(&cx).await.expect("nobody panics") > 0);
            }
        }
        seen
    },
    async |cx: &Cx, shared: &RwLock<u64>, reads: u64, ops: u64| {
        assert_eq!(reads + *shared.read(cx).await.expect("nobody panics"), ops);
    }
);

workload!(semaphore_alone, ops, cx, _scope, {
    let semaphore = Semaphore::new(1);
    for _ in 0..ops {
        drop(semaphore.acquire(cx).await.expect("it is open"));
    }
    assert_eq!(semaphore.available_permits(), 1);
});

contended!(
    semaphore_8,
    Semaphore::new(PERMITS as u64),
    async |cx: Cx, shared: Arc<Semaphore>, ops: u64| {
        for _ in 0..ops / TASKS {
            drop(shared.acquire(&cx).await.expect("it is open"));
        }
        0
    },
    async |_: &Cx, shared: &Semaphore, _: u64, _: u64| {
        assert_eq!(shared.available_permits(), PERMITS as u64);
    }
);

contended!(
    semaphore_yield,
    Semaphore::new(PERMITS as u64),
    async |cx: Cx, shared: Arc<Semaphore>, ops: u64| {
        for _ in 0..ops / TASKS {
            let permit = shared.acquire(&cx).await.expect("it is open");
            cx.yield_now().await.expect("nothing is cancelled");
            drop(permit);
        }
        0
    },
    async |_: &Cx, shared: &Semaphore, _: u64, _: u64| {
        assert_eq!(shared.available_permits(), PERMITS as u64);
    }
);

contended!(
    barrier_8,
    Barrier::new(TASKS as usize),
    async |cx: Cx, shared: Arc<Barrier>, ops: u64| {
        let mut led = 0;
        for _ in 0..ops {
            let end = shared.wait(&cx).await.expect("nothing is cancelled");
            led += u64::from(end.is_leader());
        }
        led
    },
    async |_: &Cx, _: &Barrier, led: u64, ops: u64| assert_eq!(led, ops)
);

workload!(once_cell, ops, cx, _scope, {
    let cell = OnceCell::new();
    let mut sum = 0;
    for _ in 0..ops {
        sum += *cell.get_or_init(cx, async || 1_u64).await?;
    }
    assert_eq!(sum, ops);
});
