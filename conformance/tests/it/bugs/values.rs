//! Values that disappear between two tasks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use asupersync_conformance::on_both_hosts;
use asupersync_core::{LeakResponse, ObligationKind, Outcome};
use asupersync_kernel::{Cx, Obligation, Report};
use asupersync_lab::{LabConfig, LabRuntime, Law};
use asupersync_sync::{Notify, mpsc, session};
use asupersync_time::{TimeoutError, timeout};

use super::{cancelled_soon, dropped_soon, moment};
use crate::support::{End, FOREVER, TICK};

const EACH: u32 = 30;

/// Sends in each of the ways that survive being given up; the way changes with the number.
async fn send_though_given_up(cx: Cx, tx: mpsc::Sender<u32>, base: u32) -> End {
    for number in base..base + EACH {
        match number % 3 {
            // Reserved first: who gives up has not let go of the value yet.
            0 => loop {
                match dropped_soon(&cx, tx.reserve(&cx)).await {
                    Some(Ok(permit)) => break permit.send(number).expect("the receiver stays"),
                    Some(Err(other)) => panic!("{other}"),
                    None => {}
                }
            },
            // Sent at once, and cancelled: the value comes back in the error.
            1 => {
                let mut value = number;
                while let Err(error) = cancelled_soon(&cx, tx.send(&cx, value)).await {
                    assert!(error.is_cancelled(), "{error}");
                    value = error.into_inner();
                }
            }
            // In a batch: what was not sent stays in the queue of the caller.
            _ => {
                let mut queue = VecDeque::from([number]);
                while !queue.is_empty() {
                    if let Some(sent) = dropped_soon(&cx, tx.send_all(&cx, &mut queue)).await {
                        sent.expect("the receiver stays");
                    }
                }
            }
        }
    }
    Ok(())
}

/// In the field: a `send` stands as one branch of a `select!`, another branch wins, and the value that was to be sent is dropped with the future, unnoticed.
/// Here a cancelled `send` hands the value back in its error, `send_all` leaves it in the caller's queue, and `reserve` waits before there is a value to lose; a `send` that is dropped half-way drops its value, as its docs say.
#[test]
fn a_value_is_not_lost_when_its_send_is_given_up() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (tx, mut rx) = mpsc::channel(1);
                for sender in 0..2 {
                    let tx = tx.clone();
                    scope.spawn(async move |cx: Cx| {
                        send_though_given_up(cx, tx, sender * EACH).await
                    });
                }
                drop(tx);
                let mut next = [0, EACH];
                while let Ok(number) = rx.recv(scope.cx()).await {
                    let next = &mut next[usize::from(number >= EACH)];
                    assert_eq!(number, *next, "in order, each once");
                    *next += 1;
                    if number % 4 == 0 {
                        scope.cx().sleep(moment(scope.cx())).await?;
                    }
                }
                assert_eq!(next, [EACH, 2 * EACH], "all came");
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

/// In the field: a receive future takes a message out of the channel and is dropped before it returns it, since another branch of the `select!` won in the same poll.
/// Here a message leaves the channel in the very poll that returns it, so whoever gives up, in either way, has taken nothing.
#[test]
fn a_value_is_not_lost_when_its_recv_is_given_up() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (tx, mut rx) = mpsc::channel(2);
                scope.spawn(async move |cx: Cx| {
                    for number in 0..EACH {
                        tx.send(&cx, number).await.expect("the receiver stays");
                        if number % 3 == 0 {
                            cx.sleep(moment(&cx)).await?;
                        }
                    }
                    End::Ok(())
                });
                let cx = scope.cx();
                let mut seen = Vec::new();
                loop {
                    let way = seen.len() % 3;
                    let received = match way {
                        0 => dropped_soon(cx, rx.recv(cx)).await,
                        1 => Some(cancelled_soon(cx, rx.recv(cx)).await),
                        _ => {
                            let many = rx.recv_many(cx, &mut seen, 2);
                            match dropped_soon(cx, many).await {
                                Some(Err(error)) => Some(Err(error)),
                                Some(Ok(_)) | None => None,
                            }
                        }
                    };
                    match received {
                        Some(Ok(number)) => seen.push(number),
                        Some(Err(mpsc::RecvError::Closed)) => break,
                        Some(Err(_)) | None => {}
                    }
                }
                assert_eq!(seen, (0..EACH).collect::<Vec<_>>());
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

/// The same where another task sends the message and cancels the receiver, in either order, before that is polled again.
#[test]
fn a_value_is_not_lost_with_a_receiver_that_is_cancelled_as_it_comes() {
    on_both_hosts(async |cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let mut given_up = 0;
        for number in 0..EACH {
            let end = cx
                .region(async |scope| {
                    let receiver = scope.spawn(async move |cx: Cx| {
                        let received = rx.recv(&cx).await.ok();
                        End::Ok((rx, received))
                    });
                    for _ in 0..scope.cx().random_u64() % 4 {
                        scope.cx().yield_now().await?;
                    }
                    if number % 2 == 0 {
                        receiver.cancel();
                    }
                    tx.try_send(number).expect("the receiver is there");
                    receiver.cancel();
                    let (rest, received) = receiver.join(scope.cx()).await.flatten()?;
                    End::Ok((rest, received))
                })
                .await;
            let received;
            (rx, received) = end.ok().expect("the receiver ends by itself");
            if received.is_none() {
                given_up += 1;
            }
            let left = rx.try_recv().ok();
            assert_eq!(
                received.or(left),
                Some(number),
                "it came, or is still there"
            );
            assert!(received.is_none() || left.is_none(), "it came once");
        }
        assert!(given_up > 0, "some were cancelled first");
    });
}

/// In the field: a client gives up on a request, the reply comes late, and the next request on the connection gets it as its own; from there on every answer is off by one.
/// Here each call has a cell of its own, so a late reply goes nowhere and is handed back to the server as unwanted.
#[test]
fn a_reply_never_answers_another_request() {
    const CALLS: u32 = 24;
    on_both_hosts(async |cx| {
        let unwanted = Arc::new(AtomicU32::new(0));
        let handed_back = Arc::clone(&unwanted);
        let end = cx
            .region(async |scope| {
                let (client, mut server) = session::channel::<u32, u32>(2);
                scope.spawn(async move |cx: Cx| {
                    while let Ok((request, reply)) = server.accept(&cx).await {
                        if request % 3 == 0 {
                            // Longer than the client waits.
                            cx.sleep(4 * TICK).await?;
                        }
                        if let Err(late) = reply.send(request * 10) {
                            assert_eq!(late.into_inner(), request * 10);
                            handed_back.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    End::Ok(())
                });
                let cx = scope.cx();
                let mut answered = 0;
                for request in 0..CALLS {
                    // One request is given up soon, the next waits as long as it takes.
                    let patience = if request % 3 == 0 { TICK } else { FOREVER };
                    let call =
                        timeout(cx, patience, async |cx: Cx| client.call(&cx, request).await);
                    match call.await {
                        Outcome::Ok(response) => {
                            assert_eq!(response, request * 10, "the answer to this request");
                            answered += 1;
                        }
                        Outcome::Err(TimeoutError::Elapsed { .. }) => {}
                        other => panic!("{:?}", other.map(|_| ())),
                    }
                }
                drop(client);
                assert!(answered >= CALLS * 2 / 3, "{answered} were waited for");
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        assert!(
            unwanted.load(Ordering::SeqCst) > 0,
            "the server hears that a reply came too late"
        );
    });
}

/// A queue that delivers again what was not acknowledged, and the store that its messages are to get to.
#[derive(Default)]
struct Broker {
    waiting: Mutex<VecDeque<u32>>,
    stored: Mutex<Vec<u32>>,
    acked: Mutex<Vec<u32>>,
    is_free: Notify,
}

/// A message that is in the hands of one worker, who owes an acknowledgement.
struct Delivery {
    message: u32,
    ack: Option<Obligation>,
    broker: Arc<Broker>,
}

impl Delivery {
    fn next(cx: &Cx, broker: &Arc<Broker>) -> Option<Self> {
        let message = broker
            .waiting
            .lock()
            .expect("no holder panics")
            .pop_front()?;
        Some(Self {
            message,
            ack: Some(Obligation::reserve(cx, ObligationKind::Ack)),
            broker: Arc::clone(broker),
        })
    }

    /// Stores the message; only then there is something to acknowledge with.
    async fn persist(self, cx: &Cx) -> End<Persisted> {
        cx.sleep(moment(cx)).await?;
        self.broker
            .stored
            .lock()
            .expect("no holder panics")
            .push(self.message);
        Ok(Persisted(self))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.ack.is_some() {
            self.broker
                .waiting
                .lock()
                .expect("no holder panics")
                .push_back(self.message);
            self.broker.is_free.notify_one();
        }
    }
}

/// A delivery that is stored, and may be acknowledged.
struct Persisted(Delivery);

impl Persisted {
    fn ack(mut self) {
        let ack = self.0.ack.take().expect("acknowledged once");
        ack.commit().expect("the holder still runs");
        self.0
            .broker
            .acked
            .lock()
            .expect("no holder panics")
            .push(self.0.message);
    }
}

/// In the field: a consumer acknowledges a message when it gets it, is cancelled while it stores it, and the message is gone for good.
/// Here the acknowledgement is an obligation, settled by committing it; whoever is cancelled or dropped before that has aborted it, and the message is delivered again.
#[test]
fn a_message_is_acknowledged_only_after_it_was_stored() {
    on_both_hosts(async |cx| {
        let broker = Arc::new(Broker::default());
        broker
            .waiting
            .lock()
            .expect("no holder panics")
            .extend(0..EACH);
        while broker.acked.lock().expect("no holder panics").len() < EACH as usize {
            let Some(delivery) = Delivery::next(&cx, &broker) else {
                panic!("a message is neither waiting nor acknowledged");
            };
            let worker = async {
                delivery.persist(&cx).await?.ack();
                End::Ok(())
            };
            // Given up while it stores, one way or the other, unless it is quick enough.
            if broker.waiting.lock().expect("no holder panics").len() % 2 == 0 {
                let _given_up = dropped_soon(&cx, worker).await;
            } else {
                let _given_up = cancelled_soon(&cx, worker).await;
            }
        }
        let mut acked = broker.acked.lock().expect("no holder panics").clone();
        let stored = broker.stored.lock().expect("no holder panics");
        assert!(acked.iter().all(|message| stored.contains(message)));
        acked.sort_unstable();
        assert_eq!(acked, (0..EACH).collect::<Vec<_>>(), "each once");
    });
}

/// In the field: a handler returns early, and neither acknowledges nor rejects the message it was given; the broker waits for it until somebody looks.
/// Here the task that took the message owes the acknowledgement: its end finds it open, and the report names the task, the kind and the line that reserved it.
#[test]
fn an_acknowledgement_that_is_forgotten_is_reported() {
    let config = LabConfig::default().obligation_leak_response(LeakResponse::Log);
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        cx.region(async |scope| {
            scope.spawn(async |cx: Cx| {
                let broker = Arc::new(Broker::default());
                broker
                    .waiting
                    .lock()
                    .expect("no holder panics")
                    .push_back(7);
                let delivery = Delivery::next(&cx, &broker).expect("there is one");
                // Stored nowhere, acknowledged never, and kept from being dropped.
                std::mem::forget(delivery);
                End::Ok(())
            });
            End::Ok(())
        })
        .await
    });
    let laws: Vec<Law> = report.violations.iter().map(|found| found.law).collect();
    assert_eq!(laws, [Law::ObligationLeak]);
    let [Report::ObligationLeaked { owed, count: 1, .. }] = &report.reports[..] else {
        panic!("one leak is reported once: {:?}", report.reports);
    };
    assert_eq!(owed[0].kind, ObligationKind::Ack);
    assert!(owed[0].site.file().ends_with("values.rs"));
}
