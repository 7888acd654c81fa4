//! Work that goes on when nobody wants it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use asupersync_combinator::race;
use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_time::{TimeoutError, timeout};

use crate::support::{AppError, FOREVER, Live, LiveGuard, TICK};

/// Work that spawns a task, which writes again and again until it is told to stop, and then takes a moment to clean up.
async fn write_for_ever(cx: Cx, live: LiveGuard, writes: Arc<AtomicU32>) -> Outcome<u32, AppError> {
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            let _live = live;
            while cx.sleep(TICK / 8).await.is_ok() {
                writes.fetch_add(1, Ordering::SeqCst);
            }
            cx.shield(cx.sleep(TICK)).await?;
            writes.fetch_add(1, Ordering::SeqCst);
            cx.checkpoint()?;
            Ok::<_, AppError>(())
        });
        scope.cx().sleep(FOREVER).await?;
        Ok::<_, AppError>(0)
    })
    .await
}

/// Nothing is left of the work, and nothing of it happens later.
async fn assert_over(cx: &Cx, live: &Live, writes: &AtomicU32) {
    let before = writes.load(Ordering::SeqCst);
    assert!(before > 0, "it did run");
    assert_eq!(live.count(), 0, "it has ended, cleanup included");
    cx.sleep(4 * TICK).await.expect("nobody cancels this");
    assert_eq!(writes.load(Ordering::SeqCst), before);
}

/// In the field: `select!` drops the future that lost, but the task that it had spawned is detached and goes on, writing to what the winner believes to have for itself.
/// Here what a branch spawns belongs to a region within it, and a race returns when its losers have drained.
#[test]
fn the_loser_of_a_race_does_nothing_after_the_race() {
    on_both_hosts(async |cx| {
        let (live, writes) = (Live::default(), Arc::new(AtomicU32::new(0)));
        let loser = |cx: Cx| write_for_ever(cx, live.enter(), Arc::clone(&writes));
        let winner = async |cx: Cx| {
            while writes.load(Ordering::SeqCst) == 0 {
                cx.sleep(TICK).await?;
            }
            Ok::<_, AppError>(1)
        };
        assert_eq!(race(&cx, (loser, winner)).await, Outcome::Ok(1));
        assert_over(&cx, &live, &writes).await;
    });
}

/// In the field: `timeout(d, handle)` drops the handle of a task and not the task, which goes on holding its connection and its locks.
/// Here a handle is not the owner: what runs under a timeout is cancelled and drained before the timeout returns.
#[test]
fn a_timeout_leaves_no_task_behind() {
    on_both_hosts(async |cx| {
        let (live, writes) = (Live::default(), Arc::new(AtomicU32::new(0)));
        let body = |cx: Cx| write_for_ever(cx, live.enter(), Arc::clone(&writes));
        let after = 10 * TICK;
        let end = timeout(&cx, after, body).await;
        assert_eq!(end, Outcome::Err(TimeoutError::Elapsed { after }));
        assert_over(&cx, &live, &writes).await;
    });
}
