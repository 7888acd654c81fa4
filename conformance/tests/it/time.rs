//! Sleeps and intervals.

use std::task::{Context, Waker};
use std::time::Duration;

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_time::{MissedTick, interval};

use crate::support::{End, FOREVER, TICK, reason_of};

#[test]
fn a_sleep_is_never_early() {
    on_both_hosts(async |cx| {
        for millis in [0, 1, 3] {
            let (duration, before) = (Duration::from_millis(millis), cx.now());
            cx.sleep(duration).await.expect("nothing is cancelled");
            assert!(cx.now() - before >= duration);
        }
        let before = cx.now();
        cx.sleep_until(before + TICK)
            .await
            .expect("nothing is cancelled");
        assert!(cx.now() >= before + TICK);
    });
}

#[test]
fn an_interval_ticks_at_its_pace_and_hears_of_cancellation() {
    on_both_hosts(async |cx| {
        let mut beat = interval(&cx, TICK).missed_tick(MissedTick::Delay);
        let first = beat.tick().await.expect("nothing is cancelled");
        let second = beat.tick().await.expect("nothing is cancelled");
        assert!(second - first >= TICK);
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| -> End {
                    let mut beat = interval(&cx, FOREVER);
                    loop {
                        beat.tick().await?;
                    }
                });
                scope.cx().sleep(TICK).await?;
                task.cancel();
                let reason = reason_of(task.join(scope.cx()).await);
                assert!(!reason.escalated());
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_sleep_that_is_first_polled_after_its_end_ends() {
    on_both_hosts(async |cx| {
        let late = cx.sleep(TICK);
        let end = late.deadline();
        cx.sleep(TICK * 3).await.expect("nobody cancels");
        assert!(cx.now() > end);
        late.await.expect("nobody cancels");
    });
}

#[test]
fn a_sleep_wakes_the_last_waker_that_it_was_polled_with() {
    on_both_hosts(async |cx| {
        let mut sleep = std::pin::pin!(cx.sleep(TICK));
        let mut nobody = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut nobody).is_pending());
        sleep.await.expect("nobody cancels");
    });
}
