use std::time::Duration;

use super::{Health, Record};

pub(super) const DEFAULT_WINDOW: Duration = Duration::from_secs(300);
pub(super) const DEFAULT_MINIMUM: u64 = 5;
pub(super) const DEFAULT_ALLOWED: f64 = 0.5;

/// What a [`Health`] looks at, and what it allows.
#[derive(Debug, Clone, Copy)]
pub struct HealthBuilder {
    latest: Latest,
    minimum: Option<u64>,
    allowed: f64,
}

#[derive(Debug, Clone, Copy)]
enum Latest {
    Count(usize),
    Time(Duration),
}

/// A [`Health`] or a [`Heartbeat`](super::Heartbeat) that could not say anything.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHealth {
    /// The number of executions to look at.
    #[error("count {0} is out of range; use 1 to 1000000")]
    Count(usize),
    /// The time to look back, or the age of a heartbeat.
    #[error("time {0:?} is out of range; use more than zero")]
    Time(Duration),
    /// The share of errors that is allowed.
    #[error("allowed share {0} is out of range; use 0 to less than 1")]
    Share(f64),
    /// The number of executions below which nothing is said.
    #[error("minimum {minimum} is never reached by a count of {count}; use at most that")]
    Minimum {
        /// The minimum that was given.
        minimum: u64,
        /// The count that was given.
        count: usize,
    },
}

/// The most executions that are looked at by count: one bit each.
const MAX_COUNT: usize = 1_000_000;

impl HealthBuilder {
    pub(super) const fn by_count(n: usize) -> Self {
        Self { latest: Latest::Count(n), minimum: None, allowed: DEFAULT_ALLOWED }
    }

    pub(super) const fn by_time(window: Duration) -> Self {
        Self { latest: Latest::Time(window), minimum: Some(DEFAULT_MINIMUM), allowed: DEFAULT_ALLOWED }
    }

    /// With fewer executions than this, all is well. By default all of a count, and 5 of a time.
    #[must_use]
    pub const fn minimum(mut self, executions: u64) -> Self {
        self.minimum = Some(executions);
        self
    }

    /// The share of errors that is still well, from 0 to less than 1: at 1 nothing could ever be wrong. By default 0.5.
    #[must_use]
    pub const fn allowed_share(mut self, share: f64) -> Self {
        self.allowed = share;
        self
    }

    /// The health, with nothing noted yet.
    ///
    /// # Errors
    ///
    /// [`InvalidHealth`] names what is out of range, and what is accepted.
    pub fn build(self) -> Result<Health, InvalidHealth> {
        if !(0.0..1.0).contains(&self.allowed) {
            return Err(InvalidHealth::Share(self.allowed));
        }
        match self.latest {
            Latest::Count(count) if !(1..=MAX_COUNT).contains(&count) => Err(InvalidHealth::Count(count)),
            Latest::Count(count) => {
                let minimum = self.minimum.unwrap_or(count as u64);
                if minimum > count as u64 {
                    return Err(InvalidHealth::Minimum { minimum, count });
                }
                Ok(Health::new(minimum, self.allowed, Record::by_count(count)))
            }
            Latest::Time(window) if window.is_zero() => Err(InvalidHealth::Time(window)),
            Latest::Time(window) => {
                Ok(Health::new(self.minimum.unwrap_or(DEFAULT_MINIMUM), self.allowed, Record::by_time(window)))
            }
        }
    }
}
