//! Many messages through every channel, on the production host with 2, 4 and 8 workers.
//!
//! A run of CI sends a tenth of a million through each, and a hundredth where each message is a hand-over between threads; `ASUPERSYNC_STRESS=1000000` sends as many as it says through all.
//! Only in production: under the lab there is one thread, and the crate's own tests draw its schedules.

use std::convert::Infallible;
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, Scope};
use asupersync_runtime::RuntimeBuilder;
use asupersync_sync::{FlightError, SingleFlight, broadcast, mpsc, rendezvous, session, watch};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SENDERS: u64 = 4;
const MANY: u64 = 100_000;
const FEWER: u64 = 10_000;
/// A run that takes longer has hung.
const WATCHDOG: Duration = Duration::from_secs(240);

type End<T> = Outcome<T, Infallible>;

/// How many messages, in whole rounds of all senders.
fn messages(usual: u64) -> u64 {
    let asked = std::env::var("ASUPERSYNC_STRESS").ok();
    let count = asked.and_then(|count| count.parse().ok()).unwrap_or(usual);
    count.max(SENDERS) / SENDERS * SENDERS
}

/// Runs `program` with 2, 4 and 8 workers; it must end, and end well.
fn check<F, Fut>(program: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = ()>,
{
    for workers in [2, 4, 8] {
        let runtime = RuntimeBuilder::new()
            .worker_threads(workers)
            .handle_signals(false)
            .build();
        let mut runtime = runtime.expect("the threads start");
        let program = &program;
        let end = runtime.block_on(async move |cx: Cx| {
            let deadline = asupersync_core::Budget::new().with_deadline(cx.now() + WATCHDOG);
            let options = asupersync_kernel::RegionOptions::new().budget(deadline);
            cx.region_with(options, async |scope| {
                program(scope.cx().clone()).await;
                End::Ok(())
            })
            .await
        });
        assert!(matches!(end, Outcome::Ok(())), "{workers} workers: {end:?}");
    }
}

async fn within<'s, T, F, Fut>(cx: &'s Cx, body: F) -> T
where
    F: FnOnce(Scope<'s, Infallible>) -> Fut,
    Fut: Future<Output = T>,
{
    let end = cx
        .region(|scope| async move { End::Ok(body(scope).await) })
        .await;
    end.ok().expect("nothing in it fails")
}

/// What `0..count` adds up to.
const fn sum(count: u64) -> u64 {
    count * (count - 1) / 2
}

#[test]
fn a_bounded_channel_carries_every_message_in_its_senders_order() {
    let count = messages(MANY);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (tx, mut rx) = mpsc::channel(64);
            for sender in 0..SENDERS {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| {
                    for n in 0..count / SENDERS {
                        if n % 3 == 0 {
                            tx.reserve(&cx).await.unwrap().send((sender, n)).unwrap();
                        } else {
                            tx.send(&cx, (sender, n)).await.unwrap();
                        }
                    }
                    End::Ok(())
                });
            }
            drop(tx);
            let mut next = [0; SENDERS as usize];
            while let Ok((sender, n)) = rx.recv(scope.cx()).await {
                assert_eq!(n, next[sender as usize]);
                next[sender as usize] += 1;
            }
            assert_eq!(next, [count / SENDERS; SENDERS as usize]);
        })
        .await;
    });
}

#[test]
fn batches_carry_every_message_in_order() {
    let count = messages(MANY);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (tx, mut rx) = mpsc::channel(61);
            scope.spawn(async move |cx: Cx| {
                let mut values: std::collections::VecDeque<u64> = (0..count).collect();
                while !values.is_empty() {
                    if values.len().is_multiple_of(5) {
                        for permit in tx.reserve_many(&cx, values.len().min(7)).await.unwrap() {
                            permit.send(values.pop_front().unwrap()).unwrap();
                        }
                    } else {
                        let mut batch = values.split_off(values.len().min(333));
                        std::mem::swap(&mut batch, &mut values);
                        tx.send_all(&cx, &mut batch).await.unwrap();
                    }
                }
                End::Ok(())
            });
            let (mut next, mut batch) = (0, Vec::new());
            while rx.recv_many(scope.cx(), &mut batch, 40).await.is_ok() {
                for n in batch.drain(..) {
                    assert_eq!(n, next);
                    next += 1;
                }
            }
            assert_eq!(next, count);
        })
        .await;
    });
}

#[test]
fn an_unbounded_channel_carries_every_message() {
    let count = messages(MANY);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (tx, mut rx) = mpsc::unbounded_channel();
            for sender in 0..SENDERS {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| {
                    for n in 0..count / SENDERS {
                        tx.send(n * SENDERS + sender).unwrap();
                        if n % 64 == 0 {
                            let _ = cx.yield_now().await;
                        }
                    }
                    End::Ok(())
                });
            }
            drop(tx);
            let (mut seen, mut total) = (0, 0);
            while let Ok(n) = rx.recv(scope.cx()).await {
                seen += 1;
                total += n;
            }
            assert_eq!((seen, total), (count, sum(count)));
        })
        .await;
    });
}

#[test]
fn every_receiver_of_a_broadcast_sees_or_counts_every_message() {
    let count = messages(MANY);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (tx, rx) = broadcast::channel(256);
            let receivers: Vec<_> = (0..8)
                .map(|_| rx.resubscribe())
                .map(|mut rx| {
                    scope.spawn(async move |cx: Cx| {
                        let mut next = 0;
                        loop {
                            match rx.recv(&cx).await {
                                Ok(n) => {
                                    assert_eq!(n, next);
                                    next += 1;
                                }
                                Err(broadcast::RecvError::Lagged { missed }) => next += missed,
                                Err(_) => return End::Ok(next),
                            }
                        }
                    })
                })
                .collect();
            drop(rx);
            scope.spawn(async move |cx: Cx| {
                for n in 0..count {
                    tx.send(n).unwrap();
                    if n % 128 == 0 {
                        let _ = cx.yield_now().await;
                    }
                }
                End::Ok(())
            });
            for receiver in receivers {
                assert_eq!(receiver.join(scope.cx()).await.ok(), Some(count));
            }
        })
        .await;
    });
}

#[test]
fn a_watch_ends_with_its_last_value_at_every_receiver() {
    let count = messages(MANY);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (tx, rx) = watch::channel(0);
            let receivers: Vec<_> = (0..4)
                .map(|_| rx.clone())
                .map(|mut rx| {
                    scope.spawn(async move |cx: Cx| {
                        let mut last = 0;
                        while rx.changed(&cx).await.is_ok() {
                            let now = *rx.borrow_and_update();
                            assert!(now >= last);
                            last = now;
                        }
                        End::Ok(last)
                    })
                })
                .collect();
            for _ in 0..SENDERS {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| {
                    for n in 0..count / SENDERS {
                        tx.send_modify(|value| *value += 1);
                        if n % 64 == 0 {
                            let _ = cx.yield_now().await;
                        }
                    }
                    End::Ok(())
                });
            }
            drop((tx, rx));
            for receiver in receivers {
                assert_eq!(receiver.join(scope.cx()).await.ok(), Some(count));
            }
        })
        .await;
    });
}

#[test]
fn a_rendezvous_hands_every_value_over_once() {
    let count = messages(FEWER);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (tx, rx) = rendezvous::channel();
            for sender in 0..SENDERS {
                let tx = tx.clone();
                scope.spawn(async move |cx: Cx| {
                    for n in 0..count / SENDERS {
                        let value = n * SENDERS + sender;
                        if n % 3 == 0 {
                            tx.reserve(&cx).await.unwrap().send(value).unwrap();
                        } else {
                            tx.send(&cx, value).await.unwrap();
                        }
                    }
                    End::Ok(())
                });
            }
            drop(tx);
            let receivers: Vec<_> = (0..3)
                .map(|_| rx.clone())
                .map(|rx| {
                    scope.spawn(async move |cx: Cx| {
                        let (mut seen, mut total) = (0, 0);
                        while let Ok(n) = rx.recv(&cx).await {
                            seen += 1;
                            total += n;
                        }
                        End::Ok((seen, total))
                    })
                })
                .collect();
            drop(rx);
            let mut all = (0, 0);
            for receiver in receivers {
                let (seen, total) = receiver.join(scope.cx()).await.ok().unwrap();
                all = (all.0 + seen, all.1 + total);
            }
            assert_eq!(all, (count, sum(count)));
        })
        .await;
    });
}

#[test]
fn every_call_of_a_session_gets_its_own_answer() {
    let count = messages(FEWER);
    check(|cx| async move {
        within(&cx, async |scope| {
            let (client, mut server) = session::channel::<u64, u64>(8);
            for caller in 0..SENDERS {
                let client = client.clone();
                scope.spawn(async move |cx: Cx| {
                    for n in 0..count / SENDERS {
                        let request = n * SENDERS + caller;
                        assert_eq!(client.call(&cx, request).await, Ok(!request));
                    }
                    End::Ok(())
                });
            }
            drop(client);
            let mut seen = 0;
            while let Ok((request, reply)) = server.accept(scope.cx()).await {
                seen += 1;
                reply.send(!request).unwrap();
            }
            assert_eq!(seen, count);
        })
        .await;
    });
}

#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error(transparent)]
struct Stopped(#[from] Cancelled);

#[test]
fn a_single_flight_runs_one_call_for_a_key_at_a_time() {
    let count = messages(FEWER);
    check(|cx| async move {
        let flights: Arc<SingleFlight<u64, u64, Stopped>> = Arc::default();
        let running: Arc<[AtomicU64; 2]> = Arc::default();
        within(&cx, async |scope| {
            for _ in 0..SENDERS {
                let (flights, running) = (Arc::clone(&flights), Arc::clone(&running));
                scope.spawn(async move |cx: Cx| {
                    for n in 0..count / SENDERS {
                        let key = n % 2;
                        let running = &running[key as usize];
                        let work = async || {
                            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                            cx.yield_now().await?;
                            assert_eq!(running.fetch_sub(1, Ordering::SeqCst), 1);
                            Ok(key)
                        };
                        let end: Result<u64, FlightError<Stopped>> =
                            flights.run(&cx, key, work).await;
                        assert_eq!(end, Ok(key));
                    }
                    End::Ok(())
                });
            }
        })
        .await;
        assert!(flights.is_empty());
    });
}
