//! The dispatch bound, and the order within each lane.

use super::*;
use crate::config::SchedConfig;
use proptest::prelude::*;

type Item = (LaneKind, u64);

fn single() -> Worker<Box<Item>> {
    let (_, mut workers) = Shared::new(SchedConfig::default());
    workers.remove(0)
}

fn ready(worker: &Worker<Box<Item>>, n: u64) {
    assert_eq!(
        worker.push(Box::new((LaneKind::Ready, n))),
        None,
        "nobody sleeps"
    );
}

fn timed(worker: &Worker<Box<Item>>, n: u64) {
    assert_eq!(
        worker.push_timed(Box::new((LaneKind::Timed, n)), Time::from_nanos(n), 0),
        None
    );
}

fn cancelled(worker: &Worker<Box<Item>>, n: u64) {
    assert_eq!(worker.push_cancel(Box::new((LaneKind::Cancel, n))), None);
}

/// Keeps all three lanes full of newer entries, and counts the dispatches until `wanted` is run.
fn dispatches_until(worker: &Worker<Box<Item>>, wanted: Item, endless: &[LaneKind]) -> u64 {
    let mut fresh = 1_000_000;
    for count in 1..=100_000 {
        for lane in endless {
            fresh += 1;
            match lane {
                LaneKind::Cancel => cancelled(worker, fresh),
                LaneKind::Timed => timed(worker, fresh),
                LaneKind::Ready => ready(worker, fresh),
            }
        }
        let (lane, entry) = worker.next().expect("the lanes are full");
        assert_eq!(lane, entry.0, "an entry is dispatched from its own lane");
        if *entry == wanted {
            return count;
        }
    }
    panic!("{wanted:?} was starved");
}

#[test]
fn the_dispatch_bound_holds_for_all_three_lanes_under_full_load() {
    let all = [LaneKind::Cancel, LaneKind::Timed, LaneKind::Ready];
    for lane in all {
        let worker = single();
        // Wear the streaks down, so that the worst moment is among those tried.
        for warm_up in 0..40 {
            for n in 0..warm_up {
                cancelled(&worker, n + 10);
                let _ = worker.next();
            }
            let wanted = (lane, 1);
            match lane {
                LaneKind::Cancel => cancelled(&worker, 1),
                LaneKind::Timed => timed(&worker, 1),
                LaneKind::Ready => ready(&worker, 1),
            }
            let others: Vec<LaneKind> = all.to_vec();
            let count = dispatches_until(&worker, wanted, &others);
            let bound = worker.shared().config().dispatch_bound(lane);
            assert!(
                count <= bound,
                "{lane:?} took {count} dispatches, the bound is {bound}"
            );
            let _ = worker.drain();
        }
    }
}

#[test]
fn a_pair_that_wakes_itself_in_the_slot_does_not_starve_the_others() {
    let worker = single();
    ready(&worker, 1);
    worker.push_yielded(Box::new((LaneKind::Ready, 2)));
    let mut waiting = vec![1, 2];
    for count in 0..100 {
        let _ = worker.push_woken(Box::new((LaneKind::Ready, 1000 + count)));
        let (_, entry) = worker.next().expect("one was woken");
        waiting.retain(|waits| *waits != entry.1);
    }
    assert!(waiting.is_empty(), "{waiting:?} were starved by the slot");
}

#[test]
fn what_many_wake_runs_after_them() {
    let worker = single();
    for n in 1..=8 {
        ready(&worker, n);
    }
    let mut order = Vec::new();
    while let Some((_, entry)) = worker.next() {
        order.push(entry.1);
        if order.len() == 1 {
            // The first of the eight has an answer for a task that collects them.
            assert_eq!(worker.push_woken(Box::new((LaneKind::Ready, 9))), None);
        }
    }
    assert_eq!(order, [8, 7, 6, 5, 4, 3, 2, 1, 9]);
}

/// As many dispatches as the rotation takes to come round.
const ROUND: u64 = 80;

/// A worker whose rotation stands at one of its moments.
fn after(dispatches: u64) -> Worker<Box<Item>> {
    let worker = single();
    for n in 0..dispatches {
        worker.push_yielded(Box::new((LaneKind::Ready, n)));
        assert!(worker.next().is_some());
    }
    worker
}

#[test]
fn a_connection_runs_once_after_all_of_its_requests_and_before_the_next_connection() {
    const REQUESTS: u64 = 32;
    for moment in 0..ROUND {
        let worker = after(moment);
        for connection in [100, 200] {
            worker.push_yielded(Box::new((LaneKind::Ready, connection)));
        }
        let mut order = Vec::new();
        while let Some((_, entry)) = worker.next() {
            let n = entry.1;
            order.push(n);
            if n.is_multiple_of(100) {
                // Its requests begin, each of which will wake it.
                (1..=REQUESTS).for_each(|request| ready(&worker, n + request));
            } else if n % 100 == REQUESTS {
                let _ = worker.push_woken(Box::new((LaneKind::Ready, n + 1)));
            }
        }
        let place = |n| order.iter().position(|seen| *seen == n);
        let requests = REQUESTS as usize;
        assert_eq!(place(133), Some(requests + 1), "moment {moment}: {order:?}");
        assert_eq!(place(200), Some(requests + 2), "moment {moment}: {order:?}");
    }
}

#[test]
fn whatever_the_moment_an_entry_waits_for_one_round_at_most() {
    let bound = ROUND as usize;
    for moment in 0..ROUND {
        for place in 0..2 {
            let worker = after(moment);
            let wanted = Box::new((LaneKind::Ready, 1));
            match place {
                0 => drop(worker.push_woken(wanted)),
                _ => worker.push_yielded(wanted),
            }
            let order = std::iter::from_fn(|| {
                ready(&worker, 2);
                worker.next()
            });
            let waited = order.take(bound).position(|(_, entry)| entry.1 == 1);
            assert!(waited.is_some(), "moment {moment}, place {place}");
        }
    }
}

#[test]
fn a_lone_worker_runs_what_events_wake_in_order_and_behind_what_is_under_way() {
    let worker = single();
    ready(&worker, 1);
    let _ = worker.push_woken(Box::new((LaneKind::Ready, 2)));
    worker.begin_events();
    for n in 3..6 {
        assert_eq!(worker.push_woken(Box::new((LaneKind::Ready, n))), None);
    }
    worker.end_events();
    let _ = worker.push_woken(Box::new((LaneKind::Ready, 6)));
    let order: Vec<u64> = std::iter::from_fn(|| worker.next())
        .map(|(_, entry)| entry.1)
        .collect();
    assert_eq!(order, [2, 1, 6, 3, 4, 5]);
}

#[test]
fn what_events_wake_beside_other_workers_can_be_stolen() {
    let (_shared, workers) = Shared::new(SchedConfig {
        workers: 2,
        ..SchedConfig::default()
    });
    workers[0].begin_events();
    let _ = workers[0].push_woken(Box::new(1));
    let _ = workers[0].push_woken(Box::new(2));
    workers[0].end_events();
    let stolen = workers[1].search();
    assert_eq!(stolen.as_deref(), Some(&1));
}

#[test]
fn what_was_woken_last_is_not_starved_by_new_entries() {
    let worker = single();
    let wanted = (LaneKind::Ready, 1);
    assert_eq!(worker.push_woken(Box::new(wanted)), None);
    let count = dispatches_until(&worker, wanted, &[LaneKind::Ready]);
    let bound = worker.shared().config().dispatch_bound(LaneKind::Ready);
    assert!(count <= bound, "{count} dispatches, the bound is {bound}");
}

#[test]
fn a_task_that_yields_lets_every_other_go_first() {
    let worker = single();
    for n in 0..5 {
        worker.push_yielded(Box::new((LaneKind::Ready, n)));
    }
    let order: Vec<u64> = std::iter::from_fn(|| worker.next())
        .map(|(_, entry)| entry.1)
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[test]
fn of_two_that_yield_one_is_left_to_a_worker_that_sleeps() {
    let workers = several(2);
    assert!(workers[1].announce_sleep());
    for n in 0..2 {
        workers[0].push_yielded(Box::new(n));
    }
    for _ in 0..ROUND {
        let (_, yields) = workers[0].next().expect("both are here");
        if workers[0].take_wake() == Some(1) {
            workers[1].wake_up();
            let left = workers[1].search().expect("one was left");
            assert_ne!(left, yields);
            return;
        }
        workers[0].push_yielded(yields);
    }
    panic!("both stayed");
}

#[test]
fn of_many_that_yield_half_are_left_to_a_worker_that_searches() {
    let workers = several(2);
    let crowd = u32::try_from(YIELDED_CROWD).expect("it is small");
    for n in 1..crowd {
        workers[0].push_yielded(Box::new(n));
    }
    assert_eq!(workers[1].search(), None);
    assert!(workers[0].next().is_some());
    assert_eq!(workers[1].search(), None, "as long as they are few");
    for n in 0..2 {
        workers[0].push_yielded(Box::new(crowd + n));
    }
    assert!(workers[0].next().is_some());
    let thief = &workers[1];
    let own = || thief.next().map(|(_, entry)| entry);
    let left = std::iter::from_fn(|| own().or_else(|| thief.search()));
    assert_eq!(left.count(), YIELDED_CROWD / 2);
}

#[test]
fn many_that_yield_stay_in_order_while_nobody_searches() {
    let workers = several(2);
    for n in 0..2 * u32::try_from(YIELDED_CROWD).expect("it is small") {
        workers[0].push_yielded(Box::new(n));
    }
    let order: Vec<u32> = std::iter::from_fn(|| workers[0].next())
        .map(|(_, n)| *n)
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn pinned_entries_are_never_stolen() {
    let (shared, workers) = Shared::new(SchedConfig {
        workers: 2,
        ..SchedConfig::default()
    });
    let _ = shared.pin(0, Box::new(1));
    let _ = shared.pin_cancel(0, Box::new(2));
    let _ = shared.pin_timed(0, Box::new(3), Time::ZERO, 0);
    assert_eq!(workers[1].next(), None);
    assert_eq!(workers[1].search(), None);
    let own: Vec<u32> = std::iter::from_fn(|| workers[0].next())
        .map(|(_, n)| *n)
        .collect();
    assert_eq!(own, [2, 3, 1]);
}

#[test]
fn an_idle_worker_takes_cancelled_timed_and_ready_entries_of_a_busy_one() {
    let (_, workers) = Shared::new(SchedConfig {
        workers: 2,
        ..SchedConfig::default()
    });
    let _ = workers[0].push(Box::new(3));
    let _ = workers[0].push_timed(Box::new(2), Time::ZERO, 0);
    let _ = workers[0].push_cancel(Box::new(1));
    let stolen: Vec<u32> = std::iter::from_fn(|| workers[1].search())
        .map(|n| *n)
        .collect();
    assert_eq!(stolen, [1, 2, 3]);
}

fn several(workers: usize) -> Vec<Worker<Box<u32>>> {
    let config = SchedConfig {
        workers,
        ..SchedConfig::default()
    };
    Shared::new(config).1
}

#[test]
fn a_push_wakes_one_sleeper_and_no_other_until_that_has_searched() {
    let workers = several(4);
    for sleeper in &workers[1..] {
        assert!(sleeper.announce_sleep());
    }
    assert_eq!(workers[0].push(Box::new(1)), Some(1));
    assert_eq!(
        workers[0].push(Box::new(2)),
        None,
        "its thread is on the way"
    );
    workers[1].wake_up();
    assert!(workers[1].is_searching());
    assert_eq!(workers[0].push(Box::new(3)), None, "it will find it");
    assert!(workers[1].search().is_some());
    assert_eq!(workers[1].take_wake(), Some(2), "there is more to find");
    workers[2].wake_up();
    assert!(workers[2].search().is_some());
    assert_eq!(workers[0].push(Box::new(4)), None, "it has not said yet");
    assert_eq!(workers[2].take_wake(), Some(3));
}

#[test]
fn a_worker_does_not_sleep_beside_what_it_would_run_next() {
    for workers in [several(1), several(2)] {
        let worker = &workers[0];
        assert_eq!(worker.push_woken(Box::new(1)), None);
        assert!(worker.has_own_work() && !worker.announce_sleep());
        assert!(worker.next().is_some());
        assert!(!worker.has_own_work() && worker.announce_sleep());
        worker.wake_up();
        worker.push_yielded(Box::new(2));
        assert!(worker.has_own_work() && !worker.announce_sleep());
    }
}

#[test]
fn a_worker_that_goes_to_sleep_gives_back_what_a_burst_has_taken() {
    for workers in [several(1), several(2)] {
        let worker = &workers[0];
        let small = worker.ring.tables();
        for number in 0..5_000 {
            let _ = worker.push(Box::new(number));
        }
        let large = worker.ring.tables();
        assert!(!worker.announce_sleep());
        assert_eq!(worker.ring.tables(), large, "there is work");
        while worker.next().is_some() {}
        assert!(worker.announce_sleep());
        worker.wake_up();
        assert!((small..large).contains(&worker.ring.tables()));
        assert!(worker.ring.tables() <= 3, "1,024 places at most");
    }
}

#[test]
fn a_search_that_leaves_nothing_wakes_nobody() {
    let workers = several(3);
    assert!(workers[1].announce_sleep());
    assert!(workers[2].announce_sleep());
    assert_eq!(workers[0].push(Box::new(1)), Some(1));
    workers[1].wake_up();
    assert!(workers[1].search().is_some());
    assert_eq!(workers[1].take_wake(), None);
    assert_eq!(
        workers[0].push(Box::new(2)),
        Some(2),
        "nobody searches any more"
    );
}

#[test]
fn a_worker_woken_for_an_entry_of_its_own_ends_its_search_with_it() {
    let workers = several(2);
    assert!(workers[1].announce_sleep());
    assert_eq!(workers[0].shared().pin(1, Box::new(1)), Some(1));
    workers[1].wake_up();
    assert!(workers[1].is_searching());
    assert!(workers[1].next().is_some());
    assert_eq!(workers[1].take_wake(), None);
    assert!(!workers[1].is_searching());
    assert!(workers[0].announce_sleep());
    assert_eq!(
        workers[1].push(Box::new(2)),
        Some(0),
        "nobody searches any more"
    );
}

/// `count` workers for two processors.
fn crowded(count: usize) -> Vec<Worker<Box<u32>>> {
    let (_, workers) = Shared::new(SchedConfig {
        workers: count,
        processors: 2,
        ..SchedConfig::default()
    });
    workers
}

#[test]
fn while_all_processors_are_taken_a_push_is_left_to_the_sentry() {
    let workers = crowded(4);
    assert!(workers[3].announce_sleep());
    assert_eq!(workers[3].sleep_limit(), Some(SENTRY_INTERVAL));
    assert!(workers[2].announce_sleep());
    assert_eq!(workers[2].sleep_limit(), None, "one sentry is enough");
    assert_eq!(workers[0].push(Box::new(1)), None);
    assert_eq!(workers[0].push(Box::new(2)), None);
}

#[test]
fn the_sentry_leaves_alone_who_gets_on_and_helps_who_is_stuck() {
    let workers = crowded(4);
    assert!(workers[2].announce_sleep());
    assert!(workers[3].announce_sleep());
    for n in 0..4 {
        assert_eq!(workers[0].push(Box::new(n)), None);
    }
    for _ in 0..3 {
        workers[2].wake_up();
        assert_eq!(workers[2].sleep_limit(), None);
        assert_eq!(workers[2].search(), None, "worker 0 has moved since");
        assert!(workers[2].announce_sleep());
        assert!(workers[2].sleep_limit().is_some());
        assert!(workers[0].next().is_some());
    }
    workers[2].wake_up();
    assert_eq!(workers[2].search(), None);
    assert!(workers[2].announce_sleep());
    // Worker 0 has not moved for an interval.
    workers[2].wake_up();
    assert_eq!(workers[2].search(), Some(Box::new(0)));
}

#[test]
fn the_sentry_wakes_the_next_if_there_is_more_than_it_can_run() {
    let workers = crowded(4);
    assert!(workers[2].announce_sleep());
    assert!(workers[3].announce_sleep());
    for n in 0..4 {
        assert_eq!(workers[0].push(Box::new(n)), None);
    }
    for _ in 0..2 {
        workers[2].wake_up();
        let _ = workers[2].search().is_none() && workers[2].announce_sleep();
    }
    assert_eq!(workers[2].take_wake(), Some(3));
}

#[test]
fn a_sentry_that_has_work_of_its_own_wakes_the_next_for_what_was_left_to_it() {
    let workers = crowded(4);
    assert!(workers[2].announce_sleep());
    assert!(workers[3].announce_sleep());
    assert_eq!(workers[0].shared().inject(Box::new(1)), None);
    workers[2].wake_up();
    assert_eq!(workers[2].sleep_limit(), None);
    workers[2].push_yielded(Box::new(2));
    assert_eq!(workers[2].next(), Some((LaneKind::Ready, Box::new(2))));
    assert_eq!(workers[2].take_wake(), Some(3), "it may be stuck in that");
}

#[test]
fn a_search_that_ends_with_work_of_its_own_wakes_another_for_the_rest() {
    let workers = several(3);
    assert_eq!(workers[1].search(), None);
    assert!(workers[2].announce_sleep());
    assert_eq!(workers[0].push(Box::new(1)), None, "worker 1 will find it");
    workers[1].push_yielded(Box::new(2));
    assert!(!workers[1].announce_sleep());
    assert_eq!(workers[1].next(), Some((LaneKind::Ready, Box::new(2))));
    assert_eq!(workers[1].take_wake(), Some(2), "it may be stuck in that");
}

#[test]
fn what_was_injected_waits_for_two_looks_of_the_sentry_at_most() {
    let workers = crowded(3);
    assert!(workers[2].announce_sleep());
    assert_eq!(workers[0].shared().inject(Box::new(1)), None);
    workers[2].wake_up();
    assert_eq!(workers[2].search(), None);
    assert!(workers[2].announce_sleep());
    workers[2].wake_up();
    assert_eq!(workers[2].search(), Some(Box::new(1)));
}

#[test]
fn while_a_processor_is_free_a_push_wakes_a_sleeper() {
    let workers = crowded(3);
    assert!(workers[2].announce_sleep());
    assert!(workers[2].sleep_limit().is_some());
    assert!(workers[1].announce_sleep());
    assert_eq!(workers[1].sleep_limit(), None);
    assert_eq!(workers[0].push(Box::new(1)), Some(1));
}

#[test]
fn without_a_sentry_a_push_wakes_a_sleeper_also_while_all_processors_are_taken() {
    let workers = crowded(3);
    assert!(workers[1].announce_sleep());
    assert!(workers[2].announce_sleep());
    workers[1].wake_up();
    assert!(workers[1].search().is_none() && workers[1].announce_sleep());
    assert!(workers.iter().all(|worker| worker.sleep_limit().is_none()));
    workers[1].wake_up();
    assert_eq!(workers[0].push(Box::new(1)), Some(2));
}

#[test]
fn a_sleeper_has_no_limit_while_a_processor_is_free() {
    let workers = crowded(2);
    assert!(workers[1].announce_sleep());
    assert_eq!(workers[1].sleep_limit(), None);
    assert!(workers[0].announce_sleep());
    assert_eq!(workers[0].sleep_limit(), None);
}

#[test]
fn half_of_the_workers_search_and_the_others_sleep_at_once() {
    let workers = several(4);
    assert_eq!(workers[0].search(), None);
    assert_eq!(workers[1].search(), None);
    assert_eq!(workers[2].search(), None);
    assert!(workers[0].is_searching() && workers[1].is_searching());
    assert!(!workers[2].is_searching());
    let _ = workers[3].push(Box::new(1));
    assert!(
        workers[2].announce_sleep(),
        "two others will find the entry"
    );
    assert!(workers[0].announce_sleep(), "another one will find it");
    assert!(
        !workers[1].announce_sleep(),
        "the last to search looks again"
    );
}

#[test]
fn a_sleep_without_a_search_looks_for_work_if_nobody_else_does() {
    let workers = several(2);
    let _ = workers[0].push(Box::new(1));
    assert!(!workers[1].announce_sleep());
}

#[test]
fn what_a_full_ring_has_no_room_for_is_injected() {
    let worker = single();
    for n in 0..200_000 {
        ready(&worker, n);
    }
    let mut all: Vec<u64> = std::iter::from_fn(|| {
        let own = worker.next().map(|(_, entry)| entry);
        own.or_else(|| worker.search()).map(|entry| entry.1)
    })
    .collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..200_000));
}

#[test]
fn a_worker_with_work_does_not_sleep() {
    let worker = single();
    worker.push_yielded(Box::new((LaneKind::Ready, 1)));
    assert!(!worker.announce_sleep());
}

proptest! {
    #[test]
    fn the_timed_lane_is_earliest_deadline_first(
        deadlines in proptest::collection::vec((0_u64..50, 0_u8..4), 1..60),
    ) {
        let (_, workers) = Shared::new(SchedConfig::default());
        for (order, (deadline, priority)) in deadlines.iter().enumerate() {
            let key = (*deadline, std::cmp::Reverse(*priority), order);
            let _ = workers[0].push_timed(Box::new(key), Time::from_nanos(*deadline), *priority);
        }
        let run: Vec<_> = std::iter::from_fn(|| workers[0].next()).map(|(_, key)| *key).collect();
        prop_assert!(run.is_sorted());
        prop_assert_eq!(run.len(), deadlines.len());
    }

    #[test]
    fn every_entry_is_dispatched_exactly_once(lanes in proptest::collection::vec(0_u8..6, 0..200)) {
        let (shared, workers) = Shared::new(SchedConfig { workers: 2, ..SchedConfig::default() });
        for (n, lane) in lanes.iter().enumerate() {
            let _ = match lane {
                0 => workers[0].push(Box::new(n)),
                1 => workers[0].push_woken(Box::new(n)),
                2 => workers[0].push_cancel(Box::new(n)),
                3 => workers[0].push_timed(Box::new(n), Time::from_nanos(n as u64), 0),
                4 => shared.inject(Box::new(n)),
                _ => { workers[0].push_yielded(Box::new(n)); None }
            };
        }
        let mut run: Vec<usize> = Vec::new();
        loop {
            let own = workers[0].next().map(|(_, n)| n).or_else(|| workers[0].search());
            let other = workers[1].next().map(|(_, n)| n).or_else(|| workers[1].search());
            if own.is_none() && other.is_none() { break; }
            run.extend(own.map(|n| *n));
            run.extend(other.map(|n| *n));
        }
        run.sort_unstable();
        prop_assert_eq!(run, (0..lanes.len()).collect::<Vec<_>>());
    }
}

#[test]
fn advice_to_meet_deadlines_puts_the_timed_lane_first_and_starves_nobody() {
    let worker = single();
    cancelled(&worker, 1);
    ready(&worker, 3);
    for n in 0..100 {
        timed(&worker, n);
    }
    assert_eq!(
        worker.govern(Time::from_secs(1), Duration::ZERO),
        Advice::MeetDeadlines
    );
    let (lane, _) = worker.next().expect("there is work");
    assert_eq!(lane, LaneKind::Timed);
    let order: Vec<LaneKind> = std::iter::from_fn(|| worker.next())
        .take(40)
        .map(|(lane, _)| lane)
        .collect();
    assert!(order.contains(&LaneKind::Cancel));
    assert!(order.contains(&LaneKind::Ready));
}

#[test]
fn advice_to_drain_makes_cancel_streaks_longer_but_not_endless() {
    let worker = single();
    for n in 0..1_000 {
        cancelled(&worker, n);
    }
    ready(&worker, 1);
    assert_eq!(
        worker.govern(Time::ZERO, Duration::ZERO),
        Advice::DrainRegions
    );
    let position = std::iter::from_fn(|| worker.next())
        .position(|(lane, _)| lane == LaneKind::Ready)
        .expect("the ready lane has its turn");
    let limit = worker.shared().config().cancel_streak_limit as usize;
    assert_eq!(position, limit * DRAIN_STREAKS as usize);
}

#[test]
fn entries_that_are_cancelled_together_keep_their_order_and_wake_one_sleeper() {
    let workers = several(3);
    assert!(workers[1].announce_sleep());
    assert!(workers[2].announce_sleep());
    assert_eq!(workers[0].push_cancelled((1..=3).map(Box::new)), Some(1));
    let order: Vec<u32> = std::iter::from_fn(|| workers[0].next())
        .map(|(lane, n)| {
            assert_eq!(lane, LaneKind::Cancel);
            *n
        })
        .collect();
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn an_urgent_entry_that_is_alone_wakes_nobody_and_the_next_one_does() {
    let workers = several(2);
    assert!(workers[1].announce_sleep());
    for _ in 0..3 {
        assert_eq!(workers[0].push_cancel(Box::new(1)), None);
        assert!(workers[0].next().is_some());
        assert_eq!(workers[0].push_timed(Box::new(2), Time::ZERO, 0), None);
        assert!(workers[0].next().is_some());
        assert_eq!(workers[0].push_cancelled([Box::new(3)]), None);
        assert!(workers[0].next().is_some());
    }
    assert_eq!(workers[0].push_cancel(Box::new(4)), None);
    assert_eq!(workers[0].push_timed(Box::new(5), Time::ZERO, 0), Some(1));
}

#[test]
fn an_urgent_entry_that_is_alone_goes_to_whoever_looks() {
    let workers = several(2);
    assert_eq!(workers[0].push_cancel(Box::new(1)), None);
    assert!(!workers[1].announce_sleep(), "there is something to take");
    assert_eq!(workers[1].search(), Some(Box::new(1)));
}

#[test]
fn what_a_lone_worker_cancels_and_what_others_do_take_turns() {
    let workers = several(1);
    let shared = workers[0].shared();
    for n in 1..=3 {
        assert_eq!(workers[0].push_cancel(Box::new(n)), None);
        assert_eq!(shared.inject_cancel(Box::new(10 + n)), None);
    }
    assert_eq!(shared.pin_cancel(0, Box::new(20)), None);
    assert!(workers[0].sees_work() && !workers[0].announce_sleep());
    let dispatched: Vec<u32> = std::iter::from_fn(|| workers[0].next())
        .map(|(lane, n)| {
            assert_eq!(lane, LaneKind::Cancel);
            *n
        })
        .collect();
    assert_eq!(dispatched, [1, 20, 2, 11, 3, 12, 13]);
    assert_eq!(workers[0].push_cancelled((1..=3).map(Box::new)), None);
    assert!(!workers[0].announce_sleep(), "they are its own");
    assert_eq!(workers[0].drain().len(), 3, "none is left behind");
}

#[test]
fn entries_that_are_cancelled_together_from_afar_are_for_whoever_comes() {
    let workers = several(2);
    let shared = workers[0].shared();
    assert!(workers[1].announce_sleep());
    assert_eq!(shared.inject_cancelled((1..=50).map(Box::new)), Some(1));
    workers[1].wake_up();
    let taken = std::iter::from_fn(|| workers[1].search().or_else(|| Some(workers[1].next()?.1)));
    assert_eq!(taken.map(|n| *n).sum::<u32>(), 50 * 51 / 2);
}
