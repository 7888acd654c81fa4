//! What rings give back of what was put into them.

use asupersync_core::{ObligationId, ObligationKind, RegionId, Severity, TaskId, Time};
use asupersync_kernel::{Event, Name, Settlement, Subject};
use asupersync_trace::{EventRings, LastEvents, Polled, StepKind, steps};

const REGION: RegionId = RegionId::new(1);

fn task(index: u32) -> TaskId {
    TaskId::new(REGION, index)
}

fn polled(index: u32, poll: u32) -> Option<Polled> {
    let task = task(index);
    Some(Polled { task, poll })
}

fn reserved(number: u64) -> Event {
    Event::ObligationReserved {
        obligation: ObligationId::new(number),
        holder: Subject::Task(task(0)),
        kind: ObligationKind::Ack,
    }
}

fn settled(number: u64) -> Event {
    Event::ObligationSettled {
        obligation: ObligationId::new(number),
        settlement: Settlement::Committed,
    }
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

fn kinds(last: &LastEvents) -> Vec<StepKind> {
    let steps = steps(&last.trace);
    steps.iter().map(|step| step.kind).collect()
}

#[test]
fn events_of_several_workers_are_merged_by_time() {
    let rings = EventRings::new(3, 1 << 12);
    rings.push(1, at(20), polled(1, 0), &reserved(2));
    rings.push(0, at(10), polled(0, 0), &reserved(1));
    rings.push(0, at(30), polled(0, 0), &settled(1));
    rings.push(1, at(40), polled(1, 0), &settled(2));
    let last = rings.read();
    assert!(last.trace.events.is_sorted_by_key(|traced| traced.at));
    let turns = [0, 1, 0, 1].map(|index| StepKind::Task(task(index)));
    assert_eq!(
        kinds(&last),
        turns,
        "a poll that another comes between is told twice"
    );
}

#[test]
fn two_polls_of_one_task_are_two_steps_and_two_events_of_one_poll_are_one() {
    let rings = EventRings::new(2, 1 << 12);
    for (poll, event) in [(1, reserved(1)), (1, settled(1)), (2, reserved(2))] {
        rings.push(0, at(u64::from(poll)), polled(0, poll), &event);
    }
    assert_eq!(kinds(&rings.read()), [StepKind::Task(task(0)); 2]);
}

#[test]
fn what_no_task_did_is_the_clocks_or_a_jobs() {
    let rings = EventRings::new(2, 1 << 12);
    rings.push(0, at(1), None, &Event::RegionClosed { region: REGION });
    rings.push(1, at(2), None, &settled(1));
    let last = rings.read();
    assert_eq!(kinds(&last), [StepKind::Clock, StepKind::Job(0)]);
    let first = &last.trace.events[0].event;
    assert_eq!(*first, Event::ClockAdvanced { to: at(1) });
}

#[test]
fn a_name_stays_with_the_spawn_before_it() {
    let rings = EventRings::new(2, 1 << 12);
    let spawned = Event::TaskSpawned {
        task: task(1),
        pinned: true,
        site: Name::from("src/main.rs"),
        line: 3,
    };
    let name = Name::shared("indexer");
    let named = Event::TaskNamed {
        task: task(1),
        name,
    };
    rings.push(0, at(1), polled(0, 7), &spawned);
    rings.push(0, at(1), polled(0, 7), &named);
    rings.push(0, at(1), polled(0, 7), &reserved(1));
    let last = rings.read();
    let events: Vec<&Event> = last.trace.iter().collect();
    let begin = Event::TaskPolled { task: task(0) };
    assert_eq!(events, [&begin, &spawned, &named, &reserved(1)]);
}

#[test]
fn a_ring_holds_what_its_share_of_the_memory_allows() {
    for (bytes, kept) in [(0, 1), (2 * 64, 1), (2 * 64 * 8, 8), (2 * 64 * 9, 8)] {
        let rings = EventRings::new(2, bytes);
        for number in 0..20 {
            rings.push(0, at(number), None, &settled(number));
        }
        let last = rings.read();
        assert_eq!(last.overwritten, 20 - kept, "{bytes} bytes");
        let first = &last.trace.events[0];
        let count = last.overwritten;
        assert_eq!(first.event, Event::EventsOverwritten { count });
        assert_eq!(first.at, at(count), "when the oldest that is left happened");
    }
}

#[test]
fn what_is_passed_over_takes_no_place() {
    let rings = EventRings::new(1, 64);
    let ended = Event::TaskEnded {
        task: task(0),
        severity: Severity::Ok,
    };
    rings.push(0, at(1), None, &ended);
    for _ in 0..10 {
        rings.push(0, at(2), None, &Event::TaskWoken { task: task(0) });
    }
    let last = rings.read();
    assert_eq!(
        (last.overwritten, last.trace.iter().last()),
        (0, Some(&ended))
    );
}

#[test]
fn a_workers_events_stay_in_their_order_whatever_its_clock_says() {
    let rings = EventRings::new(2, 1 << 12);
    for (number, nanos) in [(1, 20), (2, 19), (3, 30)] {
        rings.push_alone(0, at(nanos), polled(0, 0), &settled(number));
    }
    let last = rings.read();
    let events: Vec<&Event> = last.trace.iter().skip(1).collect();
    assert_eq!(events, [&settled(1), &settled(2), &settled(3)]);
    assert!(last.trace.events.is_sorted_by_key(|traced| traced.at));
}

#[test]
fn counts_become_times_when_they_are_read() {
    let rings = EventRings::new(2, 1 << 12);
    rings.push_alone(0, at(30), polled(0, 0), &settled(1));
    rings.push(1, at(40), None, &settled(2));
    assert_eq!((rings.pushed(0), rings.pushed(1)), (1, 1));
    let last = rings.read_by(|count| at(count.as_nanos() / 10));
    let times: Vec<Time> = last.trace.events.iter().map(|traced| traced.at).collect();
    assert_eq!(times, [at(3), at(3), at(4), at(4)]);
}
