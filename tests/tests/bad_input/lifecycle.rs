//! Verbs at the wrong time, in the wrong place, or about a job that is not there.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use work_core::store::MemoryStore;
use work_core::{Group, Job, JobId, LocalWorker, QueueWorker, RouteError, Router, Schedule, Worker};
use work_sqlite::SqliteStore;

use crate::enqueue::{job, router};
use crate::table::{Case, Table};

/// Performs one job and ends.
async fn drain(worker: QueueWorker, id: JobId) {
    let running = tokio::spawn(worker.clone().run_until(std::future::pending()));
    let ended = async {
        while !worker.store().get(id).await.unwrap().unwrap().state.is_terminal() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn a_worker_that_has_stopped_says_so() {
    let mut table = Table::of("stopped");
    let (local, stored) = (LocalWorker::new(router()), QueueWorker::new(MemoryStore::new(), router()));
    local.stop().await;
    stored.stop().await;
    let stopped = |what| Case(26, what, "the worker has stopped");
    table.refused_for_good(stopped("a job after the stop, in memory"), local.perform(job())).await;
    table.refused_for_good(stopped("a job after the stop, on a store"), stored.perform(job())).await;
    let every = Schedule::every(Duration::from_secs(1)).unwrap();
    table.refused_for_good(stopped("a schedule after the stop"), local.perform_every(job(), every)).await;
    table.refused_for_good(stopped("a group after the stop"), stored.perform_group(Group::new([job()]))).await;
    table.stays();
}

#[test]
fn outside_of_a_runtime_nothing_panics() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let sqlite = runtime.block_on(SqliteStore::open(dir.path().join("jobs.db"))).unwrap();
    let (local, stored) = (LocalWorker::new(router()), QueueWorker::new(sqlite, router()));
    let here = local.try_perform(job()).map(drop).map_err(|error| error.to_string());
    let second = Schedule::every(Duration::from_secs(1)).unwrap();
    let polled = [
        block(local.perform(job())).map(drop).map_err(|error| error.to_string()),
        block(local.perform_in(job(), Duration::from_secs(1))).map(drop).map_err(|error| error.to_string()),
        block(local.perform_group(Group::new([job()]))).map(drop).map_err(|error| error.to_string()),
        block(stored.perform_every(job(), second)).map(drop).map_err(|error| error.to_string()),
    ];
    let kept = block(stored.perform(job()));
    assert!(runtime.block_on(local.perform(job())).is_ok(), "and it goes on in one");
    runtime.block_on(async {
        let mut table = Table::of("no_runtime");
        let names = ["try_perform", "perform", "perform_in", "perform_group", "perform_every, on a store"];
        for (what, answer) in names.into_iter().zip([here].into_iter().chain(polled)) {
            table.refused(Case(26, what, "no tokio runtime here"), async { answer }).await;
        }
        table.accepted(Case(26, "perform, on a file", "it needs no runtime"), async { kept }).await;
        table.stays();
    });
}

/// As a program without a runtime does.
fn block<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..5_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no answer");
}

#[tokio::test]
async fn a_cancel_says_whether_there_was_anything_to_cancel() {
    let mut table = Table::of("cancels");
    let worker = QueueWorker::new(MemoryStore::new(), router());
    let said = |what, then| Case(32, what, then);
    let asked = worker.cancel(JobId::new());
    assert!(!table.accepted(said("a job that is not there", "false"), asked).await);
    let waits = worker.perform(job()).await.unwrap().id();
    assert!(table.accepted(said("a job that waits", "true"), worker.cancel(waits)).await);
    assert!(!table.accepted(said("a job that is cancelled already", "false"), worker.cancel(waits)).await);
    let done = worker.perform(job()).await.unwrap().id();
    drain(worker.clone(), done).await;
    assert!(!table.accepted(said("a job that has ended", "false"), worker.cancel(done)).await);
    for (what, text) in [("no id", ""), ("an id that is none", "abc"), ("an id that is an escape", "\u{1b}[31m")] {
        table.refused(Case(32, what, &format!("{text:?}")), async { text.parse::<JobId>() }).await;
    }
    let long = "0".repeat(10_240);
    table.refused(Case(32, "an id of 10 KiB", "0000"), async { long.parse::<JobId>() }).await;
    table.stays();
}

#[tokio::test]
async fn a_router_has_one_handler_of_each_kind() {
    let mut table = Table::of("routers");
    let add = |kind: &'static str| async move { router().try_route(kind, async || {}) };
    table.refused_for_good(Case(7, "a kind that has a handler", "\"known\""), add("known")).await;
    table.refused(Case(3, "a handler of a kind with a space", "\"a b\""), add("a b")).await;
    let merged = async { router().merge(Router::new().route("other", async || {})) };
    table.refused_for_good(Case(7, "two routers with one kind", "\"other\""), merged).await;
    let late = async { LocalWorker::new(router()).register(router()) };
    let twice: Result<(), RouteError> = late.await;
    assert!(matches!(twice, Err(RouteError::Duplicate(_))));
    let many = (0..1_000).fold(Router::new(), |router, n| router.route(format!("kind-of-work-{n:04}"), async || {}));
    let unknown = LocalWorker::new(many);
    table.refused(Case(7, "a kind that 1,000 others are not", "more"), unknown.perform(Job::new("x", ()))).await;
    let empty = LocalWorker::new(Router::new());
    table.refused(Case(7, "a kind, to a router without routes", "no kind at all"), empty.perform(job())).await;
    table.stays();
}
