//! What is planned at a node: a tree of processes, each to be run before what hangs below it.

use std::sync::Arc;

use super::naming::{Naming, Touched};
use crate::step::ProcessKey;
use crate::trail::Trail;

/// A process to be run, and what is to be run after it; with nothing below it, whatever follows will do.
pub(super) struct Branch {
    pub(super) process: ProcessKey,
    /// What its step accessed when it was last seen.
    touched: Arc<Touched>,
    /// Whether it will access just that.
    is_certain: bool,
    /// Whether it is explored as if nobody slept: somebody may commute with it only as far as is known.
    pub(super) is_alone: bool,
    pub(super) then: Vec<Branch>,
}

/// A step of a sequence that is planned, as it was taken in the execution that it is planned from.
pub(super) struct Event {
    pub(super) process: ProcessKey,
    /// Its index there.
    pub(super) step: usize,
    pub(super) touched: Arc<Touched>,
    /// Whether it will access just that when it is taken as planned.
    pub(super) is_certain: bool,
}

/// How a process can go first in a sequence.
pub(super) enum GoesFirst {
    /// By its own step in it, with this index.
    Within(usize),
    /// By a step that commutes with all of it.
    Beside,
    /// Perhaps by such a step: of some step it is not known what it will access.
    Unsure,
}

/// Whether what follows a sequence may as well begin with a step of this process, which would access what was touched.
pub(super) fn goes_first(
    trail: &Trail,
    naming: &Naming,
    sequence: &[Event],
    process: ProcessKey,
    touched: &Touched,
) -> Option<GoesFirst> {
    let own = sequence.iter().position(|event| event.process == process);
    let Some(index) = own else {
        let clashes =
            |event: &Event| event.is_certain && !naming.are_apart(&event.touched, touched);
        if sequence.iter().any(clashes) {
            return None;
        }
        let is_sure = sequence.iter().all(|event| event.is_certain);
        return Some(if is_sure {
            GoesFirst::Beside
        } else {
            GoesFirst::Unsure
        });
    };
    let step = sequence[index].step;
    let mut earlier = sequence[..index].iter();
    // In the sequence the step may see something else than it will see first, and so touch less.
    let is_behind = earlier
        .any(|event| trail.before(event.step, step) || !naming.are_apart(&event.touched, touched));
    (!is_behind).then_some(GoesFirst::Within(index))
}

/// Plans a sequence, unless one that is planned already leads to the same.
///
/// `is_alone` says that somebody who sleeps may commute with it, for all that is known.
pub(super) fn insert(
    trail: &Trail,
    naming: &Naming,
    branches: &mut Vec<Branch>,
    mut sequence: Vec<Event>,
    mut is_alone: bool,
) {
    let mut branches = branches;
    'down: while !sequence.is_empty() {
        for place in 0..branches.len() {
            let branch = &branches[place];
            let goes = goes_first(trail, naming, &sequence, branch.process, &branch.touched);
            let index = match goes {
                None => continue,
                Some(GoesFirst::Within(index)) => Some(index),
                Some(GoesFirst::Beside) if branch.is_certain => None,
                Some(GoesFirst::Beside | GoesFirst::Unsure) => {
                    is_alone = true;
                    continue;
                }
            };
            if branch.then.is_empty() {
                // Whatever follows that process will be explored.
                return;
            }
            if let Some(index) = index {
                sequence.remove(index);
            }
            branches = &mut branches[place].then;
            continue 'down;
        }
        let chain = sequence.into_iter().rev().fold(Vec::new(), |then, event| {
            vec![Branch {
                process: event.process,
                touched: event.touched,
                is_certain: event.is_certain,
                is_alone: false,
                then,
            }]
        });
        branches.extend(
            chain
                .into_iter()
                .map(|branch| Branch { is_alone, ..branch }),
        );
        return;
    }
}
