use std::time::Duration;

use tokio::time::Instant;

use super::Limit;

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
}

impl<L: Adapts + ?Sized> Adapts for std::sync::Arc<L> {
    fn observe(&self, now: Instant, answer: Answer) {
        (**self).observe(now, answer);
    }

    fn rate(&self) -> f64 {
        (**self).rate()
    }
}
