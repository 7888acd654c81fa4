//! Who is woken when a task ends.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use asupersync_conformance::on_both_hosts;
use asupersync_core::Outcome;
use asupersync_kernel::Cx;

use crate::support::{End, TICK};

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_polled_a_wait_last_is_woken() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let mut child = scope.spawn(async |cx: Cx| {
                    cx.sleep(TICK).await?;
                    End::Ok(3)
                });
                let early = [0; 2].map(|_| Arc::<Woken>::default());
                for woken in &early {
                    let waker = Waker::from(Arc::clone(woken));
                    let wait = pin!(child.wait(scope.cx()));
                    assert!(wait.poll(&mut Context::from_waker(&waker)).is_pending());
                }
                let outcome = child.join(scope.cx()).await;
                let woken = early.map(|woken| woken.0.load(Ordering::Relaxed));
                assert_eq!(woken, [0, 0], "they do not wait any more");
                outcome.flatten()
            })
            .await;
        assert_eq!(end, Outcome::Ok(3));
    });
}

#[test]
fn a_wait_that_leaves_its_task_wakes_who_took_it_over() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let mut child = scope.spawn(async |cx: Cx| {
                    cx.sleep(TICK).await?;
                    End::Ok(())
                });
                let late = Arc::<Woken>::default();
                let waker = Waker::from(Arc::clone(&late));
                let mut wait = pin!(child.wait(scope.cx()));
                std::future::poll_fn(|task| {
                    assert!(wait.as_mut().poll(task).is_pending());
                    let task = &mut Context::from_waker(&waker);
                    assert!(wait.as_mut().poll(task).is_pending());
                    Poll::Ready(())
                })
                .await;
                scope.cx().sleep(TICK * 5).await?;
                assert_eq!(late.0.load(Ordering::Relaxed), 1);
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}
