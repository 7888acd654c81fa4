//! The two twins of each program, under many schedules.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use asupersync_kernel::Cx;
use asupersync_lab::{LabReport, LabRuntime};
use asupersync_zoo::{Body, Program, ZooError, programs};

/// Seeds until which every bug has to show; the rarest one shows under one order in 720.
const SEEDS_BUGGY: u64 = 5_000;
/// Seeds under which no fixed twin shows anything.
const SEEDS_FIXED: u64 = 500;

fn run(program: &Program, body: fn(Cx) -> Body, seed: u64) -> LabReport<(), ZooError> {
    LabRuntime::new(program.config().seed(seed)).run(body)
}

/// Whether a run shows anything at all.
fn is_bad(report: &LabReport<(), ZooError>) -> bool {
    !(report.is_clean() && report.outcome.is_ok())
}

#[test]
fn every_bug_shows_as_its_program_says() {
    let mut missed = String::new();
    for program in programs() {
        let shows = |seed: &u64| program.shows.in_report(&run(program, program.buggy, *seed));
        let found = (0..SEEDS_BUGGY).find(shows);
        println!("{:<28} {found:?}", program.name);
        if found.is_none() {
            let _ = writeln!(missed, "`{}` shows no {}", program.name, program.shows);
        }
    }
    assert!(missed.is_empty(), "{missed}");
}

#[test]
fn a_buggy_twin_shows_in_no_other_way() {
    for program in programs() {
        for seed in 0..50 {
            let report = run(program, program.buggy, seed);
            assert!(
                !is_bad(&report) || program.shows.in_report(&report),
                "`{}`: {:?}; {}",
                program.name,
                report.outcome,
                report.failure()
            );
        }
    }
}

#[test]
fn no_fixed_twin_shows_anything() {
    for program in programs() {
        for seed in 0..SEEDS_FIXED {
            let report = run(program, program.fixed, seed);
            assert!(
                !is_bad(&report),
                "`{}`: {:?}; {}",
                program.name,
                report.outcome,
                report.failure()
            );
        }
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    for program in programs() {
        for body in [program.buggy, program.fixed] {
            let (one, two) = (run(program, body, 7), run(program, body, 7));
            assert!(one.trace == two.trace, "`{}`", program.name);
        }
    }
}

#[test]
fn no_bug_shows_under_every_schedule() {
    for program in programs() {
        let is_good = |seed: u64| !is_bad(&run(program, program.buggy, seed));
        assert!((0..SEEDS_FIXED).any(is_good), "`{}`", program.name);
    }
}

#[test]
fn names_are_unique_and_sentences_are_sentences() {
    assert!(programs().len() >= 60);
    let names: BTreeSet<&str> = programs().iter().map(|program| program.name).collect();
    assert_eq!(names.len(), programs().len());
    for program in programs() {
        for text in [program.pattern, program.fix] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
        }
        assert_ne!(program.pattern, program.fix);
    }
}
