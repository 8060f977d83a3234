//! What a recorder of the process gets.

#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use work_adapters::{CatchPanicLayer, MetricsLayer};
use work_core::{Args, Job, LocalWorker, Router, Status, Worker};

/// Keeps counters and gauges by name and labels.
#[derive(Default)]
struct Kept {
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

fn name(key: &Key) -> String {
    let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.lock().unwrap().entry(name(key)).or_default().clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.gauges.lock().unwrap().entry(name(key)).or_default().clone())
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

async fn handler(Args(way): Args<String>) -> Status {
    match way.as_str() {
        "panic" => panic!("no luck"),
        "fail" => Status::INTERNAL_ERROR,
        "nothing" => Status::NO_RESPONSE,
        _ => Status::SUCCESS,
    }
}

fn counts(router: Router) -> (BTreeMap<String, u64>, Vec<f64>) {
    let recorder = Kept::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let worker = LocalWorker::new(router);
            for way in [["fine"; 10].as_slice(), &["fail"; 3], &["panic"; 2], &["nothing"; 1]].concat() {
                worker.perform(Job::new("handler", way.to_owned())).await.unwrap().outcome().await.unwrap();
            }
        });
    });
    let counters = recorder.counters.lock().unwrap();
    let gauges = recorder.gauges.lock().unwrap();
    let running = gauges.values().map(|gauge| f64::from_bits(gauge.load(Ordering::SeqCst))).collect();
    (counters.iter().map(|(name, count)| (name.clone(), count.load(Ordering::SeqCst))).collect(), running)
}

fn expected() -> BTreeMap<String, u64> {
    let ended = |status: &str| format!("work_jobs_finished_total{{queue=default,kind=handler,status={status}}}");
    BTreeMap::from([
        ("work_jobs_started_total{queue=default,kind=handler}".to_owned(), 16),
        ("work_jobs_retried_total{queue=default,kind=handler}".to_owned(), 0),
        (ended("success"), 10),
        (ended("internal_error"), 5),
        (ended("no_response"), 1),
    ])
}

#[test]
fn executions_are_counted_by_their_final_status_and_none_is_left_running() {
    let router = || Router::new().route("handler", handler);
    let inside = router().layer(MetricsLayer::new()).layer(CatchPanicLayer::new());
    let outside = router().layer(CatchPanicLayer::new()).layer(MetricsLayer::new());
    for router in [router().layer(MetricsLayer::new()), inside, outside] {
        let (counters, running) = counts(router);
        assert_eq!(counters, expected());
        assert_eq!(running, [0.0]);
    }
}
