//! A policy as a tower layer.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use asupersync_combinator::{
    Backoff, Policy, PolicyError, PolicyLayer, Retry, RetryStop, ServiceError, Timeout,
};
use asupersync_core::{CancelKind, Outcome, Severity};
use asupersync_kernel::{Cx, Scope};
use tower_layer::Layer;
use tower_service::Service;

use crate::support::{AppError, FOREVER, TICK, ticks, under_seeds};

/// A service that takes one call at a time per instance and must be found ready before each.
struct Counted {
    cx: Cx,
    calls: Arc<AtomicU32>,
    /// Polls of `poll_ready` until it is ready.
    not_ready: u32,
    is_ready: bool,
    fails: u32,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self {
            cx: self.cx.clone(),
            calls: Arc::clone(&self.calls),
            not_ready: 2,
            is_ready: false,
            fails: self.fails,
        }
    }
}

impl Service<&'static str> for Counted {
    type Response = String;
    type Error = AppError;
    type Future = Pin<Box<dyn Future<Output = Result<String, AppError>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), AppError>> {
        if self.not_ready > 0 {
            self.not_ready -= 1;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: &'static str) -> Self::Future {
        assert!(self.is_ready, "called without being ready");
        self.is_ready = false;
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let (fails, cx) = (self.fails, self.cx.clone());
        Box::pin(async move {
            if request == "hang" {
                cx.sleep(FOREVER).await?;
            }
            if number <= fails {
                return Err(AppError::Failed(number));
            }
            Ok(format!("{request} {number}"))
        })
    }
}

fn counted(cx: &Cx, fails: u32) -> Counted {
    Counted {
        cx: cx.clone(),
        calls: Arc::default(),
        not_ready: 3,
        is_ready: false,
        fails,
    }
}

#[test]
fn every_attempt_is_made_by_a_service_that_is_ready() {
    under_seeds(10, async |cx| {
        let retry = Retry::new(3, Backoff::constant(TICK));
        let layer = PolicyLayer::new(cx.clone(), Policy::builder().with(retry).build());
        let mut service = layer.layer(counted(&cx, 2));
        let mut polls = 0;
        let ready = poll_fn(|task| {
            polls += 1;
            service.poll_ready(task)
        });
        assert!(ready.await.is_ok());
        assert_eq!(polls, 4, "it is ready when the inner one is");
        let response = service.call("hello").await;
        assert_eq!(response.ok().as_deref(), Some("hello 3"));
        assert_eq!(ticks(&cx), 2);
        let mut service = layer.layer(counted(&cx, 9));
        assert!(poll_fn(|task| service.poll_ready(task)).await.is_ok());
        let error = service.call("hello").await.expect_err("it always fails");
        let ServiceError::Policy(error) = error else {
            panic!("{error}");
        };
        let expected = PolicyError::RetriesExhausted {
            attempts: 3,
            why: RetryStop::Attempts,
            last: Box::new(PolicyError::Failed(AppError::Failed(3))),
        };
        assert_eq!(error, expected);
    });
}

#[test]
fn a_call_runs_under_the_layers_context_in_whatever_task() {
    under_seeds(20, async |cx| {
        let end = cx
            .region(async |scope: Scope<'_, AppError>| {
                let policy = Policy::builder().with(Timeout::new(TICK * 5)).build();
                let layer = PolicyLayer::new(scope.cx().clone(), policy);
                let tasks: Vec<_> = (0..3)
                    .map(|_| {
                        let layer = layer.clone();
                        scope.spawn(async move |cx: Cx| {
                            let mut service = layer.layer(counted(&cx, 0));
                            let ready = poll_fn(|task| service.poll_ready(task)).await;
                            assert!(ready.is_ok());
                            let end = service.call("hang").await;
                            assert!(matches!(
                                end,
                                Err(ServiceError::Policy(PolicyError::TimedOut { .. }))
                            ));
                            assert_eq!(ticks(&cx), 5);
                            Ok::<_, AppError>(())
                        })
                    })
                    .collect();
                for task in tasks {
                    assert!(task.join(scope.cx()).await.is_ok());
                }
                Ok::<_, AppError>(())
            })
            .await;
        assert!(end.is_ok());
    });
}

#[test]
fn a_cancelled_call_is_an_error_that_ends_its_task_as_cancelled() {
    under_seeds(10, async |cx| {
        let layer = PolicyLayer::new(cx.clone(), Policy::builder().build());
        let end = cx
            .region(async |scope: Scope<'_, ServiceError<AppError>>| {
                let mut service = layer.layer(counted(scope.cx(), 0));
                poll_fn(|task| service.poll_ready(task)).await?;
                let call = service.call("hang");
                scope.cancel(CancelKind::User);
                call.await
            })
            .await;
        assert_eq!(end.severity(), Severity::Cancelled);
        assert!(!matches!(end, Outcome::Ok(_)));
    });
}
