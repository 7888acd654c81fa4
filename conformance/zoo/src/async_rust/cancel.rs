//! What is lost with a future that is dropped or cancelled half-way.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::{Law, Var};
use asupersync_sync::{Notify, Semaphore, mpsc};

use super::cut::Cut;
use crate::stage::{End, Twin, boxed, crew, holds};
use crate::{Family, Program, Shows, ZooError};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "send-dropped",
        family: Family::AsyncRust,
        pattern: "a send that waits for room is dropped, and the value that it had taken with it",
        fix: "reserves the room first, and lets go of the value only then",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(send_dropped(cx, Twin::Buggy)),
        fixed: |cx| boxed(send_dropped(cx, Twin::Fixed)),
    },
    Program {
        name: "read-exact-dropped",
        family: Family::AsyncRust,
        pattern: "a read of a whole frame is dropped with half of it, and the rest is taken for the next frame",
        fix: "keeps what it has read outside of the future",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(read_exact_dropped(cx, Twin::Buggy)),
        fixed: |cx| boxed(read_exact_dropped(cx, Twin::Fixed)),
    },
    Program {
        name: "begin-dropped",
        family: Family::AsyncRust,
        pattern: "a transaction is dropped after it has begun, and its connection goes back to the pool with it",
        fix: "rolls back before the connection goes back",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(begin_dropped(cx, Twin::Buggy)),
        fixed: |cx| boxed(begin_dropped(cx, Twin::Fixed)),
    },
    Program {
        name: "slot-leaked",
        family: Family::AsyncRust,
        pattern: "an acquire takes its place in the pool by counting, and is dropped while it connects",
        fix: "holds the place by a guard from the first moment on",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(slot_leaked(cx, Twin::Buggy)),
        fixed: |cx| boxed(slot_leaked(cx, Twin::Fixed)),
    },
    Program {
        name: "leader-dropped",
        family: Family::AsyncRust,
        pattern: "the leader of a shared call is dropped, and its followers wait for a result that nobody makes",
        fix: "a leader that goes gives the lead to the next",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(leader_dropped(cx, Twin::Buggy)),
        fixed: |cx| boxed(leader_dropped(cx, Twin::Fixed)),
    },
    Program {
        name: "half-transfer",
        family: Family::AsyncRust,
        pattern: "a task is cancelled between the two changes of a transfer",
        fix: "shields both from cancellation",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(half_transfer(cx, Twin::Buggy)),
        fixed: |cx| boxed(half_transfer(cx, Twin::Fixed)),
    },
    Program {
        name: "ack-before-persist",
        family: Family::AsyncRust,
        pattern: "a message is acknowledged before it is stored, and its consumer is dropped in between",
        fix: "stores it first",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(ack_before_persist(cx, Twin::Buggy)),
        fixed: |cx| boxed(ack_before_persist(cx, Twin::Fixed)),
    },
    Program {
        name: "charged-twice",
        family: Family::AsyncRust,
        pattern: "a call is dropped after it has taken effect, and made again",
        fix: "carries a key by which the second is known for the first",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(charged_twice(cx, Twin::Buggy)),
        fixed: |cx| boxed(charged_twice(cx, Twin::Fixed)),
    },
    Program {
        name: "forgotten-permit",
        family: Family::AsyncRust,
        pattern: "a permit to send is forgotten on the path on which there turns out to be nothing to send",
        fix: "aborts it",
        shows: Shows::Law(Law::ObligationLeak),
        exhaustible: true,
        buggy: |cx| boxed(forgotten_permit(cx, Twin::Buggy)),
        fixed: |cx| boxed(forgotten_permit(cx, Twin::Fixed)),
    },
];

/// A `send` in a `select!`: three items go through a channel with room for one, and each is given up at most once.
async fn send_dropped(cx: Cx, twin: Twin) -> End {
    let (tx, mut rx) = mpsc::channel(1);
    let cut = Arc::new(Cut::default());
    cx.region(async |scope| {
        let sender = Arc::clone(&cut);
        scope.spawn(async move |cx: Cx| {
            for item in 1..=3 {
                cx.yield_now().await?;
                if twin.is_buggy() {
                    // Gives up waiting, and goes on with the next item.
                    let sent = sender.unless(&cx, tx.send(&cx, item)).await;
                    sent.transpose()?;
                    continue;
                }
                let permit = match sender.unless(&cx, tx.reserve(&cx)).await {
                    Some(permit) => permit,
                    None => tx.reserve(&cx).await,
                };
                permit.map_err(|_| ZooError::Closed)?.send(item)?;
            }
            End::Ok(())
        });
        let timer = Arc::clone(&cut);
        scope.spawn(async move |cx: Cx| timer.say(&cx).await);
        let mut sum = 0;
        while let Ok(item) = rx.recv(scope.cx()).await {
            cut.note();
            sum += item;
            scope.cx().yield_now().await?;
        }
        holds(sum == 6, "an item is lost with its send")
    })
    .await
    .flatten()
}

/// A `read_exact` in a `select!`: frames are two equal bytes.
async fn read_exact_dropped(cx: Cx, twin: Twin) -> End {
    let (tx, mut rx) = mpsc::channel(4);
    let cut = Arc::new(Cut::default());
    cx.region(async |scope| {
        let peer = Arc::clone(&cut);
        scope.spawn(async move |cx: Cx| {
            for byte in [1, 1, 2, 2] {
                cx.yield_now().await?;
                peer.note();
                tx.send(&cx, byte).await?;
            }
            End::Ok(())
        });
        let timer = Arc::clone(&cut);
        scope.spawn(async move |cx: Cx| timer.say(&cx).await);
        let cx = scope.cx();
        let mut frame = Vec::new();
        if cut
            .unless(cx, read_exact(cx, &mut rx, &mut frame))
            .await
            .is_none()
        {
            if twin.is_buggy() {
                // Bytes that a future had read into a buffer of its own go with it.
                frame.clear();
            }
            match read_exact(cx, &mut rx, &mut frame).await {
                // Too few are left for a whole frame.
                Err(ZooError::Closed) => {}
                read => read?,
            }
        }
        let is_whole = frame.len() == 2 && frame[0] == frame[1];
        holds(is_whole, "half a frame is read with half of the next")
    })
    .await
    .flatten()
}

/// Reads until `frame` has two bytes.
async fn read_exact(cx: &Cx, rx: &mut mpsc::Receiver<u8>, frame: &mut Vec<u8>) -> End {
    while frame.len() < 2 {
        frame.push(rx.recv(cx).await?);
    }
    Ok(())
}

/// A pool of one connection, which remembers whether a transaction is open on it.
async fn begin_dropped(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Cut::default(), Semaphore::new(1), Var::new(false)));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (cut, pool, in_transaction) = &*shared;
        match number {
            0 => cut.say(&cx).await,
            1 => {
                cx.yield_now().await?;
                let connection = pool.acquire(&cx).await?;
                let transaction = async {
                    in_transaction.set(&cx, true).await?;
                    in_transaction.set(&cx, false).await?;
                    End::Ok(())
                };
                if cut.unless(&cx, transaction).await.is_none() && twin.is_fixed() {
                    in_transaction.set(&cx, false).await?;
                }
                drop(connection);
                Ok(())
            }
            _ => {
                cx.yield_now().await?;
                let connection = pool.acquire(&cx).await?;
                let is_clean = !in_transaction.get(&cx).await?;
                drop(connection);
                holds(is_clean, "the pool gives a connection in a transaction")
            }
        }
    })
    .await
}

/// A pool of one place, whose acquire connects before it gives what it has.
async fn slot_leaked(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Cut::default(), Semaphore::new(1)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (cut, pool) = &*shared;
        if number == 0 {
            return cut.say(&cx).await;
        }
        let acquire = async {
            let mut place = Some(pool.acquire(&cx).await?);
            if twin.is_buggy() {
                place.take().into_iter().for_each(|place| place.forget());
            }
            // The handshake.
            cx.yield_now().await?;
            cx.yield_now().await?;
            Ok::<_, ZooError>(place)
        };
        if cut.unless(&cx, acquire).await.transpose()?.is_some() && twin.is_buggy() {
            pool.add_permits(1);
        }
        Ok(())
    })
    .await?;
    // Somebody comes later.
    drop(shared.1.acquire(&cx).await?);
    Ok(())
}

/// Where a shared call stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flight {
    Idle,
    Running,
    Landed,
}

/// A call that several want and one makes; the first task may be given up.
async fn leader_dropped(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Cut::default(), Var::new(Flight::Idle), Notify::new()));
    crew(&cx, &shared, 3, move |cx, shared, number| async move {
        let (cut, flight, changed) = &*shared;
        match number {
            0 => return cut.say(&cx).await,
            1 => {}
            _ => return call(&cx, flight, changed).await,
        }
        if cut.unless(&cx, call(&cx, flight, changed)).await.is_none() && twin.is_fixed() {
            // It can only have been the leader: nobody else gives up.
            flight.compare_exchange_now(&Flight::Running, Flight::Idle);
            changed.notify_waiters();
        }
        Ok(())
    })
    .await
}

async fn call(cx: &Cx, flight: &Var<Flight>, changed: &Notify) -> End {
    loop {
        cx.yield_now().await?;
        let news = changed.notified(cx);
        let seen = flight.update_now(|flight| {
            let seen = *flight;
            if seen == Flight::Idle {
                *flight = Flight::Running;
            }
            seen
        });
        match seen {
            Flight::Landed => return Ok(()),
            Flight::Running => news.await?,
            Flight::Idle => {
                flight.set(cx, Flight::Landed).await?;
                changed.notify_waiters();
                return Ok(());
            }
        }
    }
}

/// The task is told to stop, not dropped; each of its waits then fails.
async fn half_transfer(cx: Cx, twin: Twin) -> End {
    let accounts = Arc::new((Var::new(10), Var::new(0)));
    let moved = Arc::clone(&accounts);
    cx.region(async |scope| {
        let task = scope.spawn(async move |cx: Cx| {
            let transfer = async {
                moved.0.update(&cx, |balance| *balance -= 5).await?;
                moved.1.update(&cx, |balance| *balance += 5).await?;
                End::Ok(())
            };
            match twin {
                Twin::Buggy => transfer.await,
                Twin::Fixed => cx.shield(transfer).await,
            }
        });
        scope.cx().yield_now().await?;
        task.cancel();
        End::Ok(())
    })
    .await
    .flatten()?;
    let sum = accounts.0.get_now() + accounts.1.get_now();
    holds(sum == 10, "money is lost on the way")
}

/// A broker sends a message again that was not acknowledged.
async fn ack_before_persist(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Cut::default(), Var::new(false), Var::new(false)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (cut, is_acked, is_stored) = &*shared;
        if number == 0 {
            return cut.say(&cx).await;
        }
        let (first, second) = match twin {
            Twin::Buggy => (is_acked, is_stored),
            Twin::Fixed => (is_stored, is_acked),
        };
        let consume = async {
            first.set(&cx, true).await?;
            second.set(&cx, true).await
        };
        cut.unless(&cx, consume).await.transpose()?;
        if !is_acked.get(&cx).await? {
            is_stored.set(&cx, true).await?;
        }
        Ok(())
    })
    .await?;
    holds(shared.2.get_now(), "an acknowledged message is nowhere")
}

/// The effect of a call that was given up is not known, and its caller takes it for nothing.
async fn charged_twice(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Cut::default(), Var::new(Vec::new())));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (cut, charges) = &*shared;
        if number == 0 {
            return cut.say(&cx).await;
        }
        let charge = async || {
            let charge = |charges: &mut Vec<&str>| {
                if twin.is_buggy() || !charges.contains(&"order 7") {
                    charges.push("order 7");
                }
            };
            charges.update(&cx, charge).await?;
            // The answer is under way.
            cx.yield_now().await?;
            End::Ok(())
        };
        match cut.unless(&cx, charge()).await {
            Some(charged) => charged,
            None => charge().await,
        }
    })
    .await?;
    holds(shared.1.get_now().len() == 1, "the order is charged twice")
}

/// The news may be withdrawn while its sender reserves room for it.
async fn forgotten_permit(cx: Cx, twin: Twin) -> End {
    let (tx, rx) = mpsc::channel(1);
    let shared = Arc::new((tx, Var::new(false)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (tx, is_withdrawn) = &*shared;
        if number == 0 {
            return Ok(is_withdrawn.set(&cx, true).await?);
        }
        cx.yield_now().await?;
        let permit = tx.reserve(&cx).await.map_err(|_| ZooError::Closed)?;
        match (is_withdrawn.get(&cx).await?, twin) {
            (false, _) => permit.send(7)?,
            (true, Twin::Buggy) => std::mem::forget(permit),
            (true, Twin::Fixed) => permit.abort(),
        }
        Ok(())
    })
    .await?;
    // Kept until here, so that the channel stays open.
    drop(rx);
    Ok(())
}
