//! Counts and durations, through the `metrics` facade: any recorder of the process gets them.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | [`STARTED`] | counter | `queue`, `kind` |
//! | [`FINISHED`] | counter | `queue`, `kind`, `status` |
//! | [`DURATION`] | histogram, seconds | `queue`, `kind`, `status` |
//! | [`RUNNING`] | gauge | `queue`, `kind` |
//!
//! `status` is the [name](work_core::Status::name) of the status, so that labels have few values; of queues, only the
//! first 64 that a route sees have a name of their own.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poll_, Poll, ready};

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use work_core::{BoxError, Job, Kind, Outcome, Queue, Status};

use crate::guard::{Guard, Observe};

/// Executions that began.
pub const STARTED: &str = "work_jobs_started_total";
/// Executions that ended, by status.
pub const FINISHED: &str = "work_jobs_finished_total";
/// How long executions took, by status.
pub const DURATION: &str = "work_job_duration_seconds";
/// Executions under way.
pub const RUNNING: &str = "work_jobs_running";

/// Tells the recorder of the process what the names mean; call it once the recorder is installed.
pub fn describe() {
    describe_counter!(STARTED, Unit::Count, "Executions of jobs that began.");
    describe_counter!(FINISHED, Unit::Count, "Executions of jobs that ended, by status.");
    describe_histogram!(DURATION, Unit::Seconds, "How long executions of jobs took, by status.");
    describe_gauge!(RUNNING, Unit::Count, "Executions of jobs under way.");
}

/// Records counts and durations of executions, see the [module](self).
///
/// ```
/// use work_adapters::MetricsLayer;
/// use work_core::{Job, LocalWorker, Router, Status, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(MetricsLayer::new()));
/// assert_eq!(worker.perform(Job::new("greet", ())).await?.outcome().await?.status(), Status::SUCCESS);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct MetricsLayer {}

impl MetricsLayer {
    /// The layer. The recorder may be installed later, but before the first job.
    #[must_use]
    pub const fn new() -> Self {
        Self {}
    }
}

impl<S> Layer<S> for MetricsLayer {
    type Service = Metrics<S>;

    fn layer(&self, inner: S) -> Metrics<S> {
        Metrics { inner, series: Arc::default() }
    }
}

/// The service of a [`MetricsLayer`].
#[derive(Clone)]
pub struct Metrics<S> {
    inner: S,
    /// Looked up once for each queue and kind, so that a job makes no label. A route sees few, mostly one.
    series: Arc<Mutex<Vec<Arc<Series>>>>,
}

/// Queues and kinds with series of their own, for each route.
const MAX_SERIES: usize = 64;

impl<S> Metrics<S> {
    fn series(&self, job: &Job) -> Arc<Series> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, kind) = (&job.parts().queue, job.kind());
        if let Some(series) = all.iter().find(|series| series.queue == *queue && series.kind == *kind) {
            return series.clone();
        }
        if all.len() > MAX_SERIES {
            return all[MAX_SERIES].clone();
        }
        let other = all.len() == MAX_SERIES;
        let (queue, kind) = if other { ("other".into(), "other".into()) } else { (queue.clone(), kind.clone()) };
        let series = Arc::new(Series::new(queue, kind));
        all.push(series.clone());
        series
    }
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
        let series = self.series(&job);
        series.started.increment(1);
        series.running.increment(1.0);
        let seen = Guard::new(job.context().clone(), Seen { series, start: Instant::now() });
        ResponseFuture { seen, future: self.inner.call(job) }
    }
}

impl<S> fmt::Debug for Metrics<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The handles of one queue and kind.
struct Series {
    queue: Queue,
    kind: Kind,
    started: Counter,
    running: Gauge,
    /// By status: each is looked up when it is first seen.
    ends: Mutex<HashMap<Status, (Counter, Histogram)>>,
}

impl Series {
    fn new(queue: Queue, kind: Kind) -> Self {
        let labels = || [("queue", queue.to_string()), ("kind", kind.to_string())];
        let (started, running) = (counter!(STARTED, &labels()), gauge!(RUNNING, &labels()));
        Self { started, running, ends: Mutex::default(), queue, kind }
    }

    fn end(&self, status: Status) -> (Counter, Histogram) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (queue, kind, status) = (self.queue.to_string(), self.kind.to_string(), status.name());
            let finished = counter!(FINISHED, "queue" => queue.clone(), "kind" => kind.clone(), "status" => status);
            (finished, histogram!(DURATION, "queue" => queue, "kind" => kind, "status" => status))
        };
        ends.entry(status).or_insert_with(make).clone()
    }
}

struct Seen {
    series: Arc<Series>,
    start: Instant,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, _: Option<&Outcome>) {
        let (finished, duration) = self.series.end(status);
        finished.increment(1);
        duration.record(self.start.elapsed().as_secs_f64());
        self.series.running.decrement(1.0);
    }
}

pin_project! {
    /// The future of a [`Metrics`].
    pub struct ResponseFuture<F> {
        seen: Guard<Seen>,
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
        let result = ready!(this.future.poll(cx)).map_err(Into::into);
        this.seen.end(&result);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
