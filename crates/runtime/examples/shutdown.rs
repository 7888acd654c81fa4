//! How a program ends: exit codes, signals, the shutdown budget and the report of what did not finish.
//!
//! `cargo run -p asupersync-runtime --example shutdown -- MODE; echo $?`, where `MODE` is
//! `ok` (0), `err` (1), `panic` (101), `drain` (130 after SIGINT or SIGTERM, with every task drained) or
//! `stubborn` (a task that never yields: 130 after a signal and a second one, or after the shutdown budget).

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use asupersync_core::Cancelled;
use asupersync_kernel::{Cx, SpawnOptions};
use asupersync_runtime::{RuntimeBuilder, run_main};

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("stopped")]
    Cancelled(#[from] Cancelled),
    #[error("the disk is full")]
    DiskFull,
}

type End = Result<(), AppError>;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1).unwrap_or_else(|| "ok".to_owned());
    let budget_ms = std::env::args()
        .nth(2)
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_000);
    let builder = RuntimeBuilder::new()
        .worker_threads(4)
        .shutdown_timeout(Duration::from_millis(budget_ms));
    run_main(builder, async |cx| match mode.as_str() {
        "ok" => End::Ok(()),
        "err" => Err(AppError::DiskFull),
        "panic" => panic!("a bug"),
        "drain" => drain(&cx).await,
        "stubborn" => stubborn(&cx).await,
        other => panic!("unknown mode {other}"),
    })
}

/// Tasks that finish what they hold before they go.
async fn drain(cx: &Cx) -> End {
    let end = cx
        .region(async |scope| {
            for number in 0..3 {
                scope.spawn(async move |cx: Cx| {
                    let stop = cx.sleep(FOREVER).await;
                    let flushed = cx.shield(cx.sleep(Duration::from_millis(50))).await;
                    println!("drained {number}: {}", flushed.is_ok());
                    stop?;
                    End::Ok(())
                });
            }
            println!("ready");
            scope.cx().sleep(FOREVER).await?;
            End::Ok(())
        })
        .await;
    Err(match end.cancel_reason() {
        Some(reason) => Cancelled::new(reason.clone()).into(),
        None => AppError::DiskFull,
    })
}

/// A task that no runtime can stop, away from the thread that waits for it.
async fn stubborn(cx: &Cx) -> End {
    let end = cx.region(async |scope| {
        // Of two tasks another worker takes one while this one is busy; the first to come stays.
        for _ in 0..2 {
            scope.spawn_with(SpawnOptions::new().name("stubborn"), async |_: Cx| {
                let is_away = std::thread::current().name() != Some("main");
                if is_away && !STARTED.swap(true, Ordering::AcqRel) {
                    println!("ready");
                    loop {
                        wait(FOREVER);
                    }
                }
                End::Ok(())
            });
        }
        while !STARTED.load(Ordering::Acquire) {
            wait(Duration::from_millis(1));
        }
        scope.cx().sleep(FOREVER).await?;
        End::Ok(())
    });
    Err(match end.await.cancel_reason() {
        Some(reason) => Cancelled::new(reason.clone()).into(),
        None => AppError::DiskFull,
    })
}

/// Blocks this thread, as no task should.
fn wait(duration: Duration) {
    let (_silent, silence) = mpsc::channel::<()>();
    let _ = silence.recv_timeout(duration);
}

static STARTED: AtomicBool = AtomicBool::new(false);

const FOREVER: Duration = Duration::from_secs(24 * 3600);
