//! Policies as a whole: order, events, and the strategies that only make sense around others.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use asupersync_combinator::{
    Backoff, BreakerOptions, BreakerState, Call, Chaos, CircuitBreaker, Fallback, Fault, Hedge,
    HedgeDelay, HedgeOptions, Policy, PolicyError, PolicyEvent, Rejection, Retry, RetryStop,
    Strategy, Timeout, Window,
};
use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::{Cx, Scope};

use crate::support::{
    AppError, End, FOREVER, Heard, Live, TICK, quiet_panic, stubborn, ticks, under_seeds,
};

/// Writes down when a call passes it.
struct Mark<'a>(&'static str, &'a Mutex<Vec<String>>);

impl<C: 'static, T: Send, E: Send> Strategy<C, T, E> for Mark<'_> {
    async fn call<N>(&self, cx: &Cx<C>, next: &N) -> Outcome<T, PolicyError<E>>
    where
        N: Call<C, Ok = T, Err = E>,
    {
        self.1
            .lock()
            .expect("no test panics while it holds it")
            .push(format!("into {}", self.0));
        let end = next.call(cx).await;
        self.1
            .lock()
            .expect("no test panics while it holds it")
            .push(format!("out of {}", self.0));
        end
    }
}

#[test]
fn a_call_passes_the_strategies_in_the_order_in_which_they_were_added() {
    under_seeds(5, async |cx| {
        let log = Mutex::new(Vec::new());
        let inner = Policy::builder().with(Mark("c", &log)).build();
        let policy = Policy::builder()
            .with(Mark("a", &log))
            .with(Mark("b", &log))
            .with(inner)
            .build();
        let end = policy
            .run(&cx, async |_: Cx| {
                log.lock().unwrap().push("call".to_owned());
                Ok::<_, AppError>(1)
            })
            .await;
        assert_eq!(end, Outcome::Ok(1));
        let expected = [
            "into a", "into b", "into c", "call", "out of c", "out of b", "out of a",
        ];
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

#[test]
fn a_timeout_around_a_retry_bounds_the_whole_and_within_it_each_attempt() {
    under_seeds(10, async |cx| {
        let (timeout, retry) = (
            Timeout::new(TICK * 10),
            Retry::new(3, Backoff::constant(TICK * 2)),
        );
        let hangs = async |cx: Cx| cx.sleep(FOREVER).await.map_err(AppError::from);
        let after = TICK * 10;
        let whole = Policy::builder().with(timeout).with(retry.clone()).build();
        let end = whole.run(&cx, hangs).await;
        assert_eq!(end, Outcome::Err(PolicyError::TimedOut { after }));
        assert_eq!(ticks(&cx), 10);
        let each = Policy::builder().with(retry).with(timeout).build();
        let end = each.run(&cx, hangs).await;
        let expected = PolicyError::RetriesExhausted {
            attempts: 3,
            why: RetryStop::Attempts,
            last: Box::new(PolicyError::TimedOut { after }),
        };
        assert_eq!(end, Outcome::Err(expected));
        assert_eq!(ticks(&cx), 10 + 3 * 10 + 2 * 2);
    });
}

#[test]
fn an_observer_hears_what_happens_in_order() {
    under_seeds(5, async |cx| {
        let heard = Arc::new(Heard::default());
        let options = BreakerOptions::new(Window::Calls(2)).calls_min(2);
        let policy = Policy::builder()
            .with(Retry::new(3, Backoff::constant(TICK)))
            .with(Arc::new(CircuitBreaker::new(options)))
            .observer(Arc::clone(&heard) as Arc<dyn asupersync_combinator::Observer>)
            .build();
        let end = policy
            .run(&cx, async |cx: Cx| {
                cx.sleep(TICK).await?;
                Err::<(), _>(AppError::Failed(1))
            })
            .await;
        assert!(matches!(end, Outcome::Err(PolicyError::CircuitOpen { .. })));
        let ended = PolicyEvent::Ended {
            severity: Severity::Err,
            took: TICK,
        };
        let attempt_ended = |attempt| PolicyEvent::AttemptEnded {
            attempt,
            severity: Severity::Err,
        };
        let scheduled = |attempt| PolicyEvent::RetryScheduled {
            attempt,
            after: TICK,
        };
        let opened = PolicyEvent::BreakerChanged {
            from: BreakerState::Closed,
            to: BreakerState::Open,
        };
        let expected = [
            PolicyEvent::AttemptStarted { attempt: 1 },
            PolicyEvent::Started,
            ended.clone(),
            attempt_ended(1),
            scheduled(2),
            PolicyEvent::AttemptStarted { attempt: 2 },
            PolicyEvent::Started,
            ended,
            opened,
            attempt_ended(2),
            scheduled(3),
            PolicyEvent::AttemptStarted { attempt: 3 },
            PolicyEvent::Rejected(Rejection::CircuitOpen),
            attempt_ended(3),
        ];
        assert_eq!(heard.take(), expected);
    });
}

#[test]
fn a_call_that_is_dropped_is_told_as_cancelled() {
    under_seeds(5, async |cx| {
        let heard = Arc::new(Heard::default());
        let policy = Policy::builder()
            .observer(Arc::clone(&heard) as Arc<dyn asupersync_combinator::Observer>)
            .build();
        let mut call = Box::pin(policy.run(&cx, async |cx: Cx| {
            cx.sleep(FOREVER).await.map_err(AppError::from)
        }));
        let first = std::future::poll_fn(|task| {
            std::task::Poll::Ready(call.as_mut().poll(task).is_pending())
        });
        assert!(first.await);
        drop(call);
        let severity = Severity::Cancelled;
        let took = std::time::Duration::ZERO;
        let expected = [PolicyEvent::Started, PolicyEvent::Ended { severity, took }];
        assert_eq!(heard.take(), expected);
    });
}

#[test]
fn a_fallback_takes_over_after_an_error_and_after_nothing_else() {
    under_seeds(5, async |cx| {
        let second = |_: Cx, error: PolicyError<AppError>| async move {
            match error {
                PolicyError::TimedOut { .. } => Ok(70),
                _ => Err(AppError::Failed(71)),
            }
        };
        let policy = Policy::builder()
            .with(Fallback::new(second))
            .with(Timeout::new(TICK))
            .build();
        let end = policy.run(&cx, async |cx: Cx| {
            cx.sleep(FOREVER).await?;
            Ok::<_, AppError>(1)
        });
        assert_eq!(end.await, Outcome::Ok(70));
        let end = policy
            .run(&cx, async |_: Cx| Err(AppError::Failed(1)))
            .await;
        assert_eq!(end, Outcome::Err(PolicyError::Failed(AppError::Failed(71))));
        let end = policy.run(&cx, async |_: Cx| -> End<i32> { quiet_panic("it broke") });
        assert_eq!(end.await.severity(), Severity::Panicked);
    });
}

#[test]
fn a_hedge_in_a_policy_starts_a_second_call_and_drains_the_loser() {
    under_seeds(20, async |cx| {
        let (heard, live) = (Arc::new(Heard::default()), Live::default());
        let hedge = Arc::new(Hedge::new(HedgeOptions::new(HedgeDelay::Fixed(TICK * 5))));
        let policy = Policy::builder()
            .with(Arc::clone(&hedge))
            .observer(Arc::clone(&heard) as Arc<dyn asupersync_combinator::Observer>)
            .build();
        let made = AtomicU32::new(0);
        let end = policy
            .run(&cx, async |cx: Cx| {
                let work = match made.fetch_add(1, Ordering::Relaxed) {
                    0 => FOREVER,
                    _ => TICK,
                };
                stubborn(cx, live.clone(), work, TICK * 2).await
            })
            .await;
        assert_eq!((end, ticks(&cx), live.count()), (Outcome::Ok(()), 8, 0));
        let hedged = PolicyEvent::HedgeStarted { attempt: 1 };
        assert_eq!(
            heard
                .take()
                .iter()
                .filter(|event| **event == hedged)
                .count(),
            1
        );
        let end = policy
            .run(&cx, async |_: Cx| Err::<(), _>(AppError::Failed(4)))
            .await;
        let error = || PolicyError::Failed(AppError::Failed(4));
        let errors = vec![error(), error()];
        assert_eq!(end, Outcome::Err(PolicyError::AllFailed { errors }));
    });
}

fn chaos() -> Chaos<AppError> {
    Chaos::new()
        .latency(0.25, TICK..=TICK * 9)
        .error(0.25, || AppError::Failed(99))
        .cancel(0.25, TICK * 4)
}

#[test]
fn chaos_does_what_the_seed_says_and_nothing_when_it_is_off() {
    under_seeds(5, async |cx| {
        let heard = Arc::new(Heard::default());
        let chaos = Arc::new(chaos());
        let policy = Policy::builder()
            .with(Arc::clone(&chaos))
            .observer(Arc::clone(&heard) as Arc<dyn asupersync_combinator::Observer>)
            .build();
        let call = async |cx: Cx| cx.sleep(TICK * 5).await.map_err(AppError::from);
        assert_eq!(policy.run(&cx, call).await, Outcome::Ok(()));
        assert_eq!((ticks(&cx), heard.take().len()), (5, 2));
        chaos.switch(true);
        let mut counts = [0; 3];
        for _ in 0..400 {
            let before = ticks(&cx);
            let end = policy.run(&cx, call).await;
            let took = ticks(&cx) - before;
            let mut held_up = 0;
            let mut expected = (Severity::Ok, 5);
            for event in heard.take() {
                match event {
                    PolicyEvent::Injected(Fault::Latency(delay)) => {
                        counts[0] += 1;
                        held_up = u64::try_from(delay.as_millis()).unwrap();
                        assert!((TICK..=TICK * 9).contains(&delay));
                    }
                    PolicyEvent::Injected(Fault::Error) => {
                        counts[1] += 1;
                        expected = (Severity::Err, 0);
                    }
                    PolicyEvent::Injected(Fault::Cancel(after)) => {
                        counts[2] += 1;
                        expected = (
                            Severity::Cancelled,
                            u64::try_from(after.as_millis()).unwrap(),
                        );
                    }
                    _ => {}
                }
            }
            assert_eq!(end.severity(), expected.0);
            // Parts of a millisecond add up.
            assert!(took.abs_diff(held_up + expected.1) <= 2, "{took} ticks");
        }
        assert!((60..140).contains(&counts[0]), "about a quarter of 400");
        assert!((60..140).contains(&counts[1]), "about a quarter of 400");
        assert!((40..110).contains(&counts[2]), "a quarter of those left");
    });
}

#[test]
fn a_call_that_chaos_cancels_is_drained() {
    under_seeds(10, async |cx| {
        let live = Live::default();
        let chaos = Chaos::<AppError>::new().cancel(1.0, std::time::Duration::ZERO);
        chaos.switch(true);
        let policy = Policy::builder().with(chaos).build();
        let end = policy
            .run(&cx, |cx: Cx| stubborn(cx, live.clone(), FOREVER, TICK * 2))
            .await;
        assert_eq!((end.severity(), live.count()), (Severity::Cancelled, 0));
    });
}

#[test]
fn a_cancelled_caller_starts_nothing() {
    under_seeds(5, async |cx| {
        let made = AtomicU32::new(0);
        let policy = Policy::builder()
            .with(Retry::new(3, Backoff::none()))
            .with(Timeout::new(TICK))
            .build();
        let end = cx
            .region(async |scope: Scope<'_, PolicyError<AppError>>| {
                scope.cancel(CancelKind::User);
                policy
                    .run(scope.cx(), async |_: Cx| {
                        made.fetch_add(1, Ordering::Relaxed);
                        Ok::<_, AppError>(())
                    })
                    .await
            })
            .await;
        assert_eq!(
            (end.severity(), made.into_inner()),
            (Severity::Cancelled, 0)
        );
    });
}

#[test]
fn ten_strategies_are_not_too_many() {
    under_seeds(2, async |cx| {
        let three = || {
            Policy::builder()
                .with(Timeout::new(FOREVER))
                .with(Retry::new(2, Backoff::none()))
                .with(Timeout::new(FOREVER))
        };
        let policy = three()
            .with(Retry::new(2, Backoff::none()))
            .with(Timeout::new(FOREVER))
            .with(Retry::new(2, Backoff::none()))
            .with(Timeout::new(FOREVER))
            .with(three().build())
            .build();
        let end = cx
            .region(async |scope: Scope<'_, PolicyError<AppError>>| {
                let task = scope.spawn(async move |cx: Cx| {
                    policy.run(&cx, async |_: Cx| Ok::<_, AppError>(1)).await
                });
                task.join(scope.cx()).await
            })
            .await;
        assert_eq!(end, Outcome::Ok(1));
    });
}

#[test]
fn a_timeout_is_told_as_one_however_deep_the_call_is() {
    fn nested(cx: Cx, depth: u32) -> std::pin::Pin<Box<dyn Future<Output = End> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                let end = cx.sleep(FOREVER).await;
                return end.map_or_else(|c| Outcome::Cancelled(c.into_reason()), Outcome::Ok);
            }
            cx.region(|scope: Scope<'_, AppError>| nested(scope.cx().clone(), depth - 1))
                .await
        })
    }
    under_seeds(3, async |cx| {
        let policy = Policy::builder().with(Timeout::new(TICK)).build();
        for depth in [0, 5, 10, 40] {
            let end = policy.run(&cx, |cx: Cx| nested(cx, depth)).await;
            assert_eq!(end, Outcome::Err(PolicyError::TimedOut { after: TICK }));
        }
    });
}

/// Panics when it hears of an end.
struct Touchy;

impl asupersync_combinator::Observer for Touchy {
    fn event(&self, event: &PolicyEvent) {
        if matches!(event, PolicyEvent::Ended { .. }) {
            quiet_panic("it heard of an end");
        }
    }
}

#[test]
fn an_observers_panic_is_the_calls_and_takes_no_place_along() {
    under_seeds(5, async |cx| {
        let bulkhead = Arc::new(asupersync_combinator::Bulkhead::new(
            asupersync_combinator::BulkheadOptions::new(1),
        ));
        let policy = Policy::builder()
            .with(Arc::clone(&bulkhead))
            .observer(Arc::new(Touchy))
            .build();
        let end = cx
            .region(async |scope: Scope<'_, PolicyError<AppError>>| {
                policy
                    .run(scope.cx(), async |_: Cx| Ok::<_, AppError>(1))
                    .await
            })
            .await;
        assert_eq!(end.severity(), Severity::Panicked);
        assert_eq!(bulkhead.available(), 1);
        // While another panic unwinds through the call, it is contained.
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let call = policy.run(&cx, async |cx: Cx| {
                cx.sleep(TICK).await.map_err(AppError::from)
            });
            let mut call = std::pin::pin!(call);
            let task = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(call.as_mut().poll(task).is_pending());
            quiet_panic("it unwinds");
        }));
        let payload = unwound.expect_err("it panicked");
        assert_eq!(
            payload.downcast_ref::<String>().map(String::as_str),
            Some("it unwinds")
        );
        assert_eq!(bulkhead.available(), 1);
    });
}
