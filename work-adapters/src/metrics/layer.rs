use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::metrics::Recorder;
use tokio::time::Instant;
use tower_layer::Layer;
use work_core::{BoxError, Clock, Job, Kind, Outcome, Status};

use super::series::{AllSeries, Series, Target};
use crate::guard::Observe;

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
    /// `None` for a kind that is ignored.
    fn seen(&self, job: &Job) -> Option<Seen> {
        let Shared { settings, series } = &*self.shared;
        if settings.ignored.contains(job.kind()) {
            return None;
        }
        let series = series.of(job, &settings.target);
        let attempt = job.context().attempt();
        let waited = if attempt == 1 { waited(job, &settings.clock) } else { None };
        series.start(attempt, waited);
        if settings.sizes {
            series.args_bytes(job);
        }
        Some(Seen { series, start: Instant::now(), sizes: settings.sizes })
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

watched_service!(Metrics, "MetricsLayer", Option<Seen>);
