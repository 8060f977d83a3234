//! Workers, schedules and callers on one thread, over a store that fails, hangs and loses answers, with crashes, stops, pauses
//! and clocks that jump: everything follows from a seed, and the checker of histories reads what came of it.
//!
//! `WORK_SIM_SEEDS=100000` looks at more seeds, `WORK_SEED=7` repeats one and says what happened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod callers;
mod handlers;
mod limited;
mod workers;
mod world;

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use work_core::testing::history::{History, Report, What};
use work_core::testing::{Dice, Seeded};
use world::World;

/// What a seed came to.
struct Ran {
    history: History,
    report: Report,
    /// What was broken beside what the checker knows.
    broken: Vec<String>,
}

/// The life of one world, with a runtime of its own, so that nothing of it is left for the next one.
fn run(seed: u64) -> Ran {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _seeded = Seeded::new(seed);
    let (history, mut broken) = runtime.block_on(World::live(Dice::new(seed)));
    drop(runtime);
    broken.extend(late_starts(&history));
    let report = history.check();
    Ran { history, report, broken }
}

/// Handlers that began when their lease had ended: what they do is done beside another one.
fn late_starts(history: &History) -> Vec<String> {
    let mut ends = HashMap::new();
    let lines = history.lines().iter().map(|line| &line.event);
    for event in lines.clone() {
        if let What::Leased { job, fence, until, .. } | What::Extended { job, fence, until } = event.what {
            let end = ends.entry((job, fence)).or_insert(until);
            *end = until.max(*end);
        }
    }
    let late = lines.filter_map(|event| match event.what {
        What::Started { job, fence, .. } => ends.get(&(job, fence)).filter(|end| **end < event.at).map(|end| {
            format!(
                "{job} starts under fence {fence} of process {}, {} after its lease ended",
                event.pid,
                event.at - *end
            )
        }),
        _ => None,
    });
    late.collect()
}

/// What happened in all of them.
#[derive(Debug, Default)]
struct Sum {
    accepted: usize,
    starts: usize,
    kills_at_work: usize,
    stale: usize,
    slots: usize,
    follow_ups: usize,
    discarded: usize,
}

impl AddAssign<&Report> for Sum {
    fn add_assign(&mut self, report: &Report) {
        self.accepted += report.accepted;
        self.starts += report.starts;
        self.kills_at_work += report.kills_at_work;
        self.stale += report.stale;
        self.slots += report.slots;
        self.follow_ups += report.follow_ups;
        self.discarded += report.discarded;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn check(seed: u64) -> Report {
    let Ran { report, broken, .. } = run(seed);
    assert!(report.is_clean() && broken.is_empty(), "WORK_SEED={seed} repeats this: {broken:#?}\n{report}");
    report
}

#[test]
fn no_promise_is_broken_in_the_worlds_of_these_seeds() {
    if let Some(seed) = number("WORK_SEED") {
        let Ran { history, report, broken } = run(seed);
        history
            .lines()
            .iter()
            .for_each(|line| println!("{} {:>3} {:?}", line.event.at, line.event.pid, line.event.what));
        assert!(report.is_clean() && broken.is_empty(), "{broken:#?}\n{report}");
        return;
    }
    let seeds = number("WORK_SIM_SEEDS").unwrap_or(300);
    // Each world is on one thread; which one does not matter.
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::SeqCst)).filter(|seed| *seed < seeds) {
                    let report = check(seed);
                    *sum.lock().unwrap() += &report;
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    println!("{seeds} seeds: {sum:?}");
    // A world in which nothing goes wrong shows nothing.
    let Sum { accepted, starts, kills_at_work, stale, slots, follow_ups, discarded } = sum;
    for seen in [accepted, starts, kills_at_work, stale, slots, follow_ups, discarded] {
        assert!(
            seen > 0,
            "{seeds} seeds: {accepted} {starts} {kills_at_work} {stale} {slots} {follow_ups} {discarded}"
        );
    }
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    for seed in 0..20 {
        let (one, other) = (run(seed).history, run(seed).history);
        let first = one.lines().iter().zip(other.lines()).find(|(one, other)| one != other);
        assert!(first.is_none(), "seed {seed}: {first:#?}");
        assert_eq!(one.lines().len(), other.lines().len(), "seed {seed}");
    }
}
