//! Items that go through states that do nothing: what the states cost.

use std::time::Instant;

use work_core::store::{Inspect, MemoryStore};
use work_sqlite::SqliteStore;
use work_workflow::{Engine, Item, Next, Step, Workflow};

use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::place::Place;
use crate::raw;

pub(crate) const MEMORY: Bench = Bench {
    name: "workflow_memory",
    what: "100,000 items through one state in memory, a second, and the rate at 100,000 against the one at 1,000",
    run: memory,
};

pub(crate) const SQLITE: Bench = Bench {
    name: "workflow_sqlite",
    what: "100,000 items through three states, against the same number of raw settle+insert, and flat from 1,000 on",
    run: sqlite,
};

const ITEMS: u64 = 100_000;

/// Items a second in memory, at least.
const LEAST: f64 = 50_000.0;

work_workflow::states! {
    enum One: u32 { Go = "go", Done = "done" }
}

work_workflow::states! {
    enum Three: u32 { A = "a", B = "b", C = "c", Done = "done" }
}

async fn go(Item(n): Item<One>) -> Next<One> {
    Next::to(One::Done, n)
}

async fn a(Item(n): Item<Three>) -> Next<Three> {
    Next::to(Three::B, n)
}

async fn b(Item(n): Item<Three>) -> Next<Three> {
    Next::to(Three::C, n)
}

async fn c(Item(n): Item<Three>) -> Next<Three> {
    Next::to(Three::Done, n)
}

fn one() -> Result<Workflow<One>, BoxError> {
    let step = Step::new(go).to([One::Done]).concurrency(100);
    Ok(Workflow::builder("one").start(One::Go).state(One::Go, step).terminal(One::Done).build(())?)
}

fn three() -> Result<Workflow<Three>, BoxError> {
    let flow = Workflow::builder("three")
        .start(Three::A)
        .state(Three::A, Step::new(a).to([Three::B]).concurrency(100))
        .state(Three::B, Step::new(b).to([Three::C]).concurrency(100))
        .state(Three::C, Step::new(c).to([Three::Done]).concurrency(100));
    Ok(flow.terminal(Three::Done).build(())?)
}

fn memory(printer: &Printer) -> Result<(), BoxError> {
    let least = Pairs::measure(|| in_memory(ITEMS, 1), || Ok(Timed::of(LEAST as u64, 1.0)))?;
    printer.line("workflow_memory", Some(1.0), Unit::Rate, &least);
    let flat = Pairs::measure(|| in_memory(ITEMS, 1), || in_memory(1_000, 50))?;
    printer.line("workflow_memory_flat", Some(0.67), Unit::Rate, &flat);
    Ok(())
}

fn in_memory(items: u64, times: u64) -> Result<Timed, BoxError> {
    let (runtime, mut seconds) = (runtime()?, 0.0);
    for _ in 0..times {
        let engine = Engine::new(MemoryStore::new(), one()?);
        seconds += runtime.block_on(drained(&engine, One::Go, One::Done, items))?;
    }
    Ok(Timed::of(items * times, seconds))
}

/// How long the items take from their state to the last.
async fn drained<S: work_workflow::States<Context = u32>>(
    engine: &Engine<S>,
    start: S,
    end: S,
    items: u64,
) -> Result<f64, BoxError> {
    let run = engine.create("r", &()).await?;
    run.add_all(start, 0..u32::try_from(items)?).await?;
    let began = Instant::now();
    engine.run_until(run.done()).await?;
    let seconds = began.elapsed().as_secs_f64();
    let done = engine.status().state(end.name()).map_or(0, |state| state.completed);
    if done == items { Ok(seconds) } else { Err(format!("{done} of {items} items are done").into()) }
}

fn sqlite(printer: &Printer) -> Result<(), BoxError> {
    let pairs = Pairs::measure(|| on_disk(ITEMS, 1), settle_and_insert)?;
    printer.line("workflow_sqlite", Some(0.5), Unit::Rate, &pairs);
    let flat = Pairs::measure(|| on_disk(ITEMS, 1), || on_disk(1_000, 20))?;
    printer.line("workflow_sqlite_flat", Some(0.67), Unit::Rate, &flat);
    Ok(())
}

/// Transitions a second, each run in a store of its own.
fn on_disk(items: u64, times: u64) -> Result<Timed, BoxError> {
    let (runtime, mut seconds) = (runtime()?, 0.0);
    for _ in 0..times {
        let place = Place::new()?;
        seconds += runtime.block_on(async {
            let store = SqliteStore::open(place.file()).await?;
            through_three(store, items).await
        })?;
        place.closed()?;
    }
    Ok(Timed::of(3 * items * times, seconds))
}

async fn through_three(store: impl Inspect, items: u64) -> Result<f64, BoxError> {
    drained(&Engine::new(store, three()?), Three::A, Three::Done, items).await
}

fn settle_and_insert() -> Result<Timed, BoxError> {
    let place = Place::new()?;
    let connection = raw::open(&place.file())?;
    raw::insert_batches(&connection, ITEMS, 1_000)?;
    // The last of three transitions inserts nothing.
    let timed = time(3 * ITEMS, || raw::settle_and_insert(&connection, 3 * ITEMS, 2 * ITEMS))?;
    drop(connection);
    place.closed()?;
    Ok(timed)
}
