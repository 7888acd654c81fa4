//! What a region admits, and when.

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, Outcome};
use asupersync_kernel::Cx;

use crate::support::{AppError, End, Live, reason_of};

#[test]
fn a_closed_region_admits_nothing() {
    on_both_hosts(async |cx| {
        let live = Live::default();
        // A scope can leave as the body's value; it then belongs to a region that is closed.
        let end: Outcome<_, AppError> = cx.region(async |scope| Ok::<_, AppError>(scope)).await;
        let scope = end.ok().expect("the body does not fail");
        let guard = live.enter();
        let late = scope.spawn(async move |_: Cx| {
            let _guard = guard;
            End::Ok(1)
        });
        assert!(late.is_finished());
        assert_eq!(live.count(), 0, "the body was dropped unpolled");
        let reason = reason_of(late.join(&cx).await);
        assert_eq!(reason.kind(), CancelKind::ResourceUnavailable);
        let local = scope.spawn_local(async |_: Cx| End::Ok(2));
        assert!(local.join(&cx).await.is_cancelled());
    });
}
