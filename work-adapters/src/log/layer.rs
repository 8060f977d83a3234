use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument;
use tracing::instrument::Instrumented;
use work_core::{BoxError, Context, Job, JobId, Kind, Outcome, Queue, Status};

use super::buffer::{Buffer, offer};
use super::line::{Summary, line};
use super::{AggregateLog, SPAN, Shared, TARGET};
use crate::ending::error_text;
use crate::guard::{Guard, Observe};

/// Writes the line of each execution to an [`AggregateLog`]; see there for an example.
///
/// What layers outside of this one log is in no line, so it belongs outside of those that log.
#[derive(Debug, Clone)]
pub struct LogLayer {
    log: AggregateLog,
}

impl LogLayer {
    /// A layer that writes there.
    #[must_use]
    pub const fn new(log: AggregateLog) -> Self {
        Self { log }
    }
}

impl<S> Layer<S> for LogLayer {
    type Service = Log<S>;

    fn layer(&self, inner: S) -> Log<S> {
        Log { inner, shared: self.log.shared.clone() }
    }
}

/// The service of a [`LogLayer`].
#[derive(Clone)]
pub struct Log<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Log<S> {
    inner_service_accessors!();
}

impl<S> Service<Job> for Log<S>
where
    S: Service<Job, Response = Outcome>,
    S::Error: Into<BoxError>,
{
    ready_as_inner!();
    type Future = ResponseFuture<Instrumented<S::Future>>;

    fn call(&mut self, job: Job) -> Self::Future {
        let seen = Seen::start(&job, &self.shared);
        // ERROR, so that no filter by level leaves the entries out.
        let span = offer(&seen.buffer, || tracing::error_span!(target: TARGET, SPAN));
        let seen = Guard::new(job.context().clone(), seen);
        let future = span.in_scope(|| self.inner.call(job));
        ResponseFuture { future: Some(future.instrument(span)), seen }
    }
}

opaque_debug!(Log<S>);

/// Writes the line of one execution.
struct Seen {
    shared: Arc<Shared>,
    buffer: Arc<Buffer>,
    context: Context,
    start: Instant,
    trace_id: Option<String>,
    job: (JobId, Kind, Queue),
}

impl Seen {
    fn start(job: &Job, shared: &Arc<Shared>) -> Self {
        let parts = job.parts();
        Self {
            shared: shared.clone(),
            buffer: Arc::new(Buffer::new(shared.id, shared.max_bytes)),
            context: job.context().clone(),
            start: Instant::now(),
            trace_id: parts.headers.get("traceparent").and_then(|header| trace_id(header)),
            job: (parts.id, parts.kind.clone(), parts.queue.clone()),
        }
    }

    fn comment(&self) -> Option<String> {
        let text = self.context.get::<String>("comment");
        text.or_else(|| self.context.get::<&'static str>("comment").map(ToOwned::to_owned))
    }
}

impl Observe for Seen {
    fn ended(&mut self, status: Status, result: Option<&Result<Outcome, BoxError>>) {
        let entries = self.buffer.close();
        if self.shared.silent.contains(&status) {
            return;
        }
        let (job_id, kind, queue) = self.job.clone();
        let summary = Summary {
            trace_id: self.trace_id.take(),
            job_id,
            kind,
            queue,
            attempt: self.context.attempt(),
            status,
            latency: self.start.elapsed(),
            time: self.shared.clock.now(),
            worker: self.context.worker_number(),
            comment: self.comment(),
            error: result.and_then(error_text).map(Cow::into_owned),
            entries: entries.lines.len(),
        };
        let is_true = |silent: &super::Predicate| catch_unwind(AssertUnwindSafe(|| silent(&summary))).unwrap_or(false);
        if self.shared.silent_if.iter().any(is_true) {
            return;
        }
        match line(&summary, entries, self.shared.max_bytes) {
            Ok(line) => self.shared.sink.line(&line),
            Err(_) => self.shared.sink.count_dropped(),
        }
    }
}

/// The trace id of a `traceparent` header: `version-trace id-span id-flags`.
fn trace_id(header: &str) -> Option<String> {
    let id = header.split('-').nth(1)?;
    let valid = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    valid.then(|| id.to_owned())
}

watched_future!("LogLayer", Seen);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_header_has_a_trace_id() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(&format!("00-{id}-b7ad6b7169203331-01")).as_deref(), Some(id));
        for header in
            ["", "00", "00-short-b7ad6b7169203331-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"]
        {
            assert_eq!(trace_id(header), None, "{header}");
        }
    }

    #[test]
    fn any_header_has_a_trace_id_or_none() {
        let corpus = ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "ff--", "00-ä-b-c"];
        work_core::testing::fuzz::Fuzz::new("traceparent of a log").texts(&corpus, |header| {
            if let Some(id) = trace_id(header) {
                assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && header.contains(&id));
            }
        });
    }
}
