//! What the systematic search must know of: an order that only one event tells of is tried the other way round.
//!
//! In each program the oldest-first schedule goes well, and one step that seems to do nothing has to come earlier or later for the failure to show.

use std::sync::{Arc, Mutex, PoisonError};

use asupersync_core::{Cancelled, Outcome};
use asupersync_kernel::{Cx, Scope};
use asupersync_lab::{LabConfig, Search, Strategy, Var};
use asupersync_sync::{mpsc, oneshot};

/// The failure of a program is found, although nothing but the event under test connects its two tasks.
fn found<F, Fut>(program: F)
where
    F: Fn(Cx) -> Fut,
    Fut: Future<Output = Outcome<(), Cancelled>>,
{
    let report = Search::new(LabConfig::default())
        .strategies([Strategy::Dpor])
        .run(program);
    let failure = report.failure.as_ref();
    assert!(failure.is_some(), "{report}");
    assert!(
        failure.is_some_and(|failure| failure.number > 0),
        "the first run shows it already, so no order was turned round"
    );
}

#[test]
fn a_request_that_came_too_late_may_come_in_time() {
    found(async |cx: Cx| {
        let is_done = Arc::new(Var::new(false));
        let end = cx
            .region(async |scope: Scope<'_, Cancelled>| {
                let own = Arc::clone(&is_done);
                let task = scope.spawn(async move |cx: Cx| {
                    cx.checkpoint()?;
                    own.set_now(true);
                    Ok::<_, Cancelled>(())
                });
                scope.spawn(async move |cx: Cx| {
                    cx.yield_now().await?;
                    task.cancel();
                    Ok::<_, Cancelled>(())
                });
                Ok::<_, Cancelled>(())
            })
            .await;
        assert!(is_done.get_now(), "the task was stopped before it began");
        end
    });
}

/// A task looks once, without waiting; another sends later.
async fn looks_once<R: Send + 'static>(
    cx: Cx,
    receiver: R,
    look: impl FnOnce(&mut R) -> bool + Send + 'static,
    send: impl FnOnce() + Send + 'static,
) -> Outcome<(), Cancelled> {
    // Kept here, so that the end of the receiver is no event of either task.
    let receiver = Arc::new(Mutex::new(receiver));
    let own = Arc::clone(&receiver);
    cx.region(async |scope: Scope<'_, Cancelled>| {
        scope.spawn(async move |_: Cx| {
            let found = look(&mut own.lock().unwrap_or_else(PoisonError::into_inner));
            assert!(!found, "it was there");
            Ok::<_, Cancelled>(())
        });
        scope.spawn(async move |cx: Cx| {
            cx.yield_now().await?;
            send();
            Ok::<_, Cancelled>(())
        });
        Ok::<_, Cancelled>(())
    })
    .await
}

#[test]
fn a_channel_that_was_found_empty_may_be_full() {
    found(async |cx: Cx| {
        let (sender, receiver) = mpsc::channel(1);
        let look = |receiver: &mut mpsc::Receiver<()>| receiver.try_recv().is_ok();
        let send = move || sender.try_send(()).expect("there is room");
        looks_once(cx, receiver, look, send).await
    });
    found(async |cx: Cx| {
        let (sender, receiver) = mpsc::unbounded_channel();
        let look = |receiver: &mut mpsc::UnboundedReceiver<()>| receiver.try_recv().is_ok();
        let send = move || sender.send(()).expect("the receiver is there");
        looks_once(cx, receiver, look, send).await
    });
}

#[test]
fn a_reply_that_had_not_come_may_have_come() {
    found(async |cx: Cx| {
        let (sender, receiver) = oneshot::channel();
        let look = |receiver: &mut oneshot::Receiver<()>| receiver.try_recv().is_ok();
        let send = move || sender.send(()).expect("the receiver is there");
        looks_once(cx, receiver, look, send).await
    });
}
