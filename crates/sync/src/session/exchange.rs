//! One call: the request, then the answer, and who waits for what.
//!
//! # Invariants
//! - The request is in the cell until it is taken or withdrawn, so a caller that leaves in time takes it back.
//! - There is one caller and one holder of the reply; each waits in a place of its own.
//! - No code of the program runs under the lock.

use std::task::{Poll, Waker};

use asupersync_kernel::{Recover, wake_contained};

use crate::primitive::{Mutex, lock};

/// How a call stands.
enum Stage<Req, Resp> {
    Queued(Req),
    /// Nobody will take the request.
    Refused(Req),
    Taken,
    Answered(Resp),
    NotAnswered,
    /// The caller has gone, or has its answer.
    Over,
}

struct State<Req, Resp> {
    stage: Stage<Req, Resp>,
    caller: Option<Waker>,
    holder: Option<Waker>,
}

/// The cell of one call.
pub(super) struct Exchange<Req, Resp> {
    state: Mutex<State<Req, Resp>>,
}

/// How a call ended for its caller.
pub(super) enum Answer<Req, Resp> {
    Response(Resp),
    /// With the request, if it was not taken.
    None(Option<Req>),
}

impl<Req, Resp> Exchange<Req, Resp> {
    pub(super) fn new(request: Req) -> Self {
        Self {
            state: Mutex::new(State {
                stage: Stage::Queued(request),
                caller: None,
                holder: None,
            }),
        }
    }

    /// The server takes the request, unless it was withdrawn.
    pub(super) fn take(&self) -> Option<Req> {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Queued(request) => Some(request),
            other => {
                state.stage = other;
                None
            }
        }
    }

    /// The request leaves the queue; unless it was taken or withdrawn before, the caller gets it back.
    pub(super) fn refuse(&self) {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Queued(request) => state.stage = Stage::Refused(request),
            other => {
                state.stage = other;
                return;
            }
        }
        let waker = state.caller.take();
        drop(state);
        waker.into_iter().for_each(wake_contained);
    }

    /// Sends the answer.
    ///
    /// # Errors
    /// The answer, if nobody wants it any more.
    pub(super) fn answer(&self, response: Resp) -> Result<(), Resp> {
        self.settle(Stage::Answered(response)).map_err(|stage| {
            let Stage::Answered(response) = stage else {
                unreachable!("the stage that was handed in comes back");
            };
            response
        })
    }

    /// Tells the caller that there is no answer.
    pub(super) fn give_up(&self) {
        let _unwanted = self.settle(Stage::NotAnswered);
    }

    fn settle(&self, stage: Stage<Req, Resp>) -> Result<(), Stage<Req, Resp>> {
        let mut state = lock(&self.state);
        if !matches!(state.stage, Stage::Taken) {
            return Err(stage);
        }
        state.stage = stage;
        let (caller, holder) = (state.caller.take(), state.holder.take());
        drop(state);
        drop(holder);
        caller.into_iter().for_each(wake_contained);
        Ok(())
    }

    /// What the caller finds.
    pub(super) fn poll_answer(&self, waker: &Waker) -> Poll<Answer<Req, Resp>> {
        let fresh = waker.clone();
        let mut state = lock(&self.state);
        match std::mem::replace(&mut state.stage, Stage::Over) {
            Stage::Answered(response) => return Poll::Ready(Answer::Response(response)),
            Stage::NotAnswered | Stage::Over => return Poll::Ready(Answer::None(None)),
            Stage::Refused(request) => return Poll::Ready(Answer::None(Some(request))),
            waits => state.stage = waits,
        }
        let old = state.caller.replace(fresh);
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// The caller leaves: with the answer if there is one, or with the request if it was not taken.
    pub(super) fn leave(&self) -> Answer<Req, Resp> {
        let mut state = lock(&self.state);
        let stage = std::mem::replace(&mut state.stage, Stage::Over);
        let (caller, holder) = (state.caller.take(), state.holder.take());
        drop(state);
        drop(caller);
        holder.into_iter().for_each(wake_contained);
        match stage {
            Stage::Queued(request) | Stage::Refused(request) => Answer::None(Some(request)),
            Stage::Answered(response) => Answer::Response(response),
            Stage::Taken | Stage::NotAnswered | Stage::Over => Answer::None(None),
        }
    }

    /// Whether the caller still waits for the answer.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(lock(&self.state).stage, Stage::Taken)
    }

    /// Ready once the caller has gone.
    pub(super) fn poll_unwanted(&self, waker: &Waker) -> Poll<()> {
        let fresh = waker.clone();
        let mut state = lock(&self.state);
        if !matches!(state.stage, Stage::Taken) {
            return Poll::Ready(());
        }
        let old = state.holder.replace(fresh);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> Recover for Exchange<Req, Resp> {
    fn recover(&self, _ticket: u64) {
        self.give_up();
    }
}
