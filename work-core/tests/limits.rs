//! What a job may carry has limits, and an error names the limit and what was given.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::time::Duration;

use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::{
    DEFAULT_MAX_ARGS, Job, JobState, MAX_FOLLOW_UPS, Outcome, PerformError, QueueWorker, Router, Status, Worker,
};

async fn many() -> Outcome {
    (0..=MAX_FOLLOW_UPS).fold(Outcome::done(), |outcome, _| outcome.then(Job::new("one", ())))
}

async fn too_large() -> Outcome {
    Outcome::done().then(Job::new("one", "x".repeat(DEFAULT_MAX_ARGS)))
}

#[tokio::test]
async fn follow_ups_over_the_limit_make_a_dead_letter_that_names_both_numbers() {
    let router = Router::new().route("many", many).route("large", too_large).route("one", async || {});
    let store = MemoryStore::new();
    let worker = QueueWorker::new(store.clone(), router);
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let outcome = worker.perform(Job::new("many", ())).await.unwrap().outcome().await.unwrap();
    let why = &outcome.error().unwrap().message;
    assert_eq!(outcome.status(), Status::INTERNAL_ERROR);
    assert_eq!(why, "10001 jobs follow from one; at most 10000: let one of them insert the others");
    let large = worker.perform(Job::new("large", ()).max_attempts(1)).await.unwrap().outcome().await.unwrap();
    let why = &large.error().unwrap().message;
    assert!(why.starts_with("args have 1048578 bytes; at most 1048576 are accepted"), "{why}");
    let counts = store.counts(JobFilter::default()).await.unwrap();
    assert_eq!((counts.of(JobState::Discarded), counts.total()), (2, 2));
    worker.stop_within(Duration::from_secs(1)).await;
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_verb_refuses_what_is_too_large_and_says_how_large_it_is() {
    let worker = QueueWorker::new(MemoryStore::new(), Router::new().route("k", async || {}));
    for (job, part) in [
        (Job::new("k", "x".repeat(DEFAULT_MAX_ARGS)), "args have 1048578 bytes; at most 1048576 are accepted"),
        (Job::new("k", ()).header("trace", "x".repeat(5_000)), "\"trace\" has 5000 bytes; at most 4096 are accepted"),
        ((0..70).fold(Job::new("k", ()), |job, n| job.header(format!("h{n}"), "")), "headers of 70 names"),
    ] {
        let error = worker.perform(job).await.unwrap_err();
        assert!(matches!(error, PerformError::Invalid(_)) && error.to_string().contains(part), "{error}");
    }
}
