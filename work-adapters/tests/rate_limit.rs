//! The rate limit layer: how many start when, and what a job without permit costs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;
use tower_service::Service;
use work_adapters::{RateLimitLayer, RetryLayer, TimeoutLayer};
use work_core::limit::{FixedWindow, Gcra, Limit, Limiter, SlidingWindow};
use work_core::store::{Inspect, MemoryStore};
use work_core::{
    BoxError, Classified, Classify, Context, Directive, Job, LocalWorker, Outcome, QueueWorker, Router, State, Status,
    Worker,
};

const SECOND: Duration = Duration::from_secs(1);

/// When the handler was called, and how long each was throttled if times are taken.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Instant>>>, Arc<Mutex<Vec<Duration>>>);

impl Calls {
    fn note(&self) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn since(&self, start: Instant) -> Vec<Duration> {
        self.0.lock().unwrap().iter().map(|at| *at - start).collect()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

async fn note(State(calls): State<Calls>, context: Context) {
    calls.note();
    calls.1.lock().unwrap().extend(context.timings().map(|times| times.throttled));
}

fn router(layer: RateLimitLayer, calls: &Calls) -> Router {
    Router::new().route("note", note).layer(layer).with_state(calls.clone())
}

/// When each of so many jobs, given at once, got to the handler.
async fn starts(limit: impl Limit + 'static, jobs: usize) -> Vec<Duration> {
    let calls = Calls::default();
    let worker = LocalWorker::builder(router(RateLimitLayer::new(limit), &calls)).timings().build().unwrap();
    let start = Instant::now();
    for _ in 0..jobs {
        worker.perform(Job::new("note", ())).await.unwrap();
    }
    worker.stop().await;
    let starts = calls.since(start);
    assert_eq!(*calls.1.lock().unwrap(), starts, "what was waited is noted as throttled");
    starts
}

fn within(times: &[Duration], from: Duration, to: Duration) -> usize {
    times.iter().filter(|at| (from..to).contains(*at)).count()
}

#[tokio::test(start_paused = true)]
async fn five_a_second_for_twelve_jobs_is_5_5_2_and_7_wait() {
    let times = starts(FixedWindow::new(5, SECOND).unwrap(), 12).await;
    let windows = [0, 1, 2].map(|n| within(&times, SECOND * n, SECOND * (n + 1)));
    assert_eq!(windows, [5, 5, 2], "{times:?}");
    assert_eq!(within(&times, Duration::from_millis(1), SECOND * 60), 7, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sliding_limit_is_kept_in_every_second() {
    let times = starts(SlidingWindow::new(5, SECOND).unwrap(), 200).await;
    assert_eq!(times.len(), 200);
    assert!(times.iter().all(|first| within(&times, *first, *first + SECOND) <= 5), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_second_at_rate_100_has_no_double_burst() {
    let times = starts(Gcra::new(100, SECOND).unwrap(), 500).await;
    let first = within(&times, Duration::ZERO, SECOND);
    assert!((100..=110).contains(&first), "{first}");
    assert!(times.iter().all(|from| within(&times, *from, *from + SECOND) <= 110));
}

#[tokio::test(start_paused = true)]
async fn three_jobs_at_one_a_second_take_two_seconds() {
    let times = starts(Gcra::new(1, SECOND).unwrap(), 3).await;
    let last = times[2];
    assert!((Duration::from_millis(2_000)..=Duration::from_millis(2_200)).contains(&last), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cancelled_while_it_waits_never_runs_and_takes_no_permit() {
    let calls = Calls::default();
    let worker = LocalWorker::new(router(RateLimitLayer::new(FixedWindow::new(1, SECOND).unwrap()), &calls));
    let start = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..5 {
        handles.push(worker.perform(Job::new("note", ())).await.unwrap());
    }
    sleep(Duration::from_millis(500)).await;
    // The second is the first in the queue, with the timer.
    for handle in &handles[1..4] {
        assert!(worker.cancel(handle.id()).await.unwrap());
    }
    let mut statuses = Vec::new();
    for handle in handles {
        statuses.push(handle.outcome().await.unwrap().status().code());
    }
    assert_eq!(statuses, [200, 499, 499, 499, 200]);
    assert_eq!(calls.since(start), [Duration::ZERO, SECOND], "the fifth has the permit of the second");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_counts_the_wait_and_one_inside_does_not() {
    let run = async |outside: bool| {
        let calls = Calls::default();
        let limit = RateLimitLayer::new(FixedWindow::new(1, SECOND * 10).unwrap());
        let timeout = TimeoutLayer::new().default_timeout(SECOND);
        let routes = Router::new().route("note", note);
        let routes = if outside { routes.layer(limit).layer(timeout) } else { routes.layer(timeout).layer(limit) };
        let worker = LocalWorker::new(routes.with_state(calls.clone()));
        worker.perform(Job::new("note", ())).await.unwrap();
        let second = worker.perform(Job::new("note", ())).await.unwrap().outcome().await.unwrap();
        (second.status(), calls.len())
    };
    assert_eq!(run(true).await, (Status::TIMEOUT, 1));
    assert_eq!(run(false).await, (Status::SUCCESS, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refused_job_does_not_run_and_is_told_when_to_come_back() {
    let calls = Calls::default();
    let mut router = router(RateLimitLayer::new(FixedWindow::new(2, SECOND * 3).unwrap()).refuse(), &calls);
    for _ in 0..2 {
        assert_eq!(router.call(Job::new("note", ())).await.unwrap().status(), Status::SUCCESS);
    }
    sleep(SECOND).await;
    for _ in 0..10 {
        let job = Job::new("note", ());
        let context = job.context().clone();
        let outcome = router.call(job).await.unwrap();
        assert_eq!(outcome.directive(), Some(Directive::Snooze(SECOND * 2)));
        assert_eq!((outcome.status(), context.status()), (Status::TOO_MANY, Some(Status::TOO_MANY)));
    }
    assert_eq!(calls.len(), 2, "refusal means no run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_store_a_refusal_spends_no_attempt_and_every_job_runs_once() {
    let calls = Calls::default();
    let store = MemoryStore::new();
    let layer = RateLimitLayer::new(FixedWindow::new(2, Duration::from_millis(200)).unwrap()).refuse();
    let worker = QueueWorker::new(store.clone(), router(layer, &calls));
    let start = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(worker.perform(Job::new("note", ()).max_attempts(1)).await.unwrap());
    }
    let running = tokio::spawn(worker.clone().run_until(async { sleep(SECOND * 60).await }));
    for handle in handles {
        let id = handle.id();
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
        assert_eq!(store.get(id).await.unwrap().unwrap().attempt, 1);
    }
    running.abort();
    assert_eq!(calls.len(), 6);
    assert!(start.elapsed() >= Duration::from_millis(400), "three windows of two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_store_jobs_wait_for_their_permit() {
    let calls = Calls::default();
    let layer = RateLimitLayer::new(SlidingWindow::new(2, Duration::from_millis(100)).unwrap());
    let worker = QueueWorker::new(MemoryStore::new(), router(layer, &calls));
    let start = Instant::now();
    let mut handles = Vec::new();
    for _ in 0..6 {
        handles.push(worker.perform(Job::new("note", ())).await.unwrap());
    }
    let running = tokio::spawn(worker.clone().run_until(async { sleep(SECOND * 60).await }));
    for handle in handles {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    }
    running.abort();
    assert_eq!(calls.len(), 6);
    assert!(start.elapsed() >= Duration::from_millis(200));
}

async fn busy(State(calls): State<Calls>) -> Result<(), Classified> {
    calls.note();
    if calls.len() == 1 {
        return Err(BoxError::from("busy")).retry_after(SECOND * 2);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_retry_after_2_s_there_is_no_call_for_2_s() {
    let calls = Calls::default();
    let layers = ServiceBuilder::new()
        .layer(RetryLayer::new(10).unwrap())
        .layer(RateLimitLayer::new(Gcra::new(1_000, SECOND).unwrap()));
    let worker = LocalWorker::new(Router::new().route("busy", busy).layer(layers).with_state(calls.clone()));
    let handle = worker.perform(Job::new("busy", ()).max_attempts(1)).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    let first = calls.0.lock().unwrap()[0];
    let times = calls.since(first);
    assert_eq!(times.len(), 2);
    assert!((SECOND * 2..SECOND * 3).contains(&times[1]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_limit_and_none_passes() {
    let calls = Calls::default();
    let layer = RateLimitLayer::new(FixedWindow::new(1, SECOND).unwrap());
    let layer = layer.by(|job| job.parts().headers.get("tenant").cloned());
    let worker = LocalWorker::new(router(layer.clone(), &calls));
    let start = Instant::now();
    for tenant in ["a", "b", "a", "b", "c"] {
        worker.perform(Job::new("note", ()).header("tenant", tenant)).await.unwrap();
    }
    for _ in 0..10 {
        worker.perform(Job::new("note", ())).await.unwrap();
    }
    worker.stop().await;
    let times = calls.since(start);
    assert_eq!((within(&times, Duration::ZERO, SECOND), within(&times, SECOND, SECOND * 2)), (13, 2), "{times:?}");
    assert_eq!(layer.keys(), 2);
    sleep(SECOND).await;
    assert_eq!(layer.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn routes_and_clones_of_a_layer_share_its_limit_and_layers_may_share_a_limiter() {
    let calls = Calls::default();
    let limiter = Limiter::new(FixedWindow::new(3, SECOND).unwrap());
    let one = Router::new().route("note", note).route("note.too", note).layer(RateLimitLayer::new(limiter.clone()));
    let other = Router::new().route("note.three", note).layer(RateLimitLayer::new(limiter));
    let worker = LocalWorker::new(one.merge(other).unwrap().with_state(calls.clone()));
    let start = Instant::now();
    for n in 0..9 {
        let kind = ["note", "note.too", "note.three"][n % 3];
        worker.perform(Job::new(kind, ())).await.unwrap();
    }
    worker.stop().await;
    let times = calls.since(start);
    assert_eq!([0, 1, 2].map(|n| within(&times, SECOND * n, SECOND * (n + 1))), [3, 3, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_tasks_by_key_get_exactly_the_count_and_leave_no_key() {
    let calls = Calls::default();
    let layer = RateLimitLayer::new(FixedWindow::new(10, Duration::from_millis(1_500)).unwrap());
    let layer = layer.refuse().by(|job| job.parts().headers.get("tenant").cloned());
    let router = router(layer.clone(), &calls);
    let refused = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (mut router, refused) = (router.clone(), refused.clone());
            tokio::spawn(async move {
                for key in 0..100 {
                    let outcome = router.call(Job::new("note", ()).header("tenant", key.to_string())).await.unwrap();
                    refused.fetch_add(usize::from(outcome.status() == Status::TOO_MANY), Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // On a machine so slow that a window ended meanwhile there is nothing to count.
    if start.elapsed() < Duration::from_millis(1_500) {
        assert_eq!((calls.len(), refused.load(Ordering::SeqCst)), (1_000, 5_400));
    }
    sleep(Duration::from_millis(1_600)).await;
    assert_eq!(layer.keys(), 0);
}

#[tokio::test]
async fn a_panic_in_the_handler_gives_nothing_back_and_breaks_nothing() {
    async fn panics(context: Context) -> Outcome {
        panic!("attempt {}", context.attempt())
    }
    let layer = RateLimitLayer::new(FixedWindow::new(2, SECOND * 60).unwrap()).refuse();
    let worker = LocalWorker::new(Router::new().route("panics", panics).layer(layer));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let handle = worker.perform(Job::new("panics", ())).await.unwrap();
        statuses.push(handle.outcome().await.unwrap().status().code());
    }
    assert_eq!(statuses, [500, 500, 429]);
}
