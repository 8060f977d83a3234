//! The rule itself, as slow and as plain as can be: a look at every minute.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use work_core::Schedule;

use crate::cron;
use crate::oracle::{changes, years};

/// What a field matches, and whether a `*` is in it.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) text: String,
    pub(crate) values: Vec<u32>,
    pub(crate) star: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) minute: Field,
    pub(crate) hour: Field,
    pub(crate) day: Field,
    pub(crate) month: Field,
    pub(crate) weekday: Field,
}

impl Rule {
    pub(crate) fn text(&self) -> String {
        [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(|field| field.text.as_str()).join(" ")
    }

    pub(crate) fn is_fixed(&self) -> bool {
        !self.minute.star && !self.hour.star
    }

    /// Whether the fields match what a clock shows.
    pub(crate) fn matches(&self, shown: NaiveDateTime) -> bool {
        let day = self.day.values.contains(&shown.day());
        let weekday = self.weekday.values.contains(&shown.weekday().num_days_from_sunday());
        self.minute.values.contains(&shown.minute())
            && self.hour.values.contains(&shown.hour())
            && self.month.values.contains(&shown.month())
            && if self.day.star || self.weekday.star { day && weekday } else { day || weekday }
    }

    /// Whether a run is due in this minute.
    fn is_due(&self, zone: Tz, at: DateTime<Utc>) -> bool {
        let shown = |at: DateTime<Utc>| zone.from_utc_datetime(&at.naive_utc()).naive_local();
        let minute = TimeDelta::minutes(1);
        let now = shown(at);
        if !self.is_fixed() {
            return self.matches(now);
        }
        let quarter_hours = (1..=12).map(|quarters| TimeDelta::minutes(15 * quarters));
        let shown_before = |time| quarter_hours.clone().any(|ago| shown(at - ago) == time);
        let mut passed = std::iter::successors(Some(shown(at - minute) + minute), |time| Some(*time + minute))
            .take_while(|time| *time < now);
        (self.matches(now) && !shown_before(now)) || passed.any(|time| self.matches(time))
    }

    /// The first instant after another at which a run is due, before `end`.
    pub(crate) fn next(&self, zone: Tz, after: DateTime<Utc>, end: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let minute = after.timestamp().div_euclid(60) + 1;
        std::iter::successors(DateTime::from_timestamp(minute * 60, 0), |at| Some(*at + TimeDelta::minutes(1)))
            .take_while(|at| *at < end)
            .find(|at| self.is_due(zone, *at))
    }
}

fn field(text: &str, values: impl IntoIterator<Item = u32>) -> Field {
    Field { text: text.to_owned(), values: values.into_iter().collect(), star: text.contains('*') }
}

/// Jobs of fixed times with lists and ranges, which the other implementation takes for wildcards.
fn lists() -> Vec<Rule> {
    let daily = |minute: Field, hour: Field| Rule {
        minute,
        hour,
        day: field("*", 1..=31),
        month: field("*", 1..=12),
        weekday: field("*", 0..=6),
    };
    vec![
        daily(field("0,30", [0, 30]), field("0-4", 0..=4)),
        daily(field("10-50/20", [10, 30, 50]), field("23,0,1,2", [23, 0, 1, 2])),
        daily(field("15", [15]), field("1,2,3", [1, 2, 3])),
        daily(field("0-59", 0..=59), field("0-23", 0..=23)),
    ]
}

#[test]
fn every_zone_keeps_the_rule_for_lists_at_every_change_of_clocks() {
    let (mut asked, rules) = (0, lists());
    for zone in TZ_VARIANTS {
        let schedules: Vec<Schedule> = rules.iter().map(|rule| cron(&rule.text(), zone.name())).collect();
        for change in changes(zone, &years(), TimeDelta::hours(12)) {
            let (rule, schedule) = (&rules[asked % rules.len()], &schedules[asked % rules.len()]);
            let end = change + TimeDelta::hours(3);
            let mut after = change - TimeDelta::hours(2);
            while let Some(expected) = rule.next(zone, after, end) {
                let next = schedule.next_after(after);
                assert_eq!(next, Some(expected), "{} in {zone} after {after}", rule.text());
                after = expected;
            }
            asked += 1;
        }
    }
    println!("{asked} changes of clocks");
}
