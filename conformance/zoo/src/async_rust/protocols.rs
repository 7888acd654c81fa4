//! Protocols between tasks: leases, replies, caches, subscriptions.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::{Mutex, mpsc, watch};

use super::cut::Cut;
use crate::stage::{End, Twin, boxed, crew, holds, lock};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "late-reply",
        family: Family::AsyncRust,
        pattern: "a request is given up, and its late reply is the first that the next request finds on the connection",
        fix: "a reply says to which request it belongs",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(late_reply(cx, Twin::Buggy)),
        fixed: |cx| boxed(late_reply(cx, Twin::Fixed)),
    },
    Program {
        name: "stale-lease",
        family: Family::AsyncRust,
        pattern: "a holder looks at its lease, the lease goes to another, and the first writes after the second",
        fix: "a write carries the lease's number, and the storage refuses old ones",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(stale_lease(cx, Twin::Buggy)),
        fixed: |cx| boxed(stale_lease(cx, Twin::Fixed)),
    },
    Program {
        name: "stale-cache",
        family: Family::AsyncRust,
        pattern: "a reader fills the cache with what it had read before the value changed and the cache was emptied",
        fix: "fills it only if it was not emptied since the read",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(stale_cache(cx, Twin::Buggy)),
        fixed: |cx| boxed(stale_cache(cx, Twin::Fixed)),
    },
    Program {
        name: "refresh-stampede",
        family: Family::AsyncRust,
        pattern: "two tasks find that a token has expired, and the second refresh spends a refresh token that the first has spent",
        fix: "refreshes under a lock, and looks again once it has it",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(refresh_stampede(cx, Twin::Buggy)),
        fixed: |cx| boxed(refresh_stampede(cx, Twin::Fixed)),
    },
    Program {
        name: "snapshot-then-subscribe",
        family: Family::AsyncRust,
        pattern: "a client reads the state and then subscribes to its changes, and misses the one in between",
        fix: "subscribes first",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(snapshot_then_subscribe(cx, Twin::Buggy)),
        fixed: |cx| boxed(snapshot_then_subscribe(cx, Twin::Fixed)),
    },
    Program {
        name: "watch-as-queue",
        family: Family::AsyncRust,
        pattern: "values that must all be seen go through a channel that keeps the latest only",
        fix: "they go through a channel that keeps them all",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(watch_as_queue(cx)),
        fixed: |cx| boxed(queue_as_queue(cx)),
    },
    Program {
        name: "accepted-after-drain",
        family: Family::AsyncRust,
        pattern: "a job is accepted because the server was open a moment ago, and queued after the last look at the queue",
        fix: "looks and queues in one step",
        shows: Shows::Error,
        exhaustible: true,
        buggy: |cx| boxed(accepted_after_drain(cx, Twin::Buggy)),
        fixed: |cx| boxed(accepted_after_drain(cx, Twin::Fixed)),
    },
    Program {
        name: "mailbox-circle",
        family: Family::AsyncRust,
        pattern: "two actors send to each other while their own mailboxes are full of their clients' messages",
        fix: "a mailbox has room for whatever its senders may have under way",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(mailbox_circle(cx, 1)),
        fixed: |cx| boxed(mailbox_circle(cx, 4)),
    },
];

/// One connection, on which replies come in the order of the requests.
async fn late_reply(cx: Cx, twin: Twin) -> End {
    let (requests, mut incoming) = mpsc::channel(2);
    let (outgoing, mut replies) = mpsc::channel(2);
    let cut = Arc::new(Cut::default());
    cx.region(async |scope| {
        let server = Arc::clone(&cut);
        scope.spawn(async move |cx: Cx| {
            while let Ok(request) = incoming.recv(&cx).await {
                cx.yield_now().await?;
                server.note();
                outgoing.send(&cx, request).await?;
            }
            End::Ok(())
        });
        let timer = Arc::clone(&cut);
        scope.spawn(async move |cx: Cx| timer.say(&cx).await);
        let cx = scope.cx();
        requests.send(cx, 1).await?;
        let first = cut.unless(cx, replies.recv(cx)).await.transpose()?;
        requests.send(cx, 2).await?;
        let mut second = replies.recv(cx).await?;
        while twin.is_fixed() && second != 2 {
            second = replies.recv(cx).await?;
        }
        drop(requests);
        holds(
            first.is_none_or(|reply| reply == 1),
            "the first reply is another's",
        )?;
        holds(
            second == 2,
            "the second request gets the reply to the first",
        )
    })
    .await
    .flatten()
}

/// The second task takes the lease over as if the first had let it expire.
async fn stale_lease(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(1), Var::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (lease, written_by) = &*shared;
        let own = number + 1;
        if number == 1 {
            lease.set(&cx, own).await?;
        } else if lease.get(&cx).await? != own {
            return Ok(());
        }
        if twin.is_buggy() {
            return Ok(written_by.set(&cx, own).await?);
        }
        Ok(written_by
            .update(&cx, |last| *last = own.max(*last))
            .await?)
    })
    .await?;
    holds(
        shared.1.get_now() == 2,
        "who has lost the lease writes last",
    )
}

/// A cache beside a store; the cache's number counts how often it was emptied.
async fn stale_cache(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Var::new(1), Var::new((0, None))));
    crew(&cx, &shared, 2, move |cx, shared, number| async move {
        let (store, cache) = &*shared;
        if number == 0 {
            store.set(&cx, 2).await?;
            let empty = |cache: &mut (u32, Option<i32>)| *cache = (cache.0 + 1, None);
            return Ok(cache.update(&cx, empty).await?);
        }
        let (emptied, _) = cache.get(&cx).await?;
        let value = store.get(&cx).await?;
        let fill = |cache: &mut (u32, Option<i32>)| {
            if twin.is_buggy() || cache.0 == emptied {
                cache.1 = Some(value);
            }
        };
        Ok(cache.update(&cx, fill).await?)
    })
    .await?;
    let (_, cached) = shared.1.get_now();
    holds(
        cached.is_none_or(|value| value == 2),
        "the cache keeps an old value",
    )
}

/// A token that is good for the same number as its refresh token, which can be spent once.
async fn refresh_stampede(cx: Cx, twin: Twin) -> End {
    let shared = Arc::new((Mutex::new(()), Var::new(0), Var::new(0)));
    crew(&cx, &shared, 2, move |cx, shared, _| async move {
        let (refreshing, token, spent) = &*shared;
        let mut seen = token.get(&cx).await?;
        if seen != 0 {
            return Ok(());
        }
        let guard = match twin {
            Twin::Buggy => None,
            Twin::Fixed => {
                let guard = lock(&cx, refreshing).await?;
                seen = token.get(&cx).await?;
                Some(guard)
            }
        };
        if seen == 0 {
            let spent = spent.update(&cx, |count| std::mem::replace(count, *count + 1));
            holds(spent.await? == 0, "the refresh token is spent twice")?;
            token.set(&cx, 1).await?;
        }
        drop(guard);
        Ok(())
    })
    .await
}

/// A server changes its state once and tells its subscriber, if it has one.
async fn snapshot_then_subscribe(cx: Cx, twin: Twin) -> End {
    let (tx, mut rx) = mpsc::channel(1);
    let shared = Arc::new((Var::new(0), Var::new(None), Var::new(0)));
    let server = Arc::clone(&shared);
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            server.0.set(&cx, 1).await?;
            if let Some(subscriber) = server.1.get(&cx).await? {
                let subscriber: mpsc::Sender<i32> = subscriber;
                subscriber.send(&cx, 1).await?;
            }
            End::Ok(())
        });
        let (state, subscriber, seen) = &*shared;
        if twin.is_fixed() {
            subscriber.set(scope.cx(), Some(tx)).await?;
            seen.set_now(state.get(scope.cx()).await?);
        } else {
            seen.set_now(state.get(scope.cx()).await?);
            subscriber.set(scope.cx(), Some(tx)).await?;
        }
        End::Ok(())
    })
    .await
    .flatten()?;
    let is_known = shared.2.get_now() == 1 || rx.try_recv().is_ok();
    holds(is_known, "the client never hears of the change")
}

/// A `watch` is a place, not a queue.
async fn watch_as_queue(cx: Cx) -> End {
    let (tx, mut rx) = watch::channel(0);
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            for value in 1..=2 {
                cx.yield_now().await?;
                // The receiver may have all that it wants.
                let _ = tx.send(value);
            }
            End::Ok(())
        });
        let mut sum = 0;
        while rx.changed(scope.cx()).await.is_ok() {
            sum += *rx.borrow_and_update();
        }
        holds(sum == 3, "a value is never seen")
    })
    .await
    .flatten()
}

/// [`watch_as_queue`] with a queue.
async fn queue_as_queue(cx: Cx) -> End {
    let (tx, mut rx) = mpsc::channel(2);
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            for value in 1..=2 {
                cx.yield_now().await?;
                tx.send(&cx, value).await?;
            }
            End::Ok(())
        });
        let mut sum = 0;
        while let Ok(value) = rx.recv(scope.cx()).await {
            sum += value;
        }
        holds(sum == 3, "a value is never seen")
    })
    .await
    .flatten()
}

/// A server that is shut down: closed first, then its queue is worked off.
async fn accepted_after_drain(cx: Cx, twin: Twin) -> End {
    let server = Arc::new((Var::new(true), Var::new((true, 0))));
    crew(&cx, &server, 2, move |cx, server, number| async move {
        let (is_open, both) = &*server;
        if number == 0 {
            is_open.set(&cx, false).await?;
            return Ok(both.set(&cx, (false, 0)).await?);
        }
        if is_open.get(&cx).await? {
            let queue = |both: &mut (bool, u32)| {
                if twin.is_buggy() || both.0 {
                    both.1 += 1;
                }
            };
            both.update(&cx, queue).await?;
        }
        Ok(())
    })
    .await?;
    holds(server.1.get_now().1 == 0, "an accepted job is never done")
}

/// What an actor gets.
#[derive(Clone, Copy)]
enum Letter {
    /// From a client: tell the other actor.
    Tell,
    /// From the other actor.
    Told,
}

/// Each of two actors has two letters from its client, and tells the other of each.
async fn mailbox_circle(cx: Cx, capacity: usize) -> End {
    let (left_tx, left_rx) = mpsc::channel(capacity);
    let (right_tx, right_rx) = mpsc::channel(capacity);
    cx.region(async |scope| {
        for own in [left_tx.clone(), right_tx.clone()] {
            scope.spawn(async move |cx: Cx| {
                for _ in 0..2 {
                    cx.yield_now().await?;
                    own.send(&cx, Letter::Tell).await?;
                }
                End::Ok(())
            });
        }
        for (mut mailbox, other) in [(left_rx, right_tx), (right_rx, left_tx)] {
            scope.spawn(async move |cx: Cx| {
                for _ in 0..4 {
                    if let Letter::Tell = mailbox.recv(&cx).await? {
                        cx.yield_now().await?;
                        other.send(&cx, Letter::Told).await?;
                    }
                }
                End::Ok(())
            });
        }
        End::Ok(())
    })
    .await
    .flatten()
}
