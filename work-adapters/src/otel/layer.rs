use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poll_, Poll};

use opentelemetry::Context;
use opentelemetry::trace::{self, TraceContextExt};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::field::Empty;
use tracing::{Level, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use work_core::{BoxError, Job, JobId, Kind, Outcome, Status};

use super::{Parent, headers};
use crate::guard::{Guard, Observe};
use crate::in_span::{InSpan, Spanned};
use crate::trace::{error_text, is_failure, log_end};

/// Opens one consumer span `process {queue}` for each execution, linked to the span of its producer; see the
/// [module](super) for its attributes.
///
/// Use it in place of [`TraceLayer`](crate::TraceLayer): it logs the same event at the end. The handler and the layers
/// inside are called, polled and dropped within the span, so what they trace is below it. It ends with the final status,
/// whatever ended the execution: an answer, an error, a panic, a timeout, a cancellation.
///
/// ```
/// use work_adapters::OtelLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(OtelLayer::new()));
/// assert_eq!(worker.perform(Job::new("greet", ())).await?.outcome().await?.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct OtelLayer {
    parent: Parent,
}

impl OtelLayer {
    /// The layer; executions are linked to their producers.
    #[must_use]
    pub const fn new() -> Self {
        Self { parent: Parent::Link }
    }

    /// How the spans stand to those of the producers; by default [`Parent::Link`].
    #[must_use]
    pub const fn parent(mut self, parent: Parent) -> Self {
        self.parent = parent;
        self
    }
}

impl<S> Layer<S> for OtelLayer {
    type Service = Otel<S>;

    fn layer(&self, inner: S) -> Otel<S> {
        Otel { inner, parent: self.parent }
    }
}

/// The service of an [`OtelLayer`].
#[derive(Debug, Clone, Copy)]
pub struct Otel<S> {
    inner: S,
    parent: Parent,
}

impl<S> Otel<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for Otel<S>
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
        let seen = seen(&job, self.parent);
        ResponseFuture { inner: InSpan::call(&mut self.inner, job, seen) }
    }
}

/// `None` if nobody listens, neither to the span nor to a failure.
fn seen(job: &Job, parent: Parent) -> Option<Guard<Seen>> {
    let span = process_span(job);
    if !span.is_disabled() {
        connect(&span, job, parent);
    }
    let nameless = span.is_disabled();
    (!nameless || tracing::enabled!(target: "work_adapters::trace", Level::WARN)).then(|| {
        let job_of_event = nameless.then(|| (job.id(), job.kind().clone()));
        Guard::new(job.context().clone(), Seen { span, start: Instant::now(), job: job_of_event })
    })
}

fn process_span(job: &Job) -> Span {
    let parts = job.parts();
    tracing::info_span!(
        target: "work_adapters::otel",
        // Whatever span the worker happens to run in has nothing to do with this job.
        parent: None,
        "process",
        otel.kind = "consumer",
        otel.name = %format_args!("process {}", parts.queue),
        messaging.system = "work",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = parts.queue.as_str(),
        messaging.message.id = %parts.id,
        work.job.kind = parts.kind.as_str(),
        work.job.attempt = i64::from(job.context().attempt()),
        work.job.status = Empty,
        error.type = Empty,
    )
}

fn connect(span: &Span, job: &Job, parent: Parent) {
    let Some(producer) = headers::extract(job) else { return };
    if parent == Parent::Child && headers::may_be_child(job) {
        // Refused only where no layer of OpenTelemetry listens.
        let _ = span.set_parent(Context::new().with_remote_span_context(producer.clone()));
    }
    span.add_link(producer);
}

struct Seen {
    span: Span,
    start: Instant,
    /// For the event, if there is no span to say it.
    job: Option<(JobId, Kind)>,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        self.span.record("work.job.status", i64::from(status.code()));
        if is_failure(status) {
            self.span.record("error.type", status.name());
        }
        {
            let _entered = self.span.enter();
            log_end(status, self.start.elapsed(), result, self.job.as_ref());
        }
        // After the event, which has a field that may be taken for a status.
        if status == Status::TIMEOUT || status.code() / 100 == 5 {
            let text = result.and_then(error_text);
            self.span.set_status(trace::Status::error(text.unwrap_or(status.name().into()).into_owned()));
        }
    }
}

impl Spanned for Seen {
    fn span(&self) -> &Span {
        &self.span
    }
}

pin_project! {
    /// The future of an [`Otel`].
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
