use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poll_, Poll, ready};
use std::time::Duration;

use ::metrics::Recorder;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use work_core::{BoxError, Clock, Job, Kind, Outcome, Status};

use super::series::{AllSeries, Series, Target};
use crate::guard::{Guard, Observe};

/// Records counts and durations of executions, see the [module](super).
///
/// The recorder is asked for its handles when a route first sees a queue, and never again: a job makes no label.
///
/// ```
/// use work_adapters::MetricsLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = MetricsLayer::new().ignore("probe");
/// let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(layer));
/// assert_eq!(worker.perform(Job::new("greet", ())).await?.outcome().await?.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct MetricsLayer {
    target: Target,
    clock: Clock,
    ignored: Vec<Kind>,
    sizes: bool,
}

impl MetricsLayer {
    /// The layer, for the recorder of the process. That may be installed later, but before the first job.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who gets the numbers, in place of the recorder of the process: several in one process do not clash.
    #[must_use]
    pub fn recorder(mut self, recorder: impl Recorder + Send + Sync + 'static) -> Self {
        self.target = Some(Arc::new(recorder));
        self
    }

    /// What says "now" when a job starts, by which it is known [how long it waited](super::QUEUE_LATENCY); by default this
    /// machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Leaves out jobs of this kind; to leave out several, call it several times.
    #[must_use]
    pub fn ignore(mut self, kind: impl Into<Kind>) -> Self {
        self.ignored.push(kind.into());
        self
    }

    /// Records also how large [arguments](super::ARGS_BYTES) and [outputs](super::OUTPUT_BYTES) are, where they are JSON.
    #[must_use]
    pub const fn sizes(mut self) -> Self {
        self.sizes = true;
        self
    }
}

impl fmt::Debug for MetricsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayer")
            .field("ignored", &self.ignored)
            .field("sizes", &self.sizes)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics { inner, shared: Arc::new(Shared { settings: self.clone(), series: AllSeries::default() }) }
    }
}

/// The service of a [`MetricsLayer`].
#[derive(Clone)]
pub struct Metrics<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    settings: MetricsLayer,
    series: AllSeries,
}

impl<S> Metrics<S> {
    inner_service_accessors!();
}

impl Shared {
    /// Made before the call, which may panic. `None` for a kind that is ignored.
    fn seen(&self, job: &Job) -> Option<Guard<Seen>> {
        if self.settings.ignored.contains(job.kind()) {
            return None;
        }
        let series = self.series.of(job, &self.settings.target);
        let attempt = job.context().attempt();
        let waited = if attempt == 1 { waited(job, &self.settings.clock) } else { None };
        series.start(attempt, waited);
        if self.settings.sizes {
            series.args_bytes(job);
        }
        let seen = Seen { series, start: Instant::now(), sizes: self.settings.sizes };
        Some(Guard::new(job.context().clone(), seen))
    }
}

/// How long ago the job was due.
fn waited(job: &Job, clock: &Clock) -> Option<Duration> {
    let made = job.id().as_uuid().get_timestamp().map(|made| {
        let (seconds, nanos) = made.to_unix();
        Duration::new(seconds, nanos)
    });
    // Times before 1970 are zero.
    let since_1970 =
        |at: chrono::DateTime<chrono::Utc>| (at - chrono::DateTime::UNIX_EPOCH).to_std().unwrap_or_default();
    let due = made.max(job.parts().scheduled_at.map(since_1970))?;
    Some(since_1970(clock.now()).saturating_sub(due))
}

impl<S> Service<Job> for Metrics<S>
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
        let seen = self.shared.seen(&job);
        ResponseFuture { future: Some(self.inner.call(job)), seen }
    }
}

impl<S> fmt::Debug for Metrics<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

struct Seen {
    series: Arc<Series>,
    start: Instant,
    sizes: bool,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        self.series.end(status, self.start.elapsed());
        if let (true, Some(Ok(outcome))) = (self.sizes, result) {
            self.series.output_bytes(outcome);
        }
    }
}

pin_project! {
    /// The future of a [`Metrics`].
    pub struct ResponseFuture<F> {
        // `None` once it has ended, so that it is dropped before the end is seen; and before `seen` if it is dropped.
        #[pin]
        future: Option<F>,
        seen: Option<Guard<Seen>>,
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
        let result = ready!(future.poll(cx)).map_err(Into::into);
        this.future.set(None);
        if let Some(seen) = this.seen {
            seen.end(&result);
        }
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
