//! Run with: `cargo run --example index_files -- . --skip .git --skip target --store target/index.db`
//!
//! Indexes the files of a folder: one durable job for each file hashes it and counts its lines and words, and a job that
//! follows finds duplicates and writes the report. Stop it at any moment, even with `kill -9`: the same command goes on
//! where it was.

mod file;
mod found;
mod path_text;
mod progress;
mod report;
mod run;
mod walk;
mod watched;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tracing_subscriber::EnvFilter;
use work_adapters::{CatchPanicLayer, MetricsLayer, TimeoutLayer, TraceLayer};
use work_core::{Backoff, QueueWorker, RetryPolicy, Router};
use work_sqlite::{OpenError, SqliteStore};

use crate::found::Found;
use crate::report::Summary;
use crate::run::Run;
use crate::watched::Watched;

/// Indexes the files of a folder, durably.
#[derive(Debug, Parser)]
struct Options {
    /// The folder.
    path: PathBuf,
    /// Where the jobs are kept.
    #[arg(long, default_value = "index.db")]
    store: PathBuf,
    /// Writes the whole report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leaves out files and folders of this name; may be given more than once.
    #[arg(long)]
    skip: Vec<OsString>,
    /// How many files are read at once.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    store: Watched,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error,work_core=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match index(options).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("index_files: {error:#}");
            // What is wrong with the command is 2, what went wrong is 1.
            ExitCode::from(if error.is::<Wrong>() || error.is::<OpenError>() { 2 } else { 1 })
        }
    }
}

/// Something in the command that cannot be.
#[derive(Debug)]
pub(crate) struct Wrong(String);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn router(app: App) -> Router {
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new())
        .layer(MetricsLayer::new())
        .layer(TimeoutLayer::new().default_timeout(Duration::from_secs(3600)))
        .layer(CatchPanicLayer::new());
    Router::new()
        .route(walk::KIND, walk::walk)
        .route(file::KIND, file::index)
        .route(report::KIND, report::report)
        .layer(layers)
        .with_state(app)
}

async fn index(options: Options) -> anyhow::Result<ExitCode> {
    let root = folder(&options.path)?;
    run::check_json(&options)?;
    let store = Watched::new(SqliteStore::open(&options.store).await?);
    let app = App { store: store.clone() };
    let run = Run::start_or_resume(&store, &root, &options).await?;
    let worker = QueueWorker::builder(store, router(app))
        .queues([run::WALKS.to_owned(), run.queue()])
        .concurrency(options.concurrency)
        // A killed run is taken up soon, and being killed is no sign of a bad file here.
        .lease_for(Duration::from_secs(2))
        .max_crashes(1_000)
        .retry(RetryPolicy::default().backoff(Backoff::exponential(Duration::from_millis(200), 2.0)))
        .build()
        .map_err(|error| Wrong(error.to_string()))?;

    let interrupted = interrupted();
    let reported = CancellationToken::new();
    let stop = {
        let (interrupted, reported) = (interrupted.clone(), reported.clone());
        async move {
            interrupted.run_until_cancelled(reported.cancelled()).await;
        }
    };
    let running = tokio::spawn(worker.run_until(stop));
    let shown = interrupted.run_until_cancelled(progress::until_reported(&run)).await;
    reported.cancel();
    running.await.context("the runner failed")??;
    match shown {
        Some(summary) => show(&summary?, &run, &options).await,
        None => {
            eprintln!("interrupted; the same command goes on where this one stopped");
            Ok(ExitCode::from(130))
        }
    }
}

/// What is known of each file stays with its job: it is read again only where it is needed.
async fn show(summary: &Summary, run: &Run, options: &Options) -> anyhow::Result<ExitCode> {
    let needed = options.json.is_some() || summary.not_indexed > 0;
    let found = if needed { Found::read(&run.store, &run.plan).await? } else { Found::default() };
    if let Some(json) = &options.json {
        found.write_json(summary, json).with_context(|| json.display().to_string())?;
    }
    summary.print(&found)
}

fn folder(path: &std::path::Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    match path.canonicalize() {
        Ok(root) if root.is_dir() => Ok(root),
        Ok(_) => bail!(Wrong(format!("{shown}: this is not a folder; give the path of one"))),
        Err(error) => bail!(Wrong(format!("{shown}: {error}"))),
    }
}

/// Fires at the first SIGINT or SIGTERM; a second one ends the process at once.
fn interrupted() -> CancellationToken {
    let token = CancellationToken::new();
    let fired = token.clone();
    // Listens from here on: what comes before the task runs is not missed.
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return };
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        eprintln!("stopping: files that are being read are finished first; once more to stop at once");
        fired.cancel();
        next().await;
        std::process::exit(130);
    });
    token
}
