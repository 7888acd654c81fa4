//! How much a task, a region or a cleanup may use.

use crate::Time;

/// Limits on time, polls and cost, with a priority.
///
/// Budgets form a semilattice under [`meet`](Budget::meet) with [`Budget::UNLIMITED`] as its neutral element.
/// A child's budget is the meet of its parent's and its own, so a child can only be tighter.
/// # Shape and units
/// `deadline` is a point on the host's clock; `poll_quota` counts polls of the task; `cost_quota` counts units that the program spends with `cx.spend`; a higher `priority` is more urgent.
/// # Examples
/// ```
/// use asupersync_core::{Budget, Time};
/// let request = Budget::new().with_deadline(Time::from_secs(3)).with_poll_quota(10_000);
/// let step = Budget::new().with_deadline(Time::from_secs(9)).with_priority(4);
/// let both = request.meet(step);
/// assert_eq!(both.deadline, Some(Time::from_secs(3)));
/// assert_eq!((both.poll_quota, both.priority), (10_000, 4));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Budget {
    /// The moment by which the work must be done; `None` is never.
    pub deadline: Option<Time>,
    /// How often the work may be polled; `u32::MAX` is without limit.
    pub poll_quota: u32,
    /// How many cost units the work may spend; `None` is without limit.
    pub cost_quota: Option<u64>,
    /// How urgent the work is; 0 is the least urgent.
    pub priority: u8,
}

impl Budget {
    /// No limit at all, and the lowest priority.
    pub const UNLIMITED: Self = Self {
        deadline: None,
        poll_quota: u32::MAX,
        cost_quota: None,
        priority: 0,
    };

    /// A budget without limits, to be narrowed with the `with_` methods.
    #[must_use]
    pub const fn new() -> Self {
        Self::UNLIMITED
    }

    /// Sets the deadline.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Time) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Sets the deadline, in whole seconds of the host's clock.
    #[must_use]
    pub const fn with_deadline_secs(self, secs: u64) -> Self {
        self.with_deadline(Time::from_secs(secs))
    }

    /// Sets the number of polls.
    #[must_use]
    pub const fn with_poll_quota(mut self, polls: u32) -> Self {
        self.poll_quota = polls;
        self
    }

    /// Sets the number of cost units.
    #[must_use]
    pub const fn with_cost_quota(mut self, cost: u64) -> Self {
        self.cost_quota = Some(cost);
        self
    }

    /// Sets the priority.
    #[must_use]
    pub const fn with_priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// The tighter of each limit, and the higher priority.
    ///
    /// Associative, commutative and idempotent.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self {
            deadline: tighter(self.deadline, other.deadline),
            poll_quota: self.poll_quota.min(other.poll_quota),
            cost_quota: tighter(self.cost_quota, other.cost_quota),
            priority: self.priority.max(other.priority),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

fn tighter<T: Ord>(left: Option<T>, right: Option<T>) -> Option<T> {
    match (left, right) {
        (Some(left), Some(right)) => Some(left.min(right)),
        (limit, None) | (None, limit) => limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn budgets() -> impl Strategy<Value = Budget> {
        (
            any::<Option<u64>>(),
            any::<u32>(),
            any::<Option<u64>>(),
            any::<u8>(),
        )
            .prop_map(|(deadline, poll_quota, cost_quota, priority)| Budget {
                deadline: deadline.map(Time::from_nanos),
                poll_quota,
                cost_quota,
                priority,
            })
    }

    proptest! {
        #[test]
        fn meet_is_a_semilattice(a in budgets(), b in budgets(), c in budgets()) {
            prop_assert_eq!(a.meet(b).meet(c), a.meet(b.meet(c)));
            prop_assert_eq!(a.meet(b), b.meet(a));
            prop_assert_eq!(a.meet(a), a);
            prop_assert_eq!(a.meet(Budget::UNLIMITED), a);
        }
    }
}
