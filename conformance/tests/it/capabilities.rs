//! Capabilities narrow at compile time, and a scope does not leave its region.

use asupersync_conformance::on_both_hosts;
use asupersync_kernel::{Cx, caps};

use crate::support::End;

#[test]
fn using_a_missing_capability_or_a_scope_outside_its_region_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}

#[test]
fn a_restricted_context_sees_the_same_cancellation() {
    on_both_hosts(async |cx| {
        let pure: Cx<caps::Nothing> = cx.restrict();
        assert!(pure.checkpoint().is_ok());
        assert_eq!(pure.task_id(), cx.task_id());
        let end = cx
            .region(async |scope| {
                let timed: Cx<caps::OnlyTime> = scope.cx().restrict();
                scope.cancel(asupersync_core::CancelKind::User);
                assert!(timed.checkpoint().is_err());
                timed.checkpoint()?;
                End::Ok(())
            })
            .await;
        assert!(end.is_cancelled());
    });
}
