//! Chains and groups that could not run.

use std::time::Duration;

use work_core::store::{Inspect, JobFilter, MemoryStore};
use work_core::{Chain, Group, Job, LocalWorker, QueueWorker, Unique, Worker};

use crate::enqueue::{job, router};
use crate::table::{Case, Table};

#[tokio::test]
async fn a_chain_that_cannot_run_to_its_end_is_refused() {
    let mut table = Table::of("chains");
    let (local, store) = (LocalWorker::new(router()), MemoryStore::new());
    let worker = QueueWorker::new(store.clone(), router());
    for (what, given, length) in
        [("no jobs", "of 0 jobs", 0), ("one job", "of 1 jobs", 1), ("10,001 jobs", "of 10001 jobs", 10_001)]
    {
        table.refused(Case(29, what, given), async { Chain::of((0..length).map(|_| job())) }).await;
    }
    table.refused(Case(29, "one job, by `Chain::new`", "of 1 jobs"), worker.perform_chain(Chain::new(job()))).await;
    let id = "01990000-0000-7000-8000-000000000000".parse().unwrap();
    let same = || job().with_id(id);
    let twice = || Chain::new(same()).then(job()).then(same());
    let named = Case(29, "a job that is in it twice", "with job 01990000-0000-7000-8000-000000000000 twice");
    table.refused(named, async { Chain::of([same(), job(), same()]) }).await;
    table.refused(named, worker.perform_chain(twice())).await;
    table.refused(named, local.perform_chain(twice())).await;
    let unknown = Chain::new(job()).then(Job::new("unknown", ()));
    table.refused(Case(29, "a later job without a handler", "\"unknown\""), worker.perform_chain(unknown)).await;
    let wrong = Chain::new(job()).then(job().priority(77));
    table.refused(Case(29, "a later job that no store takes", "priority 77"), worker.perform_chain(wrong)).await;
    let large = Chain::new(job()).then(Job::new("known", "x".repeat(1024 * 1024 - 10)));
    table.refused(Case(29, "more than 1 MiB of later jobs", "bytes"), worker.perform_chain(large)).await;
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 0);
    assert_eq!(local.counts().submitted, 0);
    table.stays();
}

#[tokio::test]
async fn a_group_that_cannot_end_is_refused() {
    let mut table = Table::of("groups");
    let (local, store) = (LocalWorker::new(router()), MemoryStore::new());
    let worker = QueueWorker::new(store.clone(), router());
    let many = || Group::new((0..10_001).map(|_| job()));
    table.refused(Case(30, "10,001 jobs", "of 10001 jobs"), worker.perform_group(many())).await;
    let keyed = || Group::new([job().unique(Unique::new("\u{1b}".repeat(300)))]);
    table.refused(Case(30, "a job with a unique key", "\\u{1b}"), worker.perform_group(keyed())).await;
    let id = "01990000-0000-7000-8000-000000000000".parse().unwrap();
    let same = || job().with_id(id);
    let named = |what| Case(30, what, "with job 01990000-0000-7000-8000-000000000000 twice");
    let twice = || Group::new([same(), same()]);
    table.refused(named("a job that is in it twice"), worker.perform_group(twice())).await;
    table.refused(named("a job that is in it twice, in memory"), local.perform_group(twice())).await;
    let watched = || Group::new([same()]).then(same());
    table.refused(named("a job that is its own callback"), worker.perform_group(watched())).await;
    let small = LocalWorker::builder(router()).capacity(2).concurrency(1).build().unwrap();
    let too_many = small.perform_group(Group::new([job(), job(), job()]));
    table.refused(Case(30, "more than the worker has room for", "of 3 jobs"), too_many).await;
    assert_eq!(store.counts(JobFilter::default()).await.unwrap().total(), 0);
    let empty = local.perform_group(Group::new([]).then(job()));
    let handle = table.accepted(Case(30, "no jobs", "the callback is performed at once"), empty).await;
    let status = tokio::time::timeout(Duration::from_secs(5), handle.ended()).await.unwrap().unwrap();
    assert_eq!(status.total, 0);
    table.stays();
}
