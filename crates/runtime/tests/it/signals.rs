//! Signals, each test in a process of its own, since a signal is heard by every runtime of its process.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Barrier, mpsc};
use std::time::Duration;

use asupersync_core::{CancelKind, Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_runtime::RuntimeBuilder;
use rustix::process::{Signal, getpid, kill_process};

use crate::support::{End, Watchdog, in_own_process};

fn terminate_self() {
    kill_process(getpid(), Signal::TERM).unwrap();
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
                    let (is_about_to_sleep, hears) = mpsc::channel();
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

/// Says whether the program was asked to end, and else is never done and never waits.
async fn yield_until_cancelled(cx: &Cx, says: &mpsc::Sender<CancelKind>) -> Cancelled {
    loop {
        if let Err(stop) = cx.yield_now().await {
            says.send(stop.reason().root_cause().kind()).unwrap();
            return stop;
        }
    }
}

#[test]
fn a_worker_that_never_sleeps_hears_a_signal() {
    in_own_process("signals::a_worker_that_never_sleeps_hears_a_signal", || {
        let _watchdog = Watchdog::start();
        let mut runtime = RuntimeBuilder::new().worker_threads(1).build().unwrap();
        let (says, hears) = mpsc::channel();
        let end = runtime.block_on(async |cx| {
            cx.region(async |scope| {
                scope.spawn(async move |cx: Cx| {
                    cx.yield_now().await?;
                    terminate_self();
                    End::<()>::Err(yield_until_cancelled(&cx, &says).await.into())
                });
                End::Ok(())
            })
            .await
            .flatten()
        });
        assert!(!end.is_ok(), "{end:?}");
        assert_eq!(hears.recv(), Ok(CancelKind::Shutdown));
        assert_eq!(runtime.last_shutdown().signals, 1);
    });
}

/// Worker 0, whose loop counts the signals, is in a poll that lasts, and nobody sleeps in the reactor.
#[test]
fn a_busy_worker_delivers_a_signal_while_another_is_stuck() {
    in_own_process(
        "signals::a_busy_worker_delivers_a_signal_while_another_is_stuck",
        || {
            let _watchdog = Watchdog::start();
            let mut runtime = RuntimeBuilder::new().worker_threads(2).build().unwrap();
            let end = runtime.block_on(async |cx| {
                cx.region(async |scope| {
                    let (runs, is_running) = mpsc::channel();
                    let (says, hears) = mpsc::channel();
                    scope.spawn(async move |cx: Cx| {
                        runs.send(()).unwrap();
                        End::<()>::Err(yield_until_cancelled(&cx, &says).await.into())
                    });
                    // It takes the slot, from where the first task becomes stealable.
                    scope.spawn(async |_: Cx| End::Ok(()));
                    is_running.recv().unwrap();
                    terminate_self();
                    assert_eq!(hears.recv(), Ok(CancelKind::Shutdown));
                    End::Ok(())
                })
                .await
                .flatten()
            });
            assert!(!end.is_ok(), "{end:?}");
            assert_eq!(runtime.last_shutdown().signals, 1);
        },
    );
}

/// Others come and go meanwhile, so that ends of pipes and reactors are made and closed all the time.
#[test]
fn each_of_two_running_programs_hears_each_signal() {
    const ROUNDS: u32 = 300;
    in_own_process(
        "signals::each_of_two_running_programs_hears_each_signal",
        || {
            let _watchdog = Watchdog::start();
            let (is_over, are_ready) = (AtomicBool::new(false), Barrier::new(3));
            // Once the handlers stand, a signal that comes before the programs run ends nothing.
            let first = RuntimeBuilder::new().worker_threads(1).build().unwrap();
            std::thread::scope(|scope| {
                let program = |workers| {
                    let are_ready = &are_ready;
                    move || {
                        for _ in 0..ROUNDS {
                            let builder = RuntimeBuilder::new().worker_threads(workers);
                            let mut runtime = builder.build().unwrap();
                            let end = runtime.block_on(async |cx| {
                                are_ready.wait();
                                cx.sleep(Duration::from_secs(3600)).await
                            });
                            assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                            assert_eq!(runtime.last_shutdown().signals, 1);
                        }
                    }
                };
                let programs = [scope.spawn(program(1)), scope.spawn(program(2))];
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let mut passing = RuntimeBuilder::new().worker_threads(1).build().unwrap();
                        // It may hear a signal, or not.
                        let _ =
                            passing.block_on(async |cx| cx.sleep(Duration::from_micros(100)).await);
                    }
                });
                for _ in 0..ROUNDS {
                    are_ready.wait();
                    terminate_self();
                }
                for program in programs {
                    program.join().unwrap();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            drop(first);
        },
    );
}

/// The signal comes again and again, so it finds reactors that are just being made.
#[test]
fn programs_start_and_end_under_a_rain_of_signals() {
    in_own_process(
        "signals::programs_start_and_end_under_a_rain_of_signals",
        || {
            let _watchdog = Watchdog::start();
            let first = RuntimeBuilder::new().worker_threads(1).build().unwrap();
            let is_over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        terminate_self();
                    }
                });
                for workers in [1, 2].repeat(100) {
                    let builder = RuntimeBuilder::new().worker_threads(workers);
                    let mut runtime = builder.build().unwrap();
                    let end =
                        runtime.block_on(async |cx| cx.sleep(Duration::from_secs(3600)).await);
                    assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                }
                is_over.store(true, Ordering::Relaxed);
            });
            drop(first);
        },
    );
}

/// Counts signals, after whoever was registered before.
#[expect(unsafe_code, reason = "a program's own handler is registered")]
fn count(count: &'static AtomicU32) {
    let handler = || {
        count.fetch_add(1, Ordering::SeqCst);
    };
    // SAFETY: adding to an atomic is async-signal-safe.
    unsafe { signal_hook_registry::register(15, handler) }.unwrap();
}

#[test]
fn handlers_of_the_program_hear_what_the_runtime_hears() {
    static BEFORE: AtomicU32 = AtomicU32::new(0);
    static AFTER: AtomicU32 = AtomicU32::new(0);
    in_own_process(
        "signals::handlers_of_the_program_hear_what_the_runtime_hears",
        || {
            let _watchdog = Watchdog::start();
            count(&BEFORE);
            for round in 1..=3 {
                let mut runtime = RuntimeBuilder::new().worker_threads(1).build().unwrap();
                if round == 1 {
                    count(&AFTER);
                }
                let end = runtime.block_on(async |cx| {
                    terminate_self();
                    cx.sleep(Duration::from_secs(3600)).await
                });
                assert!(matches!(end, Outcome::Cancelled(_)), "{end:?}");
                assert_eq!(BEFORE.load(Ordering::SeqCst), round);
                while AFTER.load(Ordering::SeqCst) < round {
                    std::thread::yield_now();
                }
            }
        },
    );
}

#[test]
fn a_signal_between_programs_ends_neither_the_process_nor_the_next_program() {
    static HEARD: AtomicU32 = AtomicU32::new(0);
    fn terminate_self_and_wait() {
        let before = HEARD.load(Ordering::SeqCst);
        terminate_self();
        // Another thread may have been interrupted, some time after the call.
        while HEARD.load(Ordering::SeqCst) == before {
            std::thread::yield_now();
        }
    }
    in_own_process(
        "signals::a_signal_between_programs_ends_neither_the_process_nor_the_next_program",
        || {
            let _watchdog = Watchdog::start();
            drop(RuntimeBuilder::new().worker_threads(1).build().unwrap());
            count(&HEARD);
            for _ in 0..2 {
                terminate_self_and_wait();
                let mut runtime = RuntimeBuilder::new().worker_threads(1).build().unwrap();
                for _ in 0..2 {
                    terminate_self_and_wait();
                    let end = runtime.block_on(async |cx| cx.sleep(Duration::from_millis(2)).await);
                    assert_eq!(end, Outcome::Ok(()));
                    assert_eq!(runtime.last_shutdown().signals, 0);
                }
            }
        },
    );
}
