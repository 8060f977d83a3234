use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry::SpanId;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use work_adapters::otel::Parent;
use work_adapters::{OtelLayer, OtelWorker};
use work_core::{Job, LocalWorker, Router, Worker};

const JOBS: usize = 10_000;

/// Counts spans that are open.
#[derive(Clone, Default)]
struct Open(Arc<AtomicUsize>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Open {
    fn on_new_span(
        &self,
        _: &tracing::span::Attributes<'_>,
        _: &tracing::span::Id,
        _: tracing_subscriber::layer::Context<'_, S>,
    ) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn on_close(&self, _: tracing::span::Id, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How many spans are above the deepest one.
fn depth(spans: &[SpanData]) -> usize {
    let parents: HashMap<SpanId, SpanId> =
        spans.iter().map(|span| (span.span_context.span_id(), span.parent_span_id)).collect();
    let above = |span: &SpanData| {
        std::iter::successors(parents.get(&span.parent_span_id), |parent| parents.get(*parent)).count()
    };
    spans.iter().map(above).max().unwrap_or(0)
}

#[test]
fn ten_thousand_jobs_are_ten_thousand_closed_spans_at_a_constant_depth() {
    for (parent, expected_depth) in [(Parent::Link, 0), (Parent::Child, 1)] {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let open = Open::default();
        let subscriber = tracing_subscriber::registry()
            .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("test")))
            .with(open.clone());
        let _default = tracing::subscriber::set_default(subscriber);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let router = Router::new().route("job", async || {}).layer(OtelLayer::new().parent(parent));
            let worker = OtelWorker::new(LocalWorker::new(router));
            for _ in 0..JOBS {
                worker.perform(Job::new("job", ())).await.unwrap();
            }
            worker.stop().await;
        });
        let spans = exporter.get_finished_spans().unwrap();
        let count = |name| spans.iter().filter(|span| span.name == name).count();
        assert_eq!((count("process default"), count("send default")), (JOBS, JOBS));
        assert_eq!(spans.len(), 2 * JOBS);
        assert_eq!(open.0.load(Ordering::SeqCst), 0);
        assert_eq!(depth(&spans), expected_depth);
    }
}
