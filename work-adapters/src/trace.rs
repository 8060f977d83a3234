//! One span for each execution, and one event at its end.

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::field::Empty;
use tracing::{Level, Span};
use work_core::{BoxError, Job, JobId, Kind, Outcome, Status};

use crate::ending::{error_text, is_failure};
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
    ready_as_inner!();
    type Future = ResponseFuture<S::Future>;

    fn call(&mut self, job: Job) -> Self::Future {
        let seen = Execution::start(job_span(&job), &job);
        let seen = seen.map(|execution| Guard::new(job.context().clone(), Seen(execution)));
        ResponseFuture { inner: InSpan::call(&mut self.inner, job, seen) }
    }
}

fn job_span(job: &Job) -> Span {
    let parts = job.parts();
    tracing::info_span!(
        "job",
        otel.kind = "consumer",
        otel.name = %format_args!("process {}", parts.queue),
        job.id = %parts.id,
        job.kind = parts.kind.as_str(),
        job.queue = parts.queue.as_str(),
        job.attempt = job.context().attempt(),
        job.status = Empty,
    )
}

struct Seen(Execution);

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        self.0.span.record("job.status", status.code());
        self.0.log_end(status, result);
    }
}

impl Spanned for Seen {
    fn span(&self) -> &Span {
        &self.0.span
    }
}

/// An execution in its span, of which an event tells the end.
pub(crate) struct Execution {
    pub(crate) span: Span,
    start: Instant,
    /// For the event, if there is no span to say it.
    job: Option<(JobId, Kind)>,
}

impl Execution {
    /// `None` if nobody listens, neither to the span nor to a failure: then nothing is measured.
    pub(crate) fn start(span: Span, job: &Job) -> Option<Self> {
        let nameless = span.is_disabled();
        (!nameless || tracing::enabled!(Level::WARN)).then(|| {
            let job = nameless.then(|| (job.id(), job.kind().clone()));
            Self { span, start: Instant::now(), job }
        })
    }

    /// The event, within the span.
    pub(crate) fn log_end(&self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        let _entered = self.span.enter();
        let (job, elapsed) = (self.job.as_ref(), self.start.elapsed());
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
}

in_span_future!(Trace, Seen);
