use std::fmt;

use work_core::{Context, JobId, Kind, Parts, Queue, Status};

/// What a hook gets to see: which execution, and once it has ended, how.
#[derive(Clone, Copy)]
pub struct Event<'e> {
    pub(super) job: &'e Ids,
    pub(super) context: &'e Context,
    /// `None` at the start.
    pub(super) end: Option<End<'e>>,
}

/// Which job it is.
pub(super) struct Ids {
    id: JobId,
    kind: Kind,
    queue: Queue,
}

#[derive(Clone, Copy)]
pub(super) struct End<'e> {
    pub(super) status: Status,
    pub(super) error: Option<&'e str>,
    pub(super) next: Next,
}

/// What becomes of a job after an execution, see [`RetryPolicy`](work_core::RetryPolicy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Next {
    /// It is done.
    Complete,
    /// There will be another attempt.
    Retry,
    /// It runs again later, and the attempt is given back.
    Snooze,
    /// It is a dead letter.
    Discard,
    /// It was cancelled.
    Cancel,
}

impl Ids {
    pub(super) fn of(parts: &Parts) -> Self {
        Self { id: parts.id, kind: parts.kind.clone(), queue: parts.queue.clone() }
    }
}

impl<'e> Event<'e> {
    /// Which job.
    #[must_use]
    pub const fn job_id(&self) -> JobId {
        self.job.id
    }

    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> &'e Kind {
        &self.job.kind
    }

    /// Where it waited.
    #[must_use]
    pub const fn queue(&self) -> &'e Queue {
        &self.job.queue
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.context.attempt()
    }

    /// How many attempts the job may have.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.context.max_attempts()
    }

    /// The context of the execution, with what layers and the handler put there.
    #[must_use]
    pub const fn context(&self) -> &'e Context {
        self.context
    }

    /// How it ended; `None` at the start.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.end.map(|end| end.status)
    }

    /// The text of what went wrong, if anything did and it has a text.
    #[must_use]
    pub fn error(&self) -> Option<&'e str> {
        self.end.and_then(|end| end.error)
    }

    /// What becomes of the job; `None` at the start.
    #[must_use]
    pub fn next(&self) -> Option<Next> {
        self.end.map(|end| end.next)
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("job_id", &self.job.id)
            .field("kind", &self.job.kind)
            .field("attempt", &self.attempt())
            .field("status", &self.status())
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}
