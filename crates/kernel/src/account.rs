//! How many obligations a node has open.
//!
//! The problem: nearly all obligations are reserved and settled by whoever polls their holder, and pay for those that are not.
//! So there are two counts: one that only the poller touches, with plain loads and stores, and one for everybody else.
//!
//! # Invariants
//! - What is open is the sum of both; either may be negative alone, if one side reserved what the other settled.
//! - A node is polled by one thread at a time, and what one poll wrote the next one sees; so the poller's count needs no exchange.
//! - The account is closed once, by whoever ends the holder; from then on it counts who still has to hear that.
//! - What is open does not keep its holder alive, since the holder's end is what it waits for; after that the last to hear of it does.

use crate::primitive::{AtomicI32, AtomicU32, Ordering};

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
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            own: AtomicI32::new(0),
            afar: AtomicU32::new(ZERO),
        }
    }

    /// One more; false if the account is closed. `is_poller` says that the caller polls the holder right now.
    #[inline]
    pub(crate) fn add(&self, is_poller: bool) -> bool {
        if is_poller && !self.is_closed() {
            self.change_own(1);
            return true;
        }
        self.change_afar(1)
    }

    /// One less; false if the account is closed.
    #[inline]
    pub(crate) fn remove(&self, is_poller: bool) -> bool {
        if is_poller && !self.is_closed() {
            self.change_own(-1);
            return true;
        }
        self.change_afar(-1)
    }

    /// One more, for the poller of a holder whose account is open.
    #[inline]
    pub(crate) fn add_own(&self) {
        self.change_own(1);
    }

    /// One less, for the poller of the holder; false if the account is closed.
    #[inline]
    pub(crate) fn remove_own(&self) -> bool {
        let is_open = !self.is_closed();
        if is_open {
            self.change_own(-1);
        }
        is_open
    }

    /// Ends the account; what was open, or nothing if it was closed before.
    ///
    /// If something is open, `keep` is called before anybody can hear of the end.
    pub(crate) fn close(&self, keep: impl FnOnce()) -> Closing {
        let mut keep = Some(keep);
        let mut afar = self.afar.load(Ordering::Acquire);
        loop {
            if afar & CLOSED != 0 {
                let is_kept = keep.is_none();
                return Closing { open: 0, is_kept };
            }
            let open = self.open(afar);
            if open > 0
                && let Some(keep) = keep.take()
            {
                keep();
            }
            let closed = CLOSED | open;
            match self
                .afar
                .compare_exchange_weak(afar, closed, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    let is_kept = keep.is_none();
                    return Closing { open, is_kept };
                }
                Err(seen) => afar = seen,
            }
        }
    }

    /// As [`close`](Self::close), where nothing is open and nobody else can change that.
    #[inline]
    pub(crate) fn close_alone(&self) {
        debug_assert!(self.is_clear(), "nothing is open");
        self.afar.store(CLOSED, Ordering::Release);
    }

    /// One of those that were open at the end has heard of it; true for the last.
    pub(crate) fn heard(&self) -> bool {
        let before = self.afar.fetch_sub(1, Ordering::AcqRel);
        before == CLOSED | 1
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.afar.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether nothing is open; asked by the poller, or by who alone is left.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        let afar = self.afar.load(Ordering::Acquire);
        afar & CLOSED != 0 || self.open(afar) == 0
    }

    #[inline]
    fn open(&self, afar: u32) -> u32 {
        let own = self.own.load(Ordering::Relaxed);
        own.cast_unsigned().wrapping_add(afar).wrapping_sub(ZERO)
    }

    #[inline]
    fn change_own(&self, change: i32) {
        let own = self.own.load(Ordering::Relaxed);
        self.own.store(own.wrapping_add(change), Ordering::Relaxed);
    }

    fn change_afar(&self, change: i32) -> bool {
        let mut current = self.afar.load(Ordering::Relaxed);
        while current & CLOSED == 0 {
            match self.afar.compare_exchange_weak(
                current,
                current.wrapping_add_signed(change),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(seen) => current = seen,
            }
        }
        false
    }
}

/// How an account ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closing {
    pub(crate) open: u32,
    /// Whether `keep` was called, also if all was settled after that.
    pub(crate) is_kept: bool,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Reserves (`+`) and settles (`-`), as the poller (`o`) or from afar (`a`), and closes.
    fn open_after(steps: &str) -> u32 {
        let account = Account::new();
        for step in steps.split_whitespace() {
            let is_poller = step.ends_with('o');
            let done = if step.starts_with('+') {
                account.add(is_poller)
            } else {
                account.remove(is_poller)
            };
            assert!(done);
        }
        let is_clear = account.is_clear();
        let mut kept = 0;
        let Closing { open, is_kept } = account.close(|| kept += 1);
        assert_eq!(is_clear, open == 0, "{steps}");
        assert_eq!(kept, u32::from(open > 0));
        assert_eq!(is_kept, kept > 0);
        assert_eq!(account.close(|| ()).open, 0, "it is closed once");
        let heard = (0..open).map(|_| account.heard());
        assert_eq!(heard.filter(|last| *last).count(), kept as usize);
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
        assert!(account.add(true));
        assert_eq!(account.close(|| ()).open, 1);
        for is_poller in [true, false] {
            assert!(!account.remove(is_poller));
            assert!(!account.add(is_poller));
        }
        assert!(account.heard(), "none of these has changed the count");
        assert!(account.is_closed());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::state::State;
    use loom::sync::Arc;
    use loom::thread;

    /// A holder that is freed when it has ended and nobody has to hear of that any more.
    struct Holder {
        account: Account,
        references: AtomicU32,
        freed: AtomicU32,
    }

    impl Holder {
        /// With one reference, and two obligations.
        fn new() -> Arc<Self> {
            let holder = Self {
                account: Account::new(),
                references: AtomicU32::new(1),
                freed: AtomicU32::new(0),
            };
            assert!(holder.account.add(true) && holder.account.add(true));
            Arc::new(holder)
        }

        fn release(&self) {
            if self.references.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.freed.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn end(&self) -> u32 {
            let keep = || {
                self.references.fetch_add(1, Ordering::Relaxed);
            };
            let Closing { open, is_kept } = self.account.close(keep);
            if open == 0 && is_kept {
                self.release();
            }
            self.release();
            open
        }

        /// Settles from afar; whether it was in time.
        fn settle(&self) -> bool {
            let in_time = self.account.remove(false);
            if !in_time {
                assert_eq!(
                    self.freed.load(Ordering::Relaxed),
                    0,
                    "it is kept until then"
                );
                if self.account.heard() {
                    self.release();
                }
            }
            in_time
        }
    }

    #[test]
    fn loom_a_holder_is_freed_once_and_not_before_the_last_has_heard_of_its_end() {
        loom::model(|| {
            let holder = Holder::new();
            let settlers: Vec<_> = (0..2)
                .map(|_| {
                    let holder = Arc::clone(&holder);
                    thread::spawn(move || holder.settle())
                })
                .collect();
            let open = holder.end();
            let in_time = settlers
                .into_iter()
                .map(|settler| u32::from(settler.join().unwrap()))
                .sum::<u32>();
            assert_eq!(in_time + open, 2);
            assert_eq!(holder.freed.load(Ordering::Relaxed), 1);
        });
    }

    /// A node as its references are dropped: the only one without an exchange, if nothing is open.
    struct Node {
        state: State,
        account: Account,
        freed: AtomicU32,
    }

    impl Node {
        fn drop_reference(&self) {
            assert_eq!(self.freed.load(Ordering::Relaxed), 0, "it is alive");
            let is_sole = self.state.has_one_reference() && self.account.is_clear();
            if is_sole || self.state.release() && !self.keep() {
                self.freed.fetch_add(1, Ordering::Relaxed);
            }
        }

        /// Whether something open keeps the node, whose last reference was released.
        fn keep(&self) -> bool {
            if self.account.is_clear() {
                return false;
            }
            let Closing { open, is_kept } = self.account.close(|| self.state.revive());
            if open == 0 && is_kept {
                self.state.release();
            }
            open > 0
        }

        /// Settles from afar, with the reference of an obligation that the host is told of.
        fn settle_told(&self) {
            if !self.account.remove(false) && self.account.heard() {
                self.drop_reference();
            }
            self.drop_reference();
        }
    }

    /// Ends a node as `settle_leaks` does: by a store, if no context is left; what was open.
    fn end(node: &Node) -> u32 {
        if node.state.is_known_to_owners_only() && node.account.is_clear() {
            node.account.close_alone();
            return 0;
        }
        let Closing { open, is_kept } = node.account.close(|| node.state.retain());
        if open == 0 && is_kept {
            node.drop_reference();
        }
        open
    }

    #[test]
    fn loom_a_context_that_is_left_reserves_before_the_end_or_is_refused() {
        loom::model(|| {
            let node = Arc::new(Node {
                // The context has the second.
                state: State::new_idle(2),
                account: Account::new(),
                freed: AtomicU32::new(0),
            });
            let other = Arc::clone(&node);
            let context = thread::spawn(move || {
                let is_counted = other.account.add(false);
                other.drop_reference();
                is_counted
            });
            let open = end(&node);
            node.drop_reference();
            let is_counted = context.join().unwrap();
            // What came before the end was counted by it, and keeps the node; nothing else was taken.
            assert_eq!(open, u32::from(is_counted));
            assert_eq!(node.freed.load(Ordering::Relaxed), 1 - open);
        });
    }

    #[test]
    fn loom_a_node_that_never_ends_is_freed_once_whoever_settles_last() {
        loom::model(|| {
            let node = Arc::new(Node {
                // The obligation has the second.
                state: State::new_idle(2),
                account: Account::new(),
                freed: AtomicU32::new(0),
            });
            assert!(node.account.add(true));
            let other = Arc::clone(&node);
            let settler = thread::spawn(move || other.settle_told());
            node.drop_reference();
            settler.join().unwrap();
            assert_eq!(node.freed.load(Ordering::Relaxed), 1);
        });
    }
}
