//! A systematic search of a fixed twin ends with a proof, and takes one run for each class where it says so.

use asupersync_lab::{Search, SearchReport, Strategy};
use asupersync_zoo::{Program, programs};

fn searched(program: &Program, strategy: Strategy, schedules: u64) -> SearchReport {
    Search::new(program.config())
        .strategies([strategy])
        .schedules(schedules)
        .run(program.fixed)
}

/// The classes of a fixed twin that the systematic search met, if it finished with one execution for each.
fn proved(program: &Program) -> Option<u64> {
    let report = searched(program, Strategy::Dpor, CLASSES_MAX);
    report.assert_clean();
    let systematic = report.systematic.expect("it is a systematic search");
    let is_exact = systematic.executions == report.classes && systematic.redundant == 0;
    (report.is_exhausted && is_exact).then_some(report.classes)
}

#[test]
fn many_fixed_twins_are_proved_with_one_execution_for_each_class() {
    let exact = programs()
        .iter()
        .filter(|program| proved(program).is_some());
    assert!(exact.count() >= 60);
}

#[test]
fn a_program_of_eight_tasks_is_among_them() {
    let program = programs()
        .iter()
        .find(|program| program.name == "paired-counters");
    assert_eq!(proved(program.expect("the zoo has it")), Some(16));
}

/// What all interleavings together reach, the systematic search reaches too, whatever number of runs it takes.
#[test]
fn the_classes_are_those_of_all_interleavings() {
    let mut compared = 0;
    for program in programs() {
        let all = searched(program, Strategy::All, INTERLEAVINGS_MAX);
        if !all.is_exhausted {
            continue;
        }
        let report = searched(program, Strategy::Dpor, CLASSES_MAX);
        assert!(report.is_exhausted, "{}", program.name);
        assert_eq!(report.classes, all.classes, "{}", program.name);
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} are small enough");
}

/// No bug is out of reach of the systematic search: it finds each one that has few classes.
#[test]
fn every_bug_is_found_systematically() {
    for program in programs().iter().filter(|program| program.exhaustible) {
        let report = Search::new(program.config())
            .strategies([Strategy::Dpor])
            .schedules(CLASSES_MAX)
            .shrink_runs(0)
            .run(program.buggy);
        assert!(report.failure.is_some(), "{}: {report}", program.name);
    }
}

const CLASSES_MAX: u64 = 2_000;
const INTERLEAVINGS_MAX: u64 = 3_000;
