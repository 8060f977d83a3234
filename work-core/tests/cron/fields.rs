//! What the fields mean.

use std::time::Duration;

use chrono::{DateTime, Utc};
use work_core::{Overlap, Schedule};

use crate::{at, cron, list};

/// The days of May 2026 (1 May is a Friday) on which an expression is due.
fn days_of_may(days: &str) -> Vec<String> {
    let instants = list(&format!("0 0 {days}"), "UTC", "2026-04-30T12:00:00Z", "2026-05-31T12:00:00Z");
    instants.iter().map(|instant| instant[3..5].to_owned()).collect()
}

#[test]
fn weekdays_are_counted_from_sunday_and_sunday_is_0_and_7() {
    assert_eq!(days_of_may("* * 0"), ["03", "10", "17", "24", "31"]);
    assert_eq!(days_of_may("* * 7"), days_of_may("* * SUN"));
    assert_eq!(days_of_may("* * 1"), ["04", "11", "18", "25"]);
    assert_eq!(days_of_may("* * 1-5").len(), 21);
    assert_eq!(days_of_may("* * mon-Fri"), days_of_may("* * 1-5"));
}

#[test]
fn ranges_of_weekdays_and_months_wrap_around() {
    let long_weekend = ["01", "02", "03", "04", "08", "09", "10", "11"];
    assert_eq!(days_of_may("* * 7-2"), days_of_may("* * SUN-TUE"));
    for days in ["FRI-MON", "5-1", "5-7,1", "fri,SAT-SUN,mon", "5,6,7-1"] {
        assert_eq!(days_of_may(&format!("* * {days}"))[..8], long_weekend, "{days}");
    }
    assert_eq!(days_of_may("* * FRI-MON/2")[..4], ["01", "03", "08", "10"]);
    assert_eq!(days_of_may("* * 0-7").len(), 31);
    let months = list("0 0 1 NOV-feb *", "UTC", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(months, ["02-01 00:00", "11-01 00:00", "12-01 00:00", "01-01 00:00"]);
}

#[test]
fn one_of_day_of_month_and_day_of_week_is_enough_if_neither_has_a_star() {
    assert_eq!(days_of_may("13 * FRI"), ["01", "08", "13", "15", "22", "29"]);
    assert_eq!(days_of_may("1-7 * *"), ["01", "02", "03", "04", "05", "06", "07"]);
    assert_eq!(days_of_may("*/10 * FRI"), ["01"], "a step from * is a star: both must match");
    assert_eq!(days_of_may("13,31 * */7"), ["31"]);
}

#[test]
fn steps_and_lists() {
    let hour = |minutes: &str| -> Vec<String> {
        let instants = list(&format!("{minutes} 7 * * *"), "UTC", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z");
        instants.iter().map(|instant| instant[9..].to_owned()).collect()
    };
    assert_eq!(hour("*/15"), ["00", "15", "30", "45"]);
    assert_eq!(hour("10-20/5"), ["10", "15", "20"]);
    assert_eq!(hour("50/4"), ["50", "54", "58"]);
    assert_eq!(hour("59,1,3-5,4"), ["01", "03", "04", "05", "59"]);
    assert_eq!(hour("*/60"), ["00"]);
}

#[test]
fn a_sixth_field_in_front_is_the_second() {
    let fast = cron("*/20 59 23 31 12 *", "UTC");
    let mut last = at("2026-12-31T23:59:10Z");
    let expected = ["2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z", "2027-12-31T23:59:00Z"];
    for instant in expected {
        last = fast.next_after(last).unwrap();
        assert_eq!(last, at(instant));
    }
}

#[test]
fn leap_days_come_every_four_years_and_on_a_weekday_after_decades() {
    let years = |expression: &str| -> Vec<String> {
        crate::due(&cron(expression, "UTC"), at("2019-01-01T00:00:00Z"), at("2110-01-01T00:00:00Z"))
            .iter()
            .map(|instant| instant.format("%Y").to_string())
            .collect()
    };
    assert_eq!(years("0 0 29 2 *")[..4], ["2020", "2024", "2028", "2032"]);
    assert_eq!(years("0 0 29 2 *")[19..], ["2096", "2104", "2108"]);
    assert_eq!(years("0 0 29 2 */7"), ["2032", "2060", "2088"], "29 February, a Sunday");
}

#[test]
fn every_month_with_the_day_and_no_other() {
    assert_eq!(
        list("0 0 31 * *", "UTC", "2026-01-31T12:00:00Z", "2026-08-31T12:00:00Z"),
        ["03-31 00:00", "05-31 00:00", "07-31 00:00", "08-31 00:00"]
    );
}

#[test]
fn a_later_month_starts_with_its_first_day() {
    let from = "2026-05-15T12:00:00Z";
    assert_eq!(list("0 0 5 6 *", "UTC", from, "2026-12-31T00:00:00Z"), ["06-05 00:00"]);
    assert_eq!(list("30 4 5 * *", "UTC", from, "2026-06-30T00:00:00Z"), ["06-05 04:30"]);
}

#[test]
fn shorthands_are_the_expressions_they_stand_for() {
    for (shorthand, expression) in [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        (" @Hourly ", "0 * * * *"),
    ] {
        assert_eq!(cron(shorthand, "UTC"), cron(expression, "UTC"));
    }
}

#[test]
fn the_text_is_canonical_and_reads_as_the_same_schedule() {
    for (given, shown) in [
        ("  30\t02  *  JAN,mar-MAY  MON-fri ", "30 2 * 1,3-5 1-5 UTC"),
        ("0 0 0 * * *", "0 0 * * * UTC"),
        ("*/5 * * * * *", "*/5 * * * * * UTC"),
        ("5/15 0 * * 7", "5/15 0 * * 0 UTC"),
        ("0 0 * * FRI-MON/2", "0 0 * * 5-1/2 UTC"),
        ("@weekly", "0 0 * * 0 UTC"),
    ] {
        let schedule = cron(given, "UTC");
        assert_eq!(schedule.to_string(), shown);
        assert_eq!(cron(shown.strip_suffix(" UTC").unwrap(), "UTC"), schedule);
    }
    assert_eq!(Schedule::every(Duration::from_millis(1500)).unwrap().to_string(), "every 1.5s");
}

#[test]
fn an_interval_counts_from_the_instant_that_is_asked_for() {
    let every = Schedule::every(Duration::from_secs(90)).unwrap();
    assert_eq!(every.next_after(at("2026-03-29T00:59:00Z")), Some(at("2026-03-29T01:00:30Z")));
    assert_eq!(every.interval(), Some(Duration::from_secs(90)));
    assert_eq!(cron("@daily", "UTC").interval(), None);
    let forever = Schedule::every(Duration::MAX).unwrap();
    assert_eq!(forever.next_after(at("2026-01-01T00:00:00Z")), None);
}

#[test]
fn overlap_is_part_of_the_schedule() {
    assert_eq!(cron("@daily", "UTC").overlaps(), Overlap::Skip);
    assert_eq!(cron("@daily", "UTC").overlap(Overlap::Allow).overlaps(), Overlap::Allow);
    assert_ne!(cron("@daily", "UTC").overlap(Overlap::Allow), cron("@daily", "UTC"));
    assert_ne!(cron("@daily", "UTC"), cron("@daily", "Europe/Berlin"));
}

#[test]
fn the_ends_of_time_are_no_panic() {
    for expression in ["* * * * * *", "0 0 29 2 *", "@yearly"] {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Niue"] {
            let schedule = cron(expression, zone);
            for before in [0, 1, 100_000] {
                let late = DateTime::<Utc>::MAX_UTC - chrono::TimeDelta::seconds(before);
                assert!(schedule.next_after(late).is_none_or(|next| next > late));
                let early = DateTime::<Utc>::MIN_UTC + chrono::TimeDelta::seconds(before);
                assert!(schedule.next_after(early).is_none_or(|next| next > early));
            }
        }
    }
}
