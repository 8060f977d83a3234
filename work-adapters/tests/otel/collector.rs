#![allow(unreachable_pub, reason = "the parts of this test share it")]

use std::future::Future;
use std::sync::{Arc, Mutex};

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{self as proto, Span, status::StatusCode};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

/// A server that speaks OTLP over gRPC, and keeps every span.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The spans that a collector gets of this program: exported in batches over a socket, by a runtime of their own.
pub fn collected<F: Future>(program: impl FnOnce() -> F) -> Spans {
    let network = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    let listener = network.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = TraceServiceServer::new(collector.clone());
    network.spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));

    let provider = {
        let _entered = network.enter();
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(address).build().unwrap();
        SdkTracerProvider::builder().with_batch_exporter(exporter).build()
    };
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    {
        let subscriber = tracing_subscriber::registry().with(layer).with(LevelFilter::INFO);
        let _default = tracing::subscriber::set_default(subscriber);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(program());
    }
    provider.shutdown().unwrap();
    network.shutdown_background();
    let spans = collector.0.lock().unwrap().clone();
    Spans(spans)
}

/// What was collected.
pub struct Spans(pub Vec<Span>);

impl Spans {
    /// Those of this name, in the order of their beginning.
    pub fn named(&self, name: &str) -> Vec<&Span> {
        let mut found: Vec<&Span> = self.0.iter().filter(|span| span.name == name).collect();
        found.sort_by_key(|span| span.start_time_unix_nano);
        found
    }

    /// The only one of this name.
    pub fn one(&self, name: &str) -> &Span {
        match *self.named(name) {
            [span] => span,
            ref several => panic!("{} spans {name:?} of {:?}", several.len(), self.names()),
        }
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|span| &*span.name).collect()
    }
}

/// An attribute as text; empty if it is not there.
pub fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

pub fn kind(span: &Span) -> SpanKind {
    SpanKind::try_from(span.kind).unwrap()
}

/// The status, and its text.
pub fn status(span: &Span) -> (StatusCode, &str) {
    let status = span.status.as_ref();
    (status.map_or(StatusCode::Unset, proto::Status::code), status.map_or("", |status| &*status.message))
}

/// True if this span links to exactly that one.
pub fn links_to(span: &Span, producer: &Span) -> bool {
    matches!(&*span.links, [link] if link.trace_id == producer.trace_id && link.span_id == producer.span_id)
}

pub fn is_root(span: &Span) -> bool {
    span.parent_span_id.is_empty()
}

pub fn is_child(span: &Span, parent: &Span) -> bool {
    span.parent_span_id == parent.span_id && span.trace_id == parent.trace_id
}
