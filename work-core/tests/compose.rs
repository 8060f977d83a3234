//! Jobs that belong together, in memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use work_core::testing::TestWorker;
use work_core::{
    Args, Attempt, Chain, Classify, FailedJob, Group, GroupStatus, Job, Json, LocalWorker, PreviousOutput, Router,
    Status, Worker,
};

fn router() -> Router {
    let add = |Args(n): Args<u32>, PreviousOutput(sum): PreviousOutput<u32>| async move { Json(sum.unwrap_or(0) + n) };
    let flaky = async |Attempt(n): Attempt| if n < 3 { Err("not yet").retryable() } else { Ok(Json(n)) };
    let fails = async || Err::<(), _>("no luck").discard();
    Router::new().route("add", add).route("flaky", flaky).route("fails", fails)
}

#[tokio::test(start_paused = true)]
async fn a_chain_goes_on_after_retries_and_ends_with_a_failure() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let report = move |failed: FailedJob| {
        let log = log.clone();
        async move { log.lock().unwrap().push((failed.kind.as_str().to_owned(), failed.status, failed.error)) }
    };
    let worker = TestWorker::new(router().route("report", report));
    let flaky = Job::new("flaky", ()).max_attempts(5);
    let chain = Chain::new(Job::new("add", 1)).then(flaky).then(Job::new("add", 4));
    let ended = worker.perform_chain(chain.clone()).await.unwrap().outcome().await.unwrap();
    assert_eq!((ended.failed_step(), ended.outcome().output::<u32>().unwrap()), (None, Some(7)));
    let chain = Chain::new(Job::new("add", 1)).then(Job::new("fails", ())).then(Job::new("add", 9));
    let chain = chain.on_error(Job::new("report", ()));
    let ended = worker.perform_chain(chain).await.unwrap().outcome().await.unwrap();
    assert_eq!((ended.failed_step(), ended.outcome().status()), (Some(2), Status::BAD_REQUEST));
    worker.drain().await;
    assert_eq!(worker.count("add", Some(&9.into())), 0);
    assert_eq!(*seen.lock().unwrap(), [("fails".to_owned(), Status::BAD_REQUEST, "no luck".to_owned())]);
}

#[tokio::test]
async fn five_thousand_chains_of_three_run_on_two_slots_and_little_room() {
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let router = Router::new().route("count", move || {
        count.fetch_add(1, Ordering::SeqCst);
        async {}
    });
    let worker = LocalWorker::builder(router).concurrency(2).capacity(10).build().unwrap();
    for _ in 0..5_000 {
        let chain = Chain::of((0..3).map(|_| Job::new("count", ()))).unwrap();
        worker.perform_chain(chain).await.unwrap();
    }
    worker.idle().await;
    assert_eq!(runs.load(Ordering::SeqCst), 15_000);
}

#[tokio::test(start_paused = true)]
async fn an_on_error_job_follows_the_last_attempt_and_an_expiry_but_no_cancellation() {
    let worker = TestWorker::new(router().route("report", async |_: FailedJob| {}));
    let report = || Job::new("report", ());
    worker.perform(Job::new("fails", ()).on_error(report())).await.unwrap();
    worker.perform(Job::new("add", "no number").on_error(report())).await.unwrap();
    worker.perform(Job::new("flaky", ()).max_attempts(2).on_error(report())).await.unwrap();
    worker.perform(Job::new("add", 1).expires_at(worker.now()).on_error(report())).await.unwrap();
    worker.perform(Job::new("add", 1).on_error(report())).await.unwrap();
    let cancelled = worker.perform_in(Job::new("fails", ()).on_error(report()), Duration::from_secs(9)).await.unwrap();
    worker.cancel(cancelled.id()).await.unwrap();
    worker.drain().await;
    assert_eq!(worker.count("report", None), 4);
}

#[tokio::test(start_paused = true)]
async fn a_group_calls_back_once_when_all_have_ended() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let worker = TestWorker::new(router().route("callback", move |status: GroupStatus| {
        let log = log.clone();
        async move { log.lock().unwrap().push(status) }
    }));
    let later = Job::new("add", 1).scheduled_at(worker.now() + Duration::from_secs(3_600));
    let never = Job::new("add", 1).scheduled_at(worker.now() + Duration::from_secs(3_600));
    let cancelled = never.id();
    let members = [Job::new("add", 1), Job::new("flaky", ()).max_attempts(3), Job::new("fails", ()), later, never];
    let handle = worker.perform_group(Group::new(members).then(Job::new("callback", ()))).await.unwrap();
    worker.pass(Duration::from_secs(1_800)).await;
    assert!(seen.lock().unwrap().is_empty());
    assert!(worker.cancel(cancelled).await.unwrap());
    let ended = handle.ended().await.unwrap();
    assert_eq!((ended.total, ended.completed, ended.discarded, ended.cancelled), (5, 3, 1, 1));
    worker.drain().await;
    assert_eq!(*seen.lock().unwrap(), [ended]);
    let empty = worker.perform_group(Group::new([]).then(Job::new("callback", ()))).await.unwrap();
    assert_eq!(empty.ended().await.unwrap().total, 0);
    worker.drain().await;
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_group_that_cannot_fit_is_refused_and_one_that_can_waits_for_room() {
    let router = Router::new().route("nap", async || tokio::time::sleep(Duration::from_millis(20)).await);
    let worker = LocalWorker::builder(router).concurrency(2).capacity(5).build().unwrap();
    let group = |jobs: usize| Group::new((0..jobs).map(|_| Job::new("nap", ()))).then(Job::new("nap", ()));
    let error = worker.perform_group(group(5)).await.unwrap_err().to_string();
    assert!(error.contains("group of 5 jobs"), "{error}");
    for _ in 0..5 {
        worker.perform_group(group(4)).await.unwrap();
        assert!(worker.len() <= 5);
    }
    worker.stop().await;
    assert_eq!((worker.counts().submitted, worker.len()), (25, 0));
    assert!(worker.perform_group(group(1)).await.is_err());
}
