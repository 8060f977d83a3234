//! Which hooks are called, and how often.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::Traced;
use tokio_util::sync::CancellationToken;
use tower::util::ServiceExt;
use tracing::level_filters::LevelFilter;
use work_adapters::hooks::{Event, Next};
use work_adapters::{CatchPanicLayer, HooksLayer, TimeoutLayer};
use work_core::runner::Runner;
use work_core::store::{MemoryStore, Store};
use work_core::{
    Args, Backoff, BoxError, Classify, Context, Job, LocalWorker, Outcome, RetryPolicy, Router, Status, Worker,
};

/// The names of the hooks that were called, in order, each with what it saw.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Calls {
    fn note(&self, name: &'static str) -> impl Fn(&Event<'_>) + Send + Sync + 'static + use<> {
        let calls = self.0.clone();
        move |event| {
            let status = event.status().map_or(0, Status::code);
            let seen =
                format!("{}/{} {status} {}", event.attempt(), event.max_attempts(), event.error().unwrap_or("-"));
            calls.lock().unwrap().push((name, seen));
        }
    }

    fn layer(&self) -> HooksLayer {
        HooksLayer::new()
            .on_finish(self.note("finish"))
            .on_exhausted(self.note("exhausted"))
            .on_retry(self.note("retry"))
            .on_panic(self.note("panic"))
            .on_error(self.note("error"))
            .on_success(self.note("success"))
            .on_start(self.note("start"))
    }

    fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn names(&self) -> String {
        self.take().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }
}

async fn handler(Args(way): Args<String>, context: Context) -> Result<Outcome, BoxError> {
    match way.as_str() {
        "panic" => panic!("no such luck"),
        "late panic" => {
            tokio::time::sleep(Duration::from_millis(1)).await;
            context.set_status(Status::NO_RESPONSE);
            panic!("no such luck");
        }
        "endless" => std::future::pending().await,
        "error" => Err("it failed".into()),
        "bad args" => Err("of no use".parse::<u8>().discard().unwrap_err().into()),
        "away" => Err(std::io::Error::other("away")).retry_after(Duration::from_secs(60)).map_err(Into::into),
        "rate" => Ok(Outcome::new(Status::TOO_MANY)),
        "nothing" => Ok(Outcome::new(Status::NO_RESPONSE)),
        _ => Ok(Outcome::done()),
    }
}

/// What is called of a job that ends in this way, at the first of so many attempts; each hook sees the same.
async fn calls(way: &str, max_attempts: u32, layer: impl Fn(Router, HooksLayer) -> Router) -> (String, String) {
    let calls = Calls::default();
    let router = layer(Router::new().route("handler", handler), calls.layer());
    let backoff = RetryPolicy::default().backoff(Backoff::constant(Duration::from_secs(1000)));
    let worker = LocalWorker::builder(router).retry(backoff).build().unwrap();
    let job = Job::new("handler", way.to_owned()).max_attempts(max_attempts).timeout(Duration::from_millis(20));
    worker.perform(job).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let calls = calls.take();
    assert!(calls[0].1.ends_with(" 0 -"), "nothing is known at the start: {calls:?}");
    assert!(calls[1..].iter().all(|(_, seen)| *seen == calls[1].1), "{calls:?}");
    let names: Vec<&str> = calls.iter().map(|(name, _)| *name).collect();
    (names.join(" "), calls[1].1.clone())
}

#[tokio::test(start_paused = true)]
async fn every_end_calls_its_hooks_exactly_once_and_in_order() {
    for (way, max_attempts, names, seen) in [
        ("fine", 1, "start success finish", "1/1 200 -"),
        ("nothing", 1, "start success finish", "1/1 444 -"),
        ("error", 3, "start error retry finish", "1/3 500 it failed"),
        ("error", 1, "start error exhausted finish", "1/1 500 it failed"),
        ("panic", 3, "start error panic retry finish", "1/3 500 no such luck"),
        ("late panic", 1, "start error panic exhausted finish", "1/1 500 no such luck"),
        ("bad args", 3, "start error exhausted finish", "1/3 400 invalid digit found in string"),
        ("away", 3, "start error finish", "1/3 503 away"),
        ("rate", 3, "start error finish", "1/3 429 -"),
    ] {
        let bare = calls(way, max_attempts, Router::layer).await;
        assert_eq!((bare.0.as_str(), bare.1.as_str()), (names, seen), "{way}");
        let inside = calls(way, max_attempts, |router, hooks| router.layer(hooks).layer(CatchPanicLayer::new())).await;
        assert_eq!(inside, bare, "{way}, inside of the layer that catches panics");
        let outside = calls(way, max_attempts, |router, hooks| router.layer(CatchPanicLayer::new()).layer(hooks)).await;
        assert_eq!(outside, bare, "{way}, outside of the layer that catches panics");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_an_error_that_may_be_tried_again() {
    let outside = calls("endless", 3, |router, hooks| router.layer(TimeoutLayer::new()).layer(hooks)).await;
    assert_eq!((outside.0.as_str(), outside.1.as_str()), ("start error retry finish", "1/3 408 timed out after 20ms"));
    let inside = calls("endless", 1, |router, hooks| router.layer(hooks).layer(TimeoutLayer::new())).await;
    assert_eq!((inside.0.as_str(), inside.1.as_str()), ("start error exhausted finish", "1/1 408 -"));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_execution_is_an_error_without_another_attempt_or_a_dead_letter() {
    let calls = Calls::default();
    let worker = LocalWorker::new(Router::new().route("handler", handler).layer(calls.layer()));
    let handle = worker.perform(Job::new("handler", "endless".to_owned()).max_attempts(3)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(worker.cancel(handle.id()).await.unwrap());
    assert_eq!(handle.outcome().await.unwrap().status(), Status::CANCELLED);
    assert_eq!(calls.names(), "start error finish");
}

#[tokio::test(start_paused = true)]
async fn three_attempts_are_two_retries_and_one_exhausted() {
    let calls = Calls::default();
    let router = Router::new().route("handler", handler).layer(calls.layer());
    let retry = RetryPolicy::default().backoff(Backoff::constant(Duration::from_secs(1)));
    let worker = LocalWorker::builder(router).retry(retry).build().unwrap();
    let job = Job::new("handler", "error".to_owned()).max_attempts(3);
    assert_eq!(worker.perform(job).await.unwrap().outcome().await.unwrap().status(), Status::INTERNAL_ERROR);
    let seen = calls.take();
    let count = |name| seen.iter().filter(|(called, _)| *called == name).count();
    let counts = ["start", "success", "error", "retry", "exhausted", "panic", "finish"].map(count);
    assert_eq!(counts, [3, 0, 3, 2, 1, 0, 3]);
    let attempts: Vec<&str> = seen.iter().filter(|(n, _)| *n == "finish").map(|(_, seen)| &seen[..3]).collect();
    assert_eq!(attempts, ["1/3", "2/3", "3/3"]);
}

#[tokio::test]
async fn on_a_store_a_job_that_says_nothing_has_25_attempts() {
    let calls = Calls::default();
    let store = Arc::new(MemoryStore::new());
    store.insert(vec![job("fine").into_stored(1024).unwrap()]).await.unwrap();
    let ended = CancellationToken::new();
    let end = ended.clone();
    let hooks = calls.layer().on_finish(move |_| end.cancel());
    let runner = Runner::new(store, Router::new().route("handler", handler).layer(hooks));
    runner.run_until(ended.cancelled_owned()).await.unwrap();
    assert_eq!(calls.take().pop().unwrap(), ("finish", "1/25 200 -".to_owned()));
}

#[tokio::test]
async fn a_hook_that_panics_is_logged_and_neither_the_job_nor_the_other_hooks_notice() {
    for way in ["fine", "panic", "late panic"] {
        let (calls, traced) = (Calls::default(), Traced::default());
        let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::ERROR));
        let broken = |_: &Event<'_>| panic!("a broken hook");
        let hooks = HooksLayer::new().on_start(broken).on_success(broken).on_error(broken).on_panic(broken);
        let hooks = hooks.on_finish(broken).on_start(calls.note("start")).on_finish(calls.note("finish"));
        let worker = LocalWorker::new(Router::new().route("handler", handler).layer(hooks));
        let outcome = worker.perform(Job::new("handler", way.to_owned())).await.unwrap().outcome().await.unwrap();
        let status = if way == "fine" { Status::SUCCESS } else { Status::INTERNAL_ERROR };
        assert_eq!(outcome.status(), status, "{way}");
        assert_eq!(calls.names(), "start finish", "{way}");
        let said = traced.said("a hook panicked");
        assert_eq!(said.len(), if way == "fine" { 3 } else { 4 }, "{way}: {said:?}");
        assert!(said.iter().all(|event| event["panic"] == "a broken hook"));
    }
}

#[tokio::test]
async fn a_hook_that_panics_while_a_panic_unwinds_does_no_more() {
    // The service is owned by the stack that unwinds, so the end is seen while it does.
    let hooks = HooksLayer::new().on_finish(|_| panic!("a broken hook"));
    let router = Router::new().route("handler", handler).layer(hooks);
    let task = tokio::spawn(async move { router.oneshot(job("late panic")).await.map(drop) });
    let panic = task.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"no such luck"), "it is the handler's");
}

fn job(way: &str) -> Job {
    Job::new("handler", way.to_owned())
}

#[tokio::test]
async fn an_execution_whose_future_is_dropped_is_cancelled() {
    let calls = Calls::default();
    let next = Arc::new(Mutex::new(None));
    let seen = next.clone();
    let hooks = calls.layer().on_finish(move |event| *seen.lock().unwrap() = event.next());
    let router = Router::new().route("handler", handler).layer(hooks);
    let mut oneshot = Box::pin(router.oneshot(job("endless")));
    assert!(waits_after_a_poll(&mut oneshot).await, "it waits");
    drop(oneshot);
    assert_eq!((calls.names().as_str(), *next.lock().unwrap()), ("start error finish", Some(Next::Cancel)));
}

/// Polls; true if it is not ready.
async fn waits_after_a_poll<F: Future + Unpin>(future: &mut F) -> bool {
    tokio::time::timeout(Duration::ZERO, future).await.is_err()
}
