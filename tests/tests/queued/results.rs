//! What a job returns is kept with it.

use work_core::store::{DeleteOutcome, JobFilter, Order};
use work_core::{Args, Job, JobId, JobState, Json, OutputError, QueueWorker, Router, WaitError, Worker};

use crate::stores::{Running, Store, all_done, on_every_store};

on_every_store!(
    a_result_is_saved_found_and_deleted_with_all_that_is_known_of_its_job,
    three_successes_are_a_list_of_three_results,
);

fn doubles() -> Router {
    Router::new().route("double", async |Args(n): Args<u32>| Json(n * 2))
}

async fn a_result_is_saved_found_and_deleted_with_all_that_is_known_of_its_job(store: Store) {
    let running = Running::start(QueueWorker::builder(store.clone(), doubles()));
    let worker = running.worker.clone();
    let handle = worker.perform(Job::new("double", 21).tag("answer").header("of", "everything")).await.unwrap();
    let id = handle.id();
    assert_eq!(worker.output::<u32>(id).await.unwrap(), Some(42));
    let kept = store.get(id).await.unwrap().unwrap();
    assert_eq!((kept.output.as_deref(), kept.job.parts.tags.len()), (Some(&b"42"[..]), 1));
    let nobody = JobId::new();
    assert!(store.get(nobody).await.unwrap().is_none());
    assert!(
        matches!(worker.output::<u32>(nobody).await, Err(OutputError::Wait(WaitError::WorkerGone(of))) if of == nobody)
    );
    assert_eq!(store.delete(vec![id, nobody]).await.unwrap(), [DeleteOutcome::Deleted, DeleteOutcome::NotFound]);
    assert!(store.get(id).await.unwrap().is_none());
    let tagged = store.list(JobFilter::all().tag("answer"), Order::OldestFirst, None, 10).await.unwrap();
    assert!(tagged.jobs.is_empty());
    assert!(worker.output::<u32>(id).await.is_err());
    running.stop().await;
}

async fn three_successes_are_a_list_of_three_results(store: Store) {
    let router = doubles().route("fails", async || Err::<(), _>("no luck"));
    let running = Running::start(QueueWorker::builder(store.clone(), router));
    let jobs = [1, 2, 3].map(|n| Job::new("double", n));
    running.worker.perform_many(jobs.into_iter().chain([Job::new("fails", ()).max_attempts(1)])).await.unwrap();
    all_done(&store).await;
    running.stop().await;
    let ended = JobFilter::all().state(JobState::Completed);
    let page = store.list(ended, Order::OldestFirst, None, 10).await.unwrap();
    let results: Vec<_> = page.jobs.iter().map(|job| job.output.clone().unwrap()).collect();
    assert_eq!(results, ["2", "4", "6"]);
}
