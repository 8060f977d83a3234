use rusqlite::Connection;
use work_sqlite::SqliteStore;

use super::drain::drained;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::place::Place;
use crate::queued;

pub(crate) const HISTORY: Bench = Bench {
    name: "sqlite_drain_history",
    what: "the drain rate with 200,000 (--full: 1,000,000) jobs that are over, against the one without any",
    run: history,
};

const JOBS: u64 = 50_000;

fn history(printer: &Printer) -> Result<(), BoxError> {
    let (name, rows) = if printer.full { ("1m", 1_000_000) } else { ("200k", 200_000) };
    let (place, runtime) = (Place::new()?, runtime()?);
    let store = runtime.block_on(SqliteStore::open(place.file()))?;
    fill(&Connection::open(place.file())?, rows)?;
    let mut over = rows;
    let with = || {
        runtime.block_on(queued::insert(&store, JOBS))?;
        let timed = time(JOBS, || runtime.block_on(queued::drain(store.clone(), JOBS, |worker| worker)))?;
        over += JOBS;
        runtime.block_on(queued::check_completed(&store, over))?;
        Ok(timed)
    };
    let pairs = Pairs::measure(with, without)?;
    drop((store, runtime));
    place.closed()?;
    printer.line(&format!("sqlite_drain_history_{name}"), Some(0.7), Unit::Rate, &pairs);
    Ok(())
}

fn without() -> Result<Timed, BoxError> {
    drained(JOBS, 1, |worker| worker)
}

/// So many jobs that have just ended well.
fn fill(connection: &Connection, rows: u64) -> Result<(), BoxError> {
    let sql = format!(
        "WITH RECURSIVE row (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < {rows})
        INSERT INTO jobs (kind, args, state, attempt, status, finished_at)
        SELECT 'noop', '{}', 'completed', 1, 200, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) FROM row",
        crate::raw::PAYLOAD
    );
    Ok(connection.execute_batch(&sql)?)
}
