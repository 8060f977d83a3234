use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Counts;
use crate::limit::Rate;
use crate::{JobState, Queue};

/// A queue as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Which.
    pub queue: Queue,
    /// Since when nothing is leased from it, if it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// How many of its jobs are leased at once, by all runners together, if that is limited.
    pub at_most: Option<u32>,
    /// How many of its jobs start in a time, by all runners together, if that is limited.
    pub rate: Option<Rate>,
    /// How many jobs may wait or run in it before an insert is refused, if that is limited.
    pub capacity: Option<u32>,
    /// How many jobs are in it, by state; those that ended well are not counted here.
    pub counts: Counts,
    /// States of which it has more jobs than were counted; only if that was [asked for](super::Inspect::queues_up_to).
    pub at_least: BTreeSet<JobState>,
    /// How long the job that has been due longest waits already, if one is due.
    pub oldest_ready_for: Option<Duration>,
}

/// Queues, as far as they were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// By name.
    pub queues: Vec<QueueInfo>,
    /// False if there are more queues.
    pub complete: bool,
}

impl QueueInfo {
    /// A queue without jobs; for authors of stores.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            paused_at: None,
            at_most: None,
            rate: None,
            capacity: None,
            counts: Counts::default(),
            at_least: BTreeSet::new(),
            oldest_ready_for: None,
        }
    }
}

/// A runner at work, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its name: no two runners have the same. The jobs that it leases carry it.
    pub id: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The version of the program, or of this library if the program does not say.
    pub version: String,
    /// The queues that it drains, the first one first.
    pub queues: Vec<Queue>,
    /// How many jobs it runs at once, at most.
    pub slots: usize,
    /// How many it holds: those that run, and those that wait for a slot.
    pub running: usize,
    /// When the store first heard of it. Stores say so themselves.
    pub started_at: DateTime<Utc>,
    /// When the store last heard of it. Stores say so themselves.
    pub last_beat: DateTime<Utc>,
}

impl WorkerInfo {
    /// How long after its last beat a worker counts as gone.
    pub const GONE_AFTER: Duration = Duration::from_secs(60);

    /// A worker that has not been heard of; for authors of stores.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            host: String::new(),
            pid: 0,
            version: String::new(),
            queues: Vec::new(),
            slots: 0,
            running: 0,
            started_at: DateTime::UNIX_EPOCH,
            last_beat: DateTime::UNIX_EPOCH,
        }
    }
}

/// How long jobs are kept after they have ended.
///
/// ```
/// use std::time::Duration;
/// use work_core::store::Retention;
///
/// let keep = Retention::default().completed(Duration::from_secs(3600));
/// assert_eq!(keep.discarded, Duration::from_secs(7 * 24 * 3600));
/// assert_eq!(Retention::FOREVER.completed, Duration::MAX);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Jobs that ended well; by default a day.
    pub completed: Duration,
    /// Dead letters; by default 7 days.
    pub discarded: Duration,
    /// Cancelled jobs; by default a day.
    pub cancelled: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    fn default() -> Self {
        Self { completed: DAY, discarded: DAY.saturating_mul(7), cancelled: DAY }
    }
}

impl Retention {
    /// Keeps all jobs until somebody deletes them.
    pub const FOREVER: Self = Self { completed: Duration::MAX, discarded: Duration::MAX, cancelled: Duration::MAX };

    /// How long jobs are kept that ended well.
    #[must_use]
    pub const fn completed(mut self, time: Duration) -> Self {
        self.completed = time;
        self
    }

    /// How long dead letters are kept.
    #[must_use]
    pub const fn discarded(mut self, time: Duration) -> Self {
        self.discarded = time;
        self
    }

    /// How long cancelled jobs are kept.
    #[must_use]
    pub const fn cancelled(mut self, time: Duration) -> Self {
        self.cancelled = time;
        self
    }

    /// True if nothing is ever forgotten.
    #[must_use]
    pub fn is_forever(&self) -> bool {
        *self == Self::FOREVER
    }

    /// Jobs of this state that ended before this are forgotten; `None` for a state that is kept.
    #[must_use]
    pub fn until(&self, state: JobState, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let time = match state {
            JobState::Completed => self.completed,
            JobState::Discarded => self.discarded,
            JobState::Cancelled => self.cancelled,
            JobState::Available | JobState::Running => return None,
        };
        now.checked_sub_signed(TimeDelta::from_std(time).ok()?)
    }
}
