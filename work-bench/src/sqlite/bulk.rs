use super::worker;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::place::Place;
use crate::queued::job;
use crate::raw;

pub(crate) const BULK: Bench =
    Bench { name: "sqlite_bulk_insert", what: "perform_many in 1,000s, against raw transactions of 1,000", run: bulk };

const JOBS: u64 = 200_000;

fn bulk(printer: &Printer) -> Result<(), BoxError> {
    printer.line("sqlite_bulk_insert", Some(0.47), Unit::Rate, &Pairs::measure(ours, raw)?);
    Ok(())
}

fn ours() -> Result<Timed, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let worker = runtime.block_on(worker(&place))?;
    let insert = async {
        for _ in 0..JOBS / 1_000 {
            drop(worker.perform_many((0..1_000).map(|_| job())).await?);
        }
        Ok(())
    };
    let timed = time(JOBS, || runtime.block_on(insert))?;
    drop((worker, runtime));
    place.closed()?;
    Ok(timed)
}

fn raw() -> Result<Timed, BoxError> {
    let place = Place::new()?;
    let connection = raw::open(&place.file())?;
    let timed = time(JOBS, || raw::insert_batches(&connection, JOBS, 1_000))?;
    drop(connection);
    place.closed()?;
    Ok(timed)
}
