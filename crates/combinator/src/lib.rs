//! Combinators: what to do with several pieces of work at once, with every loser cancelled and drained.
//!
//! # Branches
//! A *branch* is a body with a context of its own: `async |cx: Cx| { .. }`, or a plain future in [`plain`].
//! Several go together as a tuple of up to twelve, an array, or a `Vec`.
//! They run as fibers of a region that the combinator opens: inline, within the caller's poll, so they may borrow from the caller and need not be `Send`.
//! [`map_reduce`] and [`Pipeline`] spawn tasks instead, for work that is to run on several workers.
//!
//! # What always holds
//! - A combinator returns only when every branch has ended: whoever lost was told so, and drained within its cleanup budget.
//! - A branch that was not polled before it was cancelled is not started.
//! - A panic in a branch is contained, the others are cancelled and drained, and the outcome is `Panicked`, whoever had won.
//! - A combinator that is dropped drops its branches; what they had opened is closed by the region around it.
//! - Branches spend the caller's budget, and a request to the caller reaches them all.
//!
//! # Policies
//! What a call passes through, and what remembers earlier calls, is a [`Policy`]: retries, timeouts, circuit breakers, bulkheads, rate limits, caches and faults, composed in a stated order.
//! Its recommended order, and how strategies see each other, stand at [`Policy`] and [`Strategy`].
#![forbid(unsafe_code)]

mod bracket;
mod branch;
mod branches;
mod fallback;
mod first_match;
mod fleet;
mod hedge;
mod join;
mod latency;
mod map_reduce;
mod pipeline;
mod policy;
mod quorum;
mod race;
mod stages;
mod tuples;

pub use asupersync_time::{TimeoutError, deadline, timeout};
pub use bracket::{Held, bracket};
pub use branch::{Branch, Plain, plain};
pub use branches::{Branches, Joinable, Rule, Uniform, Verdict};
pub use fallback::fallback;
pub use first_match::FirstMatch;
pub use hedge::{Attempt, Hedge, HedgeDelay, HedgeOptions};
pub use join::{join, settle, settle_with, try_join};
pub use map_reduce::{MapReduce, map_reduce};
pub use pipeline::Pipeline;
pub use policy::{
    AcquireRate, AdaptiveLimit, AdaptiveOptions, AnyFailure, Backoff, BreakerChange,
    BreakerMetrics, BreakerOptions, BreakerPermit, BreakerState, Bulkhead, BulkheadOptions,
    BulkheadPermit, CacheAside, CacheAt, CacheOptions, Call, Chaos, CircuitBreaker, CodelOptions,
    Direct, FailureRule, Fallback, Fault, Jitter, LimitAlgorithm, LoadShed, Observer, Policy,
    PolicyBuilder, PolicyError, PolicyEvent, PolicyLayer, PolicyService, Rate, RateAlgorithm,
    RateLimitError, RateLimitOptions, RateLimiter, Rejection, Retry, RetryBudget, RetryDecision,
    RetryRule, RetryStop, ServiceError, Stack, Strategy, Timeout, Transient, Window,
};
pub use quorum::{AllFailed, QuorumError, first_ok, quorum};
pub use race::{Selected, race, select, select_biased};
pub use stages::{Received, Source, Stage, StageOptions, Stages};
