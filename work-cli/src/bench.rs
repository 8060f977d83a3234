use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;
use work_core::runner::Runner;
use work_core::store::{Inspect, NewJob};
use work_core::{Job, Router};

use crate::cli::{BenchArgs, Global};
use crate::error::CliError;
use crate::output::Out;
use crate::store::StoreUrl;
use crate::time::rough;

/// Jobs of one insert.
const BATCH: u64 = 500;

/// Inserts jobs that do nothing into a temporary store of the same kind, performs them, and says how fast that was.
pub(crate) async fn run(args: &BenchArgs, global: &Global, out: &mut Out) -> Result<(), CliError> {
    let url = StoreUrl::of(global)?;
    let temporary = url.temporary(args.folder.as_deref()).await?;
    out.note(&format!("A temporary store: {}", temporary.place));
    let measured = measure(&temporary.store, args.jobs).await;
    drop(temporary.store);
    temporary.cleanup.run().await?;
    let (inserted, drained) = measured?;
    let rate = |time: Duration| rate(args.jobs, time);
    let line =
        |what: &str, time| format!("{what:<8} {:>10.0} jobs a second   {} in {}", rate(time), args.jobs, rough(time));
    let answer = json!({
        "store": url.kind(), "jobs": args.jobs,
        "insert_ms": millis(inserted), "insert_per_second": rate(inserted).round(),
        "drain_ms": millis(drained), "drain_per_second": rate(drained).round(),
    });
    out.answer(&answer, &format!("{}\n{}", line("insert", inserted), line("drain", drained)))
}

async fn measure(store: &Arc<dyn Inspect>, jobs: u64) -> Result<(Duration, Duration), CliError> {
    let start = Instant::now();
    let mut left = jobs;
    while left > 0 {
        let part = left.min(BATCH);
        let new = (0..part).map(|n| Job::new("noop", n).into_stored(1024));
        let new: Result<Vec<NewJob>, _> = new.collect();
        store.insert(new.map_err(|error| CliError::failed(error.to_string()))?).await?;
        left -= part;
    }
    let inserted = start.elapsed();
    let start = Instant::now();
    let (done, all_done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let noop = {
        let all_done = all_done.clone();
        move || {
            if done.fetch_add(1, Ordering::Relaxed) + 1 == jobs {
                all_done.notify_one();
            }
            std::future::ready(())
        }
    };
    let runner = Runner::new(store.clone(), Router::new().route("noop", noop));
    let report = runner.run_until(all_done.notified()).await.map_err(|error| CliError::failed(error.to_string()))?;
    let drained = start.elapsed();
    if report.performed < jobs {
        return Err(CliError::failed(format!(
            "only {} of {jobs} jobs were performed; look at the disk",
            report.performed
        )));
    }
    Ok((inserted, drained))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(jobs: u64, time: Duration) -> f64 {
    jobs as f64 / time.as_secs_f64().max(0.000_001)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
