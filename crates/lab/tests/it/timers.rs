//! What becomes of a timer stands in the trace.

use std::time::Duration;

use asupersync_core::{CancelKind, CancelStage, Cancelled, Outcome, Time};
use asupersync_kernel::{Cx, Event};
use asupersync_lab::{LabConfig, LabRuntime, Trace};

fn timers(trace: &Trace) -> Vec<Event> {
    let is_timer = |event: &&Event| {
        matches!(
            event,
            Event::TimerSet { .. } | Event::TimerFired { .. } | Event::TimerCancelled { .. }
        )
    };
    trace.iter().filter(is_timer).cloned().collect()
}

#[test]
fn a_timer_that_fires_says_so() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        cx.sleep(Duration::from_secs(3)).await?;
        Ok::<_, Cancelled>(())
    });
    report.assert_clean();
    let at = Time::from_secs(3);
    assert_eq!(
        timers(&report.trace),
        [Event::TimerSet { at }, Event::TimerFired { at }]
    );
}

#[test]
fn a_timer_that_is_taken_back_says_so_and_never_fires() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let end = cx
            .region(async |scope| {
                let sleeper = scope.spawn(async |cx: Cx| cx.sleep(Duration::from_secs(60)).await);
                scope.cx().sleep(Duration::from_secs(1)).await?;
                sleeper.cancel();
                let _ = sleeper.join(scope.cx()).await;
                Ok::<_, Cancelled>(())
            })
            .await;
        assert!(end.is_ok());
        Ok::<_, Cancelled>(())
    });
    report.assert_clean();
    let events = timers(&report.trace);
    assert!(events.contains(&Event::TimerCancelled {
        at: Time::from_secs(60)
    }));
    assert!(!events.contains(&Event::TimerFired {
        at: Time::from_secs(60)
    }));
}

/// Thirty simulated days of three sleepers cost as many polls as there are naps, and no more.
#[test]
fn idle_time_costs_no_steps() {
    const HOUR: u64 = 3_600;
    const SPAN_HOURS: u64 = 30 * 24;
    let naps_hours = [1, 6, 24];
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let end = cx.region(async |scope| {
            for nap in naps_hours {
                scope.spawn(async move |cx: Cx| {
                    for _ in 0..SPAN_HOURS / nap {
                        cx.sleep(Duration::from_secs(nap * HOUR)).await?;
                    }
                    Ok::<_, Cancelled>(())
                });
            }
            Ok::<_, Cancelled>(())
        });
        end.await
    });
    report.assert_clean();
    assert_eq!(report.elapsed, Duration::from_secs(SPAN_HOURS * HOUR));
    let naps: u64 = naps_hours.iter().map(|nap| SPAN_HOURS / nap).sum();
    // Each task's first poll; the root's first, and its last when the others have ended.
    let others = naps_hours.len() as u64 + 2;
    assert_eq!(report.steps, naps + others);
    let jumps = report.trace.iter();
    let jumps = jumps.filter(|event| matches!(event, Event::ClockAdvanced { .. }));
    assert_eq!(jumps.count() as u64, SPAN_HOURS, "one each hour");
}

/// No poll is charged while a task waits, so only the clock can end its cleanup.
#[test]
fn the_cleanup_of_a_task_that_waits_ends_by_the_clock() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let end = cx
            .region(async |scope| {
                let task = scope.spawn(async |cx: Cx| {
                    cx.shield(cx.sleep(Duration::from_secs(24 * 3600))).await?;
                    Ok::<_, Cancelled>(())
                });
                scope.cx().sleep(Duration::from_secs(1)).await?;
                task.cancel();
                let end = task.join(scope.cx()).await;
                Ok::<_, Cancelled>((end, scope.cx().now()))
            })
            .await;
        let (end, at) = end.ok().expect("the body does not fail");
        let Outcome::Cancelled(reason) = end else {
            panic!("{end:?}");
        };
        assert_eq!(reason.stage(), CancelStage::Unshielded);
        let cleanup = CancelKind::User.cleanup_budget(Time::from_secs(1));
        assert_eq!(Some(at), cleanup.deadline);
        Ok::<_, Cancelled>(())
    });
    report.assert_clean();
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
}
