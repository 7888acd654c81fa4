//! A request reaches whoever waits, is level-triggered, and escalates in the stated order.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use asupersync_conformance::on_both_hosts;
use asupersync_core::{CancelKind, CancelStage, Outcome};
use asupersync_kernel::Cx;
use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, poll, select_biased};

use crate::support::{AppError, End, FOREVER, Log, TICK, reason_of};

/// Cancels a task that runs `body`, once it waits, and gives what it ended with.
async fn cancelled_while<F, Fut>(cx: &Cx, body: F) -> Outcome<(), AppError>
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = End> + Send + 'static,
{
    let end = cx
        .region(async |scope| {
            let task = scope.spawn(body);
            scope.cx().sleep(TICK).await?;
            task.cancel_with(CancelKind::Timeout);
            End::Ok(task.join(scope.cx()).await)
        })
        .await;
    let end = end.ok().expect("the region's body does not fail");
    if let Outcome::Cancelled(reason) = &end {
        // An end by force would look the same to a test that asks for the kind alone.
        assert!(!reason.escalated(), "nobody heard the request: {reason}");
    }
    end
}

/// Like [`cancelled_while`], for bodies that are never idle: under the lab time stands still for them.
async fn cancelled_while_busy<F, Fut>(cx: &Cx, body: F) -> Outcome<(), AppError>
where
    F: FnOnce(Cx) -> Fut + Send + 'static,
    Fut: Future<Output = End> + Send + 'static,
{
    let end = cx
        .region(async |scope| {
            let task = scope.spawn(body);
            for _ in 0..10 {
                scope.cx().yield_now().await?;
            }
            task.cancel_with(CancelKind::Timeout);
            End::Ok(task.join(scope.cx()).await)
        })
        .await;
    end.ok().expect("the region's body does not fail")
}

#[test]
fn a_request_reaches_a_sleeper_also_below_combinators_with_their_own_wakers() {
    on_both_hosts(async |cx| {
        let plain = async |cx: Cx| {
            cx.sleep(FOREVER).await?;
            End::Ok(())
        };
        assert_eq!(
            reason_of(cancelled_while(&cx, plain).await).kind(),
            CancelKind::Timeout
        );
        let joined = async |cx: Cx| {
            for end in join_all((0..40).map(|_| cx.sleep(FOREVER))).await {
                end?;
            }
            End::Ok(())
        };
        assert_eq!(
            reason_of(cancelled_while(&cx, joined).await).kind(),
            CancelKind::Timeout
        );
        let unordered = async |cx: Cx| {
            let mut sleeps: FuturesUnordered<_> = (0..3).map(|_| cx.sleep(FOREVER)).collect();
            while let Some(end) = sleeps.next().await {
                end?;
            }
            End::Ok(())
        };
        assert_eq!(
            reason_of(cancelled_while(&cx, unordered).await).kind(),
            CancelKind::Timeout
        );
        let selected = async |cx: Cx| {
            let mut sleeps: FuturesUnordered<_> = (0..3).map(|_| cx.sleep(FOREVER)).collect();
            let mut other = Box::pin(cx.sleep(FOREVER)).fuse();
            // Without a draw of its own, which would be no function of the seed.
            select_biased! {
                end = other => end?,
                end = sleeps.next() => end.expect("three sleeps")?,
            }
            End::Ok(())
        };
        assert_eq!(
            reason_of(cancelled_while(&cx, selected).await).kind(),
            CancelKind::Timeout
        );
    });
}

#[test]
fn a_request_reaches_a_joiner_and_the_body_of_an_inner_region() {
    on_both_hosts(async |cx| {
        let joining = async |cx: Cx| {
            cx.region(async |scope| {
                let child = scope.spawn(async |cx: Cx| {
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                child.join(scope.cx()).await.flatten()
            })
            .await
            .flatten()
        };
        let reason = reason_of(cancelled_while(&cx, joining).await);
        assert_eq!(reason.root_cause().kind(), CancelKind::Timeout);
        let nested = async |cx: Cx| {
            let bodies = (0..3).map(|_| {
                cx.region(async |scope| {
                    scope.cx().sleep(FOREVER).await?;
                    End::Ok(())
                })
            });
            for end in join_all(bodies).await {
                end.flatten()?;
            }
            End::Ok(())
        };
        let reason = reason_of(cancelled_while(&cx, nested).await);
        assert_eq!(reason.kind(), CancelKind::ParentCancelled);
        assert_eq!(reason.root_cause().kind(), CancelKind::Timeout);
    });
}

/// A region whose child fails while its body waits for ever.
async fn fails_from_within(cx: &Cx) -> Outcome<(), AppError> {
    cx.region(async |scope| {
        scope.spawn(async |cx: Cx| {
            cx.sleep(TICK).await?;
            End::<()>::Err(AppError::Failed(1))
        });
        scope.cx().sleep(FOREVER).await?;
        End::Ok(())
    })
    .await
}

#[test]
fn a_request_reaches_the_body_of_a_region_whoever_has_polled_it_last() {
    on_both_hosts(async |cx| {
        let has_failed = |end| matches!(end, Outcome::Err(AppError::Failed(1)));
        let nobody = || Context::from_waker(Waker::noop());
        assert!(has_failed(fails_from_within(&cx).await));

        let mut by_task_at_last = pin!(fails_from_within(&cx));
        assert!(by_task_at_last.as_mut().poll(&mut nobody()).is_pending());
        assert!(has_failed(by_task_at_last.await));

        let mut by_task_again = pin!(fails_from_within(&cx));
        assert!(poll!(by_task_again.as_mut()).is_pending());
        assert!(by_task_again.as_mut().poll(&mut nobody()).is_pending());
        assert!(has_failed(by_task_again.await));

        let mut by_others_at_last = Box::pin(fails_from_within(&cx));
        assert!(poll!(by_others_at_last.as_mut()).is_pending());
        let mut others = FuturesUnordered::from_iter([by_others_at_last]);
        assert!(others.next().await.is_some_and(has_failed));

        let opener = cx.clone();
        let by_another_task = cx.region(async |scope| {
            let task = scope.spawn(async move |_: Cx| fails_from_within(&opener).await);
            task.join(scope.cx()).await
        });
        assert!(has_failed(by_another_task.await));
    });
}

#[test]
fn observation_is_level_triggered() {
    on_both_hosts(async |cx| {
        let body = async |cx: Cx| {
            assert!(cx.sleep(FOREVER).await.is_err());
            for _ in 0..5 {
                assert!(cx.checkpoint().is_err());
                assert!(cx.sleep(TICK).await.is_err());
                assert!(cx.yield_now().await.is_err());
            }
            cx.checkpoint()?;
            End::Ok(())
        };
        assert!(cancelled_while(&cx, body).await.is_cancelled());
    });
}

#[test]
fn mask_and_shield_hold_a_request_back_until_they_end() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let noted = log.clone();
        let body = async move |cx: Cx| {
            {
                let _mask = cx.mask();
                // The request comes during one of these waits, which must not fail for it.
                while !cx.is_cancel_requested() {
                    cx.sleep(TICK).await?;
                }
                cx.sleep(TICK).await?;
                noted.note("masked");
            }
            cx.shield(async {
                cx.sleep(TICK).await?;
                noted.note("shielded");
                End::Ok(())
            })
            .await?;
            noted.note("neither");
            cx.checkpoint()?;
            noted.note("unreachable");
            End::Ok(())
        };
        let reason = reason_of(cancelled_while(&cx, body).await);
        assert_eq!(reason.stage(), CancelStage::Requested);
        assert_eq!(log.notes(), ["masked", "shielded", "neither"]);
    });
}

#[test]
fn a_region_opened_behind_a_shield_runs_undisturbed() {
    on_both_hosts(async |cx| {
        let log = Log::default();
        let noted = log.clone();
        let body = async move |cx: Cx| {
            cx.shield(async {
                while !cx.is_cancel_requested() {
                    cx.sleep(TICK).await?;
                }
                let noted = noted.clone();
                cx.region(async |scope| {
                    scope.spawn(async move |cx: Cx| {
                        cx.sleep(TICK).await?;
                        noted.note("flushed");
                        End::Ok(())
                    });
                    End::Ok(())
                })
                .await
                .flatten()
            })
            .await?;
            cx.checkpoint()?;
            End::Ok(())
        };
        assert!(cancelled_while(&cx, body).await.is_cancelled());
        assert_eq!(log.notes(), ["flushed"]);
    });
}

/// Opens a region whose body waits for ever, cancels it from within, and says whether it was told before its cleanup was spent.
async fn tells_a_region_of_its_own(cx: &Cx) -> bool {
    let end = cx
        .region(async |scope| {
            scope.spawn(async |cx: Cx| {
                cx.sleep(FOREVER).await?;
                End::Ok(())
            });
            scope.cancel(CancelKind::User);
            scope.cx().sleep(FOREVER).await?;
            End::Ok(())
        })
        .await;
    let reason = reason_of(end);
    reason.kind() == CancelKind::User && !reason.escalated()
}

#[test]
fn what_is_asked_behind_a_mask_or_shield_is_not_held_back_by_it() {
    on_both_hosts(async |cx| {
        let body = async |cx: Cx| {
            assert!(cx.shield(tells_a_region_of_its_own(&cx)).await);
            let mask = cx.mask();
            assert!(tells_a_region_of_its_own(&cx).await);
            // Nor when the task itself was asked, and holds that back.
            while !cx.is_cancel_requested() {
                cx.sleep(TICK / 4).await?;
            }
            assert!(tells_a_region_of_its_own(&cx).await);
            assert!(cx.shield(tells_a_region_of_its_own(&cx)).await);
            cx.checkpoint()?;
            drop(mask);
            cx.checkpoint()?;
            panic!("the request was lost behind the mask");
        };
        let end = cancelled_while(&cx, body).await;
        assert_eq!(reason_of(end).kind(), CancelKind::Timeout);
    });
}

#[test]
fn a_mask_between_who_is_asked_and_who_waits_holds() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let fiber = scope.fiber(async |cx: Cx| {
                    let held = cx.shield(async {
                        let slept = cx.region(async |inner| {
                            inner.cx().sleep(TICK).await?;
                            End::Ok(())
                        });
                        slept.await.is_ok()
                    });
                    let held = held.await;
                    End::Ok((held, cx.checkpoint().is_err()))
                });
                scope.cancel(CancelKind::User);
                End::Ok(fiber.await.ok())
            })
            .await;
        let seen = end.ok().flatten();
        assert_eq!(
            seen,
            Some((true, true)),
            "held within the shield, and told after it"
        );
    });
}

#[test]
fn when_the_cleanup_budget_is_spent_shields_no_longer_hold() {
    on_both_hosts(async |cx| {
        let polls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&polls);
        let body = async move |cx: Cx| {
            cx.shield(async {
                loop {
                    if let Err(cancelled) = cx.yield_now().await {
                        return End::<()>::Err(cancelled.into());
                    }
                    if cx.is_cancel_requested() {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            })
            .await
        };
        let reason = reason_of(cancelled_while_busy(&cx, body).await);
        assert_eq!(reason.stage(), CancelStage::Unshielded);
        let polls = polls.load(Ordering::SeqCst);
        let budget = CancelKind::Timeout.cleanup_budget(cx.now()).poll_quota;
        assert!(polls <= budget, "{polls} polls under a budget of {budget}");
        assert!(
            polls + 5 >= budget,
            "the budget was there to be used: {polls} of {budget}"
        );
    });
}

#[test]
fn when_the_grace_is_spent_the_future_is_dropped_where_it_stands() {
    struct Dropped(Log);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.note("dropped");
        }
    }
    on_both_hosts(async |cx| {
        let log = Log::default();
        let guard = Dropped(log.clone());
        let body = async move |_: Cx| {
            let _guard = guard;
            // Code that neither asks nor waits for anything of ours, but yields.
            std::future::poll_fn(|task| -> Poll<()> {
                task.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            End::Ok(())
        };
        let reason = reason_of(cancelled_while_busy(&cx, body).await);
        assert_eq!(reason.stage(), CancelStage::Dropped);
        assert!(reason.escalated());
        assert_eq!(log.notes(), ["dropped"]);
    });
}

#[test]
fn requests_only_strengthen() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let were_asked = Arc::new(AtomicBool::new(false));
                let all = Arc::clone(&were_asked);
                let task = scope.spawn(async move |cx: Cx| {
                    let _mask = cx.mask();
                    while !all.load(Ordering::Acquire) {
                        cx.sleep(TICK).await?;
                    }
                    End::Ok(cx.cancel_reason().map(|reason| reason.kind()))
                });
                scope.cx().sleep(TICK).await?;
                task.cancel_with(CancelKind::Timeout);
                task.cancel_with(CancelKind::RaceLost);
                task.cancel_with(CancelKind::User);
                were_asked.store(true, Ordering::Release);
                task.join(scope.cx()).await.flatten()
            })
            .await;
        assert_eq!(end, Outcome::Ok(Some(CancelKind::RaceLost)));
    });
}

#[test]
fn tasks_read_what_reached_them_also_when_their_region_is_asked_again() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let tasks: Vec<_> = (0..20)
                    .map(|_| scope.spawn(async |cx: Cx| cx.sleep(FOREVER).await))
                    .collect();
                scope.cx().sleep(TICK).await?;
                let kinds = [CancelKind::User, CancelKind::Timeout, CancelKind::Shutdown];
                // The first reaches them as their region's end, and so do the others, which are no more than that.
                kinds.into_iter().for_each(|kind| scope.cancel(kind));
                let _mask = scope.cx().mask();
                for task in tasks {
                    let reason = reason_of(task.join(scope.cx()).await);
                    assert_eq!(reason.kind(), CancelKind::ParentCancelled);
                    assert_eq!(reason.root_cause().kind(), CancelKind::User);
                }
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_task_spawned_into_a_cancelled_region_is_born_cancelled() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                scope.cancel(CancelKind::User);
                let task = scope.spawn(async |cx: Cx| {
                    assert!(cx.is_cancel_requested());
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                let _mask = scope.cx().mask();
                let reason = reason_of(task.join(scope.cx()).await);
                assert_eq!(reason.root_cause().kind(), CancelKind::User);
                End::Ok(())
            })
            .await;
        assert_eq!(end, Outcome::Ok(()));
    });
}

#[test]
fn a_hundred_tasks_under_deep_regions_all_hear_of_one_request() {
    on_both_hosts(async |cx| {
        let heard = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&heard);
        let body = async move |cx: Cx| {
            cx.region(async |outer| {
                outer
                    .region(async |inner| {
                        for _ in 0..100 {
                            let heard = Arc::clone(&heard);
                            inner.spawn(async move |cx: Cx| {
                                let slept = cx.sleep(FOREVER).await;
                                heard.fetch_add(1, Ordering::SeqCst);
                                slept?;
                                End::Ok(())
                            });
                        }
                        End::Ok(())
                    })
                    .await
                    .flatten()
            })
            .await
            .flatten()
        };
        assert!(cancelled_while(&cx, body).await.is_cancelled());
        assert_eq!(count.load(Ordering::SeqCst), 100);
    });
}

/// Who was spawned, and how many of them were told.
#[derive(Default)]
struct Crowd {
    spawned: AtomicU32,
    heard: AtomicU32,
}

impl Crowd {
    /// One more, counted from now on.
    fn grow(self: &Arc<Self>) -> Arc<Self> {
        self.spawned.fetch_add(1, Ordering::SeqCst);
        Arc::clone(self)
    }

    /// What its members do: sleep until they are told.
    async fn member(self: Arc<Self>, cx: Cx) -> End {
        let slept = cx.sleep(FOREVER).await;
        self.heard.fetch_add(1, Ordering::SeqCst);
        slept?;
        End::Ok(())
    }

    /// As [`member`](Self::member), and stays on its thread.
    async fn local_member(self: Arc<Self>, cx: Cx) -> End {
        let thread = thread::current().id();
        let end = self.member(cx).await;
        assert_eq!(thread::current().id(), thread, "a pinned task has moved");
        end
    }
}

#[test]
fn a_request_reaches_all_of_a_crowd_whatever_they_are_and_whoever_asks() {
    const EACH: u32 = 50;
    on_both_hosts(async |cx| {
        for is_asked_from_afar in [false, true] {
            let crowd = Arc::<Crowd>::default();
            let told = Arc::clone(&crowd);
            let body = async move |cx: Cx| {
                cx.region(async |scope| {
                    for number in 0..EACH {
                        let [plain, local] = [0; 2].map(|_| crowd.grow());
                        scope.spawn(move |cx: Cx| plain.member(cx));
                        scope.spawn_local(move |cx: Cx| local.local_member(cx));
                        let crowd = Arc::clone(&crowd);
                        scope.spawn(async move |cx: Cx| {
                            cx.region(async |scope| {
                                let inner = crowd.grow();
                                scope.spawn(move |cx: Cx| inner.member(cx));
                                End::Ok(())
                            })
                            .await
                            .flatten()
                        });
                        // Some have ended, and some have not begun, when all are told.
                        if number % 8 == 0 {
                            scope.spawn(async |_: Cx| End::Ok(()));
                            scope.cx().yield_now().await?;
                        }
                    }
                    End::Ok(())
                })
                .await
                .flatten()
            };
            let end = if is_asked_from_afar {
                let asking = cx.clone();
                cx.region(async |scope| {
                    let task = scope.spawn(body);
                    scope.cx().sleep(TICK).await?;
                    let asked = asking.blocking(move || {
                        task.cancel_with(CancelKind::Timeout);
                        task
                    });
                    let task = asked.await.expect("the job does not panic");
                    End::Ok(task.join(scope.cx()).await)
                })
                .await
                .ok()
                .expect("the region's body does not fail")
            } else {
                cancelled_while(&cx, body).await
            };
            assert!(end.is_cancelled(), "{end:?}");
            let [spawned, heard] =
                [&told.spawned, &told.heard].map(|count| count.load(Ordering::SeqCst));
            assert_eq!(spawned, heard);
            assert!(spawned >= 3, "{spawned}");
        }
    });
}

#[test]
fn a_request_kept_back_by_a_mask_reaches_the_children_when_it_lifts() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |outer| {
                let task = outer.spawn(async |cx: Cx| {
                    cx.region(async |scope| {
                        let mask = scope.cx().mask();
                        let mut child = scope.spawn(async |cx: Cx| {
                            cx.sleep(FOREVER).await?;
                            End::Ok(())
                        });
                        while !scope.cx().is_cancel_requested() {
                            scope.cx().sleep(TICK).await?;
                        }
                        scope.cx().sleep(TICK).await?;
                        assert!(!child.is_finished(), "the mask holds for the children");
                        drop(mask);
                        // The body has not ended, so nothing else tells the child.
                        let ended = scope.cx().shield(child.wait(scope.cx())).await;
                        assert!(ended.is_ok(), "the child was not told");
                        End::Ok(child.join(scope.cx()).await.is_cancelled())
                    })
                    .await
                });
                outer.cx().sleep(TICK).await?;
                task.cancel();
                End::Ok(task.join(outer.cx()).await)
            })
            .await;
        assert!(
            matches!(&end, Outcome::Ok(Outcome::Ok(true) | Outcome::Cancelled(_))),
            "{end:?}"
        );
    });
}

#[test]
fn a_checkpoint_fails_if_the_context_polled_is_cancelled() {
    on_both_hosts(async |cx| {
        let cx = &cx;
        let mut is_heard = false;
        let _ = cx
            .region(async |scope| {
                assert!(cx.checkpoint().is_ok());
                scope.cancel(CancelKind::User);
                // Asked of a context around the region, which nobody cancelled.
                is_heard = cx.checkpoint().is_err();
                End::Ok(())
            })
            .await;
        assert!(is_heard);
        assert!(cx.checkpoint().is_ok());
    });
}

#[test]
fn a_checkpoint_fails_if_the_context_asked_is_cancelled() {
    on_both_hosts(async |cx| {
        let end = cx
            .region(async |scope| {
                let (send, receive) = std::sync::mpsc::channel();
                let task = scope.spawn(async move |cx: Cx| {
                    send.send(cx.clone()).expect("the body waits for it");
                    cx.sleep(FOREVER).await?;
                    End::Ok(())
                });
                let theirs = loop {
                    match receive.try_recv() {
                        Ok(theirs) => break theirs,
                        Err(_) => scope.cx().sleep(TICK).await?,
                    }
                };
                assert!(theirs.checkpoint().is_ok());
                task.cancel_with(CancelKind::Timeout);
                let heard = theirs.checkpoint().expect_err("the task is cancelled");
                assert!(scope.cx().checkpoint().is_ok());
                End::Ok(heard.reason().kind())
            })
            .await;
        assert_eq!(end.ok(), Some(CancelKind::Timeout));
    });
}
