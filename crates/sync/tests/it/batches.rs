//! Several slots at once, and several messages by one call.

use std::collections::VecDeque;

use asupersync_core::{LeakResponse, ObligationKind};
use asupersync_kernel::{Cx, Report};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_sync::mpsc::{self, ReserveError, SendFailure, TrySendError};
use futures_util::future::FutureExt;
use futures_util::poll;

use crate::support::{End, drop_after, under_seeds, within};

#[test]
fn who_waits_for_many_slots_is_not_overtaken_and_leaves_room_when_it_goes() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(4);
        (0..3).for_each(|n| tx.try_send(n).unwrap());
        let mut many = Box::pin(tx.reserve_many(&cx, 3));
        let mut one = Box::pin(tx.send(&cx, 9));
        assert!(poll!(&mut many).is_pending());
        assert!(
            poll!(&mut one).is_pending(),
            "there is a slot, and somebody before it"
        );
        assert_eq!(tx.try_send(8), Err(TrySendError::Full(8)));
        assert_eq!(rx.try_recv(), Ok(0));
        assert!(poll!(&mut many).is_pending());
        // What was too little for the first is enough for the second.
        drop(many);
        assert!(poll!(&mut one).is_ready());
        assert_eq!((tx.capacity(), tx.len()), (1, 3));
        let mut many = Box::pin(tx.reserve_many(&cx, 4));
        assert!(poll!(&mut many).is_pending());
        let mut all = Vec::new();
        assert_eq!(rx.recv_many(&cx, &mut all, 9).await, Ok(3));
        let permits = many.await.unwrap();
        assert_eq!((permits.len(), tx.capacity()), (4, 0));
        permits.abort();
        assert_eq!(tx.capacity(), 4);
    });
}

#[test]
fn more_slots_than_there_are_is_an_error_and_none_is_no_wait() {
    under_seeds(1, async |cx| {
        let (tx, rx) = mpsc::channel::<u32>(2);
        let error = tx.reserve_many(&cx, 3).await.map(drop).unwrap_err();
        assert_eq!(
            error,
            ReserveError::TooMany {
                count: 3,
                capacity: 2
            }
        );
        let error = tx
            .reserve_many(&cx, usize::MAX)
            .await
            .map(drop)
            .unwrap_err();
        assert_eq!(
            error,
            ReserveError::TooMany {
                count: usize::MAX,
                capacity: 2
            }
        );
        assert_eq!(tx.reserve_many(&cx, 0).await.unwrap().len(), 0);
        drop(rx);
        let end = tx.reserve_many(&cx, 1).await.map(drop);
        assert_eq!(end, Err(ReserveError::Closed));
    });
}

#[test]
fn a_batch_that_meets_the_end_keeps_what_it_has_not_sent() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = mpsc::channel(2);
        let mut values: VecDeque<u32> = (0..5).collect();
        {
            let mut send = Box::pin(tx.send_all(&cx, &mut values));
            assert!(poll!(&mut send).is_pending());
            rx.close();
            assert_eq!(send.await, Err(SendFailure::Closed));
        }
        assert_eq!(values, [2, 3, 4]);
        assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(0), Ok(1)));
        assert!(rx.recv(&cx).now_or_never().unwrap().is_err());
    });
}

#[test]
fn each_slot_of_a_batch_is_an_obligation() {
    let config = LabConfig::default().obligation_leak_response(LeakResponse::Recover);
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let (tx, rx) = mpsc::channel::<u32>(4);
        within(&cx, async |scope| {
            let forgets = scope.spawn(async move |cx: Cx| {
                let mut permits = tx.reserve_many(&cx, 4).await.unwrap();
                permits.next().unwrap().send(1).unwrap();
                std::mem::forget(permits);
                End::Ok(())
            });
            forgets.join(scope.cx()).await.ok().unwrap();
            assert_eq!((rx.len(), rx.capacity()), (1, 3));
        })
        .await;
        End::Ok(())
    });
    let [Report::ObligationLeaked { owed, count: 3, .. }] = &report.reports[..] else {
        panic!("{:?}", report.reports);
    };
    assert!(
        owed.iter()
            .all(|owed| owed.kind == ObligationKind::SendPermit)
    );
}

#[test]
fn slots_in_are_slots_out_wherever_batches_are_dropped() {
    const CAPACITY: usize = 5;
    under_seeds(100, async |cx| {
        within(&cx, async |scope| {
            let (tx, mut rx) = mpsc::channel(CAPACITY);
            let senders: Vec<_> = (0..4)
                .map(|_| tx.clone())
                .map(|tx| {
                    scope.spawn(async move |cx: Cx| {
                        let mut sent = 0_u64;
                        for _ in 0..8 {
                            let polls = cx.random_u64() % 5;
                            let count = (cx.random_u64() % (CAPACITY as u64 + 1)) as usize;
                            if cx.random_u64() % 2 == 0 {
                                let many = tx.reserve_many(&cx, count);
                                let Some(Ok(permits)) = drop_after(&cx, many, polls).await else {
                                    continue;
                                };
                                for permit in permits {
                                    if cx.random_u64() % 4 == 0 {
                                        break;
                                    }
                                    permit.send(()).unwrap();
                                    sent += 1;
                                }
                            } else {
                                let mut values = VecDeque::from(vec![(); count]);
                                let all = tx.send_all(&cx, &mut values);
                                let _ = drop_after(&cx, all, polls).await;
                                sent += (count - values.len()) as u64;
                            }
                        }
                        End::Ok(sent)
                    })
                })
                .collect();
            drop(tx);
            let mut received = 0;
            while rx.recv(scope.cx()).await.is_ok() {
                received += 1;
            }
            let mut sent = 0;
            for sender in senders {
                sent += sender.join(scope.cx()).await.ok().unwrap();
            }
            assert_eq!((received, rx.capacity()), (sent, CAPACITY));
        })
        .await;
    });
}
