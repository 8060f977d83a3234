use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{ErrorRecord, NewJob};
use crate::{JobState, Queue, Status};

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
    /// How much of the work is done, from 0 to 1, as its handler said last.
    pub progress: Option<f32>,
    /// When the store heard of it.
    pub progress_at: Option<DateTime<Utc>>,
    /// Who runs it, or held it last.
    pub worker: Option<String>,
    /// When its lease ends unless it is extended, while it runs.
    pub lease_until: Option<DateTime<Utc>>,
    /// True if it runs and was asked to stop.
    pub stopping: bool,
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
            progress: None,
            progress_at: None,
            worker: None,
            lease_until: None,
            stopping: false,
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
    /// The jobs. There may be fewer than were asked for, also none, before the last page: a store looks at a limited
    /// number of rows for one page, so that a filter that few jobs meet does not hold up others.
    pub jobs: Vec<StoredJob>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<i64>,
}

/// A part of a count: how many of its jobs are in each state, by queue.
///
/// ```
/// use work_core::store::{Inspect, JobFilter, MemoryStore, Tally};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), work_core::StoreError> {
/// let (store, mut all) = (MemoryStore::new(), Tally::default());
/// loop {
///     let part = store.tally(JobFilter::all(), all.next, 1_000).await?;
///     if all.add(part).is_none() {
///         break;
///     }
/// }
/// assert_eq!(all.total(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// What was counted.
    pub queues: BTreeMap<Queue, Counts>,
    /// Where the next part starts; `None` after the last.
    pub next: Option<i64>,
}

impl Tally {
    /// What a page holds; for authors of stores.
    #[must_use]
    pub fn of_page(page: &Page) -> Self {
        let mut tally = Self { next: page.next, ..Self::default() };
        page.jobs.iter().for_each(|stored| tally.count(stored.job.parts.queue.clone(), stored.state, 1));
        tally
    }

    /// Counts jobs; for authors of stores.
    pub fn count(&mut self, queue: Queue, state: JobState, jobs: u64) {
        *self.queues.entry(queue).or_default().0.entry(state).or_default() += jobs;
    }

    /// Adds the next part, and answers where the one after that starts.
    pub fn add(&mut self, part: Self) -> Option<i64> {
        for (queue, counts) in part.queues {
            counts.0.into_iter().for_each(|(state, jobs)| self.count(queue.clone(), state, jobs));
        }
        self.next = part.next;
        self.next
    }

    /// The number of jobs that were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queues.values().map(Counts::total).sum()
    }
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
