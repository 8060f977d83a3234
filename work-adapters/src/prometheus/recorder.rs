use std::fmt;
use std::sync::Arc;

use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::PrometheusBuilder;
use super::upkeep::Upkeep;
use crate::metrics::describe;

/// Keeps what is measured, and renders it for Prometheus. Cheap to clone; every clone is the same recorder.
///
/// [`install`](super::install) makes one the recorder of the process. One that is made here is given to those who shall use
/// it, so several in one process do not clash:
///
/// ```
/// use work_adapters::{MetricsLayer, Prometheus};
/// use work_core::{Job, LocalWorker, Router, Worker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mail, images) = (Prometheus::new(), Prometheus::builder().label("part", "images").build());
/// let router = Router::new().route("greet", async || {}).layer(MetricsLayer::new().recorder(mail.clone()));
/// LocalWorker::new(router).perform(Job::new("greet", ())).await?.outcome().await?;
/// assert!(mail.render().contains("work_jobs_started_total"));
/// assert!(!images.render().contains("work_jobs_started_total"));
/// # Ok(())
/// # }
/// ```
///
/// A thread tends it every 5 s while a clone lives, so that histograms that nobody fetches do not grow.
#[derive(Clone)]
pub struct Prometheus {
    inner: Arc<Inner>,
}

struct Inner {
    recorder: PrometheusRecorder,
    _upkeep: Upkeep,
}

impl Prometheus {
    /// A recorder with the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A recorder with settings.
    #[must_use]
    pub fn builder() -> PrometheusBuilder {
        PrometheusBuilder::default()
    }

    pub(super) fn of(recorder: PrometheusRecorder) -> Self {
        let upkeep = Upkeep::start(recorder.handle());
        with_local_recorder(&recorder, describe);
        Self { inner: Arc::new(Inner { recorder, _upkeep: upkeep }) }
    }

    /// Everything that was measured so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.inner.recorder.handle().render()
    }
}

impl Default for Prometheus {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder for Prometheus {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.inner.recorder.describe_counter(name, unit, text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.inner.recorder.describe_gauge(name, unit, text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.inner.recorder.describe_histogram(name, unit, text);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.inner.recorder.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.inner.recorder.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.inner.recorder.register_histogram(key, metadata)
    }
}

impl fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}
