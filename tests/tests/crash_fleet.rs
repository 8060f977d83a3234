//! Four worker processes, killed at random moments and started again at once, with jobs of every sort: what all of them have
//! written down keeps every promise.
//!
//! | variable | what it sets | by default |
//! |---|---|---|
//! | `WORK_SEED` | the moments, the victims and the jobs | fresh, and printed |
//! | `WORK_CRASH_JOBS` | how many jobs, those that follow others included | 8,000 |
//! | `WORK_CRASH_KILLS` | how many processes are killed | 60 |
//! | `WORK_CRASH_GROUPS`, `WORK_CRASH_MEMBERS` | how many groups, and the jobs of each, where there is nothing else | 60, 20 |
//! | `WORK_CRASH_LIMITED` | how many jobs of queues with a limit or a rate, where there is nothing else | 400 |
//! | `WORK_CRASH_KEEP` | a folder that the history and the log are left in | none |
//! | `WORK_TEST_POSTGRES` | the URL of a server; without it, that test is skipped | |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use work_core::store::{Inspect, JobFilter};
use work_core::testing::history::{History, What};
use work_tests::fleet::{At, Crew, Limit, Member, Mix, Orders};
use work_tests::{Chance, is_intact, seed};

const PROCESSES: usize = 4;

/// How soon the jobs of a killed process start elsewhere.
const LEASE: Duration = Duration::from_millis(2_000);

/// The intervals of durable schedules.
const SCHEDULES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(700)];

/// How long the jobs may take that are left when nobody is killed any more.
const DRAIN: Duration = Duration::from_secs(180);

/// So many jobs may wait when the next process is killed: kills go on as long as there are jobs, however many these are.
const BACKLOG: u64 = 3_000;

/// How long it may take to come down to that.
const LONG: Duration = Duration::from_secs(300);

/// Between two kills.
const SOONEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_millis(900);

/// So many kills of a hundred must hit a handler at work; fewer where few jobs run at a time.
const AT_WORK: usize = 20;
const SELDOM_AT_WORK: usize = 4;

#[test]
fn killed_at_random_moments_four_processes_keep_every_promise_on_sqlite() {
    on_sqlite(Run::new);
}

#[test]
fn killed_at_random_moments_four_processes_keep_every_promise_on_postgres() {
    on_postgres(Run::new);
}

#[test]
fn of_groups_whose_processes_are_killed_each_calls_back_once_on_sqlite() {
    on_sqlite(Run::of_groups);
}

#[test]
fn of_groups_whose_processes_are_killed_each_calls_back_once_on_postgres() {
    on_postgres(Run::of_groups);
}

#[test]
fn limits_and_rates_hold_over_processes_that_are_killed_on_sqlite() {
    on_sqlite(Run::of_limits);
}

#[test]
fn limits_and_rates_hold_over_processes_that_are_killed_on_postgres() {
    on_postgres(Run::of_limits);
}

fn on_sqlite(run: fn(&Path, At) -> Run) {
    let dir = tempfile::tempdir().unwrap();
    block_on(run(dir.path(), At::sqlite(dir.path())).whole());
    assert!(is_intact(&dir.path().join("store.db")));
}

fn on_postgres(run: fn(&Path, At) -> Run) {
    let dir = tempfile::tempdir().unwrap();
    if let Some(at) = At::postgres() {
        block_on(run(dir.path(), at).whole());
    }
}

fn block_on(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(run);
}

struct Run {
    crew: Crew,
    chance: Chance,
    mix: Mix,
    jobs: usize,
    kills: usize,
    at_work: usize,
}

impl Run {
    fn new(dir: &Path, at: At) -> Self {
        Self::with(dir, at, Vec::new())
    }

    fn with(dir: &Path, at: At, limits: Vec<Limit>) -> Self {
        let orders = Orders {
            at,
            history: dir.join("history"),
            lease_for: LEASE,
            grace: Duration::from_secs(5),
            concurrency: 16,
            schedules: SCHEDULES.to_vec(),
            makes: None,
            limits,
        };
        let crew = Crew::new(env!("CARGO_BIN_EXE_fleet_worker"), orders);
        let (jobs, kills) = (number("WORK_CRASH_JOBS", 8_000), number("WORK_CRASH_KILLS", 60));
        let chance = Chance::new(seed());
        Self { crew, mix: Mix::new(chance.clone()), chance, jobs, kills, at_work: AT_WORK }
    }

    fn of_groups(dir: &Path, at: At) -> Self {
        let (groups, members) = (number("WORK_CRASH_GROUPS", 60), number("WORK_CRASH_MEMBERS", 20));
        let run = Self::new(dir, at);
        let mix = Mix::of_groups(run.chance.clone(), members);
        // Each has its callback, and the job that watches over it.
        let (jobs, kills) = (groups * (members + 2), number("WORK_CRASH_KILLS", 20));
        Self { mix, jobs, kills, at_work: SELDOM_AT_WORK, ..run }
    }

    async fn whole(mut self) {
        let start = Instant::now();
        // Made before the first process, so that none of them waits for the tables.
        let (store, ledger) = self.crew.orders().at.open_with_ledger().await.unwrap();
        ledger.make().await.unwrap();
        let members = self.kill(&*store).await;
        let killed = start.elapsed();
        self.drain(&*store, &members).await;
        for member in members {
            member.stop();
        }
        let drained = start.elapsed();
        let paid = self.crew.have_paid(&*store, &ledger).await;
        let (history, report) = self.crew.check(&*store).await;
        self.keep();
        println!("{report}\n{paid} jobs have paid, each once");
        println!(
            "{killed:.1?} of kills, drained after {drained:.1?}, {:.0} jobs/s, checked after {:.1?}",
            report.kept as f64 / drained.as_secs_f64(),
            start.elapsed()
        );
        assert!(report.is_clean());
        assert_eq!(report.kills, self.kills);
        assert!(report.kept >= self.jobs, "few jobs: {}", report.kept);
        assert!(report.kills_at_work * 100 >= report.kills * self.at_work, "few kills hit a handler at work");
        no_slot_is_missing(&history);
    }

    fn of_limits(dir: &Path, at: At) -> Self {
        const QUEUES: &[&str] = &["few", "seldom", "key:a", "key:b", "key:c"];
        let limits =
            [Limit::AtMost("few".into(), 3), Limit::Rate("seldom".into(), 40, 4), Limit::AtMost("key:*".into(), 1)];
        let run = Self::with(dir, at, limits.into());
        let (jobs, kills) = (number("WORK_CRASH_LIMITED", 400), number("WORK_CRASH_KILLS", 24));
        Self { mix: Mix::of_queues(run.chance.clone(), QUEUES), jobs, kills, at_work: SELDOM_AT_WORK, ..run }
    }

    /// Performs a share of the jobs before each kill.
    async fn kill(&mut self, store: &dyn Inspect) -> Vec<Member> {
        let producer = self.crew.producer().await;
        let mut members: Vec<Member> = (0..PROCESSES).map(|_| self.crew.start()).collect();
        for n in 1..=self.kills {
            let share = (self.jobs * n / self.kills).saturating_sub(self.mix.made());
            while let Err(error) = self.mix.perform(&producer, share).await {
                // What was refused is made anew: the history knows which jobs these were.
                println!("not performed: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            tokio::time::sleep(self.chance.between(SOONEST, LATEST)).await;
            self.until(store, BACKLOG, LONG).await;
            let victim = self.chance.below(PROCESSES as u64) as usize;
            self.crew.kill(members.swap_remove(victim));
            members.push(self.crew.start());
        }
        members
    }

    async fn drain(&self, store: &dyn Inspect, members: &[Member]) {
        // A process keeps the schedules before it begins to work.
        let start = Instant::now();
        while !are_at_work(store, members).await {
            assert!(start.elapsed() < DRAIN, "a worker process does not begin:\n{}", self.crew.said());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for interval in SCHEDULES {
            store.remove_schedule(format!("every-{}", interval.as_millis())).await.unwrap();
        }
        self.until(store, 0, DRAIN).await;
    }

    /// Waits until no more jobs are left than that.
    async fn until(&self, store: &dyn Inspect, left: u64, at_most: Duration) {
        let start = Instant::now();
        loop {
            let asked = Instant::now();
            // A busy store is asked again.
            let open = store.counts(JobFilter::all()).await.map_or(u64::MAX, |counts| counts.open());
            if open <= left {
                return;
            }
            assert!(start.elapsed() < at_most, "{open} jobs have not ended:\n{}", self.crew.said());
            // To count many jobs takes a while, and others want to work.
            tokio::time::sleep(Duration::from_millis(50).max(10 * asked.elapsed())).await;
        }
    }

    fn keep(&self) {
        if let Some(folder) = std::env::var_os("WORK_CRASH_KEEP") {
            let history = &self.crew.orders().history;
            for file in [history.clone(), history.with_extension("log")] {
                std::fs::copy(&file, Path::new(&folder).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
}

async fn are_at_work(store: &dyn Inspect, members: &[Member]) -> bool {
    let workers = store.workers().await.unwrap();
    members.iter().all(|member| workers.iter().any(|worker| worker.pid == member.id()))
}

/// Between the first and the last slot that has its job, every slot has one.
fn no_slot_is_missing(history: &History) {
    let mut slots: BTreeMap<&str, Vec<DateTime<Utc>>> = BTreeMap::new();
    for line in history.lines() {
        if let What::Kept { slot: Some(slot), .. } = &line.event.what {
            slots.entry(&slot.schedule).or_default().push(slot.at.parse().unwrap());
        }
    }
    assert_eq!(slots.len(), SCHEDULES.len());
    for (schedule, mut slots) in slots {
        slots.sort_unstable();
        let interval: i64 = schedule.trim_start_matches("every-").parse().unwrap();
        for pair in slots.windows(2) {
            let gap = (pair[1] - pair[0]).num_milliseconds();
            assert_eq!(gap, interval, "between {} and {} of {schedule}", pair[0], pair[1]);
        }
    }
}

fn number(variable: &str, otherwise: usize) -> usize {
    let text = std::env::var(variable).ok();
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
