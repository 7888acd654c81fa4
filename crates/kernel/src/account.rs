//! How many obligations a node has open.
//!
//! The problem: nearly all obligations are reserved and settled by whoever polls their holder, and pay for those that are not.
//! So there are two counts: one that only the poller touches, with plain loads and stores, and one for everybody else.
//!
//! # Invariants
//! - What is open is the sum of both; either may be negative alone, if one side reserved what the other settled.
//! - A node is polled by one thread at a time, and what one poll wrote the next one sees; so the poller's count needs no exchange.
//! - The account is closed once, by whoever ends the holder; from then on nothing can be settled.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Set in the count of the others when the holder has ended.
const CLOSED: u32 = 1 << 31;
/// What the count of the others is counted from, so that it may fall.
const ZERO: u32 = 1 << 30;

/// The open obligations of one node.
pub(crate) struct Account {
    own: AtomicI32,
    afar: AtomicU32,
}

impl Account {
    pub(crate) const fn new() -> Self {
        Self {
            own: AtomicI32::new(0),
            afar: AtomicU32::new(ZERO),
        }
    }

    /// One more; `is_poller` says that the caller polls the holder right now.
    pub(crate) fn add(&self, is_poller: bool) {
        if is_poller {
            self.change_own(1);
        } else {
            self.afar.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One less; false if the account was closed before.
    pub(crate) fn remove(&self, is_poller: bool) -> bool {
        if is_poller {
            let is_open = !self.is_closed();
            if is_open {
                self.change_own(-1);
            }
            return is_open;
        }
        let mut current = self.afar.load(Ordering::Relaxed);
        while current & CLOSED == 0 {
            match self.afar.compare_exchange_weak(
                current,
                current - 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => current = seen,
            }
        }
        false
    }

    /// Ends the account; what was open, or nothing if it was closed before.
    pub(crate) fn close(&self) -> u32 {
        let afar = self.afar.fetch_or(CLOSED, Ordering::AcqRel);
        if afar & CLOSED != 0 {
            return 0;
        }
        let open = self.own.load(Ordering::Relaxed).wrapping_add_unsigned(afar);
        u32::try_from(open.wrapping_sub_unsigned(ZERO)).unwrap_or(0)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.afar.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether nothing is open; asked by the poller.
    pub(crate) fn is_clear(&self) -> bool {
        let own = self.own.load(Ordering::Relaxed);
        own.wrapping_add_unsigned(self.afar.load(Ordering::Acquire) & !CLOSED) == ZERO.cast_signed()
    }

    fn change_own(&self, change: i32) {
        let own = self.own.load(Ordering::Relaxed);
        self.own.store(own.wrapping_add(change), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reserves (`+`) and settles (`-`), as the poller (`o`) or from afar (`a`), and closes.
    fn open_after(steps: &str) -> u32 {
        let account = Account::new();
        for step in steps.split_whitespace() {
            let is_poller = step.ends_with('o');
            if step.starts_with('+') {
                account.add(is_poller);
            } else {
                assert!(account.remove(is_poller));
            }
        }
        let is_clear = account.is_clear();
        let open = account.close();
        assert_eq!(is_clear, open == 0, "{steps}");
        assert_eq!(account.close(), 0, "it is closed once");
        open
    }

    #[test]
    fn what_is_open_is_the_sum_of_both_sides() {
        for (steps, open) in [
            ("", 0),
            ("+o", 1),
            ("+a", 1),
            ("+o +a +o", 3),
            ("+o -a", 0),
            ("+a -o", 0),
            ("+a +a -o -o +o", 1),
            ("+o +o -a +a -o", 1),
        ] {
            assert_eq!(open_after(steps), open, "{steps}");
        }
    }

    #[test]
    fn a_closed_account_settles_nothing() {
        let account = Account::new();
        account.add(true);
        assert_eq!(account.close(), 1);
        assert!(!account.remove(true));
        assert!(!account.remove(false));
        assert!(account.is_closed());
    }
}
