//! Layers of tower itself compose on a router.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tower::ServiceBuilder;
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use work_core::{Job, LocalWorker, Outcome, Router, State, Status, Worker};

#[derive(Clone, Default)]
struct Running {
    now: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
}

async fn slow(State(running): State<Running>) {
    let now = running.now.fetch_add(1, Ordering::SeqCst) + 1;
    running.peak.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.now.fetch_sub(1, Ordering::SeqCst);
}

async fn perform(worker: &LocalWorker, jobs: usize) -> Vec<Outcome> {
    let mut handles = Vec::new();
    for _ in 0..jobs {
        handles.push(worker.perform(Job::new("slow", ())).await.unwrap());
    }
    let mut outcomes = Vec::new();
    for handle in handles {
        outcomes.push(handle.outcome().await.unwrap());
    }
    outcomes
}

fn count(outcomes: &[Outcome], status: Status) -> usize {
    outcomes.iter().filter(|outcome| outcome.status() == status).count()
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_408() {
    let router = Router::new().route("slow", slow).layer(TimeoutLayer::new(Duration::from_millis(5)));
    let worker = LocalWorker::new(router.with_state(Running::default()));
    assert_eq!(count(&perform(&worker, 3).await, Status::TIMEOUT), 3);
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_limit_lets_so_many_run() {
    for limit in [1, 3] {
        let running = Running::default();
        let router = Router::new().route("slow", slow).layer(ConcurrencyLimitLayer::new(limit));
        let worker = LocalWorker::new(router.with_state(running.clone()));
        assert_eq!(count(&perform(&worker, 12).await, Status::SUCCESS), 12);
        assert_eq!(running.peak.load(Ordering::SeqCst), limit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_global_limit_is_shared_by_all_routes() {
    let running = Running::default();
    let router = Router::new().route("slow", slow).route("slow.too", slow).layer(GlobalConcurrencyLimitLayer::new(2));
    let worker = LocalWorker::new(router.with_state(running.clone()));
    let mut handles = Vec::new();
    for n in 0..10 {
        let kind = if n % 2 == 0 { "slow" } else { "slow.too" };
        handles.push(worker.perform(Job::new(kind, ())).await.unwrap());
    }
    for handle in handles {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    }
    assert_eq!(running.peak.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn shed_load_is_503() {
    let layers = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(2));
    let router = Router::new().route("slow", slow).layer(layers).with_state(Running::default());
    let outcomes = perform(&LocalWorker::new(router), 10).await;
    assert_eq!((count(&outcomes, Status::SUCCESS), count(&outcomes, Status::UNAVAILABLE)), (2, 8));
}

#[tokio::test(start_paused = true)]
async fn a_buffer_passes_every_job_on() {
    let running = Running::default();
    let layers = ServiceBuilder::new().layer(BufferLayer::new(4)).layer(ConcurrencyLimitLayer::new(2));
    let router = Router::new().route("slow", slow).layer(layers).with_state(running.clone());
    assert_eq!(count(&perform(&LocalWorker::new(router), 20).await, Status::SUCCESS), 20);
    assert_eq!(running.peak.load(Ordering::SeqCst), 2);
}
