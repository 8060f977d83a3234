//! Order, what is pending, and whoever goes away in the middle of a job.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use work_core::store::{Inspect, JobFilter};
use work_core::{Job, JobState, QueueWorker, Router, Worker, job};

use crate::Log;
use crate::stores::{Running, Store, all_done, becomes, on_every_store, open};

on_every_store!(
    a_thousand_jobs_run_in_the_order_of_their_arrival,
    two_jobs_are_pending_and_then_none,
    ten_thousand_jobs_are_accepted_before_anything_runs,
    a_job_whose_worker_was_killed_runs_again_and_one_that_was_settled_never_does,
    a_shutdown_in_the_middle_of_a_job_leaves_it_queued_and_not_done,
    a_job_goes_to_the_queue_of_its_kind_unless_it_names_another,
);

async fn a_thousand_jobs_run_in_the_order_of_their_arrival(store: Store) {
    let log = Log::default();
    let running = Running::start(QueueWorker::builder(store.clone(), log.router()).concurrency(1));
    for n in 0..500 {
        running.worker.perform(Job::new("note", n)).await.unwrap();
    }
    running.worker.perform_many((500..1_000).map(|n| Job::new("note", n))).await.unwrap();
    all_done(&store).await;
    assert_eq!(log.all(), (0..1_000).collect::<Vec<_>>());
    running.stop().await;
}

async fn two_jobs_are_pending_and_then_none(store: Store) {
    let log = Log::default();
    let builder = QueueWorker::builder(store.clone(), log.router());
    let worker = builder.clone().build().unwrap();
    for n in 0..2 {
        worker.perform(Job::new("note", n)).await.unwrap();
    }
    let waiting = async || store.counts(JobFilter::all()).await.unwrap().of(JobState::Available);
    assert_eq!((waiting().await, open(&store).await), (2, 2));
    let running = Running::start(builder);
    all_done(&store).await;
    assert_eq!((waiting().await, log.all().len()), (0, 2));
    running.stop().await;
}

/// Nobody waits for a worker that has not started.
async fn ten_thousand_jobs_are_accepted_before_anything_runs(store: Store) {
    let log = Log::default();
    let builder = QueueWorker::builder(store.clone(), log.router());
    let worker = builder.clone().build().unwrap();
    let calls = (0..10_000).map(|n| {
        let worker = worker.clone();
        tokio::spawn(async move { worker.perform(Job::new("note", n)).await.map(drop) })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(open(&store).await, 10_000);
    let running = Running::start(builder);
    all_done(&store).await;
    let mut ran = log.all();
    ran.sort_unstable();
    assert_eq!(ran, (0..10_000).collect::<Vec<_>>());
    running.stop().await;
}

/// A handler that never ends, and says that it has begun.
fn endless(began: &CancellationToken, runs: &Arc<AtomicUsize>) -> Router {
    let (began, runs) = (began.clone(), runs.clone());
    Router::new().route("endless", move || {
        runs.fetch_add(1, Ordering::SeqCst);
        began.cancel();
        std::future::pending::<()>()
    })
}

async fn a_job_whose_worker_was_killed_runs_again_and_one_that_was_settled_never_does(store: Store) {
    const LEASE: Duration = Duration::from_millis(1_500);
    let (began, runs, log) = (CancellationToken::new(), Arc::default(), Log::default());
    let router = endless(&began, &runs).route("note", {
        let log = log.clone();
        move || {
            log.push(0);
            std::future::ready(())
        }
    });
    let first = Running::start(QueueWorker::builder(store.clone(), router).lease_for(LEASE));
    let done = first.worker.perform(Job::new("note", ())).await.unwrap();
    assert!(done.outcome().await.unwrap().status().is_complete());
    let killed = first.worker.perform(Job::new("endless", ())).await.unwrap().id();
    began.cancelled().await;
    first.kill().await;
    let killed_at = Instant::now();
    let again = log.clone();
    let router = Router::new().route("note", async || {}).route("endless", move || {
        again.push(1);
        std::future::ready(())
    });
    let second = Running::start(QueueWorker::builder(store.clone(), router).lease_for(LEASE));
    all_done(&store).await;
    // It was extended for the last time within a third of it before.
    assert!(killed_at.elapsed() >= LEASE / 2, "{:?}", killed_at.elapsed());
    let stored = store.get(killed).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.attempt, stored.crashes), (JobState::Completed, 1, 1));
    assert_eq!((log.all(), runs.load(Ordering::SeqCst)), (vec![0, 1], 1));
    second.stop().await;
}

async fn a_shutdown_in_the_middle_of_a_job_leaves_it_queued_and_not_done(store: Store) {
    let (began, runs) = (CancellationToken::new(), Arc::default());
    let builder = QueueWorker::builder(store.clone(), endless(&began, &runs)).grace(Duration::from_millis(50));
    let running = Running::start(builder);
    let id = running.worker.perform(Job::new("endless", ())).await.unwrap().id();
    began.cancelled().await;
    let report = running.stop().await;
    assert_eq!((report.performed, report.interrupted.len(), report.released), (0, 1, 1));
    let stored = store.get(id).await.unwrap().unwrap();
    assert_eq!(
        (stored.state, stored.attempt, stored.status.is_some_and(work_core::Status::is_complete)),
        (JobState::Available, 0, false)
    );
    let running = Running::start(QueueWorker::builder(store.clone(), Router::new().route("endless", async || {})));
    becomes(async || store.get(id).await.unwrap().unwrap().state == JobState::Completed).await;
    running.stop().await;
}

#[job(queue = "mail")]
async fn letter() {}

async fn a_job_goes_to_the_queue_of_its_kind_unless_it_names_another(store: Store) {
    let router = Router::new().route("letter", letter).route("other", async || {});
    let builder = QueueWorker::builder(store.clone(), router).queues(["mail"]);
    let worker = builder.clone().build().unwrap();
    let jobs = [letter::job(()), letter::job(()).queue("fast"), Job::new("other", ())];
    let ids: Vec<_> = worker.perform_many(jobs).await.unwrap().iter().map(work_core::JobHandle::id).collect();
    let running = Running::start(builder);
    becomes(async || store.get(ids[0]).await.unwrap().unwrap().state == JobState::Completed).await;
    for (id, queue) in ids.iter().zip(["mail", "fast", "default"]) {
        let stored = store.get(*id).await.unwrap().unwrap();
        assert_eq!(stored.job.parts.queue.as_str(), queue);
        assert_eq!(stored.state == JobState::Completed, queue == "mail", "{queue} is not drained here");
    }
    running.stop().await;
}
