//! The contract of broadcast channels.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use asupersync_kernel::Cx;
use asupersync_sync::broadcast::{self, RecvError, SendFailure, TryRecvError};
use futures_util::future::FutureExt;
use proptest::prelude::*;

use crate::support::{End, drop_after, settle, under_seeds, within};

#[test]
fn a_lag_is_reported_with_its_exact_count_and_the_oldest_kept_comes_next() {
    under_seeds(1, async |cx| {
        let (tx, mut rx) = broadcast::channel(3);
        (0..10).for_each(|n| assert_eq!(tx.send(n), Ok(1)));
        assert_eq!((rx.len(), tx.len(), tx.capacity()), (3, 3, 3));
        assert_eq!(rx.recv(&cx).await, Err(RecvError::Lagged { missed: 7 }));
        assert_eq!(rx.recv(&cx).await, Ok(7));
        // What was taken out of the ring together with 7 is overwritten all the same.
        (10..13).for_each(|n| assert_eq!(tx.send(n), Ok(1)));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Lagged { missed: 2 }));
        let mut rest = Vec::new();
        assert_eq!(rx.recv_many(&cx, &mut rest, 9).await, Ok(3));
        assert_eq!(rest, [10, 11, 12]);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    });
}

#[test]
fn a_message_without_receivers_is_handed_back_and_a_subscriber_sees_what_comes_after() {
    let (tx, rx) = broadcast::channel(2);
    drop(rx);
    let error = tx.send(1).unwrap_err();
    assert_eq!((error.value, error.failure), (1, SendFailure::NoReceivers));
    let mut late = tx.subscribe();
    assert_eq!(tx.send(2), Ok(1));
    let mut later = late.resubscribe();
    assert_eq!(tx.send(3), Ok(2));
    assert_eq!((late.try_recv(), late.try_recv()), (Ok(2), Ok(3)));
    assert_eq!(later.try_recv(), Ok(3));
}

#[test]
fn messages_are_kept_no_longer_than_their_block_and_the_receivers_that_want_it() {
    const BLOCK: usize = 32;
    let value = Arc::new(());
    let (tx, mut slow) = broadcast::channel(4 * BLOCK);
    let mut fast = tx.subscribe();
    let kept = || Arc::strong_count(&value) - 1;
    for _ in 0..2 * BLOCK {
        assert_eq!(tx.send(Arc::clone(&value)), Ok(2));
    }
    (0..2 * BLOCK).for_each(|_| drop(fast.try_recv().unwrap()));
    assert_eq!(
        (kept(), tx.len()),
        (2 * BLOCK, 2 * BLOCK),
        "one still wants them"
    );
    (0..=BLOCK).for_each(|_| drop(slow.try_recv().unwrap()));
    assert_eq!(
        (kept(), tx.len()),
        (BLOCK, BLOCK - 1),
        "both are past the first block"
    );
    drop(slow);
    assert_eq!((kept(), tx.len()), (BLOCK, 0), "one is in the second");
    drop(fast);
    assert_eq!(kept(), 0);
}

#[test]
fn what_a_slow_receiver_keeps_is_bounded() {
    let value = Arc::new(());
    let (tx, mut slow) = broadcast::channel(4);
    tx.send(Arc::clone(&value)).unwrap();
    drop(slow.try_recv().unwrap());
    for _ in 0..1000 {
        tx.send(Arc::clone(&value)).unwrap();
    }
    let kept = Arc::strong_count(&value) - 1;
    assert!(kept <= 3 * 4, "its own block, and the window's: {kept}");
    assert!(matches!(
        slow.try_recv(),
        Err(TryRecvError::Lagged { missed: 996 })
    ));
}

#[test]
fn close_and_the_last_senders_end_let_receivers_finish() {
    under_seeds(1, async |cx| {
        for closes in [true, false] {
            let (tx, mut rx) = broadcast::channel(4);
            let weak = tx.downgrade();
            tx.send(1).unwrap();
            if closes {
                tx.close();
                assert_eq!(tx.send(2).unwrap_err().failure, SendFailure::Closed);
                assert!(tx.closed(&cx).now_or_never().is_some());
                assert_eq!(tx.subscribe().try_recv(), Err(TryRecvError::Closed));
            }
            drop(tx);
            assert!(weak.upgrade().is_none());
            assert!(rx.is_closed());
            assert_eq!(rx.recv(&cx).await, Ok(1));
            assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
            assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        }
    });
}

#[test]
fn closed_waits_for_the_last_receiver() {
    under_seeds(20, async |cx| {
        within(&cx, async |scope| {
            let (tx, rx) = broadcast::channel::<u32>(1);
            let other = tx.subscribe();
            let waits = scope.spawn(async move |cx: Cx| End::Ok(tx.closed(&cx).await.is_ok()));
            drop(rx);
            settle(scope.cx()).await;
            assert!(!waits.is_finished());
            drop(other);
            assert!(waits.join(scope.cx()).await.ok().unwrap());
        })
        .await;
    });
}

/// Every receiver has, in order, each message or its count as missed.
#[test]
fn every_receiver_sees_or_counts_every_message_wherever_waits_are_dropped() {
    const MESSAGES: u64 = 40;
    for capacity in [1, 3, 64] {
        under_seeds(60, move |cx| async move {
            within(&cx, async |scope| {
                let (tx, rx) = broadcast::channel(capacity);
                let receivers: Vec<_> = (0..3)
                    .map(|_| rx.resubscribe())
                    .map(|mut rx| {
                        scope.spawn(async move |cx: Cx| {
                            let mut next = 0;
                            loop {
                                let polls = 1 + cx.random_u64() % 4;
                                match drop_after(&cx, rx.recv(&cx), polls).await {
                                    None => {}
                                    Some(Ok(n)) => {
                                        assert_eq!(n, next);
                                        next += 1;
                                    }
                                    Some(Err(RecvError::Lagged { missed })) => next += missed,
                                    Some(Err(RecvError::Closed)) => return End::Ok(next),
                                    Some(Err(error)) => panic!("{error}"),
                                }
                            }
                        })
                    })
                    .collect();
                drop(rx);
                for n in 0..MESSAGES {
                    assert_eq!(tx.send(n), Ok(3));
                    if scope.cx().random_u64() % 3 == 0 {
                        scope.cx().yield_now().await.unwrap();
                    }
                }
                drop(tx);
                for receiver in receivers {
                    assert_eq!(receiver.join(scope.cx()).await.ok().unwrap(), MESSAGES);
                }
            })
            .await;
        });
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send,
    Recv(usize),
    Many(usize, usize),
    Subscribe,
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Send),
        6 => (0..4_usize).prop_map(Step::Recv),
        2 => (0..4_usize, 0..5_usize).prop_map(|(who, limit)| Step::Many(who, limit)),
        1 => Just(Step::Subscribe),
        1 => (0..4_usize).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    /// Against a list of everything that was sent, and a number for each receiver.
    #[test]
    fn behaves_as_the_last_messages_of_a_list(capacity in 1_u64..40, steps in steps()) {
        let (tx, rx) = broadcast::channel(capacity as usize);
        let mut sent = 0_u64;
        let mut receivers = vec![(rx, 0_u64)];
        for step in steps {
            match step {
                Step::Send => match tx.send(sent) {
                    Ok(count) => {
                        prop_assert_eq!(count, receivers.len());
                        sent += 1;
                    }
                    Err(error) => {
                        prop_assert_eq!(error.value, sent);
                        prop_assert!(receivers.is_empty());
                    }
                },
                Step::Recv(who) => {
                    let Some((rx, next)) = receivers.get_mut(who) else { continue };
                    let oldest = sent.saturating_sub(capacity);
                    let expected = if *next < oldest {
                        let missed = oldest - *next;
                        *next = oldest;
                        Err(TryRecvError::Lagged { missed })
                    } else if *next == sent {
                        Err(TryRecvError::Empty)
                    } else {
                        *next += 1;
                        Ok(*next - 1)
                    };
                    prop_assert_eq!(rx.try_recv(), expected);
                }
                Step::Many(who, limit) => {
                    let Some((rx, next)) = receivers.get_mut(who) else { continue };
                    if *next == sent {
                        continue;
                    }
                    let mut into = Vec::new();
                    let got = rx.blocking_recv_many(&mut into, limit);
                    let oldest = sent.saturating_sub(capacity);
                    if limit > 0 && *next < oldest {
                        prop_assert_eq!(got, Err(RecvError::Lagged { missed: oldest - *next }));
                        *next = oldest;
                    } else {
                        let count = (sent - *next).min(limit as u64);
                        prop_assert_eq!(got, Ok(count as usize));
                        prop_assert!(into.into_iter().eq(*next..*next + count));
                        *next += count;
                    }
                }
                Step::Subscribe => {
                    if receivers.len() < 4 {
                        receivers.push((tx.subscribe(), sent));
                    }
                }
                Step::Drop(who) => {
                    if who < receivers.len() {
                        receivers.swap_remove(who);
                    }
                }
            }
            prop_assert!(tx.len() as u64 <= capacity);
            for (rx, next) in &receivers {
                prop_assert_eq!(rx.len() as u64, (sent - next).min(capacity));
            }
        }
    }
}

#[test]
fn foreign_threads_count_every_message() {
    const EACH: u64 = 20_000;
    for capacity in [1, 16, 1024] {
        let (tx, rx) = broadcast::channel(capacity);
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut rx = rx.resubscribe();
                scope.spawn(move || {
                    let (mut seen, mut missed, mut next) = (0, 0, BTreeMap::new());
                    loop {
                        match rx.blocking_recv() {
                            Ok((sender, n)) => {
                                let expected = next.entry(sender).or_insert(0);
                                assert!(n >= *expected, "in order");
                                *expected = n + 1;
                                seen += 1;
                            }
                            Err(RecvError::Lagged { missed: count }) => missed += count,
                            Err(RecvError::Closed) => break,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    assert_eq!(seen + missed, 2 * EACH);
                });
            }
            for sender in 0..2_u64 {
                let tx = tx.clone();
                scope.spawn(move || (0..EACH).for_each(|n| drop(tx.send((sender, n)))));
            }
            drop((tx, rx));
        });
    }
}
