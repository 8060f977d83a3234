//! What holds for every expression, zone and instant.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;

use crate::oracle::{changes, years};
use crate::rule::{Field, Rule};
use crate::{at, cron, due};

/// One item of a list, from two numbers that pick a value or a range, and a step.
fn item(min: u32, max: u32) -> impl Strategy<Value = Field> {
    let count = max - min + 1;
    (0..6_u32, min..=max, min..=max, 1..=count).prop_map(move |(form, a, b, step)| {
        let (low, high) = (a.min(b), a.max(b));
        let every = step as usize;
        let (text, values): (String, Vec<u32>) = match form {
            0 => ("*".to_owned(), (min..=max).collect()),
            1 => (format!("*/{step}"), (min..=max).step_by(every).collect()),
            2 => (format!("{low}-{high}"), (low..=high).collect()),
            3 => (format!("{low}-{high}/{step}"), (low..=high).step_by(every).collect()),
            4 => (format!("{a}/{step}"), (a..=max).step_by(every).collect()),
            _ => (a.to_string(), vec![a]),
        };
        Field { text, values, star: form < 2 }
    })
}

fn field(min: u32, max: u32) -> impl Strategy<Value = Field> {
    prop::collection::vec(item(min, max), 1..4).prop_map(|items| Field {
        text: items.iter().map(|item| item.text.as_str()).collect::<Vec<_>>().join(","),
        values: items.iter().flat_map(|item| item.values.clone()).collect(),
        star: items.iter().any(|item| item.star),
    })
}

/// Mostly rules that are due daily, as the others have nothing to say on most days.
fn rule() -> impl Strategy<Value = Rule> {
    let any = |min: u32, max: u32| Field { text: "*".to_owned(), values: (min..=max).collect(), star: true };
    let day = prop_oneof![3 => Just(any(1, 31)), 1 => field(1, 31)];
    let month = prop_oneof![5 => Just(any(1, 12)), 1 => field(1, 12)];
    let weekday = prop_oneof![3 => Just(any(0, 6)), 1 => field(0, 6)];
    // Clocks are changed at night.
    let night = prop::collection::vec(prop_oneof![0..4_u32, 22..24_u32], 1..4).prop_map(|values| {
        let text = values.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        Field { text, values, star: false }
    });
    let hour = prop_oneof![1 => field(0, 23), 2 => night];
    (field(0, 59), hour, day, month, weekday).prop_map(|(minute, hour, day, month, weekday)| Rule {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}

/// A zone, and an instant: mostly at most a day and a half from a change of its clocks, if it has any.
fn place() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    (0..TZ_VARIANTS.len(), any::<prop::sample::Index>(), -130_000..130_000_i64, 0..1000_u32).prop_map(
        |(zone, change, seconds, millis)| {
            let zone = TZ_VARIANTS[zone];
            let changes = changes(zone, &years(), TimeDelta::days(1));
            let near = if changes.is_empty() { at("2026-05-01T00:00:00Z") } else { *change.get(&changes) };
            (zone, near + TimeDelta::seconds(seconds) + TimeDelta::milliseconds(millis.into()))
        },
    )
}

proptest! {
    #[test]
    fn the_answer_is_the_first_minute_of_two_days_that_keeps_the_rule(rule in rule(), (zone, after) in place()) {
        let Ok(schedule) = work_core::Schedule::cron(&rule.text(), zone.name()) else {
            return Err(TestCaseError::reject("never due, or too long"));
        };
        let end = after + TimeDelta::days(2);
        let next = schedule.next_after(after);
        prop_assert!(next.is_some_and(|next| next > after));
        prop_assert_eq!(next.filter(|next| *next < end), rule.next(zone, after, end));
    }

    #[test]
    fn asked_from_any_instant_the_list_is_the_same(
        rule in rule(),
        (zone, from) in place(),
        later in prop::collection::vec(0..260_000_i64, 20),
    ) {
        let Ok(schedule) = work_core::Schedule::cron(&rule.text(), zone.name()) else {
            return Err(TestCaseError::reject("never due, or too long"));
        };
        let list = due(&schedule, from, from + TimeDelta::seconds(260_000));
        prop_assert!(list.is_sorted_by(|a, b| a < b));
        for seconds in later {
            let after = from + TimeDelta::seconds(seconds);
            if let Some(expected) = list.iter().find(|instant| **instant > after) {
                prop_assert_eq!(schedule.next_after(after), Some(*expected), "after {}", after);
            }
        }
    }

    #[test]
    fn what_clocks_show_then_matches_the_fields_unless_they_are_put_forward(rule in rule(), (zone, after) in place()) {
        let Ok(schedule) = work_core::Schedule::cron(&rule.text(), zone.name()) else {
            return Err(TestCaseError::reject("never due, or too long"));
        };
        for instant in due(&schedule, after, after + TimeDelta::days(30)).into_iter().take(50) {
            let shown = |at: DateTime<Utc>| zone.from_utc_datetime(&at.naive_utc()).naive_local();
            let (before, now) = (shown(instant - TimeDelta::seconds(1)), shown(instant));
            let put_forward = now - before > TimeDelta::seconds(1);
            prop_assert!(rule.matches(now) || rule.is_fixed() && put_forward, "{} at {}", rule.text(), instant);
        }
    }
}

#[test]
fn time_goes_on_in_every_zone_since_clocks_have_been_set() {
    let years = at("1850-01-01T00:00:00Z")..at("2110-01-01T00:00:00Z");
    for zone in TZ_VARIANTS {
        let changes = changes(zone, &years, TimeDelta::days(7));
        for expression in ["*/30 * * * *", "0 */2 * * *", "30 0 * * *", "15,45 1-3 * * *"] {
            let schedule = cron(expression, zone.name());
            for change in &changes {
                let mut after = *change - TimeDelta::hours(4);
                for _ in 0..4 {
                    let next = schedule.next_after(after).unwrap();
                    assert!(after < next, "{expression} in {zone}: {next} after {after}");
                    assert!(next - after < TimeDelta::days(3), "{expression} in {zone}: {next} after {after}");
                    after = next;
                }
            }
        }
    }
}
