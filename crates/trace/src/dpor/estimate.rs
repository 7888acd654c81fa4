//! How much is left.

use std::fmt;

/// How many executions a search will probably take, in the light of those that it has made.
///
/// Each execution is a path from the root of the tree of all executions to a leaf; the product of the branches along it estimates the leaves.
/// Branches that have not been planned yet are missing, so early estimates are low.
///
/// # Source
/// Knuth: *Estimating the efficiency of backtrack programs*, Mathematics of Computation 29, 1975.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// How many there are at least.
    pub at_least: u64,
    /// How many there probably are.
    pub likely: f64,
    /// The standard error of that; 0 if it is known.
    pub error: f64,
}

impl Estimate {
    pub(super) const fn exact(executions: u64) -> Self {
        Self {
            at_least: executions,
            likely: executions as f64,
            error: 0.0,
        }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.error == 0.0 {
            return write!(f, "{} classes in all", self.at_least);
        }
        write!(
            f,
            "about {:.0} classes in all (give or take {:.0}), at least {}",
            self.likely, self.error, self.at_least
        )
    }
}

/// The products of the paths so far.
#[derive(Default)]
pub(super) struct Sample {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sample {
    /// Adds a path, by the number of branches known at each of its nodes.
    pub(super) fn add(&mut self, branches: impl Iterator<Item = usize>) {
        let leaves = branches.fold(1.0, |leaves, count| leaves * count as f64);
        self.count += 1.0;
        self.sum += leaves;
        self.squares += leaves * leaves;
    }

    pub(super) fn estimate(&self, executions: u64, planned: u64) -> Estimate {
        let at_least = executions + planned;
        if self.count < 1.0 {
            return Estimate {
                at_least,
                likely: at_least as f64,
                error: at_least as f64,
            };
        }
        let mean = self.sum / self.count;
        let variance = (self.squares / self.count - mean * mean).max(0.0);
        let likely = mean.max(at_least as f64);
        Estimate {
            at_least,
            likely,
            // What is not known yet weighs as much as what varies.
            error: (variance / self.count)
                .sqrt()
                .max(likely - executions as f64),
        }
    }
}
