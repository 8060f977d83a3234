use super::{Schema, raw};
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::queued::job;

pub(crate) const BULK: Bench = Bench {
    name: "postgres_bulk_insert",
    what: "perform_many in 1,000s, against raw inserts of 1,000 through unnest",
    run: bulk,
};

const JOBS: u64 = 200_000;

fn bulk(printer: &Printer) -> Result<(), BoxError> {
    printer.line("postgres_bulk_insert", Some(0.5), Unit::Rate, &Pairs::measure(ours, raw)?);
    Ok(())
}

fn ours() -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let worker = runtime.block_on(schema.worker())?;
    let insert = async {
        for _ in 0..JOBS / 1_000 {
            drop(worker.perform_many((0..1_000).map(|_| job())).await?);
        }
        Ok(())
    };
    let timed = time(JOBS, || runtime.block_on(insert))?;
    drop(worker);
    runtime.block_on(schema.closed())?;
    Ok(timed)
}

fn raw() -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let client = runtime.block_on(raw::open(&schema))?;
    let timed = time(JOBS, || runtime.block_on(raw::insert(&schema, &client, JOBS, raw::BATCH)))?;
    runtime.block_on(schema.closed())?;
    Ok(timed)
}
