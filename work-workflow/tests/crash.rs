//! A run in a process of its own, killed with SIGKILL at random moments and started again: every item ends, what was
//! kicked was kicked once, and a step that was recorded never runs again.
//!
//! `WORK_SEED` repeats a run, `WORK_LONG=1` makes it 10,000 items and 50 kills.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use work_core::store::{Inspect, JobFilter, Order};
use work_core::{Attempt, Backoff, JobId, JobState, State};
use work_sqlite::SqliteStore;
use work_workflow::{Engine, Item, Next, Phase, Step, Workflow};

/// Where the child finds its folder; without it, the test for the child does nothing.
const FOLDER: &str = "WORK_WORKFLOW_CRASH";
const SEEDS: &str = "WORK_WORKFLOW_SEEDS";

/// Children of each seed.
const KICKS: u32 = 3;

work_workflow::states! {
    enum Path6: u32 { Split = "split", Work = "work", Flaky = "flaky", Check = "check", Done = "done", Dead = "dead" }
}

/// Where every start of a handler is written, before it does anything.
#[derive(Clone)]
struct Starts(Arc<File>);

impl Starts {
    fn note(&self, id: JobId) {
        // One write of one line, appended: a kill leaves all of it or nothing.
        (&*self.0).write_all(format!("{id}\n").as_bytes()).unwrap();
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn split(id: JobId, Item(n): Item<Path6>, State(starts): State<Starts>) -> Next<Path6> {
    starts.note(id);
    (0..KICKS).fold(Next::to(Path6::Work, n), |next, child| next.kick(Path6::Work, n * 10 + child))
}

async fn work(id: JobId, Item(n): Item<Path6>, State(starts): State<Starts>) -> Next<Path6> {
    starts.note(id);
    pause().await;
    Next::to(if n % 3 == 0 { Path6::Flaky } else { Path6::Check }, n)
}

type Tried = Result<Next<Path6>, Box<dyn std::error::Error + Send + Sync>>;

async fn flaky(id: JobId, Attempt(attempt): Attempt, Item(n): Item<Path6>, State(starts): State<Starts>) -> Tried {
    starts.note(id);
    pause().await;
    if n % 9 == 0 || attempt < 2 { Err("flaky".into()) } else { Ok(Next::to(Path6::Check, n)) }
}

async fn check(id: JobId, Item(n): Item<Path6>, State(starts): State<Starts>) -> Next<Path6> {
    starts.note(id);
    pause().await;
    Next::to(Path6::Done, n)
}

fn flow(starts: Starts) -> Workflow<Path6> {
    let flaky = Step::new(flaky).to([Path6::Check]).dead(Path6::Dead).max_attempts(3);
    Workflow::builder("crash")
        .start(Path6::Split)
        .state(Path6::Split, Step::new(split).to([Path6::Work]).kicks([Path6::Work]).concurrency(4))
        .state(Path6::Work, Step::new(work).to([Path6::Flaky, Path6::Check]).concurrency(3))
        .state(Path6::Flaky, flaky.backoff(Backoff::constant(Duration::from_millis(10))).concurrency(3))
        .state(Path6::Check, Step::new(check).to([Path6::Done]).concurrency(3))
        .terminal(Path6::Done)
        .terminal(Path6::Dead)
        .build(starts)
        .unwrap()
}

async fn engine(folder: &Path) -> Engine<Path6> {
    let starts = File::options().create(true).append(true).open(folder.join("starts")).unwrap();
    let store = SqliteStore::open(folder.join("jobs.db")).await.unwrap();
    let builder = Engine::builder(store, flow(Starts(Arc::new(starts)))).lease_for(Duration::from_millis(200));
    // Each kill is a crash of what runs.
    builder.max_crashes(10_000).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let seeds: u32 = std::env::var(SEEDS).unwrap().parse().unwrap();
    let engine = engine(&folder).await;
    let run = engine.create_or_open("r", &()).await.unwrap();
    run.seed(Path6::Split, 0..seeds).await.unwrap();
    engine.run_until(run.done()).await.unwrap();
}

fn start(folder: &Path, seeds: u32) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_that_is_killed", "--nocapture"]).env(FOLDER, folder).env(SEEDS, seeds.to_string());
    child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The steps that are recorded, and how many starts were noted before that was looked up.
fn recorded(folder: &Path) -> (usize, HashSet<String>) {
    let store = folder.join("jobs.db");
    let noted = std::fs::read_to_string(folder.join("starts")).unwrap_or_default().lines().count();
    let mut ids = HashSet::new();
    if store.exists() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = SqliteStore::open(store).await.unwrap();
            let filter = JobFilter::all().state(JobState::Completed);
            let mut after = None;
            loop {
                let page = store.list(filter.clone(), Order::OldestFirst, after, 1_000).await.unwrap();
                ids.extend(page.jobs.iter().map(|job| job.job.parts.id.to_string()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        });
    }
    (noted, ids)
}

#[test]
fn killed_at_random_moments_every_item_ends_and_no_recorded_step_runs_again() {
    let seed = std::env::var("WORK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh_seed);
    println!("seed {seed} (repeat with WORK_SEED={seed})");
    let long = std::env::var_os("WORK_LONG").is_some();
    let (seeds, kills) = if long { (2_500, 50) } else { (250, 20) };
    let place = tempfile::tempdir().unwrap();
    let (folder, mut chance) = (place.path(), Chance(seed));

    let (mut looks, mut hit) = (Vec::new(), 0);
    for _ in 0..kills {
        let mut child = start(folder, seeds);
        // From before it has opened its store to well into its work.
        let moment =
            Instant::now() + Duration::from_millis(5).mul_f64(1.0 + chance.share() * if long { 400.0 } else { 120.0 });
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        hit += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        looks.push(recorded(folder));
    }
    println!(
        "{hit} of {kills} kills hit a running process; steps recorded: {:?}",
        looks.iter().map(|look| look.1.len()).collect::<Vec<_>>()
    );
    assert!(hit >= kills / 2, "most kills must hit");

    let mut last = start(folder, seeds);
    let limit = Instant::now() + Duration::from_secs(120);
    while last.try_wait().unwrap().is_none() {
        if Instant::now() > limit {
            last.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(last.wait().unwrap().success());
    every_item_ended(folder, seeds);

    let starts = std::fs::read_to_string(folder.join("starts")).unwrap();
    let starts: Vec<&str> = starts.lines().collect();
    for (noted, done) in &looks {
        let again = starts[*noted..].iter().find(|id| done.contains(**id));
        assert_eq!(again, None, "a step that was recorded ran again");
    }
}

fn every_item_ended(folder: &Path, seeds: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let items = runtime.block_on(async {
        let run = engine(folder).await.open("r").await.unwrap();
        let report = run.report().await.unwrap();
        assert_eq!((report.open(), report.state("work").failed), (0, 0), "{report:?}");
        run.items().await.unwrap()
    });
    assert_eq!(items.len() as u32, seeds * (1 + KICKS));
    let mut kicked: HashMap<Option<JobId>, Vec<u64>> = HashMap::new();
    for item in &items {
        let n = item.context.as_u64().unwrap();
        let end = if n % 9 == 0 { "dead" } else { "done" };
        assert_eq!((item.state.as_str(), item.phase), (end, Phase::Completed), "{item:?}");
        kicked.entry(item.parent).or_default().push(n);
    }
    assert_eq!(kicked.remove(&None).map(|seeds| seeds.len()), Some(seeds as usize));
    assert_eq!(kicked.len(), seeds as usize);
    for item in items.iter().filter(|item| item.parent.is_none()) {
        let mut children = kicked.remove(&Some(item.id)).unwrap();
        children.sort_unstable();
        let first = item.context.as_u64().unwrap() * 10;
        assert_eq!(children, (first..first + u64::from(KICKS)).collect::<Vec<_>>());
    }
}

#[expect(clippy::disallowed_methods, reason = "a seed is none without the time")]
fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    (since.map_or(0, |since| since.as_micros() as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A small generator, so that a seed is all there is to repeat a run.
struct Chance(u64);

impl Chance {
    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }
}
