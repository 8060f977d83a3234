//! Panics in places other than the handler's own code.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Poll_, Poll};
use std::time::Duration;

use support::{Calls, Log, Traced, probe};
use tower_service::Service;
use tracing::level_filters::LevelFilter;
use work_adapters::{CatchPanicLayer, TimeoutLayer, TraceLayer};
use work_core::{BoxError, Job, LocalWorker, Outcome, Router, Status, Worker};

/// Panics when it is dropped.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// Panics before there is a future.
const EXPLODES: Calls = Calls(|| panic!("in call"));

async fn perform(worker: &LocalWorker) -> Outcome {
    worker.perform(Job::new("handler", ())).await.unwrap().outcome().await.unwrap()
}

fn text(outcome: &Outcome) -> &str {
    &outcome.error().unwrap().message
}

#[tokio::test]
async fn a_panic_in_the_call_is_500_on_both_sides() {
    let log = Log::default();
    let router = Router::new().try_route_service("handler", EXPLODES).unwrap();
    let router = router.layer(TraceLayer::new()).layer(probe("inside", &log)).layer(CatchPanicLayer::new());
    let outcome = perform(&LocalWorker::new(router.layer(probe("outside", &log)))).await;
    assert_eq!((outcome.status(), text(&outcome)), (Status::INTERNAL_ERROR, "in call"));
    assert!(outcome.error().unwrap().backtrace.is_some());
    assert_eq!(*log.lock().unwrap(), [("inside".to_owned(), 500), ("outside".to_owned(), 500)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_handler_that_is_timed_out_is_caught_and_the_job_stays_408() {
    let handler = async || {
        let _bomb = Bomb("dropped");
        pending::<()>().await;
    };
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::ERROR));
    let timeout = TimeoutLayer::new().default_timeout(Duration::from_secs(1));
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(CatchPanicLayer::new()).layer(timeout));
    assert_eq!(perform(&worker).await.status(), Status::TIMEOUT);
    assert_eq!(traced.said("a handler panicked")[0]["panic"], "dropped");
}

/// Its future ends well and panics when it is dropped after that.
#[derive(Clone)]
struct Leaves(Option<&'static str>);

struct LeavesFuture(Option<&'static str>, #[expect(dead_code, reason = "it is dropped")] Bomb);

impl std::future::Future for LeavesFuture {
    type Output = Result<Outcome, BoxError>;

    fn poll(self: std::pin::Pin<&mut Self>, _: &mut Poll_<'_>) -> Poll<Self::Output> {
        if let Some(text) = self.0 {
            panic!("{text}");
        }
        Poll::Ready(Ok(Outcome::done()))
    }
}

impl Service<Job> for Leaves {
    type Response = Outcome;
    type Error = BoxError;
    type Future = LeavesFuture;

    fn poll_ready(&mut self, _: &mut Poll_<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Job) -> Self::Future {
        LeavesFuture(self.0, Bomb("in drop"))
    }
}

#[tokio::test]
async fn a_panic_in_the_drop_of_a_future_that_has_ended_is_500_also_inside() {
    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::DEBUG));
    let router = Router::new().try_route_service("handler", Leaves(None)).unwrap();
    let worker = LocalWorker::new(router.layer(TraceLayer::new()).layer(CatchPanicLayer::new()));
    let outcome = perform(&worker).await;
    assert_eq!((outcome.status(), text(&outcome)), (Status::INTERNAL_ERROR, "in drop"));
    assert_eq!(traced.spans()[0]["job.status"], "500");
}

#[tokio::test]
async fn of_two_panics_the_first_is_told() {
    let router = Router::new().try_route_service("handler", Leaves(Some("in poll"))).unwrap();
    let outcome = perform(&LocalWorker::new(router.layer(CatchPanicLayer::new()))).await;
    assert_eq!(text(&outcome), "in poll");
    assert!(outcome.error().unwrap().backtrace.as_ref().unwrap().contains("LeavesFuture"));
}

#[tokio::test]
async fn what_was_thrown_may_panic_when_it_is_dropped() {
    async fn handler() {
        std::panic::panic_any(Bomb("in drop of the payload"));
    }
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(CatchPanicLayer::new()));
    assert!(text(&perform(&worker).await).contains("no text"));
    assert_eq!(worker.len(), 0);
}

#[tokio::test]
async fn a_worker_that_goes_away_ends_its_jobs_once() {
    let log = Log::default();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let counts = dropped.clone();
    let handler = move || {
        let counts = Counts(counts.clone());
        async move {
            let _counts = counts;
            pending::<()>().await;
        }
    };
    let mut router = Router::new().route("handler", handler).layer(TraceLayer::new()).layer(CatchPanicLayer::new());
    router = router.layer(TimeoutLayer::new()).layer(probe("outside", &log));
    let mut future = Box::pin(router.call(Job::new("handler", ())));
    tokio::select! {
        biased;
        _ = &mut future => unreachable!("it never ends"),
        () = tokio::task::yield_now() => {}
    }
    drop(future);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(*log.lock().unwrap(), [("outside".to_owned(), 499)]);
}
