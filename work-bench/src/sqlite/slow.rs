use super::fresh;
use crate::figure::{Bench, BoxError, Pairs, Printer, Unit};
use crate::slow;

pub(crate) const SLOW: Bench = Bench {
    name: "sqlite_slow_jobs",
    what: "50,000 jobs of a millisecond, 256 at once, against as many tasks and no store",
    run: slow,
};

fn slow(printer: &Printer) -> Result<(), BoxError> {
    let pairs = Pairs::measure(|| fresh(async |store| slow::ours(store).await), slow::bound)?;
    printer.line("sqlite_slow_jobs", None, Unit::Rate, &pairs);
    Ok(())
}
