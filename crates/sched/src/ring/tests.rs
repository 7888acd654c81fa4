use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

fn fill(owner: &Owner<Box<u64>>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        owner.push(Box::new(number)).expect("there is room");
    }
}

#[test]
fn the_owner_takes_the_newest_and_a_thief_the_oldest() {
    let (owner, thief) = shared();
    fill(&owner, 0..3);
    assert_eq!(owner.take_newest(), Some(Box::new(2)));
    assert_eq!(
        thief.steal(|_| panic!("one of two is left")),
        Some(Box::new(0))
    );
    assert_eq!(owner.take_oldest(), Some(Box::new(1)));
    assert_eq!(owner.take_newest(), None);
    assert_eq!(thief.steal(|_| ()), None);
}

#[test]
fn a_thief_takes_half_and_at_most_a_batch() {
    for (count, expected) in [(1, 1), (2, 1), (3, 2), (9, 5), (1000, BATCH)] {
        let (owner, thief) = shared();
        fill(&owner, 0..count);
        let mut kept = Vec::new();
        let first = thief.steal(|entry| kept.push(*entry));
        assert_eq!(first, Some(Box::new(0)));
        assert_eq!(kept, (1..expected as u64).collect::<Vec<_>>(), "of {count}");
    }
}

#[test]
fn the_last_table_gives_back_what_it_has_no_room_for() {
    let room = (FIRST << (TABLES - 1)) as u64;
    let owner = alone();
    fill(&owner, 0..room);
    assert_eq!(owner.push(Box::new(room)), Err(Box::new(room)));
    let all: BTreeSet<u64> = std::iter::from_fn(|| owner.take_newest())
        .map(|entry| *entry)
        .collect();
    assert_eq!(all.len() as u64, room);
}

#[test]
fn an_empty_ring_gives_back_what_a_burst_has_taken() {
    let (owner, thief) = shared();
    for _ in 0..3 {
        let many = 20 * FIRST as u64;
        fill(&owner, 0..many);
        assert_eq!(owner.tables(), 6);
        owner.give_room_back();
        assert_eq!(owner.tables(), 6, "it is not empty");
        assert_eq!(thief.steal(|_| ()), Some(Box::new(0)));
        while owner.take_newest().is_some() {}
        let visit = Visit::of(&owner.ring);
        owner.give_room_back();
        assert_eq!(owner.tables(), 6, "a thief looks at them");
        fill(&owner, 0..many);
        assert_eq!(visit.take_oldest(), Some(Box::new(0)));
        drop(visit);
        while owner.take_oldest().is_some() {}
        owner.give_room_back();
        assert_eq!(owner.tables(), KEPT + 1);
        fill(&owner, 0..2);
        assert_eq!(owner.take_newest(), Some(Box::new(1)));
        assert_eq!(thief.steal(|_| ()), Some(Box::new(0)));
        assert_eq!(owner.take_newest(), None);
    }
}

#[test]
fn a_ring_that_was_never_large_keeps_what_it_has() {
    let owner = alone();
    fill(&owner, 0..3 * FIRST as u64);
    while owner.take_newest().is_some() {}
    owner.give_room_back();
    assert_eq!(owner.tables(), KEPT + 1);
}

#[test]
fn what_is_left_is_dropped_with_the_owner() {
    let counted = Arc::new(());
    let (owner, thief) = shared();
    for _ in 0..3 {
        assert!(owner.push(Box::new(Arc::clone(&counted))).is_ok());
    }
    drop(owner);
    assert_eq!(Arc::strong_count(&counted), 1);
    assert!(thief.is_empty());
}

/// Two thieves beside an owner that pushes, takes and lets the ring grow: each entry goes to one of them.
#[test]
fn each_entry_is_taken_once() {
    const COUNT: u64 = 20_000;
    let (owner, thief) = shared::<Box<u64>>();
    let done = std::sync::atomic::AtomicBool::new(false);
    let mut taken = std::thread::scope(|threads| {
        let thieves = [(); 2].map(|()| {
            threads.spawn(|| {
                let mut taken = Vec::new();
                while !done.load(Ordering::Acquire) || !thief.is_empty() {
                    let mut kept = Vec::new();
                    taken.extend(thief.steal(|entry| kept.push(*entry)).map(|entry| *entry));
                    taken.extend(kept);
                }
                taken
            })
        });
        let mut taken = Vec::new();
        for number in 0..COUNT {
            fill(&owner, number..number + 1);
            if number % 3 == 0 {
                taken.extend(owner.take_newest().map(|entry| *entry));
            }
            if number % 4_000 == 0 {
                taken.extend(std::iter::from_fn(|| owner.take_newest()).map(|entry| *entry));
                owner.give_room_back();
            }
        }
        taken.extend(std::iter::from_fn(|| owner.take_newest()).map(|entry| *entry));
        done.store(true, Ordering::Release);
        for thief in thieves {
            taken.extend(thief.join().expect("a thief does not panic"));
        }
        taken
    });
    taken.sort_unstable();
    assert_eq!(taken, (0..COUNT).collect::<Vec<_>>());
}

proptest! {
    /// Beside a queue with two ends, also where numbers wrap.
    #[test]
    fn it_behaves_as_a_queue_with_two_ends(
        start in prop_oneof![Just(0), Just(usize::MAX - 300), any::<usize>()],
        steps in proptest::collection::vec((0..4_u8, 1..200_usize), 1..40),
    ) {
        let (owner, thief) = shared();
        owner.ring.old.0.number.store(start, Ordering::Relaxed);
        owner.ring.young.0.store(start, Ordering::Relaxed);
        owner.old_seen.set(start);
        let mut model = VecDeque::new();
        for (step, count) in steps {
            owner.give_room_back();
            for number in 0..count as u64 {
                match step {
                    0 | 1 => {
                        fill(&owner, number..number + 1);
                        model.push_back(number);
                    }
                    2 => prop_assert_eq!(owner.take_newest().map(|entry| *entry), model.pop_back()),
                    _ => {
                        let mut kept = Vec::new();
                        let first = thief.steal(|entry| kept.push(*entry));
                        prop_assert_eq!(first.map(|entry| *entry), model.pop_front());
                        prop_assert_eq!(kept.len(), (model.len() / 2).min(BATCH - 1));
                        for entry in kept {
                            prop_assert_eq!(Some(entry), model.pop_front());
                        }
                    }
                }
            }
            prop_assert_eq!(owner.len(), model.len());
        }
    }
}
