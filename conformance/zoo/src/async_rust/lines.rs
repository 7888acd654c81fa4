//! A line of waiters made by hand, and what becomes of a grant whose waiter has gone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use asupersync_kernel::Cx;
use asupersync_lab::Var;

use super::cut::Cut;
use crate::stage::{End, boxed, crew};
use crate::{Family, Program, Shows};

pub(super) const PROGRAMS: &[Program] = &[
    Program {
        name: "grant-dropped",
        family: Family::AsyncRust,
        pattern: "a waiter that was woken is dropped before it runs, and the wake is lost with it",
        fix: "a waiter that goes hands on what it was given",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(contest(cx, Leaving::WithItsGrant)),
        fixed: |cx| boxed(contest(cx, Leaving::InOrder)),
    },
    Program {
        name: "stale-waiter",
        family: Family::AsyncRust,
        pattern: "a waiter that was dropped still stands in the line, and permits are counted out to it",
        fix: "a waiter that goes leaves the line",
        shows: Shows::Stall,
        exhaustible: true,
        buggy: |cx| boxed(contest(cx, Leaving::NotTheLine)),
        fixed: |cx| boxed(contest(cx, Leaving::InOrder)),
    },
];

/// What a waiter does when it is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    InOrder,
    /// It leaves, and takes along what it was given.
    WithItsGrant,
    /// It does not leave.
    NotTheLine,
}

/// A semaphore made by hand.
struct Line {
    leaving: Leaving,
    state: Var<LineState>,
}

#[derive(Default)]
struct LineState {
    permits: u32,
    waiters: VecDeque<Waiter>,
}

struct Waiter {
    number: usize,
    has_grant: bool,
    waker: Waker,
}

impl LineState {
    /// Gives a permit to the first who has none, or keeps it.
    fn give(&mut self) {
        match self.waiters.iter_mut().find(|waiter| !waiter.has_grant) {
            Some(waiter) => {
                waiter.has_grant = true;
                waiter.waker.wake_by_ref();
            }
            None => self.permits += 1,
        }
    }

    fn poll(&mut self, number: usize, task: &Context<'_>) -> Poll<()> {
        let place = self
            .waiters
            .iter()
            .position(|waiter| waiter.number == number);
        match place {
            None if self.permits > 0 => self.permits -= 1,
            None => {
                self.waiters.push_back(Waiter {
                    number,
                    has_grant: false,
                    waker: task.waker().clone(),
                });
                return Poll::Pending;
            }
            Some(place) if self.waiters[place].has_grant => {
                self.waiters.remove(place);
            }
            Some(_) => return Poll::Pending,
        }
        Poll::Ready(())
    }

    fn leave(&mut self, number: usize, leaving: Leaving) {
        let place = self
            .waiters
            .iter()
            .position(|waiter| waiter.number == number);
        let gone = place
            .filter(|_| leaving != Leaving::NotTheLine)
            .and_then(|place| self.waiters.remove(place));
        if gone.is_some_and(|gone| gone.has_grant) && leaving == Leaving::InOrder {
            self.give();
        }
    }
}

/// Takes a waiter out of the line, in one way or another.
struct Place<'l>(&'l Line, usize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0
            .state
            .update_now(|state| state.leave(self.1, self.0.leaving));
    }
}

impl Line {
    async fn acquire(&self, number: usize) {
        let place = Place(self, number);
        let poll = |task: &mut Context<'_>| self.state.update_now(|state| state.poll(number, task));
        std::future::poll_fn(poll).await;
        drop(place);
    }
}

/// Two wait for the same permit; one of them may give up.
async fn contest(cx: Cx, leaving: Leaving) -> End {
    let line = Line {
        leaving,
        state: Var::default(),
    };
    let shared = Arc::new((Cut::default(), line));
    crew(&cx, &shared, 4, |cx, shared, number| async move {
        let (cut, line) = &*shared;
        cx.yield_now().await?;
        match number {
            0 => cut.say(&cx).await?,
            1 => {
                let acquired = cut.unless(&cx, line.acquire(number)).await;
                if acquired.is_some() {
                    line.state.update(&cx, LineState::give).await?;
                }
            }
            2 => line.acquire(number).await,
            _ => line.state.update(&cx, LineState::give).await?,
        }
        Ok(())
    })
    .await
}
