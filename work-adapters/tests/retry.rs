//! Tries in place: how many, when, of what, and that it is one attempt.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Log, probe};
use tokio::time::{Instant, sleep};
use tower_service::Service;
use work_adapters::{CatchPanicLayer, RetryLayer, TimeoutLayer, TraceLayer};
use work_core::store::{Inspect, MemoryStore};
use work_core::{
    Args, Attempt, Backoff, BoxError, Classify, Context, Job, LocalWorker, Outcome, QueueWorker, RetryPolicy, Router,
    State, Status, Worker,
};

/// When a try began, and what it found in the context: the status, and the attempt.
type Try = (Instant, Option<Status>, u32);

#[derive(Clone, Default)]
struct Tries(Arc<Mutex<Vec<Try>>>);

impl Tries {
    fn note(&self, context: &Context) -> usize {
        let mut tries = self.0.lock().unwrap();
        tries.push((Instant::now(), context.status(), context.attempt()));
        tries.len()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn waits(&self) -> Vec<u128> {
        self.0.lock().unwrap().windows(2).map(|pair| (pair[1].0 - pair[0].0).as_millis()).collect()
    }
}

/// Ends as it is told, try by try; the last again and again.
async fn handler(
    Args(ends): Args<Vec<String>>,
    context: Context,
    State(tries): State<Tries>,
) -> Result<Outcome, BoxError> {
    let n = tries.note(&context);
    match ends[(n - 1).min(ends.len() - 1)].as_str() {
        "error" => Err("it failed".into()),
        "later" => Err(BoxError::from("busy").retry_later()),
        "discard" => Ok(Outcome::discard("no use")),
        "unit" => Ok(Outcome::done()),
        "panic" => panic!("at try {n}"),
        "endless" => std::future::pending().await,
        "cancel" => {
            context.cancel();
            Ok(Outcome::new(Status::INTERNAL_ERROR))
        }
        code => Ok(Outcome::new(Status::new(code.parse()?)?)),
    }
}

trait RetryLater {
    fn retry_later(self) -> BoxError;
}

impl RetryLater for BoxError {
    fn retry_later(self) -> BoxError {
        Err::<(), _>(self).retry_after(Duration::from_secs(2)).unwrap_err().into()
    }
}

fn job(ends: &[&str]) -> Job {
    Job::new("handler", ends.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn layer(tries: u32) -> RetryLayer {
    RetryLayer::new(tries).unwrap().backoff(Backoff::constant(Duration::from_millis(10)))
}

fn router(tries: &Tries) -> Router {
    let routes = Router::new().route("handler", handler).layer(CatchPanicLayer::new());
    routes.layer(layer(3)).with_state(tries.clone())
}

#[tokio::test(start_paused = true)]
async fn what_is_tried_again_how_often_and_how_it_ends() {
    let rows: [(&[&str], usize, u16); 16] = [
        (&["200"], 1, 200),
        (&["444"], 1, 444),
        (&["500", "200"], 2, 200),
        (&["500", "503", "200"], 3, 200),
        (&["500"], 3, 500),
        (&["500", "500", "503"], 3, 503),
        (&["408", "200"], 2, 200),
        (&["502", "599", "200"], 3, 200),
        (&["400"], 1, 400),
        (&["500", "409"], 2, 409),
        (&["429"], 1, 429),
        (&["error", "200"], 2, 200),
        (&["panic", "200"], 2, 200),
        (&["later"], 1, 503),
        (&["500", "discard"], 2, 400),
        (&["500", "unit"], 2, 200),
    ];
    for (ends, tried, status) in rows {
        let tries = Tries::default();
        let worker = LocalWorker::new(router(&tries));
        let outcome = worker.perform(job(ends)).await.unwrap().outcome().await.unwrap();
        assert_eq!((tries.len(), outcome.status().code()), (tried, status), "{ends:?}");
        let fresh = tries.0.lock().unwrap().iter().all(|(_, status, attempt)| status.is_none() && *attempt == 1);
        assert!(fresh, "{ends:?}: each try finds no status, and all are one attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn the_waits_follow_the_backoff_and_are_at_most_a_second() {
    let rows: [(RetryLayer, &[u128]); 3] = [
        (RetryLayer::new(4).unwrap().backoff(Backoff::constant(Duration::ZERO)), &[0, 0, 0]),
        (
            RetryLayer::new(4).unwrap().backoff(Backoff::exponential(Duration::from_millis(50), 2.0).jitter(0.0)),
            &[50, 100, 200],
        ),
        (RetryLayer::new(3).unwrap().backoff(Backoff::constant(Duration::from_secs(3_600))), &[1_000, 1_000]),
    ];
    for (layer, waits) in rows {
        let tries = Tries::default();
        let routes = Router::new().route("handler", handler).layer(layer).with_state(tries.clone());
        LocalWorker::new(routes).perform(job(&["500"])).await.unwrap().outcome().await.unwrap();
        // A timer ends at the next millisecond.
        let near = tries.waits().iter().zip(waits).all(|(is, should)| (*should..=should + 2).contains(is));
        assert!(near && tries.waits().len() == waits.len(), "{:?} for {waits:?}", tries.waits());
    }
}

#[tokio::test(start_paused = true)]
async fn layers_outside_see_the_job_once_and_layers_inside_each_try() {
    let (log, tries) = (Log::default(), Tries::default());
    let routes = Router::new().route("handler", handler).layer(probe("inside", &log)).layer(layer(3));
    let routes = routes.layer(probe("outside", &log)).layer(TraceLayer::new()).with_state(tries);
    LocalWorker::new(routes).perform(job(&["500", "503", "200"])).await.unwrap().outcome().await.unwrap();
    let seen: Vec<_> = log.lock().unwrap().clone();
    let seen: Vec<_> = seen.iter().map(|(name, status)| (name.as_str(), *status)).collect();
    assert_eq!(seen, [("inside", 500), ("inside", 503), ("inside", 200), ("outside", 200)]);
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_there_is_no_further_try() {
    // Between the tries, from outside.
    let tries = Tries::default();
    let slow = RetryLayer::new(3).unwrap().backoff(Backoff::constant(Duration::from_millis(500)));
    let routes = Router::new().route("handler", handler).layer(slow).with_state(tries.clone());
    let worker = LocalWorker::new(routes.clone());
    let handle = worker.perform(job(&["500"])).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    assert!(worker.cancel(handle.id()).await.unwrap());
    assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(tries.len(), 1);
    // By the handler itself, with a worker and without.
    let handle = worker.perform(job(&["200", "cancel"])).await.unwrap();
    assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    let outcome = routes.clone().call(job(&["200", "200", "cancel"])).await.unwrap();
    assert_eq!((outcome.status(), tries.len()), (Status::CANCELLED, 3));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_is_for_each_try_and_one_outside_for_all() {
    let timeout = || TimeoutLayer::new().default_timeout(Duration::from_millis(100));
    let routes = || Router::new().route("handler", handler);
    let run = async |routes: Router<Tries>, ends: &[&str]| {
        let tries = Tries::default();
        let worker = LocalWorker::new(routes.with_state(tries.clone()));
        let outcome = worker.perform(job(ends)).await.unwrap().outcome().await.unwrap();
        (outcome.status().code(), tries.len())
    };
    let inside = || routes().layer(timeout()).layer(layer(3));
    assert_eq!(run(inside(), &["endless", "endless", "200"]).await, (200, 3));
    assert_eq!(run(inside(), &["endless"]).await, (408, 3));
    assert_eq!(run(routes().layer(layer(3)).layer(timeout()), &["endless", "200"]).await, (408, 1));
    // The next try would begin after the deadline: better the failure now than a 408 then.
    let slow = RetryLayer::new(3).unwrap().backoff(Backoff::constant(Duration::from_millis(200)));
    assert_eq!(run(routes().layer(slow).layer(timeout()), &["500", "200"]).await, (500, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_nobody_catches_inside_ends_the_attempt() {
    let tries = Tries::default();
    let routes = Router::new().route("handler", handler).layer(layer(3)).with_state(tries.clone());
    let outcome = LocalWorker::new(routes).perform(job(&["panic", "200"])).await.unwrap().outcome().await.unwrap();
    assert_eq!((outcome.status(), tries.len()), (Status::INTERNAL_ERROR, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_store_the_tries_are_one_attempt_and_the_worker_takes_over() {
    async fn flaky(Attempt(attempt): Attempt, context: Context, State(tries): State<Tries>) -> Status {
        tries.note(&context);
        if attempt == 1 { Status::UNAVAILABLE } else { Status::SUCCESS }
    }
    let (store, tries) = (MemoryStore::new(), Tries::default());
    let routes = Router::new().route("flaky", flaky).layer(layer(3)).with_state(tries.clone());
    let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_millis(20)));
    let worker = QueueWorker::builder(store.clone(), routes).retry(retry).build().unwrap();
    let handle = worker.perform(Job::new("flaky", ())).await.unwrap();
    let running = tokio::spawn(worker.clone().run_until(async { sleep(Duration::from_secs(60)).await }));
    let id = handle.id();
    assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    running.abort();
    let attempts: Vec<u32> = tries.0.lock().unwrap().iter().map(|(.., attempt)| *attempt).collect();
    assert_eq!(attempts, [1, 1, 1, 2]);
    assert_eq!(store.get(id).await.unwrap().unwrap().attempts.len(), 1, "one failed attempt is on record");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_jobs_at_once_have_their_own_tries() {
    async fn third(Args(mine): Args<Vec<u32>>, context: Context) -> Status {
        let tried = context.get::<u32>("tried").unwrap_or_default() + 1;
        context.set("tried", tried);
        tokio::task::yield_now().await;
        if mine.len() == 3 && tried == 3 { Status::SUCCESS } else { Status::INTERNAL_ERROR }
    }
    let routes = Router::new().route("third", third).layer(layer(3));
    let worker = LocalWorker::new(routes);
    let mut handles = Vec::new();
    for n in 0..64 {
        handles.push(worker.perform(Job::new("third", vec![n, n, n])).await.unwrap());
    }
    for handle in handles {
        assert_eq!(handle.outcome().await.unwrap().status(), Status::SUCCESS);
    }
}

#[test]
fn a_number_of_tries_that_is_none_or_too_many_is_refused() {
    for tries in [0, 1, 101] {
        let error = RetryLayer::new(tries).unwrap_err().to_string();
        assert_eq!(error, format!("tries {tries} is out of range; use 2 to 100"));
    }
}
