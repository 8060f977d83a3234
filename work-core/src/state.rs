use std::fmt;
use std::str::FromStr;

/// Where a job is in its life. (How one attempt went is a [`Status`](crate::Status).)
///
/// ```text
///            lease                  settle
/// available ──────▶ running ──┬──▶ completed
///     ▲                       ├──▶ discarded   (a dead letter)
///     └──── retry, snooze, ───┴──▶ cancelled
///           release, rescue
/// ```
///
/// "Scheduled" and "retryable" are views of available: due later, and due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum JobState {
    /// It waits, until it is due or until a worker has room.
    Available,
    /// A worker holds a lease of it.
    Running,
    /// It ended well.
    Completed,
    /// It failed for good and is kept: a dead letter.
    Discarded,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 5] = [Self::Available, Self::Running, Self::Completed, Self::Discarded, Self::Cancelled];

    /// The name, as stores, filters and metrics write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
        }
    }

    /// True if nothing more happens to it by itself.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Discarded | Self::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no [`JobState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state {given:?}; use available, running, completed, discarded or cancelled")]
pub struct UnknownState {
    given: String,
}

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|state| state.name() == text);
        found.ok_or_else(|| UnknownState { given: crate::cut(text) })
    }
}
