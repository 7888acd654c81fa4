//! Every schedule, one after another.

use asupersync_trace::ProcessKey;

use super::Chooser;

/// Goes through the tree of choices, depth first.
#[derive(Default)]
pub(super) struct All {
    has_begun: bool,
    /// Of each choice that there was: what was chosen, and how many there were.
    choices: Vec<(usize, usize)>,
    depth: usize,
}

impl Chooser for All {
    fn begin(&mut self, _number: u64) -> bool {
        self.depth = 0;
        if !std::mem::replace(&mut self.has_begun, true) {
            return true;
        }
        while self
            .choices
            .pop_if(|(choice, count)| *choice + 1 == *count)
            .is_some()
        {}
        match self.choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return false,
        }
        true
    }

    fn choose(&mut self, runnable: &[ProcessKey]) -> Option<usize> {
        if self.depth == self.choices.len() {
            self.choices.push((0, runnable.len()));
        }
        let (choice, _) = self.choices[self.depth];
        self.depth += 1;
        Some(choice)
    }

    fn is_exhausted(&self) -> bool {
        self.has_begun && self.choices.is_empty()
    }
}
