//! The clock of the flight recorder: the processor's counter, where the system itself keeps time by it.
//! The kernel looks at it too, to tell whether two moments are close: [`moment`].
//!
//! # How
//! An event is stamped with the counter as it is, and a stamp becomes a time when the record is read.
//! Then the counter and the host's clock are looked at once more, and a stamp lies between that look and the first one, at building, as its count does.
//!
//! # Precision
//! A stamp is right to a microsecond beside the host's clock at both looks; between them the system may speed its clock up or slow it down by 500 millionths at most.
//! So an event that happened `age` before the reading is right to a microsecond and a thousandth of `age`.
//!
//! # Order
//! The processor may look at its counter before it has read what comes earlier in the program.
//! A look that waits for everything read before it costs as much again, and is needed only by what may follow from an event on another thread: [`Ticks::stamp`].
//! It has no smaller stamp than that event.
//!
//! # Deliberately absent
//! Any other judgment of the counter than the system's: that it runs evenly, goes on in sleep and is the same on all processors was tested when the system chose it.

use std::sync::OnceLock;

use asupersync_core::Time;

use crate::clock::Clock;

/// What stamps events, and what their stamps mean.
pub(crate) struct Ticks {
    clock: Clock,
    /// What was counted when the host's clock showed the other; nothing where its clock itself makes the stamps.
    start: Option<(u64, Time)>,
}

impl Ticks {
    pub(crate) fn new(clock: Clock) -> Self {
        let start = is_counter_trusted().then(|| look(clock));
        Self { clock, start }
    }

    /// A stamp for what happens now, and after everything that this thread has seen.
    #[inline]
    pub(crate) fn stamp(&self) -> Time {
        match self.start {
            Some(_) => {
                counter::wait_for_reads();
                Time::from_nanos(counter::count())
            }
            None => self.clock.now(),
        }
    }

    /// A stamp for what happens now, and after what this thread stamped last, but maybe a moment before what it has just read.
    #[inline]
    pub(crate) fn stamp_early(&self) -> Time {
        match self.start {
            Some(_) => Time::from_nanos(counter::count()),
            None => self.clock.now(),
        }
    }

    /// What tells the times of stamps, the newest as of now.
    pub(crate) fn reading(&self) -> impl Fn(Time) -> Time + use<> {
        let looks = self.start.map(|start| (start, look(self.clock)));
        move |stamp| match looks {
            Some((start, end)) => between(start, end, stamp.as_nanos()),
            None => stamp,
        }
    }
}

/// A count that goes on with time, to tell whether two moments are close; of the processor's counter or else of nanoseconds.
#[inline]
pub(crate) fn moment(clock: Clock) -> u64 {
    match is_counter_trusted() {
        true => counter::count(),
        false => clock.now().as_nanos(),
    }
}

fn is_counter_trusted() -> bool {
    static IS_TRUSTED: OnceLock<bool> = OnceLock::new();
    *IS_TRUSTED.get_or_init(counter::is_trusted)
}

/// The count and the time of one moment.
fn look(clock: Clock) -> (u64, Time) {
    // Whatever interrupts a look makes it longer, so the shortest of a few is the truest.
    let looks = (0..LOOKS).map(|_| {
        counter::wait_for_reads();
        let before = counter::count();
        let time = clock.now();
        counter::wait_for_reads();
        let taken = counter::count().saturating_sub(before);
        (taken, (before + taken / 2, time))
    });
    looks
        .min_by_key(|(taken, _)| *taken)
        .map_or((0, Time::ZERO), |(_, look)| look)
}

/// The time of a count, on the line through two looks.
fn between(start: (u64, Time), end: (u64, Time), count: u64) -> Time {
    let counted = end.0.saturating_sub(start.0).max(1);
    let lasted = end.1.saturating_since(start.1).as_nanos();
    let passed = u128::from(count.saturating_sub(start.0)) * lasted / u128::from(counted);
    let nanos = start.1.as_nanos().saturating_add(passed as u64);
    Time::from_nanos(nanos)
}

/// How often the clocks are looked at together.
const LOOKS: usize = 5;

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod counter {
    use std::arch::x86_64::{__cpuid, _mm_lfence, _rdtsc};

    /// Where the system says by what it keeps time.
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

    /// Whether the system keeps time by the counter, and the processor says that it runs evenly.
    pub(super) fn is_trusted() -> bool {
        let is_even =
            __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0;
        is_even && std::fs::read_to_string(SOURCE).is_ok_and(|source| source.trim() == "tsc")
    }

    /// Returns when all earlier instructions of this thread are done.
    #[inline]
    pub(super) fn wait_for_reads() {
        // SAFETY: every processor of this architecture has the instruction, which touches no memory of ours.
        unsafe { _mm_lfence() };
    }

    #[inline]
    pub(super) fn count() -> u64 {
        // SAFETY: it touches no memory of ours, and a system that keeps time by the counter lets programs read it.
        unsafe { _rdtsc() }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
mod counter {
    pub(super) const fn is_trusted() -> bool {
        false
    }

    pub(super) const fn wait_for_reads() {}

    pub(super) const fn count() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_lies_between_two_looks_as_its_time_does() {
        let (start, end) = (
            (1_000, Time::from_nanos(50)),
            (4_000, Time::from_nanos(1_050)),
        );
        for (count, nanos) in [(1_000, 50), (2_500, 550), (4_000, 1_050), (7_000, 2_050)] {
            assert_eq!(between(start, end, count), Time::from_nanos(nanos));
        }
        assert_eq!(
            between(start, end, 0),
            start.1,
            "nothing is before the start"
        );
        assert_eq!(between(start, start, 1_000), start.1);
        let far = (u64::MAX, Time::from_nanos(u64::MAX));
        assert_eq!(between((0, Time::ZERO), far, u64::MAX), far.1);
    }

    #[test]
    fn a_stamp_is_read_as_the_time_at_which_it_was_made() {
        let clock = Clock::new();
        let ticks = Ticks::new(clock);
        let mut made = Vec::new();
        for _ in 0..1_000 {
            let before = clock.now();
            let stamp = ticks.stamp();
            made.push((before, stamp, clock.now()));
        }
        let time_of = ticks.reading();
        let near = std::time::Duration::from_micros(1);
        for (before, stamp, after) in made {
            let time = time_of(stamp);
            assert!(time + near >= before, "{time:?} before {before:?}");
            assert!(time <= after + near, "{time:?} after {after:?}");
        }
    }

    #[test]
    fn what_follows_on_another_thread_has_no_smaller_stamp() {
        use std::sync::atomic::{AtomicU64, Ordering};
        let ticks = Ticks::new(Clock::new());
        let last = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100_000 {
                        let seen = last.load(Ordering::Acquire);
                        let stamp = ticks.stamp().as_nanos();
                        assert!(stamp >= seen, "{stamp} after {seen}");
                        last.store(stamp, Ordering::Release);
                    }
                });
            }
        });
    }
}
