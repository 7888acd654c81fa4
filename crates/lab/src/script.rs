//! What was decided before, to be decided again.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Who decided, and how much it had decided before; the same in every schedule.
pub(crate) type DecisionKey = (u64, u64);

/// The decisions of a run that are not 0.
pub(crate) type Decided = Arc<BTreeMap<DecisionKey, u32>>;

/// Answers to the questions of a run.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// In the order in which they were asked; the run is the same only if nothing else has changed.
    InOrder(Vec<u32>),
    /// By who asks, so that an answer still finds its question if others come earlier or later than before.
    ByProcess(Decided),
}

impl Script {
    /// The answer to the question of this number, asked by this process; none is 0.
    pub(crate) fn answer(&self, number: usize, key: DecisionKey) -> u32 {
        let answer = match self {
            Self::InOrder(answers) => answers.get(number),
            Self::ByProcess(answers) => answers.get(&key),
        };
        answer.copied().unwrap_or_default()
    }
}
