//! Spans of OpenTelemetry, from the one who makes a job to the one who performs it.
//!
//! | span | kind | who makes it |
//! |---|---|---|
//! | `send {queue}` | producer | [`OtelWorker`], around the verbs of its worker |
//! | `process {queue}` | consumer | [`OtelLayer`], around each execution |
//! | `settle {queue}` | client | the runner of a store, for each batch it reports; without this crate |
//!
//! They follow OpenTelemetry's conventions for messaging. All are plain `tracing` spans of level INFO with the target
//! `work_adapters::otel` or `work_core::runner`; a `tracing_opentelemetry` layer in the subscriber of the process makes
//! them spans of OpenTelemetry, and where there is none they cost next to nothing.
//!
//! The context of the producer travels in the job, as the W3C headers `traceparent` and `tracestate`. No propagator has to
//! be installed for that. The consumer's span is the root of a trace of its own with a *link* to the producer's, since a
//! job may run hours later, and many times; [`Parent::Child`] makes it a child where that reads better.
//!
//! | attribute | of | value |
//! |---|---|---|
//! | `messaging.system` | all | `work` |
//! | `messaging.operation.name`, `messaging.operation.type` | all | `send`, `process`, `settle` |
//! | `messaging.destination.name` | all | the queue; not where there are several |
//! | `messaging.batch.message_count` | batches | how many jobs |
//! | `messaging.message.id` | `send`, `process` | the id of the job |
//! | `work.job.kind` | `send`, `process` | its kind |
//! | `work.job.attempt` | `process` | from 1 |
//! | `work.job.status` | `process` | the final status, a number |
//! | `error.type` | failures | the [name](work_core::Status::name) of the status, or why a verb refused |
//!
//! The status of a `process` span is an error for 408 and 5xx. A job that ends with another status was answered, even if it
//! becomes a dead letter; its `error.type` tells.

mod headers;
mod layer;
mod parent;
mod worker;

pub use headers::{TRACEPARENT, TRACESTATE, inject};
pub use layer::{Otel, OtelLayer, ResponseFuture};
pub use parent::Parent;
pub use worker::OtelWorker;
