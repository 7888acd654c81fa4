//! The first branches to succeed: one, or as many as are needed.

use asupersync_core::{CancelKind, CancelReason, Outcome, PanicPayload, Severity};
use asupersync_kernel::Cx;

use crate::branches::{Rule, Uniform, Verdict, lift};

/// Nothing succeeded.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("none of {} attempts succeeded", errors.len())]
pub struct AllFailed<E> {
    /// Every error, in the order of the branches.
    pub errors: Vec<E>,
}

/// Why a quorum was not reached.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError<E> {
    /// So many have failed that those which were left could not make up for it.
    #[error("{needed} of {count} were needed, and {} have failed", errors.len())]
    Impossible {
        /// How many successes were needed.
        needed: usize,
        /// How many branches there were.
        count: usize,
        /// The errors up to the one that decided it, in the order of the branches.
        errors: Vec<E>,
    },
}

/// Runs the branches until one has succeeded; the others are cancelled with `RaceLost` and drained.
///
/// # Errors
/// [`AllFailed`] with every error, in the order of the branches; `Cancelled` if none succeeded and one was cancelled.
/// A panic ends it at once, and is not lost, also if a loser panics while it drains.
/// # Cancel safety
/// Drains: a dropped call drops the branches; what they had opened is closed by the region around it.
/// # Examples
/// ```
/// use asupersync_combinator::first_ok;
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let broken = async |_: Cx| Outcome::<u32, &'static str>::Err("broken");
///     let fine = async |_: Cx| Outcome::<u32, &'static str>::Ok(7);
///     first_ok(&cx, (broken, fine)).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(7));
/// ```
pub async fn first_ok<C, B>(cx: &Cx<C>, branches: B) -> Outcome<B::Ok, AllFailed<B::Err>>
where
    B: Uniform<C>,
{
    let sorted = match count(cx, branches, 1).await {
        Outcome::Ok(sorted) => sorted,
        bad => return bad.map(|_| unreachable!("a value was taken above")),
    };
    if let Some(payload) = sorted.panic {
        return Outcome::Panicked(payload);
    }
    match (sorted.values.into_iter().next(), sorted.cancelled) {
        (Some(value), _) => Outcome::Ok(value),
        (None, Some(reason)) => Outcome::Cancelled(reason),
        (None, None) => Outcome::Err(AllFailed {
            errors: sorted.errors,
        }),
    }
}

/// Runs the branches until `needed` have succeeded, or cannot any more; the others are cancelled and drained.
///
/// Those that came too late are cancelled with `RaceLost`, those that could not help any more with `FailFast`.
/// # Shape and units
/// `needed` counts successes; with 0 no branch is started.
/// The values are those of the first `needed` to succeed, in the order of the branches.
/// # Errors
/// [`QuorumError::Impossible`] as soon as too many have failed, or at once if there are too few branches; `Cancelled` if one of those was cancelled.
/// A panic ends it at once, and is not lost, also if a loser panics while it drains.
/// # Cancel safety
/// Drains: as [`first_ok`].
/// # Examples
/// ```
/// use asupersync_combinator::quorum;
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let replicas: Vec<_> = [5, 1, 3]
///         .into_iter()
///         .map(|secs| async move |cx: Cx| {
///             cx.sleep(Duration::from_secs(secs)).await?;
///             Ok::<_, Cancelled>(secs)
///         })
///         .collect();
///     quorum(&cx, 2, replicas).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok(vec![1, 3]));
/// assert_eq!(report.elapsed, Duration::from_secs(3));
/// ```
/// # Source
/// The law `I64`.
pub async fn quorum<C, B>(
    cx: &Cx<C>,
    needed: usize,
    branches: B,
) -> Outcome<Vec<B::Ok>, QuorumError<B::Err>>
where
    B: Uniform<C>,
{
    let sorted = match count(cx, branches, needed).await {
        Outcome::Ok(sorted) => sorted,
        bad => return bad.map(|_| unreachable!("a value was taken above")),
    };
    if let Some(payload) = sorted.panic {
        return Outcome::Panicked(payload);
    }
    match sorted.cancelled {
        _ if sorted.values.len() >= needed => Outcome::Ok(sorted.values),
        Some(reason) => Outcome::Cancelled(reason),
        None => Outcome::Err(QuorumError::Impossible {
            needed,
            count: sorted.count,
            errors: sorted.errors,
        }),
    }
}

/// The branches' ends, sorted; of those that ended before it was decided, but for panics.
struct Sorted<T, E> {
    count: usize,
    values: Vec<T>,
    errors: Vec<E>,
    cancelled: Option<CancelReason>,
    panic: Option<PanicPayload>,
}

async fn count<C, B, X>(cx: &Cx<C>, branches: B, needed: usize) -> Outcome<Sorted<B::Ok, B::Err>, X>
where
    B: Uniform<C>,
{
    let count = branches.count();
    let mut sorted = Sorted {
        count,
        values: Vec::new(),
        errors: Vec::new(),
        cancelled: None,
        panic: None,
    };
    if needed == 0 || needed > count {
        return Outcome::Ok(sorted);
    }
    let mut rule = Successes {
        needed,
        succeeded: 0,
        failed: 0,
        counted: Vec::new(),
    };
    let outcomes = match branches.run(cx, &mut rule).await {
        Outcome::Ok(outcomes) => outcomes,
        bad => return lift(bad.map(|_| unreachable!("a value was taken above"))),
    };
    B::for_each(outcomes, |index, outcome| {
        let counts = rule.counted[index];
        match outcome {
            Outcome::Ok(value) if counts => sorted.values.push(value),
            Outcome::Err(error) if counts => sorted.errors.push(error),
            Outcome::Cancelled(reason) if counts => {
                sorted.cancelled.get_or_insert(reason);
            }
            Outcome::Panicked(payload) => {
                sorted.panic.get_or_insert(payload);
            }
            Outcome::Ok(_) | Outcome::Err(_) | Outcome::Cancelled(_) => {}
        }
    });
    Outcome::Ok(sorted)
}

struct Successes {
    needed: usize,
    succeeded: usize,
    failed: usize,
    /// Which branches ended before it was decided.
    counted: Vec<bool>,
}

impl Successes {
    fn verdict(&self) -> Verdict {
        if self.succeeded >= self.needed {
            Verdict::CancelRest(CancelKind::RaceLost)
        } else if self.counted.len() - self.failed < self.needed {
            Verdict::CancelRest(CancelKind::FailFast)
        } else {
            Verdict::Continue
        }
    }
}

impl Rule for Successes {
    fn begin(&mut self, count: usize) -> usize {
        self.counted.resize(count, false);
        0
    }

    fn ended(&mut self, index: usize, severity: Severity) -> Verdict {
        self.counted[index] = true;
        match severity {
            Severity::Ok => self.succeeded += 1,
            Severity::Err | Severity::Cancelled => self.failed += 1,
            Severity::Panicked => return Verdict::CancelRest(CancelKind::FailFast),
        }
        self.verdict()
    }
}
