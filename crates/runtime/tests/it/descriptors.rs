//! File descriptors: what a runtime takes it gives back, and what it does without.

use std::time::Duration;

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::Cx;
use asupersync_runtime::RuntimeBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Watchdog, in_own_process};

/// Open descriptors of this process; the one that is read here is among them, each time.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Runs a program that needs a waker, a watch for signals and a timer, or that never waits.
fn run(workers: usize, waits: bool) {
    let builder = RuntimeBuilder::new().worker_threads(workers);
    let mut runtime = builder.build().unwrap();
    let end = runtime.block_on(async |cx| {
        let end = cx
            .region(async |scope| {
                scope.spawn(async move |cx: Cx| {
                    if waits {
                        cx.sleep(Duration::from_micros(100)).await?;
                    }
                    Ok::<_, Cancelled>(())
                });
                Ok::<_, Cancelled>(())
            })
            .await;
        end.into_result()
    });
    assert_eq!(end, Outcome::Ok(()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_runtimes_leave_no_descriptor() {
    in_own_process(
        "descriptors::a_thousand_runtimes_leave_no_descriptor",
        || {
            let _watchdog = Watchdog::start();
            let before = descriptors();
            run(1, true);
            let with_handlers = descriptors();
            assert_eq!(with_handlers, before + 2, "the handlers' pipe stays");
            for round in 0..1000 {
                run(1 + round % 2, round % 3 > 0);
            }
            assert_eq!(descriptors(), with_handlers);
        },
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_gets_no_descriptor_still_sleeps() {
    in_own_process(
        "descriptors::a_program_that_gets_no_descriptor_still_sleeps",
        || {
            let _watchdog = Watchdog::start();
            let mut runtimes = [1, 2].map(|workers| {
                let builder = RuntimeBuilder::new().worker_threads(workers);
                builder.build().unwrap()
            });
            let limit = getrlimit(Resource::Nofile);
            let none = Rlimit {
                current: Some(0),
                ..limit
            };
            setrlimit(Resource::Nofile, none).unwrap();
            let ends = runtimes.each_mut().map(|runtime| {
                runtime.block_on(async |cx| {
                    let mut late = Duration::ZERO;
                    for micros in [300, 3000, 30_000] {
                        let duration = Duration::from_micros(micros);
                        let start = cx.now();
                        cx.sleep(duration).await?;
                        late = late.max(cx.now() - start - duration);
                    }
                    Ok::<_, Cancelled>(late)
                })
            });
            setrlimit(Resource::Nofile, limit).unwrap();
            for end in ends {
                let Outcome::Ok(late) = end else {
                    panic!("{end:?}");
                };
                assert!(late < Duration::from_secs(1), "{late:?}");
            }
            // With descriptors again, the same runtimes are whole.
            for mut runtime in runtimes {
                let end = runtime.block_on(async |cx| cx.sleep(Duration::from_micros(300)).await);
                assert_eq!(end, Outcome::Ok(()));
            }
        },
    );
}
