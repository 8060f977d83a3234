//! Run with: `cargo run --example outbox --features web`
//!
//! A bank that tells another system of every deposit. Each deposit changes an account and writes an event in one
//! transaction; each event is posted to a receiver by HTTP. The receiver is a process of its own that fails one request in
//! five and is killed and restarted meanwhile. At the end, it must have every event, those of each account in order, and
//! each once, since it drops duplicates by their id.

mod bank;
mod check;
mod receiver;
mod webhook;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use rusqlite::Connection;
use work_adapters::TimeoutLayer;
use work_core::{Backoff, LocalWorker, Router, Worker};
use work_sqlite::outbox::SqliteOutbox;

use crate::bank::Bank;
use crate::receiver::Receiver;
use crate::webhook::Webhook;

/// How often the receiver is killed.
const KILLS: u32 = 3;

/// Longer than all of it takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(50);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(receiver::COMMAND) {
        return receiver::main(arguments).await.map(|()| ExitCode::SUCCESS);
    }
    let folder = tempfile::tempdir()?;
    let (ours, theirs) = (folder.path().join("bank.db"), folder.path().join("receiver.db"));
    let bank = Bank::open(&ours)?;
    let mut receiver = Receiver::start(&theirs, 0).await?;

    // Each failure of the receiver is one of the job; the outbox delivers its row again, and before those behind it.
    let webhook = Webhook::new(receiver.address());
    let jobs = Router::new()
        .route("webhook", webhook::post)
        .layer(TimeoutLayer::new().default_timeout(Duration::from_secs(5)))
        .with_state(webhook);
    let worker = LocalWorker::new(jobs);
    let backoff = Backoff::exponential(Duration::from_millis(20), 2.0).cap(Duration::from_millis(500));
    let outbox = SqliteOutbox::builder(&ours, "events").key("account").topic("topic").backoff(backoff).open().await?;
    let receiving = worker.perform_receive("webhook", outbox).await?;

    let deposits = tokio::task::spawn_blocking(move || bank.deposits());
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(400)).await;
        receiver.kill().await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        receiver = Receiver::start(&theirs, receiver.address().port()).await?;
    }
    let deposits = deposits.await??;
    let all_published = tokio::time::timeout(LIMIT, bank::all_published(&ours)).await;
    receiving.cancel();
    worker.stop().await;
    receiver.kill().await?;
    all_published.context("not every event was published in time")??;

    println!("{} deposits on {} accounts, {} rolled back", deposits.committed, bank::ACCOUNTS, deposits.rolled_back);
    let found = check::check(&Connection::open(&ours)?, &Connection::open(&theirs)?)?;
    println!("the receiver got {} requests, failed {}, and was killed {KILLS} times", found.requests, found.failed);
    println!("{} events arrived, and {} duplicates, which it dropped by their id", found.arrived, found.duplicates);
    for wrong in &found.wrong {
        println!("WRONG: {wrong}");
    }
    if found.wrong.is_empty() {
        println!("every event arrived, those of each account in order");
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}
