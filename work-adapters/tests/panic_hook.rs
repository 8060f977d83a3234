//! Who is told of a panic: one test, since the hook and the level of traces belong to the process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::Traced;
use tracing::level_filters::LevelFilter;
use work_adapters::CatchPanicLayer;
use work_core::{Args, Job, LocalWorker, Router, Worker};

/// Calls of the hook that was there before the layer.
static BEFORE: AtomicUsize = AtomicUsize::new(0);

async fn handler(Args(way): Args<String>) {
    match way.as_str() {
        "panics" => panic!("no luck"),
        "catches" => assert!(std::panic::catch_unwind(|| panic!("caught")).is_err()),
        "resumes" => std::panic::resume_unwind(Box::new("passed on")),
        _ => {}
    }
}

async fn perform(worker: &LocalWorker, way: &str) -> Option<String> {
    let outcome = worker.perform(Job::new("handler", way.to_owned())).await.unwrap().outcome().await.unwrap();
    outcome.error().and_then(|error| error.backtrace.clone())
}

#[tokio::test]
async fn a_panic_is_told_once_and_one_outside_goes_to_the_hook_before() {
    std::panic::set_hook(Box::new(|_| {
        BEFORE.fetch_add(1, Ordering::SeqCst);
    }));
    let layer = CatchPanicLayer::new();
    let before = || BEFORE.swap(0, Ordering::SeqCst);
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(layer).layer(CatchPanicLayer::new()));

    assert!(perform(&worker, "panics").await.unwrap().contains("panic_hook.rs"));
    assert_eq!(before(), 1, "with no subscriber at all it is not lost");

    let traced = Traced::default();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::DEBUG));
    assert!(perform(&worker, "panics").await.unwrap().contains("panic_hook.rs"));
    assert_eq!((before(), traced.events().len()), (0, 1));
    let event = &traced.said("a handler panicked")[0];
    assert_eq!((event["level"].as_str(), event["panic"].as_str()), ("ERROR", "no luck"));
    assert!(event["location"].contains("panic_hook.rs") && event.contains_key("job.id"), "{event:?}");

    traced.clear();
    assert_eq!(perform(&worker, "catches").await, None);
    assert_eq!((before(), traced.said("a handler caught a panic")[0]["level"].as_str()), (0, "WARN"));
    assert_eq!(perform(&worker, "resumes").await, None, "it has no place, and not that of the one before");

    assert!(std::thread::spawn(|| panic!("outside")).join().is_err());
    assert_eq!(before(), 1);
}
