use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Wall time. Everything that compares a stored instant with "now" asks a clock, so that a test can set it.
///
/// Intervals are measured by tokio's clock instead, which a test can pause.
///
/// ```
/// use std::time::Duration;
/// use work_core::Clock;
///
/// let clock = Clock::manual("2026-03-29T00:59:59Z".parse()?);
/// let before = clock.now();
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.now() - before, chrono::TimeDelta::seconds(2));
/// # Ok::<(), chrono::ParseError>(())
/// ```
#[derive(Clone, Default)]
pub struct Clock(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    System,
    /// Microseconds since 1970.
    Manual(Arc<AtomicI64>),
    /// A wall instant, and tokio's instant at that moment.
    Tokio(DateTime<Utc>, tokio::time::Instant),
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`advance`](Self::advance) or [`set`](Self::set) moves it. Clones move together.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.timestamp_micros()))))
    }

    /// A clock that starts at `start` and goes with tokio's clock: pausing or advancing that moves this.
    #[must_use]
    pub fn tokio(start: DateTime<Utc>) -> Self {
        Self(Source::Tokio(start, tokio::time::Instant::now()))
    }

    /// The time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the place that reads the machine's clock")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Manual(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap_or_default()
            }
            Source::Tokio(start, since) => later(*start, since.elapsed()),
        }
    }

    /// Milliseconds since 1970 by the clock of this machine, without a calendar.
    #[expect(clippy::disallowed_methods, reason = "the machine's clock, where a test never sets it: in ids")]
    pub(crate) fn system_millis() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or_default())
    }

    /// Moves a manual clock forward; any other clock moves by itself, and this does nothing to it.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(micros) = &self.0 {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            micros.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// Sets a manual clock, forward or back; any other clock is left as it is.
    pub fn set(&self, to: DateTime<Utc>) {
        if let Source::Manual(micros) = &self.0 {
            micros.store(to.timestamp_micros(), Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            Source::System => "Clock::system",
            Source::Manual(_) => "Clock::manual",
            Source::Tokio(..) => "Clock::tokio",
        };
        write!(f, "{name}({})", self.now())
    }
}

/// `at + by`, or the last instant that exists: never an overflow.
#[must_use]
pub(crate) fn later(at: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| at.checked_add_signed(by)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
