//! Counts and durations, through the `metrics` facade: any recorder of the process gets them, or one of your own.
//!
//! | name | kind | labels |
//! |---|---|---|
//! | [`STARTED`] | counter | `queue`, `kind` |
//! | [`RETRIED`] | counter | `queue`, `kind` |
//! | [`FINISHED`] | counter | `queue`, `kind`, `status` |
//! | [`DURATION`] | histogram, seconds | `queue`, `kind`, `status` |
//! | [`QUEUE_LATENCY`] | histogram, seconds | `queue`, `kind` |
//! | [`RUNNING`] | gauge | `queue`, `kind` |
//! | [`ARGS_BYTES`], [`OUTPUT_BYTES`] | histogram, bytes | `queue`, `kind`; with [`MetricsLayer::sizes`] |
//! | [`STALE_SETTLEMENTS`] | counter | |
//! | [`BUILD_INFO`] | gauge, always 1 | `version`; from [`describe`] |
//!
//! `status` is the [name](work_core::Status::name) of the status, so that labels have few values. The first 64 pairs of
//! queue and kind that a route sees have their names; of further ones the queue is called `other`, and so is a kind that
//! was not seen before.
//!
//! What only a store knows (how many jobs wait, how old the oldest is) is not here: a layer sees executions.

mod layer;
mod series;

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};

pub use layer::{Metrics, MetricsLayer, ResponseFuture};

/// Executions that began. Counter, by `queue` and `kind`.
pub const STARTED: &str = "work_jobs_started_total";
/// Executions that began and were not the first attempt. Counter, by `queue` and `kind`.
pub const RETRIED: &str = "work_jobs_retried_total";
/// Executions that ended. Counter, by `queue`, `kind` and `status`.
pub const FINISHED: &str = "work_jobs_finished_total";
/// How long executions took, from the call to the end. Histogram of seconds, by `queue`, `kind` and `status`.
pub const DURATION: &str = "work_job_duration_seconds";
/// How long first attempts waited, from when the job was due to the call. Histogram of seconds, by `queue` and `kind`.
///
/// A job is due when it was made, or at its `scheduled_at` if that is later. When it was made is read from its id, a UUID
/// of version 7, to the millisecond and by the clock of the process that made it; a job with an id of another kind and no
/// `scheduled_at` is not counted. A job that was snoozed is again at its first attempt, and waits since it was first due.
pub const QUEUE_LATENCY: &str = "work_job_queue_latency_seconds";
/// Executions under way. Gauge, by `queue` and `kind`.
pub const RUNNING: &str = "work_jobs_running";
/// Arguments, as JSON. Histogram of bytes, by `queue` and `kind`; typed arguments in memory have no size.
pub const ARGS_BYTES: &str = "work_job_args_bytes";
/// Outputs, as JSON. Histogram of bytes, by `queue` and `kind`; an outcome without output is not counted.
pub const OUTPUT_BYTES: &str = "work_job_output_bytes";
/// Ends of attempts that a store refused, since the lease had passed on. Counter; the runner counts it, with any layers or
/// none, and with the recorder of the process.
pub const STALE_SETTLEMENTS: &str = "work_stale_settlements_total";
/// Always 1; its `version` is that of this crate. Gauge.
pub const BUILD_INFO: &str = "work_build_info";

/// Tells the recorder of the process what the names mean, their units, and [`BUILD_INFO`]; call it once the recorder is
/// installed.
///
/// ```
/// // Here the program installs its recorder.
/// work_adapters::metrics::describe();
/// assert!(work_adapters::metrics::DURATION.ends_with("_seconds"));
/// ```
pub fn describe() {
    describe_counter!(STARTED, Unit::Count, "Executions of jobs that began.");
    describe_counter!(RETRIED, Unit::Count, "Executions of jobs that began and were not the first attempt.");
    describe_counter!(FINISHED, Unit::Count, "Executions of jobs that ended, by status.");
    describe_histogram!(DURATION, Unit::Seconds, "How long executions of jobs took, by status.");
    describe_histogram!(QUEUE_LATENCY, Unit::Seconds, "How long first attempts waited after the job was due.");
    describe_gauge!(RUNNING, Unit::Count, "Executions of jobs under way.");
    describe_histogram!(ARGS_BYTES, Unit::Bytes, "Arguments of jobs, as JSON.");
    describe_histogram!(OUTPUT_BYTES, Unit::Bytes, "Outputs of jobs, as JSON.");
    describe_counter!(STALE_SETTLEMENTS, Unit::Count, "Ends of attempts that a store refused as stale.");
    describe_gauge!(BUILD_INFO, Unit::Count, "The version of work-adapters.");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}
