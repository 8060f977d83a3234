//! Any text at all: an answer or a typed error, at once.

use std::time::{Duration, Instant};

use work_core::Schedule;
use work_core::testing::fuzz::{Fuzz, Random, check_message};

use crate::{at, cron};

const VALID: &[&str] = &[
    "30 2 * * *",
    "*/5 0-3,22-23 1,15 JAN-MAR MON-FRI",
    "0 */15 * * * *",
    "59 59 23 31 12 7",
    "0 0 29 2 *",
    "10-50/20 * * NOV-FEB FRI-MON/2",
    "@daily",
    "@yearly",
];

const SIGNS: &[&str] = &["*", "/", "-", ",", " ", "\t", "0", "7", "59", "60", "MON", "jan", "@", "L", "#"];

/// Parts of expressions in any order, or whatever a text may be.
fn text(random: &mut Random) -> String {
    if random.once_in(3) { (0..random.below(40)).map(|_| *random.pick(SIGNS)).collect() } else { random.text(VALID) }
}

/// What is accepted has a next time, and a canonical text that reads as the same; what is not has a message.
fn check(text: &str) -> bool {
    let after = at("2026-03-28T23:30:00.5Z");
    match Schedule::cron(text, "Europe/Berlin") {
        Ok(schedule) => {
            let next = schedule.next_after(after).unwrap();
            assert!(next > after);
            let canonical = schedule.to_string();
            assert_eq!(cron(canonical.strip_suffix(" Europe/Berlin").unwrap(), "Europe/Berlin"), schedule);
            true
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("use ") || message.contains("give it"), "{message}");
            check_message(&message);
            false
        }
    }
}

#[test]
fn any_text_is_a_schedule_or_a_typed_error() {
    let (mut accepted, mut all) = (0, 0_u32);
    Fuzz::new("cron").run(text, |text| {
        all += 1;
        accepted += u32::from(check(text));
    });
    println!("{accepted} of {all} were schedules");
    assert!(
        all < 1_000 || (all / 100..all / 4 * 3).contains(&accepted),
        "{accepted} of {all}: the texts are not what they should be"
    );
}

#[test]
fn any_zone_is_known_or_a_typed_error() {
    let zones = ["Europe/Berlin", "UTC", "America/New_York", "Etc/GMT+5", "GB"];
    Fuzz::new("time zones").texts(&zones, |text| {
        if let Err(error) = Schedule::cron("@daily", text) {
            check_message(error);
        }
    });
}

/// A thousandth of a second each, on a machine that has other things to do, in a build without optimisation.
#[test]
fn the_worst_texts_are_read_at_once() {
    let longest = "0,".repeat(123) + "0";
    let worst = [
        format!("{longest} * * * *"),
        "0-59,".repeat(48) + "0 * * * *",
        " ".repeat(256),
        "*".repeat(256),
        "0 0 30 2 *".to_owned(),
        "0 0 31 2,4,6,9,11 *".to_owned(),
        "0 0 29 2 */7".to_owned(),
        "1--100000000 * * * *".to_owned(),
        "*/4294967296 * * * *".to_owned(),
        "\u{10ffff}".repeat(64),
    ];
    let start = Instant::now();
    let after = at("2088-03-01T00:00:00Z");
    for text in worst.iter().cycle().take(10_000) {
        if let Ok(schedule) = Schedule::cron(text, "America/New_York") {
            assert!(schedule.next_after(after) > Some(after));
        }
    }
    let spent = start.elapsed();
    println!("10000 texts in {spent:?}");
    assert!(spent < Duration::from_secs(10), "10000 texts took {spent:?}");
}
