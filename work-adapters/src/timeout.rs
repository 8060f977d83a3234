//! An end for attempts that take too long.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_layer::Layer;
use tower_service::Service;
use work_core::store::ErrorRecord;
use work_core::{BoxError, Context, Job, Outcome, Status};

/// Ends an attempt that takes longer than the job's own timeout, or the layer's default: 408.
///
/// The time counts from the call, and its end is in the context as [`deadline`](work_core::Context::deadline). When it is
/// up the handler is dropped at its await; one that blocks its thread is not reached until it gives the thread back. A
/// job that ends without waiting costs no timer.
///
/// ```
/// use std::time::Duration;
/// use work_adapters::TimeoutLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = TimeoutLayer::new().default_timeout(Duration::from_secs(5));
/// let router = Router::new().route("endless", std::future::pending::<()>).layer(layer);
/// let outcome = LocalWorker::new(router).perform(Job::new("endless", ())).await?.outcome().await?;
/// assert_eq!(outcome.status(), Status::TIMEOUT);
/// assert_eq!(outcome.error().map(|e| e.message.as_str()), Some("timed out after 5s"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TimeoutLayer {
    default: Option<Duration>,
}

/// The timeout of a job that names none, unless the layer does: five minutes.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

impl TimeoutLayer {
    /// The layer, with [`DEFAULT_TIMEOUT`] for jobs that name no timeout.
    #[must_use]
    pub const fn new() -> Self {
        Self { default: Some(DEFAULT_TIMEOUT) }
    }

    /// Another timeout for jobs that name none.
    #[must_use]
    pub const fn default_timeout(mut self, timeout: Duration) -> Self {
        self.default = Some(timeout);
        self
    }

    /// No timeout for jobs that name none.
    #[must_use]
    pub const fn no_default(mut self) -> Self {
        self.default = None;
        self
    }
}

impl Default for TimeoutLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, default: self.default }
    }
}

/// The service of a [`TimeoutLayer`].
#[derive(Debug, Clone, Copy)]
pub struct Timeout<S> {
    inner: S,
    default: Option<Duration>,
}

impl<S> Timeout<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for Timeout<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    ready_as_inner!();
    type Future = ResponseFuture<S::Future>;

    fn call(&mut self, job: Job) -> Self::Future {
        let limit = job.parts().timeout.or(self.default).and_then(|timeout| {
            // A timeout beyond the end of time is none.
            let deadline = Instant::now().checked_add(timeout)?;
            let context = job.context().clone();
            context.set_deadline(deadline);
            Some(Limit { timeout, deadline, context })
        });
        ResponseFuture { future: Some(self.inner.call(job)), limit, sleep: None }
    }
}

struct Limit {
    timeout: Duration,
    deadline: Instant,
    context: Context,
}

pin_project! {
    /// The future of a [`Timeout`].
    pub struct ResponseFuture<F> {
        // `None` once it was dropped because the time was up.
        #[pin]
        future: Option<F>,
        limit: Option<Limit>,
        // Made when the handler first waits: most jobs need no timer.
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Outcome, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Pending };
        if let Poll::Ready(result) = future.poll(cx) {
            return Poll::Ready(result.map_err(Into::into));
        }
        let Some(limit) = this.limit else { return Poll::Pending };
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(limit.deadline)));
        }
        // Unconstrained: a handler that used up the task's budget would keep the timer from being looked at.
        if this.sleep.as_pin_mut().is_none_or(|sleep| pin!(unconstrained(sleep)).poll(cx).is_pending()) {
            return Poll::Pending;
        }
        // First the status, then the drop: the guards of inner layers record it.
        limit.context.set_status(Status::TIMEOUT);
        this.future.set(None);
        let error = ErrorRecord::new(format!("timed out after {:?}", limit.timeout));
        Poll::Ready(Ok(Outcome::new(Status::TIMEOUT).with_error(error)))
    }
}

opaque_debug!(ResponseFuture<F>);
