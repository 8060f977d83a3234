//! Any text at all: an answer or a typed error, at once.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use work_core::Schedule;

use crate::{at, cron};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

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

const PARTS: &[&str] = &[
    "*",
    "/",
    "-",
    ",",
    " ",
    "\t",
    "\n",
    "0",
    "7",
    "59",
    "60",
    "99999999999999999999",
    "MON",
    "jan",
    "@",
    "\u{e9}",
    "\0",
];

/// Any bytes, parts of expressions in any order, or an expression that was tampered with.
fn text(random: &mut Random) -> String {
    match random.below(3) {
        0 => {
            let bytes: Vec<u8> = (0..random.below(201)).map(|_| random.next().to_le_bytes()[0]).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        1 => (0..random.below(40)).map(|_| random.pick(PARTS)).collect(),
        _ => {
            let mut chars: Vec<char> = random.pick(VALID).chars().collect();
            for _ in 0..=random.below(3) {
                let at = random.below(chars.len() + 1);
                let new = random.pick(PARTS).chars();
                let end = (at + random.below(2)).min(chars.len());
                chars.splice(at..end, new);
            }
            chars.into_iter().collect()
        }
    }
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
            assert!(message.len() < 3_000, "{message}");
            false
        }
    }
}

/// Set `CRON_SEED` to go through the texts of a run again.
#[test]
fn any_text_is_a_schedule_or_a_typed_error() {
    let seed = std::env::var("CRON_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("CRON_SEED={seed}");
    let mut random = Random(seed);
    let accepted = (0..200_000)
        .filter(|_| {
            let text = text(&mut random);
            std::panic::catch_unwind(|| check(&text)).unwrap_or_else(|_| panic!("CRON_SEED={seed}: {text:?}"))
        })
        .count();
    println!("{accepted} of 200000 were schedules");
    assert!((2_000..150_000).contains(&accepted), "{accepted} accepted: the texts are not what they should be");
}

#[test]
fn any_zone_is_known_or_a_typed_error() {
    let seed = RandomState::new().hash_one(0);
    println!("seed {seed}");
    let mut random = Random(seed);
    for _ in 0..300 {
        let text = text(&mut random);
        assert!(Schedule::cron("@daily", &text).unwrap_err().to_string().len() < 1_000, "{text:?}");
    }
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
