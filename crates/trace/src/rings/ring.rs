//! One ring: records of a fixed number of words, the newest kept, written and read without a lock.
//!
//! Its writers are any threads, by [`Ring::push`], or one at a time, by [`Ring::push_alone`], which needs no exchange.
//!
//! # States of a slot
//! Its sequence is 0 while it was never written, `2 n + 1` while the record with number `n` is being written, and `2 n + 2` once that stands in it.
//!
//! # Invariants
//! - A slot has one writer at a time: it is claimed by an exchange of its sequence, and who finds it claimed, or overtaken by a newer record, gives its own up.
//!   A ring's only writer claims by a store; if there were another nevertheless, records would be mixed, and nothing worse.
//! - What is read is a record as it was written: words are read between two looks at the sequence, and count only if both saw the same finished record.
//! - A sequence only grows.
//!
//! # Deliberately absent
//! Waiting: a writer that is stopped half-way costs the records that would have gone into its slot meanwhile, and a reader passes over what changes under it.

use crate::primitive::{AtomicU64, Ordering};

/// The words of a record.
pub(super) type Words = [u64; WORDS];

/// One less than a cache line, which the sequence completes.
pub(super) const WORDS: usize = 7;

/// The newest records.
pub(super) struct Ring {
    /// How many numbers were given out.
    next: Line,
    /// As many as a power of two.
    slots: Box<[Slot]>,
}

/// A counter with a cache line of its own.
#[repr(align(64))]
struct Line(AtomicU64);

#[repr(align(64))]
struct Slot {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// What a ring held.
pub(super) struct Read {
    /// Records with their numbers, in their order.
    pub(super) records: Vec<(u64, Words)>,
    /// How many records were begun before the reading and are not among them.
    pub(super) missing: u64,
}

impl Ring {
    /// A ring of so many slots, rounded down to a power of two, and at least one.
    pub(super) fn new(slots: usize) -> Self {
        let count = slots.checked_ilog2().map_or(1, |bits| 1 << bits);
        Self {
            next: Line(AtomicU64::new(0)),
            slots: (0..count).map(|_| Slot::new()).collect(),
        }
    }

    /// Writes a record over the oldest.
    pub(super) fn push(&self, words: &Words) {
        let number = self.next.0.fetch_add(1, Ordering::Relaxed);
        self.slot(number).write(number, words);
    }

    /// The same, for the one thread that writes to this ring now; who wrote before it has handed the ring over.
    #[inline]
    pub(super) fn push_alone(&self, words: &Words) {
        let number = self.next.0.load(Ordering::Relaxed);
        self.next.0.store(number + 1, Ordering::Relaxed);
        self.slot(number).write_alone(number, words);
    }

    /// How many records were begun; at least those of which the caller has seen a consequence.
    #[inline]
    pub(super) fn begun(&self) -> u64 {
        self.next.0.load(Ordering::Relaxed)
    }

    /// Reads what stands in the ring, while others may write.
    pub(super) fn read(&self) -> Read {
        let begun = self.next.0.load(Ordering::Acquire);
        let mut records: Vec<(u64, Words)> = self.slots.iter().filter_map(Slot::read).collect();
        records.sort_unstable_by_key(|(number, _)| *number);
        let known = records.partition_point(|(number, _)| *number < begun);
        Read {
            missing: begun - known as u64,
            records,
        }
    }

    fn slot(&self, number: u64) -> &Slot {
        // The count of slots is a power of two, so the mask keeps the index within it.
        let mask = self.slots.len() - 1;
        &self.slots[number as usize & mask]
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Writes a record, unless another is being written here or a newer one was.
    fn write(&self, number: u64, words: &Words) {
        let seen = self.sequence.load(Ordering::Relaxed);
        let writing = number * 2 + 1;
        if seen % 2 == 1 || seen > writing {
            return;
        }
        // Acquire: the words of the last writer come before ours in the order of each word.
        let claimed =
            self.sequence
                .compare_exchange(seen, writing, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_ok() {
            self.fill(number, words);
        }
    }

    /// Writes a record, as the only one who writes here.
    #[inline]
    fn write_alone(&self, number: u64, words: &Words) {
        self.sequence.store(number * 2 + 1, Ordering::Relaxed);
        self.fill(number, words);
    }

    /// Writes into a claimed slot, and says that the record stands there.
    #[inline]
    fn fill(&self, number: u64, words: &Words) {
        for (place, word) in self.words.iter().zip(words) {
            // Release: who reads this word sees the claim before it.
            place.store(*word, Ordering::Release);
        }
        self.sequence.store(number * 2 + 2, Ordering::Release);
    }

    /// The record that stands here, with its number.
    fn read(&self) -> Option<(u64, Words)> {
        let before = self.sequence.load(Ordering::Acquire);
        if before == 0 || before % 2 == 1 {
            return None;
        }
        let mut words = [0; WORDS];
        for (word, place) in words.iter_mut().zip(&self.words) {
            // Acquire: a word of a later writer brings its claim along, which the look below must see.
            *word = place.load(Ordering::Acquire);
        }
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after).then_some((before / 2 - 1, words))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn record(number: u64) -> Words {
        [number; WORDS]
    }

    fn numbers(read: &Read) -> Vec<u64> {
        read.records.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn the_newest_records_are_kept_in_order_and_the_others_counted() {
        let ring = Ring::new(4);
        assert!(ring.read().records.is_empty());
        for number in 0..11 {
            ring.push(&record(number));
        }
        let read = ring.read();
        assert_eq!(numbers(&read), [7, 8, 9, 10]);
        assert_eq!(read.missing, 7);
        assert!(
            read.records
                .iter()
                .all(|(number, words)| *words == record(*number))
        );
    }

    #[test]
    fn the_count_of_slots_is_rounded_down_and_never_none() {
        for (asked, slots) in [(0, 1), (1, 1), (3, 2), (4, 4), (1000, 512)] {
            assert_eq!(Ring::new(asked).slots.len(), slots, "{asked}");
        }
    }

    #[test]
    fn a_claimed_or_overtaken_slot_is_left_alone() {
        let slot = Slot::new();
        slot.sequence.store(9, Ordering::Relaxed);
        slot.write(5, &record(5));
        assert_eq!(slot.read(), None, "it is being written");
        slot.sequence.store(10, Ordering::Relaxed);
        slot.write(3, &record(3));
        assert_eq!(
            slot.read(),
            Some((4, record(0))),
            "a newer one stands there"
        );
        slot.write(6, &record(6));
        assert_eq!(slot.read(), Some((6, record(6))));
    }

    #[test]
    fn one_writer_keeps_the_same_as_many() {
        let (alone, shared) = (Ring::new(4), Ring::new(4));
        for number in 0..11 {
            alone.push_alone(&record(number));
            shared.push(&record(number));
            let (alone, shared) = (alone.read(), shared.read());
            assert_eq!(alone.records, shared.records);
            assert_eq!(alone.missing, shared.missing);
        }
    }

    #[test]
    fn records_are_whole_while_one_writes_alone() {
        const ALL: u64 = 60_000;
        let ring = Ring::new(8);
        std::thread::scope(|scope| {
            let ring = &ring;
            scope.spawn(move || (0..ALL).for_each(|n| ring.push_alone(&record(n))));
            for _ in 0..2_000 {
                let read = ring.read();
                for (number, words) in &read.records {
                    assert_eq!(*words, record(*number));
                }
            }
        });
        let read = ring.read();
        assert_eq!(numbers(&read), Vec::from_iter(ALL - 8..ALL));
        assert_eq!(read.missing, ALL - 8);
    }

    /// Whatever threads do, a record that is read was written in one piece.
    #[test]
    fn records_are_whole_while_many_write() {
        const EACH: u64 = 20_000;
        let ring = Ring::new(8);
        std::thread::scope(|scope| {
            let ring = &ring;
            for writer in 0..3 {
                scope.spawn(move || (0..EACH).for_each(|n| ring.push(&record(writer * EACH + n))));
            }
            for _ in 0..2_000 {
                for (_, words) in ring.read().records {
                    assert_eq!(words, record(words[0]));
                }
            }
        });
        let read = ring.read();
        assert_eq!(read.missing + read.records.len() as u64, 3 * EACH);
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Short records keep the model small: the first and the last word differ if a record is torn.
    fn record(number: u64) -> Words {
        [number; WORDS]
    }

    fn assert_whole(read: &Read) {
        for (_, words) in &read.records {
            assert_eq!(*words, record(words[0]));
        }
    }

    #[test]
    fn loom_a_reader_sees_whole_records_while_one_writes() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            ring.push(&record(7));
            let writing = Arc::clone(&ring);
            let writer = thread::spawn(move || writing.push(&record(8)));
            assert_whole(&ring.read());
            writer.join().expect("it does not panic");
            let read = ring.read();
            assert_eq!(
                (read.missing, read.records.as_slice()),
                (1, &[(1, record(8))][..])
            );
        });
    }

    /// The second record of the writer goes over its first, and over what a reader may just be reading.
    #[test]
    fn loom_a_reader_sees_whole_records_while_the_only_writer_writes() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            ring.push_alone(&record(7));
            let writing = Arc::clone(&ring);
            let writer = thread::spawn(move || {
                writing.push_alone(&record(8));
                writing.push_alone(&record(9));
            });
            assert_whole(&ring.read());
            writer.join().expect("it does not panic");
            let read = ring.read();
            assert_eq!(
                (read.missing, read.records.as_slice()),
                (2, &[(2, record(9))][..])
            );
        });
    }

    #[test]
    fn loom_a_ring_that_is_handed_over_loses_nothing() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(2));
            let writing = Arc::clone(&ring);
            let first = thread::spawn(move || writing.push_alone(&record(1)));
            first.join().expect("it does not panic");
            let writing = Arc::clone(&ring);
            let second = thread::spawn(move || writing.push_alone(&record(2)));
            assert_whole(&ring.read());
            second.join().expect("it does not panic");
            let read = ring.read();
            assert_eq!(
                (read.missing, read.records.as_slice()),
                (0, &[(0, record(1)), (1, record(2))][..])
            );
        });
    }

    #[test]
    fn loom_two_writers_of_one_slot_never_mix() {
        loom::model(|| {
            let ring = Arc::new(Ring::new(1));
            let writing = Arc::clone(&ring);
            let writer = thread::spawn(move || writing.push(&record(1)));
            ring.push(&record(2));
            writer.join().expect("it does not panic");
            let read = ring.read();
            assert_whole(&read);
            assert_eq!(read.missing + read.records.len() as u64, 2);
        });
    }
}
