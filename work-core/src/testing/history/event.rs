use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::links;
use crate::store::{SCHEDULE_HEADER, SLOT_HEADER, StoredJob};
use crate::{JobId, JobState, Parts, Queue};

/// One line of a history: what happened, when, and in which process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was written: what it tells had happened by then.
    pub at: DateTime<Utc>,
    /// When the call began whose answer this is: it did not happen earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// The process that wrote it.
    pub pid: u32,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

impl Event {
    /// It did not happen before this.
    #[must_use]
    pub fn earliest(&self) -> DateTime<Utc> {
        self.since.unwrap_or(self.at)
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A process begins to write. The system may give the number of one that is gone to another one: this tells them apart.
    Began,
    /// A job is about to be inserted, by a verb, by a handler, or as a follow-up.
    Offered {
        /// Which job.
        job: JobId,
        /// Its kind.
        kind: String,
        /// Its unique key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// When it is due.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<DateTime<Utc>>,
        /// How many attempts it may have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_attempts: Option<u32>,
        /// Its queue, if that is not the default one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
    },
    /// From the beginning, so many jobs of a queue may be leased at once.
    Limited {
        /// Which queue. With `:*` at its end, the limit of the queue of each key.
        queue: String,
        /// How many.
        at_most: u32,
    },
    /// From the beginning, so many jobs of a queue may be leased in any span of so long.
    Rated {
        /// Which queue.
        queue: String,
        /// How many.
        most: u32,
        /// The span, in milliseconds.
        within: u64,
    },
    /// The insert was answered: it is stored.
    Accepted {
        /// Which job.
        job: JobId,
    },
    /// The insert was answered: another job holds the unique key, nothing was stored.
    Duplicate {
        /// The job that was not stored.
        job: JobId,
        /// The one that holds the key.
        holder: JobId,
    },
    /// The insert was answered: certainly not stored.
    Refused {
        /// Which job.
        job: JobId,
    },
    /// A lease was given.
    Leased {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
        /// The attempt that it is for.
        attempt: u32,
        /// When it ends unless it is extended, by the clock of the store.
        until: DateTime<Utc>,
    },
    /// The answer that gave a lease was lost: nobody holds it, and it may be taken back at any time.
    Unanswered {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
    },
    /// A lease was extended.
    Extended {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
        /// It does not end earlier.
        until: DateTime<Utc>,
    },
    /// A handler begins.
    Started {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
        /// Which attempt.
        attempt: u32,
    },
    /// A handler does what it is there for.
    Effect {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
    },
    /// A handler ends, well or not, or was dropped.
    Returned {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
    },
    /// The store is about to hear of the end of an attempt. Without an answer, it may have taken it.
    Settling {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
    },
    /// The store took the end of an attempt.
    Settled {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
        /// What became of the job.
        end: End,
    },
    /// The store refused the end of an attempt, since the lease had passed on.
    Stale {
        /// Which job.
        job: JobId,
        /// The number of the lease.
        fence: u64,
    },
    /// A process was killed. Written when it is gone; [`Event::since`] is when it was told to.
    Killed {
        /// Which process.
        victim: u32,
    },
    /// A process is about to be frozen.
    Stalled {
        /// Which process.
        victim: u32,
    },
    /// A frozen process goes on.
    Resumed {
        /// Which process.
        victim: u32,
    },
    /// What the store holds in the end is about to be written: a job of which nothing follows is lost, also if nothing follows
    /// at all.
    Listed,
    /// What the store holds of a job in the end.
    Kept {
        /// Which job.
        job: JobId,
        /// Where it is.
        state: JobState,
        /// Attempts that ended without a report, as the store counts them.
        #[serde(default)]
        crashes: u32,
        /// The job that it follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        follows: Option<Follows>,
        /// The jobs that are to follow it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        then: Vec<Then>,
        /// The jobs that must have ended before it starts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        after: Vec<JobId>,
        /// The slot of a schedule that it was made for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slot: Option<Slot>,
    },
}

/// What became of a job at the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// It is completed.
    Completed,
    /// It is a dead letter.
    Discarded,
    /// It is cancelled.
    Cancelled,
    /// There is another attempt.
    Retried,
    /// The attempt was given back.
    GivenBack,
}

/// Which job a follow-up follows, and under which name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Follows {
    /// The job before.
    pub job: JobId,
    /// What the follow-up is called among those of the job before.
    pub name: String,
}

/// A follow-up that a job is to have, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Then {
    /// What it is called.
    pub name: String,
    /// When there is one.
    pub when: When,
}

/// At which end of a job a follow-up comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum When {
    /// The job is completed.
    Completed,
    /// The job is a dead letter.
    Discarded,
    /// The job has ended in any way.
    Ended,
}

impl When {
    pub(super) const fn is_met_by(self, state: JobState) -> bool {
        match self {
            Self::Completed => matches!(state, JobState::Completed),
            Self::Discarded => matches!(state, JobState::Discarded),
            Self::Ended => state.is_terminal(),
        }
    }
}

/// A slot of a durable schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slot {
    /// The name of the schedule.
    pub schedule: String,
    /// The instant, as text.
    pub at: String,
}

impl End {
    /// Where the job is then, if it has ended.
    #[must_use]
    pub const fn state(self) -> Option<JobState> {
        match self {
            Self::Completed => Some(JobState::Completed),
            Self::Discarded => Some(JobState::Discarded),
            Self::Cancelled => Some(JobState::Cancelled),
            Self::Retried | Self::GivenBack => None,
        }
    }
}

impl What {
    /// A job of this kind, without options.
    #[must_use]
    pub fn offered(job: JobId, kind: impl Into<String>) -> Self {
        Self::Offered { job, kind: kind.into(), key: None, due: None, max_attempts: None, queue: None }
    }

    /// A job, with those of its options that are checked.
    #[must_use]
    pub fn offer(parts: &Parts) -> Self {
        Self::Offered {
            job: parts.id,
            kind: parts.kind.as_str().to_owned(),
            key: parts.unique.as_ref().map(|unique| unique.key().to_owned()),
            due: parts.scheduled_at,
            max_attempts: parts.max_attempts,
            queue: (parts.queue != Queue::DEFAULT).then(|| parts.queue.as_str().to_owned()),
        }
    }

    /// A job in this state, that has nothing to do with others.
    #[must_use]
    pub const fn kept(job: JobId, state: JobState) -> Self {
        Self::Kept { job, state, crashes: 0, follows: None, then: Vec::new(), after: Vec::new(), slot: None }
    }

    /// A job as the store has it, with what its headers say of other jobs.
    #[must_use]
    pub fn stored(stored: &StoredJob) -> Self {
        let headers = &stored.job.parts.headers;
        let slot = headers.get(SCHEDULE_HEADER).zip(headers.get(SLOT_HEADER));
        Self::Kept {
            job: stored.job.parts.id,
            state: stored.state,
            crashes: stored.crashes,
            follows: links::follows(headers),
            then: links::then(headers),
            after: links::after(headers),
            slot: slot.map(|(schedule, at)| Slot { schedule: schedule.clone(), at: at.clone() }),
        }
    }

    /// The job that it is about.
    #[must_use]
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::Offered { job, .. }
            | Self::Accepted { job }
            | Self::Duplicate { job, .. }
            | Self::Refused { job }
            | Self::Leased { job, .. }
            | Self::Unanswered { job, .. }
            | Self::Extended { job, .. }
            | Self::Started { job, .. }
            | Self::Effect { job, .. }
            | Self::Returned { job, .. }
            | Self::Settling { job, .. }
            | Self::Settled { job, .. }
            | Self::Stale { job, .. }
            | Self::Kept { job, .. } => Some(*job),
            Self::Limited { .. } | Self::Rated { .. } => None,
            Self::Began | Self::Listed | Self::Killed { .. } | Self::Stalled { .. } | Self::Resumed { .. } => None,
        }
    }
}
