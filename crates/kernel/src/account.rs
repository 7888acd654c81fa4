//! How many obligations a node has open.
//!
//! The problem: nearly all obligations are reserved and settled by whoever polls their holder, and pay for those that are not.
//! So there are two counts: one that only the poller touches, with plain loads and stores, and one for everybody else.
//!
//! # Invariants
//! - What is open is the sum of both; either may be negative alone, if one side reserved what the other settled.
//! - A node is polled by one thread at a time, and what one poll wrote the next one sees; so the poller's count needs no exchange.
//!   It is a byte whose highest bit says that there is something else to do: the account is closed, or the count has no more room and goes over into the other.
//! - The account is closed once, by whoever ends the holder; from then on it counts who still has to hear that.
//! - What is open does not keep its holder alive, since the holder's end is what it waits for; after that the last to hear of it does.

use crate::primitive::{AtomicU8, AtomicU32, Ordering};

/// Set in the count of the others when the holder has ended.
const CLOSED: u32 = 1 << 31;
/// What the count of the others is counted from, so that it may fall.
const ZERO: u32 = 1 << 30;

/// What the poller's count is counted from.
const OWN_ZERO: u8 = 1 << 6;
/// Set in what a change of the poller's count would give if that is out of bounds, or closed.
const OUT_OF_BOUNDS: u8 = 1 << 7;
/// Stands for the poller's count when the account is closed; a step from it is out of bounds, too.
const OWN_CLOSED: u8 = OUT_OF_BOUNDS | OWN_ZERO;

/// What the poller of a node counts.
pub(crate) struct Own(AtomicU8);

impl Own {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(OWN_ZERO))
    }
}

/// What everybody else counts.
pub(crate) struct Afar(AtomicU32);

impl Afar {
    #[inline]
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(ZERO))
    }
}

/// A node, or whatever else has room for the two counts.
pub(crate) trait Counts {
    fn own(&self) -> &Own;
    fn afar(&self) -> &Afar;
}

/// The open obligations of one node.
pub(crate) struct Account<'a, N>(&'a N);

impl<N> Clone for Account<'_, N> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Account<'_, N> {}

impl<'a, N: Counts> Account<'a, N> {
    #[inline]
    pub(crate) const fn of(node: &'a N) -> Self {
        Self(node)
    }

    #[inline]
    fn own(self) -> &'a AtomicU8 {
        &self.0.own().0
    }

    #[inline]
    fn afar(self) -> &'a AtomicU32 {
        &self.0.afar().0
    }

    /// One more; false if the account is closed. `is_poller` says that the caller polls the holder right now.
    #[inline]
    pub(crate) fn add(self, is_poller: bool) -> bool {
        is_poller && self.add_own() || self.change_afar(1)
    }

    /// One less; false if the account is closed.
    #[inline]
    pub(crate) fn remove(self, is_poller: bool) -> bool {
        is_poller && self.remove_own() || self.change_afar(-1)
    }

    /// One more, for the poller of the holder; false if the account is closed.
    #[inline]
    pub(crate) fn add_own(self) -> bool {
        self.change_own(1)
    }

    /// One less, for the poller of the holder; false if the account is closed.
    #[inline]
    pub(crate) fn remove_own(self) -> bool {
        self.change_own(-1)
    }

    /// Ends the account; what was open, or nothing if it was closed before.
    ///
    /// If something is open, `keep` is called before anybody can hear of the end.
    pub(crate) fn close(self, keep: impl FnOnce()) -> Closing {
        let mut keep = Some(keep);
        let own = self.own().load(Ordering::Relaxed);
        // Before the exchange, after which the last to hear may free the holder.
        self.own().store(OWN_CLOSED, Ordering::Relaxed);
        let mut afar = self.afar().load(Ordering::Acquire);
        loop {
            if afar & CLOSED != 0 {
                let is_kept = keep.is_none();
                return Closing { open: 0, is_kept };
            }
            let open = open(own, afar);
            if open > 0
                && let Some(keep) = keep.take()
            {
                keep();
            }
            let closed = CLOSED | open;
            match self.afar().compare_exchange_weak(
                afar,
                closed,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
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
    pub(crate) fn close_alone(self) {
        debug_assert!(self.is_clear(), "nothing is open");
        self.own().store(OWN_CLOSED, Ordering::Relaxed);
        self.afar().store(CLOSED, Ordering::Release);
    }

    /// One of those that were open at the end has heard of it; true for the last.
    pub(crate) fn heard(self) -> bool {
        let before = self.afar().fetch_sub(1, Ordering::AcqRel);
        before == CLOSED | 1
    }

    #[inline]
    pub(crate) fn is_closed(self) -> bool {
        self.afar().load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether nothing is open; asked by the poller, or by who alone is left.
    #[inline]
    pub(crate) fn is_clear(self) -> bool {
        let afar = self.afar().load(Ordering::Acquire);
        afar & CLOSED != 0 || open(self.own().load(Ordering::Relaxed), afar) == 0
    }

    #[inline]
    fn change_own(self, change: i8) -> bool {
        let own = self.own().load(Ordering::Relaxed);
        let changed = own.wrapping_add_signed(change);
        if changed & OUT_OF_BOUNDS != 0 {
            return self.hand_over(change);
        }
        self.own().store(changed, Ordering::Relaxed);
        true
    }

    /// Adds what the poller counted, and what it has no room for, to what the others did; false if the account is closed.
    #[cold]
    fn hand_over(self, change: i8) -> bool {
        if self.is_closed() {
            return false;
        }
        let own = self.own().load(Ordering::Relaxed);
        self.own().store(OWN_ZERO, Ordering::Relaxed);
        let counted = i32::from(own) - i32::from(OWN_ZERO);
        self.change_afar(counted + i32::from(change))
    }

    fn change_afar(self, change: i32) -> bool {
        let mut current = self.afar().load(Ordering::Relaxed);
        while current & CLOSED == 0 {
            match self.afar().compare_exchange_weak(
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

/// What is open, by both counts.
#[inline]
fn open(own: u8, afar: u32) -> u32 {
    let both = afar.wrapping_add(own.into());
    both.wrapping_sub(ZERO + u32::from(OWN_ZERO))
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

    struct Holder(Own, Afar);

    impl Counts for Holder {
        fn own(&self) -> &Own {
            &self.0
        }

        fn afar(&self) -> &Afar {
            &self.1
        }
    }

    impl Holder {
        fn new() -> Self {
            Self(Own::new(), Afar::new())
        }

        fn account(&self) -> Account<'_, Self> {
            Account::of(self)
        }
    }

    /// Reserves (`+`) and settles (`-`), as the poller (`o`) or from afar (`a`), and closes.
    fn open_after(steps: &str) -> u32 {
        let holder = Holder::new();
        let account = holder.account();
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
    fn the_poller_may_hold_more_than_its_own_count_has_room_for() {
        let holder = Holder::new();
        let account = holder.account();
        for _ in 0..1_000 {
            assert!(account.add(true));
        }
        for _ in 0..400 {
            assert!(account.remove(false));
        }
        for _ in 0..600 {
            assert!(!account.is_clear());
            assert!(account.remove(true));
        }
        assert!(account.is_clear());
        for is_poller in [true, false] {
            for _ in 0..500 {
                assert!(account.remove(!is_poller));
            }
            for _ in 0..500 {
                assert!(account.add(is_poller));
            }
            assert!(account.is_clear());
        }
        assert!(account.add(true));
        assert_eq!(account.close(|| ()).open, 1);
    }

    #[test]
    fn a_closed_account_settles_nothing() {
        let holder = Holder::new();
        let account = holder.account();
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
        own: Own,
        afar: Afar,
        references: AtomicU32,
        freed: AtomicU32,
    }

    impl Counts for Holder {
        fn own(&self) -> &Own {
            &self.own
        }

        fn afar(&self) -> &Afar {
            &self.afar
        }
    }

    impl Holder {
        fn account(&self) -> Account<'_, Self> {
            Account::of(self)
        }

        /// With one reference, and two obligations.
        fn new() -> Arc<Self> {
            let holder = Self {
                own: Own::new(),
                afar: Afar::new(),
                references: AtomicU32::new(1),
                freed: AtomicU32::new(0),
            };
            assert!(holder.account().add(true) && holder.account().add(true));
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
            let Closing { open, is_kept } = self.account().close(keep);
            if open == 0 && is_kept {
                self.release();
            }
            self.release();
            open
        }

        /// Settles from afar; whether it was in time.
        fn settle(&self) -> bool {
            let in_time = self.account().remove(false);
            if !in_time {
                assert_eq!(
                    self.freed.load(Ordering::Relaxed),
                    0,
                    "it is kept until then"
                );
                if self.account().heard() {
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
        own: Own,
        afar: Afar,
        freed: AtomicU32,
    }

    impl Counts for Node {
        fn own(&self) -> &Own {
            &self.own
        }

        fn afar(&self) -> &Afar {
            &self.afar
        }
    }

    impl Node {
        fn account(&self) -> Account<'_, Self> {
            Account::of(self)
        }

        fn drop_reference(&self) {
            assert_eq!(self.freed.load(Ordering::Relaxed), 0, "it is alive");
            let is_sole = self.state.has_one_reference() && self.account().is_clear();
            if is_sole || self.state.release() && !self.keep() {
                self.freed.fetch_add(1, Ordering::Relaxed);
            }
        }

        /// Whether something open keeps the node, whose last reference was released.
        fn keep(&self) -> bool {
            if self.account().is_clear() {
                return false;
            }
            let Closing { open, is_kept } = self.account().close(|| self.state.revive());
            if open == 0 && is_kept {
                self.state.release();
            }
            open > 0
        }

        /// Settles from afar, with the reference of an obligation that the host is told of.
        fn settle_told(&self) {
            if !self.account().remove(false) && self.account().heard() {
                self.drop_reference();
            }
            self.drop_reference();
        }
    }

    /// Ends a node as `settle_leaks` does: by a store, if no context is left; what was open.
    fn end(node: &Node) -> u32 {
        if node.state.is_known_to_owners_only() && node.account().is_clear() {
            node.account().close_alone();
            return 0;
        }
        let Closing { open, is_kept } = node.account().close(|| node.state.retain());
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
                own: Own::new(),
                afar: Afar::new(),
                freed: AtomicU32::new(0),
            });
            let other = Arc::clone(&node);
            let context = thread::spawn(move || {
                let is_counted = other.account().add(false);
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
                own: Own::new(),
                afar: Afar::new(),
                freed: AtomicU32::new(0),
            });
            assert!(node.account().add(true));
            let other = Arc::clone(&node);
            let settler = thread::spawn(move || other.settle_told());
            node.drop_reference();
            settler.join().unwrap();
            assert_eq!(node.freed.load(Ordering::Relaxed), 1);
        });
    }
}
