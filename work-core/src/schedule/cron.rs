use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeDelta, Timelike, Utc};

use super::field::{DAY, Field, HOUR, MINUTE, MONTH, SECOND, WEEKDAY};
use super::zone::{Shown, Zone};
use super::{InvalidSchedule, MAX_CRON_TEXT};
use crate::cut;

/// A cron expression in a time zone.
///
/// Its times are found on the calendar first, as if no clock were ever changed, and then put on the line of instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    /// The expression with numbers for names, and one space between fields.
    text: String,
    zone: Zone,
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether one of day of month and day of week is enough.
    either_day: bool,
    /// Whether it is for certain times of day, and not for all hours or all minutes.
    fixed: bool,
}

/// What the calendar repeats itself after. Whatever is due at all is due in that time.
const YEARS: i32 = 400;

impl Cron {
    pub(super) fn parse(expression: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        if expression.len() > MAX_CRON_TEXT {
            return Err(InvalidSchedule::TextTooLong { len: expression.len() });
        }
        let zone = Zone::parse(zone)?;
        let trimmed = expression.trim_matches(BLANKS);
        if trimmed.starts_with("TZ=") || trimmed.starts_with("CRON_TZ=") {
            return Err(InvalidSchedule::ZoneInText { expression: cut(expression) });
        }
        let cron = Self::from_fields(if trimmed.starts_with('@') { shorthand(trimmed)? } else { expression }, zone)?;
        let whole_calendar = NaiveDate::from_ymd_opt(2000, 1, 1);
        if whole_calendar.and_then(|start| cron.next_day(start)).is_none() {
            return Err(InvalidSchedule::NeverDue { expression: cut(expression) });
        }
        Ok(cron)
    }

    fn from_fields(expression: &str, zone: Zone) -> Result<Self, InvalidSchedule> {
        let fields: Vec<(usize, &str)> = fields(expression).collect();
        let (second, rest) = match *fields.as_slice() {
            [second, ref rest @ ..] if fields.len() == 6 => (second, rest),
            ref rest => ((0, "0"), rest),
        };
        let &[minute, hour, day, month, weekday] = rest else {
            return Err(InvalidSchedule::FieldCount { expression: cut(expression), found: fields.len() });
        };
        let second = SECOND.parse(second.1, second.0)?;
        let minute = MINUTE.parse(minute.1, minute.0)?;
        let hour = HOUR.parse(hour.1, hour.0)?;
        let day = DAY.parse(day.1, day.0)?;
        let month = MONTH.parse(month.1, month.0)?;
        let weekday = WEEKDAY.parse(weekday.1, weekday.0)?;
        Ok(Self {
            text: text([&second, &minute, &hour, &day, &month, &weekday]),
            zone,
            seconds: second.bits,
            minutes: minute.bits,
            hours: hour.bits,
            days: day.bits,
            months: month.bits,
            weekdays: weekday.bits,
            either_day: !day.wildcard && !weekday.wildcard,
            fixed: !minute.wildcard && !hour.wildcard,
        })
    }

    /// The first instant after another.
    pub(super) fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = after.trunc_subsecs(0);
        if self.fixed { self.next_fixed(after) } else { self.next_real(after) }
    }

    /// A time is due when clocks show it, or pass it, for the first time.
    fn next_fixed(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shown = self.zone.local(after)?;
        let from = match self.zone.when(shown)? {
            // Clocks have been put back, and have shown all this before.
            Shown::Twice(fold) if fold.second == after => self.zone.put_back(&fold)?.before,
            _ => next_second(shown)?,
        };
        match self.zone.when(self.next_shown(from)?)? {
            Shown::Once(at) => Some(at),
            Shown::Twice(fold) => Some(fold.first),
            Shown::Never(change) => Some(change.at),
        }
    }

    /// A time is due whenever clocks show it.
    fn next_real(&self, mut after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let shown = self.zone.local(after)?;
        let mut from = next_second(shown)?;
        if let Shown::Twice(fold) = self.zone.when(shown)?
            && fold.first == after
        {
            let change = self.zone.put_back(&fold)?;
            let due = after.checked_add_signed(self.next_shown(from)? - shown)?;
            if due < change.at {
                return Some(due);
            }
            (after, from) = (change.at - TimeDelta::seconds(1), change.after);
        }
        // Ends, as the changes that are known to a zone do.
        loop {
            match self.zone.when(self.next_shown(from)?)? {
                Shown::Once(at) => return Some(at),
                Shown::Twice(fold) => return Some(if fold.first > after { fold.first } else { fold.second }),
                Shown::Never(change) => from = change.after,
            }
        }
    }

    /// The first time that matches, not before `from`.
    fn next_shown(&self, from: NaiveDateTime) -> Option<NaiveDateTime> {
        let mut day = self.next_day(from.date())?;
        if day == from.date() {
            if let Some(time) = self.next_time(from.time()) {
                return Some(day.and_time(time));
            }
            day = self.next_day(day.succ_opt()?)?;
        }
        Some(day.and_time(self.next_time(NaiveTime::MIN)?))
    }

    /// The first time of day that matches, not before `from`.
    fn next_time(&self, from: NaiveTime) -> Option<NaiveTime> {
        let (hour, minute, second) = (from.hour(), from.minute(), from.second());
        let (first_minute, first_second) = (self.minutes.trailing_zeros(), self.seconds.trailing_zeros());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = next(self.seconds, second)
            {
                return NaiveTime::from_hms_opt(hour, minute, second);
            }
            if let Some(minute) = next(self.minutes, minute + 1) {
                return NaiveTime::from_hms_opt(hour, minute, first_second);
            }
        }
        NaiveTime::from_hms_opt(next(self.hours, hour + 1)?, first_minute, first_second)
    }

    /// The first day that matches, not before `from`.
    fn next_day(&self, from: NaiveDate) -> Option<NaiveDate> {
        let (mut year, mut month, mut day) = (from.year(), from.month(), from.day());
        while year <= from.year() + YEARS {
            match next(self.months, month) {
                Some(matching) => {
                    day = if matching == month { day } else { 1 };
                    if let Some(day) = next(self.days_of(year, matching)?, day) {
                        return NaiveDate::from_ymd_opt(year, matching, day);
                    }
                    (month, day) = (matching + 1, 1);
                }
                None => (year, month, day) = (year + 1, 1, 1),
            }
        }
        None
    }

    /// The days of a month that match, as bits from 1 on.
    fn days_of(&self, year: i32, month: u32) -> Option<u64> {
        /// A bit in each of five weeks.
        const WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        let weekday = first.weekday().num_days_from_sunday();
        let from_first = (self.weekdays >> weekday | self.weekdays << (7 - weekday)) & 0x7f;
        let by_weekday = (from_first * WEEKS) << 1;
        let matching = if self.either_day { self.days | by_weekday } else { self.days & by_weekday };
        Some(matching & ((1 << (first.num_days_in_month() + 1)) - 2))
    }
}

/// The expression and its zone.
impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.name())
    }
}

/// What stands between fields. Line ends do not: two lines are two expressions.
const BLANKS: [char; 2] = [' ', '\t'];

/// The fields, with where they start.
fn fields(expression: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut position = 0;
    expression.split(BLANKS).filter_map(move |field| {
        let start = position;
        position += field.len() + 1;
        (!field.is_empty()).then_some((start, field))
    })
}

/// The second is left out where it is that of five fields.
fn text(fields: [&Field; 6]) -> String {
    let shown = if fields[0].text == "0" { &fields[1..] } else { &fields[..] };
    shown.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn shorthand(given: &str) -> Result<&'static str, InvalidSchedule> {
    Ok(match given.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return Err(InvalidSchedule::Shorthand { given: cut(given) }),
    })
}

const fn has(bits: u64, value: u32) -> bool {
    bits >> value & 1 == 1
}

/// The first value that is in `bits`, not before `from`, which is less than 64.
fn next(bits: u64, from: u32) -> Option<u32> {
    let rest = bits >> from << from;
    (rest != 0).then(|| rest.trailing_zeros())
}

fn next_second(shown: NaiveDateTime) -> Option<NaiveDateTime> {
    shown.checked_add_signed(TimeDelta::seconds(1))
}
