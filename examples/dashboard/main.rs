//! Run with: `cargo run --example dashboard --features dashboard -- --check`, or without `--check` to look at it in a browser.
//!
//! A worker on an SQLite file in a temporary folder, and its dashboard on <http://127.0.0.1:8080>. Jobs of several kinds
//! arrive all the time; some fail once, some for good, some are due later, and three schedules make more of them. Orders go
//! through the states of a workflow. With
//! `--check`, the program fetches each page once and ends; `--port` takes another port.

mod jobs;
mod orders;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::Parser;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use work_core::{Backoff, Job, QueueWorker, RetryPolicy, Schedule, Worker};
use work_dashboard::{Dashboard, routes};
use work_sqlite::SqliteStore;

#[derive(Debug, Parser)]
struct Options {
    /// Fetches each page once, and ends.
    #[arg(long)]
    check: bool,
    /// Where it listens on this machine.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(folder.path().join("jobs.db")).await?);

    let retry = RetryPolicy::default().backoff(Backoff::exponential(Duration::from_secs(2), 3.0));
    let worker = QueueWorker::builder(Arc::clone(&store), jobs::router())
        .queues(["default", "mail", "reports"])
        .concurrency(8)
        .retry(retry)
        .version("1.4.2")
        .build()?;
    schedules(&worker).await?;
    let draining = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let arriving = tokio::spawn(arrive(worker.clone()));

    let ordering = tokio::spawn(orders::run(Arc::clone(&store)));

    // Nothing here is about a person, so args are shown. Other machines do not reach 127.0.0.1, so there is no token.
    let dashboard = Dashboard::builder(store).title("Example").show_args().build()?;
    let port = if options.check { 0 } else { options.port };
    let bound = dashboard.bind(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    let address = bound.address();
    println!("http://{address}");
    tokio::select! {
        served = bound.run() => served?,
        ended = draining => bail!("the worker ended: {:?}", ended?),
        ended = ordering => bail!("the workflow ended: {:?}", ended?),
        checked = check(address), if options.check => checked?,
        _ = tokio::signal::ctrl_c() => {}
    }
    arriving.abort();
    worker.stop().await;
    Ok(())
}

async fn schedules(worker: &QueueWorker) -> anyhow::Result<()> {
    let sync = || Job::new("sync_inventory", ());
    worker.schedule("inventory", sync(), Schedule::every(Duration::from_secs(20))?).await?;
    let nightly = Schedule::cron("30 2 * * *", "Europe/Berlin")?;
    worker.schedule("nightly-report", jobs::job(5), nightly).await?;
    worker.schedule("clean-up", Job::new("clean_up", ()), Schedule::cron("*/15 * * * *", "UTC")?).await?;
    Ok(())
}

/// A few hundred jobs at once, some for later, and then a few every second.
async fn arrive(worker: QueueWorker) -> anyhow::Result<()> {
    worker.perform_many((0..300).map(jobs::job)).await?;
    for number in 300..330 {
        worker.perform_in(jobs::job(number), Duration::from_secs(u64::from(number) * 10)).await?;
    }
    for number in 330.. {
        worker.perform(jobs::job(number)).await?;
        tokio::time::sleep(Duration::from_millis(u64::from(80 + number * 7 % 400))).await;
    }
    Ok(())
}

/// Fetches all that needs no job, no form and no script.
async fn check(address: SocketAddr) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let plain = |path: &str| !path.contains('{') && !["/events", "/jobs/bulk", "/login"].contains(&path);
    for (_, path, _) in routes().filter(|(method, path, _)| *method == "GET" && plain(path)) {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let first = answer.lines().next().unwrap_or_default();
        println!("{path}: {first}, {} bytes", answer.len());
        ensure!(first == "HTTP/1.1 200 OK", "{path} answered {first}");
    }
    Ok(())
}
