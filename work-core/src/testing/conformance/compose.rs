//! Jobs that belong together, and what they return.

use std::sync::atomic::{AtomicU32, Ordering};

use super::runner::{Running, drain};
use super::*;
use crate::store::JobFilter;
use crate::{
    Args, Attempt, Chain, Classify, FailedJob, JobState, Json, OutputError, PreviousOutput, QueueWorker, Router, Worker,
};

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(seconds(60), future).await.expect("in time")
}

async fn total(store: &dyn Inspect, kind: &'static str) -> u64 {
    store.counts(JobFilter::all().kind(kind)).await.expect("counts").total()
}

/// Typed, by a handle and by the id alone, also for a worker that performs nothing.
pub async fn an_output_is_there_by_the_id_of_its_job(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let router = Router::new()
        .route("double", |Args(n): Args<u32>| async move { Json(n * 2) })
        .route("nothing", async || {})
        .route("fails", async || Err::<(), _>("no luck").discard());
    let running = Running::start(&store, router.clone());
    let asks = QueueWorker::new(store.clone(), router);
    let handle = asks.perform(Job::new("double", 21)).await.expect("accepted");
    let id = handle.id();
    assert_eq!(in_time(handle.output::<u32>()).await.expect("an output"), Some(42));
    assert_eq!(in_time(asks.output::<u32>(id)).await.expect("an output"), Some(42));
    let shape = in_time(asks.output::<String>(id)).await;
    assert!(matches!(shape, Err(OutputError::Shape(_))), "{shape:?}");
    let handle = asks.perform(Job::new("nothing", ())).await.expect("accepted");
    assert_eq!(in_time(handle.output::<u32>()).await.expect("none"), None);
    let handle = asks.perform(Job::new("fails", ())).await.expect("accepted");
    let failed = in_time(handle.output::<u32>()).await.expect_err("failed").to_string();
    assert!(failed.contains("400") && failed.contains("no luck"), "{failed}");
    store.delete(vec![id]).await.expect("delete");
    assert!(matches!(in_time(asks.output::<u32>(id)).await, Err(OutputError::Wait(_))));
    running.stop().await;
}

/// The limit is exact, and who waits hears the same as the store.
pub async fn an_output_over_the_limit_makes_a_dead_letter(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let router = Router::new().route("test", |Args(n): Args<usize>| async move { Json("x".repeat(n)) });
    let worker = QueueWorker::builder(store.clone(), router).max_output(100).build().expect("valid settings");
    let run = tokio::spawn(worker.clone().run_until(std::future::pending()));
    // Two of the bytes are the quotes.
    let fits = worker.perform(Job::new("test", 98)).await.expect("accepted");
    assert_eq!(in_time(fits.output::<String>()).await.expect("an output").map(|text| text.len()), Some(98));
    let large = worker.perform(Job::new("test", 99)).await.expect("accepted");
    let id = large.id();
    let error = in_time(large.output::<String>()).await.expect_err("too large").to_string();
    assert!(error.contains("the output has 101 bytes; at most 100 are kept"), "{error}");
    let dead = get(&*store, id).await;
    assert_eq!((dead.state, dead.status, dead.output), (JobState::Discarded, Some(Status::INTERNAL_ERROR), None));
    let default = QueueWorker::builder(store.clone(), Router::new()).max_output(usize::MAX).build();
    assert!(default.is_err_and(|error| error.to_string().contains("max_output")));
    worker.stop().await;
    run.await.expect("ran").expect("valid settings");
}

fn sums() -> Router {
    let add = |Args(n): Args<u32>, PreviousOutput(sum): PreviousOutput<u32>| async move { Json(sum.unwrap_or(0) + n) };
    let last = |PreviousOutput(nothing): PreviousOutput<u32>| async move { Json(nothing.is_none()) };
    Router::new().route("add", add).route("none", async || {}).route("last", last)
}

/// And nothing, where the one before returned nothing.
pub async fn each_job_of_a_chain_gets_the_output_before(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let running = Running::start(&store, sums());
    let add = |n: u32| Job::new("add", n);
    let chain = Chain::of((1..=5).map(add)).expect("five jobs");
    let ended = in_time(running.worker.perform_chain(chain).await.expect("accepted").outcome()).await.expect("ended");
    assert_eq!((ended.failed_step(), ended.step()), (None, 5));
    assert_eq!(ended.outcome().output::<u32>().expect("a number"), Some(15));
    let chain = Chain::new(add(1)).then(Job::new("none", ()).tag("middle").priority(2)).then(Job::new("last", ()));
    let handle = running.worker.perform_chain(chain).await.expect("accepted");
    let middle = handle.steps()[1];
    let ended = in_time(handle.outcome()).await.expect("ended");
    assert_eq!(ended.outcome().output::<bool>().expect("a flag"), Some(true));
    let middle = get(&*store, middle).await;
    assert_eq!((middle.job.parts.priority, middle.job.parts.tags.contains("middle")), (2, true));
    for short in [Chain::of([]), Chain::of([add(1)])] {
        assert!(short.is_err_and(|error| error.to_string().contains("2 to 1000 jobs")));
    }
    let short = running.worker.perform_chain(Chain::new(add(1))).await;
    assert!(short.is_err_and(|error| error.to_string().contains("chain of 1 jobs")));
    let large = "x".repeat(DEFAULT_MAX_ARGS / 2);
    let large = Chain::of((0..4).map(|_| Job::new("add", large.clone()))).expect("four jobs");
    let large = running.worker.perform_chain(large).await;
    assert!(large.is_err_and(|error| error.to_string().contains("at most 1 MiB")));
    running.stop().await;
}

/// The jobs after it never exist, and its handle says which one failed.
pub async fn a_failure_in_the_middle_ends_a_chain(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let reported = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = reported.clone();
    let router =
        sums().route("fails", async || Err::<(), _>("no luck").discard()).route("report", move |it: FailedJob| {
            let log = log.clone();
            async move { log.lock().expect("log").push((it.id, it.kind.as_str().to_owned(), it.status, it.error)) }
        });
    let running = Running::start(&store, router);
    let chain = Chain::new(Job::new("add", 1)).then(Job::new("fails", ())).then(Job::new("last", ()));
    let report = Job::new("report", ());
    let on_error = report.id();
    let handle = running.worker.perform_chain(chain.on_error(report)).await.expect("accepted");
    let (failed, never) = (handle.steps()[1], handle.steps()[2]);
    let ended = in_time(handle.outcome()).await.expect("ended");
    assert_eq!((ended.failed_step(), ended.outcome().status()), (Some(2), Status::BAD_REQUEST));
    in_time(running.worker.output::<()>(on_error)).await.expect("reported");
    assert!(store.get(never).await.expect("get").is_none());
    let expected = (failed, "fails".to_owned(), Status::BAD_REQUEST, "no luck".to_owned());
    assert_eq!(*reported.lock().expect("log"), [expected]);
    running.stop().await;
}

/// Each attempt of the one before that does not count makes none, however many there are.
pub async fn the_next_job_exists_exactly_if_the_one_before_is_completed(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let (looks, seen) = (store.clone(), Arc::new(AtomicU32::new(0)));
    let count = seen.clone();
    let first = move |Attempt(n): Attempt| {
        let (looks, count) = (looks.clone(), count.clone());
        async move {
            count.fetch_add(u32::try_from(total(&*looks, "second").await).expect("few"), Ordering::SeqCst);
            if n < 3 { Err("not yet").retryable() } else { Ok(Json(n)) }
        }
    };
    let second = |PreviousOutput(n): PreviousOutput<u32>| async move { Json(n) };
    let producer =
        QueueWorker::new(store.clone(), Router::new().route("first", async || {}).route("second", async || {}));
    let chain = Chain::new(Job::new("first", ())).then(Job::new("second", ()));
    let handle = producer.perform_chain(chain).await.expect("accepted");
    drain(&store, Router::new().route("first", first).route("second", second)).await;
    assert_eq!((seen.load(Ordering::SeqCst), total(&*store, "second").await), (0, 1));
    let ended = in_time(handle.outcome()).await.expect("ended");
    assert_eq!(ended.outcome().output::<u32>().expect("a number"), Some(3));
}

/// Nothing waits for what can only come after it.
pub async fn many_chains_run_on_two_slots(make: &impl MakeStore) {
    const CHAINS: u32 = 300;
    let (store, _) = super::store(make).await;
    let worker = QueueWorker::builder(store.clone(), sums()).concurrency(2).build().expect("valid settings");
    let run = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let mut handles = Vec::new();
    for n in 0..CHAINS {
        let chain = Chain::of((0..3).map(|_| Job::new("add", n))).expect("three jobs");
        handles.push(worker.perform_chain(chain).await.expect("accepted"));
    }
    for (n, handle) in (0..CHAINS).zip(handles) {
        let ended = in_time(handle.outcome()).await.expect("ended");
        assert_eq!(ended.outcome().output::<u32>().expect("a number"), Some(3 * n));
    }
    assert_eq!(total(&*store, "add").await, u64::from(3 * CHAINS));
    worker.stop().await;
    run.await.expect("ran").expect("valid settings");
}

/// Whether it was discarded or used up its attempts; one that is cancelled or completed makes none.
pub async fn a_dead_letter_makes_its_on_error_job_once(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let failing = || async || Err::<(), _>("no luck").retryable();
    let ends =
        || Router::new().route("test", failing()).route("well", async || {}).route("report", async |_: FailedJob| {});
    let report = || Job::new("report", ());
    let used_up = Job::new("test", 1).max_attempts(2).on_error(report());
    let jobs = [used_up, Job::new("nobody", ()).on_error(report()), Job::new("well", ()).on_error(report())];
    let ids = insert(&*store, jobs).await;
    let cancelled = insert(&*store, [Job::new("test", 2).on_error(report())]).await;
    store.cancel(cancelled).await.expect("cancel");
    drain(&store, ends()).await;
    let done = JobFilter::all().kind("report").state(JobState::Completed);
    assert_eq!((total(&*store, "report").await, store.counts(done).await.expect("counts").total()), (2, 2));
    assert!(store.retry(ids[0]).await.expect("retry"));
    drain(&store, ends()).await;
    assert_eq!(get(&*store, ids[0]).await.state, JobState::Discarded);
    assert_eq!(total(&*store, "report").await, 2, "a second end of the same job");
    let bad = Job::new("test", ()).on_error(Job::new("", ())).validate().expect_err("no kind").to_string();
    assert!(bad.contains("on-error job"), "{bad}");
}

/// Also if the store itself gives the job up: its worker crashed too often, or it expired.
pub async fn a_job_that_the_store_gives_up_makes_its_on_error_job(make: &impl MakeStore) {
    let (store, clock) = super::store(make).await;
    let report = |n: u32| Job::new("report", n).queue("reports");
    let crashing = job(1).on_error(report(1));
    let late = job(2).scheduled_at(start() + seconds(500)).expires_at(start() + seconds(501)).on_error(report(2));
    let ids = insert(&*store, [crashing, late]).await;
    for crash in 1..=3 {
        assert_eq!(total(&*store, "report").await, 0, "before crash {crash}");
        lease_one(&*store).await;
        clock.advance(seconds(31));
        store.rescue(10, 3).await.expect("rescue");
    }
    assert_eq!((get(&*store, ids[0]).await.state, total(&*store, "report").await), (JobState::Discarded, 1));
    clock.advance(seconds(1_000));
    assert!(lease(&*store, 10).await.is_empty());
    let of_reports = Want { queues: vec![Queue::from("reports")], ..want(10) };
    let reports = store.lease(of_reports).await.expect("lease").jobs;
    assert_eq!(numbers(&reports), [1, 2]);
    for (report, id) in reports.iter().zip(ids) {
        let json = report.job.parts.headers.values().any(|value| value.contains(&id.to_string()));
        assert!(json, "it names its job: {report:?}");
    }
}
