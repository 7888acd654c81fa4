//! A policy around a tower service.
//!
//! `Service::call` is given no context, so the layer holds one, and every call through it runs under that: its budget, its cancellation, its capabilities.
//! A layer that is made in a request's handler is under that request; one that is made when a server starts is under the server's region.
//! What polls the call is heard too, as by all our waits.
//!
//! # Back pressure
//! `poll_ready` is the inner service's, and nothing else: the policy's own limits are applied in `call`, since a place in a bulkhead is lent to a context and not to a service that may never be called.
//! The service that was ready makes the first attempt; for each further one a clone is made, and waited for until it is ready.
//! A call that the policy keeps away drops the ready service, which gives back what its readiness held.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use asupersync_core::{Cancelled, Outcome, PanicPayload};
use asupersync_kernel::Cx;
use asupersync_kernel::caps::{All, HasSpawn, HasTime};
use tower_layer::Layer;
use tower_service::Service;

use super::error::PolicyError;
use super::{Policy, Strategy};

/// Why a call through a [`PolicyService`] gave no response.
///
/// An error here, and not an outcome, because a service's future gives a `Result`; a task that returns it with `?` ends as the outcome that it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError<E> {
    /// The service failed, or a strategy turned the call away.
    #[error(transparent)]
    Policy(PolicyError<E>),
    /// The call was cancelled.
    #[error("the call was cancelled")]
    Cancelled(#[from] Cancelled),
    /// The service panicked.
    #[error("the service panicked")]
    Panicked(#[from] PanicPayload),
}

/// Puts a policy around services; a `tower` layer.
///
/// # Examples
/// ```
/// use asupersync_combinator::{Backoff, Policy, PolicyLayer, Retry};
/// use asupersync_core::{Cancelled, Outcome};
/// use asupersync_kernel::Cx;
/// use std::time::Duration;
/// use tower_layer::Layer;
/// use tower_service::Service;
/// # use asupersync_lab::{LabConfig, LabRuntime};
/// # use std::task::{Context, Poll};
/// #[derive(Clone)]
/// struct Double;
/// impl Service<u32> for Double {
///     type Response = u32;
///     type Error = Cancelled;
///     type Future = std::future::Ready<Result<u32, Cancelled>>;
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Cancelled>> {
///         Poll::Ready(Ok(()))
///     }
///     fn call(&mut self, n: u32) -> Self::Future {
///         std::future::ready(Ok(n * 2))
///     }
/// }
/// let report = LabRuntime::new(LabConfig::default()).run(async |cx: Cx| {
///     let retry = Retry::new(3, Backoff::constant(Duration::from_secs(1)));
///     let layer = PolicyLayer::new(cx, Policy::builder().with(retry).build());
///     let mut service = layer.layer(Double);
///     std::future::poll_fn(|task| service.poll_ready(task)).await?;
///     service.call(21).await
/// });
/// assert_eq!(report.outcome.ok(), Some(42));
/// ```
pub struct PolicyLayer<P, C = All> {
    cx: Cx<C>,
    policy: Arc<Policy<P>>,
}

impl<P, C> PolicyLayer<P, C> {
    /// With the context under which the calls run.
    #[must_use]
    pub fn new(cx: Cx<C>, policy: Policy<P>) -> Self {
        Self {
            cx,
            policy: Arc::new(policy),
        }
    }
}

impl<P, C> Clone for PolicyLayer<P, C> {
    fn clone(&self) -> Self {
        Self {
            cx: self.cx.clone(),
            policy: Arc::clone(&self.policy),
        }
    }
}

impl<P, C> fmt::Debug for PolicyLayer<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyLayer").finish_non_exhaustive()
    }
}

impl<S, P, C> Layer<S> for PolicyLayer<P, C> {
    type Service = PolicyService<S, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        PolicyService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service with a policy around it; from [`PolicyLayer`].
pub struct PolicyService<S, P, C = All> {
    inner: S,
    layer: PolicyLayer<P, C>,
}

impl<S: Clone, P, C> Clone for PolicyService<S, P, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S: fmt::Debug, P, C> fmt::Debug for PolicyService<S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// What attempts take their service and request from.
struct Supply<S, R> {
    /// The service that was ready, until the first attempt.
    ready: Option<S>,
    spare: S,
    request: R,
}

impl<S: Clone, R: Clone> Supply<S, R> {
    /// A service, whether it is ready, and the request.
    fn next(&mut self) -> (S, bool, R) {
        let ready = self.ready.take();
        let is_ready = ready.is_some();
        let service = ready.unwrap_or_else(|| self.spare.clone());
        (service, is_ready, self.request.clone())
    }
}

type ServiceFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, ServiceError<E>>> + Send>>;

impl<S, P, C, R> Service<R> for PolicyService<S, P, C>
where
    S: Service<R, Error: Error + Send + 'static, Response: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    R: Clone + Send + 'static,
    P: Strategy<C, S::Response, S::Error> + 'static,
    C: HasSpawn + HasTime + 'static,
{
    type Response = S::Response;
    type Error = ServiceError<S::Error>;
    type Future = ServiceFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let ready = self.inner.poll_ready(task);
        ready.map_err(|error| ServiceError::Policy(PolicyError::Failed(error)))
    }

    /// # Cancel safety
    /// Drains: a dropped call drops what runs; what that had opened is closed by the region around it.
    fn call(&mut self, request: R) -> Self::Future {
        let spare = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, spare.clone());
        let supply = Mutex::new(Supply {
            ready: Some(ready),
            spare,
            request,
        });
        let PolicyLayer { cx, policy } = self.layer.clone();
        Box::pin(async move {
            let attempt = |_: Cx<C>| {
                let mut supply = supply.lock().unwrap_or_else(PoisonError::into_inner);
                let (service, is_ready, request) = supply.next();
                drop(supply);
                attempt(service, is_ready, request)
            };
            match policy.run(&cx, attempt).await {
                Outcome::Ok(response) => Ok(response),
                Outcome::Err(error) => Err(ServiceError::Policy(error)),
                Outcome::Cancelled(reason) => Err(Cancelled::new(reason).into()),
                Outcome::Panicked(payload) => Err(payload.into()),
            }
        })
    }
}

/// One call of the inner service.
async fn attempt<S, R>(mut service: S, is_ready: bool, request: R) -> Result<S::Response, S::Error>
where
    S: Service<R>,
{
    if !is_ready {
        poll_fn(|task| service.poll_ready(task)).await?;
    }
    service.call(request).await
}
