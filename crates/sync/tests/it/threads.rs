//! Threads outside the runtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use asupersync_sync::{Mutex, mpsc, oneshot};

#[test]
fn foreign_threads_send_and_receive_everything_in_order() {
    const EACH: u64 = 20_000;
    for capacity in [1, 2, 61] {
        let (tx, mut rx) = mpsc::channel(capacity);
        thread::scope(|scope| {
            for sender in 0..4 {
                let tx = tx.clone();
                scope.spawn(move || (0..EACH).for_each(|n| tx.blocking_send((sender, n)).unwrap()));
            }
            drop(tx);
            let mut next = BTreeMap::new();
            while let Ok((sender, n)) = rx.blocking_recv() {
                let expected = next.entry(sender).or_insert(0);
                assert_eq!(n, *expected);
                *expected += 1;
            }
            assert_eq!(next.values().sum::<u64>(), 4 * EACH);
        });
    }
}

#[test]
fn foreign_threads_exclude_each_other() {
    const EACH: u64 = 20_000;
    let mutex = Mutex::new(0_u64);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..EACH).for_each(|_| *mutex.blocking_lock().unwrap() += 1));
        }
    });
    assert_eq!(mutex.into_inner(), 4 * EACH);
}

#[test]
fn a_foreign_thread_waits_for_one_value() {
    for _ in 0..200 {
        let (tx, mut rx) = oneshot::channel();
        thread::scope(|scope| {
            scope.spawn(move || tx.send(5).unwrap());
            assert_eq!(rx.blocking_recv(), Ok(5));
        });
    }
}

#[test]
fn values_are_dropped_once_when_the_receiver_goes_in_full_flight() {
    for _ in 0..200 {
        let alive = Arc::new(());
        let (tx, mut rx) = mpsc::channel(8);
        thread::scope(|scope| {
            for _ in 0..2 {
                let (tx, alive) = (tx.clone(), Arc::clone(&alive));
                scope.spawn(move || while tx.blocking_send(Arc::clone(&alive)).is_ok() {});
            }
            for _ in 0..20 {
                rx.blocking_recv().unwrap();
            }
            drop(rx);
        });
        drop(tx);
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
