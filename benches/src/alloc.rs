//! The system's allocator with a count of its calls.
//!
//! Each thread counts in a slot of its own, so that counting adds no traffic between cores and favours no runtime.
//! More than [`SLOTS`] threads share slots and may then lose counts; the workloads start a handful.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Allocations and reallocations of the process so far.
pub(crate) fn count() -> u64 {
    COUNTS
        .iter()
        .map(|slot| slot.0.load(Ordering::Relaxed))
        .sum()
}

struct Counting;

#[global_allocator]
static GLOBAL: Counting = Counting;

// SAFETY: every call is forwarded unchanged to the system's allocator, which keeps the contract; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: `pointer` came from the system's allocator through us, with this layout.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from the system's allocator through us, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn note() {
    // A thread that is past its locals counts nowhere.
    let slot = SLOT.try_with(|slot| {
        if slot.get() == UNASSIGNED {
            slot.set(NEXT_SLOT.fetch_add(1, Ordering::Relaxed) % SLOTS);
        }
        slot.get()
    });
    if let Ok(slot) = slot {
        let count = &COUNTS[slot].0;
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// A counter on a cache line of its own.
#[repr(align(128))]
struct Slot(AtomicU64);

const SLOTS: usize = 64;
const UNASSIGNED: usize = usize::MAX;

static COUNTS: [Slot; SLOTS] = [const { Slot(AtomicU64::new(0)) }; SLOTS];
static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SLOT: Cell<usize> = const { Cell::new(UNASSIGNED) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_of_every_thread_are_counted() {
        let before = count();
        let boxes: Vec<Box<u64>> = (0..1000).map(Box::new).collect();
        let other = std::thread::spawn(|| (0..1000).map(Box::new).collect::<Vec<Box<u64>>>());
        let sum: u64 = other
            .join()
            .expect("ends")
            .iter()
            .chain(&boxes)
            .map(|boxed| **boxed)
            .sum();
        assert_eq!(sum, 999_000);
        assert!(count() - before >= 2002);
    }
}
