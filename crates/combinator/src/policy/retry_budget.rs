//! How many retries all calls together may make.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bounds the retries of all calls that share it: a bucket of tokens.
///
/// Each call pays in a share of a token, each retry takes a whole one; so a server in trouble sees a few percent more calls, and not a multiple.
/// # Invariants
/// Retries <= burst + calls * retries per hundred / 100.
/// # Examples
/// ```
/// use asupersync_combinator::{Backoff, Retry, RetryBudget};
/// use std::sync::Arc;
/// let budget = Arc::new(RetryBudget::new(20, 10));
/// let retry = Retry::new(4, Backoff::none()).budget(Arc::clone(&budget));
/// assert_eq!(budget.available(), 10);
/// # let _ = retry;
/// ```
/// # Source
/// The law `I72`.
#[derive(Debug)]
pub struct RetryBudget {
    per_hundred: u32,
    full: u64,
    /// In hundredths of a token.
    level: Mutex<u64>,
}

impl RetryBudget {
    /// A full budget: so many retries for each hundred calls, and so many saved up at most.
    #[must_use]
    pub fn new(retries_per_hundred: u32, burst: u32) -> Self {
        let full = u64::from(burst) * TOKEN;
        Self {
            per_hundred: retries_per_hundred,
            full,
            level: Mutex::new(full),
        }
    }

    /// How many retries it would pay for now.
    #[must_use]
    pub fn available(&self) -> u64 {
        *self.level() / TOKEN
    }

    pub(super) fn pay_in(&self) {
        let mut level = self.level();
        *level = (*level + u64::from(self.per_hundred)).min(self.full);
    }

    pub(super) fn take(&self) -> bool {
        let mut level = self.level();
        let left = level.checked_sub(TOKEN);
        *level = left.unwrap_or(*level);
        left.is_some()
    }

    fn level(&self) -> MutexGuard<'_, u64> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token, in the unit that calls pay in.
const TOKEN: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn retries_stay_below_burst_and_share(
            per_hundred in 0_u32..300,
            burst in 0_u32..20,
            calls in prop::collection::vec(any::<bool>(), 0..400),
        ) {
            let budget = RetryBudget::new(per_hundred, burst);
            let (mut paid, mut taken) = (0_u64, 0_u64);
            for is_call in calls {
                if is_call {
                    budget.pay_in();
                    paid += 1;
                } else {
                    taken += u64::from(budget.take());
                }
                prop_assert!(taken <= u64::from(burst) + paid * u64::from(per_hundred) / 100);
                prop_assert!(budget.available() <= u64::from(burst));
            }
        }
    }
}
