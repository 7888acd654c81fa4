//! What the tests share.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabReport, LabRuntime, Seeds, check_seeds};

pub(crate) const TICK: Duration = Duration::from_millis(1);
pub(crate) const FOREVER: Duration = Duration::from_secs(1_000_000);

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("failed with {0}")]
    Failed(u32),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
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

/// A panic without the hook's message.
pub(crate) fn quiet_panic(message: &str) -> ! {
    std::panic::resume_unwind(Box::new(message.to_owned()))
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

/// Works for `work`, in a task; when it is stopped it cleans up for `cleanup`.
pub(crate) async fn stubborn(cx: Cx, live: Live, work: Duration, cleanup: Duration) -> End {
    let guard = live.enter();
    cx.region(async |scope| {
        scope.spawn(async move |cx: Cx| {
            let _guard = guard;
            let end = cx.sleep(work).await;
            if end.is_err() {
                let _ = cx.shield(cx.sleep(cleanup)).await;
            }
            end.map_err(AppError::from)
        });
        End::Ok(())
    })
    .await
}

/// The virtual time, in milliseconds.
pub(crate) fn ticks(cx: &Cx) -> u64 {
    cx.now().as_millis()
}

/// What an observer heard.
#[derive(Default)]
pub(crate) struct Heard(std::sync::Mutex<Vec<asupersync_combinator::PolicyEvent>>);

impl Heard {
    pub(crate) fn take(&self) -> Vec<asupersync_combinator::PolicyEvent> {
        std::mem::take(&mut self.0.lock().expect("no test panics while it holds it"))
    }
}

impl asupersync_combinator::Observer for Heard {
    fn event(&self, event: &asupersync_combinator::PolicyEvent) {
        self.0
            .lock()
            .expect("no test panics while it holds it")
            .push(event.clone());
    }
}
