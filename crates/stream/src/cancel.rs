//! Waits that know no cancellation, made to.
//!
//! The problem: what `futures-util` waits with asks nobody whether it must stop.
//! So its future is polled behind a look at the context, which fails before the future is touched.

use std::pin::Pin;
use std::task::{Context, Poll};

use asupersync_core::Cancelled;
use asupersync_kernel::CancelWait;
use pin_project_lite::pin_project;

pin_project! {
    /// A wait that fails with [`Cancelled`] once the context being polled must stop.
    ///
    /// # Cancel safety
    /// Safe: the wait itself holds nothing; what the future in it held is dropped with it.
    #[must_use = "futures do nothing unless polled"]
    pub struct OrCancelled<F> {
        #[pin]
        future: F,
        cancel: CancelWait,
    }
}

impl<F> OrCancelled<F> {
    pub(crate) const fn new(future: F) -> Self {
        Self {
            future,
            cancel: CancelWait::new(),
        }
    }
}

impl<F: Future> Future for OrCancelled<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.cancel.poll(task) {
            Poll::Ready(cancelled) => Poll::Ready(Err(cancelled)),
            Poll::Pending => this.future.poll(task).map(Ok),
        }
    }
}

pin_project! {
    /// A wait that fails with an error made of [`Cancelled`] once the context being polled must stop.
    ///
    /// # Cancel safety
    /// Safe: the wait itself holds nothing; what the future in it held is dropped with it.
    #[must_use = "futures do nothing unless polled"]
    pub struct TryOrCancelled<F> {
        #[pin]
        future: F,
        cancel: CancelWait,
    }
}

impl<F> TryOrCancelled<F> {
    pub(crate) const fn new(future: F) -> Self {
        Self {
            future,
            cancel: CancelWait::new(),
        }
    }
}

impl<F, T, E> Future for TryOrCancelled<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<Cancelled>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.cancel.poll(task) {
            Poll::Ready(cancelled) => Poll::Ready(Err(cancelled.into())),
            Poll::Pending => this.future.poll(task),
        }
    }
}
