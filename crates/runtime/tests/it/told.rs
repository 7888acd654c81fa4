//! Who hears of a request that goes through a long list while the list changes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use asupersync_core::CancelKind;
use asupersync_kernel::Cx;

use crate::support::{AppError, End, FOREVER, block, run_on, runtime};

/// Tasks that end when they are let go.
#[derive(Default)]
struct Gate {
    waiting: Mutex<Vec<Waker>>,
    gone: AtomicU32,
}

impl Gate {
    async fn pass(self: Arc<Self>) -> End {
        let mut waits = true;
        poll_fn(|task| {
            if std::mem::take(&mut waits) {
                self.waiting.lock().unwrap().push(task.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        self.gone.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Woken in the middle of a request, it returns when all tasks at the gate have ended.
impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        let count = self.gone.load(Ordering::SeqCst) + waiting.len() as u32;
        // From another thread, so that it is not this one's worker that gets them.
        std::thread::scope(|scope| {
            scope.spawn(move || waiting.into_iter().for_each(Waker::wake));
        });
        while self.gone.load(Ordering::SeqCst) < count {
            block(Duration::from_millis(1));
        }
        // They still leave their region.
        block(Duration::from_millis(50));
    }
}

#[test]
fn a_request_reaches_the_rest_of_a_long_list_also_if_the_next_in_it_ends_meanwhile() {
    const MEDDLER: u32 = 10;
    const ENDING: u32 = 140;
    const TOLD: u32 = 300;
    let mut runtime = runtime(3);
    run_on(&mut runtime, async |cx: Cx| {
        let gate = Arc::<Gate>::default();
        let heard = Arc::new(AtomicU32::new(0));
        let end = cx
            .region(async |scope| {
                for place in 0..MEDDLER + ENDING + TOLD {
                    let (gate, heard) = (Arc::clone(&gate), Arc::clone(&heard));
                    if place == MEDDLER {
                        scope.spawn(async move |cx: Cx| {
                            let waker = Waker::from(gate);
                            let mut sleep = pin!(cx.sleep(FOREVER));
                            let slept =
                                poll_fn(|_| sleep.as_mut().poll(&mut Context::from_waker(&waker)));
                            slept.await?;
                            End::Ok(())
                        });
                    } else if (MEDDLER..MEDDLER + ENDING).contains(&place) {
                        scope.spawn(move |_: Cx| gate.pass());
                    } else {
                        scope.spawn(async move |cx: Cx| {
                            let slept = cx.sleep(FOREVER).await;
                            heard.fetch_add(1, Ordering::SeqCst);
                            slept?;
                            End::Ok(())
                        });
                    }
                }
                while gate.waiting.lock().unwrap().len() < ENDING as usize - 1 {
                    scope.cx().sleep(Duration::from_millis(1)).await?;
                }
                // The sleepers among them wait by now too.
                scope.cx().sleep(Duration::from_millis(20)).await?;
                scope.cancel(CancelKind::User);
                Ok::<_, AppError>(())
            })
            .await;
        assert!(
            end.is_ok(),
            "the body had nothing left to wait for: {end:?}"
        );
        assert_eq!(gate.gone.load(Ordering::SeqCst), ENDING - 1);
        assert_eq!(heard.load(Ordering::SeqCst), MEDDLER + TOLD);
        Ok(())
    });
}

#[test]
fn a_request_is_made_while_the_region_goes_on_spawning() {
    let mut runtime = runtime(2);
    run_on(&mut runtime, async |cx: Cx| {
        let made = Arc::new(AtomicBool::new(false));
        let is_made = Arc::clone(&made);
        let spawned = cx
            .region(async |scope| {
                let task = scope.spawn(async move |cx: Cx| {
                    let mut spawned = 0_u32;
                    let _ = cx
                        .region(async |inner| {
                            while !is_made.load(Ordering::SeqCst) {
                                inner.spawn(async |cx: Cx| {
                                    cx.sleep(FOREVER).await?;
                                    End::Ok(())
                                });
                                spawned += 1;
                            }
                            End::Ok(())
                        })
                        .await;
                    End::Ok(spawned)
                });
                // The task keeps its worker, which may be that of this body.
                let asked = scope.cx().blocking(move || {
                    block(Duration::from_millis(5));
                    task.cancel();
                    made.store(true, Ordering::SeqCst);
                    task
                });
                let task = asked.await.expect("the job does not panic");
                Ok::<_, AppError>(task.join(scope.cx()).await.into_result()?)
            })
            .await
            .into_result()?;
        assert!(spawned > 64, "{spawned} tasks are told at once");
        Ok(())
    });
}
