//! Values that are kept for a while, and loaded once for all who ask.
//!
//! # States of a value
//! absent → fresh → stale → absent.
//! A stale value may still be given while one call loads a new one, and when loading fails.
//!
//! # Invariants
//! - At any time at most one call loads the value of a key.
//! - No more values are kept than the capacity says; the one that was used least lately goes first.
//! - Only values are kept: an error, a cancellation and a panic are not.
//!
//! # Absent
//! Work behind the callers' backs: the call that finds a value stale loads the new one itself, while others get the stale one.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use asupersync_core::{Cancelled, ErrOf, IntoOutcome, OkOf, Outcome, Time};
use asupersync_kernel::caps::{HasSpawn, HasTime};
use asupersync_kernel::{Cx, Scope};
use asupersync_sync::{FlightError, SingleFlight};

use super::error::PolicyError;
use super::observe::PolicyEvent;
use super::{Call, Policy, Strategy};

/// How a [`CacheAside`] is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheOptions {
    capacity: usize,
    fresh_for: Duration,
    stale_for: Duration,
    stale_on_error_for: Duration,
}

impl CacheOptions {
    /// So many values, each for so long.
    #[must_use]
    pub const fn new(capacity: usize, fresh_for: Duration) -> Self {
        Self {
            capacity,
            fresh_for,
            stale_for: Duration::ZERO,
            stale_on_error_for: Duration::ZERO,
        }
    }

    /// For how long after that others get the stale value while one call loads.
    #[must_use]
    pub const fn stale_while_revalidate(mut self, duration: Duration) -> Self {
        self.stale_for = duration;
        self
    }

    /// For how long after it was fresh a value is given when loading fails.
    #[must_use]
    pub const fn stale_on_error(mut self, duration: Duration) -> Self {
        self.stale_on_error_for = duration;
        self
    }

    fn keep_for(&self) -> Duration {
        let longest = self.stale_for.max(self.stale_on_error_for);
        self.fresh_for.saturating_add(longest)
    }
}

/// A cache beside what it caches.
///
/// # Examples
/// ```
/// use asupersync_combinator::{CacheAside, CacheOptions};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let minute = Duration::from_secs(60);
/// let cache = CacheAside::new(CacheOptions::new(1000, minute));
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let load = async |cx: Cx| {
///         cx.sleep(Duration::from_secs(2)).await?;
///         Ok::<_, Cancelled>("page")
///     };
///     let _ = cache.get(&cx, "/", load).await;
///     // The second time it is there.
///     cache.get(&cx, "/", load).await
/// });
/// assert_eq!(report.outcome, Outcome::Ok("page"));
/// assert_eq!(report.elapsed, Duration::from_secs(2));
/// ```
/// # Source
/// The law `I77`.
pub struct CacheAside<K, V, E> {
    options: CacheOptions,
    store: Mutex<Store<K, V>>,
    loads: SingleFlight<K, V, LoadError<E>>,
}

impl<K: Ord + Clone, V, E> CacheAside<K, V, E> {
    /// An empty cache.
    ///
    /// # Panics
    /// If it may keep nothing.
    #[must_use]
    pub fn new(options: CacheOptions) -> Self {
        assert!(options.capacity > 0, "a cache keeps something");
        Self {
            options,
            store: Mutex::new(Store::new(options)),
            loads: SingleFlight::new(),
        }
    }

    /// How many values are kept, stale ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store().entries.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a value; whether there was one.
    pub fn invalidate(&self, key: &K) -> bool {
        let removed = self.store().remove(key);
        removed.is_some()
    }

    /// The cache as a strategy, for this key: what stands within it is the load.
    pub const fn at(&self, key: K) -> CacheAt<'_, K, V, E> {
        CacheAt { cache: self, key }
    }

    /// Gives the value of `key`: a kept one, or what `load` gives, which is then kept.
    ///
    /// Of the calls for one key one loads at a time; the others wait for it, or load in their turn if it is cancelled.
    /// # Errors
    /// [`PolicyError::Failed`] with the error of `load`, here or in the call that led.
    /// # Cancel safety
    /// Drains: a dropped call drops its load; what that had opened is closed by the region around it, and another call loads.
    pub async fn get<C, F, Fut>(
        &self,
        cx: &Cx<C>,
        key: K,
        load: F,
    ) -> Outcome<V, PolicyError<ErrOf<Fut>>>
    where
        C: HasSpawn + HasTime + 'static,
        F: Fn(Cx<C>) -> Fut + Send + Sync,
        Fut: Future<Output: IntoOutcome<Ok = V, Err = E>> + Send,
        K: Send + Sync,
        V: Clone + Send + Sync,
        E: Error + Clone + Send + Sync + 'static,
        OkOf<Fut>: Send,
    {
        let policy = Policy::builder().with(self.at(key)).build();
        policy.run(cx, load).await
    }

    fn store(&self) -> MutexGuard<'_, Store<K, V>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, E> fmt::Debug for CacheAside<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheAside")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// A [`CacheAside`] as a strategy, for one key; from [`CacheAside::at`].
pub struct CacheAt<'a, K, V, E> {
    cache: &'a CacheAside<K, V, E>,
    key: K,
}

impl<K, V, E> fmt::Debug for CacheAt<'_, K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheAt").finish_non_exhaustive()
    }
}

/// Why a load gave no value, as all who wait for it hear.
#[derive(Clone, Debug, thiserror::Error)]
enum LoadError<E> {
    #[error("the load failed")]
    Failed(PolicyError<E>),
    /// The single flight takes this for the leader's own end.
    #[error(transparent)]
    Cancelled(Cancelled),
}

impl<K, V, E> CacheAt<'_, K, V, E>
where
    K: Ord + Clone + Send + Sync,
    V: Clone + Send + Sync,
    E: Error + Clone + Send + Sync + 'static,
{
    /// Loads, or waits for whoever does.
    async fn load<C, N>(&self, cx: &Cx<C>, next: &N) -> Outcome<V, PolicyError<E>>
    where
        C: HasTime + 'static,
        N: Call<C, Ok = V, Err = E>,
    {
        let work = async || {
            // Another call may have landed between the look and the lead.
            let found = self.cache.store().find(&self.key, cx.now());
            if let Some(found) = found.filter(|found| found.is_fresh) {
                return Ok(V::clone(&found.value));
            }
            next.observer().event(&PolicyEvent::CacheMissed);
            match next.call(cx).await {
                Outcome::Ok(value) => {
                    let kept = Arc::new(value.clone());
                    let gone = self.cache.store().keep(&self.key, kept, cx.now());
                    drop(gone);
                    Ok(value)
                }
                Outcome::Err(error) => Err(LoadError::Failed(error)),
                Outcome::Cancelled(reason) => Err(LoadError::Cancelled(Cancelled::new(reason))),
                // A panic takes nobody along: the next in line leads. The region around catches it.
                Outcome::Panicked(payload) => {
                    let message = payload.message().to_owned();
                    resume_unwind(payload.take().unwrap_or_else(|| Box::new(message)))
                }
            }
        };
        match self.cache.loads.run(cx, self.key.clone(), work).await {
            Ok(value) => Outcome::Ok(value),
            Err(FlightError::Failed(LoadError::Failed(error))) => Outcome::Err(error),
            Err(FlightError::Failed(LoadError::Cancelled(cancelled)))
            | Err(FlightError::Cancelled(cancelled)) => Outcome::Cancelled(cancelled.into_reason()),
            Err(_) => unreachable!("a flight has failed or was cancelled"),
        }
    }
}

impl<C, K, V, E> Strategy<C, V, E> for CacheAt<'_, K, V, E>
where
    C: HasSpawn + HasTime + 'static,
    K: Ord + Clone + Send + Sync,
    V: Clone + Send + Sync,
    E: Error + Clone + Send + Sync + 'static,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<V, PolicyError<E>>
    where
        N: Call<C, Ok = V, Err = E>,
    {
        let hit = |found: Found<V>| {
            let (age, is_stale) = (found.age, !found.is_fresh);
            let event = PolicyEvent::CacheHit { age, is_stale };
            next.observer().event(&event);
            Outcome::Ok(V::clone(&found.value))
        };
        let looked = self.cache.store().look(&self.key, cx.now());
        let refresh = match looked {
            Look::Give(found) => return hit(found),
            Look::Refresh(number) => Some(Refreshing { at: self, number }),
            Look::Load => None,
        };
        let end = cx
            .region(async |_: Scope<'_, PolicyError<E>, C>| self.load(cx, next).await)
            .await;
        drop(refresh);
        if !matches!(end, Outcome::Err(_)) {
            return end;
        }
        let now = cx.now();
        let kept = self.cache.store().find(&self.key, now);
        match kept
            .filter(|found| found.past(&self.cache.options) < self.cache.options.stale_on_error_for)
        {
            Some(found) => hit(found),
            None => end,
        }
    }
}

/// One call loads what is stale; when it is over, another may.
struct Refreshing<'a, K: Ord + Clone, V, E> {
    at: &'a CacheAt<'a, K, V, E>,
    number: u64,
}

impl<K: Ord + Clone, V, E> Drop for Refreshing<'_, K, V, E> {
    fn drop(&mut self) {
        let at = self.at;
        at.cache.store().refreshed(&at.key, self.number);
    }
}

/// What is kept, with time in.
struct Store<K, V> {
    options: CacheOptions,
    entries: BTreeMap<K, Entry<V>>,
    /// The keys by when they were used, the oldest first.
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

struct Entry<V> {
    value: Arc<V>,
    since: Time,
    used: u64,
    /// The use that found it stale and loads.
    refreshing: Option<u64>,
}

struct Found<V> {
    value: Arc<V>,
    age: Duration,
    is_fresh: bool,
}

impl<V> Found<V> {
    /// How long it has been stale.
    fn past(&self, options: &CacheOptions) -> Duration {
        self.age.saturating_sub(options.fresh_for)
    }
}

enum Look<V> {
    Give(Found<V>),
    /// It is stale, and whoever looked loads.
    Refresh(u64),
    Load,
}

impl<K: Ord + Clone, V> Store<K, V> {
    const fn new(options: CacheOptions) -> Self {
        Self {
            options,
            entries: BTreeMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
        }
    }

    /// What is kept, and still may be given to somebody.
    fn find(&self, key: &K, now: Time) -> Option<Found<V>> {
        let entry = self.entries.get(key)?;
        let age = now - entry.since;
        (age < self.options.keep_for()).then(|| Found {
            value: Arc::clone(&entry.value),
            age,
            is_fresh: age < self.options.fresh_for,
        })
    }

    /// A look that counts as a use.
    fn look(&mut self, key: &K, now: Time) -> Look<V> {
        let Some(found) = self.find(key, now) else {
            return Look::Load;
        };
        self.uses += 1;
        let entry = self.entries.get_mut(key).expect("it was found");
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(self.uses, key.clone());
        if found.is_fresh {
            return Look::Give(found);
        }
        if found.past(&self.options) >= self.options.stale_for {
            return Look::Load;
        }
        if entry.refreshing.is_some() {
            return Look::Give(found);
        }
        entry.refreshing = Some(self.uses);
        Look::Refresh(self.uses)
    }

    fn refreshed(&mut self, key: &K, number: u64) {
        if let Some(entry) = self.entries.get_mut(key)
            && entry.refreshing == Some(number)
        {
            entry.refreshing = None;
        }
    }

    /// Keeps a value; gives what had to go for it, to be dropped outside of the lock.
    fn keep(&mut self, key: &K, value: Arc<V>, now: Time) -> [Option<(K, Entry<V>)>; 2] {
        let old = self.remove(key);
        let oldest = if self.entries.len() >= self.options.capacity {
            self.by_use.first_key_value().map(|(_, key)| key.clone())
        } else {
            None
        };
        let evicted = oldest.and_then(|key| self.remove(&key));
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        let entry = Entry {
            value,
            since: now,
            used: self.uses,
            refreshing: None,
        };
        self.entries.insert(key.clone(), entry);
        [old, evicted]
    }

    fn remove(&mut self, key: &K) -> Option<(K, Entry<V>)> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.by_use.remove(&entry.used);
        Some((key, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options() -> CacheOptions {
        CacheOptions::new(3, Duration::from_secs(10))
            .stale_while_revalidate(Duration::from_secs(5))
            .stale_on_error(Duration::from_secs(20))
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(secs)
    }

    #[test]
    fn a_value_is_fresh_then_stale_for_all_but_one_then_gone() {
        let mut store = Store::new(options());
        drop(store.keep(&'a', Arc::new(1), at(0)));
        assert!(matches!(store.look(&'a', at(9)), Look::Give(found) if found.is_fresh));
        let Look::Refresh(number) = store.look(&'a', at(10)) else {
            panic!("the first to find it stale loads");
        };
        assert!(matches!(store.look(&'a', at(11)), Look::Give(found) if !found.is_fresh));
        store.refreshed(&'a', number);
        assert!(matches!(store.look(&'a', at(14)), Look::Refresh(_)));
        assert!(matches!(store.look(&'a', at(15)), Look::Load));
        assert!(store.find(&'a', at(29)).is_some(), "for when loading fails");
        assert!(store.find(&'a', at(30)).is_none());
    }

    proptest! {
        #[test]
        fn the_store_is_bounded_and_keeps_what_was_used_last(
            steps in prop::collection::vec((0_u8..8, any::<bool>()), 0..200),
        ) {
            let mut store = Store::new(options());
            let mut model: Vec<u8> = Vec::new();
            for (key, keeps) in steps {
                let was_kept = model.contains(&key);
                if keeps {
                    drop(store.keep(&key, Arc::new(()), at(0)));
                } else {
                    let is_given = matches!(store.look(&key, at(0)), Look::Give(_));
                    prop_assert_eq!(is_given, was_kept);
                }
                if keeps || was_kept {
                    model.retain(|kept| *kept != key);
                    model.push(key);
                    if model.len() > 3 {
                        model.remove(0);
                    }
                }
                prop_assert_eq!(store.entries.len(), model.len());
                prop_assert_eq!(store.by_use.values().copied().collect::<Vec<_>>(), model.clone());
            }
        }
    }
}
