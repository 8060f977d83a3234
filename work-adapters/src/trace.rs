//! One span for each execution, and one event at its end.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::field::Empty;
use tracing::{Level, Span};
use work_core::{BoxError, Job, JobId, Kind, Outcome, Status};

use crate::guard::{Guard, Observe};
use crate::in_span::{InSpan, Spanned};

/// Opens one span `job` for each execution, and logs one event at its end.
///
/// Both have the target `work_adapters::trace`. The span is INFO and has the fields `job.id`, `job.kind`, `job.queue`,
/// `job.attempt`, `otel.kind` (`consumer`), `otel.name` (`process` and the queue), and from the end on `job.status`. The
/// handler and the layers inside are called, polled and dropped within it.
///
/// The event has `job.status`, `elapsed`, and for a failure `error`. It is WARN for a failure, whether it is retried or
/// not, and DEBUG for what ended well, was cancelled (499) or put off (429). Where the span itself is filtered out, the
/// WARN says which job it was. Arguments are never logged. With no subscriber that wants either, nothing is measured.
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

impl<S> Trace<S> {
    inner_service_accessors!();
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
        let seen = seen(&job);
        ResponseFuture { inner: InSpan::call(&mut self.inner, job, seen) }
    }
}

/// `None` if nobody listens, neither to the span nor to a failure: then nothing is measured.
fn seen(job: &Job) -> Option<Guard<Seen>> {
    let parts = job.parts();
    let span = tracing::info_span!(
        "job",
        otel.kind = "consumer",
        otel.name = %format_args!("process {}", parts.queue),
        job.id = %parts.id,
        job.kind = parts.kind.as_str(),
        job.queue = parts.queue.as_str(),
        job.attempt = job.context().attempt(),
        job.status = Empty,
    );
    let nameless = span.is_disabled();
    (!nameless || tracing::enabled!(Level::WARN)).then(|| {
        let job_of_event = nameless.then(|| (parts.id, parts.kind.clone()));
        Guard::new(job.context().clone(), Seen { span, start: Instant::now(), job: job_of_event })
    })
}

struct Seen {
    span: Span,
    start: Instant,
    /// For the event, if there is no span to say it.
    job: Option<(JobId, Kind)>,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        self.span.record("job.status", status.code());
        let _entered = self.span.enter();
        log_end(status, self.start.elapsed(), result, self.job.as_ref());
    }
}

impl Spanned for Seen {
    fn span(&self) -> &Span {
        &self.span
    }
}

/// The event at the end of an execution, within its span; with the job, if there is no span to say it.
pub(crate) fn log_end(
    status: Status,
    elapsed: Duration,
    result: Option<&Result<Outcome, BoxError>>,
    job: Option<&(JobId, Kind)>,
) {
    if !is_failure(status) {
        tracing::debug!(job.status = status.code(), ?elapsed, "job ended");
        return;
    }
    tracing::warn!(
        job.id = job.map(|(id, _)| display(id)),
        job.kind = job.map(|(_, kind)| kind.as_str()),
        job.status = status.code(),
        ?elapsed,
        error = result.and_then(error_text).as_deref(),
        "job failed"
    );
}

/// False for what ended well, was cancelled or put off.
pub(crate) fn is_failure(status: Status) -> bool {
    !status.is_complete() && !matches!(status, Status::CANCELLED | Status::TOO_MANY)
}

pub(crate) fn error_text(result: &Result<Outcome, BoxError>) -> Option<Cow<'_, str>> {
    match result {
        Ok(outcome) => outcome.error().map(|error| error.message.as_str().into()),
        Err(error) => Some(error.to_string().into()),
    }
}

pin_project! {
    /// The future of a [`Trace`].
    pub struct ResponseFuture<F> {
        #[pin]
        inner: InSpan<F, Seen>,
    }
}

impl<F, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Outcome, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Outcome, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Poll_<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
