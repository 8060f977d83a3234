//! Chains and groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use work_core::{Args, Chain, Classify, Group, Job, Json, PreviousOutput, QueueWorker, Router, Status, Worker};

use crate::stores::{Running, Store, all_done, becomes, on_every_store, within};

on_every_store!(
    five_thousand_chains_of_three_on_two_slots_are_fifteen_thousand_runs,
    a_chain_that_is_looked_at_seven_times_still_has_three_jobs,
    a_failure_in_the_middle_fails_the_chain_and_ends_it,
    the_jobs_of_a_group_are_told_apart_also_after_it_has_ended,
    an_empty_group_is_done_and_not_failed,
);

fn sums(runs: &Arc<AtomicU32>) -> Router {
    let runs = runs.clone();
    Router::new().route("add", move |Args(n): Args<u32>, PreviousOutput(sum): PreviousOutput<u32>| {
        runs.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Json(sum.unwrap_or(0) + n))
    })
}

/// Nothing waits for a slot that only it could free.
async fn five_thousand_chains_of_three_on_two_slots_are_fifteen_thousand_runs(store: Store) {
    let runs = Arc::default();
    let running = Running::start(QueueWorker::builder(store.clone(), sums(&runs)).concurrency(2));
    let chains = futures_util::stream::iter(0..5_000).map(|n| {
        let worker = running.worker.clone();
        async move { worker.perform_chain(Chain::of((0..3).map(|_| Job::new("add", n))).unwrap()).await.unwrap() }
    });
    let handles: Vec<_> = within(chains.buffer_unordered(256).collect()).await;
    all_done(&store).await;
    assert_eq!((handles.len(), runs.load(Ordering::SeqCst)), (5_000, 15_000));
    running.stop().await;
}

async fn a_chain_that_is_looked_at_seven_times_still_has_three_jobs(store: Store) {
    let runs = Arc::default();
    let running = Running::start(QueueWorker::builder(store.clone(), sums(&runs)));
    let handle = running.worker.perform_chain(Chain::of([1, 2, 3].map(|n| Job::new("add", n))).unwrap()).await.unwrap();
    for look in 0..7 {
        assert_eq!(handle.steps().len(), 3, "look {look}");
        let last = handle.steps()[2];
        becomes(async || store.get(last).await.unwrap().is_some_and(|job| job.output.is_some())).await;
    }
    let outputs: Vec<_> = {
        let mut outputs = Vec::new();
        for step in handle.steps() {
            outputs.push(running.worker.output::<u32>(*step).await.unwrap().unwrap());
        }
        outputs
    };
    assert_eq!((outputs, runs.load(Ordering::SeqCst)), (vec![1, 3, 6], 3));
    assert!(Chain::of([Job::new("add", 1)]).is_err_and(|error| error.to_string().contains("chain of 1 jobs")));
    running.stop().await;
}

async fn a_failure_in_the_middle_fails_the_chain_and_ends_it(store: Store) {
    let runs = Arc::default();
    let router = sums(&runs).route("fails", async || Err::<(), _>("no luck").discard());
    let running = Running::start(QueueWorker::builder(store.clone(), router));
    let chain = Chain::new(Job::new("add", 1)).then(Job::new("fails", ())).then(Job::new("add", 2));
    let handle = running.worker.perform_chain(chain).await.unwrap();
    let never = handle.steps()[2];
    let ended = within(handle.outcome()).await.unwrap();
    assert_eq!((ended.failed_step(), ended.outcome().status()), (Some(2), Status::BAD_REQUEST));
    all_done(&store).await;
    assert!(store.get(never).await.unwrap().is_none());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    running.stop().await;
}

async fn the_jobs_of_a_group_are_told_apart_also_after_it_has_ended(store: Store) {
    let runs = Arc::default();
    let router = sums(&runs).route("fails", async || Err::<(), _>("no luck").discard()).route("end", async || {});
    let running = Running::start(QueueWorker::builder(store.clone(), router));
    let worker = &running.worker;
    for (failing, failed) in [(0, false), (2, true)] {
        let well = (0..3).map(|n| Job::new("add", n));
        let group = Group::new(well.chain((0..failing).map(|_| Job::new("fails", ())))).then(Job::new("end", ()));
        let handle = worker.perform_group(group).await.unwrap();
        let (id, members) = (handle.id(), handle.members().to_vec());
        becomes(async || worker.group(id).await.unwrap().unwrap().has_ended()).await;
        let status = worker.group(id).await.unwrap().unwrap();
        assert_eq!((status.has_failed(), status.total), (failed, 3 + failing));
        assert_eq!((status.completed, status.discarded), (3, failing));
        if failed {
            // An operator retries a dead letter: the group says what is so now.
            store.retry(members[3]).await.unwrap();
            becomes(async || store.get(members[3]).await.unwrap().unwrap().state.is_terminal()).await;
            store.delete(vec![members[4]]).await.unwrap();
            let after = worker.group(id).await.unwrap().unwrap();
            assert_eq!((after.completed, after.discarded, after.total), (3, 1, 5), "{after:?}");
        }
    }
    running.stop().await;
}

async fn an_empty_group_is_done_and_not_failed(store: Store) {
    let runs = Arc::default();
    let running = Running::start(QueueWorker::builder(store.clone(), sums(&runs)));
    let handle = running.worker.perform_group(Group::new([]).then(Job::new("add", 1))).await.unwrap();
    let status = running.worker.group(handle.id()).await.unwrap().unwrap();
    assert_eq!((status.total, status.has_ended(), status.has_failed()), (0, true, false));
    all_done(&store).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "its callback");
    running.stop().await;
}
