//! The reduction on programs that spawn, wait and let time pass, beside all their interleavings.

use std::collections::BTreeSet;

use asupersync_trace::{Dpor, Fingerprint, Pick, fingerprint};
use proptest::prelude::*;

use crate::model::{Op, Outcome, Program, Run, brute_force, programs};

struct Search {
    dpor: Dpor,
    classes: BTreeSet<Fingerprint>,
    outcomes: BTreeSet<Outcome>,
}

fn search(program: &Program, limit: u64) -> Search {
    let mut search = Search {
        dpor: Dpor::new(),
        classes: BTreeSet::new(),
        outcomes: BTreeSet::new(),
    };
    while search.dpor.begin() {
        let ended = search.dpor.executions() + search.dpor.redundant();
        assert!(ended < limit, "{program:?} takes more than {limit}");
        let mut run = Run::new(program);
        search.dpor.ran(&run.steps[0]);
        let is_whole = drive(&mut search.dpor, &mut run);
        search.dpor.end();
        if is_whole {
            search.classes.insert(fingerprint(&run.steps));
            search.outcomes.insert(run.outcome());
        }
    }
    assert_eq!(search.dpor.mismatch_found(), None);
    assert!(search.dpor.is_done());
    search
}

fn drive(dpor: &mut Dpor, run: &mut Run<'_>) -> bool {
    loop {
        let runnable = run.runnable();
        if runnable.is_empty() {
            if !run.advance() {
                return true;
            }
        } else {
            match dpor.choose(&runnable) {
                Pick::Run(index) => run.step(runnable[index]),
                Pick::Redundant => return false,
            }
        }
        dpor.ran(&run.steps[run.steps.len() - 1]);
    }
}

/// Runs the search, which must reach what all interleavings reach.
///
/// What a step does once it is turned round is not known before, so a class may be run more than once.
fn reach(program: &Program, limit: usize) -> Option<Search> {
    let (classes, outcomes) = brute_force(program, limit)?;
    let search = search(program, limit as u64 * 20 + 100);
    assert_eq!(
        search.classes.len(),
        classes.len(),
        "classes of {program:?}"
    );
    assert_eq!(search.classes, classes);
    assert_eq!(search.outcomes, outcomes);
    assert!(search.dpor.executions() >= classes.len() as u64);
    Some(search)
}

/// How many classes there are, all of which are reached.
fn check(program: &Program, limit: usize) -> Option<u64> {
    Some(reach(program, limit)?.classes.len() as u64)
}

fn all(processes: &[&[Op]]) -> Program {
    Program {
        processes: processes.iter().map(|ops| ops.to_vec()).collect(),
        started: processes.len(),
    }
}

const LIMIT: usize = 10_000;

#[test]
fn writers_of_one_variable_run_in_every_order() {
    for (count, factorial) in [(1, 1), (2, 2), (3, 6), (4, 24), (5, 120)] {
        let program = all(&vec![&[Op::Write(0)][..]; count]);
        assert_eq!(check(&program, LIMIT), Some(factorial));
    }
}

#[test]
fn processes_that_share_nothing_run_once() {
    let bodies: Vec<Vec<Op>> = (0..5)
        .map(|own| vec![Op::Write(own), Op::Yield, Op::Read(own)])
        .collect();
    let bodies: Vec<&[Op]> = bodies.iter().map(Vec::as_slice).collect();
    let program = all(&bodies);
    assert_eq!(search(&program, 10).dpor.executions(), 1);
}

#[test]
fn readers_of_one_variable_race_with_its_writer_only() {
    // The writer comes after any set of the readers.
    let program = all(&[
        &[Op::Write(0)],
        &[Op::Read(0)],
        &[Op::Read(0)],
        &[Op::Read(0)],
    ]);
    assert_eq!(check(&program, LIMIT), Some(8));
}

#[test]
fn additions_race_with_the_reader_only() {
    let program = all(&[&[Op::Read(0)], &[Op::Add(0)], &[Op::Add(0)], &[Op::Add(0)]]);
    assert_eq!(check(&program, LIMIT), Some(8));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_class_is_reached(program in programs(4, 6).prop_map(Program::without_spawns)) {
        prop_assume!(reach(&program, LIMIT).is_some());
    }
}

/// Where a plan that may commute with a sleeper is explored with that one still asleep, these lose a class.
#[test]
fn a_plan_that_may_commute_with_a_sleeper_is_explored_whole() {
    for program in [
        all(&[
            &[Op::SkipIfOdd(0), Op::Unlock(0), Op::Write(1)],
            &[Op::Lock(0)],
            &[Op::Write(0)],
            &[Op::Yield, Op::Write(0)],
        ]),
        all(&[
            &[Op::SkipIfOdd(1)],
            &[Op::Add(0)],
            &[Op::Add(1)],
            &[Op::Add(1), Op::Yield, Op::Write(0)],
        ]),
    ] {
        assert!(reach(&program, LIMIT).is_some(), "it is small");
    }
}
