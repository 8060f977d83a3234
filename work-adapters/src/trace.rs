use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::field::Empty;
use work_core::{BoxError, Job, Outcome, Status};

use crate::guard::{Guard, Observe};

/// Opens one span `job` for each execution, and logs one event at its end.
///
/// The span has the fields `job.id`, `job.kind`, `job.queue`, `job.attempt`, and `job.status` from the end on. The event
/// is DEBUG for an attempt that ended well, and WARN with the error for one that did not. Arguments are never logged.
///
/// ```
/// use work_adapters::TraceLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(TraceLayer::new()));
/// assert_eq!(worker.perform(Job::new("greet", ())).await?.outcome().await?.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceLayer {}

impl TraceLayer {
    /// The layer.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

/// The service of a [`TraceLayer`].
#[derive(Debug, Clone, Copy)]
pub struct Trace<S> {
    inner: S,
}

impl<S> Service<Job> for Trace<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let context = job.context().clone();
        let span = span(&job);
        // Nothing is measured if nobody listens, neither to the span nor to a failure.
        let heard = !span.is_disabled() || tracing::enabled!(tracing::Level::WARN);
        let seen = heard.then(|| Guard::new(context, Seen { span: span.clone(), start: Instant::now() }));
        // The guard is there before the call: a handler may panic before it has a future.
        let future = span.in_scope(|| self.inner.call(job));
        ResponseFuture { span, seen, future }
    }
}

fn span(job: &Job) -> Span {
    let parts = job.parts();
    tracing::info_span!(
        "job",
        otel.kind = "consumer",
        job.id = %parts.id,
        job.kind = parts.kind.as_str(),
        job.queue = parts.queue.as_str(),
        job.attempt = job.context().attempt(),
        job.status = Empty,
    )
}

struct Seen {
    span: Span,
    start: Instant,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, outcome: Option<&Outcome>) {
        let elapsed = self.start.elapsed();
        self.span.record("job.status", status.code());
        let error = outcome.and_then(Outcome::error).map(|error| error.message.as_str());
        self.span.in_scope(|| match error {
            _ if status.is_complete() => tracing::debug!(job.status = status.code(), ?elapsed, "job ended"),
            Some(error) => tracing::warn!(job.status = status.code(), ?elapsed, error, "job failed"),
            None => tracing::warn!(job.status = status.code(), ?elapsed, "job failed"),
        });
    }
}

pin_project! {
    /// The future of a [`Trace`].
    pub struct ResponseFuture<F> {
        span: Span,
        seen: Option<Guard<Seen>>,
        #[pin]
        future: F,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Outcome, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = {
            let _entered = this.span.enter();
            ready!(this.future.poll(cx)).map_err(Into::into)
        };
        if let Some(seen) = this.seen {
            seen.end(&result);
        }
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("span", &self.span).finish_non_exhaustive()
    }
}
