//! The layers that only look see the final status, in every order with those that decide, however the attempt ends.

#![cfg(feature = "log")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::{Written, orders};
use tracing_subscriber::layer::SubscriberExt;
use work_adapters::{
    AggregateLog, CatchPanicLayer, Health, HealthLayer, HooksLayer, LogLayer, Stats, StatsLayer, TimeoutLayer,
    TraceLayer,
};
use work_core::{Args, BoxError, Context, Job, LocalWorker, Router, Status, Worker};

/// The ways an attempt can end, and the status each comes to.
const ENDS: [(&str, Status); 7] = [
    ("fine", Status::SUCCESS),
    ("nothing", Status::NO_RESPONSE),
    ("failure", Status::INTERNAL_ERROR),
    ("panic", Status::INTERNAL_ERROR),
    ("late panic", Status::INTERNAL_ERROR),
    ("endless", Status::TIMEOUT),
    ("cancelled", Status::CANCELLED),
];

async fn handler(Args(way): Args<String>, context: Context) -> Result<Status, BoxError> {
    tracing::info!("{way}");
    match way.as_str() {
        "panic" => panic!("no such luck"),
        "late panic" => {
            context.set_status(Status::NO_RESPONSE);
            tokio::task::yield_now().await;
            panic!("no such luck");
        }
        "endless" | "cancelled" => std::future::pending().await,
        "failure" => Err("it failed".into()),
        "nothing" => Ok(Status::NO_RESPONSE),
        _ => Ok(Status::SUCCESS),
    }
}

/// What the layers that look keep.
struct Seen {
    log: AggregateLog,
    written: Written,
    stats: Stats,
    health: Health,
    ends: Arc<Mutex<Vec<u16>>>,
}

impl Seen {
    fn new() -> Self {
        let written = Written::default();
        Self {
            log: AggregateLog::builder().writer(written.clone()).build(),
            written,
            stats: Stats::new(),
            health: Health::by_count(100).minimum(1).build().unwrap(),
            ends: Arc::default(),
        }
    }

    fn with(&self, router: Router, layer: char) -> Router {
        match layer {
            'T' => router.layer(TraceLayer::new()),
            't' => router.layer(TimeoutLayer::new()),
            'C' => router.layer(CatchPanicLayer::new()),
            'L' => router.layer(LogLayer::new(self.log.clone())),
            'S' => router.layer(StatsLayer::new(self.stats.clone())),
            'H' => router.layer(HealthLayer::new(self.health.clone())),
            'h' => {
                let ends = self.ends.clone();
                router.layer(
                    HooksLayer::new().on_finish(move |event| ends.lock().unwrap().push(event.status().unwrap().code())),
                )
            }
            _ => unreachable!("{layer} is no layer"),
        }
    }
}

fn check(order: &str) {
    let seen = Seen::new();
    let router = order.chars().rev().fold(Router::new().route("handler", handler), |r, layer| seen.with(r, layer));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(seen.log.subscriber_layer());
    let _default = tracing::subscriber::set_default(subscriber);
    runtime.block_on(async {
        let worker = LocalWorker::new(router);
        for (way, status) in ENDS {
            let timeout = Duration::from_millis(if way == "cancelled" { 60_000 } else { 10 });
            let handle = worker.perform(Job::new("handler", way.to_owned()).timeout(timeout)).await.unwrap();
            if way == "cancelled" {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(worker.cancel(handle.id()).await.unwrap());
            }
            assert_eq!(handle.outcome().await.unwrap().status(), status, "{order}, {way}");
        }
    });
    let expected: Vec<u16> = ENDS.iter().map(|(_, status)| status.code()).collect();
    assert_eq!(*seen.ends.lock().unwrap(), expected, "{order}: hooks");
    let lines = seen.written.lines();
    let logged: Vec<u64> = lines.iter().map(|line| line["summary"]["status"].as_u64().unwrap()).collect();
    assert_eq!(logged, expected.iter().map(|status| u64::from(*status)).collect::<Vec<_>>(), "{order}: log");
    for (line, (way, _)) in lines.iter().zip(ENDS) {
        assert_eq!(line["entries"][0]["message"], way, "{order}: entries");
    }
    let stats = seen.stats.snapshot();
    let counted: Vec<u64> = ENDS.iter().map(|(_, status)| stats.total().ended_with(*status)).collect();
    assert_eq!((counted, stats.total().running()), (vec![1, 1, 3, 3, 3, 1, 1], 0), "{order}: stats");
    assert!((seen.health.error_share() - 4.0 / 7.0).abs() < 1e-9, "{order}: health");
}

#[test]
fn every_order_of_each_with_trace_timeout_and_panics_sees_every_end() {
    for block in ["LSHh", "hHSL"] {
        for order in orders("XTtC") {
            check(&order.replace('X', block));
        }
    }
}

#[test]
fn without_a_layer_that_catches_panics_every_order_sees_it_too() {
    for order in orders("Xt") {
        check(&order.replace('X', "LSHh"));
    }
}

#[test]
fn spread_among_the_others_each_sees_every_end() {
    for order in ["LTSCHth", "hTHCStL", "SLtThCH", "HthLCTS"] {
        check(order);
    }
}
