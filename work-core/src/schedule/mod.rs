#[cfg(feature = "cron")]
mod cron;
mod error;
mod fault;
#[cfg(feature = "cron")]
mod field;
mod missed;
pub(crate) mod plan;
mod text;
#[cfg(feature = "cron")]
mod zone;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use error::InvalidSchedule;
pub use fault::FieldFault;
pub use missed::{CatchUp, UnknownPolicy};

#[cfg(feature = "cron")]
use cron::Cron;

/// The longest cron expression, in bytes.
pub const MAX_CRON_TEXT: usize = 256;

/// When a recurring job is due: at an interval, or by a cron expression in a time zone.
///
/// ```
/// use std::time::Duration;
/// use work_core::{Overlap, Schedule};
///
/// let schedule = Schedule::every(Duration::from_secs(60))?.overlap(Overlap::Allow);
/// assert_eq!(schedule.interval(), Some(Duration::from_secs(60)));
/// assert_eq!(schedule.to_string(), "every 60s");
/// assert!(Schedule::every(Duration::ZERO).is_err());
/// # Ok::<(), work_core::InvalidSchedule>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    timing: Timing,
    overlap: Overlap,
    catch_up: CatchUp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Timing {
    Every(Duration),
    #[cfg(feature = "cron")]
    Cron(Cron),
}

/// What happens when a run is due while the one before it still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overlap {
    /// It does not take place.
    #[default]
    Skip,
    /// Both run.
    Allow,
    /// The one before is cancelled.
    Cancel,
}

impl Overlap {
    /// The name, as stores and filters write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
            Self::Cancel => "cancel",
        }
    }
}

impl std::str::FromStr for Overlap {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let found = [Self::Skip, Self::Allow, Self::Cancel].into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| UnknownPolicy::of("overlap", text, "skip, allow or cancel"))
    }
}

impl Schedule {
    /// At once, and then every `interval`. Runs that were missed are not made up for.
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] for less than a millisecond, which is as fine as timers go.
    pub const fn every(interval: Duration) -> Result<Self, InvalidSchedule> {
        if interval.as_nanos() < 1_000_000 {
            return Err(InvalidSchedule::IntervalTooShort { given: interval });
        }
        Ok(Self { timing: Timing::Every(interval), overlap: Overlap::Skip, catch_up: CatchUp::None })
    }

    /// By a cron expression, whose times are those that clocks show in `zone`, an IANA name such as `Europe/Berlin`.
    ///
    /// There are five fields: minute (0-59), hour (0-23), day of month (1-31), month (1-12 or JAN-DEC) and day of week
    /// (0-7 or SUN-SAT; 0 and 7 are Sunday). A sixth in front of them is the second (0-59). A field is `*`, a value, a
    /// range `a-b`, a step `*/n`, `a-b/n` or `a/n` (from `a` on), or a list of these: `a,b-c`. Names may be written in
    /// either case, and ranges of months and of weekdays may wrap around, as in `FRI-MON`. If neither the day of month
    /// nor the day of week has a `*`, a day that matches one of them is enough. `@yearly`, `@annually`, `@monthly`,
    /// `@weekly`, `@daily`, `@midnight` and `@hourly` are understood.
    ///
    /// Where clocks are changed, jobs without a `*` in minute and hour take place once: at the moment of the change if
    /// their time is skipped, and the first time if it is repeated. Jobs with a `*` there follow real time: they do not
    /// take place at times that are skipped, and twice at times that are repeated.
    ///
    /// ```
    /// use work_core::Schedule;
    ///
    /// let backup = Schedule::cron("30 2 * * *", "Europe/Berlin")?;
    /// assert_eq!(backup.to_string(), "30 2 * * * Europe/Berlin");
    ///
    /// // On 29 March 2026, clocks in Berlin are put from 2:00 to 3:00, at 1:00 UTC.
    /// let due = backup.next_after("2026-03-28T12:00:00Z".parse()?);
    /// assert_eq!(due, Some("2026-03-29T01:00:00Z".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSchedule`] for text that is longer than [`MAX_CRON_TEXT`], not understood, or never due (30 February),
    /// and for an unknown time zone.
    #[cfg(feature = "cron")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cron")))]
    pub fn cron(expression: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        Ok(Self {
            timing: Timing::Cron(Cron::parse(expression, zone)?),
            overlap: Overlap::Skip,
            catch_up: CatchUp::None,
        })
    }

    /// Says what happens when a run is due while the one before it still runs; by default it is skipped.
    #[must_use]
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Says what happens to runs of a [durable schedule](crate::QueueWorker::schedule) that were missed; by default they
    /// do not take place. Other schedules never make up for runs.
    #[must_use]
    pub const fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// The first instant strictly later than `after` at which a run is due, or none if there is none that can be
    /// represented: an interval counts from `after`.
    ///
    /// The answer depends on `after` alone, so a scheduler that starts again goes on where it was.
    ///
    /// ```
    /// use work_core::Schedule;
    ///
    /// let weekdays = Schedule::cron("0 9 * * MON-FRI", "UTC")?;
    /// let friday = "2026-05-08T09:00:00Z".parse()?;
    /// assert_eq!(weekdays.next_after(friday), Some("2026-05-11T09:00:00Z".parse()?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.timing {
            Timing::Every(interval) => after.checked_add_signed(TimeDelta::from_std(*interval).ok()?),
            #[cfg(feature = "cron")]
            Timing::Cron(cron) => cron.next_after(after),
        }
    }

    /// The time from one run to the next, if it is always the same.
    #[must_use]
    pub const fn interval(&self) -> Option<Duration> {
        match &self.timing {
            Timing::Every(interval) => Some(*interval),
            #[cfg(feature = "cron")]
            Timing::Cron(_) => None,
        }
    }

    /// Whether runs may overlap.
    #[must_use]
    pub const fn overlaps(&self) -> Overlap {
        self.overlap
    }

    /// Whether runs that were missed are made up for.
    #[must_use]
    pub const fn catches_up(&self) -> CatchUp {
        self.catch_up
    }
}

/// `every 90s`, or the cron expression with numbers for names and its time zone: `0 9 * * 1-5 Europe/Berlin`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.timing {
            Timing::Every(interval) => write!(f, "every {interval:?}"),
            #[cfg(feature = "cron")]
            Timing::Cron(cron) => fmt::Display::fmt(cron, f),
        }
    }
}
