//! One program text on every worker.

use std::sync::{Arc, Mutex};

use work_core::{
    Args, Clock, Job, LocalWorker, QueueWorker, Router, Schedule, State, Status, Worker, store::MemoryStore,
};
use work_sqlite::SqliteStore;

use crate::millis;

type Log = Arc<Mutex<Vec<String>>>;

async fn note(Args(what): Args<String>, State(log): State<Log>) -> Status {
    log.lock().unwrap().push(what);
    Status::SUCCESS
}

/// Uses all five verbs, waits for the outcomes, cancels, and stops. It does not know what worker it is.
async fn program<W: Worker>(worker: &W) {
    let job = |what: &str| Job::new("note", what.to_owned());
    let now = worker.perform(job("now")).await.unwrap();
    let at = worker.perform_at(job("at"), Clock::system().now() + chrono::TimeDelta::milliseconds(60)).await.unwrap();
    let soon = worker.perform_in(job("in"), millis(30)).await.unwrap();
    let never = worker.perform_in(job("never"), std::time::Duration::from_secs(3_600)).await.unwrap();
    let every = worker.perform_every(job("every"), Schedule::every(millis(40)).unwrap()).await.unwrap();
    let items = futures_util::stream::iter(["received".to_owned(), "received".to_owned()]);
    let receiving = worker.perform_receive("note", items).await.unwrap();
    receiving.ended().await;
    while every.made() < 3 {
        tokio::time::sleep(millis(5)).await;
    }
    every.cancel();
    every.ended().await;
    assert!(worker.cancel(never.id()).await.unwrap());
    assert_eq!(never.outcome().await.unwrap().status(), Status::CANCELLED);
    for handle in [now, at, soon] {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    }
    assert!(worker.perform(Job::new("nobody", ())).await.is_err());
    worker.stop().await;
    assert!(worker.perform(job("too late")).await.is_err());
}

fn router(log: &Log) -> Router {
    Router::new().route("note", note).with_state(log.clone())
}

fn check(log: &Log) {
    let mut log = log.lock().unwrap().clone();
    log.sort();
    log.dedup_by(|a, b| a == b && a == "every");
    assert_eq!(log, ["at", "every", "in", "now", "received", "received"]);
}

#[tokio::test]
async fn on_a_local_worker() {
    let log = Log::default();
    program(&LocalWorker::new(router(&log))).await;
    check(&log);
}

#[tokio::test]
async fn on_a_durable_worker_in_memory() {
    let log = Log::default();
    let worker = QueueWorker::new(MemoryStore::new(), router(&log));
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    program(&worker).await;
    running.await.unwrap().unwrap();
    check(&log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_durable_worker_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::default();
    let worker = QueueWorker::new(SqliteStore::open(dir.path().join("jobs.db")).await.unwrap(), router(&log));
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    program(&worker).await;
    running.await.unwrap().unwrap();
    check(&log);
}
