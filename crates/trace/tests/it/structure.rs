//! What the structure of a program is, after which events, and what it cannot be.

use asupersync_core::{
    Budget, CancelKind, CancelStage, ObligationId, ObligationKind, RegionId, Severity, TaskId, Time,
};
use asupersync_kernel::{Event, Name, Subject};
use asupersync_trace::{
    Asking, Fault, Owing, RegionPhase, RegionState, RunState, Structure, StructureError, TaskState,
    Timer, TraceEvent, Waiting, WaitsFor,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

const ROOT: RegionId = RegionId::new(0);
const INNER: RegionId = RegionId::new(1);
const MAIN: TaskId = TaskId::new(ROOT, 0);

fn worker(index: u32) -> TaskId {
    TaskId::new(INNER, index)
}

fn spawned(task: TaskId) -> Event {
    Event::TaskSpawned {
        task,
        pinned: false,
        site: Name::from("src/bank.rs"),
        line: 9,
    }
}

fn operation(task: TaskId, name: &'static str) -> Event {
    Event::Operation {
        subject: Some(Subject::Task(task)),
        resource: 3,
        name: Name::from(name),
    }
}

/// A region with two workers: one holds a lock and sleeps, the other waits for the lock.
fn bank() -> Vec<Event> {
    vec![
        Event::RegionOpened {
            region: ROOT,
            parent: None,
        },
        spawned(MAIN),
        Event::TaskPolled { task: MAIN },
        Event::RegionOpened {
            region: INNER,
            parent: Some(Subject::Task(MAIN)),
        },
        spawned(worker(0)),
        spawned(worker(1)),
        Event::TaskAwaited {
            task: worker(1),
            ended: false,
        },
        Event::TaskPolled { task: worker(0) },
        operation(worker(0), "mutex.lock"),
        Event::ObligationReserved {
            obligation: ObligationId::new(5),
            holder: Subject::Task(worker(0)),
            kind: ObligationKind::Lease,
        },
        Event::TimerSet {
            at: Time::from_secs(2),
        },
        Event::TaskPolled { task: worker(1) },
        operation(worker(1), "mutex.wait"),
    ]
}

fn after(events: &[Event]) -> Structure {
    let traced = |(step, event): (u64, &Event)| TraceEvent {
        at: Time::from_secs(1),
        step,
        event: event.clone(),
    };
    let traced: Vec<_> = (0..).zip(events).map(traced).collect();
    Structure::after(&traced)
}

#[test]
fn a_program_is_shown_as_a_tree_with_who_waits_for_whom() {
    let structure = after(&bank());
    assert_eq!(structure.faults(), []);
    let tree = "\
R0 open
  T0.0 bank.rs:9, waits for T1.1
    R1 open
      T1.0 bank.rs:9, sleeps until 2.000000000s, owes O5 (a lease)
      T1.1 bank.rs:9, waits for mutex r3 of T1.0
";
    assert_eq!(structure.to_string(), tree);
}

#[test]
fn what_has_ended_is_forgotten_with_all_that_it_waited_for() {
    let mut events = bank();
    events.extend([
        Event::CancelRequested {
            subject: Subject::Region(INNER),
            kind: CancelKind::User,
        },
        Event::TaskWoken { task: worker(1) },
        Event::TaskPolled { task: worker(1) },
        Event::TaskEnded {
            task: worker(1),
            severity: Severity::Cancelled,
        },
        Event::TaskWoken { task: MAIN },
    ]);
    let structure = after(&events);
    assert_eq!(structure.faults(), []);
    assert_eq!(structure.waits, []);
    assert!(!structure.tasks.contains_key(&worker(1)));
    assert_eq!(structure.tasks[&MAIN].run, RunState::Runnable);
    let asked = structure.regions[&INNER].asked;
    assert_eq!(asked.map(|asked| asked.stage), Some(CancelStage::Requested));
}

#[test]
fn who_is_woken_in_its_own_poll_is_runnable_after_it() {
    let mut events = bank();
    events.push(Event::WakeMerged { task: worker(1) });
    assert_eq!(after(&events).tasks[&worker(1)].run, RunState::Runnable);
    assert_eq!(after(&events).tasks[&worker(0)].run, RunState::Waiting);
}

#[test]
fn deadlines_stand_where_they_were_set() {
    let budget = Budget::new().with_deadline(Time::from_secs(9));
    let mut events = bank();
    for subject in [Subject::Region(INNER), Subject::Task(worker(0))] {
        events.push(Event::BudgetNarrowed { subject, budget });
    }
    let structure = after(&events);
    let deadlines = [
        structure.regions[&INNER].deadline,
        structure.tasks[&worker(0)].deadline,
    ];
    assert_eq!(deadlines, [Some(Time::from_secs(9)); 2]);
    assert_eq!(structure.tasks[&worker(1)].deadline, None);
    assert_eq!(
        structure
            .to_string()
            .matches("has until 9.000000000s")
            .count(),
        2
    );
}

#[test]
fn who_was_handed_a_lock_waits_no_more() {
    let mut events = bank();
    events.push(operation(worker(0), "mutex.unlock"));
    events.push(operation(worker(0), "mutex.grant"));
    let lock = |waiting: &&Waiting| matches!(waiting.on, WaitsFor::Resource { .. });
    assert_eq!(after(&events).waits.iter().filter(lock).count(), 0);
}

#[test]
fn an_heir_stands_above_the_region_that_was_left_to_it() {
    let heir = TaskId::new(ROOT, 1);
    let mut events = bank();
    events.extend([
        spawned(heir),
        Event::RegionAbandoned {
            region: INNER,
            heir,
        },
        Event::TaskEnded {
            task: MAIN,
            severity: Severity::Ok,
        },
    ]);
    let structure = after(&events);
    assert_eq!(structure.faults(), []);
    assert_eq!(structure.regions[&INNER].parent, Some(Subject::Task(heir)));
    let on = WaitsFor::Region(INNER);
    let waiter = Subject::Task(heir);
    assert!(structure.waits.contains(&Waiting { waiter, on }));
}

/// A change of the bank's structure, and what it must be told as.
#[track_caller]
fn check(change: impl FnOnce(&mut Structure), expected: &[Fault]) {
    let mut structure = after(&bank());
    change(&mut structure);
    assert_eq!(structure.faults(), expected);
    // A faulty structure has a text all the same, and a picture that ends.
    assert_eq!(
        Structure::from_text(&structure.to_text()).as_ref(),
        Ok(&structure)
    );
    assert!(structure.to_string().len() < 10_000);
}

fn task_of(structure: &mut Structure, task: TaskId) -> &mut TaskState {
    structure.tasks.get_mut(&task).unwrap()
}

fn region_of(structure: &mut Structure, region: RegionId) -> &mut RegionState {
    structure.regions.get_mut(&region).unwrap()
}

#[test]
fn the_tree_has_one_root_and_no_circle() {
    check(
        |s| s.regions.clear(),
        &[
            Fault::NoRoot,
            Fault::NoRegion { task: MAIN },
            Fault::NoRegion { task: worker(0) },
            Fault::NoRegion { task: worker(1) },
        ],
    );
    check(
        |s| region_of(s, INNER).parent = None,
        &[Fault::TwoRoots {
            first: ROOT,
            second: INNER,
        }],
    );
    let parent = Subject::Region(INNER);
    check(
        |s| region_of(s, ROOT).parent = Some(parent),
        &[
            Fault::NoRoot,
            Fault::Cycle { region: ROOT },
            Fault::Cycle { region: INNER },
        ],
    );
    let parent = Subject::Task(TaskId::new(ROOT, 7));
    check(
        |s| region_of(s, INNER).parent = Some(parent),
        &[Fault::NoParent {
            region: INNER,
            parent,
        }],
    );
}

#[test]
fn nothing_lives_below_what_has_ended() {
    let parent = Subject::Task(MAIN);
    let ended = RunState::Ended(Severity::Ok);
    check(
        |s| task_of(s, MAIN).run = ended,
        &[
            Fault::ParentEnded {
                region: INNER,
                parent,
            },
            Fault::WaiterGone { waiter: parent },
        ],
    );
    check(
        |s| region_of(s, INNER).phase = RegionPhase::Closed,
        &[
            Fault::TaskInClosedRegion { task: worker(0) },
            Fault::TaskInClosedRegion { task: worker(1) },
        ],
    );
}

#[test]
fn who_owes_sleeps_or_waits_lives() {
    let (holder, waiter) = (Subject::Task(worker(0)), Subject::Task(worker(1)));
    let obligation = ObligationId::new(5);
    let at = Time::from_secs(2);
    let gone = || {
        [
            Fault::SleeperGone {
                task: worker(0),
                at,
            },
            Fault::AwaitedGone {
                waiter,
                awaited: holder,
            },
        ]
    };
    let [sleeper, awaited] = gone();
    let ended = RunState::Ended(Severity::Err);
    check(
        |s| task_of(s, worker(0)).run = ended,
        &[Fault::HolderEnded { obligation, holder }, sleeper, awaited],
    );
    let [sleeper, awaited] = gone();
    check(
        |s| drop(s.tasks.remove(&worker(0))),
        &[Fault::NoHolder { obligation, holder }, sleeper, awaited],
    );
    let main = Subject::Task(MAIN);
    check(
        |s| drop(s.tasks.remove(&worker(1))),
        &[
            Fault::AwaitedGone {
                waiter: main,
                awaited: waiter,
            },
            Fault::WaiterGone { waiter },
        ],
    );
}

#[test]
fn timers_and_waits_are_in_order_and_none_is_overdue() {
    let (now, at) = (Time::from_secs(3), Time::from_secs(2));
    check(
        |s| s.now = now,
        &[Fault::TimerInThePast {
            task: worker(0),
            at,
            now,
        }],
    );
    let early = Timer {
        at: Time::from_secs(1),
        task: MAIN,
    };
    check(
        |s| s.timers.push(early),
        &[Fault::OutOfOrder { what: "timers" }],
    );
    check(
        |s| s.waits.push(s.waits[0].clone()),
        &[Fault::OutOfOrder { what: "waits" }],
    );
}

#[test]
fn only_its_own_text_is_read() {
    let text = after(&bank()).to_text();
    let refused = |text: &str| Structure::from_text(text).unwrap_err();
    assert_eq!(refused(""), StructureError::NotCanonical);
    assert_eq!(
        refused(&format!("{text}\n")),
        StructureError::Malformed { line: 12 }
    );
    assert_eq!(refused(text.trim_end()), StructureError::NotCanonical);
    assert_eq!(
        refused(&text.replace("O5", "O+5")),
        StructureError::NotCanonical
    );
    assert_eq!(
        refused(&text.replace("phase=open", "phase=ajar")),
        StructureError::Malformed { line: 3 }
    );
    let twice = text.replace("now 1000000000\n", "now 1000000000\nnow 0\n");
    assert_eq!(refused(&twice), StructureError::Malformed { line: 3 });
    let (first, rest) = text.split_once('\n').unwrap();
    assert_eq!(
        refused(&format!("{rest}{first}\n")),
        StructureError::Malformed { line: 1 }
    );
}

fn regions() -> impl Strategy<Value = RegionId> {
    (0..4_u64).prop_map(RegionId::new)
}

fn tasks() -> impl Strategy<Value = TaskId> {
    (regions(), 0..3_u32).prop_map(|(region, index)| TaskId::new(region, index))
}

fn subjects() -> impl Strategy<Value = Subject> {
    prop_oneof![
        regions().prop_map(Subject::Region),
        tasks().prop_map(Subject::Task)
    ]
}

fn times() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time::from_nanos)
}

fn askings() -> impl Strategy<Value = Asking> {
    let kinds = prop_oneof![Just(CancelKind::User), Just(CancelKind::Shutdown)];
    let stages = prop_oneof![Just(CancelStage::Requested), Just(CancelStage::Dropped)];
    (kinds, stages).prop_map(|(kind, stage)| Asking { kind, stage })
}

fn region_states() -> impl Strategy<Value = RegionState> {
    let phases = prop_oneof![
        Just(RegionPhase::Open),
        Just(RegionPhase::Closing),
        Just(RegionPhase::Finalizing),
        Just(RegionPhase::Closed)
    ];
    let parts = (
        option::of(subjects()),
        phases,
        option::of(askings()),
        option::of(times()),
        any::<bool>(),
    );
    parts.prop_map(
        |(parent, phase, asked, deadline, is_abandoned)| RegionState {
            parent,
            phase,
            asked,
            deadline,
            is_abandoned,
        },
    )
}

fn task_states() -> impl Strategy<Value = TaskState> {
    let runs = prop_oneof![
        Just(RunState::Runnable),
        Just(RunState::Waiting),
        Just(RunState::Ended(Severity::Panicked))
    ];
    let parts = (
        option::of(".*"),
        ".*",
        any::<u32>(),
        runs,
        option::of(askings()),
        option::of(times()),
        any::<bool>(),
    );
    parts.prop_map(
        |(name, site, line, run, asked, deadline, is_fiber)| TaskState {
            name,
            site,
            line,
            run,
            asked,
            deadline,
            is_fiber,
        },
    )
}

fn waits() -> impl Strategy<Value = Waiting> {
    let resource = (any::<u64>(), ".*", option::of(subjects()));
    let on = prop_oneof![
        tasks().prop_map(WaitsFor::Task),
        regions().prop_map(WaitsFor::Region),
        resource.prop_map(|(resource, kind, holder)| WaitsFor::Resource {
            resource,
            kind,
            holder
        }),
    ];
    (subjects(), on).prop_map(|(waiter, on)| Waiting { waiter, on })
}

fn structures() -> impl Strategy<Value = Structure> {
    let owing = (subjects(), Just(ObligationKind::Reply));
    let owing = owing.prop_map(|(holder, kind)| Owing { holder, kind });
    let timers = (any::<u64>(), tasks()).prop_map(|(at, task)| Timer {
        at: Time::from_nanos(at),
        task,
    });
    let parts = (
        (any::<u64>(), any::<u64>()),
        btree_map(regions(), region_states(), 0..4),
        btree_map(tasks(), task_states(), 0..4),
        btree_map(any::<u64>().prop_map(ObligationId::new), owing, 0..3),
        vec(timers, 0..3),
        vec(waits(), 0..3),
    );
    parts.prop_map(
        |((step, now), regions, tasks, obligations, timers, waits)| Structure {
            step,
            now: Time::from_nanos(now),
            regions,
            tasks,
            obligations,
            timers,
            waits,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(structure in structures()) {
        prop_assert_eq!(Structure::from_text(&structure.to_text()), Ok(structure));
    }

    /// Looking for faults and drawing the tree end, whatever the structure claims.
    #[test]
    fn any_structure_is_checked_and_shown(structure in structures()) {
        let lines = structure.to_string().lines().count();
        prop_assert!(lines <= structure.regions.len() + structure.tasks.len() + 8);
        let _ = structure.faults();
    }

    #[test]
    fn any_text_is_a_structure_or_none(text in "((step|now|region|task|owes|timer|wait) [RTO]?[0-9.]{1,3}( [a-z]{1,8}=['a-zA-Z0-9./-]{0,6}){0,4}\n){0,6}") {
        if let Ok(structure) = Structure::from_text(&text) {
            prop_assert_eq!(structure.to_text(), text);
        }
    }
}
