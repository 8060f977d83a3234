use super::drain::drained;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit};

pub(crate) const BACKLOG: Bench = Bench {
    name: "postgres_drain_backlog",
    what: "the drain rate at a backlog of 1,000 and of 100,000, against the one at 10,000",
    run: backlog,
};

/// Takes minutes.
pub(crate) const MILLION: Bench = Bench {
    name: "postgres_drain_backlog_million",
    what: "the drain rate at a backlog of 1,000,000, against the one at 10,000 (by name or --full only)",
    run: million,
};

/// Flat within 1.3 times, whichever is the faster.
const GOAL: f64 = 0.77;

fn backlog(printer: &Printer) -> Result<(), BoxError> {
    // Small backlogs are drained several times: one alone is over in milliseconds.
    size(printer, "1k", 1_000, 20)?;
    size(printer, "100k", 100_000, 1)
}

fn million(printer: &Printer) -> Result<(), BoxError> {
    size(printer, "1m", 1_000_000, 1)
}

fn size(printer: &Printer, size: &str, jobs: u64, times: u64) -> Result<(), BoxError> {
    let pairs = Pairs::measure(|| default(jobs, times), || default(10_000, 5))?;
    printer.line(&format!("postgres_drain_backlog_{size}"), Some(GOAL), Unit::Rate, &pairs);
    Ok(())
}

fn default(jobs: u64, times: u64) -> Result<Timed, BoxError> {
    drained(jobs, times)
}
