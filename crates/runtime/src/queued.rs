//! A task in the scheduler's queues.

use std::ptr::NonNull;

use asupersync_kernel::Runnable;
use asupersync_sched::Entry;

/// What the kernel gave the host to run.
pub(crate) struct Queued(pub(crate) Runnable);

// SAFETY: the word is the entry's own, which `from_raw` makes the entry from.
unsafe impl Entry for Queued {
    fn into_word(self) -> *mut () {
        self.0.into_raw().as_ptr()
    }

    unsafe fn from_word(word: *mut ()) -> Self {
        // SAFETY: `into_raw` gives no null.
        let word = unsafe { NonNull::new_unchecked(word) };
        // SAFETY: by the caller's promise the word is `into_raw`'s, and is taken back once.
        Self(unsafe { Runnable::from_raw(word) })
    }
}
