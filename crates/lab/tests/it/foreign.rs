//! Threads that are not the lab's are seen when they reach into it.

use std::future::poll_fn;
use std::task::Poll;
use std::thread;

use asupersync_core::Cancelled;
use asupersync_kernel::Cx;
use asupersync_lab::{LabConfig, LabEnd, LabReport, LabRuntime, Law};

/// Runs `job` on another thread, to its end.
fn elsewhere(job: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let job = thread::Builder::new()
            .name("intruder".to_owned())
            .spawn_scoped(scope, job);
        job.expect("a thread can be started")
            .join()
            .expect("it does not panic");
    });
}

fn check(report: &LabReport<(), Cancelled>, what: &str) {
    assert_eq!(report.end, LabEnd::Finished);
    let [violation] = &report.violations[..] else {
        panic!("one violation, not {:?}", report.violations);
    };
    assert_eq!(violation.law, Law::ForeignThread);
    assert_eq!(
        violation.message,
        format!("{what} by the thread `intruder`")
    );
    assert!(violation.event <= report.trace.events.len());
}

#[test]
fn a_wake_from_another_thread_is_named() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let end = cx
            .region(async |scope| {
                let (sender, receiver) = std::sync::mpsc::channel();
                let sleeper = scope.spawn(async move |_: Cx| {
                    let mut has_waited = false;
                    poll_fn(|task| {
                        if std::mem::replace(&mut has_waited, true) {
                            return Poll::Ready(());
                        }
                        sender.send(task.waker().clone()).expect("the body listens");
                        Poll::Pending
                    })
                    .await;
                    Ok::<_, Cancelled>(())
                });
                scope.cx().sleep(std::time::Duration::from_secs(1)).await?;
                let waker = receiver.recv().expect("the task was polled");
                elsewhere(move || waker.wake());
                let _ = sleeper.join(scope.cx()).await;
                Ok::<_, Cancelled>(())
            })
            .await;
        assert!(end.is_ok());
        Ok::<_, Cancelled>(())
    });
    check(&report, "a task was woken");
}

#[test]
fn entropy_drawn_by_another_thread_is_named() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        elsewhere(|| {
            let _ = cx.random_u64();
        });
        Ok::<_, Cancelled>(())
    });
    check(&report, "entropy was drawn");
}

#[test]
fn what_the_lab_does_itself_is_at_home() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        elsewhere(|| ());
        let _ = cx.random_u64();
        cx.sleep(std::time::Duration::from_secs(1)).await?;
        Ok::<_, Cancelled>(())
    });
    report.assert_clean();
}
