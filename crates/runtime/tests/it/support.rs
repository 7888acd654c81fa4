//! What the tests share.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use asupersync_core::{Cancelled, IntoOutcome, OkOf, OutcomeError, PanicPayload};
use asupersync_kernel::Cx;
use asupersync_runtime::{Runtime, RuntimeBuilder};

/// The tests' error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("a child panicked")]
    Panicked(#[from] PanicPayload),
}

impl From<OutcomeError<Self>> for AppError {
    fn from(error: OutcomeError<Self>) -> Self {
        match error {
            OutcomeError::Err(error) => error,
            OutcomeError::Cancelled(reason) => Self::Cancelled(Cancelled::new(reason)),
            OutcomeError::Panicked(payload) => Self::Panicked(payload),
        }
    }
}

pub(crate) type End<T = ()> = Result<T, AppError>;

/// Longer than any test waits.
pub(crate) const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// A test that takes longer has hung.
const WATCHDOG: Duration = Duration::from_secs(90);

pub(crate) fn builder(workers: usize) -> RuntimeBuilder {
    RuntimeBuilder::new()
        .worker_threads(workers)
        .handle_signals(false)
}

pub(crate) fn runtime(workers: usize) -> Runtime {
    builder(workers).build().unwrap()
}

/// Runs a program on `runtime`; it must end well and leave nothing.
#[track_caller]
pub(crate) fn run_on<F, Fut, T>(runtime: &mut Runtime, body: F) -> T
where
    F: FnOnce(Cx) -> Fut,
    Fut: Future<Output = End<T>>,
    Fut::Output: IntoOutcome<Ok = T, Err = AppError>,
{
    let _watchdog = Watchdog::start();
    let end: Result<OkOf<Fut>, _> = runtime.block_on(body).into_result();
    assert!(runtime.last_shutdown().unfinished.is_empty());
    match end {
        Ok(value) => value,
        Err(OutcomeError::Err(error)) => panic!("{error}"),
        Err(OutcomeError::Cancelled(reason)) => panic!("{reason}"),
        Err(OutcomeError::Panicked(payload)) => panic!("{payload}"),
    }
}

/// Blocks this thread, as no task should.
pub(crate) fn block(duration: Duration) {
    let (_silent, silence) = mpsc::channel::<()>();
    let _ = silence.recv_timeout(duration);
}

/// Ends the process, with a word, if a test hangs.
pub(crate) struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    pub(crate) fn start() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&done);
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::Builder::new()
            .spawn(move || {
                block(WATCHDOG);
                if !seen.load(Ordering::Acquire) {
                    eprintln!("{test} hangs");
                    std::process::abort();
                }
            })
            .unwrap();
        Self(done)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Set in the process of a test that has one of its own.
const CHILD: &str = "ASUPERSYNC_TEST_CHILD";

/// Runs `body` in a process that runs this one test.
#[track_caller]
pub(crate) fn in_own_process(test: &str, body: fn()) {
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}
