use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{BoxFuture, ErrorRecord, NewJob, Store};
use crate::{JobId, JobState, Kind, Queue, Status, StoreError};

/// What people look through: reading, never the hot path.
pub trait Inspect: Store {
    /// One job, if it is kept.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn get(&self, id: JobId) -> BoxFuture<'_, Result<Option<StoredJob>, StoreError>>;

    /// Jobs in the order they arrived, from the start or after a page's [`next`](Page::next), at most `limit`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn list(&self, filter: JobFilter, after: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Page, StoreError>>;

    /// How many jobs of a filter are in each state.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn counts(&self, filter: JobFilter) -> BoxFuture<'_, Result<Counts, StoreError>>;

    /// Makes a dead letter or a cancelled job available again, with one more attempt if it had none left.
    /// Answers whether it was one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    fn retry(&self, id: JobId) -> BoxFuture<'_, Result<bool, StoreError>>;
}

/// Which jobs to look at; an empty filter is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Of this queue.
    pub queue: Option<Queue>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this state.
    pub state: Option<JobState>,
}

impl JobFilter {
    /// True if the job is one of these; for stores that look at rows themselves.
    #[must_use]
    pub fn fits(&self, stored: &StoredJob) -> bool {
        let parts = &stored.job.parts;
        self.queue.as_ref().is_none_or(|queue| *queue == parts.queue)
            && self.kind.as_ref().is_none_or(|kind| *kind == parts.kind)
            && self.state.is_none_or(|state| state == stored.state)
    }
}

/// A job as it stands in the store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StoredJob {
    /// The job.
    pub job: NewJob,
    /// Where it is in its life.
    pub state: JobState,
    /// How many attempts it has had, the running one included.
    pub attempt: u32,
    /// How many of them ended without any report.
    pub crashes: u32,
    /// How the last attempt went.
    pub status: Option<Status>,
    /// What it returned, as JSON.
    pub output: Option<Bytes>,
    /// The attempts that did not go well, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

impl StoredJob {
    /// A job that was just accepted; for authors of stores.
    #[must_use]
    pub const fn new(job: NewJob, created_at: DateTime<Utc>) -> Self {
        Self {
            job,
            state: JobState::Available,
            attempt: 0,
            crashes: 0,
            status: None,
            output: None,
            attempts: Vec::new(),
            created_at,
            finished_at: None,
        }
    }

    /// Why it is a dead letter, or why its last attempt failed.
    #[must_use]
    pub fn last_error(&self) -> Option<&ErrorRecord> {
        self.attempts.last().map(|a| &a.error)
    }
}

/// An attempt that did not go well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// How it went.
    pub status: Status,
    /// What went wrong.
    pub error: ErrorRecord,
    /// When it ended.
    pub at: DateTime<Utc>,
}

/// A part of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<StoredJob>,
    /// Where the next page starts, if there is one.
    pub next: Option<i64>,
}

/// How many jobs are in each state; states without jobs may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(pub BTreeMap<JobState, u64>);

impl Counts {
    /// The number of jobs in one state.
    #[must_use]
    pub fn of(&self, state: JobState) -> u64 {
        self.0.get(&state).copied().unwrap_or_default()
    }

    /// The number of jobs that will still run or are running.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.of(JobState::Available) + self.of(JobState::Running)
    }

    /// The number of all jobs.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
