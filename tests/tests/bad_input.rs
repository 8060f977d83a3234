//! Bad input, as one table: each is refused before anything is stored, with what was given and what is accepted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::HashMap;
use std::time::Duration;

use chrono::DateTime;
use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::{Job, LocalWorker, QueueWorker, Router, Schedule, Unique, Worker};
use work_sqlite::SqliteStore;

fn job() -> Job {
    Job::new("known", ())
}

fn deep(levels: usize) -> serde_json::Value {
    (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]))
}

/// What is given, and a part of the answer.
fn table() -> Vec<(&'static str, Job, &'static str)> {
    let queue = |name: &str| job().queue(name.to_owned());
    let pairs: HashMap<(u8, u8), u8> = HashMap::from([((1, 2), 3)]);
    vec![
        ("queue: empty", queue(""), "invalid queue name \"\": it is empty; use 1 to 63 of A-Z a-z 0-9 _ . : -"),
        ("queue: 64", queue(&"q".repeat(64)), "it has 64 bytes"),
        ("queue: 10,000", queue(&"q".repeat(10_000)), "it has 10000 bytes"),
        ("queue: NUL", queue("a\0b"), "U+0000 at byte 1"),
        ("queue: newline", queue("a\nb"), "U+000A at byte 1"),
        ("queue: escape", queue("\u{1b}[31m"), "U+001B at byte 0"),
        ("queue: right to left", queue("a\u{202e}b"), "U+202E at byte 1"),
        ("queue: SQL", queue("a\"; DROP TABLE jobs;--"), "U+0022 at byte 1"),
        ("queue: more SQL", queue("a' OR 1=1"), "U+0027 at byte 1"),
        ("queue: subject", queue("a.b*"), "U+002A at byte 3"),
        ("queue: wildcard", queue(">"), "U+003E at byte 0"),
        ("queue: hash tag", queue("{x}"), "U+007B at byte 0"),
        ("queue: path", queue("../x"), "U+002F at byte 2"),
        ("queue: reserved", queue("_work"), "names that start with a sign are reserved"),
        ("kind: unknown", Job::new("unknown", ()), "no handler of kind \"unknown\"; the router has: known, other"),
        ("kind: empty", Job::new("", ()), "invalid kind name \"\": it is empty"),
        ("kind: space", Job::new("a b", ()), "U+0020 at byte 1"),
        ("args: keys", Job::new("known", pairs), "have no JSON form: key must be a string"),
        ("args: depth", Job::new("known", deep(200)), "args are nested 200 deep; at most 64 levels are accepted"),
        (
            "args: size",
            Job::new("known", "x".repeat(1024 * 1024)),
            "args have 1048578 bytes; at most 1048576 are accepted",
        ),
        ("attempts: 0", job().max_attempts(0), "max_attempts 0 is out of range; use 1 to 1000"),
        ("attempts: too many", job().max_attempts(u32::MAX), "max_attempts 4294967295 is out of range"),
        ("priority", job().priority(99), "priority 99 is out of range; use 0 to 9"),
        ("timeout", job().timeout(Duration::ZERO), "timeout 0ns is out of range; use more than zero"),
        ("key: empty", job().unique(Unique::new("")), "it is empty; use 1 to 512 bytes"),
        ("key: 10 KiB", job().unique(Unique::new("k".repeat(10_240))), "it has 10240 bytes"),
        ("key: NUL", job().unique(Unique::new("a\0")), "it contains U+0000"),
        ("header: newline", job().header("trace", "a\nb"), "control characters are not accepted"),
        ("header: no name", job().header("", "x"), "names have 1 to 128 bytes"),
        ("header: long", job().header("x", "y".repeat(5_000)), "5000 bytes; at most 4096 are accepted"),
    ]
}

fn router() -> Router {
    Router::new().route("known", async || {}).route("other", async || {})
}

#[tokio::test]
async fn a_durable_worker_refuses_it_and_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteStore::open(dir.path().join("jobs.db")).await.unwrap();
    for worker in [QueueWorker::new(sqlite, router()), QueueWorker::new(MemoryStore::new(), router())] {
        for (name, job, expected) in table() {
            let error = worker.perform(job.clone()).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
            assert!(error.len() < 400, "{name}: a message of {} bytes", error.len());
            let many = worker.perform_many([Job::new("known", ()), job]).await.unwrap_err().to_string();
            assert!(many.contains(expected), "{name}: {many}");
        }
        let counts = worker.store().counts(JobFilter::default()).await.unwrap();
        assert_eq!(counts.total(), 0);
    }
}

#[tokio::test]
async fn a_worker_in_memory_refuses_what_does_not_need_json() {
    let worker = LocalWorker::new(router());
    for (name, job, expected) in table().into_iter().filter(|(name, ..)| !name.starts_with("args")) {
        let error = worker.perform(job).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[tokio::test]
async fn times_beyond_reason_are_refused_and_times_in_the_past_are_now() {
    let store = MemoryStore::new();
    let worker = QueueWorker::new(store.clone(), router());
    let far = worker.perform_in(job(), Duration::MAX).await.unwrap_err().to_string();
    assert!(far.contains("is out of range; use at most ten years"), "{far}");
    assert!(worker.perform_at(job(), DateTime::<chrono::Utc>::MAX_UTC).await.is_err());
    for at in [DateTime::<chrono::Utc>::MIN_UTC, DateTime::UNIX_EPOCH] {
        worker.perform_at(job(), at).await.unwrap();
    }
    worker.perform_in(job(), Duration::ZERO).await.unwrap();
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 3);
    for interval in [Duration::ZERO, Duration::from_nanos(1)] {
        assert!(Schedule::every(interval).unwrap_err().to_string().contains("use at least 1 ms"));
    }
}

#[tokio::test]
async fn a_batch_of_nothing_is_fine() {
    let worker = QueueWorker::new(MemoryStore::new(), router());
    assert!(worker.perform_many([]).await.unwrap().is_empty());
}
