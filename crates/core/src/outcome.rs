//! The four ways in which work ends.
//!
//! Severity orders them: `Ok < Err < Cancelled < Panicked`.
//! Joining outcomes keeps the worse one, which makes severity a lattice and join associative, commutative in severity and idempotent.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;

use crate::panic::Caught;
use crate::{CancelReason, Cancelled, PanicPayload};

/// How work ended.
///
/// # Examples
/// ```
/// use asupersync_core::{Outcome, Severity};
/// let done: Outcome<u32, std::io::Error> = Outcome::Ok(4);
/// assert_eq!(done.severity(), Severity::Ok);
/// assert_eq!(done.map(|n| n * 2).ok(), Some(8));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an outcome may carry an error or a panic"]
pub enum Outcome<T, E> {
    /// It ended with a value.
    Ok(T),
    /// It ended with an error of its own.
    Err(E),
    /// It was cancelled.
    Cancelled(CancelReason),
    /// It panicked.
    Panicked(PanicPayload),
}

/// The order of the four ends, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// A value.
    Ok,
    /// An error.
    Err,
    /// A cancellation.
    Cancelled,
    /// A panic.
    Panicked,
}

/// The three ends that are not a value.
///
/// It deliberately does not implement [`std::error::Error`]: a task body may return `Result<T, OutcomeError<E>>`, whose outcome is then `Outcome<T, E>` with no further nesting.
/// It converts into a boxed error, and [`Outcome::flatten`] turns it into an application's own error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeError<E> {
    /// An error.
    Err(E),
    /// A cancellation.
    Cancelled(CancelReason),
    /// A panic.
    Panicked(PanicPayload),
}

impl<T, E> Outcome<T, E> {
    /// Where the outcome stands in the order of severity.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Ok(_) => Severity::Ok,
            Self::Err(_) => Severity::Err,
            Self::Cancelled(_) => Severity::Cancelled,
            Self::Panicked(_) => Severity::Panicked,
        }
    }

    /// Whether the work ended with a value.
    pub const fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }

    /// Whether the work was cancelled.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_))
    }

    /// The value, if there is one.
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Ok(value) => Some(value),
            Self::Err(_) | Self::Cancelled(_) | Self::Panicked(_) => None,
        }
    }

    /// The reason, if the work was cancelled.
    pub const fn cancel_reason(&self) -> Option<&CancelReason> {
        match self {
            Self::Cancelled(reason) => Some(reason),
            Self::Ok(_) | Self::Err(_) | Self::Panicked(_) => None,
        }
    }

    /// Applies `f` to the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Outcome<U, E> {
        match self {
            Self::Ok(value) => Outcome::Ok(f(value)),
            Self::Err(error) => Outcome::Err(error),
            Self::Cancelled(reason) => Outcome::Cancelled(reason),
            Self::Panicked(payload) => Outcome::Panicked(payload),
        }
    }

    /// Applies `f` to the error.
    pub fn map_err<F>(self, f: impl FnOnce(E) -> F) -> Outcome<T, F> {
        match self {
            Self::Ok(value) => Outcome::Ok(value),
            Self::Err(error) => Outcome::Err(f(error)),
            Self::Cancelled(reason) => Outcome::Cancelled(reason),
            Self::Panicked(payload) => Outcome::Panicked(payload),
        }
    }

    /// The outcome as a `Result`, for use with `?`.
    ///
    /// # Errors
    /// The error, cancellation or panic, as an [`OutcomeError`].
    pub fn into_result(self) -> Result<T, OutcomeError<E>> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Err(error) => Err(OutcomeError::Err(error)),
            Self::Cancelled(reason) => Err(OutcomeError::Cancelled(reason)),
            Self::Panicked(payload) => Err(OutcomeError::Panicked(payload)),
        }
    }

    /// The outcome as a `Result` in the application's own error type.
    ///
    /// # Errors
    /// The error; or the cancellation or the panic, converted.
    /// # Examples
    /// ```
    /// use asupersync_core::{Cancelled, Outcome, PanicPayload};
    /// #[derive(Debug, thiserror::Error)]
    /// enum AppError {
    ///     #[error(transparent)]
    ///     Cancelled(#[from] Cancelled),
    ///     #[error(transparent)]
    ///     Panicked(#[from] PanicPayload),
    /// }
    /// fn check(end: Outcome<u32, AppError>) -> Result<u32, AppError> {
    ///     Ok(end.flatten()? + 1)
    /// }
    /// assert!(check(Outcome::Panicked(PanicPayload::from_message("oops"))).is_err());
    /// ```
    pub fn flatten(self) -> Result<T, E>
    where
        E: From<Cancelled> + From<PanicPayload>,
    {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Err(error) => Err(error),
            Self::Cancelled(reason) => Err(Cancelled::new(reason).into()),
            Self::Panicked(payload) => Err(payload.into()),
        }
    }

    /// The HTTP status that a service answers with for this outcome: 200, `error_status(error)`, 499 or 500.
    pub fn http_status(&self, error_status: impl FnOnce(&E) -> u16) -> u16 {
        match self {
            Self::Ok(_) => 200,
            Self::Err(error) => error_status(error),
            Self::Cancelled(_) => 499,
            Self::Panicked(_) => 500,
        }
    }
}

/// The worse of two outcomes; on equal severity the left one, except that two values become a pair.
pub fn join_outcomes<A, B, E>(left: Outcome<A, E>, right: Outcome<B, E>) -> Outcome<(A, B), E> {
    match (left, right) {
        (Outcome::Ok(a), Outcome::Ok(b)) => Outcome::Ok((a, b)),
        (left, right) if left.severity() >= right.severity() => {
            left.map(|_| unreachable!("two values were joined above"))
        }
        (_, right) => right.map(|_| unreachable!("the worse outcome is not a value")),
    }
}

impl<E: fmt::Display> fmt::Display for OutcomeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Err(error) => error.fmt(f),
            Self::Cancelled(reason) => reason.fmt(f),
            Self::Panicked(payload) => payload.fmt(f),
        }
    }
}

impl<E> From<E> for OutcomeError<E> {
    fn from(error: E) -> Self {
        Self::Err(error)
    }
}

impl<E: Error + Send + Sync + 'static> From<OutcomeError<E>> for Box<dyn Error + Send + Sync> {
    fn from(error: OutcomeError<E>) -> Self {
        match error {
            OutcomeError::Err(error) => Box::new(error),
            OutcomeError::Cancelled(reason) => Box::new(Cancelled::new(reason)),
            OutcomeError::Panicked(payload) => Box::new(payload),
        }
    }
}

/// What a task body may return.
///
/// An [`Outcome`] stands for itself.
/// A `Result<T, E>` with a standard error becomes `Cancelled` or `Panicked` if a [`Cancelled`] or a [`PanicPayload`] stands anywhere in the error's source chain, and `Ok` or `Err` otherwise.
/// So `?` on a checkpoint does what it should with any error enum that keeps its sources; an [`io::Error`] made from one of the two counts as such a source.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a task body may return",
    label = "return a `Result<T, E>` where `E: std::error::Error`, or an `Outcome<T, E>`",
    note = "a task that cannot fail returns `Ok::<_, std::convert::Infallible>(value)` or an `Outcome`"
)]
pub trait IntoOutcome {
    /// The value's type.
    type Ok;
    /// The error's type.
    type Err;
    /// Converts into an outcome.
    fn into_outcome(self) -> Outcome<Self::Ok, Self::Err>;
}

impl<T, E> IntoOutcome for Outcome<T, E> {
    type Ok = T;
    type Err = E;

    fn into_outcome(self) -> Self {
        self
    }
}

impl<T, E: Error + 'static> IntoOutcome for Result<T, E> {
    type Ok = T;
    type Err = E;

    fn into_outcome(self) -> Outcome<T, E> {
        match self {
            Ok(value) => Outcome::Ok(value),
            Err(error) => classify(error),
        }
    }
}

impl<T, E> IntoOutcome for Result<T, OutcomeError<E>> {
    type Ok = T;
    type Err = E;

    fn into_outcome(self) -> Outcome<T, E> {
        match self {
            Ok(value) => Outcome::Ok(value),
            Err(OutcomeError::Err(error)) => Outcome::Err(error),
            Err(OutcomeError::Cancelled(reason)) => Outcome::Cancelled(reason),
            Err(OutcomeError::Panicked(payload)) => Outcome::Panicked(payload),
        }
    }
}

/// The value type of a task body's future.
pub type OkOf<Fut> = <<Fut as Future>::Output as IntoOutcome>::Ok;
/// The error type of a task body's future.
pub type ErrOf<Fut> = <<Fut as Future>::Output as IntoOutcome>::Err;

fn classify<T, E: Error + 'static>(error: E) -> Outcome<T, E> {
    // The commonest case by far; the reason is moved, since its count is shared between threads.
    let mut error = Some(error);
    if let Some(cancelled) = (&mut error as &mut dyn Any).downcast_mut::<Option<Cancelled>>()
        && let Some(cancelled) = cancelled.take()
    {
        return Outcome::Cancelled(cancelled.into_reason());
    }
    let Some(error) = error else {
        unreachable!("only a cancellation is taken out")
    };
    for link in links(&error) {
        if let Some(cancelled) = link.downcast_ref::<Cancelled>() {
            return Outcome::Cancelled(cancelled.reason().clone());
        }
        if let Some(reason) = link.downcast_ref::<CancelReason>() {
            return Outcome::Cancelled(reason.clone());
        }
        if let Some(payload) = link.downcast_ref::<PanicPayload>() {
            return Outcome::Panicked(payload.clone());
        }
        if let Some(caught) = link.downcast_ref::<Caught>() {
            return Outcome::Panicked(PanicPayload::from_caught(caught.clone()));
        }
    }
    Outcome::Err(error)
}

/// An error and what stands behind it, nearest first.
///
/// [`io::Error::source`] skips the error that it was made from; here that is a link like any other.
pub(crate) fn links<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |link| next_link(*link)).take(SOURCES_MAX)
}

fn next_link<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match link
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => link.source(),
    }
}

/// A source chain longer than this is not searched further; a cyclic chain must not hang a task's end.
const SOURCES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CancelKind, Origin, Time};

    #[derive(Debug, thiserror::Error)]
    enum Inner {
        #[error("stopped")]
        Stopped(#[source] Cancelled),
        #[error("disk full")]
        DiskFull,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("could not store")]
    struct Outer(#[source] Inner);

    fn reason() -> CancelReason {
        CancelReason::new(CancelKind::User, Origin::default(), Time::ZERO)
    }

    #[test]
    fn a_cancellation_deep_in_the_source_chain_is_a_cancellation() {
        let result: Result<(), Outer> = Err(Outer(Inner::Stopped(Cancelled::new(reason()))));
        assert_eq!(result.into_outcome().severity(), Severity::Cancelled);
    }

    #[test]
    fn a_transparent_variant_hides_neither_cancellation_nor_panic() {
        #[derive(Debug, thiserror::Error)]
        enum Transparent {
            #[error(transparent)]
            Cancelled(#[from] Cancelled),
            #[error(transparent)]
            Panicked(#[from] PanicPayload),
        }
        let check = |error: Transparent, expected| {
            assert_eq!(Err::<(), _>(error).into_outcome().severity(), expected);
        };
        check(Cancelled::new(reason()).into(), Severity::Cancelled);
        let payload = PanicPayload::from_message("oops");
        check(payload.into(), Severity::Panicked);
    }

    #[test]
    fn an_error_without_cancellation_in_its_chain_is_an_error() {
        let result: Result<(), Outer> = Err(Outer(Inner::DiskFull));
        assert_eq!(result.into_outcome().severity(), Severity::Err);
    }

    #[derive(Debug, thiserror::Error)]
    enum Service {
        #[error("could not read")]
        Read(#[from] io::Error),
    }

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Transparent(#[from] io::Error);

    fn severity_of<E: Error + 'static>(error: E) -> Severity {
        Err::<(), E>(error).into_outcome().severity()
    }

    #[test]
    fn a_cancellation_inside_an_io_error_is_a_cancellation() {
        let converted = || io::Error::from(Cancelled::new(reason()));
        let plain = || io::Error::other(Cancelled::new(reason()));
        assert_eq!(converted().kind(), io::ErrorKind::Other);
        assert_eq!(severity_of(converted()), Severity::Cancelled);
        assert_eq!(severity_of(plain()), Severity::Cancelled);
        assert_eq!(severity_of(Service::Read(converted())), Severity::Cancelled);
        assert_eq!(severity_of(Service::Read(plain())), Severity::Cancelled);
        assert_eq!(severity_of(Transparent(converted())), Severity::Cancelled);
        let nested = io::Error::other(Service::Read(plain()));
        assert_eq!(severity_of(nested), Severity::Cancelled);
    }

    #[test]
    fn a_panic_inside_an_io_error_is_a_panic() {
        let error = io::Error::other(PanicPayload::from_message("p"));
        assert_eq!(severity_of(Service::Read(error)), Severity::Panicked);
    }

    #[test]
    fn an_io_error_without_cancellation_is_an_error() {
        assert_eq!(severity_of(io::Error::from_raw_os_error(2)), Severity::Err);
        assert_eq!(severity_of(io::Error::other("no")), Severity::Err);
        assert_eq!(
            severity_of(Service::Read(io::ErrorKind::NotFound.into())),
            Severity::Err
        );
    }

    #[test]
    fn a_cancellation_can_be_found_in_an_error() {
        let error = Service::Read(Cancelled::new(reason()).into());
        assert_eq!(Cancelled::find_in(&error).unwrap().reason(), &reason());
        assert!(Cancelled::find_in(&Inner::DiskFull).is_none());
    }

    #[test]
    fn outcome_errors_flatten_without_nesting() {
        let result: Result<(), OutcomeError<Inner>> = Err(OutcomeError::Cancelled(reason()));
        let outcome: Outcome<(), Inner> = result.into_outcome();
        assert!(outcome.is_cancelled());
    }

    #[test]
    fn joining_keeps_the_worse_outcome() {
        let samples = |n: u8| -> Outcome<u8, &'static str> {
            match n {
                0 => Outcome::Ok(1),
                1 => Outcome::Err("e"),
                2 => Outcome::Cancelled(reason()),
                _ => Outcome::Panicked(PanicPayload::from_message("p")),
            }
        };
        for left in 0..4 {
            for right in 0..4 {
                let expected = samples(left).severity().max(samples(right).severity());
                assert_eq!(
                    join_outcomes(samples(left), samples(right)).severity(),
                    expected
                );
            }
        }
    }

    #[test]
    fn http_statuses_follow_the_outcome() {
        let status = |outcome: Outcome<(), u16>| outcome.http_status(|code| *code);
        assert_eq!(status(Outcome::Ok(())), 200);
        assert_eq!(status(Outcome::Err(404)), 404);
        assert_eq!(status(Outcome::Cancelled(reason())), 499);
        assert_eq!(
            status(Outcome::Panicked(PanicPayload::from_message("p"))),
            500
        );
    }
}
