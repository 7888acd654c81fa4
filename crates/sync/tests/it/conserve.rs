//! Nothing is lost and nothing is doubled, wherever waits are dropped or cancelled.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_kernel::Cx;
use asupersync_sync::{Mutex, Notify, Semaphore, mpsc};

use crate::support::{End, drop_after, settle, under_seeds, within};

const SENDERS: u64 = 4;
const EACH: u64 = 12;
/// Dropped at every await point: after one poll, two, and so on.
const POLLS: u64 = 5;

/// Sends with waits that are cut short; gives what was sent for sure.
async fn send_some(cx: Cx, tx: mpsc::Sender<Arc<u64>>, number: u64) -> Vec<u64> {
    let mut sent = Vec::new();
    for n in 0..EACH {
        let id = number * EACH + n;
        let polls = cx.random_u64() % POLLS;
        let value = Arc::new(id);
        if cx.random_u64() % 2 == 0 {
            if let Some(Ok(())) = drop_after(&cx, tx.send(&cx, value), polls).await {
                sent.push(id);
            }
        } else if let Some(Ok(permit)) = drop_after(&cx, tx.reserve(&cx), polls).await {
            if cx.random_u64() % 3 == 0 {
                permit.abort();
            } else if permit.send(value).is_ok() {
                sent.push(id);
            }
        }
        let _ = cx.yield_now().await;
    }
    sent
}

#[test]
fn messages_in_are_messages_out_wherever_waits_are_dropped() {
    for capacity in [1, 2, 7] {
        under_seeds(60, move |cx| async move {
            within(&cx, async |scope| {
                let cx = scope.cx();
                let (tx, mut rx) = mpsc::channel(capacity);
                let senders: Vec<_> = (0..SENDERS)
                    .map(|number| {
                        let tx = tx.clone();
                        scope.spawn(async move |cx: Cx| End::Ok(send_some(cx, tx, number).await))
                    })
                    .collect();
                let weak = tx.downgrade();
                drop(tx);
                let mut received = Vec::new();
                loop {
                    let polls = 1 + cx.random_u64() % POLLS;
                    match drop_after(cx, rx.recv(cx), polls).await {
                        Some(Ok(value)) => received.push(*value),
                        Some(Err(error)) => {
                            assert_eq!(error, mpsc::RecvError::Closed);
                            break;
                        }
                        None => {
                            let mut batch = Vec::new();
                            let many = rx.recv_many(cx, &mut batch, 3);
                            let count = drop_after(cx, many, 1).await;
                            assert_eq!(batch.len(), count.map_or(0, |count| count.unwrap_or(0)));
                            received.extend(batch.iter().map(|value| **value));
                        }
                    }
                }
                assert!(weak.upgrade().is_none());
                let mut sent = Vec::new();
                for sender in senders {
                    let ids = sender.join(cx).await.ok().unwrap();
                    let own: Vec<u64> = received
                        .iter()
                        .copied()
                        .filter(|id| ids.first().is_some_and(|first| first / EACH == id / EACH))
                        .collect();
                    assert_eq!(own, ids, "messages of one sender arrive in order");
                    sent.extend(ids);
                }
                assert_eq!(received.len(), sent.len());
                let received: BTreeSet<u64> = received.into_iter().collect();
                assert_eq!(received, sent.into_iter().collect());
                assert_eq!(
                    (rx.len(), rx.capacity()),
                    (0, capacity),
                    "every slot is free again"
                );
            })
            .await;
        });
    }
}

#[test]
fn messages_are_dropped_with_the_receiver_or_handed_back() {
    under_seeds(60, async |cx| {
        let alive = Arc::new(());
        within(&cx, async |scope| {
            let (tx, mut rx) = mpsc::channel(2);
            for _ in 0..SENDERS {
                let (tx, alive) = (tx.clone(), Arc::clone(&alive));
                scope.spawn(async move |cx: Cx| {
                    while tx.send(&cx, Arc::clone(&alive)).await.is_ok() {}
                    assert!(tx.is_closed());
                    End::Ok(())
                });
            }
            for _ in 0..scope.cx().random_u64() % 9 {
                rx.recv(scope.cx()).await.unwrap();
            }
            drop(rx);
            tx.closed(scope.cx()).await.unwrap();
            settle(scope.cx()).await;
            // A sender handle is left, and yet no message.
            assert_eq!(Arc::strong_count(&alive), 1);
            drop(tx);
        })
        .await;
    });
}

#[test]
fn permits_in_are_permits_out_wherever_waits_are_dropped() {
    const PERMITS: u64 = 3;
    under_seeds(100, async |cx| {
        let semaphore = Arc::new(Semaphore::new(PERMITS));
        let held = Arc::new(AtomicU64::new(0));
        within(&cx, async |scope| {
            for _ in 0..6 {
                let (semaphore, held) = (Arc::clone(&semaphore), Arc::clone(&held));
                scope.spawn(async move |cx: Cx| {
                    for _ in 0..EACH {
                        let need = 1 + (cx.random_u64() % PERMITS) as u32;
                        let polls = cx.random_u64() % POLLS;
                        let acquire = semaphore.acquire_many(&cx, need);
                        let Some(permit) = drop_after(&cx, acquire, polls).await else {
                            continue;
                        };
                        let now = held.fetch_add(u64::from(need), Ordering::SeqCst);
                        assert!(now + u64::from(need) <= PERMITS);
                        let _ = cx.yield_now().await;
                        held.fetch_sub(u64::from(need), Ordering::SeqCst);
                        drop(permit);
                    }
                    End::Ok(())
                });
            }
        })
        .await;
        assert_eq!(semaphore.available_permits(), PERMITS);
        let all = semaphore.try_acquire_many(&cx, PERMITS as u32);
        assert!(all.is_ok(), "nobody is in line");
    });
}

#[test]
fn the_lock_excludes_and_is_free_at_the_end_wherever_waits_are_dropped() {
    under_seeds(100, async |cx| {
        let mutex = Arc::new(Mutex::new(0_u64));
        let added = within(&cx, async |scope| {
            let tasks: Vec<_> = (0..6)
                .map(|_| {
                    let mutex = Arc::clone(&mutex);
                    scope.spawn(async move |cx: Cx| {
                        let mut added = 0;
                        for _ in 0..EACH {
                            let polls = cx.random_u64() % POLLS;
                            let Some(guard) = drop_after(&cx, mutex.lock(&cx), polls).await else {
                                continue;
                            };
                            let mut guard = guard.unwrap();
                            let before = *guard;
                            let _ = cx.yield_now().await;
                            *guard = before + 1;
                            added += 1;
                        }
                        End::Ok(added)
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.join(scope.cx()).await.ok().unwrap();
            }
            sum
        })
        .await;
        assert_eq!(*mutex.try_lock().unwrap(), added);
    });
}

#[test]
fn every_notification_is_used_or_stored_wherever_waits_are_dropped() {
    under_seeds(100, async |cx| {
        let notify = Arc::new(Notify::new());
        within(&cx, async |scope| {
            let cx = scope.cx();
            let stayer = {
                let notify = Arc::clone(&notify);
                scope.spawn(async move |cx: Cx| End::Ok(notify.notified(&cx).await.is_ok()))
            };
            let leavers: Vec<_> = (0..3)
                .map(|_| {
                    let notify = Arc::clone(&notify);
                    scope.spawn(async move |cx: Cx| {
                        let polls = 1 + cx.random_u64() % POLLS;
                        let used = drop_after(&cx, notify.notified(&cx), polls).await;
                        End::Ok(u64::from(used.is_some()))
                    })
                })
                .collect();
            for _ in 0..cx.random_u64() % 8 {
                let _ = cx.yield_now().await;
            }
            // Were one of them lost with a leaver, the stayer would wait for ever and the lab report a stall.
            for leaver in leavers {
                notify.notify_one();
                leaver.join(cx).await.ok().unwrap();
            }
            notify.notify_one();
            assert!(stayer.join(cx).await.ok().unwrap());
        })
        .await;
    });
}
