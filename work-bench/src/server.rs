//! How well an adaptive limit uses a real server over HTTP that refuses what is too much, in a minute.

use std::path::Path;

use crate::figure::{Bench, BoxError, Pairs, Printer, Unit, runtime};
use crate::plot::{Line, Plot};

#[path = "../../work-workflow/tests/served/mod.rs"]
mod served;

pub(crate) const SERVER: Bench = Bench {
    name: "limit_server_minute",
    what: "what an adaptive limit uses of a real server that takes 200/s, in a minute; --full writes docs/adaptive_server.svg",
    run: server,
};

const SECONDS: u32 = 60;

/// Calls a second, at first.
const START: f64 = 20.0;

fn server(printer: &Printer) -> Result<(), BoxError> {
    let mut seconds = runtime()?.block_on(served::called(START, SECONDS))?;
    // The last calls may end a moment after the minute.
    seconds.resize(SECONDS as usize, (0, 0));
    let accepted: Vec<f64> = seconds.iter().map(|second| second.0.into()).collect();
    let refused: Vec<f64> = seconds.iter().map(|second| second.1.into()).collect();
    let (all_accepted, all_refused): (f64, f64) = (accepted.iter().sum(), refused.iter().sum());
    let (minute, ceiling) = (f64::from(SECONDS), f64::from(served::CEILING));
    let used = Pairs::from_iter([(all_accepted / minute, ceiling)]);
    printer.line("limit_server_accepted", Some(0.85), Unit::Rate, &used);
    // At most 3 %: as what is not refused, since more is better here too.
    let all = all_accepted + all_refused;
    printer.line("limit_server_not_refused", Some(0.97), Unit::Rate, &Pairs::from_iter([(all_accepted, all)]));
    if printer.full {
        let plot = Plot {
            grid: &[0.0, 50.0, 100.0, 150.0, 200.0, 250.0],
            lines: &[
                Line { name: "the ceiling", color: "#999", at: 60, values: &vec![ceiling; SECONDS as usize] },
                Line { name: "accepted", color: "#1b5e9f", at: 160, values: &accepted },
                Line { name: "refused", color: "#d95f02", at: 240, values: &refused },
            ],
            note: (780, "60 s, a second a point"),
        };
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/adaptive_server.svg"), plot.svg())?;
    }
    Ok(())
}
