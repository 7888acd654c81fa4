//! Capability sets: what a context lets its holder do, as a type.
//!
//! A set has four places, each [`On`] or [`Off`]: spawning, time, input and output, entropy.
//! [`All`] has them all; [`Cx::restrict`](crate::Cx::restrict) goes to a smaller set, and nothing goes back.

use std::marker::PhantomData;

/// A capability that is held.
#[derive(Clone, Copy, Debug)]
pub enum On {}
/// A capability that is not held.
#[derive(Clone, Copy, Debug)]
pub enum Off {}

/// A set of capabilities: to spawn, to wait for time, to do input and output, to draw entropy.
pub struct Caps<Spawn, Time, Io, Entropy> {
    places: PhantomData<(Spawn, Time, Io, Entropy)>,
}

/// Everything; what `Cx` alone means.
pub type All = Caps<On, On, On, On>;
/// Nothing but checkpoints, masks and waiting on channels and locks.
pub type Nothing = Caps<Off, Off, Off, Off>;
/// Time only.
pub type OnlyTime = Caps<Off, On, Off, Off>;
/// Input and output, and time for their timeouts.
pub type OnlyIo = Caps<Off, On, On, Off>;
/// Everything except input and output, blocking calls included.
pub type NoIo = Caps<On, On, Off, On>;
/// Everything except spawning.
pub type NoSpawn = Caps<Off, On, On, On>;

/// The set lets its holder open regions and spawn tasks.
#[diagnostic::on_unimplemented(
    message = "this context does not hold the capability to spawn",
    label = "needs a `Cx` whose capability set can spawn",
    note = "pass a `Cx<All>`, or restrict with a set whose first place is `On`, such as `caps::NoIo`"
)]
pub trait HasSpawn {}
/// The set lets its holder read the clock and wait for time.
#[diagnostic::on_unimplemented(
    message = "this context does not hold the capability to use time",
    label = "needs a `Cx` whose capability set has time",
    note = "pass a `Cx<All>`, or restrict with a set whose second place is `On`, such as `caps::OnlyTime`"
)]
pub trait HasTime {}
/// The set lets its holder do input and output, and call code that blocks.
#[diagnostic::on_unimplemented(
    message = "this context does not hold the capability to do input and output",
    label = "needs a `Cx` whose capability set has input and output",
    note = "pass a `Cx<All>`, or restrict with a set whose third place is `On`, such as `caps::OnlyIo`"
)]
pub trait HasIo {}
/// The set lets its holder draw entropy.
#[diagnostic::on_unimplemented(
    message = "this context does not hold the capability to draw entropy",
    label = "needs a `Cx` whose capability set has entropy",
    note = "pass a `Cx<All>`, or restrict with a set whose fourth place is `On`, such as `caps::NoIo`"
)]
pub trait HasEntropy {}

impl<T, I, E> HasSpawn for Caps<On, T, I, E> {}
impl<S, I, E> HasTime for Caps<S, On, I, E> {}
impl<S, T, E> HasIo for Caps<S, T, On, E> {}
impl<S, T, I> HasEntropy for Caps<S, T, I, On> {}

/// The set holds everything that `Smaller` does.
#[diagnostic::on_unimplemented(
    message = "a context cannot be widened: `{Self}` does not include all of `{Smaller}`",
    label = "restrict to a set that this context includes"
)]
pub trait Includes<Smaller> {}

/// One place is at least as large as another.
#[diagnostic::on_unimplemented(
    message = "a context cannot be widened: a capability that is `{Self}` cannot become `{Smaller}`",
    label = "restrict to a set that this context includes"
)]
pub trait AtLeast<Smaller> {}

impl AtLeast<On> for On {}
impl AtLeast<Off> for On {}
impl AtLeast<Off> for Off {}

impl<S, T, I, E, S2, T2, I2, E2> Includes<Caps<S2, T2, I2, E2>> for Caps<S, T, I, E>
where
    S: AtLeast<S2>,
    T: AtLeast<T2>,
    I: AtLeast<I2>,
    E: AtLeast<E2>,
{
}
