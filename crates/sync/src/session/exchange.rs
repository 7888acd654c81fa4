//! One call: the request, then the answer, and who waits for what.
//!
//! # Invariants
//! - The request is in the cell until it is taken or withdrawn, so a caller that leaves in time takes it back.
//! - There is one caller and one holder of the reply; each waits in a place of its own.
//! - No code of the program runs under the lock.

use std::task::{Poll, Waker};

use asupersync_kernel::mutation::{Mutation, is_on};
use asupersync_kernel::{Recover, Resource, wake_contained};

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
    resource: Resource,
}

/// How a call ended for its caller.
pub(super) enum Answer<Req, Resp> {
    Response(Resp),
    /// With the request, if it was not taken.
    None(Option<Req>),
}

impl<Req, Resp> Answer<Req, Resp> {
    /// How many requests and answers it has.
    const fn count(&self) -> i64 {
        match self {
            Self::Response(_) | Self::None(Some(_)) => 1,
            Self::None(None) => 0,
        }
    }
}

impl<Req, Resp> Exchange<Req, Resp> {
    pub(super) fn new(request: Req) -> Self {
        let exchange = Self {
            state: Mutex::new(State {
                stage: Stage::Queued(request),
                caller: None,
                holder: None,
            }),
            resource: Resource::new(),
        };
        exchange.tell_moved("session.call", 1);
        exchange
    }

    /// Tells that the request or the answer went into the cell or came out.
    fn tell_moved(&self, operation: &'static str, change: i64) {
        self.resource
            .trace_messages(Some(operation), change, || self.held());
    }

    /// How many requests and answers are in the cell.
    fn held(&self) -> u64 {
        match lock(&self.state).stage {
            Stage::Queued(_) | Stage::Refused(_) | Stage::Answered(_) => 1,
            Stage::Taken | Stage::NotAnswered | Stage::Over => 0,
        }
    }

    /// The server takes the request, unless it was withdrawn.
    pub(super) fn take(&self) -> Option<Req> {
        let mut state = lock(&self.state);
        let taken = match std::mem::replace(&mut state.stage, Stage::Taken) {
            Stage::Queued(request) => Some(request),
            other => {
                state.stage = other;
                None
            }
        };
        drop(state);
        match taken {
            Some(_) => self.tell_moved("session.take", -1),
            None => self.resource.trace("session.miss"),
        }
        taken
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
        self.tell_moved("session.refuse", 0);
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
            drop(state);
            self.resource.trace("session.miss");
            return Err(stage);
        }
        let is_answer = matches!(stage, Stage::Answered(_));
        let is_lost = is_answer && is_on(Mutation::AnswerIsLost);
        state.stage = if is_lost { Stage::NotAnswered } else { stage };
        let (caller, holder) = (state.caller.take(), state.holder.take());
        drop(state);
        if is_answer {
            self.tell_moved("session.answer", 1);
        } else {
            self.tell_moved("session.give_up", 0);
        }
        drop(holder);
        if !is_on(Mutation::AnswerIsSilent) {
            caller.into_iter().for_each(wake_contained);
        }
        Ok(())
    }

    /// What the caller finds.
    pub(super) fn poll_answer(&self, waker: &Waker) -> Poll<Answer<Req, Resp>> {
        let fresh = waker.clone();
        let mut state = lock(&self.state);
        let found = match std::mem::replace(&mut state.stage, Stage::Over) {
            Stage::Answered(response) => Answer::Response(response),
            Stage::NotAnswered | Stage::Over => Answer::None(None),
            Stage::Refused(request) => Answer::None(Some(request)),
            waits => {
                state.stage = waits;
                let old = state.caller.replace(fresh);
                drop(state);
                drop(old);
                self.resource.trace("session.wait");
                return Poll::Pending;
            }
        };
        drop(state);
        self.tell_moved("session.end", -found.count());
        Poll::Ready(found)
    }

    /// The caller leaves: with the answer if there is one, or with the request if it was not taken.
    pub(super) fn leave(&self) -> Answer<Req, Resp> {
        let mut state = lock(&self.state);
        let stage = std::mem::replace(&mut state.stage, Stage::Over);
        let (caller, holder) = (state.caller.take(), state.holder.take());
        drop(state);
        drop(caller);
        let is_over = matches!(stage, Stage::Over);
        let left = match stage {
            Stage::Queued(request) | Stage::Refused(request) => Answer::None(Some(request)),
            Stage::Answered(response) => Answer::Response(response),
            Stage::Taken | Stage::NotAnswered | Stage::Over => Answer::None(None),
        };
        if !is_over {
            self.tell_moved("session.leave", -left.count());
        }
        holder.into_iter().for_each(wake_contained);
        left
    }

    /// Whether the caller still waits for the answer.
    pub(super) fn is_wanted(&self) -> bool {
        self.resource.trace("session.look");
        self.is_open()
    }

    /// The same, for who only describes it.
    pub(super) fn is_open(&self) -> bool {
        matches!(lock(&self.state).stage, Stage::Taken)
    }

    /// Ready once the caller has gone.
    pub(super) fn poll_unwanted(&self, waker: &Waker) -> Poll<()> {
        self.resource.trace("session.look");
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
