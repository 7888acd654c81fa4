//! Bugs that async Rust programs really have, each tried on our primitives; `docs/bugs.md` is the catalogue.
//!
//! A case says what the bug is in the field, does what causes it there, and asserts that nothing was lost, kept or left behind.
//! Where we do not prevent a bug but report it, the case asserts who is named.

mod framing;
mod locks;
mod pools;
mod stuck;
mod values;
mod work;

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use asupersync_core::Outcome;
use asupersync_kernel::Cx;
use asupersync_time::timeout;
use futures_util::future::{Either, select};

/// A time so short that what waits for it is often given up.
///
/// It is a multiple of a step, so that what is waited for often comes in the very moment in which the waiter gives up.
fn moment(cx: &Cx) -> Duration {
    const STEP: Duration = Duration::from_micros(100);
    STEP * u32::try_from(cx.random_u64() % 4).expect("it is less than four")
}

/// Waits for `operation` for a moment, and then drops it where it stands, as the `select!` of other runtimes does.
async fn dropped_soon<F: Future>(cx: &Cx, operation: F) -> Option<F::Output> {
    let sleep = pin!(cx.sleep(moment(cx)));
    match select(pin!(operation), sleep).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Waits for `operation` for a moment, and then cancels it, as our own `timeout`, `race` and `select` do; it ends by itself.
async fn cancelled_soon<F: Future>(cx: &Cx, operation: F) -> F::Output {
    let body = |_: Cx| async move { Outcome::<_, Infallible>::Ok(operation.await) };
    match timeout(cx, moment(cx), body).await {
        Outcome::Ok(output) => output,
        other => panic!(
            "a wait that is cancelled ends, and is not dropped: {:?}",
            other.map(|_| ())
        ),
    }
}
