use opentelemetry::Context;
use opentelemetry::trace::{self, TraceContextExt};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use work_core::{BoxError, Job, Outcome, Status};

use super::{Parent, headers};
use crate::ending::{error_text, is_failure, is_server_error};
use crate::guard::{Guard, Observe};
use crate::in_span::{InSpan, Spanned};
use crate::trace::Execution;

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
    ready_as_inner!();
    type Future = ResponseFuture<S::Future>;

    fn call(&mut self, job: Job) -> Self::Future {
        let span = process_span(&job);
        if !span.is_disabled() {
            connect(&span, &job, self.parent);
        }
        let seen = Execution::start(span, &job);
        let seen = seen.map(|execution| Guard::new(job.context().clone(), Seen(execution)));
        ResponseFuture { inner: InSpan::call(&mut self.inner, job, seen) }
    }
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

struct Seen(Execution);

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        let span = &self.0.span;
        span.record("work.job.status", i64::from(status.code()));
        if is_failure(status) {
            span.record("error.type", status.name());
        }
        self.0.log_end(status, result);
        // After the event, which has a field that may be taken for a status.
        if is_server_error(status) {
            let text = result.and_then(error_text);
            span.set_status(trace::Status::error(text.unwrap_or(status.name().into()).into_owned()));
        }
    }
}

impl Spanned for Seen {
    fn span(&self) -> &Span {
        &self.0.span
    }
}

in_span_future!(Otel, Seen);
