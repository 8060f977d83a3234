use super::Schema;
use super::drain::drained;
use crate::figure::{Bench, BoxError, Pairs, Printer, Unit, runtime, time};
use crate::queued;

pub(crate) const HISTORY: Bench = Bench {
    name: "postgres_drain_history",
    what: "the drain rate with 200,000 (--full: 1,000,000) jobs that are over, against the one without any",
    run: history,
};

const JOBS: u64 = 50_000;

fn history(printer: &Printer) -> Result<(), BoxError> {
    let (name, rows) = if printer.full { ("1m", 1_000_000) } else { ("200k", 200_000) };
    let (schema, runtime) = (Schema::new()?, runtime()?);
    let store = runtime.block_on(async {
        let store = schema.store().await?;
        fill(&schema, rows).await?;
        Ok::<_, BoxError>(store)
    })?;
    let mut over = rows;
    let with = || {
        runtime.block_on(queued::insert(&store, JOBS))?;
        let timed = time(JOBS, || runtime.block_on(queued::drain(store.clone(), JOBS, |worker| worker)))?;
        over += JOBS;
        runtime.block_on(queued::check_completed(&store, over))?;
        Ok(timed)
    };
    let pairs = Pairs::measure(with, || drained(JOBS, 1))?;
    drop(store);
    runtime.block_on(schema.closed())?;
    printer.line(&format!("postgres_drain_history_{name}"), Some(0.7), Unit::Rate, &pairs);
    Ok(())
}

/// So many jobs that have just ended well. What the server would clean up later, it cleans up now.
async fn fill(schema: &Schema, rows: u64) -> Result<(), BoxError> {
    let (name, args) = (&schema.name, crate::raw::PAYLOAD);
    let sql = format!(
        "INSERT INTO {name}.history (seq, scheduled_at, created_at, finished_at, fence, id, attempt, max_attempts, crashes,
            priority, status, state, queue, kind, args)
        SELECT nextval('{name}.arrivals'), now(), now(), now(), 1, {name}.new_id(), 1, 25, 0, 5, 200, 'completed', 'default',
            'noop', '{args}' FROM generate_series(1, {rows})"
    );
    let client = schema.connect().await?;
    client.batch_execute(&sql).await?;
    client.batch_execute(&format!("VACUUM ANALYZE {name}.history")).await?;
    Ok(client.batch_execute("CHECKPOINT").await?)
}
