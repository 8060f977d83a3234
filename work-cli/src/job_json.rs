use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use work_core::store::{AttemptRecord, StoredJob};

use crate::time::rfc3339;

/// A job as `--json` prints it: the names are part of the interface.
#[derive(Debug, Serialize)]
pub(crate) struct JobJson<'j> {
    id: String,
    kind: &'j str,
    queue: &'j str,
    state: &'static str,
    priority: u8,
    attempt: u32,
    max_attempts: Option<u32>,
    crashes: u32,
    /// The status of the last attempt.
    status: Option<u16>,
    error: Option<&'j str>,
    progress: Option<f32>,
    worker: Option<&'j str>,
    stopping: bool,
    created_at: String,
    scheduled_at: Option<String>,
    expires_at: Option<String>,
    lease_until: Option<String>,
    finished_at: Option<String>,
    timeout_ms: Option<u64>,
    unique_key: Option<&'j str>,
    tags: &'j BTreeSet<String>,
    headers: &'j BTreeMap<String, String>,
    args: Box<RawValue>,
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptJson<'j>>>,
}

/// An attempt that did not go well.
#[derive(Debug, Serialize)]
struct AttemptJson<'j> {
    attempt: u32,
    status: u16,
    error: &'j str,
    backtrace: Option<&'j str>,
    at: String,
}

impl<'j> JobJson<'j> {
    pub(crate) fn new(stored: &'j StoredJob) -> Self {
        let parts = &stored.job.parts;
        let time = |at: Option<DateTime<Utc>>| at.map(rfc3339);
        Self {
            id: parts.id.to_string(),
            kind: parts.kind.as_str(),
            queue: parts.queue.as_str(),
            state: stored.state.name(),
            priority: parts.priority,
            attempt: stored.attempt,
            max_attempts: parts.max_attempts,
            crashes: stored.crashes,
            status: stored.status.map(work_core::Status::code),
            error: stored.last_error().map(|error| error.message.as_str()),
            progress: stored.progress,
            worker: stored.worker.as_deref(),
            stopping: stored.stopping,
            created_at: rfc3339(stored.created_at),
            scheduled_at: time(parts.scheduled_at),
            expires_at: time(parts.expires_at),
            lease_until: time(stored.lease_until),
            finished_at: time(stored.finished_at),
            timeout_ms: parts.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            unique_key: parts.unique.as_ref().map(work_core::Unique::key),
            tags: &parts.tags,
            headers: &parts.headers,
            args: raw(&stored.job.args),
            output: stored.output.as_deref().map(raw),
            attempts: None,
        }
    }

    /// With every attempt that did not go well.
    pub(crate) fn in_full(stored: &'j StoredJob) -> Self {
        let attempts = stored.attempts.iter().map(AttemptJson::new).collect();
        Self { attempts: Some(attempts), ..Self::new(stored) }
    }
}

impl<'j> AttemptJson<'j> {
    fn new(record: &'j AttemptRecord) -> Self {
        Self {
            attempt: record.attempt,
            status: record.status.code(),
            error: &record.error.message,
            backtrace: record.error.backtrace.as_deref(),
            at: rfc3339(record.at),
        }
    }
}

/// JSON as it is, on one line; what is no JSON, which only an `INSERT` can have made, as a text.
fn raw(json: &[u8]) -> Box<RawValue> {
    let on_one_line = !json.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let as_it_is = on_one_line.then(|| serde_json::from_slice::<Box<RawValue>>(json).ok()).flatten();
    let anew = || {
        let value = serde_json::from_slice::<serde_json::Value>(json);
        let value = value.unwrap_or_else(|_| String::from_utf8_lossy(json).into());
        serde_json::value::to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned())
    };
    as_it_is.unwrap_or_else(anew)
}

#[cfg(test)]
mod tests {
    use work_core::store::StoredJob;
    use work_core::{Clock, Job};

    use super::{JobJson, raw};

    #[test]
    fn the_guide_names_every_field() {
        let guide = include_str!("../../docs/operations.md");
        let job = StoredJob::new(Job::new("k", ()).into_stored(100).unwrap(), Clock::system().now());
        let printed = serde_json::to_value(JobJson::in_full(&job)).unwrap();
        for name in printed.as_object().unwrap().keys() {
            assert!(guide.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
        }
    }

    #[test]
    fn json_stays_as_it_is_but_on_one_line() {
        for (given, printed) in [
            (r#"{"b":1, "a":9007199254740993}"#, r#"{"b":1, "a":9007199254740993}"#),
            ("{\n \"a\": 1\n}", r#"{"a":1}"#),
            ("{ no json", r#""{ no json""#),
            ("", r#""""#),
        ] {
            assert_eq!(raw(given.as_bytes()).get(), printed);
        }
    }
}
