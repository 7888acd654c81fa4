//! The memory of nodes that are gone, kept by a worker for those to come.
//!
//! The problem: a task and a region are an allocation each, and an allocator that serves all sizes and threads takes a tenth of a spawn and its join, or more where many are alive.
//! A worker spawns about as many as it frees, so it keeps their blocks by size, and hands out first what came last, which is in the cache.
//!
//! # Invariants
//! - Only a thread that holds a [`FreeLists`] keeps blocks; when it holds none any more, it keeps none.
//! - All blocks of a class have one layout, also those that come from the allocator; so any thread may free any of them, and any node of the class may have it next.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// The classes' distance, and the alignment of all blocks.
const STEP: usize = 16;
/// Nodes of more than 1,016 bytes are left to the allocator.
const CLASSES: usize = 64;
/// What a thread keeps at most, in bytes: the tasks and regions of a large program's burst.
const MOST: usize = 64 << 20;
/// What a thread keeps while it sleeps, and what it keeps unused.
const LEAST: usize = 64 << 10;
/// What has become less in none of so many calls counts as unused.
const UNUSED_AFTER: u32 = 10_000;
/// So many blocks are given back at once; a few microseconds.
const AT_ONCE: usize = 256;

/// A block that waits for a node.
struct Free {
    next: *mut Self,
}

/// The blocks of one thread.
struct Lists {
    /// The block that came last, by class.
    first: [Cell<*mut Free>; CLASSES],
    /// How many bytes more are kept; none where nobody holds a [`FreeLists`].
    room: Cell<usize>,
    holders: Cell<usize>,
}

thread_local! {
    // Without a destructor, so that nobody has to ask whether it has run.
    static LISTS: Lists = const {
        Lists {
            first: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            room: Cell::new(0),
            holders: Cell::new(0),
        }
    };
}

impl Lists {
    /// How many bytes are kept.
    fn kept(&self) -> usize {
        match self.holders.get() {
            0 => 0,
            _ => MOST - self.room.get(),
        }
    }

    #[inline]
    fn pop(&self, class: usize) -> Option<NonNull<Free>> {
        let list = &self.first[class];
        let block = NonNull::new(list.get())?;
        // SAFETY: a block in a list is this thread's, and `push` wrote its link.
        list.set(unsafe { block.as_ref() }.next);
        self.room.set(self.room.get() + layout(class).size());
        Some(block)
    }

    /// Keeps a block, if there is room for it.
    ///
    /// # Safety
    /// The block is the caller's, of the class's layout, and given up if it is kept.
    #[inline]
    unsafe fn push(&self, class: usize, block: NonNull<Free>) -> bool {
        let Some(room) = self.room.get().checked_sub(layout(class).size()) else {
            return false;
        };
        self.room.set(room);
        let next = self.first[class].replace(block.as_ptr());
        // SAFETY: by the caller's promise the block is large enough, aligned, and nobody else's.
        unsafe { block.write(Free { next }) };
        true
    }

    /// Gives up to so many blocks back to the allocator, the largest first, as long as more than `least` bytes are kept; whether it stopped for the number.
    fn give_back(&self, least: usize, limit: usize) -> bool {
        let mut left = limit;
        for class in (0..CLASSES).rev() {
            loop {
                // Most calls end here, at once.
                if self.kept() <= least {
                    return false;
                }
                if left == 0 {
                    return true;
                }
                let Some(block) = self.pop(class) else {
                    break;
                };
                left -= 1;
                // SAFETY: it was in the list of its class.
                unsafe { dealloc(block.as_ptr().cast(), layout(class)) };
            }
        }
        false
    }
}

/// While a thread holds one, it keeps the memory of tasks and regions that are freed on it, for those that are made on it.
///
/// At most 64 MiB; a host holds one for each worker, calls [`give_unused_back`](Self::give_unused_back) now and then while the worker runs, and [`give_some_back`](Self::give_some_back) before it sleeps.
/// When the last of a thread is dropped, all is given back to the allocator.
///
/// # Examples
/// ```
/// let kept = asupersync_kernel::FreeLists::hold();
/// for _ in 0..100 {
///     // Some tasks are run here.
///     kept.give_unused_back();
/// }
/// while kept.give_some_back() {}
/// // Here the thread sleeps.
/// ```
#[derive(Debug)]
pub struct FreeLists {
    /// How many bytes were kept when it was last asked what is unused.
    seen: Cell<usize>,
    /// How often in a row there was no less than the time before.
    unused: Cell<u32>,
    /// It stands for the thread's own lists.
    _not_send: PhantomData<*const ()>,
}

impl FreeLists {
    /// From now on this thread keeps what is freed on it.
    #[must_use]
    pub fn hold() -> Self {
        LISTS.with(|lists| {
            if lists.holders.replace(lists.holders.get() + 1) == 0 {
                lists.room.set(MOST);
            }
        });
        Self {
            seen: Cell::new(0),
            unused: Cell::new(0),
            _not_send: PhantomData,
        }
    }

    /// Gives back a part of what is kept beyond 64 KiB, if that has become less since the call before in none of ten thousand calls.
    ///
    /// A worker that ends what others spawn, and never sleeps, would otherwise keep it for ever.
    pub fn give_unused_back(&self) {
        LISTS.with(|lists| {
            let kept = lists.kept();
            if kept <= LEAST || kept < self.seen.replace(kept) {
                self.unused.set(0);
            } else if self.unused.get() < UNUSED_AFTER {
                self.unused.set(self.unused.get() + 1);
            } else {
                lists.give_back(LEAST, AT_ONCE);
                self.seen.set(lists.kept());
            }
        });
    }

    /// Gives back a part of what is kept beyond 64 KiB; false if there is no more of that.
    ///
    /// One call takes some microseconds, so between two of them there is time to look whether work has come.
    #[must_use = "it may have to be called again"]
    pub fn give_some_back(&self) -> bool {
        LISTS.with(|lists| lists.give_back(LEAST, AT_ONCE))
    }
}

impl Drop for FreeLists {
    fn drop(&mut self) {
        LISTS.with(|lists| {
            let others = lists.holders.get() - 1;
            if others == 0 {
                lists.give_back(0, usize::MAX);
                lists.room.set(0);
            }
            lists.holders.set(others);
        });
    }
}

/// The class of blocks that have room for a `T`, if there is one.
const fn class_of<T>() -> Option<usize> {
    let class = (size_of::<T>() + 7) / STEP;
    if class < CLASSES && align_of::<T>() <= STEP {
        Some(class)
    } else {
        None
    }
}

/// What a class is allocated with: 8 bytes more than a multiple, which is what glibc has in a block, and a node is a number of words.
#[inline]
const fn layout(class: usize) -> Layout {
    match Layout::from_size_align(class * STEP + 8, STEP) {
        Ok(layout) => layout,
        Err(_) => panic!("a class is some hundred bytes"),
    }
}

/// Memory for a `T`, to be written; [`free`] takes it back.
#[inline]
pub(crate) fn take<T>() -> NonNull<T> {
    let Some(class) = class_of::<T>() else {
        return allocate(Layout::new::<T>()).cast();
    };
    match LISTS.with(|lists| lists.pop(class)) {
        Some(block) => block.cast(),
        None => allocate(layout(class)).cast(),
    }
}

/// Drops a `T`, and keeps its memory or frees it, also if the drop panics.
///
/// # Safety
/// The memory came from [`take`] for the same type, a `T` is in it, and the caller gives it up.
#[inline]
pub(crate) unsafe fn free<T>(memory: NonNull<T>) {
    let _memory = Memory(memory);
    // SAFETY: by the caller's promise.
    unsafe { memory.drop_in_place() };
}

/// Memory from [`take`] in which nothing is any more when this is dropped.
struct Memory<T>(NonNull<T>);

impl<T> Drop for Memory<T> {
    #[inline]
    fn drop(&mut self) {
        let Self(memory) = *self;
        let Some(class) = class_of::<T>() else {
            // SAFETY: the caller of `free` gave it up; types without a class are allocated with their own layout.
            return unsafe { dealloc(memory.as_ptr().cast(), Layout::new::<T>()) };
        };
        // SAFETY: as above, and `take` has it of this class.
        let is_kept = LISTS.with(|lists| unsafe { lists.push(class, memory.cast()) });
        if !is_kept {
            // SAFETY: as above, and it was allocated with this layout, here or on another thread.
            unsafe { dealloc(memory.as_ptr().cast(), layout(class)) };
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is of no bytes: a class has 8 at least, and a type without a class has more or is aligned to more.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// How many bytes this thread keeps.
    fn kept() -> usize {
        LISTS.with(Lists::kept)
    }

    /// As large as so many words, and written all over.
    fn make<const WORDS: usize>(count: usize) -> Vec<NonNull<[u64; WORDS]>> {
        let write = |number: usize| {
            let block = take::<[u64; WORDS]>();
            // SAFETY: it has the room.
            unsafe { block.write([number as u64; WORDS]) };
            block
        };
        (0..count).map(write).collect()
    }

    fn free_all<const WORDS: usize>(blocks: Vec<NonNull<[u64; WORDS]>>) {
        for (number, block) in blocks.into_iter().enumerate() {
            // SAFETY: `make` wrote it.
            assert_eq!(unsafe { block.read() }, [number as u64; WORDS]);
            // SAFETY: it came from `take` for this type.
            unsafe { free(block) };
        }
    }

    #[test]
    fn a_class_has_the_room_for_all_that_is_of_it() {
        fn check<const WORDS: usize>() {
            let class = class_of::<[u64; WORDS]>().expect("it is small");
            let size = layout(class).size();
            assert!((0..STEP).contains(&(size - 8 * WORDS)), "{WORDS} words");
        }
        check::<1>();
        check::<2>();
        check::<13>();
        check::<14>();
        check::<127>();
        let bytes = class_of::<[u8; 26]>().expect("it is small");
        assert_eq!(layout(bytes).size(), 40);
        assert_eq!(class_of::<[u64; 128]>(), None);
        #[repr(align(32))]
        struct Aligned;
        assert_eq!(class_of::<Aligned>(), None);
    }

    #[test]
    fn what_came_last_is_handed_out_first() {
        let _kept = FreeLists::hold();
        let blocks = make::<13>(3);
        let mut addresses: Vec<_> = blocks.iter().map(|block| block.addr()).collect();
        free_all(blocks);
        let others = make::<12>(3);
        assert_eq!(kept(), 0, "twelve words and thirteen are one class");
        addresses.reverse();
        let seen: Vec<_> = others.iter().map(|block| block.addr()).collect();
        assert_eq!(seen, addresses);
        free_all(others);
        assert_eq!(kept(), 3 * 104);
        free_all(make::<14>(1));
        assert_eq!(kept(), 3 * 104 + 120, "fourteen are another");
    }

    #[test]
    fn a_thread_that_holds_none_keeps_nothing() {
        free_all(make::<13>(3));
        assert_eq!(kept(), 0);
        let outer = FreeLists::hold();
        let inner = FreeLists::hold();
        free_all(make::<13>(3));
        drop(inner);
        assert_eq!(kept(), 3 * 104, "the thread holds another");
        drop(outer);
        assert_eq!(kept(), 0);
        free_all(make::<13>(3));
        LISTS.with(|lists| assert!(lists.first.iter().all(|list| list.get().is_null())));
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let _kept = FreeLists::hold();
        let count = MOST / 1_016;
        free_all(make::<127>(count + 3));
        assert_eq!(kept(), count * 1_016);
        free_all(make::<200>(1));
        assert_eq!(kept(), count * 1_016, "that is no block");
    }

    #[test]
    fn before_a_sleep_all_but_a_little_is_given_back() {
        let lists = FreeLists::hold();
        free_all(make::<13>(1_000));
        free_all(make::<127>(1_000));
        let mut calls = 0;
        while lists.give_some_back() {
            calls += 1;
            assert!(kept() > LEAST);
        }
        assert!((4..8).contains(&calls), "{calls} calls of 256 blocks");
        assert!((LEAST - 1_016..=LEAST).contains(&kept()));
        assert!(!lists.give_some_back());
    }

    #[test]
    fn what_lies_unused_for_long_is_given_back_little_by_little() {
        let lists = FreeLists::hold();
        free_all(make::<13>(2_000));
        let all = kept();
        let ask_often = || (0..UNUSED_AFTER).for_each(|_| lists.give_unused_back());
        ask_often();
        assert_eq!(kept(), all);
        let some = make::<13>(1);
        lists.give_unused_back();
        free_all(some);
        ask_often();
        assert_eq!(kept(), all, "it was used meanwhile");
        lists.give_unused_back();
        assert_eq!(kept(), all - AT_ONCE * 104);
        ask_often();
        assert!((LEAST - 104..=LEAST).contains(&kept()));
    }

    #[test]
    fn a_drop_that_panics_loses_no_memory() {
        struct Panics(#[expect(dead_code, reason = "it has a size")] u64);
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("as it should");
            }
        }
        let _kept = FreeLists::hold();
        let memory = take::<Panics>();
        // SAFETY: it has the room.
        unsafe { memory.write(Panics(1)) };
        // SAFETY: it came from `take` for this type, and is not used again.
        let end = std::panic::catch_unwind(|| unsafe { free(memory) });
        assert!(end.is_err());
        assert_eq!(kept(), 8);
    }

    #[test]
    fn a_block_may_be_freed_on_another_thread() {
        struct Sent(Vec<NonNull<[u64; 13]>>);
        // SAFETY: the blocks are plain memory, and go with it.
        unsafe impl Send for Sent {}
        let sent = Sent(make::<13>(100));
        let there = std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                let Sent(blocks) = { sent };
                let _kept = FreeLists::hold();
                free_all(blocks);
                kept()
            });
            there.join()
        });
        assert_eq!(there.expect("it does not panic"), 100 * 104);
        assert_eq!(kept(), 0);
    }
}
