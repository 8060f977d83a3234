//! The worker in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use work_core::{
    Args, Attempt, Backoff, Classify, Context, Extension, FromRef, Job, JobId, Json, LocalWorker, Outcome, Overlap,
    PerformError, RetryPolicy, Router, Schedule, State, Status, Worker,
};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A handler that counts its runs.
fn counting(runs: &Arc<AtomicUsize>) -> impl Fn() -> std::future::Ready<()> + Clone + Send + Sync + 'static {
    let runs = runs.clone();
    move || {
        runs.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    }
}

#[tokio::test]
async fn a_dropped_handle_lets_the_job_go_on_and_an_awaited_one_shows_its_outcome() {
    let runs = Arc::new(AtomicUsize::new(0));
    let worker = LocalWorker::new(Router::new().route("count", counting(&runs)));
    drop(worker.perform(Job::new("count", ())).await.unwrap());
    let outcome = worker.perform(Job::new("count", ())).await.unwrap().outcome().await.unwrap();
    assert_eq!(outcome.status(), Status::SUCCESS);
    worker.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn every_verb_refuses_an_unknown_kind_a_bad_job_and_a_stopped_worker() {
    let runs = Arc::new(AtomicUsize::new(0));
    let worker = LocalWorker::new(Router::new().route("count", counting(&runs)));
    let every = Schedule::every(millis(10)).unwrap();
    let items = || futures_util::stream::iter([1]);
    for (kind, part) in [("nobody", "no handler of kind \"nobody\"; the router has: count"), ("no name", "U+0020")] {
        let job = || Job::new(kind, ());
        let at = chrono::DateTime::UNIX_EPOCH;
        let errors = [
            worker.perform(job()).await.err(),
            worker.perform_at(job(), at).await.err(),
            worker.perform_in(job(), millis(5)).await.err(),
            worker.perform_every(job(), every.clone()).await.err(),
            worker.perform_receive(kind, items()).await.err(),
            worker.try_perform(job()).err(),
        ];
        for error in errors {
            assert!(error.unwrap().to_string().contains(part));
        }
    }
    let far = worker.perform_in(Job::new("count", ()), Duration::MAX).await.unwrap_err();
    assert!(far.to_string().contains("at most ten years"), "{far}");
    worker.stop().await;
    assert!(matches!(worker.perform(Job::new("count", ())).await, Err(PerformError::Stopped)));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn so_many_run_at_once_and_no_more() {
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, most) = (now.clone(), peak.clone());
    let handler = move || {
        let (running, most) = (running.clone(), most.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
        }
    };
    let worker = LocalWorker::builder(Router::new().route("slow", handler)).concurrency(4).build().unwrap();
    let start = Instant::now();
    for _ in 0..1_000 {
        drop(worker.perform(Job::new("slow", ())).await.unwrap());
    }
    worker.stop().await;
    assert_eq!(peak.load(Ordering::SeqCst), 4);
    assert!(worker.is_empty());
    assert!(start.elapsed() >= millis(2_500) && start.elapsed() < millis(2_700), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_full_worker_gives_the_job_back_or_waits_for_room() {
    let handler = async || sleep(millis(10)).await;
    let builder = LocalWorker::builder(Router::new().route("slow", handler)).concurrency(1).capacity(2);
    let worker = builder.build().unwrap();
    drop(worker.perform(Job::new("slow", ())).await.unwrap());
    drop(worker.perform(Job::new("slow", ())).await.unwrap());
    let mine = Job::new("slow", ());
    let id = mine.id();
    match worker.try_perform(mine) {
        Err(PerformError::Full { job, capacity: 2 }) => assert_eq!(job.id(), id),
        other => panic!("{other:?}"),
    }
    let start = Instant::now();
    drop(worker.perform(Job::new("slow", ())).await.unwrap());
    assert!(start.elapsed() >= millis(10));
    for (builder, part) in [
        (LocalWorker::builder(Router::new()).concurrency(0), "concurrency 0"),
        (LocalWorker::builder(Router::new()).capacity(0), "capacity 0"),
        (LocalWorker::builder(Router::new()).concurrency(usize::MAX), "use 1 to 1000000"),
    ] {
        assert!(builder.build().unwrap_err().to_string().contains(part));
    }
}

#[tokio::test]
async fn a_handler_may_perform_another_job_and_wait_for_it() {
    async fn outer(
        State(worker): State<Arc<std::sync::OnceLock<LocalWorker>>>,
    ) -> Result<Json<u32>, work_core::BoxError> {
        let worker = worker.get().ok_or("no worker")?;
        let inner = worker.perform(Job::new("inner", 20)).await?.outcome().await?;
        Ok(Json(inner.output::<u32>()?.unwrap_or_default() + 1))
    }
    async fn inner(Args(n): Args<u32>) -> Json<u32> {
        Json(n * 2)
    }
    let own = Arc::new(std::sync::OnceLock::new());
    let router = Router::new().route("outer", outer).route("inner", inner).with_state(own.clone());
    let worker = own.get_or_init(|| LocalWorker::new(router));
    let outcome = worker.perform(Job::new("outer", ())).await.unwrap().outcome().await.unwrap();
    assert_eq!(outcome.output::<u32>().unwrap(), Some(41));
}

#[tokio::test]
async fn eight_arguments_are_taken_each_by_its_type() {
    #[derive(Clone)]
    struct App {
        greeting: &'static str,
        limit: u64,
    }
    impl FromRef<App> for u64 {
        fn from_ref(app: &App) -> Self {
            app.limit
        }
    }
    #[allow(clippy::too_many_arguments)]
    async fn handler(
        id: JobId,
        Attempt(attempt): Attempt,
        State(app): State<App>,
        State(limit): State<u64>,
        Extension(tenant): Extension<&'static str>,
        context: Context,
        parts: work_core::Parts,
        Args(names): Args<Vec<String>>,
    ) -> Result<Json<String>, anyhow::Error> {
        anyhow::ensure!(context.job_id() == Some(id) && parts.id == id, "another id");
        Ok(Json(format!("{} {} {tenant} {limit} {attempt}", app.greeting, names.join(","))))
    }
    let layer = tower_layer::layer_fn(|inner| {
        tower::util::MapRequest::new(inner, |job: Job| {
            job.context().insert("tenant");
            job
        })
    });
    let router = Router::new().route("greet", handler).layer(layer).with_state(App { greeting: "hello", limit: 7 });
    let worker = LocalWorker::new(router);
    let job = Job::new("greet", vec!["Ann".to_owned(), "Bob".to_owned()]);
    let outcome = worker.perform(job).await.unwrap().outcome().await.unwrap();
    assert_eq!(outcome.output::<String>().unwrap().as_deref(), Some("hello Ann,Bob tenant 7 1"), "{outcome:?}");
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_400_and_a_missing_extension_is_500() {
    let router = Router::new()
        .route("number", |Args(_): Args<u32>| async {})
        .route("extension", |Extension(_): Extension<u32>| async {});
    let worker = LocalWorker::new(router);
    let outcome = worker.perform(Job::new("number", "text")).await.unwrap().outcome().await.unwrap();
    assert_eq!(outcome.status(), Status::BAD_REQUEST);
    assert!(outcome.error().unwrap().message.contains("expected u32"), "{outcome:?}");
    let outcome = worker.perform(Job::new("extension", ())).await.unwrap().outcome().await.unwrap();
    assert_eq!(outcome.status(), Status::INTERNAL_ERROR);
    assert!(outcome.error().unwrap().message.contains("no extension of type u32"), "{outcome:?}");
}

#[tokio::test]
async fn a_classified_error_keeps_its_meaning_inside_anyhow() {
    async fn handler(Args(way): Args<String>) -> anyhow::Result<()> {
        use anyhow::Context as _;
        let failed: Result<(), _> = Err(std::io::Error::other("the cause"));
        match way.as_str() {
            "discard" => Ok(failed.discard()?),
            "context" => Ok(failed.status(Status::CONFLICT).context("while it counted")?),
            _ => Ok(failed?),
        }
    }
    let worker = LocalWorker::new(Router::new().route("h", handler));
    for (way, status, text) in [
        ("discard", Status::BAD_REQUEST, "the cause"),
        ("context", Status::CONFLICT, "while it counted: the cause"),
        ("plain", Status::INTERNAL_ERROR, "the cause"),
    ] {
        let outcome = worker.perform(Job::new("h", way.to_owned())).await.unwrap().outcome().await.unwrap();
        assert_eq!(outcome.status(), status, "{way}");
        assert_eq!(outcome.error().unwrap().message, text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_says_max_attempts_is_retried_with_backoff_and_its_context_is_fresh() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let handler = move |Attempt(attempt): Attempt, context: Context, Args(text): Args<String>| {
        let log = log.clone();
        async move {
            log.lock().unwrap().push((attempt, context.get::<u32>("left over"), text));
            context.set("left over", attempt);
            if attempt < 3 { Status::INTERNAL_ERROR } else { Status::SUCCESS }
        }
    };
    let policy = RetryPolicy::default().backoff(Backoff::constant(millis(100)));
    let worker = LocalWorker::builder(Router::new().route("h", handler)).retry(policy).build().unwrap();
    let start = Instant::now();
    let handle = worker.perform(Job::new("h", "args".to_owned()).max_attempts(5)).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    assert!(start.elapsed() >= millis(200) && start.elapsed() < millis(220), "{:?}", start.elapsed());
    let args = || "args".to_owned();
    assert_eq!(*seen.lock().unwrap(), [(1, None, args()), (2, None, args()), (3, None, args())]);
}

#[tokio::test(start_paused = true)]
async fn perform_in_runs_once_when_due_and_a_cancelled_one_never() {
    let runs = Arc::new(AtomicUsize::new(0));
    let worker = LocalWorker::new(Router::new().route("count", counting(&runs)));
    let start = Instant::now();
    let handle = worker.perform_in(Job::new("count", ()), millis(100)).await.unwrap();
    let other = worker.perform_in(Job::new("count", ()), millis(200)).await.unwrap();
    assert!(worker.cancel(other.id()).await.unwrap());
    assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    assert!(start.elapsed() >= millis(100) && start.elapsed() < millis(105));
    assert_eq!(other.outcome().await.unwrap().status(), Status::CANCELLED);
    let past = worker.perform_at(Job::new("count", ()), chrono::DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(past.outcome().await.unwrap().status(), Status::SUCCESS);
    sleep(millis(1_000)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert!(!worker.cancel(JobId::new()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn perform_every_starts_at_once_and_skips_or_overlaps_as_it_is_told() {
    for (overlap, expected) in [(Overlap::Skip, 9..=11), (Overlap::Allow, 36..=37)] {
        let runs = Arc::new(AtomicUsize::new(0));
        let count = runs.clone();
        let handler = move || {
            count.fetch_add(1, Ordering::SeqCst);
            sleep(millis(35))
        };
        let worker = LocalWorker::new(Router::new().route("slow", handler));
        let schedule = Schedule::every(millis(10)).unwrap().overlap(overlap);
        let recurring = worker.perform_every(Job::new("slow", ()), schedule).await.unwrap();
        sleep(millis(365)).await;
        recurring.cancel();
        recurring.ended().await;
        worker.stop().await;
        let runs = runs.load(Ordering::SeqCst);
        assert!(expected.contains(&runs), "{overlap:?}: {runs} runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_due_cancels_the_one_before_if_it_is_told_to() {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let counts = || Arc::new(AtomicUsize::new(0));
    let (runs, most, now, ends) = (counts(), counts(), counts(), counts());
    let (count, peak, running, ended) = (runs.clone(), most.clone(), now.clone(), ends.clone());
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        running.fetch_add(1, Ordering::SeqCst);
        let (guard, peak, ended) = (Running(running.clone()), peak.clone(), ended.clone());
        async move {
            sleep(millis(5)).await;
            peak.fetch_max(guard.0.load(Ordering::SeqCst), Ordering::SeqCst);
            sleep(millis(30)).await;
            ended.fetch_add(1, Ordering::SeqCst);
        }
    };
    let worker = LocalWorker::new(Router::new().route("slow", handler));
    let schedule = Schedule::every(millis(10)).unwrap().overlap(Overlap::Cancel);
    let recurring = worker.perform_every(Job::new("slow", ()), schedule).await.unwrap();
    sleep(millis(105)).await;
    recurring.cancel();
    worker.stop().await;
    assert_eq!((runs.load(Ordering::SeqCst), most.load(Ordering::SeqCst), ends.load(Ordering::SeqCst)), (11, 1, 1));
}

#[tokio::test]
async fn perform_receive_runs_each_item_once_and_ends_with_its_stream() {
    let sum = Arc::new(AtomicUsize::new(0));
    let adding = sum.clone();
    let handler = move |Args(n): Args<usize>| {
        adding.fetch_add(n, Ordering::SeqCst);
        std::future::ready(())
    };
    let worker = LocalWorker::builder(Router::new().route("add", handler)).capacity(10).build().unwrap();
    let received = worker.perform_receive("add", futures_util::stream::iter(1..=1_000_usize)).await.unwrap();
    received.ended().await;
    worker.stop().await;
    assert_eq!(sum.load(Ordering::SeqCst), 500_500);
}

#[tokio::test]
async fn follow_up_jobs_run_if_and_only_if_the_job_completed() {
    let runs = Arc::new(AtomicUsize::new(0));
    let router = Router::new()
        .route("count", counting(&runs))
        .route("good", async || Outcome::done().then(Job::new("count", ())).then(Job::new("count", ())))
        .route("bad", async || Outcome::new(Status::CONFLICT).then(Job::new("count", ())));
    let worker = LocalWorker::new(router);
    for kind in ["good", "bad"] {
        worker.perform(Job::new(kind, ())).await.unwrap().outcome().await.unwrap();
    }
    worker.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[test]
fn a_kind_is_routed_once() {
    let router = Router::<()>::new().route("a", async || {});
    assert!(
        router.clone().try_route("a", async || {}).unwrap_err().to_string().contains("\"a\" has a handler already")
    );
    assert!(router.clone().try_route("", async || {}).unwrap_err().to_string().contains("it is empty"));
    let other = Router::<()>::new().route("b", async || {});
    assert_eq!(router.clone().merge(other).unwrap().kinds().len(), 2);
    assert!(router.clone().merge(router).is_err());
}

#[tokio::test]
async fn a_handle_learns_that_its_worker_is_gone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let worker = LocalWorker::new(Router::new().route("endless", std::future::pending::<()>));
    let performing = worker.clone();
    let handle = runtime.spawn(async move { performing.perform(Job::new("endless", ())).await });
    let handle = handle.await.unwrap().unwrap();
    runtime.shutdown_background();
    drop(worker);
    let gone = tokio::time::timeout(Duration::from_secs(10), handle.outcome()).await.unwrap();
    assert!(gone.unwrap_err().to_string().contains("went away"));
}
