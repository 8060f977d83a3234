//! A recorder for [`MetricsLayer`](crate::MetricsLayer) and everything else that is measured through the `metrics` facade,
//! and its text, as Prometheus reads it.
//!
//! ```
//! use work_adapters::{MetricsLayer, prometheus};
//! use work_core::{Job, LocalWorker, Router, Worker};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metrics = prometheus::install()?;
//! let worker = LocalWorker::new(Router::new().route("greet", async || {}).layer(MetricsLayer::new()));
//! worker.perform(Job::new("greet", ())).await?.outcome().await?;
//!
//! let text = metrics.render();
//! assert!(text.contains("work_jobs_finished_total{queue=\"default\",kind=\"greet\",status=\"success\"} 1"));
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `http`, `routes` serves that text at `GET /metrics`.

mod builder;
mod install;
mod recorder;
#[cfg(feature = "http")]
mod routes;
mod upkeep;

pub use builder::{BYTES_BUCKETS, InvalidBuckets, PrometheusBuilder, SECONDS_BUCKETS};
pub use install::{InstallError, install};
pub use recorder::Prometheus;
#[cfg(feature = "http")]
pub use routes::{CONTENT_TYPE, routes};
