//! Counts and durations, through the `metrics` facade: any recorder of the process gets them.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | [`STARTED`] | counter | `queue`, `kind` |
//! | [`FINISHED`] | counter | `queue`, `kind`, `status` |
//! | [`DURATION`] | histogram, seconds | `queue`, `kind`, `status` |
//! | [`RUNNING`] | gauge | `queue`, `kind` |
//!
//! `status` is the [name](work_core::Status::name) of the status, so that labels have few values. The first 64 pairs of
//! queue and kind that a route sees have their names; of further ones the queue is called `other`, and so is a kind that
//! was not seen before.
//!
//! How long jobs waited before they started is not here: a job does not say when it became due.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poll_, Poll, ready};
use std::time::Duration;

use ::metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use work_core::{BoxError, Job, Kind, Outcome, Queue, Status};

use crate::guard::{Guard, Observe};

/// Executions that began. Counter, by `queue` and `kind`.
pub const STARTED: &str = "work_jobs_started_total";
/// Executions that ended. Counter, by `queue`, `kind` and `status`.
pub const FINISHED: &str = "work_jobs_finished_total";
/// How long executions took, from the call to the end. Histogram of seconds, by `queue`, `kind` and `status`.
pub const DURATION: &str = "work_job_duration_seconds";
/// Executions under way. Gauge, by `queue` and `kind`.
pub const RUNNING: &str = "work_jobs_running";

/// Tells the recorder of the process what the names mean, and their units; call it once the recorder is installed.
///
/// ```
/// // Here the program installs its recorder, `metrics_exporter_prometheus` for example.
/// work_adapters::metrics::describe();
/// assert!(work_adapters::metrics::DURATION.ends_with("_seconds"));
/// ```
pub fn describe() {
    describe_counter!(STARTED, Unit::Count, "Executions of jobs that began.");
    describe_counter!(FINISHED, Unit::Count, "Executions of jobs that ended, by status.");
    describe_histogram!(DURATION, Unit::Seconds, "How long executions of jobs took, by status.");
    describe_gauge!(RUNNING, Unit::Count, "Executions of jobs under way.");
}

/// Records counts and durations of executions, see the [module](self).
///
/// The recorder is asked for its handles when a route first sees a queue, and never again: a job makes no label.
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
    /// Looked up once for each queue and kind, so that a job makes no label. A route sees few, mostly one. A std mutex:
    /// it is held for the search only.
    series: Arc<Mutex<Vec<Arc<Series>>>>,
}

/// Pairs of queue and kind with series of their own, for each route.
const MAX_SERIES: usize = 64;

impl<S> Metrics<S> {
    inner_service_accessors!();

    fn series(&self, job: &Job) -> Arc<Series> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, kind) = (&job.parts().queue, job.kind());
        if all.len() < MAX_SERIES {
            return find_or_add(&mut all, queue, kind);
        }
        if let Some(series) = find(&all, queue, kind) {
            return series;
        }
        let known = all.iter().any(|series| series.kind == *kind);
        let other = Kind::from_static("other");
        find_or_add(&mut all, &Queue::from_static("other"), if known { kind } else { &other })
    }
}

fn find(all: &[Arc<Series>], queue: &Queue, kind: &Kind) -> Option<Arc<Series>> {
    all.iter().find(|series| series.queue == *queue && series.kind == *kind).cloned()
}

fn find_or_add(all: &mut Vec<Arc<Series>>, queue: &Queue, kind: &Kind) -> Arc<Series> {
    find(all, queue, kind).unwrap_or_else(|| {
        let series = Arc::new(Series::new(queue.clone(), kind.clone()));
        all.push(series.clone());
        series
    })
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
        // Made before the call: it may panic.
        let seen = Guard::new(job.context().clone(), Seen { series, start: Instant::now() });
        ResponseFuture { future: Some(self.inner.call(job)), seen }
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
    /// By the name of a status: each is looked up when it is first seen, and there are few. A std mutex: it is held for
    /// the search and the two records.
    ends: Mutex<Vec<(&'static str, Counter, Histogram)>>,
}

impl Series {
    fn new(queue: Queue, kind: Kind) -> Self {
        let labels = [("queue", queue.to_string()), ("kind", kind.to_string())];
        let (started, running) = (counter!(STARTED, &labels), gauge!(RUNNING, &labels));
        Self { started, running, ends: Mutex::default(), queue, kind }
    }

    fn end(&self, status: Status, elapsed: Duration) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ends.iter().position(|(name, ..)| *name == status.name()).unwrap_or_else(|| {
            let labels = [
                ("queue", self.queue.to_string()),
                ("kind", self.kind.to_string()),
                ("status", status.name().to_owned()),
            ];
            ends.push((status.name(), counter!(FINISHED, &labels), histogram!(DURATION, &labels)));
            ends.len() - 1
        });
        let (_, finished, duration) = &ends[at];
        finished.increment(1);
        duration.record(elapsed.as_secs_f64());
    }
}

struct Seen {
    series: Arc<Series>,
    start: Instant,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, _: Option<&Result<Outcome, BoxError>>) {
        self.series.running.decrement(1.0);
        self.series.end(status, self.start.elapsed());
    }
}

pin_project! {
    /// The future of a [`Metrics`].
    pub struct ResponseFuture<F> {
        // `None` once it has ended, so that it is dropped before the end is seen; and before `seen` if it is dropped.
        #[pin]
        future: Option<F>,
        seen: Guard<Seen>,
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
        this.seen.end(&result);
        Poll::Ready(result)
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
