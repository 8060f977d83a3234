use crate::error::InvalidJob;

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
}

/// The longest key, in bytes.
pub const MAX_UNIQUE_KEY: usize = 512;

impl Unique {
    /// A key that is held until its job ends.
    pub fn new(key: impl Into<String>) -> Self {
        Self { key: key.into(), scope: UniqueScope::WhileActive }
    }

    /// A key that is held as long as the store keeps the job.
    pub fn while_kept(key: impl Into<String>) -> Self {
        Self { key: key.into(), scope: UniqueScope::WhileKept }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How long it is held.
    #[must_use]
    pub const fn scope(&self) -> UniqueScope {
        self.scope
    }

    pub(crate) fn validate(&self) -> Result<(), InvalidJob> {
        if self.key.is_empty() {
            Err(InvalidJob::key("it is empty".into()))
        } else if self.key.len() > MAX_UNIQUE_KEY {
            Err(InvalidJob::key(format!("it has {} bytes", self.key.len())))
        } else if self.key.contains('\0') {
            Err(InvalidJob::key("it contains U+0000".into()))
        } else {
            Ok(())
        }
    }
}
