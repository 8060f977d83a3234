//! Run with: `cargo run --example otel --features otel -- --jobs 200`
//!
//! Performs jobs that end in all ways, with spans for a collector of OpenTelemetry and metrics for Prometheus. The spans go
//! to the address in `OTEL_EXPORTER_OTLP_ENDPOINT`, such as `http://localhost:4317`, over gRPC. With `--serve` it goes on
//! until Ctrl-C, so that there is something to look at:
//!
//! ```text
//! OTEL_SERVICE_NAME=shop OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 cargo run --example otel --features otel -- --serve
//! curl http://127.0.0.1:9464/metrics
//! curl http://127.0.0.1:9464/ready
//! ```

mod http;
mod telemetry;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tracing::Instrument;
use work_adapters::{
    CatchPanicLayer, Health, HealthLayer, MetricsLayer, OtelLayer, OtelWorker, TimeoutLayer, prometheus,
};
use work_core::{Args, Classify, Job, LocalWorker, PerformError, Router, Worker};

use crate::telemetry::Telemetry;

/// Performs jobs, and says how they go.
#[derive(Debug, Parser)]
struct Options {
    /// How many jobs are performed, or with `--serve` how many a second.
    #[arg(long, default_value_t = 20)]
    jobs: u32,
    /// Goes on until Ctrl-C.
    #[arg(long)]
    serve: bool,
    /// Where `/metrics`, `/ready` and `/livez` are served; without `--serve` on any free port.
    #[arg(long, default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let telemetry = Telemetry::install()?;
    let metrics = prometheus::install()?;
    let (health, stop) = (Health::default(), CancellationToken::new());
    let listen = if options.serve { options.listen } else { SocketAddr::from(([127, 0, 0, 1], 0)) };
    let (address, serving) = http::serve(listen, metrics.clone(), health.clone(), stop.clone()).await?;
    println!("http://{address}/metrics and http://{address}/ready");

    let worker = OtelWorker::new(LocalWorker::new(router(health)));
    if options.serve {
        tokio::select! {
            result = endless(&worker, options.jobs) => result?,
            signal = tokio::signal::ctrl_c() => signal.context("no signals")?,
        }
    } else {
        checkout(&worker, 0..options.jobs).await?;
    }
    worker.stop().await;
    let counts = metrics.render();
    counts.lines().filter(|line| line.starts_with("work_jobs_finished_total")).for_each(|line| println!("{line}"));
    stop.cancel();
    serving.await??;
    telemetry.shutdown().await
}

/// The layers that see an execution are outside of those that end it.
fn router(health: Health) -> Router {
    let layers = ServiceBuilder::new()
        .layer(OtelLayer::new())
        .layer(MetricsLayer::new())
        .layer(HealthLayer::new(health))
        .layer(TimeoutLayer::new())
        .layer(CatchPanicLayer::new());
    Router::new().route("charge", charge).layer(layers)
}

/// Most orders are charged; some fail, some panic, some take too long, and some are refused.
async fn charge(Args(order): Args<u32>) -> Result<(), anyhow::Error> {
    async { tokio::time::sleep(Duration::from_millis(u64::from(order % 20))).await }
        .instrument(tracing::info_span!("ask the bank", order))
        .await;
    match order % 20 {
        7 => anyhow::bail!("the bank did not answer"),
        11 => panic!("order {order} has no price"),
        13 => std::future::pending().await,
        17 => "x".parse::<u32>().map(drop).discard()?,
        _ => {}
    }
    Ok(())
}

/// What a request does: a trace of the caller, which the jobs link to.
async fn checkout<W: Worker>(worker: &OtelWorker<W>, orders: std::ops::Range<u32>) -> Result<(), PerformError> {
    async {
        for order in orders {
            let job = Job::new("charge", order).queue("payments").timeout(Duration::from_millis(50));
            worker.perform(job).await?;
        }
        Ok(())
    }
    .instrument(tracing::info_span!("checkout"))
    .await
}

async fn endless<W: Worker>(worker: &OtelWorker<W>, each_second: u32) -> Result<(), PerformError> {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for second in 0.. {
        seconds.tick().await;
        checkout(worker, second * each_second..(second + 1) * each_second).await?;
    }
    Ok(())
}
