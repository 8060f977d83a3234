use std::time::Duration;

use tokio::time::Instant;

use super::Limit;
use crate::{Directive, Outcome, Status};

/// A limit that learns its rate from how the calls went.
///
/// ```
/// use std::time::Duration;
/// use tokio::time::Instant;
/// use work_core::limit::{Adapts, Aimd, Answer};
///
/// let limit = Aimd::new(100.0, 10.0, 200.0)?;
/// limit.observe(Instant::now(), Answer::Refused { retry_after: None });
/// assert_eq!(limit.rate(), 50.0);
/// # Ok::<(), work_core::limit::InvalidLimit>(())
/// ```
pub trait Adapts: Limit {
    /// Tells it how a call went that ended at this instant.
    fn observe(&self, now: Instant, answer: Answer);

    /// Permits a second, as it stands.
    fn rate(&self) -> f64;
}

/// How a call went, as far as a limit cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The other side took it.
    Accepted,
    /// The other side had too many: 429, 503.
    Refused {
        /// How long it wants to be left alone, if it said so.
        retry_after: Option<Duration>,
    },
}

impl Answer {
    /// Refused, and not a word about when to come again.
    pub const REFUSED: Self = Self::Refused { retry_after: None };

    /// What an outcome says: 429 and 503 are refusals, and what ended well was accepted. `None`: it says nothing about the
    /// other side.
    ///
    /// ```
    /// use std::time::Duration;
    /// use work_core::{Outcome, Status, limit::Answer};
    ///
    /// let later = Outcome::snooze(Duration::from_secs(2));
    /// assert_eq!(Answer::of(&later), Some(Answer::Refused { retry_after: Some(Duration::from_secs(2)) }));
    /// assert_eq!(Answer::of(&Outcome::done()), Some(Answer::Accepted));
    /// assert_eq!(Answer::of(&Outcome::new(Status::INTERNAL_ERROR)), None);
    /// ```
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Self> {
        match outcome.status() {
            Status::TOO_MANY | Status::UNAVAILABLE => {
                let retry_after = match outcome.directive() {
                    Some(Directive::Snooze(after) | Directive::RetryAfter(after)) => Some(after),
                    _ => None,
                };
                Some(Self::Refused { retry_after })
            }
            status => status.is_complete().then_some(Self::Accepted),
        }
    }
}

impl<L: Adapts + ?Sized> Adapts for std::sync::Arc<L> {
    fn observe(&self, now: Instant, answer: Answer) {
        (**self).observe(now, answer);
    }

    fn rate(&self) -> f64 {
        (**self).rate()
    }
}
