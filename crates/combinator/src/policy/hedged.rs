//! A [`Hedge`] as a strategy.

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_kernel::caps::{HasSpawn, HasTime};

use super::error::PolicyError;
use super::observe::PolicyEvent;
use super::{Call, Strategy};
use crate::hedge::{Attempt, Hedge};

impl<C, T, E> Strategy<C, T, E> for Hedge
where
    C: HasSpawn + HasTime + 'static,
    T: Send,
    E: Send,
{
    /// Pushback is out of an attempt's reach here; a rejection that names a time puts the next attempt off.
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        let attempt = |cx: Cx<C>, attempt: Attempt| async move {
            if attempt.number() > 0 {
                let attempt = attempt.number();
                let event = PolicyEvent::HedgeStarted { attempt };
                next.observer().event(&event);
            }
            let end = next.call(&cx).await;
            match &end {
                Outcome::Err(PolicyError::RateLimited { retry_after }) => {
                    attempt.hedge_after(*retry_after);
                }
                Outcome::Err(PolicyError::CircuitOpen { .. }) => attempt.stop_hedging(),
                _ => {}
            }
            end
        };
        self.run(cx, attempt).await.map_err(|failed| {
            let mut errors = failed.errors;
            match errors.pop() {
                Some(only) if errors.is_empty() => only,
                last => {
                    errors.extend(last);
                    PolicyError::AllFailed { errors }
                }
            }
        })
    }
}
