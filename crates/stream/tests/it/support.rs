//! What the tests share.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome, Time};
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabReport, LabRuntime, Seeds, check_seeds};
use asupersync_stream::{PartitionError, SinkError, Stream, unfold};

pub(crate) const TICK: Duration = Duration::from_millis(1);
pub(crate) const FOREVER: Duration = Duration::from_secs(1_000_000);
/// How many seeds a contract runs under, unless `ASUPERSYNC_SEEDS` says more.
pub(crate) const SEEDS: u64 = 60;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("failed with {0}")]
    Failed(u32),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Sink(#[from] SinkError<u32>),
}

pub(crate) type End<T = ()> = Outcome<T, AppError>;

/// Runs a test under a number of seeds; it asserts by itself.
#[track_caller]
pub(crate) fn under_seeds<F, Fut>(count: u64, body: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = ()>,
{
    let body = &body;
    check_seeds(Seeds::first(count), async move |cx: Cx| {
        body(cx).await;
        Outcome::<(), Infallible>::Ok(())
    });
}

/// Runs a program once and gives the report, which must be clean.
#[track_caller]
pub(crate) fn once<T: std::fmt::Debug, F, Fut>(body: F) -> LabReport<T, AppError>
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = End<T>>,
{
    let report = LabRuntime::new(LabConfig::default()).run(body);
    report.assert_clean();
    report
}

/// Milliseconds since the run began.
pub(crate) fn ms(cx: &Cx, start: Time) -> u64 {
    let since = cx.now().saturating_since(start).as_millis();
    u64::try_from(since).expect("a short run")
}

/// A stream whose items come after so many milliseconds each; its sleeps are not ours to cancel, so it just ends late.
pub(crate) fn paced<T>(
    cx: &Cx,
    items: impl IntoIterator<Item = (u64, T)>,
) -> impl Stream<Item = T> + Unpin {
    let items = items.into_iter();
    Box::pin(unfold(items, async move |mut items| {
        let (after, item) = items.next()?;
        if after > 0 {
            cx.sleep(Duration::from_millis(after)).await.ok()?;
        }
        Some((item, items))
    }))
}

/// How many of something are alive.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<AtomicUsize>);

impl Live {
    pub(crate) fn enter(&self) -> Guard {
        self.0.fetch_add(1, Ordering::Relaxed);
        Guard(Arc::clone(&self.0))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
