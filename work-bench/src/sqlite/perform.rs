use tokio::sync::oneshot;
use work_core::Worker;

use super::worker;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit, runtime, time};
use crate::place::Place;
use crate::queued::job;
use crate::raw::{self, PAYLOAD, Row};

pub(crate) const PERFORM: Bench = Bench {
    name: "sqlite_perform_256",
    what: "durable perform from 256 callers, against a raw group-commit thread",
    run: perform,
};

const CALLERS: u64 = 256;

/// Jobs of each caller, one after the other.
const EACH: u64 = 800;

fn perform(printer: &Printer) -> Result<(), BoxError> {
    printer.line("sqlite_perform_256", Some(0.5), Unit::Rate, &Pairs::measure(ours, raw)?);
    Ok(())
}

fn ours() -> Result<Timed, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let worker = runtime.block_on(worker(&place))?;
    let call = || {
        let worker = worker.clone();
        async move {
            for _ in 0..EACH {
                drop(worker.perform(job()).await?);
            }
            Ok(())
        }
    };
    let timed = time(CALLERS * EACH, || runtime.block_on(callers(call)))?;
    drop((worker, runtime));
    place.closed()?;
    Ok(timed)
}

fn raw() -> Result<Timed, BoxError> {
    let (place, runtime) = (Place::new()?, runtime()?);
    let tell = |reply: oneshot::Sender<()>| {
        let _ = reply.send(());
    };
    let writer = raw::group_commit(raw::open(&place.file())?, tell);
    let call = || {
        let writer = writer.clone();
        async move {
            for _ in 0..EACH {
                let (reply, committed) = oneshot::channel();
                writer.send(Row { args: PAYLOAD.to_owned(), reply }).await?;
                committed.await?;
            }
            Ok(())
        }
    };
    let timed = time(CALLERS * EACH, || runtime.block_on(callers(call)))?;
    drop((writer, runtime));
    place.closed()?;
    Ok(timed)
}

async fn callers<F>(call: impl Fn() -> F) -> Result<(), BoxError>
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(call())).collect();
    for caller in callers {
        caller.await??;
    }
    Ok(())
}
