//! A cell that knows how to make its value.

use std::fmt;

use asupersync_core::Cancelled;
use asupersync_kernel::Cx;

use super::{InitError, OnceCell};

/// A value that is made by its own function when it is first asked for.
///
/// The function may run several times: until one run succeeds.
/// # Examples
/// ```
/// use asupersync_core::Cancelled;
/// use asupersync_kernel::Cx;
/// use asupersync_sync::{InitError, Lazy};
/// async fn greet(cx: &Cx) -> Result<usize, InitError<Cancelled>> {
///     let greeting = Lazy::new(async |cx: Cx| {
///         cx.yield_now().await?;
///         Ok("hello".to_owned())
///     });
///     Ok(greeting.try_get(cx).await?.len())
/// }
/// ```
pub struct Lazy<T, F> {
    cell: OnceCell<T>,
    init: F,
}

impl<T, F> Lazy<T, F> {
    crate::primitive::const_unless_loom! {
        /// Nothing is made yet.
        pub fn new(init: F) -> Self {
            Self {
                cell: OnceCell::new(),
                init,
            }
        }
    }

    /// The value, if it was made.
    #[must_use]
    pub fn peek(&self) -> Option<&T> {
        self.cell.get()
    }

    /// The value, if it was made.
    #[must_use]
    pub fn into_inner(self) -> Option<T> {
        self.cell.into_inner()
    }

    /// The value, made now if it was not.
    ///
    /// The function gets the context of the call that makes the value.
    /// # Errors
    /// As [`OnceCell::get_or_init`].
    /// # Cancel safety
    /// Requeues: a call that was making the value drops the function's future, and the next in line runs the function anew.
    pub async fn get<C, Fut>(&self, cx: &Cx<C>) -> Result<&T, Cancelled>
    where
        F: Fn(Cx<C>) -> Fut,
        Fut: Future<Output = T>,
    {
        self.cell.get_or_init(cx, || (self.init)(cx.clone())).await
    }

    /// The value, made now if it was not, by a function that may fail.
    ///
    /// # Errors
    /// As [`OnceCell::get_or_try_init`].
    /// # Cancel safety
    /// Requeues: a call that was making the value drops the function's future, and the next in line runs the function anew.
    pub async fn try_get<C, Fut, E>(&self, cx: &Cx<C>) -> Result<&T, InitError<E>>
    where
        F: Fn(Cx<C>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.cell
            .get_or_try_init(cx, || (self.init)(cx.clone()))
            .await
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Lazy<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy")
            .field("value", &self.peek())
            .finish_non_exhaustive()
    }
}
