//! How many classes of schedules a fixed twin has, as far as random schedules tell.

use std::collections::BTreeMap;

use asupersync_lab::LabRuntime;
use asupersync_trace::{Fingerprint, fingerprint, steps};
use asupersync_zoo::{Program, programs};

/// Above this, a fixed twin is not called exhaustible.
const CLASSES_MAX: u64 = 5_000;
/// Runs from which the number of classes is told.
const RUNS: u64 = 1_000;
/// How many programs an exhaustive search must be able to finish.
const EXHAUSTIBLE_MIN: usize = 25;

/// At least how many classes there are, by Chao's estimate: those that were met, and as many more as the ratio of those met once to those met twice tells.
fn classes_estimated(program: &Program) -> u64 {
    let mut met: BTreeMap<Fingerprint, u64> = BTreeMap::new();
    for seed in 0..RUNS {
        let report = LabRuntime::new(program.config().seed(seed)).run(program.fixed);
        *met.entry(fingerprint(&steps(&report.trace))).or_default() += 1;
    }
    let count = |times| met.values().filter(|met| **met == times).count() as u64;
    let (once, twice) = (count(1), count(2));
    met.len() as u64 + once * once.saturating_sub(1) / (2 * (twice + 1))
}

#[test]
fn what_is_called_exhaustible_has_few_classes() {
    let mut count = 0;
    for program in programs() {
        let estimate = classes_estimated(program);
        println!("{:<28} {estimate}", program.name);
        count += usize::from(program.exhaustible);
        assert_eq!(
            program.exhaustible,
            estimate < CLASSES_MAX,
            "`{}` has about {estimate} classes",
            program.name
        );
    }
    assert!(count >= EXHAUSTIBLE_MIN);
}

/// Otherwise a program would share something that the trace does not show, and a search that runs one schedule of each class would miss a bug.
#[test]
fn schedules_of_one_class_end_alike() {
    for program in programs() {
        let mut ends = BTreeMap::new();
        for seed in 0..RUNS {
            let report = LabRuntime::new(program.config().seed(seed)).run(program.buggy);
            let shows = program.shows.in_report(&report);
            let (first, before) = *ends
                .entry(fingerprint(&steps(&report.trace)))
                .or_insert((seed, shows));
            assert_eq!(
                shows, before,
                "`{}`: seeds {first} and {seed} are of one class",
                program.name
            );
        }
    }
}
