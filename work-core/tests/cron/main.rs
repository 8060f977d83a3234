//! Cron schedules: when they are due, above all where clocks are changed.
#![cfg(feature = "cron")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod changes;
mod errors;
mod fields;
mod fuzz;
mod oracle;
mod properties;
mod rule;

use chrono::{DateTime, Utc};
use work_core::Schedule;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn cron(expression: &str, zone: &str) -> Schedule {
    Schedule::cron(expression, zone).unwrap()
}

/// The instants after `from` and not after `to`, each asked from the one before it.
fn due(schedule: &Schedule, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let next_after = |last: &DateTime<Utc>| {
        schedule.next_after(*last).inspect(|next| assert!(next > last, "{schedule}: {next} after {last}"))
    };
    std::iter::successors(next_after(&from), next_after).take_while(|instant| *instant <= to).collect()
}

/// As [`due`], in UTC and without seconds.
fn list(expression: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let instants = due(&cron(expression, zone), at(from), at(to));
    instants.iter().map(|instant| instant.format("%m-%d %H:%M").to_string()).collect()
}
