//! A bounded store of plans.
//!
//! Plans are kept by their code and their rows: the encoding plan of a `K'`, or the plan for one set
//! of received symbols, which blocks of an object often share. The plan used longest ago goes first.
//! The lock is not held while a plan is made, so two threads may make the same one; both are good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::code::Code;
use crate::solve::{Plan, SolveError, SolveOptions};

/// Plans, up to a number of octets.
///
/// # Examples
/// ```
/// use asupersync_raptorq::{Code, PlanCache};
/// let cache = PlanCache::new(1 << 20);
/// let first = cache.encoding(Code::new(99)?);
/// let again = cache.encoding(Code::new(100)?); // the same K'
/// assert!(std::sync::Arc::ptr_eq(&first, &again));
/// assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
/// # Ok::<(), asupersync_raptorq::CodeError>(())
/// ```
#[derive(Debug)]
pub struct PlanCache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

/// What a cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CacheStats {
    /// Plans found.
    pub hits: u64,
    /// Plans made.
    pub misses: u64,
    /// Plans dropped to stay within the bound, or never kept because they alone exceed it.
    pub evictions: u64,
    /// Plans held.
    pub plans: usize,
    /// Octets held.
    pub bytes: usize,
}

/// `K'`, and the digest of the rows (`None`: the encoding plan).
type Key = (u32, Option<[u8; 32]>);

#[derive(Debug, Default)]
struct Inner {
    plans: BTreeMap<Key, (Arc<Plan>, u64)>,
    by_use: BTreeMap<u64, Key>,
    clock: u64,
    stats: CacheStats,
}

impl PlanCache {
    /// An empty cache that holds at most `bytes_max` octets of plans.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            inner: Mutex::default(),
        }
    }

    /// The encoding plan of `code`.
    #[must_use]
    pub fn encoding(&self, code: Code) -> Arc<Plan> {
        let key = (code.extended_symbols(), None);
        if let Some(plan) = self.find(key) {
            return plan;
        }
        self.keep(key, Plan::encoding(code))
    }

    /// The plan for these rows; the flag says whether it was found.
    pub(crate) fn decoding(
        &self,
        code: Code,
        isis: &[u32],
        options: SolveOptions,
    ) -> Result<(Arc<Plan>, bool), SolveError> {
        let mut hash = blake3::Hasher::new();
        for isi in isis {
            hash.update(&isi.to_le_bytes());
        }
        hash.update(&[options.policy.map_or(0, |policy| policy as u8 + 1)]);
        let key = (code.extended_symbols(), Some(*hash.finalize().as_bytes()));
        if let Some(plan) = self.find(key) {
            return Ok((plan, true));
        }
        let plan = Plan::solve(code, isis.iter().copied(), options)?;
        Ok((self.keep(key, plan), false))
    }

    /// What the cache did so far.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let inner = self.lock();
        CacheStats {
            plans: inner.plans.len(),
            ..inner.stats
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing inside panics half-way: a poisoned cache is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: Key) -> Option<Arc<Plan>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some((plan, used)) = inner.plans.get_mut(&key) else {
            inner.stats.misses += 1;
            return None;
        };
        inner.stats.hits += 1;
        inner.clock += 1;
        inner.by_use.remove(used);
        *used = inner.clock;
        inner.by_use.insert(inner.clock, key);
        Some(Arc::clone(plan))
    }

    fn keep(&self, key: Key, plan: Plan) -> Arc<Plan> {
        let plan = Arc::new(plan);
        let size = plan.size_bytes();
        let mut inner = self.lock();
        if size > self.bytes_max {
            inner.stats.evictions += 1;
            return plan;
        }
        if let Some((kept, _)) = inner.plans.get(&key) {
            return Arc::clone(kept);
        }
        while inner.stats.bytes + size > self.bytes_max {
            let (_, oldest) = inner.by_use.pop_first().expect("octets are held by plans");
            let (gone, _) = inner
                .plans
                .remove(&oldest)
                .expect("both maps hold the same plans");
            inner.stats.bytes -= gone.size_bytes();
            inner.stats.evictions += 1;
        }
        inner.clock += 1;
        let clock = inner.clock;
        inner.stats.bytes += size;
        inner.by_use.insert(clock, key);
        inner.plans.insert(key, (Arc::clone(&plan), clock));
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(k: u32) -> Code {
        Code::new(k).unwrap()
    }

    #[test]
    fn the_plan_used_longest_ago_is_evicted() {
        let sizes: Vec<usize> = [10, 12, 18]
            .iter()
            .map(|&k| Plan::encoding(code(k)).size_bytes())
            .collect();
        let cache = PlanCache::new(sizes.iter().sum::<usize>() - 1);
        let ten = cache.encoding(code(10));
        let _ = cache.encoding(code(12));
        let _ = cache.encoding(code(10));
        let _ = cache.encoding(code(18));
        let stats = cache.stats();
        assert_eq!(
            (stats.hits, stats.misses, stats.evictions, stats.plans),
            (1, 3, 1, 2)
        );
        assert_eq!(stats.bytes, sizes[0] + sizes[2]);
        assert!(Arc::ptr_eq(&ten, &cache.encoding(code(10))));
    }

    #[test]
    fn a_plan_larger_than_the_bound_is_given_but_not_kept() {
        let cache = PlanCache::new(10);
        let plan = cache.encoding(code(10));
        assert_eq!(plan.code().extended_symbols(), 10);
        let stats = cache.stats();
        assert_eq!((stats.plans, stats.bytes, stats.evictions), (0, 0, 1));
    }
}
