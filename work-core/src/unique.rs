use std::time::Duration;

use crate::error::InvalidJob;
use crate::worker::MAX_AHEAD;

/// What makes another job the same job: while a job with this key holds it, no second one is accepted.
///
/// ```
/// use work_core::{Job, Unique};
///
/// let job = Job::new("sync", 7).unique(Unique::new("account:7"));
/// assert_eq!(job.parts().unique.as_ref().map(|u| u.key()), Some("account:7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unique {
    key: String,
    scope: UniqueScope,
    on_conflict: OnConflict,
}

/// How long a unique key is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum UniqueScope {
    /// Until the job is completed, discarded or cancelled.
    #[default]
    WhileActive,
    /// As long as the store keeps the job, whatever became of it.
    WhileKept,
    /// Until the job is completed, discarded or cancelled, and at least so long after it was accepted, as long as the store
    /// keeps it. What counts is the time that the later job says.
    Within(Duration),
}

/// What becomes of a job whose unique key another one holds. Unless it runs after that one it is not accepted; its handle is
/// then that of the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnConflict {
    /// The holder stays as it is.
    #[default]
    KeepFirst,
    /// The holder gets the arguments of the later job if it waits, for its first or its next attempt. One that runs or has
    /// ended stays as it is.
    ReplaceArgs,
    /// If the holder runs, the job is kept, waits until that has ended, however it ends, and holds the key from then on. One
    /// job waits so at most: a later one is not accepted, its handle is that of the one that waits. So whatever was true when
    /// a job was performed is seen by a run that starts after it, and no two run at once.
    ///
    /// Only for keys that are held [while their job is active](UniqueScope::WhileActive), by both jobs.
    RunAfter,
}

/// The longest key, in bytes.
pub const MAX_UNIQUE_KEY: usize = 512;

impl Unique {
    /// A key that is held until its job ends.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), scope: UniqueScope::WhileActive, on_conflict: OnConflict::KeepFirst }
    }

    /// A key that is held as long as the store keeps the job.
    pub fn while_kept(key: impl Into<String>) -> Self {
        Self { scope: UniqueScope::WhileKept, ..Self::new(key) }
    }

    /// The key is held at least so long after its job was accepted, on a store: at most one job in each such time. A worker
    /// in memory holds it until the job ends.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_core::{Job, Unique};
    ///
    /// let hourly = Unique::new("digest:ann").within(Duration::from_secs(3_600));
    /// assert!(Job::new("digest", "ann").unique(hourly).validate().is_ok());
    /// ```
    #[must_use]
    pub const fn within(mut self, window: Duration) -> Self {
        self.scope = UniqueScope::Within(window);
        self
    }

    /// What becomes of a job whose key another one holds, on a store; by default the holder stays as it is.
    ///
    /// ```
    /// use work_core::{Job, OnConflict, Unique};
    ///
    /// let sync = |account: u32| Unique::new(format!("sync:{account}")).on_conflict(OnConflict::RunAfter);
    /// assert!(Job::new("sync", 7).unique(sync(7)).validate().is_ok());
    /// let kept = Unique::while_kept("k").on_conflict(OnConflict::RunAfter);
    /// assert!(Job::new("sync", 7).unique(kept).validate().is_err());
    /// ```
    #[must_use]
    pub const fn on_conflict(mut self, then: OnConflict) -> Self {
        self.on_conflict = then;
        self
    }

    /// What becomes of a job whose key another one holds.
    #[must_use]
    pub const fn conflict(&self) -> OnConflict {
        self.on_conflict
    }

    /// The window, if there is one.
    #[must_use]
    pub const fn window(&self) -> Option<Duration> {
        match self.scope {
            UniqueScope::Within(window) => Some(window),
            _ => None,
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same with another key.
    #[cfg(feature = "encryption")]
    pub(crate) fn renamed(&self, key: String) -> Self {
        Self { key, ..self.clone() }
    }

    /// How long it is held.
    #[must_use]
    pub const fn scope(&self) -> UniqueScope {
        self.scope
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidJob> {
        if let Some(window) = self.window().filter(|window| window.is_zero() || *window > MAX_AHEAD) {
            return Err(InvalidJob::out_of_range(
                "unique window",
                format!("{window:?}"),
                "more than zero, at most ten years",
            ));
        }
        if self.on_conflict == OnConflict::RunAfter && self.scope != UniqueScope::WhileActive {
            let given = format!("{:?} together with RunAfter", self.scope);
            return Err(InvalidJob::out_of_range("unique scope", given, "WhileActive"));
        }
        if self.key.is_empty() {
            Err(InvalidJob::key("", "it is empty"))
        } else if self.key.len() > MAX_UNIQUE_KEY {
            Err(InvalidJob::key(&self.key, format!("it has {} bytes", self.key.len())))
        } else if self.key.contains('\0') {
            Err(InvalidJob::key(&self.key, "it contains U+0000"))
        } else {
            Ok(())
        }
    }
}
