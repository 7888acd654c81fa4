//! Permits that are forgotten or outlive their task.

use std::sync::{Arc, Mutex as StdMutex};

use asupersync_core::{LeakResponse, ObligationKind, Outcome};
use asupersync_kernel::{Cx, Report};
use asupersync_lab::{LabConfig, LabRuntime};
use asupersync_sync::Semaphore;
use asupersync_sync::mpsc::{self, RecvError, SendFailure};
use futures_util::future::FutureExt;

use crate::support::{End, settle, under_seeds};

const RESPONSES: [LeakResponse; 4] = [
    LeakResponse::Panic,
    LeakResponse::Log,
    LeakResponse::Silent,
    LeakResponse::Recover,
];

/// Runs `child` as a task under `response`, and `after` once it has ended.
fn leak<F, Fut, A, Done>(response: LeakResponse, child: F, after: A)
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = End<()>> + Send + 'static,
    A: FnOnce(Cx) -> Done,
    Done: Future<Output = ()>,
{
    let config = LabConfig::default().obligation_leak_response(response);
    let report = LabRuntime::new(config).run(async move |cx: Cx| {
        let end = cx
            .region(async |scope| {
                let end = scope.spawn(child).join(scope.cx()).await;
                let panicked = matches!(end, Outcome::Panicked(_));
                assert_eq!(panicked, response == LeakResponse::Panic);
                End::Ok(())
            })
            .await;
        assert!(end.is_ok());
        after(cx).await;
        End::Ok(())
    });
    assert!(report.outcome.is_ok(), "{:?}", report.outcome);
    let owed: Vec<ObligationKind> = report
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::ObligationLeaked { owed, .. } => Some(owed[0].kind),
            _ => None,
        })
        .collect();
    let is_reported = matches!(response, LeakResponse::Log | LeakResponse::Recover);
    assert_eq!(owed.len(), usize::from(is_reported));
}

#[test]
fn a_forgotten_send_permit_is_found_and_its_slot_recovered_if_asked() {
    for response in RESPONSES {
        let (tx, rx) = mpsc::channel::<u32>(2);
        let child = async move |cx: Cx| {
            std::mem::forget(tx.reserve(&cx).await.unwrap());
            End::Ok(())
        };
        leak(response, child, async move |cx: Cx| {
            let mut rx = rx;
            let is_recovered = response == LeakResponse::Recover;
            assert_eq!(rx.capacity(), if is_recovered { 2 } else { 1 });
            // Nobody can send any more, so the channel ends whatever became of the slot.
            assert_eq!(rx.recv(&cx).await, Err(RecvError::Closed));
        });
    }
}

#[test]
fn a_forgotten_owned_permit_holds_the_channel_open_unless_recovered() {
    for response in RESPONSES {
        let (tx, rx) = mpsc::channel::<u32>(2);
        let child = async move |cx: Cx| {
            std::mem::forget(tx.reserve_owned(&cx).await.unwrap());
            End::Ok(())
        };
        leak(response, child, async move |cx: Cx| {
            let mut rx = rx;
            let ended = rx.recv(&cx).now_or_never();
            let is_recovered = response == LeakResponse::Recover;
            assert_eq!(ended, is_recovered.then_some(Err(RecvError::Closed)));
        });
    }
}

#[test]
fn a_permit_that_outlives_its_task_hands_the_value_back_and_its_slot_is_freed_once() {
    for response in RESPONSES {
        let (tx, rx) = mpsc::channel::<u32>(2);
        let stash = Arc::new(StdMutex::new(Vec::new()));
        let child = {
            let (stash, tx) = (Arc::clone(&stash), tx.clone());
            async move |cx: Cx| {
                let permit = tx.reserve_owned(&cx).await.unwrap();
                stash.lock().unwrap().push(permit);
                End::Ok(())
            }
        };
        leak(response, child, async move |cx: Cx| {
            let mut rx = rx;
            let permit = stash.lock().unwrap().pop().unwrap();
            let error = permit.send(9).unwrap_err();
            assert_eq!((error.value, error.failure), (9, SendFailure::Leaked));
            assert_eq!((tx.capacity(), tx.len(), tx.strong_count()), (2, 0, 1));
            // As many fit in as ever, and not one more.
            tx.try_send(1).unwrap();
            tx.try_send(2).unwrap();
            assert!(tx.try_send(3).is_err());
            drop(tx);
            let mut all = Vec::new();
            while rx.recv_many(&cx, &mut all, 9).await.is_ok() {}
            assert_eq!(all, [1, 2]);
        });
    }
}

#[test]
fn a_permit_that_is_dropped_after_its_task_frees_its_slot_once() {
    for response in RESPONSES {
        let (tx, rx) = mpsc::channel::<u32>(2);
        let stash = Arc::new(StdMutex::new(Vec::new()));
        let child = {
            let (stash, tx) = (Arc::clone(&stash), tx.clone());
            async move |cx: Cx| {
                let permit = tx.reserve_owned(&cx).await.unwrap();
                stash.lock().unwrap().push(permit);
                End::Ok(())
            }
        };
        leak(response, child, async move |_: Cx| {
            stash.lock().unwrap().clear();
            assert_eq!((rx.capacity(), tx.strong_count()), (2, 1));
        });
    }
}

#[test]
fn semaphore_permits_that_leak_come_back_once_if_at_all() {
    for response in RESPONSES {
        let semaphore = Arc::new(Semaphore::new(6));
        let stash = Arc::new(StdMutex::new(Vec::new()));
        let child = {
            let (semaphore, stash) = (Arc::clone(&semaphore), Arc::clone(&stash));
            async move |cx: Cx| {
                let permit = semaphore.acquire_many_owned(&cx, 4).await.unwrap();
                stash.lock().unwrap().push(permit);
                End::Ok(())
            }
        };
        leak(response, child, async move |_: Cx| {
            let is_recovered = response == LeakResponse::Recover;
            assert_eq!(
                semaphore.available_permits(),
                if is_recovered { 6 } else { 2 }
            );
            stash.lock().unwrap().clear();
            assert_eq!(semaphore.available_permits(), 6);
        });
    }
}

#[test]
fn strict_mode_reports_a_dropped_send_permit_and_nothing_else() {
    let config = LabConfig::default().strict_obligations(true);
    let report = LabRuntime::new(config).run(async |cx: Cx| {
        let (tx, _rx) = mpsc::channel::<u32>(2);
        let semaphore = Semaphore::new(1);
        drop(semaphore.acquire(&cx).await);
        tx.reserve(&cx).await.unwrap().abort();
        tx.reserve(&cx).await.unwrap().send(1).unwrap();
        drop(tx.reserve(&cx).await);
        End::Ok(())
    });
    report.assert_clean();
    let [Report::ObligationDropped { owed, .. }] = &report.reports[..] else {
        panic!("{:?}", report.reports);
    };
    assert_eq!(owed.kind, ObligationKind::SendPermit);
    assert!(
        owed.site.file().ends_with("leaks.rs"),
        "the site is the program's: {}",
        owed.site
    );
}

#[test]
fn operations_are_recorded_with_one_number_for_each_resource() {
    let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
        let (tx, mut rx) = mpsc::channel(1);
        let notify = asupersync_sync::Notify::new();
        tx.send(&cx, 1).await.unwrap();
        notify.notify_one();
        rx.recv(&cx).await.unwrap();
        End::Ok(())
    });
    let operations: Vec<(u64, &str)> = report
        .trace
        .events
        .iter()
        .filter_map(|event| match &event.event {
            asupersync_kernel::Event::Operation { resource, name, .. } => {
                Some((*resource, &**name))
            }
            _ => None,
        })
        .collect();
    let [
        (channel, "mpsc.send"),
        (notify, "notify.one"),
        (again, "mpsc.recv"),
        ..,
    ] = operations[..]
    else {
        panic!("{operations:?}");
    };
    assert_eq!(channel, again);
    assert_ne!(channel, notify);
}

#[test]
fn the_lab_runs_a_seed_the_same_way_twice() {
    let run = |seed| {
        LabRuntime::new(LabConfig::default().seed(seed))
            .run(async |cx: Cx| {
                let (tx, mut rx) = mpsc::channel(1);
                cx.region(async |scope| {
                    for n in 0..4 {
                        let tx = tx.clone();
                        scope.spawn(async move |cx: Cx| {
                            tx.send(&cx, n).await.unwrap();
                            End::Ok(())
                        });
                    }
                    for _ in 0..4 {
                        rx.recv(scope.cx()).await.unwrap();
                    }
                    End::Ok(())
                })
                .await
            })
            .trace
            .to_string()
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed));
    }
    under_seeds(1, async |cx| settle(&cx).await);
}
