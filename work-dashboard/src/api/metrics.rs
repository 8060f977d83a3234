//! What is in the store, for Prometheus. What workers do is counted where they are.

use std::fmt::Write as _;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use work_core::JobState;

use super::Answer;
use crate::call::Call;
use crate::count::Count;
use crate::snapshot::snapshot;
use crate::view::QueueView;

const STATES: [JobState; 5] =
    [JobState::Available, JobState::Running, JobState::Completed, JobState::Discarded, JobState::Cancelled];

/// Queues that have series of their own, so that names made by jobs do not fill the memory of whoever collects them.
const MAX_QUEUES: usize = 500;

pub(crate) async fn metrics(call: Call) -> Answer {
    let snapshot = snapshot(&call.app).await?;
    let mut queues: Vec<_> = snapshot.queues.iter().map(QueueView::of).collect();
    queues.sort_by_key(|queue| std::cmp::Reverse((queue.counts.available + queue.counts.running).jobs()));
    queues.truncate(MAX_QUEUES);
    queues.sort_by(|a, b| a.queue.cmp(&b.queue));

    let mut text = Text::default();
    text.family("work_store_jobs", "Jobs in the store, by state.");
    for state in STATES {
        text.sample("work_store_jobs", &[("state", state.name())], snapshot.counts.state(state).jobs());
    }
    text.family(
        "work_store_jobs_exact",
        "1 if the number of jobs is exact. Otherwise it is of the last count, or if there was none yet, the number so far.",
    );
    for state in STATES {
        let exact = matches!(snapshot.counts.state(state), Count::Exactly(_));
        text.sample("work_store_jobs_exact", &[("state", state.name())], u64::from(exact));
    }
    let age = snapshot.counted_since.map_or(0, |since| (snapshot.at - since).num_seconds().max(0).unsigned_abs());
    text.family("work_store_counted_seconds", "How long ago the last count of many jobs began; 0 if there was none.");
    text.sample("work_store_counted_seconds", &[], age);
    text.family("work_store_queue_jobs", "Jobs in a queue, by state; those that ended well are not counted.");
    for queue in &queues {
        for state in STATES.into_iter().filter(|state| *state != JobState::Completed) {
            let labels = [("queue", queue.queue.as_str()), ("state", state.name())];
            text.sample("work_store_queue_jobs", &labels, queue.counts.state(state).jobs());
        }
    }
    let oldest = |queue: &QueueView| queue.oldest_ready_seconds.unwrap_or_default();
    let paused = |queue: &QueueView| u64::from(queue.paused_at.is_some());
    text.family(
        "work_store_queue_oldest_ready_seconds",
        "How long the job that has been due longest waits; 0 if none is due.",
    );
    queues.iter().for_each(|queue| text.of_queue("work_store_queue_oldest_ready_seconds", queue, oldest(queue)));
    text.family("work_store_queue_paused", "1 if nothing is leased from the queue.");
    queues.iter().for_each(|queue| text.of_queue("work_store_queue_paused", queue, paused(queue)));
    for (name, help, value) in [
        ("work_store_workers", "Workers that were heard of in the last minute.", snapshot.workers),
        ("work_store_worker_slots", "Jobs that they can run at once.", snapshot.slots),
        ("work_store_worker_slots_busy", "Slots in which a job runs.", snapshot.busy),
    ] {
        text.family(name, help);
        text.sample(name, &[], value as u64);
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response())
}

/// The text format of Prometheus. All of it are gauges.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn of_queue(&mut self, name: &str, queue: &QueueView, value: u64) {
        self.sample(name, &[("queue", &queue.queue)], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if place == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}
