//! Obligations: abort on drop, leaks found at the holder's end, four responses and escalation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use asupersync_conformance::{Hosts, on_both_hosts};
use asupersync_core::{LeakResponse, ObligationKind, Outcome, Severity};
use asupersync_kernel::{Cx, LeakEscalation, Leaked, Obligation, Recover, Report};
use asupersync_lab::{LabConfig, LabRuntime};

use crate::support::End;

#[derive(Default)]
struct Resource {
    recovered: AtomicU64,
}

impl Recover for Resource {
    fn recover(&self, ticket: u64) {
        self.recovered.fetch_add(ticket, Ordering::SeqCst);
    }
}

/// A child that forgets an obligation, and how it ended.
async fn leak(cx: &Cx, resource: &Arc<Resource>) -> Severity {
    let resource = Arc::clone(resource);
    let end = cx
        .region_with(
            asupersync_kernel::RegionOptions::new().policy(asupersync_core::Collect),
            async |scope| {
                let child = scope.spawn(async move |cx: Cx| {
                    let owed =
                        Obligation::reserve_recoverable(&cx, ObligationKind::Lease, &resource, 5);
                    std::mem::forget(owed);
                    End::Ok(())
                });
                End::Ok(child.join(scope.cx()).await.severity())
            },
        )
        .await;
    end.ok().expect("the region's body does not fail")
}

#[test]
fn a_settled_obligation_is_no_leak() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let cx = scope.cx();
                assert_eq!(
                    Obligation::reserve(cx, ObligationKind::Ack).commit(),
                    Ok(())
                );
                assert_eq!(Obligation::reserve(cx, ObligationKind::Ack).abort(), Ok(()));
                drop(Obligation::reserve(cx, ObligationKind::Ack));
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_leak_panics_where_that_is_the_response() {
    Hosts::new().leaks(LeakResponse::Panic).run(async |cx| {
        assert_eq!(leak(&cx, &Arc::default()).await, Severity::Panicked);
    });
}

#[test]
fn a_leak_is_logged_or_ignored_where_that_is_the_response() {
    for response in [LeakResponse::Log, LeakResponse::Silent] {
        Hosts::new().leaks(response).run(async |cx| {
            let resource = Arc::default();
            assert_eq!(leak(&cx, &resource).await, Severity::Ok);
            assert_eq!(resource.recovered.load(Ordering::SeqCst), 0);
        });
    }
}

#[test]
fn a_leak_is_recovered_where_that_is_the_response() {
    Hosts::new().leaks(LeakResponse::Recover).run(async |cx| {
        let resource = Arc::default();
        assert_eq!(leak(&cx, &resource).await, Severity::Ok);
        assert_eq!(resource.recovered.load(Ordering::SeqCst), 5);
    });
}

#[test]
fn frequent_leaks_escalate() {
    let escalation = LeakEscalation {
        threshold: 3,
        response: LeakResponse::Panic,
    };
    Hosts::new()
        .leaks(LeakResponse::Silent)
        .leak_escalation(escalation)
        .run(async |cx| {
            let resource = Arc::default();
            assert_eq!(leak(&cx, &resource).await, Severity::Ok);
            assert_eq!(leak(&cx, &resource).await, Severity::Ok);
            assert_eq!(leak(&cx, &resource).await, Severity::Panicked);
        });
}

#[test]
fn an_obligation_that_was_stashed_is_leaked_and_stays_so() {
    Hosts::new().leaks(LeakResponse::Silent).run(async |cx| {
        let stash = Arc::new(Mutex::new(None));
        let end = cx
            .region(async |scope| {
                let place = Arc::clone(&stash);
                let child = scope.spawn(async move |cx: Cx| {
                    *place.lock().unwrap() = Some(Obligation::reserve(&cx, ObligationKind::Reply));
                    End::Ok(())
                });
                child.join(scope.cx()).await.flatten()
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
        let stashed = stash
            .lock()
            .unwrap()
            .take()
            .expect("the child left it there");
        assert!(stashed.is_leaked());
        assert!(matches!(stashed.commit(), Err(Leaked { .. })));
    });
}

#[test]
fn a_report_names_holder_kind_and_creation_site() {
    let config = LabConfig::default().obligation_leak_response(LeakResponse::Log);
    let report = LabRuntime::new(config).run(async |cx| {
        leak(&cx, &Arc::default()).await;
        End::Ok(())
    });
    let [Report::ObligationLeaked { owed, count: 1, .. }] = &report.reports[..] else {
        panic!("one leak is reported once: {:?}", report.reports);
    };
    assert_eq!(owed[0].kind, ObligationKind::Lease);
    assert!(owed[0].site.file().ends_with("obligations.rs"));
}

#[test]
fn strict_mode_reports_an_implicit_abort() {
    let strict = LabRuntime::new(LabConfig::default().strict_obligations(true));
    let report = strict.run(async |cx| {
        drop(Obligation::reserve(&cx, ObligationKind::Transaction));
        let _ = Obligation::reserve(&cx, ObligationKind::Transaction).abort();
        End::Ok(())
    });
    assert_eq!(report.reports.len(), 1);
    assert!(matches!(
        report.reports[0],
        Report::ObligationDropped { .. }
    ));
}

#[test]
fn a_regions_body_is_a_holder_too() {
    Hosts::new().leaks(LeakResponse::Panic).run(async |cx| {
        let end = cx
            .region(async |scope| {
                std::mem::forget(Obligation::reserve(scope.cx(), ObligationKind::Ack));
                End::Ok(())
            })
            .await;
        assert_eq!(end.severity(), Severity::Panicked);
    });
}
