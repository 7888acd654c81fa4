//! What can stand in a ring: a value that is one word.

/// A value that can be kept as one word, so that a thief may look at a place of a ring while its owner fills it again.
///
/// # Safety
/// [`from_word`](Self::from_word) makes the value whose [`into_word`](Self::into_word) gave the word, also on another thread.
pub unsafe trait Entry: Send {
    /// Gives the value up for its word.
    fn into_word(self) -> *mut ();

    /// Takes the value back.
    ///
    /// # Safety
    /// `word` is of [`into_word`](Self::into_word), and nobody has taken its value back before.
    unsafe fn from_word(word: *mut ()) -> Self;
}

// SAFETY: the word is the pointer itself.
unsafe impl<T: Send> Entry for Box<T> {
    fn into_word(self) -> *mut () {
        Self::into_raw(self).cast()
    }

    unsafe fn from_word(word: *mut ()) -> Self {
        // SAFETY: the word is `into_raw`'s, and its box was not made again, by the caller's promise.
        unsafe { Self::from_raw(word.cast()) }
    }
}
