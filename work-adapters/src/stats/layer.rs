use tower_layer::Layer;
use work_core::{BoxError, Job, Outcome, Status};

use super::Stats;
use crate::guard::Observe;

/// Counts executions in a [`Stats`].
///
/// ```
/// use work_adapters::{Stats, StatsLayer};
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stats = Stats::new();
/// let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(StatsLayer::new(stats.clone())));
/// worker.perform(Job::new("greet", ())).await?.outcome().await?;
/// assert_eq!(stats.snapshot().total().succeeded(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StatsLayer {
    stats: Stats,
}

impl StatsLayer {
    /// A layer that counts there. Several may count in the same place, if a job passes only one of them.
    #[must_use]
    pub const fn new(stats: Stats) -> Self {
        Self { stats }
    }
}

impl<S> Layer<S> for StatsLayer {
    type Service = StatsService<S>;

    fn layer(&self, inner: S) -> StatsService<S> {
        StatsService { inner, stats: self.stats.clone() }
    }
}

/// The service of a [`StatsLayer`].
#[derive(Clone)]
pub struct StatsService<S> {
    inner: S,
    stats: Stats,
}

impl<S> StatsService<S> {
    fn seen(&self, job: &Job) -> Seen {
        Seen { place: self.stats.start(job.kind()), stats: self.stats.clone() }
    }
}

struct Seen {
    stats: Stats,
    place: usize,
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, _: Option<&Result<Outcome, BoxError>>) {
        self.stats.end(self.place, status);
    }
}

watched_service!(StatsService, "StatsLayer", Seen);
