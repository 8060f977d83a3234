//! Settings that could not be kept are refused where they are made, by their value and what is accepted.

use std::time::Duration;

use work_core::limit::{FixedWindow, Gcra, SlidingWindow};
use work_core::runner::Ramp;
use work_core::{ConcurrentJob, Job, LocalWorker, QueueWorker, Router, Schedule, Worker, store::MemoryStore};

#[tokio::test]
async fn each_names_the_value_and_what_is_accepted() {
    let router = || Router::new().route("known", async || {});
    let worker = LocalWorker::new(router());
    let queue = || QueueWorker::builder(MemoryStore::new(), router());
    let job = || Job::new("known", ());
    let second = Duration::from_secs(1);
    let far = Duration::from_secs(400 * 366 * 24 * 60 * 60);
    let text = |error: Option<&dyn std::error::Error>| error.map(ToString::to_string).unwrap_or_default();
    macro_rules! refused {
        ($result:expr, $($part:expr),+) => {
            let result = $result;
            let message = text(result.as_ref().err().map(|error| error as &dyn std::error::Error));
            $(assert!(message.contains($part), "{message:?} lacks {:?}", $part);)+
        };
    }
    refused!(Schedule::every(Duration::ZERO), "0ns", "at least 1 ms");
    refused!(Schedule::every(Duration::from_micros(999)), "999µs", "at least 1 ms");
    refused!(Schedule::cron("0 25 * * *", "UTC"), "hour", "25", "0 to 23");
    refused!(Schedule::cron("0 9 * * MON-FRIDAY", "UTC"), "day of week", "FRIDAY");
    refused!(Schedule::cron("0 9 * *", "UTC"), "4 fields", "5 (minute");
    refused!(Schedule::cron("0 9 * * *", "Europe/Berlyn"), "Europe/Berlyn", "Europe/Berlin");
    refused!(Schedule::cron("0 0 30 2 *", "UTC"), "0 0 30 2 *");
    refused!(FixedWindow::new(0, second), "0");
    refused!(SlidingWindow::new(5, Duration::ZERO), "0ns");
    refused!(Gcra::new(0, second), "0");
    refused!(LocalWorker::builder(router()).concurrency(0).build(), "concurrency 0", "1 to 1000000");
    refused!(LocalWorker::builder(router()).capacity(0).build(), "capacity 0", "1 to 100000000");
    refused!(queue().concurrency(0).build(), "concurrency 0", "1 to 1000000");
    refused!(queue().lease_for(Duration::ZERO).build(), "lease_for 0ns", "at least 100 ms");
    refused!(queue().queues(Vec::<&str>::new()).build(), "queues", "at least one queue");
    refused!(Ramp::new(Duration::ZERO), "start_interval 0ns", "at least 1 ms");
    refused!(ConcurrentJob::once(&worker, job()).max_workers(0).start(), "max_workers 0", "1 to 1000000");
    refused!(ConcurrentJob::once(&worker, job()).start_interval(Duration::ZERO).start(), "start_interval 0ns", "1 ms");
    refused!(ConcurrentJob::every(&worker, job(), Duration::ZERO).start(), "interval 0ns", "at least 1 ms");
    refused!(ConcurrentJob::every(&worker, Job::new("nobody", ()), second).start(), "\"nobody\"", "known");
    let none = futures_util::stream::empty::<()>();
    refused!(ConcurrentJob::receive(&worker, "nobody", none).start(), "\"nobody\"", "known");
    refused!(worker.perform_in(job(), far).await, "delay", "at most ten years");
    refused!(worker.perform_at(job(), chrono::DateTime::<chrono::Utc>::MAX_UTC).await, "delay", "at most ten years");
    let now = work_core::Clock::system().now();
    refused!(worker.perform_in(job().expires_at(now + second), second * 2).await, "expires_at", "after it is due");
    let stored = queue().build().unwrap();
    refused!(stored.perform_in(job().expires_at(now + second), second * 2).await, "expires_at", "after it is due");
    refused!(stored.perform_in(job(), far).await, "delay", "at most ten years");
    assert_eq!(worker.counts().submitted, 0, "nothing was accepted");
}
