use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn wheel_at(start: Time, resolution_ns: u64, coalescing_ns: u64) -> Wheel<u64> {
    let config = WheelConfig {
        resolution: Duration::from_nanos(resolution_ns),
        coalescing: Duration::from_nanos(coalescing_ns),
    };
    Wheel::new(start, config)
}

fn advance(wheel: &mut Wheel<u64>, now: u64) -> Vec<u64> {
    let mut expired = Vec::new();
    wheel.advance(Time::from_nanos(now), &mut expired);
    expired
}

#[test]
fn key_is_eight_bytes_also_when_optional() {
    assert_eq!(size_of::<TimerKey>(), 8);
    assert_eq!(size_of::<Option<TimerKey>>(), 8);
}

#[test]
fn resolution_is_rounded_down_to_a_power_of_two_and_clamped() {
    let shift = |resolution| {
        WheelConfig {
            resolution,
            coalescing: Duration::ZERO,
        }
        .shift()
    };
    assert_eq!(shift(Duration::ZERO), 0);
    assert_eq!(shift(Duration::from_nanos(1)), 0);
    assert_eq!(shift(Duration::from_nanos(65_535)), 15);
    assert_eq!(shift(Duration::from_nanos(65_536)), 16);
    assert_eq!(shift(Duration::MAX), SHIFT_MAX);
}

#[test]
fn no_timer_fires_before_its_deadline_by_a_nanosecond() {
    for resolution in [1, 1 << 16, 1 << 30] {
        let at = 12_345_678_901_234;
        let mut wheel = wheel_at(Time::ZERO, resolution, 0);
        wheel.insert(Time::from_nanos(at), 1);
        assert_eq!(advance(&mut wheel, at - 1), [], "resolution {resolution}");
        assert_eq!(
            advance(&mut wheel, at + resolution - 1),
            [1],
            "resolution {resolution}"
        );
    }
}

#[test]
fn passed_deadlines_fire_at_the_next_advance_in_order_of_insertion() {
    let mut wheel = wheel_at(Time::from_secs(1), 1 << 16, 0);
    wheel.insert(Time::from_secs(1), 1);
    wheel.insert(Time::ZERO, 2);
    wheel.insert(Time::from_millis(999), 3);
    assert_eq!(wheel.next_deadline(), Some(Time::from_secs(1)));
    assert_eq!(advance(&mut wheel, 0), [1, 2, 3]);
    assert_eq!(wheel.now(), Time::from_secs(1));
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn equal_ticks_keep_insertion_order_across_cascades() {
    let mut wheel = wheel_at(Time::ZERO, 1, 0);
    let at = 64 * 64 * 64 + 64 * 3 + 5;
    wheel.insert(Time::from_nanos(at), 1);
    assert_eq!(advance(&mut wheel, 64 * 64 * 64 + 1), []);
    wheel.insert(Time::from_nanos(at), 2);
    assert_eq!(advance(&mut wheel, 64 * 64 * 64 + 64 * 3 + 1), []);
    wheel.insert(Time::from_nanos(at), 3);
    wheel.insert(Time::from_nanos(at - 1), 0);
    assert_eq!(advance(&mut wheel, at), [0, 1, 2, 3]);
}

#[test]
fn the_end_of_time_is_reached_by_advancing_to_it_and_not_before() {
    for resolution in [1, 1 << 16, 1 << 30] {
        let mut wheel = wheel_at(Time::ZERO, resolution, 0);
        wheel.insert(Time::from_nanos(u64::MAX - 1), 0);
        wheel.insert(Time::MAX, 1);
        assert!(
            wheel
                .next_deadline()
                .is_some_and(|at| at >= Time::from_nanos(u64::MAX - 1))
        );
        assert_eq!(advance(&mut wheel, u64::MAX - (1 << 31)), []);
        assert_eq!(
            advance(&mut wheel, u64::MAX),
            [0, 1],
            "resolution {resolution}"
        );
        wheel.insert(Time::MAX, 2);
        assert_eq!(
            advance(&mut wheel, u64::MAX),
            [2],
            "resolution {resolution}"
        );
    }
}

#[test]
fn a_lone_timer_is_not_delayed_by_the_coalescing_window() {
    let mut wheel = wheel_at(Time::ZERO, 1, 40);
    wheel.insert(Time::from_nanos(10), 1);
    wheel.insert(Time::from_nanos(51), 2);
    assert_eq!(wheel.next_deadline(), Some(Time::from_nanos(10)));
}

#[test]
fn neighbours_within_the_window_share_one_waking() {
    let mut wheel = wheel_at(Time::ZERO, 1, 40);
    for (value, at) in [(1, 10), (2, 49), (3, 50), (4, 51)] {
        wheel.insert(Time::from_nanos(at), value);
    }
    assert_eq!(wheel.next_deadline(), Some(Time::from_nanos(50)));
    assert_eq!(advance(&mut wheel, 50), [1, 2, 3]);
}

#[test]
fn the_first_deadline_is_exact_however_far_away() {
    for at in [1, 63, 64, 4_095, 4_096, 1 << 40, u64::MAX] {
        let mut wheel = wheel_at(Time::ZERO, 1, 0);
        wheel.insert(Time::MAX, 0);
        wheel.insert(Time::from_nanos(at), 1);
        assert_eq!(wheel.next_deadline(), Some(Time::from_nanos(at)));
    }
}

#[test]
fn stale_keys_find_nothing_also_after_their_place_is_used_again() {
    let mut wheel = wheel_at(Time::ZERO, 1, 0);
    let fired = wheel.insert(Time::from_nanos(5), 1);
    let cancelled = wheel.insert(Time::from_nanos(6), 2);
    assert_eq!(wheel.cancel(cancelled), Some(2));
    assert_eq!(advance(&mut wheel, 5), [1]);
    let successors = [
        wheel.insert(Time::from_nanos(7), 3),
        wheel.insert(Time::from_nanos(8), 4),
    ];
    for stale in [fired, cancelled] {
        assert_eq!(wheel.cancel(stale), None);
        assert_eq!(wheel.get_mut(stale), None);
        assert!(!wheel.reschedule(stale, Time::from_nanos(9)));
    }
    assert_eq!(wheel.len(), 2);
    assert_eq!(
        successors.map(|key| wheel.get_mut(key).copied()),
        [Some(3), Some(4)]
    );
}

#[test]
fn places_are_used_again_instead_of_growing() {
    let mut wheel = wheel_at(Time::ZERO, 1 << 16, 0);
    for round in 0..1_000 {
        let now = Time::from_millis(round);
        let keys: Vec<_> = (0..100)
            .map(|n| wheel.insert(now + Duration::from_millis(n), n))
            .collect();
        for key in keys.iter().step_by(2) {
            wheel.cancel(*key).expect("the timer is live");
        }
        let mut expired = Vec::new();
        wheel.advance(now + Duration::from_millis(200), &mut expired);
        assert_eq!(expired.len(), 50);
    }
    assert!(wheel.slab.size() <= 100, "grew to {}", wheel.slab.size());
}

#[test]
fn drain_gives_everything_in_firing_order_and_keeps_the_time() {
    let mut wheel = wheel_at(Time::from_nanos(77), 1, 0);
    wheel.insert(Time::MAX, 3);
    wheel.insert(Time::from_nanos(100), 2);
    wheel.insert(Time::ZERO, 1);
    let mut values = Vec::new();
    wheel.drain(&mut values);
    assert_eq!(values, [1, 2, 3]);
    assert_eq!(wheel.now(), Time::from_nanos(77));
    wheel.insert(Time::from_nanos(80), 4);
    assert_eq!(advance(&mut wheel, 79), []);
    assert_eq!(advance(&mut wheel, 80), [4]);
}

/// The wheel as a map: what fires is all that lies at or before the tick reached, in order of tick and insertion.
struct Model {
    timers: BTreeMap<(u64, u64), (u64, TimerKey)>,
    inserted: u64,
    now: u64,
    shift: u32,
}

impl Model {
    fn place(&mut self, at: u64) -> (u64, u64) {
        self.inserted += 1;
        let reached = self.now >> self.shift;
        let tick = if at <= self.now {
            reached
        } else {
            tick_after(Time::from_nanos(at), self.shift)
        };
        (tick, self.inserted)
    }

    fn advance(&mut self, now: u64) -> Vec<u64> {
        self.now = self.now.max(now);
        let rest = self.timers.split_off(&((self.now >> self.shift) + 1, 0));
        std::mem::replace(&mut self.timers, rest)
            .into_values()
            .map(|(value, _)| value)
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64),
    Cancel(usize),
    Reschedule(usize, u64),
    Advance(u64),
    AdvanceToNext,
}

/// Distances of every order of magnitude, and near digit boundaries.
fn distance() -> impl Strategy<Value = u64> {
    (0u32..50, any::<u64>(), 0u64..3).prop_map(|(bits, random, off)| {
        ((1u64 << bits) + (random & ((1 << bits) - 1)) / (off + 1)).saturating_sub(off)
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => distance().prop_map(Op::Insert),
        2 => any::<prop::sample::Index>().prop_map(|index| Op::Cancel(index.index(1 << 16))),
        1 => (any::<prop::sample::Index>(), distance())
            .prop_map(|(index, far)| Op::Reschedule(index.index(1 << 16), far)),
        1 => distance().prop_map(Op::Advance),
        3 => Just(Op::AdvanceToNext),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn behaves_as_a_sorted_map(
        start in 0u64..1 << 50,
        shift in prop_oneof![Just(0u32), Just(6), Just(16), Just(30)],
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let mut wheel = wheel_at(Time::from_nanos(start), 1 << shift, 0);
        let mut model = Model { timers: BTreeMap::new(), inserted: 0, now: start, shift };
        let mut gone = Vec::new();
        for (value, op) in ops.into_iter().enumerate() {
            let value = value as u64;
            match op {
                Op::Insert(far) => {
                    // Every eighth deadline has passed already.
                    let at = if value.is_multiple_of(8) { model.now.saturating_sub(far) } else { model.now + far };
                    let key = wheel.insert(Time::from_nanos(at), value);
                    let place = model.place(at);
                    model.timers.insert(place, (value, key));
                }
                Op::Cancel(nth) if !model.timers.is_empty() => {
                    let place = *model.timers.keys().nth(nth % model.timers.len()).unwrap();
                    let (value, key) = model.timers.remove(&place).unwrap();
                    prop_assert_eq!(wheel.get_mut(key).copied(), Some(value));
                    prop_assert_eq!(wheel.cancel(key), Some(value));
                    gone.push(key);
                }
                Op::Reschedule(nth, far) if !model.timers.is_empty() => {
                    let place = *model.timers.keys().nth(nth % model.timers.len()).unwrap();
                    let (value, key) = model.timers.remove(&place).unwrap();
                    let at = model.now + far;
                    prop_assert!(wheel.reschedule(key, Time::from_nanos(at)));
                    let place = model.place(at);
                    model.timers.insert(place, (value, key));
                }
                Op::Cancel(_) | Op::Reschedule(..) => {}
                Op::Advance(far) => {
                    let to = model.now + far;
                    prop_assert_eq!(advance(&mut wheel, to), model.advance(to));
                }
                Op::AdvanceToNext => if let Some(at) = wheel.next_deadline() {
                    let first = model.timers.keys().next().unwrap().0;
                    prop_assert!(at.as_nanos() <= (first << shift).max(model.now), "late: {at:?}");
                    let fired = advance(&mut wheel, at.as_nanos());
                    prop_assert_eq!(fired, model.advance(at.as_nanos()));
                },
            }
            prop_assert_eq!(wheel.len(), model.timers.len());
            prop_assert_eq!(wheel.next_deadline().is_some(), !model.timers.is_empty());
            for key in &gone {
                prop_assert_eq!(wheel.cancel(*key), None);
            }
        }
        let mut rest = Vec::new();
        wheel.drain(&mut rest);
        prop_assert_eq!(rest, model.timers.into_values().map(|(value, _)| value).collect::<Vec<_>>());
    }

    #[test]
    fn a_host_that_obeys_next_deadline_is_late_by_a_tick_and_the_window_at_most(
        shift in 0u32..20,
        window in 0u64..1 << 22,
        timers in prop::collection::vec((distance(), any::<bool>()), 1..100),
    ) {
        let mut wheel = wheel_at(Time::ZERO, 1 << shift, window);
        let deadlines: Vec<u64> = timers.iter().map(|(at, _)| *at % (1 << 40)).collect();
        let keys: Vec<_> = deadlines.iter().enumerate()
            .map(|(value, at)| wheel.insert(Time::from_nanos(*at), value as u64)).collect();
        let cancelled = timers.iter().enumerate().filter(|(_, (_, cancel))| *cancel);
        for (value, _) in cancelled {
            prop_assert_eq!(wheel.cancel(keys[value]), Some(value as u64));
        }
        let mut wakings = 0;
        while let Some(at) = wheel.next_deadline() {
            wakings += 1;
            // A waking that fires nothing is a lower bound made exact: one for each level and timer at most.
            prop_assert!(wakings <= timers.len() * LEVELS_MAX, "next_deadline makes no progress");
            for value in advance(&mut wheel, at.as_nanos()) {
                let deadline = deadlines[value as usize];
                prop_assert!(at.as_nanos() >= deadline, "early");
                prop_assert!(at.as_nanos() - deadline <= (1 << shift) + window, "late");
            }
        }
        prop_assert!(wheel.is_empty());
    }
}
