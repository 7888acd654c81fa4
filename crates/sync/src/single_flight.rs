//! Concurrent calls for the same thing, done once.
//!
//! The problem: many tasks want the same value at the same time, and one of them should get it for all, without the others depending on that one's life.
//!
//! # States
//! A flight: led → landed, with a result for everybody; or, when its leader goes, vacant → led by who waited longest.
//!
//! # Invariants
//! - At any time at most one call for a key runs its work.
//! - A leader that is cancelled, dropped or panics takes nobody along: the next in line leads, with its own work.
//! - A result, value or error, goes to everybody who came before it; an error that is the leader's own cancellation goes to the leader alone.
//! - The map holds the keys of calls in flight and nothing else: the last call of a flight takes its entry out.
//!
//! # Absent
//! Keeping results: a call that comes after the landing starts anew; caching is another thing's job.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use asupersync_core::{CancelReason, Cancelled, Effect};
use asupersync_kernel::{CancelWait, Cx, Resource};

use crate::primitive::{Mutex, lock};
use crate::waiters::{Grant, Place, Stand, WaitList};

/// Why a call gave no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlightError<E: Error + 'static> {
    /// The work failed, here or in the call that led.
    #[error("the shared call failed")]
    Failed(#[source] E),
    /// The context had to stop.
    #[error("cancelled while waiting for a shared call")]
    Cancelled(#[from] Cancelled),
}

impl<E: Error + 'static> FlightError<E> {
    /// Whether the work may have had its effect: unknown if it failed, not started if this call was cancelled before it led.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Failed(_) => Effect::Unknown,
            Self::Cancelled(_) => Effect::NotStarted,
        }
    }
}

enum Stage<V, E> {
    /// By a call, or promised to one that was woken for it.
    Led,
    /// The next call that looks may lead.
    Vacant,
    Landed(Arc<Result<V, E>>),
}

struct Flight<V, E> {
    stage: Stage<V, E>,
    waiting: WaitList,
    /// Calls that hold this flight.
    calls: usize,
}

type Flights<K, V, E> = BTreeMap<K, Arc<Mutex<Flight<V, E>>>>;

/// Runs concurrent calls for the same key once, and gives the result to all.
///
/// # Examples
/// ```
/// use asupersync_core::Outcome;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{FlightError, SingleFlight};
/// #[derive(Clone, Debug, thiserror::Error)]
/// #[error("no such page")]
/// struct NoPage;
/// async fn page(cx: &Cx, flights: &SingleFlight<String, u32, NoPage>) -> Result<u32, FlightError<NoPage>> {
///     // Whoever asks meanwhile waits for this one.
///     flights.run(cx, "front".to_owned(), async || Ok(42)).await
/// }
/// ```
pub struct SingleFlight<K, V, E> {
    flights: Mutex<Flights<K, V, E>>,
    resource: Resource,
}

impl<K, V, E> SingleFlight<K, V, E> {
    /// Without a call in flight.
    #[must_use]
    pub fn new() -> Self {
        Self {
            flights: Mutex::new(BTreeMap::new()),
            resource: Resource::new(),
        }
    }

    /// How many keys are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.flights).len()
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, V, E> Default for SingleFlight<K, V, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V, E> fmt::Debug for SingleFlight<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SingleFlight")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<K: Ord + Clone, V: Clone, E: Error + Clone + 'static> SingleFlight<K, V, E> {
    /// Gives the value for `key`: from a call that is in flight, or by running `work`.
    ///
    /// `work` runs in this call, under this call's budget and cancellation, and only if this call leads.
    /// An error that stands for a cancellation ([`CancelReason::find_in`]) counts as the leader's own end: the next call in line leads then.
    /// A `work` that asks for the same key waits for itself.
    /// # Errors
    /// [`FlightError::Failed`] with the error of the work, for everybody who waited; [`FlightError::Cancelled`] if the context being polled must stop while another call leads.
    /// # Cancel safety
    /// Requeues: a dropped call that led drops its work where it stands, and the next in line leads.
    pub async fn run<C, F>(&self, cx: &Cx<C>, key: K, work: F) -> Result<V, FlightError<E>>
    where
        F: AsyncFnOnce() -> Result<V, E>,
    {
        let _ = cx;
        let mut call = Call::join(self, key);
        match call.wait().await {
            Err(cancelled) => Err(cancelled.into()),
            Ok(Some(landed)) => landed.map_err(FlightError::Failed),
            Ok(None) => {
                self.resource.trace("single_flight.lead");
                // Until it lands, `call` stands for the leadership, and gives it up when it is dropped.
                let result = work().await;
                let is_own_end = result.as_ref().is_err_and(is_cancellation);
                if !is_own_end && call.close() {
                    call.land(result.clone());
                }
                if !is_own_end {
                    self.resource.trace("single_flight.land");
                }
                result.map_err(FlightError::Failed)
            }
        }
    }
}

fn is_cancellation<E: Error + 'static>(error: &E) -> bool {
    CancelReason::find_in(error).is_some()
}

/// One call's part in a flight.
struct Call<'a, K: Ord, V, E> {
    owner: &'a SingleFlight<K, V, E>,
    flight: Arc<Mutex<Flight<V, E>>>,
    key: K,
    part: Part,
}

#[derive(Debug)]
enum Part {
    /// Came to a flight that another call leads.
    Follows,
    InLine(Place),
    Leads,
    Done,
}

impl<'a, K: Ord + Clone, V, E> Call<'a, K, V, E> {
    fn join(owner: &'a SingleFlight<K, V, E>, key: K) -> Self {
        // Cloned before the lock, because that is the program's code; its order is asked for under it.
        let spare = key.clone();
        let fresh = Arc::new(Mutex::new(Flight {
            stage: Stage::Led,
            waiting: WaitList::new(),
            calls: 1,
        }));
        let mut flights = lock(&owner.flights);
        let (flight, part) = match flights.get(&key) {
            Some(flight) => {
                lock(flight).calls += 1;
                (Arc::clone(flight), Part::Follows)
            }
            None => {
                flights.insert(spare, Arc::clone(&fresh));
                (fresh, Part::Leads)
            }
        };
        drop(flights);
        Self {
            owner,
            flight,
            key,
            part,
        }
    }
}

impl<K: Ord, V: Clone, E: Clone> Call<'_, K, V, E> {
    /// Waits for the landing, or for the leadership, which is `None`.
    fn wait(&mut self) -> impl Future<Output = Result<Option<Result<V, E>>, Cancelled>> {
        Wait {
            call: self,
            cancel: CancelWait::new(),
        }
    }

    fn poll(&mut self, waker: &Waker) -> Poll<Option<Result<V, E>>> {
        let mut spare: Option<Waker> = None;
        loop {
            let mut flight = lock(&self.flight);
            if let Stage::Landed(result) = &flight.stage {
                let result = Arc::clone(result);
                let old = match std::mem::replace(&mut self.part, Part::Done) {
                    Part::InLine(place) => flight.waiting.remove(place).1,
                    Part::Follows | Part::Leads | Part::Done => None,
                };
                drop(flight);
                drop(old);
                // The program's code, without the lock.
                return Poll::Ready(Some(Arc::unwrap_or_clone(result)));
            }
            if may_lead(&mut self.part, &mut flight) {
                return Poll::Ready(None);
            }
            let stand = match &self.part {
                Part::InLine(place) => Some(flight.waiting.stand(place, waker)),
                Part::Follows | Part::Leads | Part::Done => None,
            };
            if stand == Some(Stand::Queued) {
                return Poll::Pending;
            }
            if let Some(fresh) = spare.take() {
                let old = match &self.part {
                    Part::InLine(place) => flight.waiting.replace_waker(place, fresh),
                    Part::Follows | Part::Leads | Part::Done => {
                        self.part = Part::InLine(flight.waiting.enqueue(fresh, ()));
                        None
                    }
                };
                drop(flight);
                drop(old);
                self.owner.resource.trace("single_flight.wait");
                return Poll::Pending;
            }
            drop(flight);
            spare = Some(waker.clone());
        }
    }

    /// Ends the flight for those who come from now on; whether anybody came before.
    fn close(&self) -> bool {
        let mut flights = lock(&self.owner.flights);
        let is_followed = lock(&self.flight).calls > 1;
        let removed = self.remove_from(&mut flights);
        drop(flights);
        drop(removed);
        is_followed
    }

    /// Gives the result to everybody who came before the flight was closed.
    fn land(&mut self, result: Result<V, E>) {
        self.part = Part::Done;
        let result = Arc::new(result);
        let mut wakers = {
            let mut flight = lock(&self.flight);
            flight.stage = Stage::Landed(result);
            flight.waiting.grant_all(Grant::All)
        };
        wakers.wake();
    }
}

impl<K: Ord, V, E> Call<'_, K, V, E> {
    /// Takes the flight's entry out of the map, if it is there.
    fn remove_from(&self, flights: &mut Flights<K, V, E>) -> Option<Removed<K, V, E>> {
        let own = flights.get(&self.key);
        let is_own = own.is_some_and(|own| Arc::ptr_eq(own, &self.flight));
        if is_own {
            flights.remove_entry(&self.key)
        } else {
            None
        }
    }
}

/// Takes the leadership if it is vacant, or was promised to this call.
fn may_lead<V, E>(part: &mut Part, flight: &mut Flight<V, E>) -> bool {
    let is_promised = match part {
        Part::InLine(place) => flight.waiting.is_granted(place),
        Part::Follows | Part::Leads | Part::Done => false,
    };
    if !is_promised && !matches!(flight.stage, Stage::Vacant) {
        return false;
    }
    if let Part::InLine(place) = std::mem::replace(part, Part::Leads) {
        // A grant has taken the waker out.
        let _granted = flight.waiting.remove(place);
    }
    flight.stage = Stage::Led;
    true
}

/// To be dropped without the lock of the map.
type Removed<K, V, E> = (K, Arc<Mutex<Flight<V, E>>>);

impl<K: Ord, V, E> Drop for Call<'_, K, V, E> {
    fn drop(&mut self) {
        let part = std::mem::replace(&mut self.part, Part::Done);
        let mut flights = lock(&self.owner.flights);
        let mut flight = lock(&self.flight);
        let (mut leads, mut old) = (matches!(part, Part::Leads), None);
        if let Part::InLine(place) = part {
            let (grant, waker) = flight.waiting.remove(place);
            leads = grant == Some(Grant::One);
            old = waker;
        }
        let mut next = None;
        if leads && !matches!(flight.stage, Stage::Landed(_)) {
            next = flight.waiting.grant_front(Grant::One);
            flight.stage = if next.is_some() {
                Stage::Led
            } else {
                Stage::Vacant
            };
        }
        flight.calls -= 1;
        let is_last = flight.calls == 0;
        drop(flight);
        let removed = if is_last {
            self.remove_from(&mut flights)
        } else {
            None
        };
        drop(flights);
        next.into_iter().for_each(asupersync_kernel::wake_contained);
        drop((removed, old));
    }
}

struct Wait<'c, 'a, K: Ord, V, E> {
    call: &'c mut Call<'a, K, V, E>,
    cancel: CancelWait,
}

impl<K: Ord, V: Clone, E: Clone> Future for Wait<'_, '_, K, V, E> {
    type Output = Result<Option<Result<V, E>>, Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        if matches!(this.call.part, Part::Leads) {
            return Poll::Ready(Ok(None));
        }
        this.call.poll(task.waker()).map(Ok)
    }
}
