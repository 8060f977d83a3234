//! Exact instants (UTC) where clocks are changed, in four zones that do it differently.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{at, cron, due, list};

/// Every minute for `hours` hours from `from` on.
fn minutes(from: &str, hours: i64) -> Vec<DateTime<Utc>> {
    (1..=hours * 60).map(|minute| at(from) + TimeDelta::minutes(minute)).collect()
}

/// A minutely job knows no change of clocks.
fn assert_minutely(zone: &str, from: &str) {
    let to = at(from) + TimeDelta::hours(6);
    assert_eq!(due(&cron("* * * * *", zone), at(from), to), minutes(from, 6), "{zone} from {from}");
}

#[test]
fn berlin_skips_two_to_three_and_a_daily_job_runs_at_the_change() {
    let days = ("2026-03-27T12:00:00Z", "2026-03-31T12:00:00Z");
    assert_eq!(
        list("30 2 * * *", "Europe/Berlin", days.0, days.1),
        ["03-28 01:30", "03-29 01:00", "03-30 00:30", "03-31 00:30"]
    );
    assert_eq!(
        list("30 1 * * *", "Europe/Berlin", days.0, days.1),
        ["03-28 00:30", "03-29 00:30", "03-29 23:30", "03-30 23:30"]
    );
    assert_minutely("Europe/Berlin", "2026-03-28T22:00:00Z");
}

#[test]
fn berlin_repeats_two_to_three_and_a_daily_job_runs_the_first_time() {
    let days = ("2026-10-23T12:00:00Z", "2026-10-27T12:00:00Z");
    assert_eq!(
        list("30 2 * * *", "Europe/Berlin", days.0, days.1),
        ["10-24 00:30", "10-25 00:30", "10-26 01:30", "10-27 01:30"]
    );
    assert_eq!(
        list("30 1 * * *", "Europe/Berlin", days.0, days.1),
        ["10-23 23:30", "10-24 23:30", "10-26 00:30", "10-27 00:30"]
    );
    assert_minutely("Europe/Berlin", "2026-10-24T22:00:00Z");
}

#[test]
fn new_york_skips_two_to_three_and_repeats_one_to_two() {
    let spring = ("2026-03-06T12:00:00Z", "2026-03-10T12:00:00Z");
    assert_eq!(
        list("30 2 * * *", "America/New_York", spring.0, spring.1),
        ["03-07 07:30", "03-08 07:00", "03-09 06:30", "03-10 06:30"]
    );
    assert_eq!(
        list("30 1 * * *", "America/New_York", spring.0, spring.1),
        ["03-07 06:30", "03-08 06:30", "03-09 05:30", "03-10 05:30"]
    );
    let autumn = ("2026-10-30T12:00:00Z", "2026-11-03T12:00:00Z");
    assert_eq!(
        list("30 2 * * *", "America/New_York", autumn.0, autumn.1),
        ["10-31 06:30", "11-01 07:30", "11-02 07:30", "11-03 07:30"]
    );
    assert_eq!(
        list("30 1 * * *", "America/New_York", autumn.0, autumn.1),
        ["10-31 05:30", "11-01 05:30", "11-02 06:30", "11-03 06:30"]
    );
    assert_minutely("America/New_York", "2026-03-08T04:00:00Z");
    assert_minutely("America/New_York", "2026-11-01T03:00:00Z");
}

#[test]
fn lord_howe_changes_by_half_an_hour() {
    // Put back from 2:00 (+11) to 1:30 (+10:30) on 5 April, at 15:00 UTC the day before.
    let autumn = ("2026-04-03T00:00:00Z", "2026-04-06T00:00:00Z");
    assert_eq!(
        list("30 2 * * *", "Australia/Lord_Howe", autumn.0, autumn.1),
        ["04-03 15:30", "04-04 16:00", "04-05 16:00"]
    );
    assert_eq!(
        list("30 1 * * *", "Australia/Lord_Howe", autumn.0, autumn.1),
        ["04-03 14:30", "04-04 14:30", "04-05 15:00"]
    );
    assert_eq!(
        list("45 * * * *", "Australia/Lord_Howe", "2026-04-04T13:30:00Z", "2026-04-04T17:00:00Z"),
        ["04-04 13:45", "04-04 14:45", "04-04 15:15", "04-04 16:15"]
    );
    // Put forward from 2:00 (+10:30) to 2:30 (+11) on 4 October, at 15:30 UTC the day before.
    let spring = ("2026-10-02T00:00:00Z", "2026-10-05T00:00:00Z");
    assert_eq!(
        list("30 2 * * *", "Australia/Lord_Howe", spring.0, spring.1),
        ["10-02 16:00", "10-03 15:30", "10-04 15:30"]
    );
    assert_eq!(
        list("15 2 * * *", "Australia/Lord_Howe", spring.0, spring.1),
        ["10-02 15:45", "10-03 15:30", "10-04 15:15"]
    );
    assert_eq!(
        list("30 1 * * *", "Australia/Lord_Howe", spring.0, spring.1),
        ["10-02 15:00", "10-03 15:00", "10-04 14:30"]
    );
    assert_minutely("Australia/Lord_Howe", "2026-04-04T12:00:00Z");
    assert_minutely("Australia/Lord_Howe", "2026-10-03T12:00:00Z");
}

#[test]
fn cairo_changes_at_midnight() {
    // Put forward from 0:00 to 1:00 on Friday 24 April, at 22:00 UTC the day before.
    let spring = ("2026-04-22T12:00:00Z", "2026-04-25T12:00:00Z");
    assert_eq!(list("0 0 * * *", "Africa/Cairo", spring.0, spring.1), ["04-22 22:00", "04-23 22:00", "04-24 21:00"]);
    assert_eq!(list("0 0 * * FRI", "Africa/Cairo", spring.0, spring.1), ["04-23 22:00"]);
    assert_eq!(list("30 2 * * *", "Africa/Cairo", spring.0, spring.1), ["04-23 00:30", "04-23 23:30", "04-24 23:30"]);
    assert_eq!(list("30 1 * * *", "Africa/Cairo", spring.0, spring.1), ["04-22 23:30", "04-23 22:30", "04-24 22:30"]);
    // Put back from 24:00 to 23:00 on Thursday 29 October, at 21:00 UTC.
    let autumn = ("2026-10-28T12:00:00Z", "2026-10-31T12:00:00Z");
    assert_eq!(list("0 0 * * *", "Africa/Cairo", autumn.0, autumn.1), ["10-28 21:00", "10-29 22:00", "10-30 22:00"]);
    assert_eq!(list("30 23 * * *", "Africa/Cairo", autumn.0, autumn.1), ["10-28 20:30", "10-29 20:30", "10-30 21:30"]);
    assert_eq!(list("30 1 * * *", "Africa/Cairo", autumn.0, autumn.1), ["10-28 22:30", "10-29 23:30", "10-30 23:30"]);
    assert_minutely("Africa/Cairo", "2026-04-23T19:00:00Z");
    assert_minutely("Africa/Cairo", "2026-10-29T18:00:00Z");
}

#[test]
fn several_times_of_a_gap_are_one_run() {
    let morning = ("2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z");
    assert_eq!(list("0,20,40 2 * * *", "Europe/Berlin", morning.0, morning.1), ["03-29 01:00"]);
    assert_eq!(list("0,30 2,3 * * *", "Europe/Berlin", morning.0, morning.1), ["03-29 01:00", "03-29 01:30"]);
    assert_eq!(list("*/10 30 2 * * *", "Europe/Berlin", morning.0, morning.1), ["03-29 01:00"]);
}

#[test]
fn an_hourly_job_skips_the_gap_and_runs_in_both_passes() {
    assert_eq!(
        list("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"),
        ["03-29 00:30", "03-29 01:30", "03-29 02:30"]
    );
    assert_eq!(
        list("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z"),
        ["10-25 00:30", "10-25 01:30", "10-25 02:30"]
    );
    assert_eq!(
        list("*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-26T02:00:00Z"),
        ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-26 01:00", "10-26 01:30"]
    );
    assert_eq!(
        list("*/30 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-30T01:00:00Z"),
        ["03-30 00:00", "03-30 00:30"]
    );
}

#[test]
fn a_day_that_a_zone_leaves_out_is_made_up_for_at_the_change() {
    // Samoa had no 30 December 2011: after 29 December, 24:00 (-10) came 31 December, 0:00 (+14).
    assert_eq!(
        list("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z"),
        ["12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 22:00"]
    );
    assert_eq!(
        list("0 */12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2012-01-01T00:00:00Z"),
        ["12-29 10:00", "12-29 22:00", "12-30 10:00", "12-30 22:00", "12-31 10:00", "12-31 22:00"]
    );
}

#[test]
fn a_scheduler_that_starts_while_times_are_repeated_does_not_repeat_a_nightly_job() {
    let nightly = cron("30 2 * * *", "Europe/Berlin");
    for started in ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:10:00Z", "2026-10-25T01:59:59Z"] {
        assert_eq!(nightly.next_after(at(started)), Some(at("2026-10-26T01:30:00Z")), "{started}");
    }
    // A real-time job goes on in the second pass, and at the moment of the change.
    let often = cron("*/20 * * * *", "Europe/Berlin");
    assert_eq!(often.next_after(at("2026-10-25T00:59:59Z")), Some(at("2026-10-25T01:00:00Z")));
    assert_eq!(often.next_after(at("2026-10-25T01:00:00Z")), Some(at("2026-10-25T01:20:00Z")));
}

#[test]
fn asked_from_within_a_second_the_answer_is_later_than_it() {
    let daily = cron("30 2 * * *", "Europe/Berlin");
    assert_eq!(daily.next_after(at("2026-03-29T00:59:59.999Z")), Some(at("2026-03-29T01:00:00Z")));
    assert_eq!(daily.next_after(at("2026-03-29T01:00:00.001Z")), Some(at("2026-03-30T00:30:00Z")));
    assert_eq!(daily.next_after(at("1969-12-31T01:30:00.500Z")), Some(at("1970-01-01T01:30:00Z")));
}
