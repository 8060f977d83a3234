use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use opentelemetry::trace::Status;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use work_core::{Job, JobHandle, JobId, Kind, PerformError, QueueWorker, Recurring, Schedule, Source, Stopped, Worker};

use super::headers::{inject_from, link_only};

/// A worker whose verbs open a producer span `send {queue}`, and put its context into the job's headers, so that an
/// [`OtelLayer`](super::OtelLayer) links the executions to it; in this process or in another one.
///
/// A verb that refuses a job ends its span with an error. What `perform_receive` makes has no producer, so the spans of its
/// executions have no link. Jobs that do not go through the verbs are [injected](super::inject).
///
/// ```
/// use work_adapters::{OtelLayer, OtelWorker};
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let router = Router::new().route("greet", async || {}).layer(OtelLayer::new());
/// let worker = OtelWorker::new(LocalWorker::new(router));
/// let outcome = worker.perform(Job::new("greet", ())).await?.outcome().await?;
/// assert_eq!(outcome.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct OtelWorker<W> {
    inner: W,
}

impl<W: Worker> OtelWorker<W> {
    /// This worker, with spans.
    #[must_use]
    pub const fn new(inner: W) -> Self {
        Self { inner }
    }

    /// The worker inside.
    #[must_use]
    pub const fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The worker inside, without the spans.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Worker> Worker for OtelWorker<W> {
    async fn perform(&self, job: Job) -> Result<JobHandle, PerformError> {
        let (span, job) = send(job);
        within(span, self.inner.perform(job)).await
    }

    async fn perform_at(&self, job: Job, at: DateTime<Utc>) -> Result<JobHandle, PerformError> {
        let (span, job) = send(job);
        within(span, self.inner.perform_at(link_only(job), at)).await
    }

    async fn perform_in(&self, job: Job, delay: Duration) -> Result<JobHandle, PerformError> {
        let (span, job) = send(job);
        within(span, self.inner.perform_in(link_only(job), delay)).await
    }

    async fn perform_every(&self, job: Job, schedule: Schedule) -> Result<Recurring, PerformError> {
        let (span, job) = send(job);
        within(span, self.inner.perform_every(link_only(job), schedule)).await
    }

    async fn perform_receive<T: Source>(
        &self,
        kind: impl Into<Kind> + Send,
        source: T,
    ) -> Result<Recurring, PerformError> {
        self.inner.perform_receive(kind, source).await
    }

    fn accepts(&self, job: &Job) -> Result<(), PerformError> {
        self.inner.accepts(job)
    }

    async fn cancel(&self, id: JobId) -> Result<bool, PerformError> {
        self.inner.cancel(id).await
    }

    async fn stop(&self) {
        self.inner.stop().await;
    }

    async fn stop_within(&self, grace: Duration) -> Stopped {
        self.inner.stop_within(grace).await
    }
}

impl OtelWorker<QueueWorker> {
    /// As [`QueueWorker::perform_many`], in one client span `send {queue}`; all the jobs are linked to it.
    ///
    /// # Errors
    ///
    /// As [`QueueWorker::perform_many`].
    ///
    /// # Cancel safety
    ///
    /// As [`QueueWorker::perform_many`].
    pub async fn perform_many(
        &self,
        jobs: impl IntoIterator<Item = Job> + Send,
    ) -> Result<Vec<JobHandle>, PerformError> {
        let jobs: Vec<Job> = jobs.into_iter().collect();
        let span = send_many(&jobs);
        let jobs: Vec<Job> = jobs.into_iter().map(|job| inject_from(&span, job)).collect();
        within(span, self.inner.perform_many(jobs)).await
    }
}

/// The span, and the job with its context.
fn send(job: Job) -> (Span, Job) {
    let parts = job.parts();
    let span = tracing::info_span!(
        target: "work_adapters::otel",
        "send",
        otel.kind = "producer",
        otel.name = %format_args!("send {}", parts.queue),
        messaging.system = "work",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = parts.queue.as_str(),
        messaging.message.id = %parts.id,
        work.job.kind = parts.kind.as_str(),
        error.type = Empty,
    );
    let job = inject_from(&span, job);
    (span, job)
}

fn send_many(jobs: &[Job]) -> Span {
    let first = jobs.first().map(|job| &job.parts().queue);
    let queue = first.filter(|queue| jobs.iter().all(|job| job.parts().queue == **queue));
    tracing::info_span!(
        target: "work_adapters::otel",
        "send",
        otel.kind = "client",
        otel.name = queue.map(|queue| format!("send {queue}")),
        messaging.system = "work",
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = queue.map(work_core::Queue::as_str),
        messaging.batch.message_count = jobs.len(),
        error.type = Empty,
    )
}

/// Runs a verb within its span, which gets its refusal.
async fn within<T>(span: Span, verb: impl Future<Output = Result<T, PerformError>>) -> Result<T, PerformError> {
    let result = verb.instrument(span.clone()).await;
    if let Err(error) = &result {
        span.record("error.type", reason(error));
        span.set_status(Status::error(error.to_string()));
    }
    result
}

/// Few values: they are a dimension to count by.
const fn reason(error: &PerformError) -> &'static str {
    match error {
        PerformError::UnknownKind { .. } => "unknown_kind",
        PerformError::Invalid(_) => "invalid",
        PerformError::InBatch { error, .. } => reason(error),
        PerformError::Stopped => "stopped",
        PerformError::Full { .. } => "full",
        PerformError::QueueFull(_) => "queue_full",
        PerformError::Store(_) => "store",
        _ => "_OTHER",
    }
}
