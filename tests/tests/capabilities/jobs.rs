//! Jobs, context, handlers, layers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use work_adapters::{CatchPanicLayer, TimeoutLayer};
use work_core::{
    Args, BoxError, Context, Job, JobId, LocalWorker, Outcome, Overlap, PerformError, Router, Schedule, Status, Worker,
};

use crate::{Meter, millis};

#[test]
fn a_new_context_is_empty_and_every_status_keeps_its_number() {
    let context = Context::new();
    assert_eq!(context.status(), None);
    assert_eq!(context.get::<u32>("anything"), None);
    for code in [200, 400, 401, 403, 404, 408, 409, 429, 444, 499, 500, 503] {
        let status = Status::new(code).unwrap();
        context.set_status(status);
        assert_eq!(context.status().map(Status::code), Some(code));
        assert_eq!(status.is_error(), [408, 500, 503].contains(&code), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn runs_that_overlap_never_share_a_context() {
    async fn handler(context: Context, Args(()): Args<()>) -> Status {
        let mine = JobId::new().to_string();
        context.set("mine", mine.clone());
        tokio::time::sleep(millis(30)).await;
        if context.get("mine") == Some(mine) { Status::SUCCESS } else { Status::CONFLICT }
    }
    let worker = LocalWorker::new(Router::new().route("overlap", handler));
    let every = Schedule::every(millis(10)).unwrap().overlap(Overlap::Allow);
    let recurring = worker.perform_every(Job::new("overlap", ()), every).await.unwrap();
    tokio::time::sleep(millis(205)).await;
    recurring.cancel();
    worker.stop().await;
    let counts = worker.counts();
    assert_eq!((counts.failed, counts.succeeded), (0, 21), "{counts:?}");
}

#[tokio::test]
async fn layers_run_from_the_outermost_in_and_back_out() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let layer = |name: &'static str| NamedLayer { name, log: log.clone() };
    let inside = log.clone();
    let handler = async move || inside.lock().unwrap().push("h".to_owned());
    // With a builder the first is the outermost; of two calls of `layer`, the last.
    let stack = ServiceBuilder::new().layer(layer("b")).layer(layer("a")).into_inner();
    let worker = LocalWorker::new(Router::new().route("logged", handler).layer(stack).layer(layer("c")));
    worker.perform(Job::new("logged", ())).await.unwrap().outcome().await.unwrap();
    assert_eq!(log.lock().unwrap().join(" "), "c-in b-in a-in h a-out b-out c-out");
}

#[derive(Clone)]
struct NamedLayer {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
}

impl<S> Layer<S> for NamedLayer {
    type Service = Named<S>;

    fn layer(&self, inner: S) -> Named<S> {
        Named { name: self.name, log: self.log.clone(), inner }
    }
}

#[derive(Clone)]
struct Named<S> {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
    inner: S,
}

impl<S> Service<Job> for Named<S>
where
    S: Service<Job, Response = Outcome, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, job: Job) -> Self::Future {
        let Self { name, log, inner } = self.clone();
        Box::pin(async move {
            log.lock().unwrap().push(format!("{name}-in"));
            let outcome = inner.oneshot(job).await;
            log.lock().unwrap().push(format!("{name}-out"));
            outcome
        })
    }
}

#[tokio::test]
async fn four_kinds_of_panics_are_500_with_their_text_and_the_next_job_runs() {
    async fn handler(Args(way): Args<u8>) {
        match way {
            0 => panic!("plain text"),
            1 => std::panic::panic_any(String::from("owned text")),
            2 => std::panic::panic_any(std::io::Error::other("an error")),
            3 => std::panic::panic_any(()),
            _ => {}
        }
    }
    for router in
        [Router::new().route("panics", handler), Router::new().route("panics", handler).layer(CatchPanicLayer::new())]
    {
        let worker = LocalWorker::builder(router).concurrency(1).build().unwrap();
        for (way, text) in [(0, "plain text"), (1, "owned text"), (2, "an error"), (3, "")] {
            let outcome = worker.perform(Job::new("panics", way)).await.unwrap().outcome().await.unwrap();
            assert_eq!(outcome.status(), Status::INTERNAL_ERROR);
            assert!(outcome.error().unwrap().message.contains(text), "{:?}", outcome.error());
            let next = worker.perform(Job::new("panics", 9_u8)).await.unwrap().outcome().await.unwrap();
            assert_eq!(next.status(), Status::SUCCESS);
        }
    }
}

#[tokio::test]
async fn a_timeout_answers_at_once_with_408_and_leaves_nothing_running() {
    let meter = Meter::default();
    let router = Router::new().route("slow", meter.taking(millis(60_000))).layer(TimeoutLayer::new());
    let worker = LocalWorker::new(router);
    let job = || Job::new("slow", ()).timeout(millis(10));
    let before = Instant::now();
    let handles = futures_util::future::join_all((0..20).map(|_| worker.perform(job()))).await;
    for handle in handles {
        assert_eq!(handle.unwrap().outcome().await.unwrap().status(), Status::TIMEOUT);
    }
    assert!(before.elapsed() < Duration::from_secs(20), "the handler takes a minute");
    assert_eq!((meter.now(), meter.cancelled(), worker.len()), (0, 20, 0));
}

#[test]
fn a_kind_that_is_there_is_refused_by_its_name_also_at_work() {
    let error =
        Router::<()>::new().try_route("twice", async || {}).unwrap().try_route("twice", async || {}).unwrap_err();
    assert!(error.to_string().contains("\"twice\" has a handler already"), "{error}");
    let worker = LocalWorker::new(Router::new().route("first", async || {}));
    worker.register(Router::new().route("second", async || {})).unwrap();
    let both = Router::new().route("third", async || {}).route("second", async || {});
    assert!(worker.register(both).unwrap_err().to_string().contains("second"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let second = worker.perform(Job::new("second", ())).await.unwrap();
        assert_eq!(second.outcome().await.unwrap().status(), Status::SUCCESS);
        let error = worker.perform(Job::new("third", ())).await.unwrap_err();
        assert!(matches!(&error, PerformError::UnknownKind { .. }), "{error}");
        assert!(error.to_string().ends_with("the router has: first, second"), "{error}");
    });
}
