use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use work_core::Job;

/// The header of a job with the context of its producer, as W3C Trace Context has it.
pub const TRACEPARENT: &str = "traceparent";

/// The header of a job with what tracing systems add to [`TRACEPARENT`].
pub const TRACESTATE: &str = "tracestate";

/// Says that a job is one of a schedule, or due later: its context is never a parent.
const LINK_ONLY: &str = "work-trace";

/// The longest state that is passed on, in bytes: what W3C Trace Context asks for.
const MAX_STATE: usize = 512;

/// Puts the context of the current span into the job's headers, so that its executions are linked to that span.
///
/// [`OtelWorker`](super::OtelWorker) does this for the verbs; it is for jobs that take another way: `perform_many`, an insert
/// in a transaction of one's own, a job that follows another. A job that has a `traceparent` keeps it, and without a
/// current span (of a subscriber with a `tracing_opentelemetry` layer) the job stays as it is.
///
/// ```
/// use work_adapters::otel::{self, TRACEPARENT};
/// use work_core::Job;
///
/// let job = Job::new("welcome", "ann@example.org");
/// assert!(!otel::inject(job).parts().headers.contains_key(TRACEPARENT)); // no span here
/// ```
#[must_use]
pub fn inject(job: Job) -> Job {
    inject_from(&Span::current(), job)
}

/// As [`inject`], from this span, or from the current one if this one is filtered out.
pub(super) fn inject_from(span: &Span, job: Job) -> Job {
    if job.parts().headers.contains_key(TRACEPARENT) {
        return job;
    }
    let of_span = span.context();
    let context = if of_span.has_active_span() { of_span } else { current() };
    let mut headers = Injected(Vec::new());
    TraceContextPropagator::new().inject_context(&context, &mut headers);
    // Stores note a due time for every job: only the producer knows whether it was asked for.
    let delayed = job.parts().scheduled_at.is_some();
    let job = headers.0.into_iter().fold(job, |job, (name, value)| job.header(name, value));
    if delayed { link_only(job) } else { job }
}

fn current() -> Context {
    let of_span = Span::current().context();
    if of_span.has_active_span() { of_span } else { Context::current() }
}

/// Marks a job whose executions are linked whatever the consumer's [`Parent`](super::Parent) says.
pub(super) fn link_only(job: Job) -> Job {
    if job.parts().headers.contains_key(TRACEPARENT) { job.header(LINK_ONLY, "link") } else { job }
}

/// The context of a job's producer, if it has a valid one.
pub(super) fn extract(job: &Job) -> Option<SpanContext> {
    let headers = &job.parts().headers;
    if !headers.contains_key(TRACEPARENT) {
        return None;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Extracted(headers));
    Some(context.span().span_context().clone()).filter(SpanContext::is_valid)
}

/// True if the context of a job's producer is a parent where the layer asks for one: the first attempt of a job that
/// was due when it was made.
pub(super) fn may_be_child(job: &Job) -> bool {
    job.context().attempt() == 1 && !job.parts().headers.contains_key(LINK_ONLY)
}

struct Injected(Vec<(String, String)>);

impl Injector for Injected {
    fn set(&mut self, name: &str, value: String) {
        if !value.is_empty() && value.len() <= MAX_STATE {
            self.0.push((name.to_owned(), value));
        }
    }
}

struct Extracted<'h>(&'h BTreeMap<String, String>);

impl Extractor for Extracted<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use work_core::testing::fuzz::{Fuzz, Random};

    /// Also those that no verb accepts: a row may hold anything.
    #[test]
    fn any_headers_have_a_valid_context_or_none() {
        let parents = ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "ff-0-0-0"];
        let states = ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "=,=", "a=b,a=b"];
        let make = |random: &mut Random| (random.text(&parents), random.text(&states));
        Fuzz::new("traceparent and tracestate").run(make, |(parent, state)| {
            let job = Job::new("any", ()).header(TRACEPARENT, parent).header(TRACESTATE, state);
            if let Some(context) = extract(&job) {
                assert!(context.is_valid());
            }
            assert_eq!(inject(job).parts().headers[TRACEPARENT], *parent);
        });
    }
}
