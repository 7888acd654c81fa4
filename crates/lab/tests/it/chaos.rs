//! Faults at poll points: each happens, is told, is replayed, and is taken out again where it is not needed.

use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, Event, Scope};
use asupersync_lab::{Faults, LabConfig, LabRuntime, Schedule, Search, Strategy, minimize};

/// Three tasks that take turns for a while.
async fn turns(cx: Cx) -> Outcome<(), Cancelled> {
    cx.region(async |scope: Scope<'_, Cancelled>| {
        for _ in 0..3 {
            scope.spawn(async |cx: Cx| {
                for _ in 0..5 {
                    cx.yield_now().await?;
                    cx.sleep(Duration::from_millis(1)).await?;
                }
                Ok::<_, Cancelled>(())
            });
        }
        Ok::<_, Cancelled>(())
    })
    .await
}

fn faults_of(faults: Faults) -> Vec<String> {
    let mut seen = Vec::new();
    for seed in 0..20 {
        let config = LabConfig::default().seed(seed).faults(faults);
        let report = LabRuntime::new(config.clone()).run(turns);
        assert!(report.is_clean(), "{}", report.failure());
        let again = LabRuntime::new(config.replay(report.schedule.clone())).run(turns);
        assert_eq!(report.trace.divergence(&again.trace), None);
        let named = report.trace.iter().filter_map(|event| match event {
            Event::FaultInjected { fault, .. } => Some(fault.to_string()),
            _ => None,
        });
        seen.extend(named);
    }
    seen
}

fn check(faults: Faults, name: &str) {
    let seen = faults_of(faults.at_most(3));
    assert!(!seen.is_empty(), "{name} never happened");
    assert!(seen.iter().all(|seen| seen == name), "{seen:?}");
    assert!(seen.len() <= 60);
}

#[test]
fn each_fault_happens_is_named_and_is_replayed() {
    let none = Faults::none();
    check(none.cancel(0.1), "chaos.cancel");
    check(none.exhaust(0.1), "chaos.exhaust");
    check(none.panic(0.1), "chaos.panic");
    check(none.delay(0.1, Duration::from_secs(1)), "chaos.delay");
    check(none.wake_storm(0.1), "chaos.wake_storm");
    check(
        none.clock_jump(0.1, Duration::from_secs(9)),
        "chaos.clock_jump",
    );
    assert_eq!(faults_of(none), Vec::<String>::new());
}

/// A holder of a lease that acts after a check of the time, without looking again.
async fn stale_lease(cx: Cx) -> Result<(), Cancelled> {
    let lease_ends = cx.now() + Duration::from_millis(100);
    cx.yield_now().await?;
    cx.yield_now().await?;
    assert!(cx.now() < lease_ends, "acted after the lease had ended");
    Ok(())
}

#[test]
fn a_delay_shows_a_stale_lease_and_the_faults_that_are_not_needed_go() {
    let faults = Faults::none()
        .delay(0.3, Duration::from_secs(1))
        .wake_storm(0.3);
    let report = Search::new(LabConfig::default().faults(faults))
        .strategies([Strategy::Random])
        .run(stale_lease);
    let failure = report.failure.expect("it is found");
    assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
    let faults = failure.run.schedule.faults();
    assert_eq!(faults.iter().sum::<u32>(), 1, "the shortest delay will do");
}

/// A lease that may become stale, beside two tasks that only take turns.
async fn lease_among_others(cx: Cx) -> Outcome<(), Cancelled> {
    cx.region(async |scope: Scope<'_, Cancelled>| {
        for _ in 0..2 {
            scope.spawn(async |cx: Cx| {
                for _ in 0..3 {
                    cx.yield_now().await?;
                }
                Ok::<_, Cancelled>(())
            });
        }
        scope.spawn(stale_lease);
        Ok::<_, Cancelled>(())
    })
    .await
}

#[test]
fn a_fault_strikes_whom_it_struck_also_where_others_go_first() {
    let faults = Faults::none().delay(0.1, Duration::from_secs(1));
    let config = LabConfig::default().faults(faults);
    let mut tried = 0;
    for place in 0..12 {
        let mut faults = vec![0; place];
        faults.push(1);
        let schedule = Schedule::new(vec![2, 1, 2, 1], faults, None);
        let failure = minimize(&config, schedule, 1_000, lease_among_others);
        // Elsewhere the delay strikes another.
        let Some(failure) = failure else { continue };
        assert_eq!(failure.found_decisions, 5);
        assert_eq!(failure.run.schedule.decisions(), 1, "{failure}");
        tried += 1;
    }
    assert!(tried > 0, "the lease was never delayed");
}

#[test]
fn a_search_goes_on_for_faults_when_every_order_was_seen() {
    let faults = Faults::none().clock_jump(0.003, Duration::from_secs(1));
    let report = Search::new(LabConfig::default().faults(faults)).run(stale_lease);
    let failure = report.failure.expect("it is found");
    // The systematic search of the portfolio has long finished by then.
    assert!(failure.number > 20, "{failure}");
    let search = Search::new(LabConfig::default()).strategies([Strategy::Dpor]);
    assert!(search.run(stale_lease).is_exhausted);
}
