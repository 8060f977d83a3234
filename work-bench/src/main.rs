//! Speed, as ratios to a raw limit in the same run: `cargo xtask bench [NAME…] [--json]`.
//!
//! Ours and the raw limit run in turn, five times after a warm-up; each figure is the median, and the ratio is the median
//! of the ratios of neighbours, so that a machine that slows down slows both.

mod figure;
mod local;
mod raw;
mod sqlite;

use std::process::ExitCode;

use figure::Figure;

/// Every figure, in the order it is measured.
const FIGURES: &[Figure] = &[
    Figure {
        name: "local_perform",
        goal: 0.7,
        what: "LocalWorker with four layers, against a channel, a semaphore and tasks",
        measure: local::perform,
    },
    Figure {
        name: "sqlite_perform_256",
        goal: 0.4,
        what: "durable perform from 256 callers, against a raw group-commit thread",
        measure: sqlite::perform_256,
    },
    Figure {
        name: "sqlite_drain",
        goal: 0.35,
        what: "200,000 jobs drained, against raw claim+complete in batches of 1,000",
        measure: sqlite::drain,
    },
    Figure {
        name: "sqlite_bulk",
        goal: 0.47,
        what: "perform_many in 1,000s, against raw transactions of 1,000",
        measure: sqlite::bulk,
    },
    Figure {
        name: "sqlite_backlog_1k",
        goal: 0.77,
        what: "drain rate at a backlog of 1,000 x 20, against one of 100,000",
        measure: sqlite::backlog,
    },
];

fn main() -> ExitCode {
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    if let Some(flag) = flags.iter().find(|flag| !matches!(flag.as_str(), "--json" | "--list")) {
        eprintln!("unknown option {flag}; there are --json and --list");
        return ExitCode::from(2);
    }
    if let Some(name) = names.iter().find(|name| !FIGURES.iter().any(|figure| figure.name == **name)) {
        let known: Vec<&str> = FIGURES.iter().map(|figure| figure.name).collect();
        eprintln!("unknown figure {name}; there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    if flags.iter().any(|flag| flag == "--list") {
        FIGURES.iter().for_each(|figure| println!("{:20} {}", figure.name, figure.what));
        return ExitCode::SUCCESS;
    }
    let json = flags.iter().any(|flag| flag == "--json");
    let chosen = FIGURES.iter().filter(|figure| names.is_empty() || names.iter().any(|name| name == figure.name));
    for figure in chosen {
        if let Err(error) = figure.print(json) {
            eprintln!("{}: {error}", figure.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
