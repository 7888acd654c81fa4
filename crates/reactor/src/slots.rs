//! Which source a token of the operating system's means.
//!
//! # Problem
//! An event may be on its way while its source is dropped and another takes its place.
//!
//! # Invariants
//! A token carries the place and the place's generation; freeing a place raises the generation, so that a late event finds nothing.
//! No token of a source equals [`WAKE`] or [`ALARM`].

use std::sync::Arc;

use mio::{Interest, Token};

use crate::ReactorError;
use crate::readiness::IoState;

/// The token of the reactor's own waker.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// The token of the precise timer.
pub(crate) const ALARM: Token = Token(usize::MAX - 1);

const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
/// The two highest indices belong to [`WAKE`] and [`ALARM`].
const SOURCES_MAX: usize = INDEX_MASK - 1;

#[derive(Default)]
struct Slot {
    generation: usize,
    state: Option<Arc<IoState>>,
}

/// All sources of a reactor.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
    closed: bool,
}

impl Slots {
    pub(crate) fn insert(
        &mut self,
        interest: Interest,
    ) -> Result<(Token, Arc<IoState>), ReactorError> {
        if self.closed {
            return Err(ReactorError::Closed);
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() == SOURCES_MAX => {
                return Err(ReactorError::TooManySources { limit: SOURCES_MAX });
            }
            None => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
        };
        let state = Arc::new(IoState::new(interest));
        let slot = &mut self.slots[index];
        debug_assert!(slot.state.is_none());
        slot.state = Some(Arc::clone(&state));
        Ok((Token(index | (slot.generation << INDEX_BITS)), state))
    }

    /// The source that a token names, unless it is gone.
    pub(crate) fn get(&self, token: Token) -> Option<&IoState> {
        let slot = self.slots.get(token.0 & INDEX_MASK)?;
        if slot.generation != token.0 >> INDEX_BITS {
            return None;
        }
        slot.state.as_deref()
    }

    pub(crate) fn remove(&mut self, token: Token) {
        debug_assert!(self.get(token).is_some(), "removed twice");
        let index = token.0 & INDEX_MASK;
        let slot = &mut self.slots[index];
        slot.state = None;
        // Wraps after 2^32 sources in one place (2^16 where pointers have 32 bits).
        slot.generation = (slot.generation + 1) & INDEX_MASK;
        self.free.push(index);
    }

    /// Admits no more sources and gives those that exist.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = &IoState> {
        self.closed = true;
        self.slots.iter().filter_map(|slot| slot.state.as_deref())
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_for_a_place_in_new_hands_finds_nothing() {
        let mut slots = Slots::default();
        let (old, _) = slots.insert(Interest::READABLE).unwrap();
        slots.remove(old);
        let (new, state) = slots.insert(Interest::READABLE).unwrap();
        assert_eq!(
            old.0 & INDEX_MASK,
            new.0 & INDEX_MASK,
            "the place is used again"
        );
        assert!(slots.get(old).is_none());
        assert!(
            slots
                .get(new)
                .is_some_and(|found| std::ptr::eq(found, &raw const *state))
        );
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn the_reactors_own_tokens_name_no_source() {
        let mut slots = Slots::default();
        slots.insert(Interest::READABLE).unwrap();
        assert!(slots.get(WAKE).is_none());
        assert!(slots.get(ALARM).is_none());
        const { assert!(SOURCES_MAX - 1 < (ALARM.0 & INDEX_MASK)) };
    }

    #[test]
    fn closed_slots_admit_nothing() {
        let mut slots = Slots::default();
        slots.insert(Interest::READABLE).unwrap();
        assert_eq!(slots.close().count(), 1);
        assert_eq!(
            slots.insert(Interest::READABLE).unwrap_err(),
            ReactorError::Closed
        );
    }
}
