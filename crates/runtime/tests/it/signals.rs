//! Signals, each test in a process of its own, since a signal is heard by every runtime of its process.

use std::process::{Command, Stdio};
use std::time::Duration;

use asupersync_core::{CancelKind, Cancelled, Outcome};
use asupersync_runtime::RuntimeBuilder;

const CHILD: &str = "ASUPERSYNC_TEST_CHILD";

/// Runs `body` in a process that runs this one test.
#[track_caller]
fn in_own_process(test: &str, body: fn()) {
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

fn terminate_self() {
    let pid = std::process::id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_program_that_ends_at_once_reports_how_long_its_shutdown_took() {
    in_own_process(
        "signals::a_program_that_ends_at_once_reports_how_long_its_shutdown_took",
        || {
            for workers in [1, 2] {
                let mut runtime = RuntimeBuilder::new()
                    .worker_threads(workers)
                    .build()
                    .unwrap();
                for _ in 0..5 {
                    let end = runtime.block_on(async |cx| {
                        terminate_self();
                        cx.sleep(Duration::from_secs(3600)).await
                    });
                    let Outcome::Cancelled(reason) = end else {
                        panic!("expected a cancellation, got {end:?}");
                    };
                    assert_eq!(reason.root_cause().kind(), CancelKind::Shutdown);
                    let report = runtime.last_shutdown();
                    assert_eq!((report.signals, report.unfinished.len()), (1, 0));
                    assert!(report.took > Duration::ZERO);
                    assert!(report.took < Duration::from_secs(3600));
                }
                // What comes after is not told of the signal again.
                let end = runtime.block_on(async |cx| {
                    cx.checkpoint()?;
                    Ok::<_, Cancelled>(7)
                });
                assert_eq!(end, Outcome::Ok(7));
                assert_eq!(runtime.last_shutdown().signals, 0);
            }
        },
    );
}

/// The system hands a signal to whichever thread it likes, so the one that sleeps may never see it interrupted.
#[test]
fn a_signal_that_another_thread_takes_ends_a_sleep() {
    in_own_process(
        "signals::a_signal_that_another_thread_takes_ends_a_sleep",
        || {
            // Both sleep on this thread, and the second was not there when the handlers were installed.
            for _ in 0..2 {
                let mut runtime = RuntimeBuilder::new().worker_threads(1).build().unwrap();
                for _ in 0..5 {
                    let (is_about_to_sleep, hears) = std::sync::mpsc::channel();
                    // Starting a process takes longer than falling asleep; the test's main thread, which waits, takes the signal.
                    let other = std::thread::Builder::new().spawn(move || {
                        hears.recv().unwrap();
                        terminate_self();
                    });
                    let end = runtime.block_on(async |cx| {
                        is_about_to_sleep.send(()).unwrap();
                        let start = cx.now();
                        let slept = cx.sleep(Duration::from_secs(20)).await;
                        assert!(cx.now() - start < Duration::from_secs(10), "it slept on");
                        slept
                    });
                    other.unwrap().join().unwrap();
                    assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                    assert_eq!(runtime.last_shutdown().signals, 1);
                }
            }
        },
    );
}
