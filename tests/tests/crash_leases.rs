//! Processes that block, freeze and stop: who holds a lease keeps it, who lost it changes nothing, and who stops gives back.
//!
//! `WORK_STOP_ROUNDS` says how often the stop is tried on each store, by default 2.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use work_core::store::{Inspect, JobFilter};
use work_core::testing::history::{End, History, Report, What};
use work_core::{Job, JobId, QueueWorker, Worker};
use work_tests::fleet::{At, Crew, Member, Orders, task};

const LEASE: Duration = Duration::from_millis(1_000);

/// Where no lease is to end: what starts elsewhere was given back.
const LONG_LEASE: Duration = Duration::from_secs(20);

/// How long a running job may go on when its process stops.
const GRACE: Duration = Duration::from_secs(5);

/// Within so long of the order to stop, the process is gone.
const GONE: Duration = Duration::from_secs(7);

/// Within so long of its end, others have started what it left.
const ELSEWHERE: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

/// So many processes are stopped side by side, and so many one after the other in a scene.
const SIDE_BY_SIDE: usize = 8;
const SCENE: usize = 4;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes a test of each behaviour on both stores.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[test]
            fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::block_on(super::$name(dir.path(), super::At::sqlite(dir.path())));
            })*
        }

        mod on_postgres {
            $(#[test]
            fn $name() {
                let dir = tempfile::tempdir().unwrap();
                if let Some(at) = super::At::postgres() {
                    super::block_on(super::$name(dir.path(), at));
                }
            })*
        }
    };
}

on_both! {
    a_handler_that_blocks_its_thread_for_two_leases_keeps_its_lease
    a_process_that_was_frozen_cannot_settle_over_its_successor
    a_process_that_stops_is_gone_in_time_and_its_jobs_start_elsewhere
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

async fn a_handler_that_blocks_its_thread_for_two_leases_keeps_its_lease(dir: &Path, at: At) {
    let scene = Scene::new(dir, at, LEASE).await;
    let (one, other) = (scene.crew.start(), scene.crew.start());
    let job = scene.perform(task("blocks", 2 * LEASE.as_millis() as u64 + 500)).await;
    scene.until(|history| settled(history, job, 1)).await;
    one.stop();
    other.stop();
    let report = scene.is_clean().await;
    assert_eq!((report.starts, report.completed, report.stale), (1, 1, 0));
}

async fn a_process_that_was_frozen_cannot_settle_over_its_successor(dir: &Path, at: At) {
    let scene = Scene::new(dir, at, LEASE).await;
    let frozen = scene.crew.start();
    let job = scene.perform(task("waits", 1_500)).await;
    scene.until(|history| started(history, job).len() == 1).await;
    let successor = scene.crew.start();
    scene.crew.freeze(&frozen);
    sleep(3 * LEASE).await;
    scene.until(|history| settled(history, job, 2)).await;
    scene.crew.thaw(&frozen);
    scene.until(|history| any(history, |what| *what == What::Stale { job, fence: 1 })).await;

    let (said, _) = frozen.stop();
    assert_eq!((said.stale, said.performed), (1, 0));
    assert!(said.metrics.contains("work_stale_settlements_total 1"), "{}", said.metrics);
    let log = scene.crew.said();
    assert!(log.contains("a stale end was refused") && log.contains(&job.to_string()), "{log}");
    assert_eq!(successor.stop().0.performed, 1);
    let report = scene.is_clean().await;
    assert_eq!((report.starts, report.completed, report.stale), (2, 1, 1));
}

async fn a_process_that_stops_is_gone_in_time_and_its_jobs_start_elsewhere(dir: &Path, at: At) {
    let rounds = std::env::var("WORK_STOP_ROUNDS").ok().map_or(2, |rounds| rounds.parse().unwrap());
    let (left, worst) = (AtomicUsize::new(rounds), Mutex::new(Worst::default()));
    // They sleep most of the time.
    std::thread::scope(|scope| {
        for lane in 0..rounds.div_ceil(SCENE).min(SIDE_BY_SIDE) {
            let (at, left, worst) = (&at, &left, &worst);
            scope.spawn(move || block_on(stop_again_and_again(&dir.join(format!("lane-{lane}")), at, left, worst)));
        }
    });
    let Worst { gone, elsewhere } = *worst.lock().unwrap();
    println!("{rounds} rounds: gone after {gone:.1?} at most, started elsewhere {elsewhere} after that at most");
    println!("meanwhile this machine was {:.1?} late, all in all", Lateness::all());
}

/// The longest that anything took.
#[derive(Debug, Clone, Copy, Default)]
struct Worst {
    gone: Duration,
    elsewhere: chrono::TimeDelta,
}

/// Takes rounds as long as there are some left, a few in each scene: its history is read again and again.
async fn stop_again_and_again(dir: &Path, at: &At, left: &AtomicUsize, worst: &Mutex<Worst>) {
    for number in 0.. {
        let take = |left: usize| left.checked_sub(left.clamp(1, SCENE));
        let Ok(before) = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) else { return };
        let (rounds, dir) = (before.min(SCENE), dir.join(number.to_string()));
        std::fs::create_dir_all(&dir).unwrap();
        let scene = Scene::new(&dir, at.another(&dir), LONG_LEASE).await;
        let mut running = scene.crew.start();
        for _ in 0..rounds {
            let (successor, here) = stop(&scene, running).await;
            running = successor;
            let mut worst = worst.lock().unwrap();
            worst.gone = worst.gone.max(here.gone);
            worst.elsewhere = worst.elsewhere.max(here.elsewhere);
        }
        running.stop();
        let report = scene.is_clean().await;
        assert_eq!(report.completed, rounds * 6);
        println!("{} rounds are left", before - rounds);
    }
}

/// Stops a process with jobs of every sort, beside another one, which is answered.
async fn stop(scene: &Scene, running: Member) -> (Member, Worst) {
    let quick = scene.perform(task("plain", 200)).await;
    // Ends within the grace.
    let slow = scene.perform(task("waits", 3_000)).await;
    let endless = scene.perform(task("waits", 60_000)).await;
    let ignores = scene.perform(task("ignores", 60_000)).await;
    let blocks = [scene.perform(task("blocks", 60_000)).await, scene.perform(task("blocks", 60_000)).await];
    let interrupted = [endless, ignores, blocks[0], blocks[1]];
    let all = [&interrupted[..], &[quick, slow]].concat();
    scene.until(|history| all.iter().all(|job| started(history, *job).len() == 1)).await;

    let pid = running.id();
    let successor = scene.crew.start();
    // It looks for jobs by now.
    sleep(Duration::from_millis(300)).await;
    let busy = Lateness::of_this_machine();
    let (said, took) = running.stop();
    let gone = work_core::Clock::system().now();
    assert!(took <= GONE + busy.so_far(), "gone after {took:?}, on a machine that was {:?} late", busy.so_far());
    assert_eq!(sorted(said.interrupted), sorted(interrupted.to_vec()));
    // That which only ignores is dropped where it waits for its thread, as soon as the machine comes to it.
    assert!(blocks.iter().all(|job| said.left.contains(job)), "{:?} of {blocks:?}", said.left);
    assert!(said.left.iter().all(|job| *job == ignores || blocks.contains(job)), "{:?}", said.left);

    scene.until(|history| all.iter().all(|job| ended(history, *job))).await;
    let late = chrono::TimeDelta::from_std(busy.so_far()).unwrap();
    let (history, mut elsewhere) = (scene.crew.history(), chrono::TimeDelta::MIN);
    for job in interrupted {
        let starts = started(&history, job);
        assert_eq!(starts.iter().map(|(_, attempt, _)| *attempt).collect::<Vec<_>>(), [1, 1], "{job}");
        let (by, _, at) = starts[1];
        assert!(by != pid && at - gone <= ELSEWHERE + late, "{job} started {} after the end, {late} late", at - gone);
        elsewhere = elsewhere.max(at - gone);
    }
    for job in [quick, slow] {
        assert_eq!(started(&history, job).len(), 1, "{job}");
    }
    (successor, Worst { gone: took, elsewhere })
}

/// How much later than asked for this machine wakes whoever sleeps, all in all: it may be busy with other things, and a promise
/// in seconds is one of a machine that is not. Hardly anything on one that is idle.
struct Lateness(Duration);

impl Lateness {
    fn of_this_machine() -> Self {
        Self(Self::all())
    }

    fn so_far(&self) -> Duration {
        Self::all() - self.0
    }

    fn all() -> Duration {
        static MICROS: AtomicU64 = AtomicU64::new(0);
        static WATCH: Once = Once::new();
        const NAP: Duration = Duration::from_millis(10);
        WATCH.call_once(|| {
            std::thread::spawn(|| {
                loop {
                    let before = Instant::now();
                    std::thread::sleep(NAP);
                    let late = before.elapsed().saturating_sub(NAP);
                    MICROS.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
                }
            });
        });
        Duration::from_micros(MICROS.load(Ordering::Relaxed))
    }
}

/// A store, and worker processes at it.
struct Scene {
    crew: Crew,
    producer: QueueWorker,
}

impl Scene {
    async fn new(dir: &Path, at: At, lease_for: Duration) -> Self {
        let orders = Orders {
            at,
            history: dir.join("history"),
            lease_for,
            grace: GRACE,
            concurrency: 8,
            schedules: Vec::new(),
            makes: None,
            limits: Vec::new(),
        };
        let crew = Crew::new(env!("CARGO_BIN_EXE_fleet_worker"), orders);
        let producer = crew.producer().await;
        Self { crew, producer }
    }

    fn store(&self) -> &dyn Inspect {
        self.producer.store()
    }

    async fn perform(&self, job: Job) -> JobId {
        self.producer.perform(job).await.unwrap().id()
    }

    async fn until(&self, holds: impl Fn(&History) -> bool) {
        let start = Instant::now();
        while !holds(&self.crew.history()) {
            assert!(start.elapsed() < LIMIT, "{:#?}\n{}", self.crew.history().lines(), self.crew.said());
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_clean(&self) -> Report {
        assert_eq!(self.store().counts(JobFilter::all()).await.unwrap().open(), 0);
        let (_, report) = self.crew.check(self.store()).await;
        println!("{report}");
        assert!(report.is_clean());
        report
    }
}

fn any(history: &History, is: impl Fn(&What) -> bool) -> bool {
    history.lines().iter().any(|line| is(&line.event.what))
}

/// Completed under this lease.
fn settled(history: &History, job: JobId, fence: u64) -> bool {
    any(history, |what| *what == What::Settled { job, fence, end: End::Completed })
}

fn ended(history: &History, job: JobId) -> bool {
    let is = |what: &What| matches!(what, What::Settled { job: of, end: End::Completed, .. } if *of == job);
    any(history, is)
}

/// By which process, in which attempt, and when.
fn started(history: &History, job: JobId) -> Vec<(u32, u32, chrono::DateTime<chrono::Utc>)> {
    let starts = history.lines().iter().filter_map(|line| match line.event.what {
        What::Started { job: of, attempt, .. } if of == job => Some((line.event.pid, attempt, line.event.at)),
        _ => None,
    });
    starts.collect()
}

fn sorted(mut jobs: Vec<JobId>) -> Vec<JobId> {
    jobs.sort_unstable();
    jobs
}
