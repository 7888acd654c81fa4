//! A growing list whose entries never move once it is long.
//!
//! The problem: a long line that doubles copies itself under its primitive's lock, and leaves a hole of its old size in the heap.
//! So a short list is one piece that doubles, and behind it come pieces that are each as long as all before.
//!
//! # Invariants
//! - The pieces before the last are full; what comes behind it is empty, and kept for its room.

use std::ops::{Index, IndexMut};

/// The list.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    head: Vec<T>,
    pieces: Vec<Vec<T>>,
    len: u32,
}

/// How many entries the first piece has, which alone doubles in place.
const HEAD: u32 = 1024;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            head: Vec::new(),
            pieces: Vec::new(),
            len: 0,
        }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// How many entries fit without asking for memory.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn room(&self) -> usize {
        self.head.capacity() + self.pieces.iter().map(Vec::capacity).sum::<usize>()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        if index < HEAD {
            return self.head.get(index as usize);
        }
        let (piece, place) = place_of(index);
        self.pieces.get(piece)?.get(place)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        if index < HEAD {
            return self.head.get_mut(index as usize);
        }
        let (piece, place) = place_of(index);
        self.pieces.get_mut(piece)?.get_mut(place)
    }

    /// Adds an entry; its index is the length before.
    ///
    /// # Panics
    /// If there are as many as indices.
    pub(crate) fn push(&mut self, entry: T) {
        let index = self.len;
        self.len = index.checked_add(1).expect("as many fit in no memory");
        if index < HEAD {
            return self.head.push(entry);
        }
        let (piece, _) = place_of(index);
        if piece == self.pieces.len() {
            self.pieces.push(Vec::with_capacity(index as usize));
        }
        self.pieces[piece].push(entry);
    }

    /// Drops all entries; their room is kept.
    pub(crate) fn clear(&mut self) {
        self.head.clear();
        self.pieces.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }
}

/// The piece behind the head in which an entry stands, and its place there.
///
/// The piece of number `n` begins where `HEAD << n` entries are before it, and has room for as many.
const fn place_of(index: u32) -> (usize, usize) {
    let piece = (index / HEAD).ilog2();
    (piece as usize, (index - (HEAD << piece)) as usize)
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the index was given out")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the index was given out")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_a_place_of_its_own_in_order() {
        for (index, place) in [
            (HEAD, (0, 0)),
            (2 * HEAD - 1, (0, HEAD as usize - 1)),
            (2 * HEAD, (1, 0)),
            (4 * HEAD - 1, (1, 2 * HEAD as usize - 1)),
            (4 * HEAD, (2, 0)),
            (u32::MAX, (21, (HEAD as usize) * (1 << 21) - 1)),
        ] {
            assert_eq!(place_of(index), place, "{index}");
        }
    }

    #[test]
    fn what_is_pushed_is_found_and_stays_where_it_is() {
        let mut slab = Slab::new();
        let count = 9 * HEAD;
        for round in 0..2 {
            for index in 0..count {
                assert_eq!(slab.len(), index);
                assert!(slab.get(index).is_none());
                slab.push(index + round);
            }
            let late = std::ptr::from_ref(&slab[HEAD]);
            slab.push(0);
            assert!(std::ptr::eq(late, &slab[HEAD]));
            for index in 0..count {
                assert_eq!(slab.get(index), Some(&(index + round)));
                slab[index] = 7;
                assert_eq!(slab.get_mut(index), Some(&mut 7));
            }
            let room: Vec<usize> = slab.pieces.iter().map(Vec::capacity).collect();
            let expected: Vec<usize> = (0..4).map(|piece| (HEAD as usize) << piece).collect();
            assert_eq!(room, expected, "no piece has grown");
            slab.clear();
            assert_eq!((slab.len(), slab.get(0), slab.get(HEAD)), (0, None, None));
        }
    }
}
