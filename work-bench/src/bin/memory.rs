//! Memory, counted by the allocator: `cargo xtask bench` runs this after the speeds.

use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::Semaphore;
use work_core::store::{Inspect, JobFilter, Retention, Store};
use work_core::{Job, JobId, JobState, LocalWorker, QueueWorker, Router, Worker};
use work_postgres::PostgresStore;
use work_sqlite::SqliteStore;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    let json = std::env::args().any(|arg| arg == "--json");
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let line = |name: &str, goal: f64, value: f64, unit: &str| {
        if json {
            println!("{}", serde_json::json!({ "name": name, "goal": goal, "ours": value, "unit": unit }));
        } else {
            println!("bench {name}: {value:.1} {unit} (goal ≤ {goal})");
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if wanted("local_allocations") {
        line("local_allocations", 2.0, runtime.block_on(allocations_a_job())?, "allocations a job");
    }
    if wanted("local_delayed_bytes") {
        line("local_delayed_bytes", 300.0, runtime.block_on(bytes_a_delayed_job())?, "bytes a pending job");
    }
    if wanted("sqlite_running_bytes") {
        line(
            "sqlite_running_bytes",
            4096.0,
            bytes_a_running_job(&runtime)?,
            "bytes a running job over the idle worker",
        );
    }
    let jobs = if std::env::args().any(|arg| arg == "--full") { 1_000_000 } else { 100_000 };
    if wanted("sqlite_drain_memory") {
        line("sqlite_drain_memory", 32.0, drain_memory(&runtime, jobs)?, "MiB over the idle worker");
    }
    if wanted("sqlite_life_memory") {
        let dir = tempfile::tempdir()?;
        let grown = runtime
            .block_on(async { life_memory(SqliteStore::open(dir.path().join("jobs.db")).await?, jobs).await })?;
        line("sqlite_life_memory", 64.0, grown, "MiB, at most, for inserting, draining and forgetting");
    }
    if wanted("postgres_life_memory") {
        match std::env::var("WORK_TEST_POSTGRES") {
            Err(_) => println!("postgres_life_memory: WORK_TEST_POSTGRES is not set; use `cargo xtask bench`"),
            Ok(url) => {
                let schema = format!("m_{}", JobId::new().as_uuid().simple());
                let open = PostgresStore::builder(url).schema(schema).connect();
                let grown = runtime.block_on(async { life_memory(open.await?, jobs).await })?;
                line("postgres_life_memory", 64.0, grown, "MiB, at most, for inserting, draining and forgetting");
            }
        }
    }
    Ok(())
}

/// How much larger the process gets, at most, while it drains jobs of a KiB through 16 slots.
fn drain_memory(runtime: &tokio::runtime::Runtime, jobs: u32) -> Result<f64, BoxError> {
    let dir = tempfile::tempdir()?;
    runtime.block_on(async {
        let store = SqliteStore::open(dir.path().join("jobs.db")).await?;
        let router = Router::new().route("nothing", async || {});
        let worker = QueueWorker::builder(store, router).concurrency(16).build()?;
        let args = "x".repeat(1_000);
        for _ in 0..jobs / 1_000 {
            worker.perform_many((0..1_000).map(|_| Job::new("nothing", args.clone()))).await?;
        }
        let idle = resident()?;
        let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
        let mut most = idle;
        while worker.store().counts(JobFilter::default()).await?.open() > 0 {
            for _ in 0..20 {
                most = most.max(resident()?);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        worker.stop().await;
        running.await??;
        Ok((most - idle) / (1024.0 * 1024.0))
    })
}

/// How much larger the process gets, at most, while jobs of a KiB are inserted, drained through 16 slots, and forgotten.
async fn life_memory<S: Store + Inspect + Clone>(store: S, jobs: u32) -> Result<f64, BoxError> {
    let router = Router::new().route("nothing", async || {});
    let worker = QueueWorker::builder(store.clone(), router).concurrency(16).build()?;
    let idle = resident()?;
    let watch = tokio::spawn(async move {
        let mut most = idle;
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
            most = most.max(resident().unwrap_or(most));
            if MEASURED.load(Ordering::Relaxed) {
                return most;
            }
        }
    });
    MEASURED.store(false, Ordering::Relaxed);
    let args = "x".repeat(1_000);
    for _ in 0..jobs / 1_000 {
        worker.perform_many((0..1_000).map(|_| Job::new("nothing", args.clone()))).await?;
    }
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    while store.counts(JobFilter::all().state(JobState::Available)).await?.total() > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    worker.stop().await;
    running.await??;
    let none = Retention::default().completed(Duration::ZERO);
    while store.prune(none, 10_000).await? == 10_000 {}
    let left = store.counts(JobFilter::all()).await?.total();
    MEASURED.store(true, Ordering::Relaxed);
    if left > 0 {
        return Err(format!("{left} of {jobs} jobs are left").into());
    }
    Ok((watch.await? - idle) / (1024.0 * 1024.0))
}

/// Ends the watch over the memory.
static MEASURED: AtomicBool = AtomicBool::new(false);

/// Of 1,000 jobs of a durable worker that all run, with args of 32 bytes. What SQLite itself holds is not counted.
fn bytes_a_running_job(runtime: &tokio::runtime::Runtime) -> Result<f64, BoxError> {
    const JOBS: usize = 1_000;
    let dir = tempfile::tempdir()?;
    runtime.block_on(async {
        let store = SqliteStore::open(dir.path().join("jobs.db")).await?;
        let started = Arc::new(Semaphore::new(0));
        let counter = started.clone();
        let handler = move || {
            counter.add_permits(1);
            std::future::pending::<()>()
        };
        let worker =
            QueueWorker::builder(store, Router::new().route("endless", handler)).concurrency(JOBS + 1).build()?;
        let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
        // Everything that is made once is there as soon as one job runs.
        drop(worker.perform(Job::new("endless", [0_u64; 4])).await?);
        started.acquire().await?.forget();
        let region = Region::new(ALLOCATOR);
        drop(worker.perform_many((0..JOBS as u64).map(|n| Job::new("endless", [n; 4]))).await?);
        started.acquire_many(u32::try_from(JOBS)?).await?.forget();
        // The batch itself is given back when its insert is over.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let held = held(&region);
        running.abort();
        Ok(held / JOBS as f64)
    })
}

/// Bytes of memory that the process holds, as the system counts.
fn resident() -> Result<f64, BoxError> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = statm.split(' ').nth(1).ok_or("no resident size")?.parse()?;
    Ok(pages * 4096.0)
}

/// Allocations of the worker for each job, beyond those of its caller, who makes the job.
async fn allocations_a_job() -> Result<f64, BoxError> {
    const JOBS: u32 = 100_000;
    let worker = LocalWorker::new(Router::new().route("nothing", async || {}));
    let mut calls = Vec::with_capacity(JOBS as usize);
    calls.extend((0..JOBS).map(|n| Job::new("nothing", n)));
    let region = Region::new(ALLOCATOR);
    for job in calls {
        drop(worker.perform(job).await?);
    }
    worker.stop().await;
    Ok(region.change().allocations as f64 / f64::from(JOBS))
}

/// With args of 32 bytes.
async fn bytes_a_delayed_job() -> Result<f64, BoxError> {
    const JOBS: u32 = 1_000_000;
    let worker = LocalWorker::new(Router::new().route("later", async || {}));
    let region = Region::new(ALLOCATOR);
    for n in 0..JOBS {
        let args = [u64::from(n); 4];
        drop(worker.perform_in(Job::new("later", args), Duration::from_secs(u64::from(3_600 + n))).await?);
    }
    let bytes = held(&region);
    assert_eq!(worker.counts().delayed, u64::from(JOBS));
    Ok(bytes / f64::from(JOBS))
}

/// Bytes that are held now and were not at the start of the region. What grew is among the allocations already.
fn held(region: &Region<'_, System>) -> f64 {
    let stats = region.change();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
