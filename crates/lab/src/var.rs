//! A variable that tasks share, for programs that are to be searched.
//!
//! A search must see every access on which two tasks may depend, and a plain field or an atomic shows none.
//! Each access to a [`Var`] is a step of its own, so that the schedule may put another task before and after it, and is recorded with whether it reads or writes.
//!
//! # Invariants
//! - An access is recorded in the step in which it is made.
//! - A method whose name ends in `_now` does not wait: it is part of the step that calls it.
//!
//! Deliberately absent: any order between tasks. A variable hands out no lock, and that is the point of it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, Resource};

/// A shared variable whose every access the lab sees.
///
/// Clones of an `Arc` around it share the variable.
/// # Examples
/// Two tasks read, and write later what they read plus one; under some schedules one addition is lost.
/// ```
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use asupersync_lab::{LabConfig, LabRuntime, Var};
/// use std::sync::Arc;
///
/// let sum = |seed| {
///     let report = LabRuntime::new(LabConfig::default().seed(seed)).run(async |cx: Cx| {
///         let sum = Arc::new(Var::new(0));
///         let end = cx
///             .region(async |scope| {
///                 for _ in 0..2 {
///                     let sum = Arc::clone(&sum);
///                     scope.spawn(async move |cx: Cx| {
///                         let seen = sum.get(&cx).await?;
///                         sum.set(&cx, seen + 1).await
///                     });
///                 }
///                 Ok::<_, Cancelled>(())
///             })
///             .await;
///         end.map(|()| sum.get_now())
///     });
///     report.outcome.ok()
/// };
/// let sums: std::collections::BTreeSet<_> = (0..20).map(sum).collect();
/// assert_eq!(sums, [Some(1), Some(2)].into());
/// ```
#[derive(Default)]
pub struct Var<T> {
    value: Mutex<T>,
    resource: Resource,
}

impl<T> Var<T> {
    /// A variable that holds `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self {
            value: Mutex::new(value),
            resource: Resource::new(),
        }
    }

    /// Stores `value` in a step of its own; the old value is dropped.
    ///
    /// # Errors
    /// [`Cancelled`] if the context must stop; nothing was stored.
    /// # Cancel safety
    /// Safe: a dropped call has stored nothing.
    pub async fn set<C>(&self, cx: &Cx<C>, value: T) -> Result<(), Cancelled> {
        cx.yield_now().await?;
        self.set_now(value);
        Ok(())
    }

    /// Stores `value` and gives the old one, as one access in a step of its own.
    ///
    /// # Errors
    /// [`Cancelled`] if the context must stop; nothing was stored.
    /// # Cancel safety
    /// Safe: a dropped call has stored nothing.
    pub async fn swap<C>(&self, cx: &Cx<C>, value: T) -> Result<T, Cancelled> {
        cx.yield_now().await?;
        Ok(self.swap_now(value))
    }

    /// Changes the value in place, as one access in a step of its own, and gives what `change` returns.
    ///
    /// # Errors
    /// [`Cancelled`] if the context must stop; `change` was not called.
    /// # Panics
    /// If `change` does; the value stays as it was left.
    /// # Cancel safety
    /// Safe: a dropped call has changed nothing.
    pub async fn update<C, R>(
        &self,
        cx: &Cx<C>,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<R, Cancelled> {
        cx.yield_now().await?;
        Ok(self.update_now(change))
    }

    /// [`set`](Self::set) within the caller's step.
    pub fn set_now(&self, value: T) {
        self.resource.trace("var.write");
        let old = std::mem::replace(&mut *self.lock(), value);
        drop(old);
    }

    /// [`swap`](Self::swap) within the caller's step.
    pub fn swap_now(&self, value: T) -> T {
        self.resource.trace("var.update");
        std::mem::replace(&mut *self.lock(), value)
    }

    /// [`update`](Self::update) within the caller's step.
    ///
    /// # Panics
    /// If `change` does; the value stays as it was left.
    pub fn update_now<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.resource.trace("var.update");
        change(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Var<T> {
    /// The value, read in a step of its own.
    ///
    /// # Errors
    /// [`Cancelled`] if the context must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub async fn get<C>(&self, cx: &Cx<C>) -> Result<T, Cancelled> {
        cx.yield_now().await?;
        Ok(self.get_now())
    }

    /// [`get`](Self::get) within the caller's step.
    #[must_use]
    pub fn get_now(&self) -> T {
        self.resource.trace("var.read");
        self.lock().clone()
    }
}

impl<T: PartialEq> Var<T> {
    /// Stores `new` if the variable holds `expected`, as one access in a step of its own; says whether it did.
    ///
    /// One that fails has only read.
    /// # Errors
    /// [`Cancelled`] if the context must stop; nothing was stored.
    /// # Cancel safety
    /// Safe: a dropped call has stored nothing.
    pub async fn compare_exchange<C>(
        &self,
        cx: &Cx<C>,
        expected: &T,
        new: T,
    ) -> Result<bool, Cancelled> {
        cx.yield_now().await?;
        Ok(self.compare_exchange_now(expected, new))
    }

    /// [`compare_exchange`](Self::compare_exchange) within the caller's step.
    pub fn compare_exchange_now(&self, expected: &T, new: T) -> bool {
        let mut value = self.lock();
        if *value != *expected {
            self.resource.trace("var.read");
            return false;
        }
        self.resource.trace("var.update");
        let old = std::mem::replace(&mut *value, new);
        drop(value);
        drop(old);
        true
    }
}

impl<T: fmt::Debug> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Var").field(&self.lock()).finish()
    }
}
