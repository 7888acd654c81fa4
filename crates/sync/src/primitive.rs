//! The seam through which the lock-free code takes its atomics, cells and locks, so that loom can replace them.

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    hint::spin_loop,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread::yield_now,
};
#[cfg(not(loom))]
pub(crate) use std::{
    hint::spin_loop,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread::yield_now,
};

/// A constructor that is `const` wherever loom does not replace the atomics, whose own constructors are not.
macro_rules! const_unless_loom {
    ($(#[$attribute:meta])* $vis:vis fn $($rest:tt)*) => {
        #[cfg(not(loom))]
        $(#[$attribute])*
        $vis const fn $($rest)*
        #[cfg(loom)]
        $(#[$attribute])*
        $vis fn $($rest)*
    };
}
pub(crate) use const_unless_loom;

/// Between two sequentially consistent accesses that must not change places.
///
/// Their total order says so already; loom takes such accesses for acquire and release only, so its models need the fence.
#[inline]
pub(crate) fn total_order() {
    #[cfg(loom)]
    loom::sync::atomic::fence(Ordering::SeqCst);
}

/// Blocks the thread that made it.
#[cfg(not(loom))]
pub(crate) struct Parker {
    thread: std::thread::Thread,
    woken: AtomicBool,
}

#[cfg(not(loom))]
impl Parker {
    pub(crate) fn new() -> Self {
        Self {
            thread: std::thread::current(),
            woken: AtomicBool::new(false),
        }
    }

    pub(crate) fn park(&self) {
        // Somebody else's use of the thread's token must not pass for a wake.
        while !self.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }

    pub(crate) fn unpark(&self) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Blocks the thread that made it; loom's own threads cannot be unparked while they wait for something else.
#[cfg(loom)]
pub(crate) struct Parker(loom::sync::Notify);

#[cfg(loom)]
impl Parker {
    pub(crate) fn new() -> Self {
        Self(loom::sync::Notify::new())
    }

    pub(crate) fn park(&self) {
        self.0.wait();
    }

    pub(crate) fn unpark(&self) {
        self.0.notify();
    }
}

/// Locks a list; no code of the program runs under such a lock, so a poisoned one guards a sound state.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A cell with loom's interface.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Keeps what one side writes off the cache line that the other side writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}
