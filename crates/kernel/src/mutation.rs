//! Seeded defects, each of which an oracle of the lab must see.
//!
//! A mutation is switched on for one thread and for the time of one call; at the place that it names the code then does the wrong thing.
//! Without the feature `mutations` the question is a constant `false`, and nothing of it is compiled.

/// Declares the mutations with their names and what goes wrong.
macro_rules! mutations {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A seeded defect.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Mutation {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Mutation {
            /// Every mutation, in the order of the laws that they break.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name, in words joined by hyphens.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

mutations! {
    /// A region that is left waits for none of its tasks, and the program goes.
    RegionLeavesTasks = "region-leaves-tasks",
    /// A region closes before its last task has ended.
    RegionClosesEarly = "region-closes-early",
    /// A region goes from closing to closed without finalizing.
    RegionSkipsFinalizing = "region-skips-finalizing",
    /// A task's end is told twice.
    EndToldTwice = "end-told-twice",
    /// Dropping an obligation's guard settles nothing.
    GuardSettlesNothing = "guard-settles-nothing",
    /// What is settled stays in its holder's list, and is settled again when the holder ends.
    SettledIsKept = "settled-is-kept",
    /// A cancelled node loses its future at once when its cleanup is spent, without the grace.
    GraceIsSkipped = "grace-is-skipped",
    /// A request is not handed on to the oldest child.
    ChildIsNotAsked = "child-is-not-asked",
    /// A mask holds although the cleanup is spent.
    MaskHoldsForEver = "mask-holds-for-ever",
    /// A task's own deadline replaces that of its region, also if it is later.
    DeadlineIsReplaced = "deadline-is-replaced",
    /// Polls are not charged.
    PollsAreFree = "polls-are-free",
    /// Cost is counted, and running out of it has no consequence.
    CostIsFree = "cost-is-free",
    /// A finalizer is dropped unrun.
    FinalizerIsDropped = "finalizer-is-dropped",
    /// A combinator returns before its losers have ended.
    LosersAreLeft = "losers-are-left",
    /// Who joins a task is not woken at its end.
    JoinerIsNotWoken = "joiner-is-not-woken",
    /// A request does not wake the task that it asks.
    RequestDoesNotWake = "request-does-not-wake",
    /// A notification is handed to a waiter, and nobody wakes it.
    NotifyIsSilent = "notify-is-silent",
    /// A watch publishes a value and wakes none of its receivers.
    WatchIsSilent = "watch-is-silent",
    /// A broadcast is sent, and no receiver is woken.
    BroadcastIsSilent = "broadcast-is-silent",
    /// A value is offered in a rendezvous, and the receiver that waits is not woken.
    OfferIsSilent = "offer-is-silent",
    /// A value is taken in a rendezvous, and its sender is not woken.
    TakingIsSilent = "taking-is-silent",
    /// The last to come to a barrier wakes none of the others.
    BarrierIsSilent = "barrier-is-silent",
    /// A condition variable hands its notification to a waiter, and nobody wakes it.
    CondvarIsSilent = "condvar-is-silent",
    /// A latch opens, and wakes nobody.
    LatchIsSilent = "latch-is-silent",
    /// A semaphore hands permits to the first in line, and nobody wakes it.
    SemaphoreIsSilent = "semaphore-is-silent",
    /// A reader-writer lock lets somebody in, and nobody wakes it.
    RwLockIsSilent = "rwlock-is-silent",
    /// An answer is sent, and its caller is not woken.
    AnswerIsSilent = "answer-is-silent",
    /// A task that found nothing to do is polled once more without a wake.
    PolledUnwoken = "polled-unwoken",
    /// A channel drops the message before the one that it gives.
    MessageIsDropped = "message-is-dropped",
    /// A one-shot channel loses the value that was sent.
    ValueIsLost = "value-is-lost",
    /// A receiver of a broadcast passes over the message after the one that it gives.
    MessageIsSkipped = "message-is-skipped",
    /// A receiver of a broadcast says that it missed one message fewer than it did.
    LagIsUnderstated = "lag-is-understated",
    /// What a rendezvous has given to a receiver that leaves is gone with it.
    HandOverIsDropped = "hand-over-is-dropped",
    /// A server is told that its answer was sent, and the caller that there is none.
    AnswerIsLost = "answer-is-lost",
    /// A watch publishes a value under the version of the one before.
    VersionIsRepeated = "version-is-repeated",
    /// A receiver of a watch does not remember which version it has seen.
    VersionIsForgotten = "version-is-forgotten",
    /// A semaphore forgets a permit that is returned.
    PermitIsForgotten = "permit-is-forgotten",
    /// A lock goes to the last in line.
    LastInLineIsFirst = "last-in-line-is-first",
    /// Who comes to a semaphore takes what is free although others wait.
    PermitsGoToTheQuick = "permits-go-to-the-quick",
    /// A reader goes past a writer that waits.
    WriterIsOvertaken = "writer-is-overtaken",
    /// Of several readers first in line only one is let in.
    ReadersGoOneByOne = "readers-go-one-by-one",
    /// A lock whose guard is dropped stays locked.
    LockIsKept = "lock-is-kept",
    /// The host takes the newest of the runnable tasks, again and again.
    NewestGoesFirst = "newest-goes-first",
    /// The host runs a job on a thread of its own.
    JobOnAThread = "job-on-a-thread",
    /// The host draws entropy from a counter that lasts longer than the run.
    EntropyIsAmbient = "entropy-is-ambient",
    /// A region loses the error of a task that nobody joins.
    ErrorIsLost = "error-is-lost",
    /// A region takes an error that was joined for one that it keeps, and lets a later one go for it.
    JoinedErrorHidesOthers = "joined-error-hides-others",
    /// A sleep lasts half as long as it should.
    SleepIsShort = "sleep-is-short",
}

#[cfg(feature = "mutations")]
thread_local! {
    static CURRENT: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Whether this defect is switched on, on this thread.
#[cfg(feature = "mutations")]
#[must_use]
pub fn is_on(mutation: Mutation) -> bool {
    CURRENT.get() == Some(mutation)
}

/// Whether this defect is switched on: never without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[must_use]
#[inline(always)]
pub const fn is_on(_mutation: Mutation) -> bool {
    false
}

/// As [`is_on`], every other time that it is asked, so that a defect which repeats itself comes to an end.
#[must_use]
pub fn is_on_by_turns(mutation: Mutation) -> bool {
    thread_local! {
        static TURN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    is_on(mutation) && !TURN.replace(!TURN.get())
}

/// Calls `f` with a defect switched on for this thread, or with none.
///
/// # Examples
/// ```
/// use asupersync_kernel::mutation::{Mutation, is_on, with};
/// assert!(with(Some(Mutation::PollsAreFree), || is_on(Mutation::PollsAreFree)));
/// assert!(!is_on(Mutation::PollsAreFree));
/// ```
#[cfg(feature = "mutations")]
pub fn with<R>(mutation: Option<Mutation>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Mutation>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(mutation));
    f()
}
