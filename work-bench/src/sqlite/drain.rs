use work_sqlite::SqliteStore;

use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::place::Place;
use crate::queued::{self, Settings};
use crate::raw;

pub(crate) const DRAIN: Bench = Bench {
    name: "sqlite_drain",
    what: "200,000 jobs drained, with default settings and with a concurrency of 1,000, against raw claim+complete",
    run: drain,
};

const JOBS: u64 = 200_000;

fn drain(printer: &Printer) -> Result<(), BoxError> {
    let default = Pairs::measure(|| drained(JOBS, 1, |worker| worker), raw)?;
    printer.line("sqlite_drain", Some(0.5), Unit::Rate, &default);
    let thousand = Pairs::measure(|| drained(JOBS, 1, |worker| worker.concurrency(1_000)), raw)?;
    printer.line("sqlite_drain_1000", None, Unit::Rate, &thousand);
    Ok(())
}

fn raw() -> Result<Timed, BoxError> {
    let place = Place::new()?;
    let connection = raw::open(&place.file())?;
    raw::insert_batches(&connection, JOBS, 1_000)?;
    let timed = time(JOBS, || raw::drain(&connection).map(drop))?;
    drop(connection);
    place.closed()?;
    Ok(timed)
}

/// Drains `jobs` jobs `times` times, each from a backlog of its own. The clock stops when the last end is committed.
pub(super) fn drained(jobs: u64, times: u64, settings: Settings) -> Result<Timed, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let store = runtime.block_on(SqliteStore::open(place.file()))?;
    let (mut seconds, total) = (0.0, jobs * times);
    for _ in 0..times {
        runtime.block_on(queued::insert(&store, jobs))?;
        seconds += time(jobs, || runtime.block_on(queued::drain(store.clone(), jobs, settings)))?.seconds(jobs);
    }
    runtime.block_on(queued::check_completed(&store, total))?;
    drop((store, runtime));
    place.closed()?;
    Ok(Timed::of(total, seconds))
}
