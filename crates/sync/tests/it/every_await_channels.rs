//! Every waiting operation of a channel is cut short at every await, and what it had got by then is found again.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use asupersync_core::{CancelReason, Cancelled, Effect};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{Probe, every_await};
use asupersync_sync::{
    FlightError, SingleFlight, broadcast, mpsc, oneshot, rendezvous, session, watch,
};

use crate::support::{End, settle, within};

/// Runs `peer` as a task after a few turns, so that what is probed has to wait.
fn later<F, Fut>(scope: &Scope<'_, Infallible>, peer: F)
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    scope.spawn(async move |cx: Cx| {
        for _ in 0..3 {
            cx.yield_now().await.expect("nobody cancels the peers");
        }
        peer(cx).await;
        End::Ok(())
    });
}

fn is_whole<T, E>(end: &Option<Result<T, E>>) -> bool {
    matches!(end, Some(Ok(_)))
}

#[test]
fn mpsc_send() {
    every_await("mpsc::Sender::send", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        let received = within(&cx, async |scope| {
            let receives = scope.spawn(async move |cx: Cx| {
                let mut received = Vec::new();
                cx.yield_now().await.unwrap();
                while let Ok(value) = rx.recv(&cx).await {
                    received.push(value);
                }
                End::Ok((received, rx.capacity()))
            });
            let sent = probe.run(&cx, tx.send(&cx, 1)).await;
            let mut expected = vec![0];
            match sent {
                Some(Ok(())) => expected.push(1),
                Some(Err(error)) => {
                    assert_eq!((error.effect(), error.value), (Effect::NotStarted, 1))
                }
                None => {}
            }
            tx.send(&cx, 2).await.unwrap();
            expected.push(2);
            drop(tx);
            (receives.join(scope.cx()).await.ok().unwrap(), expected)
        })
        .await;
        let ((received, capacity), expected) = received;
        assert_eq!((received, capacity), (expected, 1));
    });
}

#[test]
fn mpsc_reserve() {
    every_await("mpsc::Sender::reserve", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = mpsc::channel(1);
        tx.try_send(0).unwrap();
        within(&cx, async |scope| {
            later(&scope, async move |cx| {
                while rx.recv(&cx).await.is_ok() {}
                assert_eq!(rx.capacity(), 1);
            });
            if let Some(Ok(permit)) = probe.run(&cx, tx.reserve(&cx)).await {
                permit.abort();
            }
            tx.send(&cx, 1).await.unwrap();
            drop(tx);
        })
        .await;
    });
}

#[test]
fn mpsc_reserve_owned() {
    every_await(
        "mpsc::Sender::reserve_owned",
        async |cx: Cx, probe: Probe| {
            let (tx, mut rx) = mpsc::channel(1);
            tx.try_send(0).unwrap();
            within(&cx, async |scope| {
                later(&scope, async move |cx| {
                    while rx.recv(&cx).await.is_ok() {}
                    assert_eq!(rx.capacity(), 1);
                });
                if let Some(Ok(permit)) = probe.run(&cx, tx.clone().reserve_owned(&cx)).await {
                    drop(permit.send(5).unwrap());
                }
                assert_eq!(tx.strong_count(), 1);
                tx.send(&cx, 1).await.unwrap();
                drop(tx);
            })
            .await;
        },
    );
}

#[test]
fn mpsc_reserve_many() {
    every_await(
        "mpsc::Sender::reserve_many",
        async |cx: Cx, probe: Probe| {
            let (tx, mut rx) = mpsc::channel(3);
            tx.try_send(0).unwrap();
            tx.try_send(1).unwrap();
            within(&cx, async |scope| {
                later(&scope, async move |cx| {
                    let mut received = Vec::new();
                    while rx.recv_many(&cx, &mut received, 2).await.is_ok() {}
                    assert_eq!(rx.capacity(), 3);
                    assert!(received.is_sorted());
                });
                if let Some(Ok(mut permits)) = probe.run(&cx, tx.reserve_many(&cx, 3)).await {
                    assert_eq!((permits.len(), tx.capacity()), (3, 0));
                    permits.next().unwrap().send(2).unwrap();
                }
                tx.send(&cx, 9).await.unwrap();
                drop(tx);
            })
            .await;
        },
    );
}

#[test]
fn mpsc_send_all() {
    every_await("mpsc::Sender::send_all", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = mpsc::channel(2);
        within(&cx, async |scope| {
            let receives = scope.spawn(async move |cx: Cx| {
                let mut received = Vec::new();
                while let Ok(value) = rx.recv(&cx).await {
                    received.push(value);
                    let _ = cx.yield_now().await;
                }
                End::Ok(received)
            });
            let mut values: std::collections::VecDeque<u32> = (0..7).collect();
            let sent = probe.run(&cx, tx.send_all(&cx, &mut values)).await;
            assert_eq!(is_whole(&sent), values.is_empty());
            drop(tx);
            let mut all = receives.join(scope.cx()).await.ok().unwrap();
            all.extend(values);
            assert!(all.into_iter().eq(0..7), "sent and kept are all, in order");
        })
        .await;
    });
}

#[test]
fn mpsc_recv() {
    every_await("mpsc::Receiver::recv", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = mpsc::channel(1);
        within(&cx, async |scope| {
            later(&scope, async move |cx| tx.send(&cx, 1).await.unwrap());
            let first = probe.run(&cx, rx.recv(&cx)).await;
            let expected = if is_whole(&first) {
                Err(mpsc::RecvError::Closed)
            } else {
                Ok(1)
            };
            assert_eq!(rx.recv(&cx).await, expected);
        })
        .await;
    });
}

#[test]
fn mpsc_recv_many() {
    every_await("mpsc::Receiver::recv_many", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = mpsc::channel(2);
        within(&cx, async |scope| {
            later(&scope, async move |cx| {
                for n in 0..4 {
                    tx.send(&cx, n).await.unwrap();
                }
            });
            let mut received = Vec::new();
            let count = probe.run(&cx, rx.recv_many(&cx, &mut received, 2)).await;
            assert_eq!(count.map_or(0, |count| count.unwrap_or(0)), received.len());
            while rx.recv_many(&cx, &mut received, 2).await.is_ok() {}
            assert_eq!(received, [0, 1, 2, 3]);
        })
        .await;
    });
}

#[test]
fn mpsc_closed() {
    every_await("mpsc::Sender::closed", async |cx: Cx, probe: Probe| {
        let (tx, rx) = mpsc::channel::<u32>(1);
        within(&cx, async |scope| {
            later(&scope, async move |_| drop(rx));
            let closed = probe.run(&cx, tx.closed(&cx)).await;
            assert!(!is_whole(&closed) || tx.is_closed());
            tx.closed(&cx).await.unwrap();
        })
        .await;
    });
}

#[test]
fn mpsc_unbounded_recv() {
    every_await(
        "mpsc::UnboundedReceiver::recv",
        async |cx: Cx, probe: Probe| {
            let (tx, mut rx) = mpsc::unbounded_channel();
            within(&cx, async |scope| {
                later(&scope, async move |_| tx.send(1).unwrap());
                let first = probe.run(&cx, rx.recv(&cx)).await;
                let expected = if is_whole(&first) {
                    Err(mpsc::RecvError::Closed)
                } else {
                    Ok(1)
                };
                assert_eq!(rx.recv(&cx).await, expected);
            })
            .await;
        },
    );
}

#[test]
fn mpsc_unbounded_recv_many() {
    every_await(
        "mpsc::UnboundedReceiver::recv_many",
        async |cx: Cx, probe: Probe| {
            let (tx, mut rx) = mpsc::unbounded_channel();
            within(&cx, async |scope| {
                later(&scope, async move |_| {
                    (0..3).for_each(|n| tx.send(n).unwrap())
                });
                let mut received = Vec::new();
                let count = probe.run(&cx, rx.recv_many(&cx, &mut received, 2)).await;
                assert_eq!(count.map_or(0, |count| count.unwrap_or(0)), received.len());
                while rx.recv_many(&cx, &mut received, 2).await.is_ok() {}
                assert_eq!(received, [0, 1, 2]);
            })
            .await;
        },
    );
}

#[test]
fn mpsc_unbounded_closed() {
    every_await(
        "mpsc::UnboundedSender::closed",
        async |cx: Cx, probe: Probe| {
            let (tx, rx) = mpsc::unbounded_channel::<u32>();
            within(&cx, async |scope| {
                later(&scope, async move |_| drop(rx));
                let closed = probe.run(&cx, tx.closed(&cx)).await;
                assert!(!is_whole(&closed) || tx.is_closed());
                tx.closed(&cx).await.unwrap();
            })
            .await;
        },
    );
}

#[test]
fn oneshot_recv() {
    every_await("oneshot::Receiver::recv", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = oneshot::channel();
        within(&cx, async |scope| {
            later(&scope, async move |_| tx.send(1).unwrap());
            let first = probe.run(&cx, rx.recv(&cx)).await;
            let expected = if is_whole(&first) {
                Err(oneshot::RecvError::Closed)
            } else {
                Ok(1)
            };
            assert_eq!(rx.recv(&cx).await, expected);
        })
        .await;
    });
}

#[test]
fn oneshot_closed() {
    every_await("oneshot::Sender::closed", async |cx: Cx, probe: Probe| {
        let (mut tx, rx) = oneshot::channel::<u32>();
        within(&cx, async |scope| {
            later(&scope, async move |_| drop(rx));
            let closed = probe.run(&cx, tx.closed(&cx)).await;
            assert!(!is_whole(&closed) || tx.is_closed());
            tx.closed(&cx).await.unwrap();
            assert_eq!(tx.send(1), Err(1));
        })
        .await;
    });
}

#[test]
fn broadcast_recv() {
    every_await("broadcast::Receiver::recv", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = broadcast::channel(4);
        within(&cx, async |scope| {
            later(&scope, async move |_| {
                (0..2).for_each(|n| assert_eq!(tx.send(n), Ok(1)))
            });
            let first = probe.run(&cx, rx.recv(&cx)).await;
            let from = i32::from(is_whole(&first));
            for n in from..2 {
                assert_eq!(rx.recv(&cx).await, Ok(n));
            }
            assert_eq!(rx.recv(&cx).await, Err(broadcast::RecvError::Closed));
        })
        .await;
    });
}

#[test]
fn broadcast_recv_many() {
    every_await(
        "broadcast::Receiver::recv_many",
        async |cx: Cx, probe: Probe| {
            let (tx, mut rx) = broadcast::channel(4);
            within(&cx, async |scope| {
                later(&scope, async move |_| {
                    (0..3).for_each(|n| assert_eq!(tx.send(n), Ok(1)))
                });
                let mut received = Vec::new();
                let count = probe.run(&cx, rx.recv_many(&cx, &mut received, 2)).await;
                assert_eq!(count.map_or(0, |count| count.unwrap_or(0)), received.len());
                while rx.recv_many(&cx, &mut received, 2).await.is_ok() {}
                assert_eq!(received, [0, 1, 2]);
            })
            .await;
        },
    );
}

#[test]
fn broadcast_closed() {
    every_await("broadcast::Sender::closed", async |cx: Cx, probe: Probe| {
        let (tx, rx) = broadcast::channel::<u32>(1);
        within(&cx, async |scope| {
            later(&scope, async move |_| drop(rx));
            let closed = probe.run(&cx, tx.closed(&cx)).await;
            assert!(!is_whole(&closed) || tx.receiver_count() == 0);
            tx.closed(&cx).await.unwrap();
        })
        .await;
    });
}

#[test]
fn watch_changed() {
    every_await("watch::Receiver::changed", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = watch::channel(0);
        within(&cx, async |scope| {
            later(&scope, async move |_| tx.send(1).unwrap());
            let changed = probe.run(&cx, rx.changed(&cx)).await;
            if !is_whole(&changed) {
                // A call that was cut short has not used the change up.
                rx.changed(&cx).await.unwrap();
            }
            assert_eq!(*rx.borrow(), 1);
            assert_eq!(rx.changed(&cx).await, Err(watch::RecvError::Closed));
        })
        .await;
    });
}

#[test]
fn watch_wait_for() {
    every_await("watch::Receiver::wait_for", async |cx: Cx, probe: Probe| {
        let (tx, mut rx) = watch::channel(0);
        within(&cx, async |scope| {
            later(&scope, async move |cx| {
                for n in 1..=3 {
                    tx.send(n).unwrap();
                    cx.yield_now().await.unwrap();
                }
            });
            let found = probe.run(&cx, rx.wait_for(&cx, |value| *value == 3)).await;
            assert!(found.is_none_or(|found| found.is_err() || *found.unwrap() == 3));
            assert_eq!(*rx.wait_for(&cx, |value| *value == 3).await.unwrap(), 3);
        })
        .await;
    });
}

#[test]
fn watch_closed() {
    every_await("watch::Sender::closed", async |cx: Cx, probe: Probe| {
        let (tx, rx) = watch::channel(0);
        within(&cx, async |scope| {
            later(&scope, async move |_| drop(rx));
            let closed = probe.run(&cx, tx.closed(&cx)).await;
            assert!(!is_whole(&closed) || tx.is_closed());
            tx.closed(&cx).await.unwrap();
        })
        .await;
    });
}

/// Receives until the end; nothing may come twice.
async fn drain(cx: &Cx, rx: &rendezvous::Receiver<u32>) -> BTreeSet<u32> {
    let mut received = BTreeSet::new();
    while let Ok(value) = rx.recv(cx).await {
        assert!(received.insert(value), "{value} came twice");
    }
    received
}

#[test]
fn rendezvous_send() {
    every_await("rendezvous::Sender::send", async |cx: Cx, probe: Probe| {
        let (tx, rx) = rendezvous::channel();
        within(&cx, async |scope| {
            let receives = scope.spawn(async move |cx: Cx| {
                cx.yield_now().await.unwrap();
                End::Ok(drain(&cx, &rx).await)
            });
            let sent = probe.run(&cx, tx.send(&cx, 1)).await;
            tx.send(&cx, 2).await.unwrap();
            drop(tx);
            let received = receives.join(scope.cx()).await.ok().unwrap();
            assert!(received.contains(&2));
            match sent {
                Some(Ok(())) => assert!(received.contains(&1)),
                Some(Err(error)) => {
                    assert_eq!((error.effect(), error.value), (Effect::NotStarted, 1));
                    assert!(!received.contains(&1));
                }
                // Dropped: it is dropped with the call, or on the other side.
                None => {}
            }
        })
        .await;
    });
}

#[test]
fn rendezvous_reserve() {
    every_await(
        "rendezvous::Sender::reserve",
        async |cx: Cx, probe: Probe| {
            let (tx, rx) = rendezvous::channel();
            within(&cx, async |scope| {
                let receives = scope.spawn(async move |cx: Cx| {
                    settle(&cx).await;
                    End::Ok(drain(&cx, &rx).await)
                });
                let mut expected = BTreeSet::from([2]);
                if let Some(Ok(permit)) = probe.run(&cx, tx.reserve(&cx)).await {
                    permit.send(1).unwrap();
                    expected.insert(1);
                }
                tx.send(&cx, 2).await.unwrap();
                drop(tx);
                assert_eq!(receives.join(scope.cx()).await.ok().unwrap(), expected);
            })
            .await;
        },
    );
}

#[test]
fn rendezvous_recv() {
    every_await(
        "rendezvous::Receiver::recv",
        async |cx: Cx, probe: Probe| {
            let (tx, rx) = rendezvous::channel();
            within(&cx, async |scope| {
                let other = tx.clone();
                later(&scope, async move |cx| other.send(&cx, 1).await.unwrap());
                later(&scope, async move |cx| {
                    // Whoever is bound may leave before the value is there.
                    match tx.reserve(&cx).await.unwrap().send(2) {
                        Ok(()) => {}
                        Err(error) => tx.send(&cx, error.value).await.unwrap(),
                    }
                });
                let first = probe.run(&cx, rx.recv(&cx)).await;
                let mut all = drain(&cx, &rx).await;
                all.extend(first.and_then(Result::ok));
                assert_eq!(all, BTreeSet::from([1, 2]));
            })
            .await;
        },
    );
}

#[test]
fn rendezvous_closed() {
    every_await(
        "rendezvous::Sender::closed",
        async |cx: Cx, probe: Probe| {
            let (tx, rx) = rendezvous::channel::<u32>();
            within(&cx, async |scope| {
                later(&scope, async move |_| drop(rx));
                let closed = probe.run(&cx, tx.closed(&cx)).await;
                assert!(!is_whole(&closed) || tx.is_closed());
                tx.closed(&cx).await.unwrap();
            })
            .await;
        },
    );
}

/// Answers every request with one more, after a while; gives what was taken.
async fn serve(cx: Cx, mut server: session::Server<u32, u32>) -> End<BTreeSet<u32>> {
    let mut taken = BTreeSet::new();
    while let Ok((request, reply)) = server.accept(&cx).await {
        assert!(taken.insert(request));
        let _ = cx.yield_now().await;
        let is_wanted = reply.is_wanted();
        assert_eq!(reply.send(request + 1).is_ok(), is_wanted);
    }
    End::Ok(taken)
}

#[test]
fn session_call() {
    every_await("session::Client::call", async |cx: Cx, probe: Probe| {
        let (client, server) = session::channel(1);
        within(&cx, async |scope| {
            let serves = scope.spawn(async move |cx: Cx| {
                settle(&cx).await;
                serve(cx, server).await
            });
            let filler = client.clone();
            scope.spawn(async move |cx: Cx| End::Ok(filler.call(&cx, 8).await.unwrap()));
            let called = probe.run(&cx, client.call(&cx, 1)).await;
            assert_eq!(client.call(&cx, 5).await, Ok(6), "its own answer");
            drop(client);
            let taken = serves.join(scope.cx()).await.ok().unwrap();
            assert!(taken.contains(&5) && taken.contains(&8));
            match called {
                Some(Ok(answer)) => assert_eq!(answer, 2),
                Some(Err(error)) => match error.effect() {
                    Effect::NotStarted => {
                        assert_eq!(error.request, Some(1));
                        assert!(!taken.contains(&1));
                    }
                    _ => assert!(taken.contains(&1)),
                },
                None => {}
            }
        })
        .await;
    });
}

#[test]
fn session_permit_call() {
    every_await("session::CallPermit::call", async |cx: Cx, probe: Probe| {
        let (client, server) = session::channel(1);
        within(&cx, async |scope| {
            let serves = scope.spawn(async move |cx: Cx| serve(cx, server).await);
            let permit = client.reserve(&cx).await.unwrap();
            let called = probe.run(&cx, permit.call(&cx, 1)).await;
            assert_eq!(client.call(&cx, 5).await, Ok(6), "its own answer");
            drop(client);
            let taken = serves.join(scope.cx()).await.ok().unwrap();
            match called {
                Some(Ok(answer)) => assert_eq!(answer, 2),
                Some(Err(error)) => assert_eq!(error.request.is_none(), taken.contains(&1)),
                None => {}
            }
        })
        .await;
    });
}

#[test]
fn session_reserve() {
    every_await("session::Client::reserve", async |cx: Cx, probe: Probe| {
        let (client, server) = session::channel(1);
        within(&cx, async |scope| {
            let serves = scope.spawn(async move |cx: Cx| {
                settle(&cx).await;
                serve(cx, server).await
            });
            let filler = client.clone();
            scope.spawn(async move |cx: Cx| End::Ok(filler.call(&cx, 8).await.unwrap()));
            settle_some(&cx).await;
            if let Some(Ok(permit)) = probe.run(&cx, client.reserve(&cx)).await {
                permit.abort();
            }
            assert_eq!(client.call(&cx, 5).await, Ok(6));
            drop(client);
            assert_eq!(
                serves.join(scope.cx()).await.ok().unwrap(),
                BTreeSet::from([5, 8])
            );
        })
        .await;
    });
}

async fn settle_some(cx: &Cx) {
    for _ in 0..4 {
        cx.yield_now().await.expect("nobody cancels this task");
    }
}

#[test]
fn session_accept() {
    every_await("session::Server::accept", async |cx: Cx, probe: Probe| {
        let (client, mut server) = session::channel::<u32, u32>(1);
        within(&cx, async |scope| {
            later(&scope, async move |cx| {
                assert_eq!(client.call(&cx, 1).await, Ok(2))
            });
            let accepted = match probe.run(&cx, server.accept(&cx)).await {
                Some(Ok(accepted)) => Ok(accepted),
                Some(Err(_)) | None => server.accept(&cx).await,
            };
            let (request, reply) = accepted.unwrap();
            reply.send(request + 1).unwrap();
            assert!(server.accept(&cx).await.is_err());
        })
        .await;
    });
}

#[test]
fn session_closed() {
    every_await("session::Client::closed", async |cx: Cx, probe: Probe| {
        let (client, server) = session::channel::<u32, u32>(1);
        within(&cx, async |scope| {
            later(&scope, async move |_| drop(server));
            let closed = probe.run(&cx, client.closed(&cx)).await;
            assert!(!is_whole(&closed) || client.is_closed());
            client.closed(&cx).await.unwrap();
        })
        .await;
    });
}

#[test]
fn session_unwanted() {
    every_await("session::Reply::unwanted", async |cx: Cx, probe: Probe| {
        let (client, mut server) = session::channel::<u32, u32>(1);
        within(&cx, async |scope| {
            let calls = scope.spawn(async move |cx: Cx| {
                End::Ok(
                    client
                        .call(&cx, 1)
                        .await
                        .is_err_and(|error| error.is_cancelled()),
                )
            });
            let (_, mut reply) = server.accept(&cx).await.unwrap();
            scope.spawn(async move |cx: Cx| {
                settle_some(&cx).await;
                calls.cancel();
                assert!(calls.join(&cx).await.ok().unwrap());
                End::Ok(())
            });
            let unwanted = probe.run(&cx, reply.unwanted(&cx)).await;
            assert!(!is_whole(&unwanted) || !reply.is_wanted());
            reply.unwanted(&cx).await.unwrap();
            assert_eq!(reply.send(3).unwrap_err().response, 3);
        })
        .await;
    });
}

#[derive(Clone, PartialEq, Debug, thiserror::Error)]
enum WorkError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

#[test]
fn single_flight_run() {
    every_await("SingleFlight::run", async |cx: Cx, probe: Probe| {
        let flights: Arc<SingleFlight<u32, u32, WorkError>> = Arc::default();
        within(&cx, async |scope| {
            let spawn = |number| {
                let flights = Arc::clone(&flights);
                scope.spawn(async move |cx: Cx| {
                    let work = async || {
                        settle_some(&cx).await;
                        Ok(number)
                    };
                    End::Ok(flights.run(&cx, 0, work).await)
                })
            };
            let before = spawn(1);
            settle_some(&cx).await;
            let work = async || {
                cx.yield_now().await?;
                cx.yield_now().await?;
                Ok(2)
            };
            let own = probe.run(&cx, flights.run(&cx, 0, work)).await;
            let after = spawn(3);
            assert!(before.join(scope.cx()).await.ok().unwrap().is_ok());
            assert!(after.join(scope.cx()).await.ok().unwrap().is_ok());
            match own {
                Some(Ok(_)) | None => {}
                // Where the other call has landed before, this one leads, and its own work hears of it.
                Some(Err(
                    FlightError::Cancelled(_) | FlightError::Failed(WorkError::Cancelled(_)),
                )) => assert!(probe.was_interrupted()),
                Some(Err(error)) => panic!("{error}"),
            }
        })
        .await;
        assert!(flights.is_empty());
    });
}

/// The same, where the probed call leads and others follow.
#[test]
fn single_flight_run_as_the_leader() {
    every_await("SingleFlight::run", async |cx: Cx, probe: Probe| {
        let flights: Arc<SingleFlight<u32, u32, WorkError>> = Arc::default();
        within(&cx, async |scope| {
            let (led, asked) = (
                Arc::new(AtomicBool::new(false)),
                Arc::new(AtomicU32::new(0)),
            );
            let others: Vec<_> = (0..2)
                .map(|_| (Arc::clone(&flights), Arc::clone(&led), Arc::clone(&asked)))
                .map(|(flights, led, asked)| {
                    scope.spawn(async move |cx: Cx| {
                        while !led.load(Ordering::Relaxed) {
                            cx.yield_now().await.unwrap();
                        }
                        // The call joins in the poll that counts it.
                        asked.fetch_add(1, Ordering::Relaxed);
                        End::Ok(flights.run(&cx, 0, async || Ok(7)).await)
                    })
                })
                .collect();
            let work = async || {
                led.store(true, Ordering::Relaxed);
                while asked.load(Ordering::Relaxed) < 2 {
                    cx.yield_now().await?;
                }
                Ok(2)
            };
            let own = probe.run(&cx, flights.run(&cx, 0, work)).await;
            led.store(true, Ordering::Relaxed);
            let expected = if is_whole(&own) { 2 } else { 7 };
            if let Some(Err(error)) = own {
                assert!(CancelReason::find_in(&error).is_some(), "{error}");
            }
            for other in others {
                let end = other.join(scope.cx()).await.ok().unwrap();
                assert_eq!(end, Ok(expected), "the leader's, or their own");
            }
        })
        .await;
        assert!(flights.is_empty());
    });
}
