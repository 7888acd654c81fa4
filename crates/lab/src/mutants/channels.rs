//! Programs in which a channel loses something, once its defect is switched on.

use asupersync_kernel::Cx;
use asupersync_sync::{broadcast, oneshot, rendezvous, session, watch};

use super::{MOMENT, Unit, beside};
use crate::Violation;

/// One value through a channel for one.
pub(super) fn one_value(seed: u64) -> Vec<Violation> {
    let (sender, mut receiver) = oneshot::channel();
    let receives = async move |cx: Cx| {
        let _ = receiver.recv(&cx).await;
        Unit::Ok(())
    };
    beside(seed, receives, async move |_| {
        let _ = sender.send(7);
    })
}

/// Messages to two receivers, one of which is slow and misses some.
pub(super) fn news(seed: u64) -> Vec<Violation> {
    let (sender, mut quick) = broadcast::channel(4);
    let mut slow = sender.subscribe();
    let receives = async move |cx: Cx| {
        while quick.recv(&cx).await.is_ok() {}
        Unit::Ok(())
    };
    beside(seed, receives, async move |cx| {
        for message in 0..6 {
            let _ = sender.send(message);
        }
        for _ in 0..3 {
            let _ = slow.recv(&cx).await;
        }
    })
}

/// A value is given to a receiver that is cancelled before it takes it.
pub(super) fn given_and_left(seed: u64) -> Vec<Violation> {
    super::found(super::lab(seed).run(async |cx: Cx| {
        let (sender, receiver) = rendezvous::channel();
        let _ = cx
            .region(async |scope| {
                let other = receiver.clone();
                let leaver = scope.spawn(async move |cx: Cx| {
                    let _ = other.recv(&cx).await;
                    Unit::Ok(())
                });
                scope.cx().sleep(MOMENT).await?;
                let _ = sender.try_send(7);
                leaver.cancel();
                let _ = leaver.join(scope.cx()).await;
                let _ = receiver.try_recv();
                Unit::Ok(())
            })
            .await;
        Unit::Ok(())
    }))
}

/// Two questions and their answers.
pub(super) fn questions(seed: u64) -> Vec<Violation> {
    let (client, mut server) = session::channel::<u32, u32>(1);
    let answers = async move |cx: Cx| {
        while let Ok((question, reply)) = server.accept(&cx).await {
            let _ = reply.send(question + 1);
        }
        Unit::Ok(())
    };
    beside(seed, answers, async move |cx| {
        for question in 0..2 {
            let _ = client.call(&cx, question).await;
        }
    })
}

/// A value that changes twice, and one who watches it.
pub(super) fn changes(seed: u64) -> Vec<Violation> {
    let (sender, mut receiver) = watch::channel(0);
    let watches = async move |cx: Cx| {
        for _ in 0..3 {
            if receiver.changed(&cx).await.is_err() {
                break;
            }
        }
        Unit::Ok(())
    };
    beside(seed, watches, async move |cx| {
        for value in 1..3 {
            let _ = sender.send(value);
            cx.yield_now().await.unwrap_or_default();
        }
    })
}
