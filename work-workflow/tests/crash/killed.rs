//! A run in a process of its own, killed with SIGKILL at random moments and started again: every item ends, what was
//! kicked was kicked once, and a step that was recorded never runs again.
//!
//! `WORK_SEED` repeats a run, `WORK_LONG=1` makes it 10,000 items and 50 kills.

use std::collections::{HashMap, HashSet};
use std::process::Child;
use std::time::{Duration, Instant};

use work_core::store::{Inspect, JobFilter, MemoryStore, Order};
use work_core::{Attempt, Backoff, JobId, JobState, State};
use work_workflow::{Engine, Export, Item, Next, Phase, Step, Workflow};

use crate::place::{Place, Starts, block_on};

const SEEDS: &str = "WORK_WORKFLOW_SEEDS";

/// Children of each seed.
const KICKS: u32 = 3;

work_workflow::states! {
    enum Path6: u32 { Split = "split", Work = "work", Flaky = "flaky", Check = "check", Done = "done", Dead = "dead" }
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

fn engine(place: &Place, store: impl Inspect) -> Engine<Path6> {
    let builder = Engine::builder(store, flow(place.starts())).lease_for(Duration::from_millis(200));
    // Each kill is a crash of what runs.
    builder.max_crashes(10_000).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let (Some(place), Ok(seeds)) = (Place::of_child(), std::env::var(SEEDS)) else { return };
    let seeds: u32 = seeds.parse().unwrap();
    let engine = engine(&place, place.open().await);
    let run = engine.create_or_open("r", &()).await.unwrap();
    run.seed(Path6::Split, 0..seeds).await.unwrap();
    engine.run_until(run.done()).await.unwrap();
}

fn start(place: &Place, seeds: u32) -> Child {
    place.start("killed::child_that_is_killed", &[(SEEDS, seeds.to_string())])
}

/// The steps that are recorded, and how many starts were noted before that was looked up.
fn recorded(place: &Place) -> (usize, HashSet<String>) {
    let noted = place.noted().len();
    let mut ids = HashSet::new();
    block_on(async {
        let store = place.open().await;
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
    (noted, ids)
}

#[test]
fn killed_at_random_moments_every_item_ends_and_no_recorded_step_runs_again() {
    killed_at_random_moments(&Place::on_sqlite());
}

#[test]
fn killed_at_random_moments_on_postgres_every_item_ends_and_no_recorded_step_runs_again() {
    if let Some(place) = Place::on_postgres() {
        killed_at_random_moments(&place);
    }
}

fn killed_at_random_moments(place: &Place) {
    let seed = std::env::var("WORK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh_seed);
    println!("seed {seed} (repeat with WORK_SEED={seed})");
    let long = std::env::var_os("WORK_LONG").is_some();
    let (seeds, kills) = if long { (2_500, 50) } else { (250, 20) };
    let mut chance = Chance(seed);

    let (mut looks, mut hit) = (Vec::new(), 0);
    for _ in 0..kills {
        let mut child = start(place, seeds);
        // From before it has opened its store to well into its work.
        let moment =
            Instant::now() + Duration::from_millis(5).mul_f64(1.0 + chance.share() * if long { 400.0 } else { 120.0 });
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        hit += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        looks.push(recorded(place));
    }
    println!(
        "{hit} of {kills} kills hit a running process; steps recorded: {:?}",
        looks.iter().map(|look| look.1.len()).collect::<Vec<_>>()
    );
    assert!(hit >= kills / 2, "most kills must hit");
    let export = export(place);

    let mut last = start(place, seeds);
    let limit = Instant::now() + Duration::from_secs(120);
    while last.try_wait().unwrap().is_none() {
        if Instant::now() > limit {
            last.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(last.wait().unwrap().success());
    block_on(async { every_item_ended(&engine(place, place.open().await), seeds).await });

    let starts = place.noted();
    for (noted, done) in &looks {
        let again = starts[*noted..].iter().find(|id| done.contains(*id));
        assert_eq!(again, None, "a step that was recorded ran again");
    }
    if let Some(export) = export {
        goes_on_elsewhere(place, &export, seeds);
    }
}

/// The run as the last kill left it; none if it was not there yet.
fn export(place: &Place) -> Option<Export> {
    block_on(async {
        let run = engine(place, place.open().await).open("r").await.ok()?;
        Some(run.export().await.unwrap())
    })
}

/// In another store, what the kills left goes on to its end too.
fn goes_on_elsewhere(place: &Place, export: &Export, seeds: u32) {
    let begun = export.items.iter().filter(|item| item.parent.is_none()).count();
    assert_eq!(begun, seeds as usize, "one child at least got so far");
    let open = export.items.iter().filter(|item| matches!(item.phase, Phase::Waiting | Phase::Executing)).count();
    println!("{open} of {} items were open after the last kill, and went on in another store too", export.items.len());
    block_on(async {
        let elsewhere = engine(place, MemoryStore::new());
        let run = elsewhere.import(export).await.unwrap();
        elsewhere.run_until(run.done()).await.unwrap();
        every_item_ended(&elsewhere, seeds).await;
    });
}

async fn every_item_ended(engine: &Engine<Path6>, seeds: u32) {
    let run = engine.open("r").await.unwrap();
    let report = run.report().await.unwrap();
    assert_eq!((report.open(), report.state("work").failed), (0, 0), "{report:?}");
    let items = run.items().await.unwrap();
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
