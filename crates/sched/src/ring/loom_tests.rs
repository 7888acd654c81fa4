use super::*;
use loom::thread;

/// An entry that is its own word.
struct Number(usize);

// SAFETY: the word is the number.
unsafe impl Entry for Number {
    fn into_word(self) -> *mut () {
        ptr::without_provenance_mut(self.0)
    }

    unsafe fn from_word(word: *mut ()) -> Self {
        Self(word.addr())
    }
}

fn push(owner: &Owner<Number>, number: usize) {
    assert!(owner.push(Number(number)).is_ok(), "there is room");
}

fn take_all(owner: &Owner<Number>) -> Vec<usize> {
    let taken = std::iter::from_fn(|| owner.take_newest());
    taken.map(|entry| entry.0).collect()
}

fn steal_twice(thief: &Thief<Number>) -> Vec<usize> {
    let mut taken = Vec::new();
    for _ in 0..2 {
        let mut kept = Vec::new();
        let first = thief.steal(|entry| kept.push(entry.0));
        taken.extend(first.map(|entry| entry.0));
        taken.extend(kept);
    }
    taken
}

fn assert_each_once(mut taken: Vec<usize>, count: usize) {
    taken.sort_unstable();
    assert_eq!(taken, (1..=count).collect::<Vec<_>>());
}

#[test]
fn loom_the_owner_and_a_thief_take_each_entry_once() {
    loom::model(|| {
        let (owner, thief) = shared();
        push(&owner, 1);
        push(&owner, 2);
        let stealing = thread::spawn(move || steal_twice(&thief));
        let mut taken = take_all(&owner);
        taken.extend(stealing.join().unwrap());
        assert_each_once(taken, 2);
    });
}

#[test]
fn loom_two_thieves_and_the_owner_want_the_last_entry() {
    loom::model(|| {
        let (owner, thief) = shared();
        let thief = loom::sync::Arc::new(thief);
        push(&owner, 1);
        let stealing = [(); 2].map(|()| {
            let thief = loom::sync::Arc::clone(&thief);
            thread::spawn(move || thief.steal(|_| ()).map(|entry| entry.0))
        });
        let mut taken = take_all(&owner);
        taken.extend(stealing.into_iter().filter_map(|one| one.join().unwrap()));
        assert_each_once(taken, 1);
    });
}

/// A place is filled again, and the ring grows, while a thief holds what it read before.
#[test]
fn loom_a_ring_that_goes_round_and_grows_loses_nothing_to_a_thief() {
    loom::model(|| {
        let (owner, thief) = shared();
        push(&owner, 1);
        let stealing = thread::spawn(move || steal_twice(&thief));
        push(&owner, 2);
        let mut taken: Vec<usize> = owner
            .take_newest()
            .map(|entry| entry.0)
            .into_iter()
            .collect();
        push(&owner, 3);
        push(&owner, 4);
        taken.extend(take_all(&owner));
        taken.extend(stealing.join().unwrap());
        assert_each_once(taken, 4);
    });
}

/// A table is let go, and another made in its place, beside a thief that may still look at it.
#[test]
fn loom_no_table_is_let_go_while_a_thief_looks_at_it() {
    loom::model(|| {
        let (owner, thief) = shared();
        for number in 1..=3 {
            push(&owner, number);
        }
        let stealing = thread::spawn(move || {
            let mut taken = Vec::new();
            let first = thief.steal(|entry| taken.push(entry.0));
            taken.extend(first.map(|entry| entry.0));
            taken
        });
        let mut taken = take_all(&owner);
        owner.give_room_back();
        push(&owner, 4);
        taken.extend(take_all(&owner));
        taken.extend(stealing.join().unwrap());
        assert_each_once(taken, 4);
    });
}

/// What an entry points to is seen by its thief as its owner left it.
#[test]
fn loom_a_thief_sees_what_was_written_before_the_push() {
    loom::model(|| {
        let (owner, thief) = shared();
        let stealing = thread::spawn(move || {
            let stolen: Option<Box<loom::cell::UnsafeCell<u32>>> = thief.steal(|_| ());
            // SAFETY: whoever took the entry has it alone.
            stolen.map(|stolen| stolen.with(|value| unsafe { *value }))
        });
        for value in 1..=2 {
            assert!(
                owner
                    .push(Box::new(loom::cell::UnsafeCell::new(value)))
                    .is_ok()
            );
        }
        drop(owner.take_newest());
        let stolen = stealing.join().unwrap();
        assert!(matches!(stolen, None | Some(1..=2)));
    });
}
