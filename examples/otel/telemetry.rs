use std::io::IsTerminal;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Logs to stderr, and spans to a collector if the environment names one.
pub(crate) struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Needs a runtime of several threads: the exporter uses it from a thread of its own.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let logs = EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).from_env_lossy();
        let ansi = std::io::stderr().is_terminal();
        let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi).with_filter(logs);
        let provider = if std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some() {
            let exporter = SpanExporter::builder().with_tonic().build().context("no exporter of spans")?;
            Some(SdkTracerProvider::builder().with_batch_exporter(exporter).build())
        } else {
            eprintln!("spans go nowhere: OTEL_EXPORTER_OTLP_ENDPOINT is not set");
            None
        };
        let spans = provider.as_ref().map(|provider| {
            // What the exporter itself does is no span, or it would never be done.
            let own = Targets::new().with_default(LevelFilter::INFO).with_target("h2", LevelFilter::OFF);
            let own = own.with_target("hyper", LevelFilter::OFF).with_target("tonic", LevelFilter::OFF);
            tracing_opentelemetry::layer().with_tracer(provider.tracer("otel-example")).with_filter(own)
        });
        tracing_subscriber::registry().with(spans).with(logs).init();
        Ok(Self { provider })
    }

    /// Sends what has not been sent. It blocks, so it has a thread of its own.
    pub(crate) async fn shutdown(self) -> anyhow::Result<()> {
        let Some(provider) = self.provider else { return Ok(()) };
        tokio::task::spawn_blocking(move || provider.shutdown()).await?.context("the last spans were not sent")
    }
}
