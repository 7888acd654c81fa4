//! One timer wheel for each worker.
//!
//! A worker sets timers in its own wheel, whose lock it then shares with nobody but the odd canceller.
//! A wheel is advanced by its worker: between tasks, and when it wakes from the sleep that the wheel's next deadline bounds.
//! The worker that slept in the reactor advances all of them, since their owners may be stuck in a poll.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use asupersync_core::Time;
use asupersync_kernel as kernel;
use asupersync_time::{TimerKey, Wheel, WheelConfig};

pub(crate) struct Timers {
    shards: Vec<Shard>,
    config: WheelConfig,
}

/// A wheel on a cache line of its own.
#[repr(align(128))]
struct Shard {
    /// Made for the worker's first timer.
    wheel: Mutex<Option<Wheel<Waker>>>,
    /// The wheel's next deadline as last seen, so that a worker without timers asks for no lock.
    next: AtomicU64,
}

impl Timers {
    pub(crate) fn new(shards: usize, config: WheelConfig) -> Self {
        let shard = || Shard {
            wheel: Mutex::new(None),
            next: AtomicU64::new(u64::MAX),
        };
        Self {
            shards: (0..shards).map(|_| shard()).collect(),
            config,
        }
    }

    pub(crate) fn insert(&self, shard: usize, at: Time, waker: Waker) -> kernel::TimerKey {
        let place = &self.shards[shard];
        let mut wheel = place.lock();
        let wheel = wheel.get_or_insert_with(|| Wheel::new(Time::ZERO, self.config));
        let key = wheel.insert(at, waker);
        if at.as_nanos() < place.next.load(Ordering::Relaxed) {
            place.publish(wheel);
        }
        let shard = u32::try_from(shard).expect("a scheduler has at most 64 workers");
        kernel::TimerKey {
            shard,
            entry: key.to_bits(),
        }
    }

    pub(crate) fn cancel(&self, key: kernel::TimerKey) {
        let Some(entry) = TimerKey::from_bits(key.entry) else {
            return;
        };
        let place = &self.shards[key.shard as usize];
        let waker = place.lock().as_mut().and_then(|wheel| wheel.cancel(entry));
        drop(waker);
    }

    /// Takes out what is due in one wheel.
    pub(crate) fn advance(&self, shard: usize, now: Time, due: &mut Vec<Waker>) {
        let place = &self.shards[shard];
        if place.next.load(Ordering::Relaxed) > now.as_nanos() {
            return;
        }
        if let Some(wheel) = place.lock().as_mut() {
            wheel.advance(now, due);
            place.publish(wheel);
        }
    }

    /// When a wheel wants to be advanced next.
    pub(crate) fn next_deadline(&self, shard: usize) -> Option<Time> {
        let next = self.shards[shard].next.load(Ordering::Relaxed);
        (next != u64::MAX).then(|| Time::from_nanos(next))
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Option<Wheel<Waker>>> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, wheel: &Wheel<Waker>) {
        let next = wheel.next_deadline().map_or(u64::MAX, Time::as_nanos);
        self.next.store(next, Ordering::Relaxed);
    }
}
