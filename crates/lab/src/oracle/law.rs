//! The laws, each with its name and what it says.

use std::fmt;

macro_rules! laws {
    ($($variant:ident = $name:literal: $sentence:literal,)+) => {
        /// A law that an oracle watches.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Law {
            $(#[doc = $sentence] $variant,)+
        }

        impl Law {
            /// Every law.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name, in words joined by hyphens.
            ///
            /// # Examples
            /// ```
            /// assert_eq!(asupersync_lab::Law::TaskLeak.name(), "task-leak");
            /// ```
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What it says.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)+
                }
            }
        }
    };
}

laws! {
    TaskLeak = "task-leak": "Every task that was spawned has ended.",
    TaskEnd = "task-end": "A task ends once and is not polled afterwards.",
    Quiescence = "region-quiescence": "A region closes only when everything in it has ended or closed.",
    RegionTree = "region-tree": "A region is opened in one that is not closed, and goes through its phases in order.",
    ObligationLeak = "obligation-leak": "Every obligation is settled before its holder ends.",
    ObligationLinearity = "obligation-linearity": "An obligation is settled at most once.",
    CancelOrder = "cancel-order": "A cancellation starts with a request and goes from stage to stage, leaving none out.",
    CancelPropagation = "cancel-propagation": "A request reaches what lives in a node, the parent before the child.",
    MaskBounds = "mask-bounds": "A mask holds a request back no longer than the cleanup budget, and the grace after that is as long as it should be.",
    DeadlineMonotone = "deadline-monotone": "No deadline is later than that of its surroundings.",
    BudgetConservation = "budget-conservation": "Nobody has more polls or cost than its surroundings, or uses more than it has without being cancelled.",
    Finalizers = "finalizers-ran": "Every finalizer of a region has run to its end when the region closes.",
    LoserDrained = "loser-drained": "A combinator returns when its losers have ended.",
    LostWake = "lost-wake": "Whoever waits for something that has come is polled.",
    DuplicateWake = "duplicate-wake": "Nobody is polled without a wake, or queued twice for what one poll serves.",
    ChannelConservation = "channel-conservation": "What goes into a channel comes out of it: no message more, and at its end none fewer; a call is answered once.",
    PermitConservation = "permit-conservation": "The free permits of a counter change by what is taken and returned, and by nothing else.",
    LockFairness = "lock-fairness": "A lock goes to the first in line, and nobody overtakes.",
    Futurelock = "futurelock": "Nobody holds what others wait for without being polled.",
    Starvation = "starvation": "Under a fair schedule whoever is runnable is polled before long.",
    ForeignThread = "ambient-authority": "Nothing reaches the lab from another thread.",
    Determinism = "determinism": "Two runs of one schedule do the same.",
    ErrorOnce = "error-once": "The failure of a task is taken by its handle, delivered to its region, or suppressed by a worse one: exactly one of these.",
    Invariant = "invariant": "What the program says of its own state holds whenever nothing can run.",
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
