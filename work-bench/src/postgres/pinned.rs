use super::Schema;
use super::drain::drained;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::queued;

pub(crate) const PINNED: Bench = Bench {
    name: "postgres_drain_pinned",
    what: "100,000 jobs drained while an idle transaction keeps every dead row, against the same without",
    run: pinned,
};

const JOBS: u64 = 100_000;

fn pinned(printer: &Printer) -> Result<(), BoxError> {
    let pairs = Pairs::measure(with, || drained(JOBS, 1))?;
    printer.line("postgres_drain_pinned", Some(0.7), Unit::Rate, &pairs);
    Ok(())
}

fn with() -> Result<Timed, BoxError> {
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let (store, idle) = runtime.block_on(async {
        let (store, idle) = (schema.store().await?, schema.connect().await?);
        queued::insert(&store, JOBS).await?;
        // The first query takes the snapshot, which lasts as long as the transaction.
        idle.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await?;
        Ok::<_, BoxError>((store, idle))
    })?;
    let timed = time(JOBS, || runtime.block_on(queued::drain(store.clone(), JOBS, |worker| worker)))?;
    runtime.block_on(async {
        queued::check_completed(&store, JOBS).await?;
        drop(store);
        let waiting = format!("SELECT count(*) FROM {}.jobs WHERE state = 'available'", schema.name);
        let kept: i64 = idle.query_one(&waiting, &[]).await?.get(0);
        if u64::try_from(kept)? != JOBS {
            return Err(format!("the idle transaction kept {kept} of {JOBS} rows").into());
        }
        idle.batch_execute("ROLLBACK").await?;
        schema.closed().await
    })?;
    Ok(timed)
}
