//! The root region, in which a host runs a program.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Waker;

use asupersync_core::{
    Budget, CancelKind, CancelReason, ErrOf, IntoOutcome, OkOf, Origin, Outcome, PanicPayload,
    Severity, TaskId,
};

use crate::cancel;
use crate::cx::Cx;
use crate::event::{Event, Name, Subject};
use crate::host::{Host, Owed, WorkerId};
use crate::leave;
use crate::node::{HostRef, Nature, NodeInit, NodeRef, Phase, RegionInit, Terms};
use crate::obligation;
use crate::state::State;
use crate::task::{self, SpawnInit};

/// How a host starts a program.
pub struct RootOptions {
    /// The root region's budget.
    pub budget: Budget,
    /// The worker whose thread calls [`run_root`], and that alone polls the root body.
    pub home: WorkerId,
    /// Woken when the last child of the root region has ended.
    pub waker: Waker,
}

/// The running root region, as the host's loop sees it.
pub struct Root {
    region: NodeRef,
    body: NodeRef,
}

/// Something that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfinished {
    /// Its name.
    pub subject: Subject,
    /// The name given at spawn.
    pub name: Option<String>,
    /// Whether it is a fiber, which its region's body polls.
    pub is_fiber: bool,
    /// Whether it is being polled at this moment: code that does not yield.
    pub running: bool,
    /// Why it was asked to stop, if it was.
    pub reason: Option<CancelReason>,
    /// What it owes, as far as recorded.
    pub owed: Vec<Owed>,
}

impl Root {
    /// Whether the root body has ended.
    #[must_use]
    pub fn body_ended(&self) -> bool {
        self.body.state.is_complete()
    }

    /// Whether the root body has ended and nothing is left in the root region.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.body_ended() && self.region.lock().contents().live == 0
    }

    /// Takes what failed in the root region beside the body: the closing of abandoned regions, which can only panic.
    ///
    /// Called after the body's own outcome was taken.
    fn left_panic(&self) -> Option<PanicPayload> {
        let failed = {
            let mut inner = self.region.lock();
            let extra = inner.more.extra_mut();
            extra.map(|extra| std::mem::take(&mut extra.failed))
        };
        let mut panic = None;
        for child in failed.unwrap_or_default() {
            // SAFETY: beside the body, whose outcome is taken, only heirs stand here, and they have no error.
            let end = unsafe { leave::deliver_end::<Infallible>(&child.node) };
            if let Some(Outcome::Panicked(payload)) = end {
                panic.get_or_insert(payload);
            }
        }
        panic
    }

    /// Cancels the whole program.
    pub fn cancel(&self, kind: CancelKind, message: &'static str) {
        let now = self.region.host().now();
        let reason = CancelReason::new(kind, self.region.origin(), now).with_message(message);
        cancel::request(&self.region, reason);
    }

    /// The program, for another thread, such as a signal's.
    #[must_use]
    pub fn program(&self) -> Program {
        Program {
            region: self.region.clone(),
        }
    }

    /// Everything that has not ended, parents before children.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Unfinished> {
        self.program().unfinished()
    }
}

/// A running program, in the hands of any thread.
#[derive(Clone)]
pub struct Program {
    region: NodeRef,
}

impl Program {
    /// Cancels the whole program; without effect once it has ended.
    pub fn cancel(&self, kind: CancelKind, message: &'static str) {
        let now = self.region.host().now();
        let reason = CancelReason::new(kind, Origin::default(), now).with_message(message);
        cancel::request(&self.region, reason);
    }

    /// Everything that has not ended, parents before children; what changes meanwhile may be missed.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Unfinished> {
        let mut found = Vec::new();
        let mut work: Vec<_> = self.region.lock().children().collect();
        while let Some(node) = work.pop() {
            if node.state.is_complete() {
                // It has ended, and is on its way out of its region.
                continue;
            }
            let (name, owed) = {
                let inner = node.lock();
                work.extend(inner.children());
                let extra = inner.more.extra();
                let name = extra.and_then(|extra| extra.name.as_ref().map(Name::to_string));
                let owed = extra.map_or_else(Vec::new, obligation::owed);
                (name, owed)
            };
            found.push(Unfinished {
                subject: node.subject(),
                name,
                is_fiber: !node.is_task() && !node.is_region(),
                running: node.state.is_running(),
                reason: cancel::reason(&node),
                owed,
            });
        }
        found
    }
}

/// What came of a program.
pub struct RootEnd<T, E> {
    /// The root body's outcome.
    pub outcome: Outcome<T, E>,
    /// What had not ended when the host gave up.
    pub unfinished: Vec<Unfinished>,
    /// The root body's name.
    pub body: TaskId,
}

/// Runs a program's root body in a new root region of `host`, until the host's `turn` breaks.
///
/// `turn` is called on this thread, again and again: it runs tasks, the root body among them, or waits.
/// It breaks when [`Root::is_quiescent`], or gives up; a root body that has not ended then is dropped.
pub fn run_root<F, Fut>(
    host: Arc<dyn Host>,
    options: RootOptions,
    body: F,
    mut turn: impl FnMut(&Root) -> ControlFlow<()>,
) -> RootEnd<OkOf<Fut>, ErrOf<Fut>>
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let root = open(host, &options, body);
    // The root body may borrow from the caller, so nothing may unwind past it while it lives.
    let guard = AbortOnUnwind;
    while turn(&root).is_continue() {}
    let unfinished = root.unfinished();
    // From here on nothing is handed over any more: what still lives was given up.
    root.region.lock().contents().phase = Phase::Closed;
    let complete = root.body_ended() || task::stop_parked(&root.body);
    assert!(
        complete,
        "the root body is polled on this thread only, so nobody is polling it"
    );
    let region = root.region.region().id;
    root.region
        .record_structure(|| Event::RegionClosed { region });
    let taken = root.body.state.take();
    assert!(taken, "only the host takes the root body's outcome");
    root.body.tell_failure_taken();
    // SAFETY: the task is complete, its outcome was just claimed, and its future is `Fut`.
    let outcome = unsafe { task::take_outcome(&root.body) };
    let outcome = worse_of(outcome, root.left_panic());
    std::mem::forget(guard);
    RootEnd {
        outcome,
        unfinished,
        body: root.body.task_id(),
    }
}

fn open<F, Fut>(host: Arc<dyn Host>, options: &RootOptions, body: F) -> Root
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output: IntoOutcome>,
{
    let config = *host.config();
    let id = host.next_region();
    let terms = Terms {
        host: HostRef::owned(host),
        budget: options.budget,
    };
    let node = NodeInit {
        state: State::new_idle(1),
        parent: None,
        nature: Nature::of_root(&config),
        poll_quota: options.budget.poll_quota,
    };
    let init = RegionInit {
        node,
        shield: 0,
        id,
        policy: None,
    };
    let region = NodeRef::new_region(init, Some(terms));
    region.lock().contents().waiter = Some(options.waker.clone());
    region.record_structure(|| Event::RegionOpened {
        region: id,
        parent: None,
    });
    let spawn = SpawnInit {
        budget: None,
        name: Some(Name::from("main")),
        home: Some(options.home),
        cleanup: false,
        site: "the root body",
        line: 0,
    };
    let body = task::spawn::<Fut, ErrOf<Fut>>(&region, spawn, |node| body(Cx::from_node(node)));
    // From here on the root region waits for its last child, and still admits the closing of abandoned regions.
    region.lock().contents().phase = Phase::Closing;
    Root { region, body }
}

/// The program's end, unless what it left behind ended worse.
fn worse_of<T, E>(outcome: Outcome<T, E>, left: Option<PanicPayload>) -> Outcome<T, E> {
    match left {
        Some(payload) if outcome.severity() < Severity::Panicked => Outcome::Panicked(payload),
        Some(_) | None => outcome,
    }
}

struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        // A host's loop that unwinds would free what the root body borrows while tasks may still use it.
        std::process::abort();
    }
}
