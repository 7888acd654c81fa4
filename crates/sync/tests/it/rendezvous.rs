//! The contract of hand-over without a buffer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use asupersync_core::LeakResponse;
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_sync::rendezvous::{
    self, RecvError, ReserveError, SendFailure, TryRecvError, TrySendError,
};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, drop_after, settle, under_seeds, within};

#[test]
fn a_send_completes_when_the_value_is_taken_and_not_before() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut send = Box::pin(tx.send(&cx, 1));
        assert!(poll!(&mut send).is_pending());
        let mut recv = Box::pin(rx.recv(&cx));
        assert_eq!(poll!(&mut recv), std::task::Poll::Ready(Ok(1)));
        assert_eq!(poll!(&mut send), std::task::Poll::Ready(Ok(())));
        // The other way round: the receiver is first.
        let mut recv = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut recv).is_pending());
        let mut send = Box::pin(tx.send(&cx, 2));
        assert!(poll!(&mut send).is_pending());
        assert!(poll!(&mut send).is_pending());
        assert_eq!(poll!(&mut recv), std::task::Poll::Ready(Ok(2)));
        assert!(poll!(&mut send).is_ready());
    });
}

#[test]
fn both_sides_are_served_first_come_first_served() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut sends: Vec<_> = (0..4).map(|n| Box::pin(tx.send(&cx, n))).collect();
        for send in &mut sends {
            assert!(poll!(send).is_pending());
        }
        drop(sends.remove(1));
        for n in [0, 2, 3] {
            assert_eq!(rx.try_recv(), Ok(n));
        }
        assert_eq!(rx.try_recv(), Err(TryRecvError::NoSender));
        for send in sends {
            assert_eq!(send.await, Ok(()));
        }
        let mut recvs: Vec<_> = (0..4).map(|_| Box::pin(rx.recv(&cx))).collect();
        for recv in &mut recvs {
            assert!(poll!(recv).is_pending());
        }
        drop(recvs.remove(1));
        for n in 0..3 {
            tx.try_send(n).unwrap();
        }
        assert_eq!(tx.try_send(9), Err(TrySendError::NoReceiver(9)));
        for (n, recv) in recvs.into_iter().enumerate() {
            assert_eq!(recv.await, Ok(n));
        }
    });
}

#[test]
fn a_newcomer_takes_nothing_from_the_first_in_line() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut first = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut first).is_pending());
        let mut send = Box::pin(tx.send(&cx, 1));
        assert!(poll!(&mut send).is_pending());
        let mut second = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut second).is_pending());
        assert_eq!(rx.try_recv(), Err(TryRecvError::NoSender));
        drop(first);
        assert!(poll!(&mut second).is_ready());
        assert_eq!(send.await, Ok(()));
    });
}

#[test]
fn a_permit_binds_a_receiver_and_gives_it_its_value_or_lets_it_go_in_its_place() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut reserve = Box::pin(tx.reserve(&cx));
        assert!(poll!(&mut reserve).is_pending());
        let mut first = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut first).is_pending());
        let permit = reserve.await.unwrap();
        let mut second = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut second).is_pending());
        permit.abort();
        tx.try_send(1).unwrap();
        assert_eq!(first.await, Ok(1));
        let permit = tx.reserve(&cx).await.unwrap();
        assert!(poll!(&mut second).is_pending());
        permit.send(2).unwrap();
        assert_eq!(second.await, Ok(2));
    });
}

#[test]
fn a_permit_whose_receiver_left_hands_the_value_back() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut recv = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut recv).is_pending());
        let permit = tx.reserve(&cx).await.unwrap();
        drop(recv);
        let error = permit.send(5).unwrap_err();
        assert_eq!((error.value, error.failure), (5, SendFailure::ReceiverLeft));
    });
}

#[test]
fn a_value_whose_receiver_left_after_it_was_sent_goes_to_the_next() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut first = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut first).is_pending());
        tx.reserve(&cx).await.unwrap().send(1).unwrap();
        let mut send = Box::pin(tx.send(&cx, 2));
        assert!(poll!(&mut send).is_pending());
        let mut second = Box::pin(rx.recv(&cx));
        drop(first);
        assert_eq!(rx.len(), 2);
        assert_eq!(poll!(&mut second), std::task::Poll::Ready(Ok(1)));
        assert_eq!(rx.recv(&cx).await, Ok(2));
        assert!(send.await.is_ok());
        // With the last receiver it is dropped.
        let value = Arc::new(());
        let (tx, rx) = rendezvous::channel();
        let mut recv = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut recv).is_pending());
        tx.try_send(Arc::clone(&value)).unwrap();
        drop(recv);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(rx);
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn close_hands_values_back_and_lets_bound_receivers_finish() {
    under_seeds(1, async |cx| {
        let (tx, rx) = rendezvous::channel();
        let mut bound = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut bound).is_pending());
        let permit = tx.reserve(&cx).await.unwrap();
        let mut send = Box::pin(tx.send(&cx, 7));
        let mut reserve = Box::pin(tx.reserve(&cx));
        assert!(poll!(&mut send).is_pending());
        assert!(poll!(&mut reserve).is_pending());
        rx.close();
        let error = send.await.unwrap_err();
        assert_eq!((error.value, error.failure), (7, SendFailure::Closed));
        assert_eq!(reserve.await.map(drop), Err(ReserveError::Closed));
        assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
        assert_eq!(tx.try_send(8), Err(TrySendError::Closed(8)));
        assert!(poll!(&mut bound).is_pending());
        permit.send(1).unwrap();
        assert_eq!(bound.await, Ok(1));
        assert!(tx.closed(&cx).now_or_never().is_some());
        // A bound receiver whose permit is dropped sees the end.
        let (tx, rx) = rendezvous::channel::<u32>();
        let mut bound = Box::pin(rx.recv(&cx));
        assert!(poll!(&mut bound).is_pending());
        let permit = tx.reserve(&cx).await.unwrap();
        rx.close();
        permit.abort();
        assert_eq!(bound.await, Err(RecvError::Closed));
    });
}

#[test]
fn receivers_end_with_the_last_sender() {
    under_seeds(10, async |cx| {
        within(&cx, async |scope| {
            let (tx, rx) = rendezvous::channel::<u32>();
            let weak = tx.downgrade();
            let waits: Vec<_> = (0..3)
                .map(|_| rx.clone())
                .map(|rx| scope.spawn(async move |cx: Cx| End::Ok(rx.recv(&cx).await)))
                .collect();
            settle(scope.cx()).await;
            drop(tx);
            for wait in waits {
                let end = wait.join(scope.cx()).await.ok().unwrap();
                assert_eq!(end, Err(RecvError::Closed));
            }
            assert!(weak.upgrade().is_none());
        })
        .await;
    });
}

#[test]
fn a_forgotten_permit_lets_its_receiver_go_if_leaks_are_recovered() {
    let config = LabConfig::default().obligation_leak_response(LeakResponse::Recover);
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let (tx, rx) = rendezvous::channel();
        within(&cx, async |scope| {
            let recv = scope.spawn(async move |cx: Cx| End::Ok(rx.recv(&cx).await));
            settle(scope.cx()).await;
            let forgets = {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| {
                    std::mem::forget(tx.reserve(&cx).await.unwrap());
                    End::Ok(())
                })
            };
            forgets.join(scope.cx()).await.ok().unwrap();
            tx.send(scope.cx(), 3).await.unwrap();
            assert_eq!(recv.join(scope.cx()).await.ok().unwrap(), Ok(3));
        })
        .await;
        End::Ok(())
    });
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}

#[test]
fn who_leaves_wakes_the_next_in_line() {
    under_seeds(20, async |cx| {
        within(&cx, async |scope| {
            let cx = scope.cx();
            let (tx, rx) = rendezvous::channel();
            let second = |rx: rendezvous::Receiver<u32>| {
                scope.spawn(async move |cx: Cx| End::Ok(rx.recv(&cx).await))
            };
            // A receiver that was woken for a value leaves.
            let mut first = Box::pin(rx.recv(cx));
            assert!(poll!(&mut first).is_pending());
            let parked = second(rx.clone());
            settle(cx).await;
            let mut send = Box::pin(tx.send(cx, 1));
            assert!(poll!(&mut send).is_pending());
            drop(first);
            assert_eq!(parked.join(cx).await.ok().unwrap(), Ok(1));
            assert!(send.await.is_ok());
            // A permit is dropped, and a send stands behind it.
            let parked = second(rx.clone());
            settle(cx).await;
            let permit = tx.reserve(cx).await.unwrap();
            let mut send = Box::pin(tx.send(cx, 2));
            assert!(poll!(&mut send).is_pending());
            settle(cx).await;
            assert!(!parked.is_finished(), "it is bound");
            drop(permit);
            assert_eq!(parked.join(cx).await.ok().unwrap(), Ok(2));
            assert!(send.await.is_ok());
        })
        .await;
    });
}

#[test]
fn values_in_are_values_out_wherever_waits_are_dropped() {
    const EACH: u64 = 10;
    under_seeds(150, async |cx| {
        within(&cx, async |scope| {
            let (tx, rx) = rendezvous::channel::<u64>();
            let senders: Vec<_> = (0..3_u64)
                .map(|number| (number, tx.clone()))
                .map(|(number, tx)| {
                    scope.spawn(async move |cx: Cx| {
                        let mut sent = BTreeSet::new();
                        // Dropped while in flight: the value may have been taken.
                        let mut unknown = BTreeSet::new();
                        for n in 0..EACH {
                            let id = number * EACH + n;
                            let polls = 1 + cx.random_u64() % 6;
                            match cx.random_u64() % 4 {
                                0 => {
                                    let permit = drop_after(&cx, tx.reserve(&cx), polls).await;
                                    let Some(Ok(permit)) = permit else { continue };
                                    let _ = cx.yield_now().await;
                                    if cx.random_u64() % 3 == 0 {
                                        drop(permit);
                                    } else if permit.send(id).is_ok() {
                                        sent.insert(id);
                                    }
                                }
                                1 => {
                                    if tx.try_send(id).is_ok() {
                                        sent.insert(id);
                                    }
                                }
                                _ => match drop_after(&cx, tx.send(&cx, id), polls).await {
                                    Some(Ok(())) => drop(sent.insert(id)),
                                    Some(Err(error)) => panic!("{error}"),
                                    None => drop(unknown.insert(id)),
                                },
                            }
                        }
                        End::Ok((sent, unknown))
                    })
                })
                .collect();
            drop(tx);
            let receivers: Vec<_> = (0..3)
                .map(|_| rx.clone())
                .map(|rx| {
                    scope.spawn(async move |cx: Cx| {
                        let mut received = Vec::new();
                        loop {
                            let polls = 1 + cx.random_u64() % 6;
                            match drop_after(&cx, rx.recv(&cx), polls).await {
                                None => {}
                                Some(Ok(id)) => received.push(id),
                                Some(Err(error)) => {
                                    assert_eq!(error, RecvError::Closed);
                                    return End::Ok(received);
                                }
                            }
                        }
                    })
                })
                .collect();
            drop(rx);
            let (mut sent, mut unknown) = (BTreeSet::new(), BTreeSet::new());
            for sender in senders {
                let (own, maybe) = sender.join(scope.cx()).await.ok().unwrap();
                sent.extend(own);
                unknown.extend(maybe);
            }
            let mut received = BTreeSet::new();
            for receiver in receivers {
                for id in receiver.join(scope.cx()).await.ok().unwrap() {
                    assert!(received.insert(id), "{id} arrived twice");
                }
            }
            assert!(received.is_superset(&sent), "what was sent has arrived");
            let either: BTreeSet<_> = sent.union(&unknown).copied().collect();
            assert!(received.is_subset(&either), "nothing else has arrived");
        })
        .await;
    });
}

#[test]
fn foreign_threads_hand_over_everything() {
    const EACH: u64 = 3000;
    let (tx, rx) = rendezvous::channel();
    let sum: u64 = thread::scope(|scope| {
        for _ in 0..3 {
            let tx = tx.clone();
            scope.spawn(move || (0..EACH).for_each(|n| tx.blocking_send(n).unwrap()));
        }
        drop(tx);
        let receivers: Vec<_> = (0..2)
            .map(|_| rx.clone())
            .map(|rx| {
                scope.spawn(move || {
                    let mut sum = 0;
                    while let Ok(n) = rx.blocking_recv() {
                        sum += n;
                    }
                    sum
                })
            })
            .collect();
        receivers.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(sum, 3 * EACH * (EACH - 1) / 2);
}
