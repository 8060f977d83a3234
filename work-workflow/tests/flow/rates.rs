//! Rates of states that the store keeps, for all engines and all runs.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use work_core::limit::Rate;
use work_core::store::{Inspect, MemoryStore};
use work_core::{Attempt, JobState, Queue, State};
use work_sqlite::SqliteStore;
use work_workflow::{Engine, FlowError, InvalidWorkflow, Item, Next, Step, Workflow};

use crate::stores::{Anyhow, within};

work_workflow::states! {
    pub enum Call: u64 { Call = "call", Done = "done" }
}

const SECOND: Duration = Duration::from_secs(1);

/// When handlers were called, and in which attempt.
type Calls = Arc<Mutex<Vec<(Instant, u32)>>>;

async fn call(Item(n): Item<Call>, Attempt(attempt): Attempt, State(calls): State<Calls>) -> Next<Call> {
    calls.lock().unwrap().push((Instant::now(), attempt));
    Next::to(Call::Done, n)
}

fn flow(rate: Rate, calls: &Calls) -> Result<Workflow<Call>, InvalidWorkflow> {
    let step = Step::new(call).to([Call::Done]).concurrency(100).rate_everywhere(rate);
    let flow = Workflow::builder("rated").start(Call::Call).state(Call::Call, step);
    flow.terminal(Call::Done).build(calls.clone())
}

fn fifty() -> Rate {
    Rate::even(50, SECOND).unwrap().burst(5).unwrap()
}

async fn engine(file: &Path, rate: Rate, calls: &Calls) -> Anyhow<Engine<Call>> {
    Ok(Engine::new(SqliteStore::open(file).await?, flow(rate, calls)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_on_one_file_share_the_rate_of_a_state_over_all_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (file, calls) = (folder.path().join("jobs.db"), [Calls::default(), Calls::default()]);
    let one = engine(&file, fifty(), &calls[0]).await.unwrap();
    let two = engine(&file, fifty(), &calls[1]).await.unwrap();
    for name in ["a", "b"] {
        one.create(name, &()).await.unwrap().add_all(Call::Call, 0..400).await.unwrap();
        two.open(name).await.unwrap();
    }
    let began = Instant::now();
    let end = || tokio::time::sleep(4 * SECOND);
    let (first, second) = within(futures_util::future::join(one.run_until(end()), two.run_until(end()))).await;
    let elapsed = began.elapsed().as_secs_f64();
    first.unwrap();
    second.unwrap();

    let own: Vec<usize> = calls.iter().map(|calls| calls.lock().unwrap().len()).collect();
    let mut all: Vec<(Instant, u32)> = calls.iter().flat_map(|calls| calls.lock().unwrap().clone()).collect();
    all.sort();
    let all_of = all.len() as f64;
    // A lease of several starts them one after the other, so that some of one may fall into the second after.
    let most = (0..all.len()).map(|n| all[n..].iter().take_while(|(at, _)| *at - all[n].0 < SECOND).count()).max();
    println!("{own:?} calls in {elapsed:.1} s, at most {most:?} in a second");
    assert!((all_of) <= 5.0 + 50.0 * elapsed && all_of >= 0.7 * 200.0, "{all_of} in {elapsed} s");
    assert!(most.unwrap() <= 65, "{most:?}");
    assert!(own.iter().all(|calls| *calls > 10), "{own:?}");
    assert!(all.iter().all(|(_, attempt)| *attempt == 1));
    let store = SqliteStore::open(&file).await.unwrap();
    for queue in ["rated.a.call", "rated.b.call"] {
        let filter = work_core::store::JobFilter::all().queue(queue.to_owned()).state(JobState::Available);
        let page = store.list(filter, work_core::store::Order::OldestFirst, None, 1_000).await.unwrap();
        assert!(!page.jobs.is_empty() && page.jobs.iter().all(|job| job.attempt == 0), "what waits has no attempt");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_with_another_rate_is_refused_until_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, calls) = (folder.path().join("jobs.db"), Calls::default());
    let one = engine(&file, fifty(), &calls).await.unwrap();
    let run = one.create("a", &()).await.unwrap();
    let other = || Rate::even(10, SECOND).unwrap();
    let two = engine(&file, other(), &calls).await.unwrap();
    for refused in [two.open("a").await.map(drop), two.create("b", &()).await.map(drop)] {
        let error = refused.unwrap_err();
        assert!(matches!(error, FlowError::OtherRate { state: "call", .. }), "{error}");
        let why = "state \"call\" may start at 10 per 1s, evenly, with a burst of 1, for all that name `rated.call`, but its \
                   store says 50 per 1s";
        assert!(error.to_string().starts_with(why), "{error}");
    }
    // All runs name the same rate.
    let store = SqliteStore::open(&file).await.unwrap();
    store.rate_queue(Queue::from("rated.a.call"), Some(other().named("rated.call"))).await.unwrap();
    two.open("a").await.unwrap();
    two.create("b", &()).await.unwrap();
    // A run that is over holds nobody to its rate.
    assert!(run.close().await.unwrap());
    assert_eq!(store.rate_queue(Queue::from("rated.a.call"), None).await.unwrap(), None);
}

#[test]
fn a_rate_whose_name_is_none_is_refused_when_the_workflow_is_built() {
    let error = flow(fifty().named("no name"), &Calls::default()).unwrap_err();
    assert!(error.to_string().starts_with("state \"call\": the name of its rate: "), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_of_the_store_and_a_limit_of_the_process_both_hold() {
    let calls = Calls::default();
    let step = Step::new(call).to([Call::Done]).rate_everywhere(fifty());
    let step = step.limit(work_core::limit::Gcra::new(10, SECOND).unwrap());
    let flow = Workflow::builder("rated").start(Call::Call).state(Call::Call, step).terminal(Call::Done);
    let engine = Engine::new(MemoryStore::new(), flow.build(calls.clone()).unwrap());
    let run = engine.create("a", &()).await.unwrap();
    run.add_all(Call::Call, 0..200).await.unwrap();
    within(engine.run_until(tokio::time::sleep(2 * SECOND))).await.unwrap();
    let count = calls.lock().unwrap().len();
    assert!((10..=32).contains(&count), "{count}");
}
