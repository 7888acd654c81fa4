//! How a program gives up what it waits for: a task of its own says when, and the future is dropped where it stands.

use std::pin::pin;
use std::task::Poll;

use asupersync_kernel::Cx;
use asupersync_lab::Var;
use asupersync_sync::Notify;

use crate::stage::End;

/// Says that it is time to give up, and goes on saying so.
#[derive(Default)]
pub(super) struct Cut {
    is_up: Var<bool>,
    news: Notify,
}

impl Cut {
    /// Says it from now on.
    pub(super) async fn say(&self, cx: &Cx) -> End {
        self.is_up.set(cx, true).await?;
        self.news.notify_waiters();
        Ok(())
    }

    /// Notes what decides whether an operation is still given up, in the step in which it happens.
    ///
    /// Needed for what leaves no event when nobody waits for it, as a message does.
    pub(super) fn note(&self) {
        self.is_up.update_now(|_| ());
    }

    /// Waits for `operation`, unless it is time to give up; then it is dropped, even if it was ready to go on.
    pub(super) async fn unless<F: Future>(&self, cx: &Cx, operation: F) -> Option<F::Output> {
        let mut operation = pin!(operation);
        let mut news = pin!(self.news.notified(cx));
        std::future::poll_fn(|task| {
            if self.is_up.get_now() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = operation.as_mut().poll(task) {
                return Poll::Ready(Some(output));
            }
            news.as_mut().poll(task).map(|_| None)
        })
        .await
    }
}
