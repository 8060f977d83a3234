//! Run with `cargo run --example verbs -- both`. The five verbs, written once for every worker.
//!
//! `cargo run --example verbs -- memory` keeps the jobs in memory, `-- file jobs.db` in a file that survives the
//! process; only the constructor differs. `-- wait` goes on until SIGTERM or SIGINT, and then stops gracefully.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal::unix::{SignalKind, signal};
use work_adapters::{CatchPanicLayer, TimeoutLayer, TraceLayer};
use work_core::{Args, Clock, Job, LocalWorker, QueueWorker, Router, Schedule, Status, Worker, job, source};
use work_sqlite::SqliteStore;

#[job(timeout = "5s")]
async fn greet(Args(name): Args<String>) {
    println!("hello {name}");
}

#[job]
async fn tick() {
    println!("tick");
}

/// Knows no more of the worker than the trait.
async fn program(worker: &impl Worker) -> anyhow::Result<()> {
    let now = worker.perform(greet::job("now".to_owned())).await?;
    let soon = worker.perform_in(greet::job("in 50 ms".to_owned()), Duration::from_millis(50)).await?;
    let instant = Clock::system().now() + Duration::from_millis(100);
    let at = worker.perform_at(greet::job(format!("at {}", instant.format("%H:%M:%S%.3f"))), instant).await?;
    let every = worker.perform_every(tick::job(()), Schedule::every(Duration::from_millis(40))?).await?;

    let (sender, names) = tokio::sync::mpsc::channel(8);
    let receiving = worker.perform_receive(greet::KIND, source::channel(names)).await?;
    for name in ["Ann", "Bob"] {
        sender.send(name.to_owned()).await?;
    }
    drop(sender);
    receiving.ended().await;

    for handle in [now, soon, at] {
        let status = handle.outcome().await?.status();
        if status != Status::SUCCESS {
            bail!("a greeting ended with {status}");
        }
    }
    while every.made() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    every.cancel();
    let refused = worker.perform(Job::new("unknown", ())).await.err().context("an unknown kind is refused")?;
    println!("refused: {refused}");
    worker.stop().await;
    Ok(())
}

fn router() -> Router {
    let layers = tower::ServiceBuilder::new()
        .layer(TraceLayer::new())
        .layer(TimeoutLayer::new())
        .layer(CatchPanicLayer::new())
        .into_inner();
    Router::new().route(greet::KIND, greet).route(tick::KIND, tick).layer(layers)
}

async fn in_memory() -> anyhow::Result<()> {
    program(&LocalWorker::new(router())).await
}

async fn in_file(path: &std::path::Path) -> anyhow::Result<()> {
    let worker = QueueWorker::new(SqliteStore::open(path).await?, router());
    let draining = tokio::spawn(worker.clone().run_until(std::future::pending()));
    program(&worker).await?;
    println!("{} jobs were performed", draining.await??.performed);
    Ok(())
}

/// Ticks until the process is told to stop.
async fn until_signal() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let worker = LocalWorker::new(router());
    worker.perform_every(tick::job(()), Schedule::every(Duration::from_millis(50))?).await?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    let stopped = worker.stop_within(Duration::from_secs(25)).await;
    println!("stopped, {} interrupted", stopped.interrupted.len());
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["memory"] => in_memory().await,
        ["file", path] => in_file(path.as_ref()).await,
        ["wait"] => until_signal().await,
        ["both"] => {
            in_memory().await?;
            let dir = tempfile::tempdir()?;
            in_file(&dir.path().join("jobs.db")).await
        }
        _ => bail!("use one of: both, memory, file PATH, wait"),
    }
}
