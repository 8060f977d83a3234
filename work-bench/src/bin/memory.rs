//! Memory, counted by the allocator: `cargo xtask bench` runs this after the speeds.

use std::alloc::System;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use work_core::{Job, LocalWorker, Router, Worker};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    let json = std::env::args().any(|arg| arg == "--json");
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let line = |name: &str, goal: f64, value: f64, unit: &str| {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            return;
        }
        if json {
            println!("{}", serde_json::json!({ "name": name, "goal": goal, "ours": value, "unit": unit }));
        } else {
            println!("bench {name}: {value:.1} {unit} (goal ≤ {goal})");
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    line("local_allocations", 2.0, runtime.block_on(allocations_a_job())?, "allocations a job");
    line("local_delayed_bytes", 300.0, runtime.block_on(bytes_a_delayed_job())?, "bytes a pending job");
    Ok(())
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
    let stats = region.change();
    let bytes = (stats.bytes_allocated + usize::try_from(stats.bytes_reallocated.max(0))?) - stats.bytes_deallocated;
    assert_eq!(worker.counts().delayed, u64::from(JOBS));
    Ok(bytes as f64 / f64::from(JOBS))
}
