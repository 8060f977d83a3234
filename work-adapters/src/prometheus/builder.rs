use metrics_exporter_prometheus::{Matcher, PrometheusBuilder as Exporter};

use super::Prometheus;

/// Where the buckets of `*_seconds` end, unless [told otherwise](PrometheusBuilder::seconds_buckets): 5 ms to one hour.
pub const SECONDS_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// Where the buckets of `*_bytes` end: 64 bytes to 1 MiB, the most that a worker takes by default.
pub const BYTES_BUCKETS: &[f64] = &[64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];

/// Settings of a [`Prometheus`].
#[derive(Debug, Clone)]
pub struct PrometheusBuilder {
    seconds: Vec<f64>,
    labels: Vec<(String, String)>,
}

/// Buckets that no histogram can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("buckets end at {given:?}; use finite numbers, at least one, each greater than the one before")]
pub struct InvalidBuckets {
    /// What was given.
    pub given: Vec<f64>,
}

impl Default for PrometheusBuilder {
    fn default() -> Self {
        Self { seconds: SECONDS_BUCKETS.to_vec(), labels: Vec::new() }
    }
}

impl PrometheusBuilder {
    /// Where the buckets of histograms that are called `*_seconds` end, in seconds; by default [`SECONDS_BUCKETS`].
    ///
    /// # Errors
    ///
    /// [`InvalidBuckets`], unless they are finite and rise.
    pub fn seconds_buckets(mut self, ends: impl IntoIterator<Item = f64>) -> Result<Self, InvalidBuckets> {
        self.seconds = ends.into_iter().collect();
        let finite = self.seconds.iter().all(|end| end.is_finite());
        if self.seconds.is_empty() || !finite || !self.seconds.is_sorted_by(|a, b| a < b) {
            return Err(InvalidBuckets { given: self.seconds });
        }
        Ok(self)
    }

    /// Adds a label to every series, such as the name of the service.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Makes the recorder. It is not that of the process: see [`Prometheus`].
    #[must_use]
    pub fn build(self) -> Prometheus {
        let mut exporter = Exporter::new();
        // Without buckets they would be summaries, which cannot be added up over processes.
        for (suffix, ends) in [("_seconds", &*self.seconds), ("_bytes", BYTES_BUCKETS)] {
            exporter = exporter
                .set_buckets_for_metric(Matcher::Suffix(suffix.into()), ends)
                .unwrap_or_else(|error| unreachable!("there is a bucket: {error}"));
        }
        for (name, value) in self.labels {
            exporter = exporter.add_global_label(name, value);
        }
        Prometheus::of(exporter.build_recorder())
    }
}
