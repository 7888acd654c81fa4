//! Schedules that break a program are found, made small, told and replayed.

use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{
    Check, Crashpack, Finding, LabConfig, LabRuntime, Search, SearchReport, Strategy,
};

/// Tasks that add one each, by reading and writing in two steps; the sum is short if two of them cross.
async fn lossy_sum(cx: Cx, tasks: u64) -> Outcome<(), Cancelled> {
    let sum = Arc::new(AtomicU64::new(0));
    let end = cx
        .region(async |scope: Scope<'_, Cancelled>| {
            for _ in 0..tasks {
                let sum = Arc::clone(&sum);
                scope.spawn(async move |cx: Cx| {
                    let seen = sum.load(Ordering::Relaxed);
                    cx.yield_now().await?;
                    sum.store(seen + 1, Ordering::Relaxed);
                    Ok::<_, Cancelled>(())
                });
            }
            Ok::<_, Cancelled>(())
        })
        .await;
    assert_eq!(sum.load(Ordering::Relaxed), tasks, "an addition was lost");
    end
}

/// Two locks taken in opposite orders.
async fn crossed_locks(cx: Cx) -> Outcome<(), Cancelled> {
    let locks = Arc::new([
        asupersync_sync::Mutex::new(()),
        asupersync_sync::Mutex::new(()),
    ]);
    cx.region(async |scope: Scope<'_, Cancelled>| {
        for first in [0, 1] {
            let locks = Arc::clone(&locks);
            scope.spawn(async move |cx: Cx| {
                let _one = locks[first].lock(&cx).await;
                cx.yield_now().await?;
                let _other = locks[1 - first].lock(&cx).await;
                Ok::<_, Cancelled>(())
            });
        }
        Ok::<_, Cancelled>(())
    })
    .await
}

fn search(strategy: Strategy) -> SearchReport {
    Search::new(LabConfig::default())
        .strategies([strategy])
        .schedules(500)
        .run(async |cx| lossy_sum(cx, 3).await)
}

#[test]
fn every_strategy_finds_a_lost_update_and_makes_it_small() {
    for strategy in [
        Strategy::Random,
        Strategy::Pct { depth: 2 },
        Strategy::Pos,
        Strategy::Urw,
    ] {
        let report = search(strategy);
        let failure = report.failure.as_ref().expect("it is found");
        let finding = failure.run.finding.as_ref().expect("it is a failure");
        assert!(matches!(finding, Finding::Panicked { .. }), "{finding}");
        assert!(failure.run.schedule.decisions() <= 1, "{report}");
    }
}

#[test]
fn the_same_search_finds_the_same() {
    let found = |_| search(Strategy::Random).to_string();
    let [one, other] = [0, 1].map(found);
    assert_eq!(one, other);
}

#[test]
fn threads_change_who_searches_and_not_whether_it_is_found() {
    let search = Search::new(LabConfig::default()).schedules(300);
    let report = search.run_on(2, async |cx| lossy_sum(cx, 2).await);
    assert!(report.failure.is_some());
    let clean = search.run_on(2, async |cx: Cx| cx.yield_now().await);
    clean.assert_clean();
}

#[test]
fn a_schedule_replays_the_run_event_for_event() {
    for seed in 0..20 {
        let config = LabConfig::default().seed(seed);
        let program = async |cx| crossed_locks(cx).await;
        let drawn = LabRuntime::new(config.clone()).run(program);
        let replayed = LabRuntime::new(config.replay(drawn.schedule.clone())).run(program);
        assert_eq!(drawn.trace.divergence(&replayed.trace), None);
        assert_eq!(drawn.schedule, replayed.schedule);
        assert_eq!(drawn.end, replayed.end);
    }
}

#[test]
fn a_deadlock_is_found_and_needs_one_decision_at_most() {
    let report = Search::new(LabConfig::default()).run(async |cx| crossed_locks(cx).await);
    let failure = report.failure.expect("it is found");
    let finding = failure.run.finding.as_ref().expect("it is a failure");
    assert!(
        matches!(finding, Finding::Stalled { .. } | Finding::Violated(_)),
        "{finding}"
    );
    assert!(failure.run.schedule.decisions() <= 1, "{failure}");
}

#[test]
fn a_failing_check_tells_what_led_to_it_and_leaves_a_pack_that_replays() {
    let check = Check::new("search::a_lost_update").seeds(50);
    let failed = catch_unwind(|| check.run(async |cx| lossy_sum(cx, 2).await));
    let payload = failed.expect_err("it fails");
    let message = payload.downcast_ref::<String>().expect("it is a text");
    assert!(message.contains("an addition was lost"), "{message}");
    assert!(message.contains("T1.1 search.rs:"), "{message}");
    let path = message
        .lines()
        .find_map(|line| line.trim().strip_prefix("crashpack: "))
        .expect("the pack is named");
    let pack = Crashpack::load(path.as_ref()).expect("it is whole");
    assert_eq!(pack.program, "search::a_lost_update");
    let config = LabConfig::default().seed(pack.seed).replay(pack.schedule);
    let report = LabRuntime::new(config).run(async |cx| lossy_sum(cx, 2).await);
    let Some(Finding::Panicked { message }) = Finding::of(&report) else {
        panic!("{:?}", report.outcome);
    };
    assert_eq!(pack.finding, format!("panicked: {message}"));
    let replayed = &report.trace.events[..pack.trace.events.len()];
    assert_eq!(replayed, &pack.trace.events[..]);
}

/// A task that holds a value back while it waits, and loses it if it is dropped there.
async fn forgetful(cx: Cx, forgets: bool) -> Outcome<(), Cancelled> {
    let semaphore = Arc::new(asupersync_sync::Semaphore::new(1));
    cx.region(async |scope: Scope<'_, Cancelled>| {
        let own = Arc::clone(&semaphore);
        scope.spawn(async move |cx: Cx| {
            let permit = own.acquire(&cx).await;
            if forgets {
                std::mem::forget(permit);
                cx.yield_now().await?;
                own.add_permits(1);
            } else {
                cx.yield_now().await?;
            }
            Ok::<_, Cancelled>(())
        });
        Ok::<_, Cancelled>(())
    })
    .await
}

#[test]
fn a_task_that_cleans_up_by_hand_is_caught_where_it_is_cut_short() {
    let check = Check::new("search::cut").seeds(2).every_await();
    check.run(async |cx| forgetful(cx, false).await);
    let failed = catch_unwind(|| check.run(async |cx| forgetful(cx, true).await));
    failed.expect_err("the permit is gone");
}
