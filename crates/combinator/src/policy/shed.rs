//! Calls beyond what can be served are turned away at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;

use super::error::PolicyError;
use super::observe::rejected;
use super::{Call, Strategy};

/// Sheds calls while so many are in flight, those that wait in inner lines included.
///
/// To stand outside of the strategies that wait: it bounds what they all hold.
/// To shed by how long calls wait in line, see [`BulkheadOptions::codel`](crate::BulkheadOptions::codel).
/// # Errors
/// [`PolicyError::Shed`].
/// # Examples
/// ```
/// use asupersync_combinator::{LoadShed, Policy};
/// use std::sync::Arc;
/// let shed = Arc::new(LoadShed::in_flight(1000));
/// let policy = Policy::builder().with(Arc::clone(&shed)).build();
/// assert_eq!(shed.current(), 0);
/// # let _ = policy;
/// ```
#[derive(Debug)]
pub struct LoadShed {
    in_flight_max: u32,
    in_flight: AtomicU32,
}

impl LoadShed {
    /// Sheds what comes while so many are in flight.
    #[must_use]
    pub const fn in_flight(max: u32) -> Self {
        Self {
            in_flight_max: max,
            in_flight: AtomicU32::new(0),
        }
    }

    /// How many are in flight.
    #[must_use]
    pub fn current(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A call in flight.
struct InFlight<'a>(&'a AtomicU32);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<C, T, E> Strategy<C, T, E> for LoadShed
where
    C: 'static,
    T: Send,
    E: Send,
{
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let max = self.in_flight_max;
        let count = &self.in_flight;
        let entered = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |current| {
            (current < max).then(|| current + 1)
        });
        if entered.is_err() {
            let waited = Duration::ZERO;
            let error = PolicyError::Shed { waited };
            return Outcome::Err(rejected(next.observer(), error));
        }
        let in_flight = InFlight(count);
        let end = next.call(cx).await;
        drop(in_flight);
        end
    }
}
