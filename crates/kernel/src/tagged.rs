//! One word that is nothing, a number, or a box.
//!
//! # Invariants
//! - The word is null for nothing; its lowest bit is set for a number, which stands above it; otherwise it is a box's pointer, whose lowest bit is clear since what it points to is aligned.
//! - The box is owned: it is freed when the word is dropped or overwritten.

use std::marker::PhantomData;
use std::ptr;

/// Nothing, a number, or a box, in one word.
pub(crate) struct Tagged<T> {
    word: *mut T,
    owns: PhantomData<Box<T>>,
}

impl<T> Tagged<T> {
    pub(crate) const NOTHING: Self = Self::of(ptr::null_mut());

    const fn of(word: *mut T) -> Self {
        Self {
            word,
            owns: PhantomData,
        }
    }

    /// A number; `None` for one that does not fit.
    pub(crate) fn number(number: u64) -> Option<Self> {
        let number = usize::try_from(number).ok()?;
        let word = number.checked_mul(2)? | TAG;
        Some(Self::of(ptr::without_provenance_mut(word)))
    }

    pub(crate) fn boxed(value: Box<T>) -> Self {
        const { assert!(align_of::<T>() > TAG, "the lowest bit of a pointer is free") };
        Self::of(Box::into_raw(value))
    }

    #[inline]
    pub(crate) const fn is_nothing(&self) -> bool {
        self.word.is_null()
    }

    /// The number, if it is one.
    pub(crate) fn as_number(&self) -> Option<u64> {
        let word = self.word.addr();
        (word & TAG != 0).then_some(word as u64 / 2)
    }

    /// What is in the box, if it is one.
    pub(crate) fn as_box(&self) -> Option<&T> {
        if !self.is_box() {
            return None;
        }
        // SAFETY: a word that is neither null nor tagged is the pointer of a box that this one owns.
        Some(unsafe { &*self.word })
    }

    /// What is in the box, if it is one.
    pub(crate) fn as_box_mut(&mut self) -> Option<&mut T> {
        if !self.is_box() {
            return None;
        }
        // SAFETY: as in `as_box`, and the borrow is exclusive.
        Some(unsafe { &mut *self.word })
    }

    fn is_box(&self) -> bool {
        !self.is_nothing() && self.word.addr() & TAG == 0
    }

    #[cold]
    fn free(&mut self) {
        if self.is_box() {
            // SAFETY: as in `as_box`; the word is dropped, so nobody uses the pointer again.
            drop(unsafe { Box::from_raw(self.word) });
        }
    }
}

impl<T> Drop for Tagged<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.is_nothing() {
            self.free();
        }
    }
}

/// Set for a number.
const TAG: usize = 1;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_word_is_one_of_three() {
        let nothing = Tagged::<u64>::NOTHING;
        assert!(nothing.is_nothing());
        assert_eq!((nothing.as_number(), nothing.as_box()), (None, None));
        for number in [0, 1, u64::from(u32::MAX) / 2] {
            let word = Tagged::<u64>::number(number).expect("it fits");
            assert!(!word.is_nothing());
            assert_eq!((word.as_number(), word.as_box()), (Some(number), None));
        }
        let mut word = Tagged::boxed(Box::new(7_u64));
        assert!(!word.is_nothing());
        *word.as_box_mut().expect("it is one") += 1;
        assert_eq!((word.as_number(), word.as_box()), (None, Some(&8)));
        assert_eq!(size_of_val(&word), size_of::<usize>());
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert!(Tagged::<u64>::number(u64::MAX).is_none());
        assert!(Tagged::<u64>::number(1 << 63).is_none());
    }

    #[test]
    fn a_box_is_freed_once() {
        let counted = Rc::new(());
        let mut word = Tagged::boxed(Box::new(Rc::clone(&counted)));
        assert_eq!(Rc::strong_count(&counted), 2);
        drop(std::mem::replace(&mut word, Tagged::NOTHING));
        assert_eq!(Rc::strong_count(&counted), 1);
        assert!(word.is_nothing());
        drop(Tagged::boxed(Box::new(Rc::clone(&counted))));
        assert_eq!(Rc::strong_count(&counted), 1);
    }
}
