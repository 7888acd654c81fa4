//! Why work was cancelled.
//!
//! A reason is a small shared value.
//! Reasons form a semilattice under [`strengthen`](CancelReason::strengthen): the higher severity wins, then the earlier time, then the smaller origin.
//! A reason may have a cause, the cause a further one; the chain is at most [`CAUSES_MAX`] long, keeps its root, and records whether it was cut.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::{Budget, RegionId, TaskId, Time};

/// How many causes a reason keeps; a longer chain is cut between the nearest and the root, and says so.
pub const CAUSES_MAX: usize = 8;

/// The kinds of cancellation, from the mildest to the most severe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum CancelKind {
    /// The program asked for it.
    User,
    /// A timeout combinator's time was up.
    Timeout,
    /// A budget's deadline passed.
    Deadline,
    /// A budget's poll quota was spent.
    PollQuota,
    /// A budget's cost quota was spent.
    CostBudget,
    /// A sibling failed under the policy `FailFast`.
    FailFast,
    /// Another branch of a race won.
    RaceLost,
    /// A linked actor ended.
    LinkedExit,
    /// The owning region or task was cancelled.
    ParentCancelled,
    /// Something that the work cannot do without is gone.
    ResourceUnavailable,
    /// The runtime is shutting down.
    Shutdown,
}

impl CancelKind {
    /// The severity, 0 (mildest) to 5.
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            Self::User => 0,
            Self::Timeout | Self::Deadline => 1,
            Self::PollQuota | Self::CostBudget => 2,
            Self::FailFast | Self::RaceLost | Self::LinkedExit => 3,
            Self::ParentCancelled | Self::ResourceUnavailable => 4,
            Self::Shutdown => 5,
        }
    }

    /// The default budget for cleanup after a cancellation of this kind, counted from `now`: the severer, the tighter.
    #[must_use]
    pub fn cleanup_budget(self, now: Time) -> Budget {
        let (polls, secs) = CLEANUP[self.severity() as usize];
        Budget::new()
            .with_poll_quota(polls)
            .with_deadline(now + Duration::from_secs(secs))
    }
}

/// Polls and seconds of cleanup by severity.
const CLEANUP: [(u32, u64); 6] = [
    (1000, 30),
    (500, 20),
    (300, 15),
    (200, 10),
    (200, 10),
    (50, 5),
];

impl fmt::Display for CancelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "cancelled on request",
            Self::Timeout => "timed out",
            Self::Deadline => "deadline passed",
            Self::PollQuota => "poll quota spent",
            Self::CostBudget => "cost quota spent",
            Self::FailFast => "a sibling failed",
            Self::RaceLost => "lost a race",
            Self::LinkedExit => "a linked actor ended",
            Self::ParentCancelled => "parent cancelled",
            Self::ResourceUnavailable => "a resource is unavailable",
            Self::Shutdown => "shutting down",
        })
    }
}

/// How far the cancellation had to go before the work ended.
///
/// It is as wide as a word, so that nothing beside it in a reason is padding: an outcome is moved by words, and a load waits for each narrower store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(usize)]
pub enum CancelStage {
    /// The work ended by itself within its cleanup budget.
    #[default]
    Requested,
    /// The cleanup budget was spent; the work ended once masks and shields no longer held.
    Unshielded,
    /// The grace was spent too; the work was dropped where it stood.
    Dropped,
}

/// Who asked for a cancellation: a region, and the task within it if one did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Origin {
    /// The region in which the request was made.
    pub region: RegionId,
    /// The task that made the request or caused it.
    pub task: Option<TaskId>,
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            region: RegionId::new(0),
            task: None,
        }
    }
}

/// Why work was cancelled, by whom, when, and after what.
///
/// Cheap to clone: clones share one allocation.
/// # Examples
/// ```
/// use asupersync_core::{CancelKind, CancelReason, Origin, Time};
/// let timeout = CancelReason::new(CancelKind::Timeout, Origin::default(), Time::from_secs(2));
/// let shutdown = CancelReason::new(CancelKind::Shutdown, Origin::default(), Time::from_secs(9));
/// assert_eq!(timeout.clone().strengthen(shutdown.clone()), shutdown.clone());
/// assert_eq!(shutdown.clone().strengthen(timeout), shutdown);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CancelReason {
    shared: Arc<Shared>,
    stage: CancelStage,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    kind: CancelKind,
    at: Time,
    origin: Origin,
    message: Option<Cow<'static, str>>,
    cause: Option<CancelReason>,
    depth: usize,
    truncated: bool,
}

impl CancelReason {
    /// The reason for the cancellation that an error stands for, if one is anywhere in its source chain.
    ///
    /// It is found behind an `#[error(transparent)]` variant too, where [`Cancelled::find_in`] has no [`Cancelled`] to give.
    /// # Examples
    /// ```
    /// use asupersync_core::{CancelReason, CancelKind, Cancelled, Origin, Time};
    /// let reason = CancelReason::new(CancelKind::User, Origin::default(), Time::ZERO);
    /// let error = Cancelled::new(reason.clone());
    /// assert_eq!(CancelReason::find_in(&error), Some(&reason));
    /// ```
    #[must_use]
    pub fn find_in<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        crate::outcome::links(error).find_map(|link| {
            let whole = link.downcast_ref::<Cancelled>().map(Cancelled::reason);
            whole.or_else(|| link.downcast_ref())
        })
    }

    /// A reason without message and cause.
    #[must_use]
    pub fn new(kind: CancelKind, origin: Origin, at: Time) -> Self {
        let shared = Shared {
            kind,
            at,
            origin,
            message: None,
            cause: None,
            depth: 0,
            truncated: false,
        };
        Self {
            shared: Arc::new(shared),
            stage: CancelStage::Requested,
        }
    }

    /// The same reason with a message for people.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.shared).message = Some(message.into());
        self
    }

    /// The same reason, caused by `cause`.
    ///
    /// The chain keeps [`CAUSES_MAX`] causes, the nearest and those that are next to the root; whether some between were cut is told by [`is_truncated`](Self::is_truncated).
    #[must_use]
    pub fn with_cause(mut self, cause: Self) -> Self {
        let cause = if cause.shared.depth < CAUSES_MAX {
            cause
        } else {
            cause.without_nearest()
        };
        let shared = Arc::make_mut(&mut self.shared);
        shared.depth = cause.shared.depth + 1;
        shared.truncated = cause.shared.truncated;
        shared.cause = Some(cause);
        self
    }

    /// The same reason, at a later stage of the protocol if `stage` is later.
    #[must_use]
    pub fn at_stage(mut self, stage: CancelStage) -> Self {
        self.stage = self.stage.max(stage);
        self
    }

    /// What kind of cancellation it is.
    #[must_use]
    pub fn kind(&self) -> CancelKind {
        self.shared.kind
    }

    /// When it was requested.
    #[must_use]
    pub fn at(&self) -> Time {
        self.shared.at
    }

    /// Who requested it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.shared.origin
    }

    /// The message for people, if one was given.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.shared.message.as_deref()
    }

    /// What led to it, if that was another cancellation.
    #[must_use]
    pub fn cause(&self) -> Option<&Self> {
        self.shared.cause.as_ref()
    }

    /// The last link of the chain of causes, which is never cut: the reason itself if it has no cause.
    #[must_use]
    pub fn root_cause(&self) -> &Self {
        let mut reason = self;
        while let Some(cause) = reason.cause() {
            reason = cause;
        }
        reason
    }

    /// Whether causes were cut from the chain, before its root.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.shared.truncated
    }

    /// How far the protocol had to go.
    #[must_use]
    pub const fn stage(&self) -> CancelStage {
        self.stage
    }

    /// Whether the cleanup budget was not enough.
    #[must_use]
    pub fn escalated(&self) -> bool {
        self.stage > CancelStage::Requested
    }

    /// The stronger of two reasons: higher severity, then earlier time, then smaller origin.
    ///
    /// Associative, commutative and idempotent.
    #[must_use]
    pub fn strengthen(self, other: Self) -> Self {
        let stage = self.stage.max(other.stage);
        let stronger = if self.strength(&other) == Ordering::Less {
            other
        } else {
            self
        };
        stronger.at_stage(stage)
    }

    /// Whether strengthening `self` with `other` would change it.
    #[must_use]
    pub fn is_weaker_than(&self, other: &Self) -> bool {
        self.strength(other) == Ordering::Less
    }

    fn strength(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.shared, &other.shared) {
            return Ordering::Equal;
        }
        let (mine, theirs) = (&*self.shared, &*other.shared);
        mine.kind
            .severity()
            .cmp(&theirs.kind.severity())
            .then_with(|| theirs.at.cmp(&mine.at))
            .then_with(|| theirs.origin.cmp(&mine.origin))
            .then_with(|| theirs.cmp(mine))
    }

    /// The same reason with one cause less: the nearest.
    ///
    /// Those behind it stay as they are, so that all that lives deep below one cause shares them; and the root says why all of this is: whoever asked for it knows its own request by it.
    fn without_nearest(self) -> Self {
        let mut shared = Shared::clone(&self.shared);
        shared.cause = shared.cause.and_then(|nearest| nearest.cause().cloned());
        shared.depth -= 1;
        shared.truncated = true;
        Self {
            shared: Arc::new(shared),
            stage: self.stage,
        }
    }
}

impl PartialOrd for CancelReason {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CancelReason {
    /// A total order for use as a map key; strength is told by [`CancelReason::is_weaker_than`].
    fn cmp(&self, other: &Self) -> Ordering {
        self.shared
            .cmp(&other.shared)
            .then(self.stage.cmp(&other.stage))
    }
}

impl fmt::Debug for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelReason")
            .field("kind", &self.kind())
            .field("origin", &self.origin())
            .field("at", &self.at())
            .field("message", &self.message())
            .field("stage", &self.stage)
            .field("cause", &self.cause())
            .finish()
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        if let Some(message) = self.message() {
            write!(f, " ({message})")?;
        }
        match self.origin().task {
            Some(task) => write!(f, ", by {task}")?,
            None => write!(f, ", by {}", self.origin().region)?,
        }
        match self.stage {
            CancelStage::Requested => {}
            CancelStage::Unshielded => f.write_str(", past its cleanup budget")?,
            CancelStage::Dropped => f.write_str(", dropped after its grace")?,
        }
        if let Some(cause) = self.cause() {
            if self.is_truncated() && !cause.is_truncated() {
                f.write_str("; causes between were cut")?;
            }
            write!(f, "; because: {cause}")?;
        }
        Ok(())
    }
}

/// The error that a waiting operation and a checkpoint return once cancellation was requested.
///
/// Keep it in the source chain of an application's error (`#[from] Cancelled` with `thiserror`), and the task's outcome is `Cancelled`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cancelled(CancelReason);

impl Cancelled {
    /// A cancellation for `reason`.
    #[must_use]
    pub const fn new(reason: CancelReason) -> Self {
        Self(reason)
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> &CancelReason {
        &self.0
    }

    /// Why, by value.
    #[must_use]
    pub fn into_reason(self) -> CancelReason {
        self.0
    }

    /// The cancellation that an error stands for, if one is anywhere in its source chain.
    ///
    /// # Examples
    /// ```
    /// use asupersync_core::Cancelled;
    /// assert!(Cancelled::find_in(&std::io::Error::other("broken")).is_none());
    /// ```
    #[must_use]
    pub fn find_in<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        crate::outcome::links(error).find_map(<dyn std::error::Error>::downcast_ref)
    }
}

/// What an [`io::Error`] that stands for a cancellation is made from.
///
/// `io::Error::source` gives the source of what it was made from; so the cancellation must be a source, or an error type that is transparent over the `io::Error` would hide it.
#[derive(Debug)]
struct IoCancelled(Cancelled);

impl fmt::Display for IoCancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation was cancelled")
    }
}

impl std::error::Error for IoCancelled {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Of kind [`Other`](io::ErrorKind::Other), since code that meets `Interrupted` would try again; [`Cancelled::find_in`] finds it.
impl From<Cancelled> for io::Error {
    fn from(cancelled: Cancelled) -> Self {
        Self::other(IoCancelled(cancelled))
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The reason is the source, so that a `#[error(transparent)]` variant, which passes on its inner error's source instead of the error, still shows that this is a cancellation.
impl std::error::Error for Cancelled {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl std::error::Error for CancelReason {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [CancelKind; 11] = [
        CancelKind::User,
        CancelKind::Timeout,
        CancelKind::Deadline,
        CancelKind::PollQuota,
        CancelKind::CostBudget,
        CancelKind::FailFast,
        CancelKind::RaceLost,
        CancelKind::LinkedExit,
        CancelKind::ParentCancelled,
        CancelKind::ResourceUnavailable,
        CancelKind::Shutdown,
    ];

    fn reasons() -> impl Strategy<Value = CancelReason> {
        (
            0..KINDS.len(),
            0_u64..3,
            0_u64..3,
            proptest::option::of("[ab]"),
            0_u8..3,
        )
            .prop_map(|(kind, at, region, message, stage)| {
                let origin = Origin {
                    region: RegionId::new(region),
                    task: None,
                };
                let reason = CancelReason::new(KINDS[kind], origin, Time::from_nanos(at));
                let reason = match message {
                    Some(message) => reason.with_message(message),
                    None => reason,
                };
                reason.at_stage(match stage {
                    0 => CancelStage::Requested,
                    1 => CancelStage::Unshielded,
                    _ => CancelStage::Dropped,
                })
            })
    }

    proptest! {
        #[test]
        fn strengthen_is_a_semilattice(a in reasons(), b in reasons(), c in reasons()) {
            let (ab, bc) = (a.clone().strengthen(b.clone()), b.clone().strengthen(c.clone()));
            prop_assert_eq!(ab.clone().strengthen(c), a.clone().strengthen(bc));
            prop_assert_eq!(ab, b.strengthen(a.clone()));
            prop_assert_eq!(a.clone().strengthen(a.clone()), a);
        }
    }

    #[test]
    fn a_long_chain_of_causes_is_cut_and_says_so() {
        let mut reason = CancelReason::new(CancelKind::User, Origin::default(), Time::ZERO);
        for n in 0..20 {
            let next = CancelReason::new(
                CancelKind::ParentCancelled,
                Origin::default(),
                Time::from_nanos(n),
            );
            reason = next.with_cause(reason);
        }
        let mut links = 0;
        let mut link = &reason;
        while let Some(cause) = link.cause() {
            links += 1;
            link = cause;
        }
        assert_eq!(links, CAUSES_MAX);
        assert!(reason.is_truncated());
        assert!(!link.is_truncated(), "the root is whole");
        let shown = reason.to_string();
        assert_eq!(
            shown.matches("causes between were cut").count(),
            1,
            "{shown}"
        );
    }

    #[test]
    fn the_root_of_a_chain_is_never_cut() {
        let mut reason = CancelReason::new(CancelKind::Timeout, Origin::default(), Time::ZERO);
        let root = reason.clone();
        for n in 1..40 {
            let at = Time::from_nanos(n);
            let next = CancelReason::new(CancelKind::ParentCancelled, Origin::default(), at);
            reason = next.with_cause(reason);
            assert_eq!(reason.root_cause(), &root);
            let nearest = reason.cause().expect("it was given one");
            let is_nearest = nearest.at() == Time::from_nanos(n - 1);
            assert!(is_nearest, "the nearest is kept too");
        }
    }

    #[test]
    fn a_severer_kind_never_has_more_cleanup_polls() {
        for pair in KINDS.windows(2) {
            let polls = |kind: CancelKind| kind.cleanup_budget(Time::ZERO).poll_quota;
            assert!(polls(pair[0]) >= polls(pair[1]));
        }
    }
}
