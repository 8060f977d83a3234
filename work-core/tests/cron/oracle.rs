//! Every time zone there is, at every change of clocks from 2020 to 2030, against another implementation.
//!
//! croner takes a job for one of fixed time only if second, minute and hour are one value each. Here, as in Vixie's
//! cron, minute and hour without a `*` make it one, so that lists and ranges differ where clocks are changed: those
//! are checked against the rule itself, in [`crate::rule`].

use std::ops::Range;

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;

use crate::{at, cron};

/// One time of day, or a `*` in minute or hour.
const EXPRESSIONS: &[&str] = &[
    "30 2 * * *",
    "0 0 * * *",
    "30 1 * * *",
    "0 3 * * *",
    "59 23 * * *",
    "0 2 * * SUN",
    "0 0 1 * *",
    "30 0 * * FRI",
    "15 1 25-31 3,10 7",
    "0 12 * * 1-5",
    "*/7 * * * *",
    "30 * * * *",
    "*/20 2 * * *",
    "0 */3 * * *",
    "*/30 0-3 * * *",
    "*/45 1 * 10-12,1-4 0",
];

fn offset(zone: Tz, at: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()
}

/// The instants at which clocks are changed, unless they are changed back within a `step`.
pub(crate) fn changes(zone: Tz, years: &Range<DateTime<Utc>>, step: TimeDelta) -> Vec<DateTime<Utc>> {
    let starts = std::iter::successors(Some(years.start), |start| Some(*start + step));
    starts
        .take_while(|start| *start < years.end)
        .filter(|start| offset(zone, *start) != offset(zone, *start + step))
        .map(|start| {
            let (mut old, mut new) = (start, start + step);
            while new - old > TimeDelta::seconds(1) {
                let middle = old + (new - old) / 2;
                *(if offset(zone, middle) == offset(zone, start) { &mut old } else { &mut new }) = middle;
            }
            new
        })
        .collect()
}

pub(crate) fn years() -> Range<DateTime<Utc>> {
    at("2020-01-01T00:00:00Z")..at("2030-12-31T00:00:00Z")
}

#[test]
fn every_zone_agrees_with_another_implementation_at_every_change_of_clocks() {
    let theirs: Vec<Cron> = EXPRESSIONS.iter().map(|expression| expression.parse().unwrap()).collect();
    let mut asked = 0;
    for zone in TZ_VARIANTS {
        let changes = changes(zone, &years(), TimeDelta::hours(12));
        for (expression, theirs) in EXPRESSIONS.iter().zip(&theirs) {
            let ours = cron(expression, zone.name());
            let seed = asked;
            let near = changes.iter().zip(seed..).flat_map(|(change, n)| around(n).map(|by| *change + by));
            for after in near.chain(samples(seed, 5)) {
                let theirs = theirs.find_next_occurrence(&after.with_timezone(&zone), false).unwrap();
                assert_eq!(ours.next_after(after).unwrap(), theirs, "{expression} in {zone} after {after}");
                asked += 1;
            }
        }
    }
    println!("{asked} instants");
}

/// Four ways from a change of clocks, other ones for each seed: zones with the same rules are asked at other instants.
fn around(seed: usize) -> impl Iterator<Item = TimeDelta> {
    const MINUTES: [i64; 9] = [-1501, -180, -45, -1, 0, 1, 29, 60, 90];
    (0..4).map(move |n| TimeDelta::minutes(MINUTES[(seed + n * 2) % MINUTES.len()]))
}

/// Instants spread over the years, other ones for each seed.
fn samples(seed: usize, count: usize) -> impl Iterator<Item = DateTime<Utc>> {
    let years = years();
    let seconds = (years.end - years.start).num_seconds();
    (seed * count..(seed + 1) * count)
        .map(move |n| years.start + TimeDelta::seconds(i64::try_from(n).unwrap() * 214_013_471 % seconds))
}
