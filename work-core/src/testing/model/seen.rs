//! What can be seen of a store, in a form that can be compared.

use crate::JobState;
use crate::store::{AttemptRecord, StoredJob, StoredSchedule};

/// A job. What differs from store to store is left out: the scope of a key is kept as what it does.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    who: String,
    waits: String,
    unique_key: Option<String>,
    args: String,
    state: String,
    ended: String,
    runs: String,
    attempts: Vec<AttemptRecord>,
}

impl Seen {
    pub(super) fn of(job: &StoredJob) -> Self {
        let parts = &job.job.parts;
        let args = &job.job.args;
        // Some stores also name who found that a job is not to be started.
        let worker = job.worker.as_ref().filter(|_| matches!(job.state, JobState::Running | JobState::Completed));
        Self {
            who: format!("{} {} {} {:?} {:?}", parts.id, parts.kind, parts.queue, parts.tags, parts.headers),
            waits: format!("priority {} due {:?} expires {:?}", parts.priority, parts.scheduled_at, parts.expires_at),
            unique_key: parts.unique.as_ref().map(|unique| unique.key().to_owned()),
            args: String::from_utf8_lossy(args).into_owned(),
            state: format!(
                "{} attempt {} of {:?} crashes {} status {:?}",
                job.state, job.attempt, parts.max_attempts, job.crashes, job.status
            ),
            ended: format!("created {:?} finished {:?} output {:?}", job.created_at, job.finished_at, job.output),
            runs: format!(
                "by {:?} until {:?} stopping {} progress {:?} {:?}",
                worker, job.lease_until, job.stopping, job.progress, job.progress_at
            ),
            attempts: job.attempts.clone(),
        }
    }
}

/// A schedule. The id of its job is another one each time.
pub(super) fn schedule(schedule: &StoredSchedule) -> String {
    let parts = &schedule.job.parts;
    format!(
        "{} {:?} {:?} {:?} paused {:?} created {:?} last {:?} {:?} of {} {} {:?} priority {} attempts {:?} {:?} {:?}",
        schedule.name,
        schedule.schedule,
        schedule.overlap,
        schedule.catch_up,
        schedule.paused_at,
        schedule.created_at,
        schedule.last_slot,
        schedule.last_job,
        parts.kind,
        parts.queue,
        schedule.job.args,
        parts.priority,
        parts.max_attempts,
        parts.unique.as_ref().map(crate::Unique::key),
        parts.tags,
    )
}
