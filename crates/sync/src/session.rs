//! Requests with replies.
//!
//! The problem: to ask another task and get an answer, such that the caller never waits for one that cannot come, and never gets the answer to another question.
//!
//! # States
//! A call: queued → taken → answered | not answered; or, if the caller leaves, queued → withdrawn, taken → unwanted.
//!
//! # Invariants
//! - Each call has a cell of its own, so a reply cannot reach another call.
//! - A [`Reply`] is an obligation of the task that accepted it, or [adopted](Reply::adopt) it: dropped, it tells the caller [`CallFailure::NotAnswered`]; forgotten, it does so when that task ends, whatever the host does about leaks.
//! - A request that was not taken is handed back with the error.
//! - Requests are accepted in the order in which they got a slot.
//!
//! # What an outcome means
//! An error with the request in it is *not started*; one without is *unknown*: somebody took the request, and may have acted on it.
//!
//! # Examples
//! ```
//! use asupersync_core::Outcome;
//! use asupersync_kernel::Cx;
//! use asupersync_sync::session::{self, CallError};
//! async fn ask(cx: &Cx) -> Outcome<u32, CallError<u32>> {
//!     let (client, mut server) = session::channel(4);
//!     cx.region(async |scope| {
//!         scope.spawn(async move |cx: Cx| {
//!             while let Ok((request, reply)) = server.accept(&cx).await {
//!                 // Nobody may want it any more; then it is handed back.
//!                 let _ = reply.send(request * 2);
//!             }
//!             Ok::<_, CallError<u32>>(())
//!         });
//!         client.call(scope.cx(), 21).await
//!     })
//!     .await
//! }
//! ```

mod ends;
mod error;
mod exchange;
mod reply;

pub use ends::{Accept, Call, CallPermit, Client, Closed, Reserve, Server, WeakClient, channel};
pub use error::{
    AcceptError, CallError, CallFailure, ReplyError, ReplyFailure, ReserveError, TryAcceptError,
};
pub use reply::{Reply, Unwanted};
