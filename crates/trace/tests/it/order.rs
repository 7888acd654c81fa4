//! Orders, normal forms and fingerprints of random runs.

use asupersync_trace::{Order, ProcessKey, Step, canonical, fingerprint};
use proptest::prelude::*;

use crate::model::{Program, Run, programs};

fn run<'p>(program: &'p Program, choices: &[prop::sample::Index]) -> Run<'p> {
    let mut run = Run::new(program);
    let mut choices = choices.iter();
    run.follow(|count| choices.next().map_or(0, |choice| choice.index(count)));
    run
}

fn clash(first: &Step, second: &Step) -> bool {
    let conflict = first.accesses.iter().any(|(object, mode)| {
        let mut others = second.accesses.iter();
        others.any(|(other, with)| other == object && !mode.commutes_with(*with))
    });
    conflict
        || first.process == second.process
        || first.kind.is_barrier()
        || second.kind.is_barrier()
}

/// Which step comes before which, from the definition.
fn closure(steps: &[Step]) -> Vec<Vec<bool>> {
    let mut before = vec![vec![false; steps.len()]; steps.len()];
    for second in 0..steps.len() {
        for first in (0..second).rev() {
            let direct = clash(&steps[first], &steps[second]);
            let between =
                (first + 1..second).any(|step| before[first][step] && before[step][second]);
            before[first][second] = direct || between;
        }
    }
    before
}

/// The steps of these processes in this order, where the clock goes on whenever nobody can run.
fn replayed<'p>(program: &'p Program, schedule: &[ProcessKey]) -> Option<Run<'p>> {
    let mut run = Run::new(program);
    for process in schedule {
        if *process == ProcessKey::CLOCK {
            assert!(run.runnable().is_empty() && run.advance());
            continue;
        }
        if !run.runnable().contains(process) {
            return None;
        }
        run.step(*process);
    }
    Some(run)
}

fn choices() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    proptest::collection::vec(any::<prop::sample::Index>(), 40)
}

proptest! {
    #[test]
    fn before_is_the_transitive_closure_of_dependence(program in programs(4, 7), choices in choices()) {
        let steps = run(&program, &choices).steps;
        let order = Order::of(&steps);
        let naive = closure(&steps);
        for (first, row) in naive.iter().enumerate() {
            for (second, expected) in row.iter().enumerate() {
                prop_assert_eq!(order.before(first, second), *expected, "{} {}", first, second);
            }
            let past = (0..=first).filter(|other| *other == first || naive[*other][first]);
            prop_assert_eq!(order.past_of(first), past.collect::<Vec<_>>());
        }
    }

    #[test]
    fn races_are_neighbours_in_the_order(program in programs(4, 7), choices in choices()) {
        let steps = run(&program, &choices).steps;
        let naive = closure(&steps);
        for (first, second) in Order::of(&steps).races() {
            prop_assert!(naive[first][second]);
            prop_assert!(steps[first].process != steps[second].process);
            let between = (first..second).find(|step| naive[first][*step] && naive[*step][second]);
            prop_assert_eq!(between, None);
        }
    }

    #[test]
    fn levels_are_one_above_the_highest_before(program in programs(4, 7), choices in choices()) {
        let steps = run(&program, &choices).steps;
        let naive = closure(&steps);
        let mut levels: Vec<usize> = Vec::new();
        for (second, _) in steps.iter().enumerate() {
            let below = (0..second).filter(|first| naive[*first][second]);
            let level = below.map(|first| levels[first] + 1).max();
            levels.push(level.unwrap_or(0));
        }
        let form = canonical(&steps, &Order::of(&steps));
        for (step, level) in steps.iter().zip(levels) {
            let found = form.levels[level].iter();
            let found = found.filter(|label| (label.process, label.ordinal) == (step.process, step.ordinal));
            prop_assert_eq!(found.count(), 1);
        }
    }

    #[test]
    fn swapping_neighbours_changes_the_class_exactly_if_they_are_dependent(
        program in programs(4, 7).prop_map(Program::without_spawns),
        choices in choices(),
    ) {
        let steps = run(&program, &choices).steps;
        let schedule: Vec<ProcessKey> = steps[1..].iter().map(|step| step.process).collect();
        for place in 1..schedule.len() {
            let mut swapped = schedule.clone();
            swapped.swap(place - 1, place);
            if clash(&steps[place], &steps[place + 1]) {
                // What follows may be impossible now, but the beginning is a run of another class.
                let own = steps[place].process == steps[place + 1].process;
                let barrier = steps[place].kind.is_barrier() || steps[place + 1].kind.is_barrier();
                if !own && !barrier && let Some(other) = replayed(&program, &swapped[..=place]) {
                    prop_assert_ne!(fingerprint(&other.steps), fingerprint(&steps[..place + 2]));
                }
                continue;
            }
            let other = replayed(&program, &swapped).expect("independent steps can be swapped");
            prop_assert_eq!(fingerprint(&other.steps), fingerprint(&steps));
            let forms = [&other.steps, &steps].map(|steps| canonical(steps, &Order::of(steps)));
            prop_assert_eq!(forms[0].difference(&forms[1]), None);
        }
    }

    #[test]
    fn fingerprints_and_normal_forms_agree(
        program in programs(3, 6),
        first in choices(),
        second in choices(),
    ) {
        let runs = [run(&program, &first).steps, run(&program, &second).steps];
        let forms = [&runs[0], &runs[1]].map(|steps| canonical(steps, &Order::of(steps)));
        let same = fingerprint(&runs[0]) == fingerprint(&runs[1]);
        prop_assert_eq!(same, forms[0] == forms[1]);
        prop_assert_eq!(Order::of(&runs[0]).fingerprint(), fingerprint(&runs[0]));
    }
}
