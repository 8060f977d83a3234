//! Speed, as ratios to a raw limit in the same run: `cargo xtask bench [NAME…] [--json] [--full]`.
//!
//! Ours and the raw limit run in turn, five times after a warm-up; each figure is the median, and the ratio is the median
//! of the ratios of neighbours, so that a machine that slows down slows both. Nothing here judges a ratio.

mod ceiling;
mod dashboard;
mod figure;
mod local;
mod mixed;
mod place;
mod plot;
mod postgres;
mod queued;
mod raw;
mod server;
mod slow;
mod sqlite;
mod workflow;

use std::process::ExitCode;

use figure::{Bench, Printer};

/// Every benchmark, in the order it is run.
const BENCHES: &[Bench] = &[
    local::perform::PERFORM,
    local::layers::LAYERS,
    local::pickup::PICKUP,
    local::receive::RECEIVE,
    local::delayed::LATENESS,
    sqlite::perform::PERFORM,
    sqlite::drain::DRAIN,
    sqlite::backlog::BACKLOG,
    sqlite::bulk::BULK,
    sqlite::pickup::PICKUP,
    sqlite::mixed::MIXED,
    sqlite::slow::SLOW,
    sqlite::costs::COSTS,
    sqlite::history::HISTORY,
    sqlite::backlog::MILLION,
    postgres::bulk::BULK,
    postgres::drain::DRAIN,
    postgres::backlog::BACKLOG,
    postgres::pickup::PICKUP,
    postgres::mixed::MIXED,
    postgres::slow::SLOW,
    postgres::costs::COSTS,
    postgres::history::HISTORY,
    postgres::pinned::PINNED,
    postgres::backlog::MILLION,
    ceiling::CEILING,
    server::SERVER,
    dashboard::SQLITE,
    dashboard::POSTGRES,
    dashboard::SQLITE_DRAIN,
    dashboard::POSTGRES_DRAIN,
    workflow::MEMORY,
    workflow::SQLITE,
];

const OPTIONS: &[&str] = &["--json", "--list", "--full"];

fn main() -> ExitCode {
    let (options, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with('-'));
    if let Some(option) = options.iter().find(|option| !OPTIONS.contains(&option.as_str())) {
        eprintln!("unknown option {option:?}; there are: {}", OPTIONS.join(", "));
        return ExitCode::from(2);
    }
    if let Some(name) = names.iter().find(|name| !BENCHES.iter().any(|bench| bench.name == **name)) {
        let known: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        eprintln!("unknown benchmark {name:?}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let has = |wanted: &str| options.iter().any(|option| option == wanted);
    if has("--list") {
        BENCHES.iter().for_each(|bench| println!("{:29} {}", bench.name, bench.what));
        return ExitCode::SUCCESS;
    }
    let printer = Printer { json: has("--json"), full: has("--full") };
    let wanted = |bench: &&Bench| {
        if names.is_empty() {
            printer.full || !["_million", "_minute"].iter().any(|long| bench.name.ends_with(long))
        } else {
            names.iter().any(|name| name == bench.name)
        }
    };
    for bench in BENCHES.iter().filter(wanted) {
        if let Err(error) = (bench.run)(&printer) {
            eprintln!("{}: {error}", bench.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
