use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, Recorder, counter, gauge, histogram, with_local_recorder};
use work_core::{Job, Kind, Outcome, Queue, Status};

use super::{ARGS_BYTES, DURATION, FINISHED, OUTPUT_BYTES, QUEUE_LATENCY, RETRIED, RUNNING, STARTED};

/// Who gets the numbers: the recorder of the process if it is `None`.
pub(super) type Target = Option<Arc<dyn Recorder + Send + Sync>>;

/// Pairs of queue and kind with series of their own, for each route.
const MAX_SERIES: usize = 64;

/// The series of a route. They are looked up once for each queue and kind, so that a job makes no label. A route sees
/// few, mostly one. A std mutex: it is held for the search only.
#[derive(Default)]
pub(super) struct AllSeries(Mutex<Vec<Arc<Series>>>);

impl AllSeries {
    pub(super) fn of(&self, job: &Job, target: &Target) -> Arc<Series> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (queue, kind) = (&job.parts().queue, job.kind());
        if all.len() < MAX_SERIES {
            return find_or_add(&mut all, queue, kind, target);
        }
        if let Some(series) = find(&all, queue, kind) {
            return series;
        }
        let known = all.iter().any(|series| series.kind == *kind);
        let other = Kind::from_static("other");
        find_or_add(&mut all, &Queue::from_static("other"), if known { kind } else { &other }, target)
    }
}

fn find(all: &[Arc<Series>], queue: &Queue, kind: &Kind) -> Option<Arc<Series>> {
    all.iter().find(|series| series.queue == *queue && series.kind == *kind).cloned()
}

fn find_or_add(all: &mut Vec<Arc<Series>>, queue: &Queue, kind: &Kind, target: &Target) -> Arc<Series> {
    find(all, queue, kind).unwrap_or_else(|| {
        let series = Arc::new(Series::new(queue.clone(), kind.clone(), target.clone()));
        all.push(series.clone());
        series
    })
}

/// The handles of one queue and kind.
pub(super) struct Series {
    queue: Queue,
    kind: Kind,
    target: Target,
    started: Counter,
    retried: Counter,
    latency: Histogram,
    running: Gauge,
    /// By the name of a status: each is looked up when it is first seen, and there are few. A std mutex: it is held for
    /// the search and the two records.
    ends: Mutex<Vec<(&'static str, Counter, Histogram)>>,
}

impl Series {
    fn new(queue: Queue, kind: Kind, target: Target) -> Self {
        let labels = [("queue", queue.to_string()), ("kind", kind.to_string())];
        let (started, retried, latency, running) = to(&target, || {
            (
                counter!(STARTED, &labels),
                counter!(RETRIED, &labels),
                histogram!(QUEUE_LATENCY, &labels),
                gauge!(RUNNING, &labels),
            )
        });
        Self { queue, kind, target, started, retried, latency, running, ends: Mutex::default() }
    }

    /// `waited` is how long a first attempt waited, if that is known.
    pub(super) fn start(&self, attempt: u32, waited: Option<Duration>) {
        self.started.increment(1);
        self.running.increment(1.0);
        if attempt > 1 {
            self.retried.increment(1);
        }
        if let Some(waited) = waited {
            self.latency.record(waited.as_secs_f64());
        }
    }

    pub(super) fn end(&self, status: Status, elapsed: Duration) {
        self.running.decrement(1.0);
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ends.iter().position(|(name, ..)| *name == status.name()).unwrap_or_else(|| {
            let labels = [
                ("queue", self.queue.to_string()),
                ("kind", self.kind.to_string()),
                ("status", status.name().to_owned()),
            ];
            let (finished, duration) =
                to(&self.target, || (counter!(FINISHED, &labels), histogram!(DURATION, &labels)));
            ends.push((status.name(), finished, duration));
            ends.len() - 1
        });
        let (_, finished, duration) = &ends[at];
        finished.increment(1);
        duration.record(elapsed.as_secs_f64());
    }

    /// Looked up each time: sizes are asked for by few.
    pub(super) fn args_bytes(&self, job: &Job) {
        if let Some(bytes) = job.args_bytes() {
            self.bytes(ARGS_BYTES, bytes);
        }
    }

    pub(super) fn output_bytes(&self, outcome: &Outcome) {
        if let Some(output) = outcome.output_json() {
            self.bytes(OUTPUT_BYTES, output.len());
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    fn bytes(&self, name: &'static str, bytes: usize) {
        let labels = [("queue", self.queue.to_string()), ("kind", self.kind.to_string())];
        to(&self.target, || histogram!(name, &labels)).record(bytes as f64);
    }
}

fn to<T>(target: &Target, register: impl FnOnce() -> T) -> T {
    match target {
        Some(recorder) => with_local_recorder(&**recorder, register),
        None => register(),
    }
}
