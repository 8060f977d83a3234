//! What goes wrong at the edges: a job that no one can take, a verb that is refused, a store that fails.

use std::fmt;

use crate::args::ArgsError;
use crate::compose::{MAX_RESERVED, RESERVED};
use crate::cut;
use crate::name::InvalidName;
use crate::{JobId, Kind, QueueFull, Status};

/// Any error, boxed. What a [`Service`](tower_service::Service) of jobs fails with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The longest value of a header, in bytes.
pub const MAX_HEADER: usize = 4096;

/// How many headers a job may have, those of this library and of layers included.
pub const MAX_HEADERS: usize = 64;

/// A job that no store would take, and the part that is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJob {
    /// Its kind or its queue.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Its arguments.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// An option outside its range.
    #[error("{option} {given} is out of range; use {accepted}")]
    OutOfRange {
        /// Which option.
        option: &'static str,
        /// What was given.
        given: String,
        /// What is accepted.
        accepted: &'static str,
    },
    /// Its unique key.
    #[error("invalid unique key {given:?}: {why}; use 1 to 512 bytes, none of them zero")]
    UniqueKey {
        /// The key, at most 80 characters of it.
        given: String,
        /// What is wrong with it.
        why: String,
    },
    /// The queues of a runner.
    #[error(transparent)]
    Queues(#[from] crate::runner::InvalidQueues),
    /// A header.
    #[error("header {name:?} is invalid: {why}")]
    Header {
        /// The name that was given, at most 80 characters of it.
        name: String,
        /// What is wrong, and what is accepted.
        why: &'static str,
    },
    /// The value of a header is too long.
    #[error("header {name:?} has {size} bytes; at most {limit} are accepted: pass the address of what is larger")]
    HeaderTooLong {
        /// The name that was given, at most 80 characters of it.
        name: String,
        /// Bytes given.
        size: usize,
        /// Bytes accepted.
        limit: usize,
    },
}

impl InvalidJob {
    pub(crate) fn out_of_range(option: &'static str, given: impl fmt::Display, accepted: &'static str) -> Self {
        Self::OutOfRange { option, given: given.to_string(), accepted }
    }

    pub(crate) fn key(given: &str, why: impl Into<String>) -> Self {
        Self::UniqueKey { given: cut(given), why: why.into() }
    }

    pub(crate) fn check_header(name: &str, value: &str) -> Result<(), Self> {
        let reserved = name.starts_with(RESERVED);
        let (size, limit) = (value.len(), if reserved { MAX_RESERVED } else { MAX_HEADER });
        let why = if name.is_empty() || name.len() > 128 {
            "names have 1 to 128 bytes"
        } else if size > limit {
            return Err(Self::HeaderTooLong { name: cut(name), size, limit });
        } else if reserved {
            // JSON that we made or a handler returned: it may have line breaks.
            if !value.contains('\0') {
                return Ok(());
            }
            "U+0000 is not accepted"
        } else if name.chars().chain(value.chars()).any(char::is_control) {
            "control characters are not accepted"
        } else {
            return Ok(());
        };
        Err(Self::Header { name: cut(name), why })
    }
}

/// Why a verb of a [`Worker`](crate::Worker) did not accept a job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerformError {
    /// The router has no handler of that kind. Nothing was stored.
    #[error("no handler of kind {kind:?}; the router has: {known}")]
    UnknownKind {
        /// The kind that was given.
        kind: Kind,
        /// The kinds that the router has, in order; the first ones, if there are many.
        known: String,
    },
    /// The job itself is wrong. Nothing was stored.
    #[error(transparent)]
    Invalid(#[from] InvalidJob),
    /// One of several jobs is wrong, or has no handler. None of them was stored.
    #[error("job {index} of the batch, from 0: {error}")]
    InBatch {
        /// Which of them, from 0.
        index: usize,
        /// What is wrong with it.
        #[source]
        error: Box<Self>,
    },
    /// The worker was stopped. Nothing was stored.
    #[error("the worker has stopped and accepts no more jobs")]
    Stopped,
    /// It was called outside of a runtime, and has to spawn a task. Nothing was accepted.
    #[error("there is no tokio runtime here; use `perform` within a task, or enter a runtime first")]
    NoRuntime,
    /// The worker's capacity is used up; the job comes back.
    #[error("the worker is full: {capacity} jobs are waiting or running")]
    Full {
        /// The job that found no room.
        job: Box<crate::Job>,
        /// How many jobs fit.
        capacity: usize,
    },
    /// The queue of the job is used up, for all workers of the store. Nothing was stored.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The store failed. [`StoreError::is_unknown`] tells whether the job may be stored all the same.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for PerformError {
    fn from(error: StoreError) -> Self {
        match error.queue_full() {
            Some(full) => Self::QueueFull(full.clone()),
            None => Self::Store(error),
        }
    }
}

impl PerformError {
    /// It is this job of a batch that is wrong, if it is a job.
    pub(crate) fn in_batch(self, index: usize) -> Self {
        match self {
            Self::UnknownKind { .. } | Self::Invalid(_) => Self::InBatch { index, error: Box::new(self) },
            other => other,
        }
    }
}

/// A store that could not do what it was asked.
///
/// An insert that fails is either *rejected*, then nothing is stored, or *unknown*: the answer was lost and the job
/// may be stored. Repeating an unknown insert with the same [`JobId`](crate::JobId) never makes a second job.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    fault: Option<StoreFault>,
    message: String,
    source: Option<BoxError>,
}

/// What is wrong with a store, where an operator can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFault {
    /// There is no room left: free some, or prune.
    Full,
    /// Somebody else holds it for longer than was waited: it passes, or somebody must end what holds it.
    Busy,
    /// It cannot be reached, or does not answer: see that it runs, and the way to it.
    Unavailable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreErrorKind {
    Rejected,
    Unknown,
    Closed,
}

impl StoreError {
    /// Certainly nothing was changed.
    pub fn rejected(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { kind: StoreErrorKind::Rejected, fault: None, message: message.into(), source: Some(source.into()) }
    }

    /// The answer was lost: the change may have been made.
    pub fn unknown(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self { kind: StoreErrorKind::Unknown, fault: None, message: message.into(), source: Some(source.into()) }
    }

    /// The store was closed before the request reached it: nothing was changed.
    #[must_use]
    pub fn closed() -> Self {
        Self { kind: StoreErrorKind::Closed, fault: None, message: "the store is closed".into(), source: None }
    }

    /// The queue that had no room, if that is why an insert was refused. To be told from a store that
    /// [has none](Self::is_full).
    #[must_use]
    pub fn queue_full(&self) -> Option<&QueueFull> {
        self.source.as_deref()?.downcast_ref()
    }

    /// Says what is wrong with the store.
    ///
    /// ```
    /// use work_core::{StoreError, StoreFault};
    ///
    /// let error = StoreError::rejected("the disk is full", "no space left on device").because(StoreFault::Full);
    /// assert!(error.is_full() && !error.is_busy() && !error.is_unknown());
    /// ```
    #[must_use]
    pub const fn because(mut self, fault: StoreFault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// What is wrong with the store, if it is something that an operator can mend.
    #[must_use]
    pub const fn fault(&self) -> Option<StoreFault> {
        self.fault
    }

    /// True if the store has no room left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.fault == Some(StoreFault::Full)
    }

    /// True if somebody else held the store for too long: the same call may succeed later.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.fault == Some(StoreFault::Busy)
    }

    /// True if the store could not be reached or did not answer.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.fault == Some(StoreFault::Unavailable)
    }

    /// True if the change may have been made all the same.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.kind == StoreErrorKind::Unknown
    }

    /// True if the store was closed: no later call will succeed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.kind == StoreErrorKind::Closed
    }
}

impl From<QueueFull> for StoreError {
    fn from(full: QueueFull) -> Self {
        Self::rejected("the insert is refused", full)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        if self.is_unknown() { f.write_str(" (the change may have been made)") } else { Ok(()) }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// Why the outcome of a job is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The worker or its runtime went away first.
    #[error("the worker went away before job {0} ended")]
    WorkerGone(JobId),
    /// The store failed while it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no output of a job to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The job did not end well: it is a dead letter, or was cancelled.
    #[error("job {id} ended with status {status}: {error}", status = status.code())]
    Failed {
        /// Which job.
        id: JobId,
        /// How it ended.
        status: Status,
        /// What went wrong; empty if nothing was said.
        error: String,
    },
    /// Its output is of another shape.
    #[error(transparent)]
    Shape(#[from] ArgsError),
    /// Its end cannot be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
}
