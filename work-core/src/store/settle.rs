use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{LeaseKey, NewJob};
use crate::Status;

/// One end of an attempt: what [`Store::settle`](super::Store::settle) takes.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The lease it ends.
    pub key: LeaseKey,
    /// How the attempt went.
    pub status: Status,
    /// What becomes of the job.
    pub settlement: Settlement,
    /// What went wrong, if anything did; kept with the attempt.
    pub error: Option<ErrorRecord>,
    /// Jobs to insert in the same transaction, and only if the lease is still current.
    pub then: Vec<NewJob>,
}

/// What becomes of a job after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settlement {
    /// It is done.
    Complete {
        /// What it returned, as JSON.
        output: Option<Bytes>,
    },
    /// It failed and is due again.
    Retry {
        /// When.
        at: DateTime<Utc>,
    },
    /// It is due again, and this attempt does not count.
    Snooze {
        /// When.
        at: DateTime<Utc>,
    },
    /// It failed for good and is kept as a dead letter.
    Discard,
    /// It was cancelled.
    Cancel,
}

/// What a store did with one [`Settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is recorded.
    Done,
    /// The lease was no longer current: nothing was changed, and no follow-up was inserted.
    Lost,
}

/// What went wrong in an attempt, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorRecord {
    /// The text of the error and of its causes, at most 8 KiB.
    pub message: String,
    /// Where it came from, if that was recorded.
    pub backtrace: Option<String>,
}

/// The longest text that an [`ErrorRecord`] keeps, in bytes.
pub const MAX_ERROR_TEXT: usize = 8 * 1024;

impl ErrorRecord {
    /// A record with this text, shortened with a mark if it is longer than is kept.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: shortened(message.into()), backtrace: None }
    }

    /// Adds where it came from.
    #[must_use]
    pub fn with_backtrace(mut self, backtrace: impl Into<String>) -> Self {
        self.backtrace = Some(shortened(backtrace.into()));
        self
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_ERROR_TEXT {
        let whole = text.len();
        text.truncate(text.floor_char_boundary(MAX_ERROR_TEXT));
        text.push_str(&format!("… (shortened from {whole} bytes)"));
    }
    text
}
