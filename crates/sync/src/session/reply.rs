//! The server's side of one call.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use asupersync_core::{Cancelled, ObligationKind};
use asupersync_kernel::{CancelWait, Cx, Obligation};

use super::error::{ReplyError, ReplyFailure};
use super::exchange::Exchange;

/// What is owed to the caller of one request; dropping it tells the caller that there is no answer.
#[must_use = "dropping the reply tells the caller that there is no answer"]
pub struct Reply<Req, Resp> {
    owed: Option<(Arc<Exchange<Req, Resp>>, Obligation)>,
}

impl<Req: Send + 'static, Resp: Send + 'static> Reply<Req, Resp> {
    pub(super) fn new<C>(
        cx: &Cx<C>,
        exchange: Arc<Exchange<Req, Resp>>,
        site: &'static Location<'static>,
    ) -> Self {
        let obligation =
            Obligation::reserve_awaited_at(cx, ObligationKind::Reply, &exchange, 0, site);
        Self {
            owed: Some((exchange, obligation)),
        }
    }

    /// Makes the reply an obligation of `cx`'s task, which must answer before it ends.
    ///
    /// For a server that accepts in one task and answers in another.
    /// A reply whose task has ended before is handed back as it is: the caller was told already.
    #[track_caller]
    pub fn adopt<C>(mut self, cx: &Cx<C>) -> Self {
        match self.owed.take() {
            Some((exchange, obligation)) if !obligation.is_leaked() => {
                let adopted = Self::new(cx, exchange, Location::caller());
                // Were it leaked in this moment, the caller would have been told, and the new one find it unwanted.
                let _settled = obligation.abort();
                adopted
            }
            leaked => {
                self.owed = leaked;
                self
            }
        }
    }
}

impl<Req, Resp> Reply<Req, Resp> {
    /// Sends the answer; never waits.
    ///
    /// The effect is *committed*: the caller gets the answer, or leaves without it.
    /// # Errors
    /// [`ReplyError`] hands the answer back: the caller has gone, or the task that owed the reply has ended.
    pub fn send(mut self, response: Resp) -> Result<(), ReplyError<Resp>> {
        let (exchange, obligation) = self.take();
        let (response, failure) = match obligation.commit() {
            Ok(()) => match exchange.answer(response) {
                Ok(()) => return Ok(()),
                Err(response) => (response, ReplyFailure::Unwanted),
            },
            Err(_) => {
                exchange.give_up();
                (response, ReplyFailure::Leaked)
            }
        };
        Err(ReplyError { response, failure })
    }

    /// Tells the caller that there is no answer, on purpose: strict mode does not report it.
    pub fn abort(mut self) {
        let (exchange, obligation) = self.take();
        let _told_before = obligation.abort();
        exchange.give_up();
    }

    /// Whether the caller still waits.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.exchange().is_wanted()
    }

    /// Waits until the caller has gone, so that there is no use in working on an answer.
    ///
    /// # Errors
    /// [`Cancelled`] if the context being polled must stop.
    /// # Cancel safety
    /// Safe: nothing happened.
    pub fn unwanted<'a, C>(&'a mut self, cx: &'a Cx<C>) -> Unwanted<'a, Req, Resp> {
        let _ = cx;
        Unwanted {
            exchange: self.exchange(),
            cancel: CancelWait::new(),
        }
    }

    fn exchange(&self) -> &Exchange<Req, Resp> {
        let owed = self.owed.as_ref();
        &owed.expect("only what consumes the reply takes it").0
    }

    fn take(&mut self) -> (Arc<Exchange<Req, Resp>>, Obligation) {
        let owed = self.owed.take();
        owed.expect("only what consumes the reply takes it")
    }
}

impl<Req, Resp> Drop for Reply<Req, Resp> {
    fn drop(&mut self) {
        if let Some((exchange, obligation)) = self.owed.take() {
            let _told_before = obligation.discard();
            exchange.give_up();
        }
    }
}

impl<Req, Resp> fmt::Debug for Reply<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("is_wanted", &self.exchange().is_open())
            .finish_non_exhaustive()
    }
}

/// Waits until a caller has gone; from [`Reply::unwanted`].
///
/// # Cancel safety
/// Safe: nothing happened.
#[must_use = "futures do nothing unless polled"]
pub struct Unwanted<'a, Req, Resp> {
    exchange: &'a Exchange<Req, Resp>,
    cancel: CancelWait,
}

impl<Req, Resp> Future for Unwanted<'_, Req, Resp> {
    type Output = Result<(), Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(cancelled) = this.cancel.poll(task) {
            return Poll::Ready(Err(cancelled));
        }
        this.exchange.poll_unwanted(task.waker()).map(Ok)
    }
}
