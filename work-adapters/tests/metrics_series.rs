//! The series that jobs are counted in: their names, their labels, how many there are, when they are looked up.

#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::Unit;
use support::Measured;
use tower::{Layer, Service};
use work_adapters::metrics::{
    ARGS_BYTES, BUILD_INFO, DURATION, FINISHED, OUTPUT_BYTES, QUEUE_LATENCY, RETRIED, RUNNING, STALE_SETTLEMENTS,
    STARTED, describe,
};
use work_adapters::{CatchPanicLayer, MetricsLayer};
use work_core::{Args, Job, LocalWorker, Router, Status, Worker};

fn block_on<T>(measured: &Measured, run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    metrics::with_local_recorder(measured, || runtime.block_on(run))
}

#[test]
fn every_name_is_described_with_its_unit() {
    let measured = Measured::default();
    metrics::with_local_recorder(&measured, describe);
    let described = measured.described.lock().unwrap();
    let units: Vec<_> = described.iter().map(|(name, (unit, _))| (name.as_str(), *unit)).collect();
    let (count, seconds, bytes) = (Some(Unit::Count), Some(Unit::Seconds), Some(Unit::Bytes));
    let durations = [(ARGS_BYTES, bytes), (DURATION, seconds), (OUTPUT_BYTES, bytes), (QUEUE_LATENCY, seconds)];
    let counts = [FINISHED, RETRIED, RUNNING, STARTED, STALE_SETTLEMENTS].map(|name| (name, count));
    assert_eq!(units, [[(BUILD_INFO, count)].as_slice(), &durations, &counts].concat());
}

#[test]
fn a_duration_is_in_seconds_from_the_call_to_the_end() {
    let measured = Measured::default();
    block_on(&measured, async {
        let handler = async || tokio::time::sleep(Duration::from_millis(2_500)).await;
        let worker = LocalWorker::new(Router::new().route("slow", handler).layer(MetricsLayer::new()));
        let handle = worker.perform(Job::new("slow", ()).queue("mail")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        assert_eq!(measured.gauge("work_jobs_running{queue=mail,kind=slow}"), Some(1.0), "while it runs");
        handle.outcome().await.unwrap();
    });
    assert_eq!(measured.values("work_job_duration_seconds{queue=mail,kind=slow,status=success}"), [2.5]);
    assert_eq!(measured.gauge("work_jobs_running{queue=mail,kind=slow}"), Some(0.0));
}

#[test]
fn a_recorder_may_come_after_the_layer_and_is_asked_once_for_each_series() {
    let measured = Measured::default();
    let layered = Router::new().route("fine", async || {}).layer(MetricsLayer::new()).with_state(());
    block_on(&measured, async {
        let worker = LocalWorker::new(layered);
        for _ in 0..100 {
            worker.perform(Job::new("fine", ())).await.unwrap().outcome().await.unwrap();
        }
    });
    assert_eq!(measured.counter("work_jobs_finished_total{queue=default,kind=fine,status=success}"), 100);
    assert_eq!(measured.registered.load(Ordering::SeqCst), 6, "started, retried, waited, running, finished, duration");
}

#[test]
fn statuses_of_ones_own_share_the_label_of_their_class() {
    let measured = Measured::default();
    block_on(&measured, async {
        let handler = async |Args(code): Args<u16>| Status::new(code).unwrap();
        let worker = LocalWorker::new(Router::new().route("own", handler).layer(MetricsLayer::new()));
        for code in [471, 472] {
            worker.perform(Job::new("own", code)).await.unwrap().outcome().await.unwrap();
        }
    });
    assert_eq!(measured.counter("work_jobs_finished_total{queue=default,kind=own,status=other_4xx}"), 2);
}

#[test]
fn queues_and_kinds_beyond_the_64th_pair_are_called_other() {
    let measured = Measured::default();
    block_on(&measured, async {
        // Around a router, so that it also sees kinds that nobody registered.
        let mut service = MetricsLayer::new().layer(Router::new().route("fine", async || {}));
        for n in 0..500 {
            service.call(Job::new("fine", ()).queue(format!("queue-{n}"))).await.unwrap();
            if n >= 100 {
                service.call(Job::new(format!("unknown-{n}"), ())).await.unwrap();
            }
        }
        service.call(Job::new("fine", ()).queue("queue-3")).await.unwrap();
    });
    assert_eq!(measured.counter("work_jobs_started_total{queue=queue-3,kind=fine}"), 2, "the first keep their names");
    assert_eq!(measured.counter("work_jobs_started_total{queue=queue-63,kind=fine}"), 1);
    assert_eq!(measured.counter("work_jobs_started_total{queue=other,kind=fine}"), 500 - 64);
    assert_eq!(measured.counter("work_jobs_started_total{queue=other,kind=other}"), 400);
    assert_eq!(measured.gauges.lock().unwrap().len(), 64 + 2);
}

#[test]
fn a_thousand_panics_leave_nothing_running() {
    let measured = Measured::default();
    block_on(&measured, async {
        async fn handler() {
            tokio::task::yield_now().await;
            panic!("no luck");
        }
        let layers = tower::ServiceBuilder::new().layer(MetricsLayer::new()).layer(CatchPanicLayer::new());
        let router = Router::new().route("handler", handler).route("fine", async || {}).layer(layers);
        let worker = LocalWorker::builder(router).concurrency(4).build().unwrap();
        let mut handles = Vec::new();
        for _ in 0..1_000 {
            handles.push(worker.perform(Job::new("handler", ())).await.unwrap());
        }
        for handle in handles {
            assert_eq!(handle.outcome().await.unwrap().status(), Status::INTERNAL_ERROR);
        }
        let fine = worker.perform(Job::new("fine", ())).await.unwrap().outcome().await.unwrap();
        assert_eq!((fine.status(), worker.len()), (Status::SUCCESS, 0));
    });
    assert_eq!(measured.gauge("work_jobs_running{queue=default,kind=handler}"), Some(0.0));
    let failed = "work_jobs_finished_total{queue=default,kind=handler,status=internal_error}";
    assert_eq!(measured.counter(failed), 1_000);
}
