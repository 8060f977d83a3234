use super::fresh;
use crate::figure::{Bench, BoxError, Pairs, Printer, Timed, Unit};
use crate::mixed;

pub(crate) const MIXED: Bench = Bench {
    name: "sqlite_mixed",
    what: "50,000 jobs of four producers and a worker at the same time, against one after the other",
    run: mixed,
};

fn mixed(printer: &Printer) -> Result<(), BoxError> {
    printer.line("sqlite_mixed", None, Unit::Rate, &Pairs::measure(together, one_after_the_other)?);
    Ok(())
}

fn together() -> Result<Timed, BoxError> {
    fresh(async |store| mixed::together(store).await)
}

fn one_after_the_other() -> Result<Timed, BoxError> {
    fresh(async |store| mixed::one_after_the_other(store).await)
}
