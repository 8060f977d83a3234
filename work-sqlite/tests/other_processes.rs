//! What other connections to the same file do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;
use work_core::store::{Inspect, JobFilter, Store};
use work_core::{Job, JobState, Queue, QueueWorker, Router, Schedule, Status, Worker};
use work_sqlite::SqliteStore;

async fn place() -> (TempDir, PathBuf, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs.db");
    let store = SqliteStore::open(&path).await.unwrap();
    (dir, path, store)
}

#[tokio::test]
async fn an_insert_of_another_connection_wakes_who_waits() {
    let (_dir, path, store) = place().await;
    let queues = [Queue::DEFAULT];
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let mut ready = store.ready(&queues);
        assert!(!poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx).is_ready())).await);
        let before = Instant::now();
        Connection::open(&path).unwrap().execute_batch("INSERT INTO jobs(kind) VALUES ('greet')").unwrap();
        tokio::time::timeout(Duration::from_secs(5), ready).await.expect("woken");
        fastest = fastest.min(before.elapsed());
    }
    // Without a reason nobody is woken before half a second has passed.
    assert!(fastest < Duration::from_millis(450), "woken by chance after {fastest:?}, not by the insert");
}

#[tokio::test]
async fn who_waits_in_vain_looks_again_after_a_while() {
    let (_dir, _, store) = place().await;
    let before = Instant::now();
    tokio::time::timeout(Duration::from_secs(3), store.ready(&[Queue::DEFAULT])).await.expect("woken");
    assert!(before.elapsed() > Duration::from_millis(100), "that is polling");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_does_elsewhere_reaches_a_runner_within_a_second() {
    let (_dir, path, store) = place().await;
    let elsewhere = SqliteStore::open(&path).await.unwrap();
    let worker =
        QueueWorker::new(store, Router::new().route("wait", std::future::pending::<()>).route("fine", async || {}));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(worker.clone().run_until(async { drop(stopped.await) }));
    let soon = Duration::from_secs(5);

    let waits = worker.perform(Job::new("wait", ())).await.unwrap();
    while elsewhere.get(waits.id()).await.unwrap().unwrap().state != JobState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    elsewhere.cancel(vec![waits.id()]).await.unwrap();
    let outcome = tokio::time::timeout(soon, waits.outcome()).await.expect("told to stop").unwrap();
    assert_eq!(outcome.status(), Status::CANCELLED);

    elsewhere.pause(Queue::DEFAULT).await.unwrap();
    let fine = worker.perform(Job::new("fine", ())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(elsewhere.get(fine.id()).await.unwrap().unwrap().state, JobState::Available);
    elsewhere.resume(Queue::DEFAULT).await.unwrap();
    tokio::time::timeout(soon, fine.outcome()).await.expect("resumed").unwrap();

    let often = Schedule::every(Duration::from_millis(50)).unwrap();
    let maker = QueueWorker::new(elsewhere.clone(), Router::new().route("fine", async || {}));
    maker.schedule("often", Job::new("fine", ()).tag("scheduled"), often).await.unwrap();
    let made = async {
        while elsewhere.counts(JobFilter::all().tag("scheduled").state(JobState::Completed)).await.unwrap().total() < 3
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(soon, made).await.expect("a schedule that was made elsewhere is kept here");
    drop(stop);
    running.await.unwrap().unwrap();
}
