use chrono::TimeDelta;
use serde_json::json;
use work_core::store::Inserted;
use work_core::{DEFAULT_MAX_ARGS, Job, Unique};

use super::json_args;
use crate::cli::EnqueueArgs;
use crate::error::CliError;
use crate::output::Out;
use crate::session::Session;
use crate::text;

/// Adds a job.
pub(super) async fn run(args: EnqueueArgs, session: &Session, out: &mut Out) -> Result<(), CliError> {
    let (dry_run, queue) = (args.dry_run, args.queue.clone());
    let job = job(args, session)?.into_stored(DEFAULT_MAX_ARGS).map_err(|error| CliError::usage(error.to_string()))?;
    if dry_run {
        let answer = json!({ "id": job.parts.id, "outcome": "valid" });
        return out.answer(&answer, "the job is valid; nothing was done");
    }
    match session.store.insert(vec![job]).await?.first() {
        Some(Inserted::New(id)) => out.answer(&json!({ "id": id, "outcome": "new" }), &id.to_string())?,
        Some(Inserted::Duplicate(id)) => {
            out.answer(&json!({ "id": id, "outcome": "duplicate" }), &id.to_string())?;
            out.note("There was a job with this id or unique key already; none was added.");
        }
        None => return Err(CliError::failed("the store gave no answer; look with `work jobs list`")),
    }
    // The job is there: what cannot be looked up is left unsaid.
    let workers = session.store.workers().await.unwrap_or_default();
    let drained: Vec<&str> = workers.iter().flat_map(|worker| &worker.queues).map(work_core::Queue::as_str).collect();
    if !drained.is_empty() && !drained.contains(&queue.as_str()) {
        let meant = text::did_you_mean(queue.as_str(), drained);
        out.note(&format!("No worker that is up drains the queue `{queue}`{meant}"));
    }
    Ok(())
}

fn job(args: EnqueueArgs, session: &Session) -> Result<Job, CliError> {
    let mut job = Job::from_json(args.kind, json_args(args.args)?).queue(args.queue);
    let after = args.after.map(|after| {
        let after = TimeDelta::from_std(after).ok();
        let due = after.and_then(|after| session.now().checked_add_signed(after));
        due.ok_or_else(|| CliError::usage("--in is beyond the last instant that exists; use less"))
    });
    if let Some(at) = after.transpose()?.or(args.at) {
        // As every verb of a worker has it.
        if at - session.now() > TimeDelta::days(10 * 366) {
            return Err(CliError::usage(format!("due {at} is out of range; use at most ten years from now")));
        }
        job = job.scheduled_at(at);
    }
    if let Some(at) = args.expires_at {
        job = job.expires_at(at);
    }
    if let Some(priority) = args.priority {
        job = job.priority(priority);
    }
    if let Some(attempts) = args.max_attempts {
        job = job.max_attempts(attempts);
    }
    if let Some(timeout) = args.timeout {
        job = job.timeout(timeout);
    }
    if let Some(key) = args.unique {
        job = job.unique(Unique::new(key));
    }
    if let Some(id) = args.id {
        job = job.with_id(id);
    }
    job = args.tag.into_iter().fold(job, Job::tag);
    Ok(args.header.into_iter().fold(job, |job, (name, value)| job.header(name, value)))
}
