//! How programs end: exit codes, signals, the shutdown budget and its report.
//!
//! The programs are runs of the example `shutdown`, which `cargo test` builds beside the tests; with `--test it` alone it must have been built before.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::{Cx, SpawnOptions, Subject, Unfinished};
use rustix::process::{Pid, Signal, kill_process};
use rustix::time::{ClockId, clock_gettime};

use crate::support::{End, FOREVER, Watchdog, block, builder, run_on, runtime};

fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let example = profile.join("examples").join("shutdown");
    assert!(
        example.exists(),
        "build it first: cargo build -p asupersync-runtime --example shutdown"
    );
    example
}

/// A run of the example.
struct Run {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    _watchdog: Watchdog,
}

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(example())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            out,
            _watchdog: Watchdog::start(),
        }
    }

    fn wait_ready(mut self) -> Self {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self
    }

    fn signal(self, signal: Signal) -> Self {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self
    }

    fn end(mut self) -> Ended {
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_string(&mut err).unwrap();
        let code = self.child.wait().unwrap().code();
        Ended { code, out, err }
    }
}

#[test]
fn a_program_that_ends_by_itself_exits_with_its_outcome() {
    let end = Run::start(&["ok"]).end();
    assert_eq!((end.code, end.err.as_str()), (Some(0), ""));
    let end = Run::start(&["err"]).end();
    assert_eq!(end.code, Some(1));
    assert!(end.err.contains("error: the disk is full"), "{}", end.err);
    let end = Run::start(&["panic"]).end();
    assert_eq!(end.code, Some(101));
    assert!(end.err.contains("a bug"), "{}", end.err);
}

#[test]
fn a_signal_drains_the_program_and_exits_130() {
    for signal in [Signal::INT, Signal::TERM] {
        let end = Run::start(&["drain"]).wait_ready().signal(signal).end();
        assert_eq!(end.code, Some(130), "{}", end.err);
        let mut lines: Vec<&str> = end.out.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            ["drained 0: true", "drained 1: true", "drained 2: true"]
        );
        assert!(!end.err.contains("had not ended"), "{}", end.err);
    }
}

#[test]
fn a_task_that_never_yields_is_named_when_the_shutdown_budget_is_spent() {
    let end = Run::start(&["stubborn", "300"])
        .wait_ready()
        .signal(Signal::TERM)
        .end();
    assert_eq!(end.code, Some(130), "{}", end.err);
    assert!(
        end.err.contains("(stubborn), running without a yield"),
        "{}",
        end.err
    );
}

#[test]
fn a_second_signal_ends_the_waiting() {
    // Which worker sleeps where is not ours to say, so that it takes several runs.
    for _ in 0..6 {
        // The budget is longer than the watchdog's patience.
        let run = Run::start(&["stubborn", "3600000"])
            .wait_ready()
            .signal(Signal::TERM);
        block(Duration::from_millis(100));
        let second = clock_gettime(ClockId::Monotonic);
        let end = run.signal(Signal::INT).end();
        let waited = clock_gettime(ClockId::Monotonic).tv_sec - second.tv_sec;
        assert_eq!(end.code, Some(130), "{}", end.err);
        assert!(end.err.contains("(stubborn)"), "{}", end.err);
        assert!(waited < 4, "it took {waited} s to hear the signal");
    }
}

#[test]
fn the_shutdown_budget_bounds_the_end_and_the_report_names_what_is_left() {
    let timeout = Duration::from_millis(200);
    let mut runtime = builder(2).shutdown_timeout(timeout).build().unwrap();
    let release = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicBool::new(false));
    let _watchdog = Watchdog::start();
    let end = runtime.block_on(async |cx| {
        let here = std::thread::current().id();
        let mut left = Box::pin(cx.region(async |scope| {
            // The other worker takes some while this one is busy; the first few end well, and leave their region together.
            let taken = Arc::new(AtomicUsize::new(0));
            for _ in 0..16 {
                let (release, started) = (Arc::clone(&release), Arc::clone(&started));
                let taken = Arc::clone(&taken);
                let name = SpawnOptions::new().name("stubborn");
                scope.spawn_with(name, async move |_: Cx| {
                    let is_there = std::thread::current().id() != here;
                    if is_there && taken.fetch_add(1, Ordering::Relaxed) > 2 {
                        started.store(true, Ordering::Release);
                        while !release.load(Ordering::Acquire) {
                            block(Duration::from_millis(5));
                        }
                    }
                    End::Ok(())
                });
            }
            while !started.load(Ordering::Acquire) {
                block(Duration::from_millis(1));
            }
            scope.cx().sleep(FOREVER).await?;
            End::Ok(())
        }));
        assert!(futures_util::poll!(left.as_mut()).is_pending());
        End::Ok(1)
    });
    assert_eq!(end, Outcome::Ok(1));
    let report = runtime.last_shutdown().clone();
    release.store(true, Ordering::Release);
    assert!(report.took >= timeout, "{report:?}");
    assert!(report.took < timeout + Duration::from_secs(5), "{report:?}");
    let is_named = |left: &&Unfinished| left.name.as_deref() == Some("stubborn");
    let named: Vec<_> = report.unfinished.iter().filter(is_named).collect();
    let [stubborn] = named[..] else {
        panic!("one is left: {report:?}");
    };
    assert!(stubborn.running, "it never yields: {report:?}");
    assert!(
        stubborn.reason.is_some(),
        "it was asked to stop: {report:?}"
    );
    let region = report
        .unfinished
        .iter()
        .any(|left| matches!(left.subject, Subject::Region(_)));
    assert!(region, "its region has not ended either: {report:?}");
}

#[test]
fn leaving_the_root_body_closes_abandoned_regions_first() {
    for workers in [1, 2, 4] {
        let alive = Arc::new(AtomicUsize::new(0));
        let finalized = Arc::new(AtomicUsize::new(0));
        run_on(&mut runtime(workers), async |cx| {
            for _ in 0..20 {
                let (alive, finalized) = (Arc::clone(&alive), Arc::clone(&finalized));
                let mut left = Box::pin(cx.region(async move |scope| {
                    scope.defer(async move |_: Cx| {
                        finalized.fetch_add(1, Ordering::SeqCst);
                    });
                    for _ in 0..5 {
                        alive.fetch_add(1, Ordering::SeqCst);
                        let alive = Arc::clone(&alive);
                        scope.spawn(async move |cx: Cx| {
                            let stopped = cx.sleep(FOREVER).await;
                            cx.shield(cx.sleep(Duration::from_millis(5))).await?;
                            alive.fetch_sub(1, Ordering::SeqCst);
                            stopped?;
                            End::Ok(())
                        });
                    }
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                }));
                assert!(futures_util::poll!(left.as_mut()).is_pending());
            }
            End::Ok(())
        });
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(finalized.load(Ordering::SeqCst), 20);
    }
}

#[test]
fn a_cancelled_root_body_says_why() {
    let end = runtime(1).block_on(async |cx| {
        let end = cx
            .region(async |scope| {
                scope.cancel(CancelKind::Shutdown);
                scope.cx().checkpoint()?;
                End::Ok(())
            })
            .await;
        end.into_result()
    });
    assert_eq!(
        end.cancel_reason().map(asupersync_core::CancelReason::kind),
        Some(CancelKind::Shutdown)
    );
}
