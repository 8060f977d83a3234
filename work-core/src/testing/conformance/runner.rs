//! What a runner makes of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::JobState;
use crate::runner::{Report, Runner};
use crate::store::JobFilter;
use crate::{Args, Attempt, Backoff, InvalidJob, Json, PerformError, QueueWorker, RetryPolicy, Router, Worker};

/// Runs until no job is available or running any more.
async fn drain(store: &Arc<dyn Inspect>, router: Router) -> Report {
    let looking = store.clone();
    let empty = async move {
        while looking.counts(JobFilter::default()).await.expect("counts").open() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let at_once = RetryPolicy::default().backoff(Backoff::constant(Duration::ZERO));
    let runner = Runner::new(store.clone(), router).retry(at_once).clock(Clock::manual(start()));
    let running = runner.run_until(empty);
    tokio::time::timeout(seconds(60), running).await.expect("drained in time").expect("valid settings")
}

/// A thousand jobs, each once, and the report says so.
pub async fn every_job_is_performed_once(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    insert(&*store, (0..1_000).map(job)).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let handler = move |Args(n): Args<u32>| {
        let log = log.clone();
        async move { log.lock().expect("log").push(n) }
    };
    let report = drain(&store, Router::new().route("test", handler)).await;
    assert_eq!((report.performed, report.stale, report.left.len()), (1_000, 0, 0));
    let mut seen = seen.lock().expect("log").clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
}

/// It says what does not fit, and the next job runs.
pub async fn undecodable_args_are_kept_as_a_dead_letter(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let not_json = Job::from_json("test", Bytes::from_static(b"{ not json"));
    let ids = insert(&*store, [Job::new("test", "text"), not_json, job(3)]).await;
    drain(&store, Router::new().route("test", |Args(_): Args<u32>| async {})).await;
    for id in &ids[..2] {
        let dead = get(&*store, *id).await;
        assert_eq!((dead.state, dead.status), (JobState::Discarded, Some(Status::BAD_REQUEST)));
        let error = dead.last_error().expect("a reason");
        assert!(error.message.contains("args are not a u32"), "{error:?}");
    }
    assert_eq!(get(&*store, ids[2]).await.state, JobState::Completed);
}

/// It names the kind.
pub async fn an_unknown_kind_is_kept_as_a_dead_letter(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let id = insert(&*store, [Job::new("nobody", ())]).await[0];
    drain(&store, Router::new().route("test", async || {})).await;
    let dead = get(&*store, id).await;
    assert_eq!((dead.state, dead.status), (JobState::Discarded, Some(Status::NOT_FOUND)));
    assert!(dead.last_error().is_some_and(|error| error.message.contains("nobody")), "{dead:?}");
}

/// The limit is exact, and what is refused is named with the limit.
pub async fn one_mebibyte_of_args_is_accepted_and_one_byte_more_is_refused(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let worker = QueueWorker::new(store.clone(), Router::new().route("test", |Args(_): Args<String>| async {}));
    // Two of the bytes are the quotes.
    let fits = "x".repeat(DEFAULT_MAX_ARGS - 2);
    let refused = worker.perform(Job::new("test", format!("{fits}x"))).await;
    assert!(matches!(refused, Err(PerformError::Invalid(InvalidJob::Args(_)))), "{refused:?}");
    let handle = worker.perform(Job::new("test", fits.clone())).await.expect("accepted");
    let kept = get(&*store, handle.id()).await;
    assert_eq!(kept.job.args, serde_json::to_vec(&fits).expect("json"));
    assert_eq!(store.counts(JobFilter::default()).await.expect("counts").total(), 1);
}

/// Its text is kept.
pub async fn a_panic_is_retried_and_the_next_job_runs(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let ids = insert(&*store, [job(0).max_attempts(3), job(1)]).await;
    let handler = |Args(n): Args<u32>, Attempt(attempt): Attempt| async move {
        assert!(n == 1 || attempt == 3, "attempt {attempt} failed");
    };
    let report = drain(&store, Router::new().route("test", handler)).await;
    assert_eq!(report.performed, 4);
    let retried = get(&*store, ids[0]).await;
    assert_eq!((retried.state, retried.attempt), (JobState::Completed, 3));
    let errors: Vec<_> = retried.attempts.iter().map(|a| (a.status, a.error.message.as_str())).collect();
    let expected = [(Status::INTERNAL_ERROR, "attempt 1 failed"), (Status::INTERNAL_ERROR, "attempt 2 failed")];
    assert_eq!(errors, expected);
}

/// One that runs past the grace, and one that has not started.
pub async fn a_shutdown_gives_an_interrupted_job_back_with_its_attempt(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let ids = insert(&*store, [job(0), job(1)]).await;
    let started = CancellationToken::new();
    let (token, runs) = (started.clone(), Arc::new(AtomicU32::new(0)));
    let count = runs.clone();
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        token.cancel();
        std::future::pending::<()>()
    };
    let runner = Runner::new(store.clone(), Router::new().route("test", handler));
    let runner = runner.concurrency(1).grace(Duration::from_millis(20));
    let report = runner.run_until(started.cancelled_owned()).await.expect("valid settings");
    assert_eq!((runs.load(Ordering::SeqCst), report.performed, report.left.len()), (1, 0, 0));
    for id in ids {
        let back = get(&*store, id).await;
        assert_eq!((back.state, back.attempt), (JobState::Available, 0), "{back:?}");
    }
}

/// With its output.
pub async fn an_outcome_can_be_awaited(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let router = Router::new().route("test", |Args(n): Args<u32>| async move { Json(n + 1) });
    let worker = QueueWorker::new(store, router);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.clone().run_until(stop.clone().cancelled_owned()));
    for n in 0..3 {
        let handle = worker.perform(job(n)).await.expect("accepted");
        let outcome = tokio::time::timeout(seconds(30), handle.outcome()).await.expect("in time").expect("an outcome");
        assert_eq!(outcome.output::<u32>().expect("a number"), Some(n + 1));
    }
    stop.cancel();
    assert_eq!(running.await.expect("ran").expect("valid settings").performed, 3);
}

/// A worker that runs until it is told to stop.
struct Running {
    worker: QueueWorker,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<Result<Report, InvalidJob>>,
}

impl Running {
    fn start(store: &Arc<dyn Inspect>, router: Router) -> Self {
        let worker = QueueWorker::new(store.clone(), router);
        let stop = CancellationToken::new();
        let run = tokio::spawn(worker.clone().run_until(stop.clone().cancelled_owned()));
        Self { worker, stop, run }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.run.await.expect("ran").expect("valid settings");
    }
}

/// Looks until it is so.
async fn becomes(what: impl AsyncFn() -> bool) {
    let so = async {
        while !what().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(seconds(30), so).await.expect("in time");
}

/// Also if somebody else cancels it: long before its lease would be extended.
pub async fn a_running_job_stops_within_a_second_of_its_cancellation(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let started = CancellationToken::new();
    let token = started.clone();
    let handler = move || {
        token.cancel();
        std::future::pending::<()>()
    };
    let running = Running::start(&store, Router::new().route("test", handler));
    let handle = running.worker.perform(job(1)).await.expect("accepted");
    started.cancelled().await;
    store.cancel(vec![handle.id()]).await.expect("cancel");
    // A third of the lease is 10 s; a busy machine may take a few seconds.
    let outcome = tokio::time::timeout(seconds(5), handle.outcome()).await.expect("in time").expect("an outcome");
    assert_eq!(outcome.status(), Status::CANCELLED);
    running.stop().await;
}

/// While it runs.
pub async fn the_progress_of_a_handler_reaches_the_store(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let done = CancellationToken::new();
    let token = done.clone();
    let handler = move |context: crate::Context| {
        let token = token.clone();
        async move {
            context.set_progress(0.5);
            token.cancelled().await;
        }
    };
    let running = Running::start(&store, Router::new().route("test", handler));
    let handle = running.worker.perform(job(1)).await.expect("accepted");
    let id = handle.id();
    becomes(async || get(&*store, id).await.progress == Some(0.5)).await;
    let by = get(&*store, id).await.worker.expect("a worker");
    becomes(async || store.workers().await.expect("workers").iter().any(|worker| worker.id == by)).await;
    done.cancel();
    assert_eq!(handle.outcome().await.expect("an outcome").status(), Status::SUCCESS);
    running.stop().await;
}

/// With what it drains, and where.
pub async fn a_runner_is_known_until_it_stops(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    let running = Running::start(&store, Router::new());
    becomes(async || !store.workers().await.expect("workers").is_empty()).await;
    let worker = store.workers().await.expect("workers").remove(0);
    assert_eq!((worker.pid, worker.queues, worker.slots), (std::process::id(), vec![Queue::DEFAULT], 100));
    assert!(!worker.host.is_empty() && !worker.version.is_empty());
    running.stop().await;
    assert!(store.workers().await.expect("workers").is_empty());
}

/// And performs nothing before.
pub async fn a_runner_goes_on_when_its_queue_is_resumed(make: &impl MakeStore) {
    let (store, _) = super::store(make).await;
    store.pause(Queue::DEFAULT).await.expect("pause");
    let running = Running::start(&store, Router::new().route("test", async || {}));
    let handle = running.worker.perform(job(1)).await.expect("accepted");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(get(&*store, handle.id()).await.state, JobState::Available);
    store.resume(Queue::DEFAULT).await.expect("resume");
    let outcome = tokio::time::timeout(seconds(5), handle.outcome()).await.expect("in time").expect("an outcome");
    assert_eq!(outcome.status(), Status::SUCCESS);
    running.stop().await;
}
