//! Linearizability of a recorded history against a sequential model.
//!
//! A history is linearizable if each operation can be given one moment between its call and its return, such that the operations, in the order of these moments, do what the model does.
//! An operation that never returned may have taken effect at any moment after its call, or not at all.
//!
//! # How
//! The search puts one operation after another: whichever was called before every other one that is left has returned, and whose result the model gives.
//! A set of operations with the state that they led to is looked at once.
//! The cost grows exponentially with the number of operations that overlap, and linearly with the length of the history.
//! # Source
//! Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); the memory of what was looked at is from Lowe, "Testing for Linearizability" (2017).

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use asupersync_core::TaskId;
use asupersync_kernel::Cx;

/// What the operations of an object do, one at a time.
pub trait Model {
    /// What the object holds.
    type State: Clone + Ord;
    /// An operation with its arguments.
    type Op: Clone + Debug;
    /// What an operation gives.
    type Ret: Clone + Debug + PartialEq;

    /// The state before any operation.
    fn start(&self) -> Self::State;

    /// The state after `op`, and what it gives.
    fn step(&self, state: &Self::State, op: &Self::Op) -> (Self::State, Self::Ret);
}

/// One operation of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation<O, R> {
    /// Whose it is; `None` for a region's body.
    pub task: Option<TaskId>,
    /// What was called.
    pub op: O,
    /// The place of the call in the history.
    pub called: u64,
    /// The place of the return and what it gave; `None` if the outcome is not known.
    pub returned: Option<(u64, R)>,
}

/// Records operations while a program runs.
///
/// Its order is that of the calls and returns as they happen, which under the lab is a function of the schedule.
#[derive(Debug)]
pub struct History<O, R>(Mutex<Recorded<O, R>>);

#[derive(Debug)]
struct Recorded<O, R> {
    places: u64,
    operations: Vec<Operation<O, R>>,
}

impl<O, R> Default for History<O, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, R> History<O, R> {
    /// A history without operations.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Recorded {
            places: 0,
            operations: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Recorded<O, R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `call` and records it as the operation `op`; what `known` does not give leaves the outcome open, as does a call that is dropped.
    ///
    /// # Cancel safety
    /// Safe if `call` is: a dropped call is recorded as one whose outcome is not known.
    pub async fn record<C, T>(
        &self,
        cx: &Cx<C>,
        op: O,
        call: impl Future<Output = T>,
        known: impl FnOnce(&T) -> Option<R>,
    ) -> T {
        let index = self.call(cx.task_id(), op);
        let result = call.await;
        if let Some(returned) = known(&result) {
            self.give(index, returned);
        }
        result
    }

    /// Records a call; its number is for [`give`](Self::give).
    pub fn call(&self, task: Option<TaskId>, op: O) -> usize {
        let mut recorded = self.lock();
        let called = recorded.places;
        recorded.places += 1;
        recorded.operations.push(Operation {
            task,
            op,
            called,
            returned: None,
        });
        recorded.operations.len() - 1
    }

    /// Records what a call gave; a number that no call has is ignored.
    pub fn give(&self, call: usize, returned: R) {
        let mut recorded = self.lock();
        let place = recorded.places;
        recorded.places += 1;
        if let Some(operation) = recorded.operations.get_mut(call) {
            operation.returned = Some((place, returned));
        }
    }

    /// Takes out what was recorded.
    #[must_use]
    pub fn take(&self) -> Vec<Operation<O, R>> {
        std::mem::take(&mut self.lock().operations)
    }
}

/// A history that no order explains.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no order explains the first {} operations; the last to return is {last}", prefix.len())]
pub struct NotLinearizable<O: Debug, R: Debug> {
    /// The shortest beginning that no order explains: what was called before the return that is too much, with the returns until then.
    pub prefix: Vec<Operation<O, R>>,
    /// The operation whose return is too much, as text.
    pub last: String,
}

/// Checks a history against a model.
///
/// # Errors
/// [`NotLinearizable`] with the shortest beginning that no order explains.
/// # Examples
/// ```
/// use asupersync_lab::{History, Model, check_linear};
/// struct Counter;
/// impl Model for Counter {
///     type State = u32;
///     type Op = ();
///     type Ret = u32;
///     fn start(&self) -> u32 {
///         0
///     }
///     fn step(&self, state: &u32, _: &()) -> (u32, u32) {
///         (state + 1, *state)
///     }
/// }
/// let history = History::new();
/// let (first, second) = (history.call(None, ()), history.call(None, ()));
/// history.give(first, 0);
/// history.give(second, 0);
/// assert!(check_linear(&Counter, &history.take()).is_err(), "an update was lost");
/// ```
pub fn check_linear<M: Model>(
    model: &M,
    history: &[Operation<M::Op, M::Ret>],
) -> Result<(), NotLinearizable<M::Op, M::Ret>> {
    if is_linear(model, history) {
        return Ok(());
    }
    let mut returns: Vec<u64> = history
        .iter()
        .filter_map(|operation| operation.returned.as_ref().map(|(place, _)| *place))
        .collect();
    returns.sort_unstable();
    // A beginning of what can be explained can be explained, so the shortest that cannot is found by halving.
    let first_bad = returns.partition_point(|end| is_linear(model, &prefix(history, *end)));
    let end = returns.get(first_bad).copied().unwrap_or(u64::MAX);
    let last = history.iter().find(|operation| {
        operation
            .returned
            .as_ref()
            .is_some_and(|(place, _)| *place == end)
    });
    Err(NotLinearizable {
        prefix: prefix(history, end),
        last: last.map_or_else(String::new, |last| format!("{last:?}")),
    })
}

/// What had happened when the place `end` was reached, that one included.
fn prefix<O: Clone, R: Clone>(history: &[Operation<O, R>], end: u64) -> Vec<Operation<O, R>> {
    let begun = history.iter().filter(|operation| operation.called < end);
    begun
        .map(|operation| Operation {
            returned: operation
                .returned
                .clone()
                .filter(|(returned, _)| *returned <= end),
            ..operation.clone()
        })
        .collect()
}

/// Which operations are placed, a bit each.
type Placed = Vec<u64>;

fn is_linear<M: Model>(model: &M, history: &[Operation<M::Op, M::Ret>]) -> bool {
    let words = history.len().div_ceil(64);
    let start: (Placed, M::State) = (vec![0; words], model.start());
    let mut seen = BTreeSet::from([start.clone()]);
    let mut work = vec![start];
    while let Some((placed, state)) = work.pop() {
        let left = |index: &usize| placed[index / 64] & (1 << (index % 64)) == 0;
        let mut is_done = true;
        let mut first_return = u64::MAX;
        for index in (0..history.len()).filter(left) {
            if let Some((place, _)) = &history[index].returned {
                is_done = false;
                first_return = first_return.min(*place);
            }
        }
        if is_done {
            return true;
        }
        for index in (0..history.len()).filter(left) {
            let operation = &history[index];
            if operation.called > first_return {
                continue;
            }
            let (next, gives) = model.step(&state, &operation.op);
            let returned = operation.returned.as_ref();
            if returned.is_some_and(|(_, returned)| *returned != gives) {
                continue;
            }
            let mut placed = placed.clone();
            placed[index / 64] |= 1 << (index % 64);
            let reached = (placed, next);
            if seen.insert(reached.clone()) {
                work.push(reached);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests;
