use std::time::Duration;

use super::{FieldFault, MAX_CRON_TEXT};

/// A schedule that could not be kept. The message says what was given, what is wrong with it, and what is accepted.
///
/// ```
/// use work_core::Schedule;
///
/// let error = Schedule::cron("0 9 * * mon-fry", "UTC").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "invalid day of week \"mon-fry\" at byte 8 of the cron expression: it is no value of this field; \
///      use 0 to 7 (0 and 7 are Sunday) or SUN to SAT, *, ranges a-b, steps */n or a-b/n, lists a,b"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSchedule {
    /// An interval finer than timers are.
    #[error("interval {given:?} is too short; use at least 1 ms")]
    IntervalTooShort {
        /// The interval.
        given: Duration,
    },
    /// A text that is no schedule.
    #[error("{given:?} is no schedule; use \"every 90s\", or a cron expression and a time zone, as \"0 9 * * * UTC\"")]
    Text {
        /// The text, up to 80 characters of it.
        given: String,
    },
    /// A cron expression that is too long to be one.
    #[error("a cron expression of {len} bytes is too long; use at most {MAX_CRON_TEXT}")]
    TextTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A cron expression with more or fewer fields than there are.
    #[error(
        "the cron expression {expression:?} has {found} fields; use 5 (minute, hour, day of month, month, day of week) \
         or 6 (a second before them), such as \"30 2 * * MON-FRI\", or a shorthand such as @daily"
    )]
    FieldCount {
        /// The expression, up to 80 characters of it.
        expression: String,
        /// How many fields it has.
        found: usize,
    },
    /// An `@word` that is none of the shorthands.
    #[error(
        "unknown shorthand {given:?}; use @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly, \
         or Schedule::every for intervals"
    )]
    Shorthand {
        /// The expression, up to 80 characters of it.
        given: String,
    },
    /// A time zone in front of the expression, as some crontabs have it.
    #[error("the cron expression {expression:?} names a time zone; give it as the second argument instead")]
    ZoneInText {
        /// The expression, up to 80 characters of it.
        expression: String,
    },
    /// A field that could not be read.
    #[error("invalid {field} {text:?} at byte {position} of the cron expression: {fault}; use {accepted}")]
    Field {
        /// The field's name, such as `"day of month"`.
        field: &'static str,
        /// The part of the field that is wrong, up to 80 characters of it: all of it, or one item of its list.
        text: String,
        /// Where that part starts in the expression, in bytes.
        position: usize,
        /// What is wrong.
        fault: FieldFault,
        /// What is accepted there.
        accepted: &'static str,
    },
    /// A cron expression for days that no year has, such as 30 February.
    #[error("the cron expression {expression:?} is never due; use a day of month that one of its months has")]
    NeverDue {
        /// The expression, up to 80 characters of it.
        expression: String,
    },
    /// A time zone that is not known.
    #[error(
        "unknown time zone {given:?}{}; use an IANA name such as Europe/Berlin or UTC",
        .near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
    )]
    UnknownZone {
        /// The name, up to 80 characters of it.
        given: String,
        /// The zone that was perhaps meant.
        near: Option<&'static str>,
    },
}
