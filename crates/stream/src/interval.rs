//! Ticks as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use asupersync_core::{Cancelled, Time};
use asupersync_kernel::caps::HasTime;
use asupersync_time::Interval;
use futures_core::Stream;
use futures_util::stream::unfold;

use crate::stop::Stop;

/// The ticks of an interval; from [`interval_stream`].
#[must_use = "streams do nothing unless polled"]
pub struct IntervalStream<'a> {
    ticks: Pin<Box<dyn Stream<Item = Result<Time, Cancelled>> + Send + 'a>>,
    stop: Stop,
}

/// The ticks of an interval as a stream, each the moment for which it was set; it does not end by itself.
///
/// Once the context being polled must stop it gives `Err(Cancelled)`.
/// Cost: one allocation for the stream.
/// # Examples
/// ```
/// use asupersync_core::{Cancelled, Outcome, Time};
/// use asupersync_kernel::Cx;
/// use asupersync_stream::{StreamExt, TryStreamExt, interval_stream};
/// use asupersync_time::interval;
/// use std::time::Duration;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let ticks = interval_stream(interval(&cx, Duration::from_secs(60)));
///     ticks.take(3).try_collect::<Vec<Time>>(&cx).await
/// });
/// assert_eq!(report.elapsed, Duration::from_secs(120));
/// # let Outcome::<_, Cancelled>::Ok(ticks) = report.outcome else { panic!() };
/// # assert_eq!(ticks.len(), 3);
/// ```
pub fn interval_stream<C: HasTime>(interval: Interval<'_, C>) -> IntervalStream<'_> {
    let ticks = unfold(interval, async |mut interval| {
        let tick = interval.tick().await;
        Some((tick, interval))
    });
    IntervalStream {
        ticks: Box::pin(ticks),
        stop: Stop::new(),
    }
}

impl Stream for IntervalStream<'_> {
    type Item = Result<Time, Cancelled>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.stop.is_over() {
            return Poll::Ready(None);
        }
        match ready!(this.ticks.as_mut().poll_next(task)) {
            Some(Err(cancelled)) => this.stop.tell(cancelled).map(|told| told.map(Err)),
            tick => Poll::Ready(tick),
        }
    }
}
