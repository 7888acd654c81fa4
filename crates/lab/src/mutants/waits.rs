//! Programs in which one waits and another tells it, which nobody hears once a defect is switched on.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_sync::{
    Barrier, Condvar, Latch, Mutex, Notify, RwLock, Semaphore, broadcast, rendezvous, session,
    watch,
};

use super::{MOMENT, Unit, beside, in_region};
use crate::Violation;

pub(super) fn notified(seed: u64) -> Vec<Violation> {
    let notify = Arc::new(Notify::new());
    let own = Arc::clone(&notify);
    let waits = async move |cx: Cx| own.notified(&cx).await;
    beside(seed, waits, async move |_| notify.notify_one())
}

pub(super) fn watched(seed: u64) -> Vec<Violation> {
    let (sender, mut receiver) = watch::channel(0);
    // Whoever waits holds a sender itself, so the end of the others is no news.
    let own = sender.clone();
    let waits = async move |cx: Cx| {
        let _ = receiver.changed(&cx).await;
        drop(own);
        Unit::Ok(())
    };
    beside(seed, waits, async move |_| {
        let _ = sender.send(1);
    })
}

pub(super) fn broadcast(seed: u64) -> Vec<Violation> {
    let (sender, mut receiver) = broadcast::channel(4);
    // Whoever waits holds a sender itself, so the end of the others is no news.
    let own = sender.clone();
    let waits = async move |cx: Cx| {
        let _ = receiver.recv(&cx).await;
        drop(own);
        Unit::Ok(())
    };
    beside(seed, waits, async move |_| {
        let _ = sender.send(1);
    })
}

/// The receiver waits first.
pub(super) fn offered(seed: u64) -> Vec<Violation> {
    let (sender, receiver) = rendezvous::channel();
    let waits = async move |cx: Cx| {
        let _ = receiver.recv(&cx).await;
        Unit::Ok(())
    };
    beside(seed, waits, async move |cx| {
        let _ = sender.send(&cx, 7).await;
    })
}

/// The sender waits first.
pub(super) fn taken(seed: u64) -> Vec<Violation> {
    let (sender, receiver) = rendezvous::channel();
    let own = receiver.clone();
    let waits = async move |cx: Cx| {
        let _ = sender.send(&cx, 7).await;
        drop(own);
        Unit::Ok(())
    };
    beside(seed, waits, async move |cx| {
        let _ = receiver.recv(&cx).await;
    })
}

pub(super) fn met(seed: u64) -> Vec<Violation> {
    let barrier = Arc::new(Barrier::new(2));
    let own = Arc::clone(&barrier);
    let waits = async move |cx: Cx| own.wait(&cx).await.map(drop);
    beside(seed, waits, async move |cx| {
        let _ = barrier.wait(&cx).await;
    })
}

pub(super) fn signalled(seed: u64) -> Vec<Violation> {
    let shared = Arc::new((Mutex::new(false), Condvar::new()));
    let own = Arc::clone(&shared);
    let waits = async move |cx: Cx| {
        if let Ok(held) = own.0.lock(&cx).await {
            drop(own.1.wait_while(&cx, held, |is_done| !*is_done).await);
        }
        Unit::Ok(())
    };
    beside(seed, waits, async move |cx| {
        if let Ok(mut held) = shared.0.lock(&cx).await {
            *held = true;
        }
        shared.1.notify_one();
    })
}

pub(super) fn opened(seed: u64) -> Vec<Violation> {
    let latch = Arc::new(Latch::new(2));
    let own = Arc::clone(&latch);
    let waits = async move |cx: Cx| own.wait(&cx).await;
    beside(seed, waits, async move |_| {
        latch.count_down();
        latch.count_down();
    })
}

pub(super) fn admitted(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let semaphore = Arc::new(Semaphore::new(1));
        let held = semaphore.acquire(scope.cx()).await;
        let own = Arc::clone(&semaphore);
        drop(scope.spawn(async move |cx: Cx| {
            drop(own.acquire(&cx).await);
            Unit::Ok(())
        }));
        scope.cx().sleep(MOMENT).await?;
        drop(held);
        Unit::Ok(())
    })
}

pub(super) fn let_in(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let lock = Arc::new(RwLock::new(0_u32));
        let held = lock.write(scope.cx()).await;
        let own = Arc::clone(&lock);
        drop(scope.spawn(async move |cx: Cx| {
            drop(own.read(&cx).await);
            Unit::Ok(())
        }));
        scope.cx().sleep(MOMENT).await?;
        drop(held);
        Unit::Ok(())
    })
}

/// The caller waits while the server thinks.
pub(super) fn answered(seed: u64) -> Vec<Violation> {
    let (client, mut server) = session::channel::<u32, u32>(1);
    let answers = async move |cx: Cx| {
        if let Ok((question, reply)) = server.accept(&cx).await {
            cx.sleep(MOMENT).await?;
            let _ = reply.send(question + 1);
        }
        Unit::Ok(())
    };
    beside(seed, answers, async move |cx| {
        let _ = client.call(&cx, 1).await;
    })
}
