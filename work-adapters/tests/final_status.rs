//! Every layer sees the final status, wherever it stands and whatever ended the attempt.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::Duration;

use support::{Log, probe};
use tower::ServiceBuilder;
use work_adapters::{CatchPanicLayer, MetricsLayer, TimeoutLayer, TraceLayer};
use work_core::{Args, BoxError, Context, Job, LocalWorker, Outcome, Router, Status, Worker};

/// The ways an attempt can end.
async fn handler(Args(way): Args<String>) -> Result<Status, BoxError> {
    match way.as_str() {
        "String" => std::panic::panic_any(String::from("a String")),
        "&str" => std::panic::panic_any("a &str"),
        "error" => std::panic::panic_any(Box::<dyn std::error::Error + Send + Sync>::from("an error")),
        "unit" => std::panic::panic_any(()),
        "conflict" => Ok(Status::CONFLICT),
        "failure" => Err("it failed".into()),
        "endless" => std::future::pending().await,
        _ => Ok(Status::SUCCESS),
    }
}

const ENDS: [(&str, u16); 7] = [
    ("String", 500),
    ("&str", 500),
    ("error", 500),
    ("unit", 500),
    ("conflict", 409),
    ("failure", 500),
    ("endless", 408),
];

async fn perform(worker: &LocalWorker, way: &str) -> Outcome {
    let job = Job::new("handler", way.to_owned()).timeout(Duration::from_millis(10));
    worker.perform(job).await.unwrap().outcome().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_layers_around_the_four_see_it() {
    let log = Log::default();
    let layers = ServiceBuilder::new()
        .layer(probe("outermost", &log))
        .layer(TraceLayer::new())
        .layer(probe("in trace", &log))
        .layer(MetricsLayer::new())
        .layer(TimeoutLayer::new())
        .layer(probe("in timeout", &log))
        .layer(CatchPanicLayer::new())
        .layer(probe("innermost", &log));
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(layers));
    for (way, status) in ENDS {
        assert_eq!(perform(&worker, way).await.status().code(), status, "{way}");
        let seen = std::mem::take(&mut *log.lock().unwrap());
        let mut names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["in timeout", "in trace", "innermost", "outermost"], "{way}: each exactly once");
        assert!(seen.iter().all(|(_, seen)| *seen == status), "{way}: {seen:?}");
        assert_eq!(perform(&worker, "fine").await.status(), Status::SUCCESS, "the next job runs");
        log.lock().unwrap().clear();
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_layer_that_catches_they_see_it_too() {
    let log = Log::default();
    let layers =
        ServiceBuilder::new().layer(probe("outer", &log)).layer(TimeoutLayer::new()).layer(probe("inner", &log));
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(layers));
    for (way, status) in ENDS {
        assert_eq!(perform(&worker, way).await.status().code(), status, "{way}");
        let seen = std::mem::take(&mut *log.lock().unwrap());
        assert!(seen.len() == 2 && seen.iter().all(|(_, seen)| *seen == status), "{way}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_499_for_all_of_them() {
    let log = Log::default();
    let layers = ServiceBuilder::new()
        .layer(probe("outer", &log))
        .layer(TraceLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::new())
        .layer(probe("inner", &log));
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(layers));
    let handle = worker.perform(Job::new("handler", "endless")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(worker.cancel(handle.id()).await.unwrap());
    assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    let mut seen = std::mem::take(&mut *log.lock().unwrap());
    seen.sort_unstable();
    assert_eq!(seen, [("inner".to_owned(), 499), ("outer".to_owned(), 499)]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_is_499_whatever_status_its_handler_had_set_before() {
    let log = Log::default();
    let handler = |context: Context| async move {
        context.set_status(Status::NO_RESPONSE);
        std::future::pending::<()>().await;
    };
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(probe("layer", &log)));
    let handle = worker.perform(Job::new("handler", ())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(worker.cancel(handle.id()).await.unwrap());
    assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    assert_eq!(*log.lock().unwrap(), [("layer".to_owned(), 499)]);
}

#[tokio::test(start_paused = true)]
async fn a_stock_timeout_is_408_outside_of_it() {
    let log = Log::default();
    let layers = ServiceBuilder::new()
        .layer(probe("outer", &log))
        .layer(tower::timeout::TimeoutLayer::new(Duration::from_secs(1)));
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(layers));
    let outcome = worker.perform(Job::new("handler", "endless")).await.unwrap().outcome().await.unwrap();
    assert_eq!(outcome.status(), Status::TIMEOUT);
    assert_eq!(*log.lock().unwrap(), [("outer".to_owned(), 408)]);
}

#[tokio::test]
async fn a_panic_keeps_its_text_and_its_place() {
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(CatchPanicLayer::new()));
    for (way, text) in [("String", "a String"), ("&str", "a &str"), ("error", "an error")] {
        let outcome = perform(&worker, way).await;
        let error = outcome.error().unwrap();
        assert_eq!(error.message, text);
        let backtrace = error.backtrace.as_deref().unwrap();
        assert!(backtrace.starts_with("panicked at work-adapters/tests/final_status.rs"), "{backtrace}");
    }
    assert!(perform(&worker, "unit").await.error().unwrap().message.contains("no text"));
}

#[tokio::test]
async fn a_thousand_panics_leave_the_worker_as_it_was() {
    let layers = ServiceBuilder::new().layer(MetricsLayer::new()).layer(CatchPanicLayer::new());
    let worker = LocalWorker::builder(Router::new().route("handler", handler).layer(layers));
    let worker = worker.concurrency(4).build().unwrap();
    for n in 0..1_000 {
        let way = ENDS[n % 4].0;
        assert_eq!(perform(&worker, way).await.status(), Status::INTERNAL_ERROR);
    }
    assert_eq!(perform(&worker, "fine").await.status(), Status::SUCCESS);
    worker.stop().await;
    assert!(worker.is_empty());
}

#[tokio::test]
async fn a_panic_that_is_passed_on_does_not_get_the_place_of_an_earlier_one() {
    async fn handler(Args(pass_on): Args<bool>) {
        if pass_on {
            std::panic::resume_unwind(Box::new("passed on"));
        }
        assert!(std::panic::catch_unwind(|| panic!("caught inside")).is_err());
    }
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(CatchPanicLayer::new()));
    let perform = async |pass_on| worker.perform(Job::new("handler", pass_on)).await.unwrap().outcome().await.unwrap();
    assert_eq!(perform(false).await.status(), Status::SUCCESS);
    let outcome = perform(true).await;
    let error = outcome.error().unwrap();
    assert_eq!((error.message.as_str(), error.backtrace.as_deref()), ("passed on", None));
}

#[tokio::test]
async fn a_handler_that_never_rests_is_timed_out() {
    async fn busy() {
        loop {
            tokio::task::consume_budget().await;
        }
    }
    let worker = LocalWorker::new(Router::new().route("busy", busy).layer(TimeoutLayer::new()));
    let job = Job::new("busy", ()).timeout(Duration::from_millis(20));
    let outcome = worker.perform(job).await.unwrap().outcome();
    let outcome = tokio::time::timeout(Duration::from_secs(20), outcome).await.unwrap().unwrap();
    assert_eq!(outcome.status(), Status::TIMEOUT);
}
