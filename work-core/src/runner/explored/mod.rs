//! The parts of a runner that several threads share, in thousands of the orders in which their steps can come.
//!
//! The sources are those of the runner, compiled a second time against [`sync`], whose every step is a point at which another
//! task may go on. A scheduler chooses by a seed; a deadlock is found by there being nobody left to go on.
//! `WORK_SCHEDULES=100000` looks at more of them, `WORK_SEED=7` begins with another one.

#![allow(dead_code, clippy::duplicate_mod, reason = "the parts are compiled again, and not all of each is used")]

#[path = "../board.rs"]
mod board;
#[path = "../execute.rs"]
mod execute;
#[path = "../groups.rs"]
mod groups;
#[path = "../../pool.rs"]
mod pool;
mod runs;
#[path = "../settle.rs"]
mod settle;
mod slots;
mod sync;
#[path = "../wind_down.rs"]
mod wind_down;

use super::{Report, Settings, ramp, turns};

/// Looks at schedules of this, by two schedulers: one that chooses each step by lot, one that changes its mind seldom.
fn explore(name: &str, schedules: usize, model: fn()) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed: u64 = number("WORK_SEED").unwrap_or(1);
    let schedules = number("WORK_SCHEDULES").map_or(schedules, |given| usize::try_from(given).unwrap_or(usize::MAX));
    let mut config = shuttle::Config::new();
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    eprintln!("{name}: {schedules} schedules from seed {seed}");
    let by_lot = shuttle::scheduler::RandomScheduler::new_from_seed(seed, schedules);
    shuttle::Runner::new(by_lot, config.clone()).run(model);
    let seldom = shuttle::scheduler::PctScheduler::new_from_seed(seed, 3, schedules);
    shuttle::Runner::new(seldom, config).run(model);
}
