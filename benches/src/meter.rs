//! What is measured: time of the wall, time of the processors, allocations, resident memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::alloc;

/// How much work: operations in a batch, and batches that are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) ops: u64,
    pub(crate) batches: u64,
    /// How much is live meanwhile, on the rows that grow in it; otherwise zero.
    pub(crate) live: u64,
}

impl Size {
    /// All that is live in one batch, and as many batches as give the operations, up to a hundred.
    pub(crate) fn all_live(self) -> Self {
        let ops = self.live.max(1);
        Self {
            ops,
            batches: (self.ops / ops).clamp(1, BATCHES_MAX),
            ..self
        }
    }
}

/// Enough for ten milliseconds and more where a thousand are live at once; a run that is shorter tells how the machine woke up.
const BATCHES_MAX: u64 = 100;

/// What a workload took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) ops: u64,
    pub(crate) wall: Duration,
    /// Of all threads of the process.
    pub(crate) cpu: Duration,
    pub(crate) allocs: u64,
    /// Growth of the resident set; zero where it shrank.
    pub(crate) resident_bytes: u64,
    /// The median, the 99th and the 99.9th percentile of what was timed one by one, in nanoseconds.
    pub(crate) percentiles_ns: Option<[u64; 3]>,
}

impl Sample {
    /// The sum of two samples.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            ops: self.ops + other.ops,
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
            allocs: self.allocs + other.allocs,
            resident_bytes: self.resident_bytes + other.resident_bytes,
            percentiles_ns: self.percentiles_ns.or(other.percentiles_ns),
        }
    }

    /// The same sample, with the percentiles of what was timed one by one.
    pub(crate) fn with_percentiles(mut self, mut times_ns: Vec<u64>) -> Self {
        times_ns.sort_unstable();
        let last = times_ns.len().saturating_sub(1);
        let at = |share: f64| times_ns[(last as f64 * share) as usize];
        self.percentiles_ns = (!times_ns.is_empty()).then(|| [at(0.5), at(0.99), at(0.999)]);
        self
    }
}

/// A running measurement.
pub(crate) struct Meter {
    wall: Instant,
    cpu: Duration,
    allocs: u64,
    resident_bytes: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        let resident_bytes = resident_bytes();
        Self {
            allocs: alloc::count(),
            cpu: process_time(),
            wall: Instant::now(),
            resident_bytes,
        }
    }

    /// Ends the measurement of `ops` operations.
    pub(crate) fn stop(self, ops: u64) -> Sample {
        let wall = self.wall.elapsed();
        let cpu = process_time().saturating_sub(self.cpu);
        let allocs = alloc::count() - self.allocs;
        let resident_bytes = resident_bytes().saturating_sub(self.resident_bytes);
        Sample {
            ops,
            wall,
            cpu,
            allocs,
            resident_bytes,
            percentiles_ns: None,
        }
    }
}

/// Runs one batch to warm up, then measures the batches of `size` together.
pub(crate) async fn batches<F, Fut>(size: Size, batch: F) -> Sample
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = ()>,
{
    batch(size.ops).await;
    let meter = Meter::start();
    for _ in 0..size.batches {
        batch(size.ops).await;
    }
    meter.stop(size.ops * size.batches)
}

/// The same without a runtime.
pub(crate) fn batches_blocking(size: Size, mut batch: impl FnMut(u64)) -> Sample {
    batch(size.ops);
    let meter = Meter::start();
    for _ in 0..size.batches {
        batch(size.ops);
    }
    meter.stop(size.ops * size.batches)
}

/// Polls a future once; whether it was ready.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|task| Poll::Ready(future.as_mut().poll(task).is_ready())).await
}

/// Leaves processor time out of what is measured from now on: valgrind, which counts instead, cannot follow the call to the system's clock.
pub(crate) fn leave_processor_time_out() {
    IS_PROCESSOR_TIME_OUT.store(true, Ordering::Relaxed);
}

static IS_PROCESSOR_TIME_OUT: AtomicBool = AtomicBool::new(false);

/// Processor time of all threads.
fn process_time() -> Duration {
    if IS_PROCESSOR_TIME_OUT.load(Ordering::Relaxed) {
        return Duration::ZERO;
    }
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("processor time is not negative")
}

/// The resident set as the kernel reports it; zero where it does not.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_every_figure() {
        let meter = Meter::start();
        let mut blocks = Vec::new();
        for round in 0..64_u8 {
            blocks.push(vec![round + 1; 1 << 20]);
        }
        let sum: u64 = blocks.iter().flatten().map(|byte| u64::from(*byte)).sum();
        let sample = meter.stop(64);
        assert_eq!(sum, (1..=64).sum::<u64>() << 20);
        assert!(sample.wall > Duration::ZERO && sample.cpu > Duration::ZERO);
        assert!(sample.allocs >= 64);
        assert!(
            sample.resident_bytes >= 32 << 20,
            "{}",
            sample.resident_bytes
        );
    }
}
