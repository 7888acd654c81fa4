//! What becomes of a timer stands in the trace.

use std::time::Duration;

use asupersync_core::{Cancelled, Time};
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
