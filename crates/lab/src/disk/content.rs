//! What is in a file: as programs see it, and as a crash would leave it.
//!
//! # Rules
//! - Programs see every write at once.
//! - A sync makes the pages that were written since the last one durable, and the length.
//! - A sync that fails forgets which pages these were, so that no later sync makes them durable.
//! - A crash keeps or loses the rest piece by piece: each overwritten page is kept, lost or torn; what was appended is kept up to some byte, so that bytes never stand behind others that were lost.
//!
//! Source: for the failed sync, Rebello et al.: *Can applications recover from fsync failures?*, USENIX ATC 2020; for what a crash leaves, Pillai et al.: *All file systems are not created equal*, OSDI 2014.

use std::collections::BTreeSet;

/// The bytes of a file.
#[derive(Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// The pages that were written since the last sync; what only appeared, as zeros, is in none.
    dirty: BTreeSet<usize>,
    /// The shortest that the file was since the last sync.
    floor: usize,
}

impl Content {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// Puts bytes at a place; between the end and a place behind it zeros appear.
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[at..end].copy_from_slice(bytes);
        self.dirty.extend(at / PAGE..end.div_ceil(PAGE));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        let before = self.live.len();
        self.live.resize(len, 0);
        if len < before {
            self.floor = self.floor.min(len);
            self.dirty.retain(|page| page * PAGE < len);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.truncate(self.floor);
        self.durable.resize(self.live.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            let end = ((page + 1) * PAGE).min(self.live.len());
            let range = page * PAGE..end;
            self.durable[range.clone()].copy_from_slice(&self.live[range]);
        }
        self.floor = self.live.len();
    }

    /// The disk could not; what was to be synced counts as clean from now on.
    pub(super) fn sync_fails(&mut self) {
        self.dirty.clear();
    }

    /// The machine goes down; `decide` answers with a number up to the one it is given, and 0 loses most.
    pub(super) fn crash(&mut self, decide: &mut dyn FnMut(u32) -> u32) {
        let mut left = std::mem::take(&mut self.durable);
        // A cut that is lost takes with it all that was appended behind it.
        let cut_is_lost = self.floor < left.len() && decide(1) == 0;
        let kept = left.len().min(self.floor);
        if !cut_is_lost {
            left.truncate(self.floor);
        }
        for page in &self.dirty {
            let end = ((page + 1) * PAGE).min(kept).min(self.live.len());
            let start = (page * PAGE).min(end);
            if left[start..end] == self.live[start..end] {
                continue;
            }
            let survives = match decide(2) {
                0 => start,
                1 => end,
                _ => start + (end - start).div_ceil(2),
            };
            left[start..survives].copy_from_slice(&self.live[start..survives]);
        }
        if !cut_is_lost && self.live.len() > left.len() {
            self.keep_appended(&mut left, decide(PARTS));
        }
        self.live.clone_from(&left);
        self.floor = left.len();
        self.durable = left;
        self.dirty.clear();
    }

    /// Keeps some eighths of what was appended; a page that a failed sync forgot is zeros.
    fn keep_appended(&self, left: &mut Vec<u8>, parts: u32) {
        let start = left.len();
        let end = start + ((self.live.len() - start) * parts as usize).div_ceil(PARTS as usize);
        left.resize(end, 0);
        for page in &self.dirty {
            let range = (page * PAGE).clamp(start, end)..((page + 1) * PAGE).clamp(start, end);
            left[range.clone()].copy_from_slice(&self.live[range]);
        }
    }
}

/// As many bytes as a disk takes for one.
pub(super) const PAGE: usize = 4096;
/// In so many places an append may be torn, its end included.
pub(super) const PARTS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn synced(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(0, bytes);
        content.sync();
        content
    }

    fn after_crash(mut content: Content, answers: &[u32]) -> Vec<u8> {
        let mut answers = answers.iter().copied();
        content.crash(&mut |most| answers.next().unwrap_or_default().min(most));
        let left = content.live.clone();
        // It is as if it had been synced: neither a sync nor another crash finds anything to do.
        content.sync();
        content.crash(&mut |_| panic!("nothing is left to be decided"));
        assert_eq!(content.live, left);
        left
    }

    #[test]
    fn what_was_synced_survives_and_what_was_appended_survives_as_a_prefix() {
        for (answer, left) in [(0, "one"), (4, "onetw"), (8, "onetwo!")] {
            let mut content = synced(b"one");
            content.write(3, b"two!");
            assert_eq!(after_crash(content, &[answer]), left.as_bytes());
        }
    }

    #[test]
    fn an_overwritten_page_is_lost_kept_or_torn() {
        let (old, new) = (vec![1; PAGE], vec![2; PAGE]);
        for (answer, first, last) in [(0, 1, 1), (1, 2, 2), (2, 2, 1)] {
            let mut content = synced(&old);
            content.write(0, &new);
            let left = after_crash(content, &[answer]);
            assert_eq!((left[0], left[PAGE - 1]), (first, last));
        }
    }

    #[test]
    fn a_cut_that_was_not_synced_may_be_lost_with_what_came_after() {
        let cases = [
            ([0, 8], "abcdef"),
            ([0, 1], "abcdef"),
            ([1, 0], "ab"),
            ([1, 8], "abXYZUVW"),
        ];
        for (answers, left) in cases {
            let mut content = synced(b"abcdef");
            content.set_len(2);
            content.write(2, b"XYZUVW");
            assert_eq!(after_crash(content, &answers), left.as_bytes());
        }
    }

    #[test]
    fn a_place_behind_the_end_is_reached_by_zeros() {
        for answer in [0, 8] {
            let mut content = synced(b"ab");
            content.write(4, b"cd");
            content.set_len(7);
            assert_eq!(content.live(), b"ab\0\0cd\0");
            let left: &[u8] = if answer == 0 { b"ab" } else { b"ab\0\0cd\0" };
            assert_eq!(after_crash(content, &[answer]), left);
        }
    }

    #[test]
    fn what_was_cut_off_does_not_come_back_with_a_later_sync() {
        let mut content = synced(&[1; 2 * PAGE]);
        content.set_len(PAGE);
        content.write(PAGE, &[2; PAGE]);
        content.sync_fails();
        content.sync();
        assert_eq!(after_crash(content, &[])[PAGE], 0);
    }

    #[test]
    fn after_a_failed_sync_a_later_one_does_not_bring_the_bytes_back() {
        let mut content = synced(&[1; PAGE]);
        content.write(PAGE, &[2; PAGE]);
        content.sync_fails();
        content.write(2 * PAGE, &[3; PAGE]);
        content.sync();
        let left = after_crash(content, &[]);
        assert_eq!(left.len(), 3 * PAGE);
        assert_eq!((left[0], left[PAGE], left[2 * PAGE]), (1, 0, 3));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(Vec<u8>),
        Write(usize, Vec<u8>),
        Cut(usize),
        Sync,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = || prop::collection::vec(1..=255_u8, 1..6000);
        let step = prop_oneof![
            bytes().prop_map(Step::Append),
            (0..9000_usize, bytes()).prop_map(|(at, bytes)| Step::Write(at, bytes)),
            (0..9000_usize).prop_map(Step::Cut),
            Just(Step::Sync),
        ];
        prop::collection::vec(step, 1..12)
    }

    fn apply(content: &mut Content, step: &Step) {
        match step {
            Step::Append(bytes) => content.write(content.live.len(), bytes),
            Step::Write(at, bytes) => content.write(*at, bytes),
            Step::Cut(len) => content.set_len((*len).min(content.live.len())),
            Step::Sync => content.sync(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_crash_right_after_a_sync_changes_nothing(
            steps in steps(),
            answers in prop::collection::vec(0..9_u32, 40),
        ) {
            let mut content = Content::default();
            steps.iter().for_each(|step| apply(&mut content, step));
            content.sync();
            let live = content.live.clone();
            prop_assert_eq!(after_crash(content, &answers), live);
        }

        #[test]
        fn appended_bytes_survive_in_their_order(
            bytes in prop::collection::vec(any::<u8>(), 1..20_000),
            pieces in 1..6_usize,
            answer in 0..9_u32,
        ) {
            let mut content = Content::default();
            for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
                content.write(content.live.len(), piece);
            }
            let left = after_crash(content, &[answer]);
            prop_assert!(bytes.starts_with(&left));
            prop_assert_eq!(answer == 8, left.len() == bytes.len());
        }
    }
}
