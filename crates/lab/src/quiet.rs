//! Panics that a search looks for are not told one by one.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// While it lives, panics on this thread print nothing; the process's panic hook sees all others.
pub(crate) struct Quiet {
    was: bool,
}

impl Quiet {
    pub(crate) fn new() -> Self {
        HOOK.call_once(|| {
            let hook = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // A thread that is ending has no flag any more, and is nobody's search.
                if !QUIET.try_with(Cell::get).unwrap_or_default() {
                    hook(info);
                }
            }));
        });
        Self {
            was: QUIET.replace(true),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(self.was);
    }
}
