//! Programs in which somebody waits in line, and is overtaken once a defect is switched on.

use std::sync::Arc;

use asupersync_kernel::Cx;
use asupersync_sync::{RwLock, Semaphore};

use super::{MOMENT, Unit, in_region};
use crate::Violation;

/// One waits for two permits, while others come for one each.
pub(super) fn two_at_once(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let semaphore = Arc::new(Semaphore::new(2));
        let held = semaphore.acquire(scope.cx()).await;
        for need in [2, 1, 1] {
            let semaphore = Arc::clone(&semaphore);
            drop(scope.spawn(async move |cx: Cx| {
                let held = semaphore.acquire_many(&cx, need).await;
                cx.yield_now().await?;
                drop(held);
                Unit::Ok(())
            }));
            scope.cx().sleep(MOMENT).await?;
        }
        drop(held);
        Unit::Ok(())
    })
}

/// A writer waits for a reader, and another reader comes.
pub(super) fn writer_between_readers(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let lock = Arc::new(RwLock::new(0_u32));
        let held = lock.read(scope.cx()).await;
        let own = Arc::clone(&lock);
        drop(scope.spawn(async move |cx: Cx| {
            if let Ok(mut value) = own.write(&cx).await {
                *value += 1;
            }
            Unit::Ok(())
        }));
        scope.cx().sleep(MOMENT).await?;
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

/// Readers wait together for a writer.
pub(super) fn readers_behind_a_writer(seed: u64) -> Vec<Violation> {
    in_region(seed, async |scope| {
        let lock = Arc::new(RwLock::new(0_u32));
        let held = lock.write(scope.cx()).await;
        for _ in 0..3 {
            let own = Arc::clone(&lock);
            drop(scope.spawn(async move |cx: Cx| {
                let held = own.read(&cx).await;
                cx.yield_now().await?;
                drop(held);
                Unit::Ok(())
            }));
        }
        scope.cx().sleep(MOMENT).await?;
        drop(held);
        Unit::Ok(())
    })
}
