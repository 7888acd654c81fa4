//! The rule behind `select!`: the first branch whose output fits its pattern.

use std::convert::Infallible;

use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::HasEntropy;

use crate::branches::{Rule, Verdict};

/// The first branch that ends with a value decides; one that ends otherwise is out.
///
/// `select!` makes a branch of each arm, which ends with a value if the arm's guard holds and its pattern takes the output.
/// # Examples
/// ```
/// use asupersync_combinator::{FirstMatch, plain, settle_with};
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let mut rule = FirstMatch::biased();
///     let out = plain(async { Outcome::<u32, ()>::Err(()) });
///     let fits = plain(async { Outcome::<&str, ()>::Ok("fits") });
///     let (_, fits) = FirstMatch::ends(settle_with(&cx, (out, fits), &mut rule).await);
///     assert_eq!(rule.winner(), Some(1));
///     Outcome::<_, ()>::Ok(FirstMatch::value(fits))
/// });
/// assert_eq!(report.outcome, Outcome::Ok(Some("fits")));
/// ```
#[derive(Clone, Debug)]
pub struct FirstMatch {
    first: u64,
    winner: Option<usize>,
}

impl FirstMatch {
    /// Which branch is polled first is drawn anew.
    #[must_use]
    pub fn fair<C: HasEntropy>(cx: &Cx<C>) -> Self {
        Self {
            first: cx.random_u64(),
            winner: None,
        }
    }

    /// Branches are polled from left to right.
    #[must_use]
    pub const fn biased() -> Self {
        Self {
            first: 0,
            winner: None,
        }
    }

    /// The branch that decided.
    #[must_use]
    pub const fn winner(&self) -> Option<usize> {
        self.winner
    }

    /// The outcomes of all branches.
    ///
    /// # Panics
    /// If the branches were dropped because the caller's cleanup and grace were spent: the caller is itself dropped then.
    #[must_use]
    pub fn ends<T>(all: Outcome<T, Infallible>) -> T {
        match all {
            Outcome::Ok(ends) => ends,
            Outcome::Cancelled(reason) => panic!("the branches were dropped: {reason}"),
            Outcome::Panicked(payload) => panic!("{payload}"),
            Outcome::Err(never) => match never {},
        }
    }

    /// The value of a branch that fitted.
    ///
    /// # Panics
    /// If the branch panicked: a loser's panic is not lost.
    #[must_use]
    pub fn value<T>(end: Outcome<T, ()>) -> Option<T> {
        match end {
            Outcome::Ok(value) => Some(value),
            Outcome::Err(()) | Outcome::Cancelled(_) => None,
            Outcome::Panicked(payload) => panic!("{payload}"),
        }
    }
}

impl Rule for FirstMatch {
    fn begin(&mut self, count: usize) -> usize {
        usize::try_from(self.first % count as u64).expect("less than a `usize`")
    }

    fn ended(&mut self, index: usize, severity: Severity) -> Verdict {
        match severity {
            Severity::Err => Verdict::Continue,
            Severity::Ok => {
                self.winner = Some(index);
                Verdict::CancelRest(CancelKind::RaceLost)
            }
            Severity::Cancelled => Verdict::Continue,
            Severity::Panicked => Verdict::CancelRest(CancelKind::FailFast),
        }
    }
}
