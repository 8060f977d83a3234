//! Many jobs at once, and the same one again.

use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::{Accepted, Job, PerformError, QueueWorker, Unique, Worker};

use crate::enqueue::{job, router};
use crate::table::{Case, Table};

#[tokio::test]
async fn a_batch_is_taken_whole_or_refused_by_the_place_of_the_first_job_that_is_wrong() {
    let mut table = Table::of("batches");
    let store = MemoryStore::new();
    let worker = QueueWorker::new(store.clone(), router());
    let none = table.accepted(Case(24, "no jobs", "nothing is done"), worker.perform_many([])).await;
    assert!(none.is_empty());
    let batch = |bad: Job| (0..4_711).map(|_| job()).chain([bad, job().priority(99)]);
    let wrong = worker.perform_many(batch(job().priority(77)));
    table.refused(Case(24, "one job of 4,713 that no store takes", "job 4711 of the batch"), wrong).await;
    let unknown = worker.perform_many(batch(Job::new("unknown", ())));
    table.refused(Case(24, "one job of 4,713 without a handler", "\"unknown\""), unknown).await;
    let endless = worker.perform_many(std::iter::repeat_with(job));
    table.refused(Case(24, "jobs without an end", "more than 100000 jobs"), endless).await;
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 0);
    worker.stop().await;
    assert!(matches!(worker.perform_many([job()]).await, Err(PerformError::Stopped)));
    table.stays();
}

#[tokio::test]
async fn the_same_again_with_other_args_is_the_first_one() {
    let mut table = Table::of("duplicates");
    let worker = QueueWorker::new(MemoryStore::new(), router());
    let first = Job::new("known", 1);
    let same_id = Job::new("known", 2).with_id(first.id());
    let keyed = |n: u32| Job::new("known", n).unique(Unique::new("k"));
    worker.perform_many([first, keyed(1)]).await.unwrap();
    let stays = |what| Case(25, what, "the handle is that of the first job, which stays as it was, and says Duplicate");
    let handle = table.accepted(stays("the same id and other args"), worker.perform(same_id)).await;
    assert_eq!(handle.accepted(), Accepted::Duplicate);
    let stored = worker.store().get(handle.id()).await.unwrap().unwrap();
    assert_eq!(stored.job.args, "1");
    let handle = table.accepted(stays("the same unique key and other args"), worker.perform(keyed(2))).await;
    assert_eq!(handle.accepted(), Accepted::Duplicate);
    assert_eq!(worker.store().get(handle.id()).await.unwrap().unwrap().job.args, "1");
    table.stays();
}
