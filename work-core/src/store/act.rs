use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::StoredJob;
use crate::JobState;

/// What somebody does to one job that they saw: [`Inspect::act_if`](super::Inspect::act_if).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// As [`Inspect::retry`](super::Inspect::retry).
    Retry,
    /// As [`Inspect::run_now`](super::Inspect::run_now).
    RunNow,
    /// As [`Store::cancel`](super::Store::cancel).
    Cancel,
    /// As [`Inspect::delete`](super::Inspect::delete).
    Delete,
    /// As [`Inspect::edit`](super::Inspect::edit), with these arguments.
    Edit(Bytes),
    /// Retried with these arguments. Nobody leases it with the old ones, and if it cannot be retried it keeps those.
    EditAndRetry(Bytes),
}

impl Act {
    /// The new arguments, if there are any.
    #[must_use]
    pub const fn args(&self) -> Option<&Bytes> {
        match self {
            Self::Edit(args) | Self::EditAndRetry(args) => Some(args),
            _ => None,
        }
    }
}

/// What became of an [`Act`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acted {
    /// It is done.
    Done,
    /// The job has changed since it was seen: nothing was done.
    Changed,
    /// The job is not one for that: nothing was done.
    Refused,
    /// No job has that id.
    NotFound,
}

/// What a job was like when somebody saw it: equal as long as it is in the same state, after the same attempts, with the
/// same arguments.
///
/// ```
/// use work_core::store::{Act, Acted, Inspect, JobVersion, MemoryStore};
/// use work_core::{Job, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let job = Job::new("greet", "Ann").into_stored(1024)?;
/// let id = job.parts.id;
/// store.insert(vec![job]).await?;
/// let seen = JobVersion::of(&store.get(id).await?.ok_or("gone")?);
/// let edit = |name: &str| Act::Edit(format!("{name:?}").into());
/// assert_eq!(store.act_if(id, seen.clone(), edit("Bob")).await?, Acted::Done);
/// assert_eq!(store.act_if(id, seen, edit("Eve")).await?, Acted::Changed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobVersion {
    state: JobState,
    attempt: u32,
    failures: usize,
    finished_at: Option<DateTime<Utc>>,
    args: Bytes,
}

impl JobVersion {
    /// That of a job as it was read.
    #[must_use]
    pub fn of(stored: &StoredJob) -> Self {
        Self {
            state: stored.state,
            attempt: stored.attempt,
            failures: stored.attempts.len(),
            finished_at: stored.finished_at,
            args: stored.job.args.clone(),
        }
    }
}
