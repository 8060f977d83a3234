use super::fresh;
use super::wal::{Wal, Written};
use crate::figure::{Bench, BoxError, Printer, Unit, in_turn};
use crate::place::Place;
use crate::{queued, raw};

pub(crate) const COSTS: Bench = Bench {
    name: "sqlite_costs",
    what: "bytes of log and transactions of a job that is inserted in 1,000s and drained, against raw SQLite",
    run: costs,
};

const JOBS: u64 = 20_000;

/// Jobs before those that count, so that there is a log.
const FIRST: u64 = 1_000;

fn costs(printer: &Printer) -> Result<(), BoxError> {
    let runs = in_turn(ours, raw)?;
    let of = |value: fn(&Written) -> u64| {
        let rate = |written| JOBS as f64 / value(written) as f64;
        runs.iter().map(|(ours, raw)| (rate(ours), rate(raw))).collect()
    };
    printer.line("sqlite_costs_wal", None, Unit::Bytes, &of(|written| written.bytes));
    printer.line("sqlite_costs_commits", None, Unit::Commits, &of(|written| written.commits));
    Ok(())
}

fn ours() -> Result<Written, BoxError> {
    fresh(async |store| {
        let perform_and_drain = async |jobs| {
            queued::insert(store, jobs).await?;
            queued::drain(store.clone(), jobs, |worker| worker).await
        };
        perform_and_drain(FIRST).await?;
        let wal = Wal::watch(store.path())?;
        perform_and_drain(JOBS).await?;
        wal.written()
    })
}

fn raw() -> Result<Written, BoxError> {
    let place = Place::new()?;
    let connection = raw::open(&place.file())?;
    let insert_and_drain = |jobs| {
        raw::insert_batches(&connection, jobs, 1_000)?;
        raw::drain(&connection)
    };
    insert_and_drain(FIRST)?;
    let wal = Wal::watch(&place.file())?;
    insert_and_drain(JOBS)?;
    let written = wal.written()?;
    drop(connection);
    place.closed()?;
    Ok(written)
}
