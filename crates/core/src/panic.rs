//! A panic that was caught at a task's boundary.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;

/// What a task panicked with.
///
/// Cheap to clone: clones share the payload.
/// It is an error, so that an application's error enum can carry it (`#[from] PanicPayload`); a body that returns such an error has the outcome `Panicked` again.
/// # Examples
/// ```
/// use asupersync_core::PanicPayload;
/// let caught = std::panic::catch_unwind(|| panic!("disk {} is gone", 7)).unwrap_err();
/// assert_eq!(PanicPayload::new(caught).message(), "disk 7 is gone");
/// ```
#[derive(Clone)]
pub struct PanicPayload(Caught);

/// What is shared; an error of its own, to be a source.
#[derive(Clone)]
pub(crate) struct Caught(Arc<Inner>);

struct Inner {
    message: String,
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl PanicPayload {
    /// Wraps what `catch_unwind` returned.
    #[must_use]
    pub fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = match (
            payload.downcast_ref::<&str>(),
            payload.downcast_ref::<String>(),
        ) {
            (Some(text), _) => (*text).to_owned(),
            (None, Some(text)) => text.clone(),
            (None, None) => "a panic without a text message".to_owned(),
        };
        Self(Caught(Arc::new(Inner {
            message,
            payload: Mutex::new(Some(payload)),
        })))
    }

    /// A payload with a message and nothing behind it.
    #[must_use]
    pub fn from_message(message: impl Into<String>) -> Self {
        Self(Caught(Arc::new(Inner {
            message: message.into(),
            payload: Mutex::new(None),
        })))
    }

    pub(crate) const fn from_caught(caught: Caught) -> Self {
        Self(caught)
    }

    /// The panic's message, or a placeholder if the payload was not text.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.0.message
    }

    /// Takes the original payload out, for `std::panic::resume_unwind`; the first caller among all clones gets it.
    #[must_use]
    pub fn take(&self) -> Option<Box<dyn Any + Send>> {
        self.0
            .0
            .payload
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}

/// Two payloads are equal if their messages are.
impl PartialEq for PanicPayload {
    fn eq(&self, other: &Self) -> bool {
        self.message() == other.message()
    }
}

impl Eq for PanicPayload {}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PanicPayload")
            .field(&self.message())
            .finish()
    }
}

impl fmt::Debug for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caught").field(&self.0.message).finish()
    }
}

impl fmt::Display for Caught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0.message)
    }
}

impl std::error::Error for Caught {}

impl fmt::Display for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is shared is the source, so that a `#[error(transparent)]` variant still shows that this is a panic.
impl std::error::Error for PanicPayload {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_taken_once_among_clones() {
        let first = PanicPayload::new(Box::new(7_u32));
        let second = first.clone();
        assert_eq!(
            second.take().and_then(|p| p.downcast::<u32>().ok()),
            Some(Box::new(7))
        );
        assert!(first.take().is_none());
    }
}
