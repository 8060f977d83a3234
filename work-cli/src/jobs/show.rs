use chrono::{DateTime, Utc};
use serde_json::Value;
use work_core::store::StoredJob;
use work_core::{JobId, JobState};

use super::no_such_job;
use crate::error::CliError;
use crate::job_json::JobJson;
use crate::output::Out;
use crate::session::Session;
use crate::text;
use crate::time::{relative, rfc3339, rough};

/// Prints all that is known of a job.
pub(super) async fn run(id: JobId, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let Some(job) = session.store.get(id).await? else { return Err(no_such_job(id)) };
    if out.is_json() {
        return out.value(&JobJson::in_full(&job));
    }
    head(&job, session.now(), out)?;
    block("args", &pretty(&job.job.args), out)?;
    if let Some(output) = &job.output {
        block("output", &pretty(output), out)?;
    }
    for attempt in &job.attempts {
        let title = format!("attempt {} ended {}, {}", attempt.attempt, attempt.status, rfc3339(attempt.at));
        block(&title, &attempt.error.message, out)?;
        if let Some(backtrace) = &attempt.error.backtrace {
            block("  from", backtrace, out)?;
        }
    }
    if matches!(job.state, JobState::Discarded | JobState::Cancelled) {
        out.flush()?;
        out.note(&format!(
            "\nagain: `work jobs retry {id}`; with other args: `work jobs edit {id} --args JSON --retry`"
        ));
    }
    Ok(())
}

fn head(job: &StoredJob, now: DateTime<Utc>, out: &mut Out) -> Result<(), CliError> {
    let parts = &job.job.parts;
    let time = |at: DateTime<Utc>| format!("{} ({})", rfc3339(at), relative(at, now));
    let list = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join(", "));
    let most = parts.max_attempts.map_or_else(String::new, |most| format!(" of {most}"));
    let crashes = if job.crashes == 0 { String::new() } else { format!(", {} without a report", job.crashes) };
    let stopping = if job.stopping { ", asked to stop" } else { "" };
    let fields = [
        ("id", Some(parts.id.to_string())),
        ("kind", Some(parts.kind.to_string())),
        ("queue", Some(parts.queue.to_string())),
        ("state", Some(format!("{}{stopping}", job.state))),
        ("status", job.status.map(|status| status.to_string())),
        ("attempt", Some(format!("{}{most}{crashes}", job.attempt))),
        ("priority", Some(parts.priority.to_string())),
        ("progress", job.progress.map(|done| format!("{:.0} %", done * 100.0))),
        ("created", Some(time(job.created_at))),
        ("due", parts.scheduled_at.map(time)),
        ("expires", parts.expires_at.map(time)),
        ("ended", job.finished_at.map(time)),
        ("worker", job.worker.clone()),
        ("lease until", job.lease_until.map(time)),
        ("timeout", parts.timeout.map(rough)),
        ("unique key", parts.unique.as_ref().map(|unique| unique.key().to_owned())),
        ("tags", list(parts.tags.iter().cloned().collect())),
        ("headers", list(parts.headers.iter().map(|(name, value)| format!("{name}={value}")).collect())),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            out.line(&format!("{name:<12} {}", text::one_line(&value)))?;
        }
    }
    Ok(())
}

fn block(title: &str, body: &str, out: &mut Out) -> Result<(), CliError> {
    out.line(&format!("\n{title}"))?;
    text::lines(body).lines().try_for_each(|line| out.line(&format!("  {line}")))
}

fn pretty(json: &[u8]) -> String {
    let value = serde_json::from_slice::<Value>(json).ok();
    let text = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    text.unwrap_or_else(|| String::from_utf8_lossy(json).into_owned())
}
