use super::{Schema, raw};
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::queued;

pub(crate) const DRAIN: Bench = Bench {
    name: "postgres_drain",
    what: "200,000 jobs drained with default settings, against raw claim+complete on two connections",
    run: drain,
};

const JOBS: u64 = 200_000;

fn drain(printer: &Printer) -> Result<(), BoxError> {
    printer.line("postgres_drain", Some(0.6), Unit::Rate, &Pairs::measure(|| drained(JOBS, 1), raw)?);
    Ok(())
}

fn raw() -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let (one, two) = runtime.block_on(async {
        let one = raw::open(&schema).await?;
        raw::insert(&schema, &one, JOBS, raw::BATCH).await?;
        Ok::<_, BoxError>((one, schema.connect().await?))
    })?;
    let both = async {
        let drained = tokio::try_join!(raw::drain(&schema, &one, raw::BATCH), raw::drain(&schema, &two, raw::BATCH))?;
        if drained.0 + drained.1 == JOBS { Ok(()) } else { Err(format!("{drained:?} of {JOBS} jobs").into()) }
    };
    let timed = time(JOBS, || runtime.block_on(both))?;
    runtime.block_on(schema.closed())?;
    Ok(timed)
}

/// Drains `jobs` jobs `times` times, each from a backlog of its own. The clock stops when the last end is committed.
pub(super) fn drained(jobs: u64, times: u64) -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let store = runtime.block_on(schema.store())?;
    let (mut seconds, total) = (0.0, jobs * times);
    for _ in 0..times {
        runtime.block_on(queued::insert(&store, jobs))?;
        let drain = queued::drain(store.clone(), jobs, |worker| worker);
        seconds += time(jobs, || runtime.block_on(drain))?.seconds(jobs);
    }
    runtime.block_on(queued::check_completed(&store, total))?;
    drop(store);
    runtime.block_on(schema.closed())?;
    Ok(Timed::of(total, seconds))
}
