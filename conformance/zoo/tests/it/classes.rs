//! How many classes of schedules a fixed twin has, as far as random schedules tell.
//!
//! Two runs are of one class if every two accesses that do not commute stand in the same order in both.
//! A class is told from others by the accesses to each resource in order, where reads between two writes have no order.

use std::collections::{BTreeMap, BTreeSet};

use asupersync_kernel::{Event, Subject};
use asupersync_lab::{LabRuntime, Trace};
use asupersync_trace::{Access, access_of};
use asupersync_zoo::{Program, programs};

/// Above this, a fixed twin is not called exhaustible.
const CLASSES_MAX: usize = 5_000;
/// Runs from which the number of classes is told.
const RUNS: u64 = 4_000;

/// An access: by whom, and which of its own accesses.
type Step = (Subject, usize);

/// What a run did with one resource: writes, and between them sets of reads.
#[derive(Default)]
struct Line {
    done: Vec<Vec<Step>>,
    reads: Vec<Step>,
}

impl Line {
    fn see(&mut self, step: Step, access: Access) {
        if access == Access::Read {
            self.reads.push(step);
            return;
        }
        self.flush();
        self.done.push(vec![step]);
    }

    fn flush(&mut self) {
        let mut reads = std::mem::take(&mut self.reads);
        if !reads.is_empty() {
            reads.sort_unstable();
            self.done.push(reads);
        }
    }
}

/// Equal for runs of one class, and in practice for those only.
fn class_of(trace: &Trace) -> Vec<Vec<Vec<Step>>> {
    let mut lines: BTreeMap<u64, Line> = BTreeMap::new();
    let mut counts: BTreeMap<Subject, usize> = BTreeMap::new();
    for event in trace.iter() {
        let Event::Operation {
            subject: Some(subject),
            resource,
            name,
        } = event
        else {
            continue;
        };
        let count = counts.entry(*subject).or_default();
        *count += 1;
        let access = access_of(name).unwrap_or(Access::Write);
        lines
            .entry(*resource)
            .or_default()
            .see((*subject, *count), access);
    }
    let mut class: Vec<_> = lines
        .into_values()
        .map(|mut line| {
            line.flush();
            line.done
        })
        .collect();
    // A resource has its number by its first use, which differs between runs of one class.
    class.sort_unstable();
    class
}

/// How many classes the first half of the runs meets, and how many all of them.
fn classes(program: &Program) -> (usize, usize) {
    let mut seen = BTreeSet::new();
    let mut half = 0;
    for seed in 0..RUNS {
        if seed == RUNS / 2 {
            half = seen.len();
        }
        let report = LabRuntime::new(program.config().seed(seed)).run(program.fixed);
        seen.insert(class_of(&report.trace));
    }
    (half, seen.len())
}

#[test]
fn what_is_called_exhaustible_has_few_classes() {
    let chosen: Vec<&Program> = programs().iter().filter(|p| p.exhaustible).collect();
    assert!(chosen.len() >= 25);
    for program in chosen {
        let (half, all) = classes(program);
        println!("{:<28} {half} {all}", program.name);
        // The number that random runs still have before them is about what the second half found new, or less.
        assert!(
            all * 2 - half < CLASSES_MAX,
            "`{}` has {all} classes and more",
            program.name
        );
    }
}
