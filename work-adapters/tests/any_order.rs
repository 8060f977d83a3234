//! Every layer sees the final status: in every order of the layers, however the attempt ends.

#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::time::Duration;

use support::{Log, Measured, Traced, orders, probe};
use tracing::level_filters::LevelFilter;
use work_adapters::{
    CatchPanicLayer, CircuitBreaker, CircuitBreakerLayer, KeyedConcurrencyLayer, MetricsLayer, RateLimitLayer,
    TimeoutLayer, TraceLayer,
};
use work_core::limit::Gcra;
use work_core::{Args, BoxError, Context, Job, LocalWorker, Router, Status, Worker};

/// The ways an attempt can end, and the status each comes to.
const ENDS: [(&str, Status); 11] = [
    ("String", Status::INTERNAL_ERROR),
    ("&str", Status::INTERNAL_ERROR),
    ("error", Status::INTERNAL_ERROR),
    ("unit", Status::INTERNAL_ERROR),
    ("late panic", Status::INTERNAL_ERROR),
    ("panic after a status", Status::INTERNAL_ERROR),
    ("endless", Status::TIMEOUT),
    ("failure", Status::INTERNAL_ERROR),
    ("io", Status::INTERNAL_ERROR),
    ("conflict", Status::CONFLICT),
    ("cancelled", Status::CANCELLED),
];

async fn handler(Args(way): Args<String>, context: Context) -> Result<Status, BoxError> {
    match way.as_str() {
        "String" => std::panic::panic_any(String::from("a String")),
        "&str" => std::panic::panic_any("a &str"),
        "error" => std::panic::panic_any(BoxError::from("an error")),
        "unit" => std::panic::panic_any(()),
        "late panic" => {
            tokio::time::sleep(Duration::from_millis(1)).await;
            panic!("late");
        }
        "panic after a status" => {
            context.set_status(Status::NO_RESPONSE);
            tokio::task::yield_now().await;
            panic!("after a status");
        }
        "endless" => std::future::pending().await,
        "cancelled" => {
            // A status that the handler had set must not be taken for the end.
            context.set_status(Status::NO_RESPONSE);
            std::future::pending().await
        }
        "failure" => Err("it failed".into()),
        "io" => Err(std::io::Error::other("it failed").into()),
        "conflict" => Ok(Status::CONFLICT),
        _ => Ok(Status::SUCCESS),
    }
}

fn with(router: Router, layer: char) -> Router {
    match layer {
        'T' => router.layer(TraceLayer::new()),
        'M' => router.layer(MetricsLayer::new()),
        't' => router.layer(TimeoutLayer::new()),
        'C' => router.layer(CatchPanicLayer::new()),
        'R' => router.layer(RateLimitLayer::new(Gcra::new(1_000, Duration::from_secs(1)).unwrap())),
        'K' => router.layer(KeyedConcurrencyLayer::new(1, |job| Some(job.kind().to_string())).unwrap()),
        'B' => {
            let breaker = CircuitBreaker::builder("test").minimum_calls(1_000).build().unwrap();
            router.layer(CircuitBreakerLayer::new(breaker))
        }
        _ => unreachable!("{layer} is no layer"),
    }
}

/// Performs one job for each end, with a probe on both sides of every layer, and checks what everyone saw.
fn check(order: &str) {
    let (log, traced, measured) = (Log::default(), Traced::default(), Measured::default());
    let mut router = Router::new().route("handler", handler).layer(probe("innermost", &log));
    for layer in order.chars().rev() {
        router = with(router, layer).layer(probe(&format!("outside of {layer}"), &log));
    }
    let probes = order.len() + 1;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let _default = tracing::subscriber::set_default(traced.subscriber(LevelFilter::DEBUG));
    metrics::with_local_recorder(&measured, || {
        runtime.block_on(async {
            let worker = LocalWorker::new(router);
            for (n, (way, status)) in ENDS.into_iter().enumerate() {
                let handle = worker.perform(job(way)).await.unwrap();
                if way == "cancelled" {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    assert!(worker.cancel(handle.id()).await.unwrap());
                }
                assert_eq!(handle.outcome().await.unwrap().status(), status, "{order}, {way}");
                let seen = std::mem::take(&mut *log.lock().unwrap());
                assert_eq!(seen.len(), probes, "{order}, {way}: each once: {seen:?}");
                assert!(seen.iter().all(|(_, seen)| *seen == status.code()), "{order}, {way}: {seen:?}");
                if order.contains('T') {
                    assert_eq!(traced.spans()[n]["job.status"], status.code().to_string(), "{order}, {way}: span");
                }
            }
            assert_eq!(worker.perform(job("fine")).await.unwrap().outcome().await.unwrap().status(), Status::SUCCESS);
            assert_eq!(worker.len(), 0, "{order}");
        });
    });
    if order.contains('T') {
        let ended = traced.said("job ended").len() + traced.said("job failed").len();
        assert_eq!((traced.spans().len(), ended), (ENDS.len() + 1, ENDS.len() + 1), "{order}: one event each");
    }
    if order.contains('M') {
        for (_, status) in ENDS {
            let labels = format!("{{queue=default,kind=handler,status={}}}", status.name());
            let times = ENDS.iter().filter(|(_, other)| *other == status).count();
            assert_eq!(measured.counter(&format!("work_jobs_finished_total{labels}")), times as u64, "{order}");
            assert_eq!(measured.values(&format!("work_job_duration_seconds{labels}")).len(), times, "{order}");
        }
        assert_eq!(measured.gauge("work_jobs_running{queue=default,kind=handler}"), Some(0.0), "{order}");
    }
}

fn job(way: &str) -> Job {
    let timeout = if way == "cancelled" { Duration::from_secs(60) } else { Duration::from_millis(10) };
    Job::new("handler", way.to_owned()).timeout(timeout)
}

#[test]
fn every_order_of_the_four_layers_records_the_final_status_everywhere() {
    let orders = orders("TMtC");
    assert_eq!(orders.len(), 24);
    orders.iter().for_each(|order| check(order));
}

#[test]
fn without_a_layer_that_catches_panics_every_order_records_it_too() {
    orders("TMt").iter().for_each(|order| check(order));
}

#[test]
fn the_layers_that_hold_back_or_refuse_fit_into_every_order() {
    for layer in ["R", "K", "B"] {
        orders(&format!("TMt{layer}")).iter().for_each(|order| check(order));
    }
    orders("RKBt").iter().for_each(|order| check(order));
    check("TMtRKBC");
}
