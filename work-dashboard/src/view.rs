//! Jobs, queues, schedules and workers as the API and the pages show them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use work_core::JobState;
use work_core::store::{AttemptRecord, StoredJob, StoredSchedule, WorkerInfo};

use crate::census::QueueNow;
use crate::count::ByState;
use crate::dashboard::{App, ArgsView};

/// A job, with what may be shown of its args and its output.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) state: &'static str,
    pub(crate) priority: u8,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) crashes: u32,
    pub(crate) status: Option<u16>,
    pub(crate) stopping: bool,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) unique_key: Option<String>,
    pub(crate) timeout_ms: Option<u128>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) scheduled_at: Option<DateTime<Utc>>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) finished_at: Option<DateTime<Utc>>,
    pub(crate) worker: Option<String>,
    pub(crate) lease_until: Option<DateTime<Utc>>,
    pub(crate) progress: Option<f32>,
    pub(crate) args: Seen,
    pub(crate) output: Option<Seen>,
    pub(crate) attempts: Vec<AttemptView>,
}

/// An attempt that did not go well.
#[derive(Debug, Serialize)]
pub(crate) struct AttemptView {
    pub(crate) attempt: u32,
    pub(crate) status: u16,
    pub(crate) name: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) error: String,
    pub(crate) backtrace: Option<String>,
}

/// A JSON text, as far as it may be seen.
#[derive(Debug, Serialize)]
#[serde(tag = "show", content = "value", rename_all = "snake_case")]
pub(crate) enum Seen {
    /// It is hidden, and has this many bytes.
    Hidden(usize),
    /// Numbers stay as they are written.
    Json(Box<RawValue>),
    /// What is no JSON.
    Text(String),
}

impl Seen {
    fn of(app: &App, kind: &str, json: &Bytes) -> Self {
        match &app.args {
            ArgsView::Hidden => Self::Hidden(json.len()),
            ArgsView::Shown => Self::as_it_is(json),
            ArgsView::Redacted(redact) => match serde_json::from_slice::<Value>(json) {
                // What the hook cannot look through, or gives up on, is not shown.
                Ok(mut value) => match catch_unwind(AssertUnwindSafe(|| redact(kind, &mut value))) {
                    Ok(()) => Self::as_it_is(&Bytes::from(value.to_string())),
                    Err(_) => Self::Hidden(json.len()),
                },
                Err(_) => Self::Hidden(json.len()),
            },
        }
    }

    fn as_it_is(json: &Bytes) -> Self {
        let text = String::from_utf8_lossy(json).into_owned();
        if serde_json::from_str::<IgnoredAny>(&text).is_err() {
            return Self::Text(text);
        }
        RawValue::from_string(text.clone()).map_or(Self::Text(text), Self::Json)
    }
}

/// Headers whose names say that their values are secret.
const SECRET: [&str; 6] = ["authorization", "cookie", "password", "secret", "token", "api-key"];

fn header((name, value): (&String, &String)) -> (String, String) {
    let lower = name.to_ascii_lowercase();
    let hidden = SECRET.iter().any(|secret| lower.contains(secret));
    (name.clone(), if hidden { "•••".into() } else { value.clone() })
}

impl JobView {
    /// All of it.
    pub(crate) fn of(app: &App, stored: &StoredJob) -> Self {
        let kind = stored.job.parts.kind.as_str();
        let args = Seen::of(app, kind, &stored.job.args);
        Self { output: stored.output.as_ref().map(|output| Seen::of(app, kind, output)), ..Self::with(stored, args) }
    }

    /// For a row of a table, which shows no args: they may be large.
    pub(crate) fn row(stored: &StoredJob) -> Self {
        Self::with(stored, Seen::Hidden(stored.job.args.len()))
    }

    fn with(stored: &StoredJob, args: Seen) -> Self {
        let parts = &stored.job.parts;
        Self {
            id: parts.id.to_string(),
            kind: parts.kind.to_string(),
            queue: parts.queue.to_string(),
            state: stored.state.name(),
            priority: parts.priority,
            attempt: stored.attempt,
            max_attempts: parts.max_attempts,
            crashes: stored.crashes,
            status: stored.status.map(work_core::Status::code),
            stopping: stored.stopping,
            tags: parts.tags.clone(),
            headers: parts.headers.iter().map(header).collect(),
            unique_key: parts.unique.as_ref().map(|unique| unique.key().to_owned()),
            timeout_ms: parts.timeout.map(|timeout| timeout.as_millis()),
            created_at: stored.created_at,
            scheduled_at: parts.scheduled_at,
            expires_at: parts.expires_at,
            finished_at: stored.finished_at,
            worker: stored.worker.clone(),
            lease_until: stored.lease_until,
            progress: stored.progress,
            args,
            output: None,
            attempts: stored.attempts.iter().map(AttemptView::of).collect(),
        }
    }

    /// What the person who looks would call its state: a job that is not due yet waits, one that failed will be retried.
    pub(crate) fn label(&self, now: DateTime<Utc>) -> &'static str {
        match self.state {
            "available" if self.is_later(now) && !self.attempts.is_empty() => "retrying",
            "available" if self.is_later(now) => "scheduled",
            "running" if self.stopping => "stopping",
            "discarded" => "dead letter",
            state => state,
        }
    }

    /// True if it waits for a later time.
    pub(crate) fn is_later(&self, now: DateTime<Utc>) -> bool {
        self.is(JobState::Available) && self.scheduled_at.is_some_and(|at| at > now)
    }

    pub(crate) fn is(&self, state: JobState) -> bool {
        self.state == state.name()
    }
}

impl AttemptView {
    fn of(record: &AttemptRecord) -> Self {
        Self {
            attempt: record.attempt,
            status: record.status.code(),
            name: format!("{} {}", record.status.code(), record.status.name().replace('_', " ")),
            at: record.at,
            error: record.error.message.clone(),
            backtrace: record.error.backtrace.clone(),
        }
    }
}

/// A queue.
#[derive(Debug, Serialize)]
pub(crate) struct QueueView {
    pub(crate) queue: String,
    pub(crate) paused_at: Option<DateTime<Utc>>,
    pub(crate) counts: ByState,
    /// Seconds that the job that has been due longest waits already.
    pub(crate) oldest_ready_seconds: Option<u64>,
    /// How many of its jobs run at once, by all workers together.
    pub(crate) at_most: Option<u32>,
    /// How many jobs may wait or run in it.
    pub(crate) capacity: Option<u32>,
}

impl QueueView {
    pub(crate) fn of(QueueNow { info, counts }: &QueueNow) -> Self {
        Self {
            queue: info.queue.to_string(),
            paused_at: info.paused_at,
            counts: *counts,
            at_most: info.at_most,
            capacity: info.capacity,
            oldest_ready_seconds: info.oldest_ready_for.map(|wait| wait.as_secs()),
        }
    }
}

/// A schedule, with when it is due next.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleView {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) schedule: String,
    pub(crate) overlap: &'static str,
    pub(crate) catch_up: String,
    pub(crate) paused_at: Option<DateTime<Utc>>,
    pub(crate) last_slot: Option<DateTime<Utc>>,
    pub(crate) last_job: Option<String>,
    pub(crate) next: Vec<DateTime<Utc>>,
}

impl ScheduleView {
    pub(crate) fn of(stored: &StoredSchedule, now: DateTime<Utc>) -> Self {
        Self {
            name: stored.name.clone(),
            kind: stored.job.parts.kind.to_string(),
            queue: stored.job.parts.queue.to_string(),
            schedule: stored.schedule.clone(),
            overlap: stored.overlap.name(),
            catch_up: stored.catch_up.to_string(),
            paused_at: stored.paused_at,
            last_slot: stored.last_slot,
            last_job: stored.last_job.map(|id| id.to_string()),
            next: stored.next_slots(now, 5),
        }
    }
}

/// A worker.
#[derive(Debug, Serialize)]
pub(crate) struct WorkerView {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) queues: Vec<String>,
    pub(crate) slots: usize,
    pub(crate) running: usize,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) last_beat: DateTime<Utc>,
}

impl WorkerView {
    pub(crate) fn of(info: WorkerInfo) -> Self {
        Self {
            queues: info.queues.iter().map(ToString::to_string).collect(),
            id: info.id,
            host: info.host,
            pid: info.pid,
            version: info.version,
            slots: info.slots,
            running: info.running,
            started_at: info.started_at,
            last_beat: info.last_beat,
        }
    }
}
